#!/usr/bin/python3
"""The auditor meets real processes: skepd is killed again and again under jobs of every kind and nothing is violated;
then single rows of that ledger are changed by hand, by legal edges where the database insists, and each is reported."""

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "scenario"), HERE]
import audit  # noqa: E402
import producer  # noqa: E402
from harness import BUILD, Failure, Node, check, run, wait_for  # noqa: E402

JOBS = int(os.environ.get("SKEP_AUDIT_JOBS", "2000"))
CONFIG = 'handlers = { options = ( { type = "diary"; set = { log = "ROOT/diary.log"; node = "a"; }; } ); };'
KINDS = ("", "", "", "", "sleep:5", "retry:1:30", "snooze:1:1000", "discard", "dead", "crash:1", "retry:1", "child:2",
         "sleep:50", "retry:9:5")


class Submitter(threading.Thread):
    """Submits under keys until every job is acknowledged; some for later, some to be cancelled at once."""

    def __init__(self, log, socket, numbers):
        super().__init__(daemon=True)
        self.http, self.numbers, self.error = producer.Http(log, socket), numbers, None

    def run(self):
        try:
            for number in self.numbers:
                self.submit(number)
        except Exception as error:  # told by the test
            self.error = error

    def submit(self, number):
        kind = "poison" if number % 100 == 99 else KINDS[number % len(KINDS)]
        later = time.time_ns() // 1000 + 1_000_000 if number % 50 == 7 else None
        self.http.submit("diary", {"n": number, "do": kind}, key=f"job-{number}", poison=int(kind == "poison") or None,
                         not_before=later, max_attempts=3 if number % 2 else 6)
        if number % 50 == 8:
            id_ = self.http.submit("diary", {"n": number, "do": "sleep:20000"}, key=f"long-{number}")
            self.http.cancel(id_)
        if number % 50 == 9:  # the same once more
            self.http.submit("diary", {"n": number, "do": kind}, key=f"job-{number}",
                             max_attempts=3 if number % 2 else 6)


def kill_again_and_again(node, log, submitters):
    dice, kills = random.Random(3), 0
    while (any(one.is_alive() for one in submitters) or kills < 5) and kills < 12:
        time.sleep(dice.uniform(0.05, 0.4))
        begin, pid = time.monotonic_ns(), node.pid
        node.kill()
        log.fault("kill", node="a", pid=pid, from_=begin)
        node.start(ready=False)
        kills += 1
    for one in submitters:
        one.join(600)
        check(not one.is_alive(), "a producer is stuck")
        check(not one.error, f"a producer failed: {one.error}")
    node.wait_ready()
    print(f"  killed skepd {kills} times")


def is_idle(node):
    waiting = ("scheduled", "pending", "running", "retrying")
    return all(queue["jobs"][state] == 0 for queue in node.get("/v1/stats").json["queues"] for state in waiting)


def work(root):
    with Node(handlers=(), config=CONFIG, root=root, settings=["queues.default.retry.base=20ms"]) as node:
        node.drop(os.path.join(BUILD, "tests", "audit", "diary.so"))
        log = producer.Log(os.path.join(root, "producer.log"))
        node.start()
        node.serving("diary.so")
        submitters = [Submitter(log, node.socket, range(start, JOBS, 4)) for start in range(4)]
        for one in submitters:
            one.start()
        kill_again_and_again(node, log, submitters)
        wait_for("all jobs to end", lambda: is_idle(node), 600)
        begin, pid = time.monotonic_ns(), node.pid
        code = node.stop()
        log.fault("term", node="a", pid=pid, from_=begin, to=time.monotonic_ns(), code=code)
        log.close()


def logs(root):
    return [os.path.join(root, "producer.log")], [os.path.join(root, "diary.log")]


def a_killed_node_violates_nothing(root):
    work(root)
    report = audit.audit(f"sqlite:{root}/skep.db", *logs(root), BUILD)
    check(report["submissions"] > JOBS, f"{report['submissions']} submissions were judged")
    for one in ("I1", "I2", "I3", "I4", "I6", "I7", "I8", "I9", "I10", "I12", "I13", "I15", "I16", "I17", "I22"):
        verdict = report["invariants"][one]["verdict"]
        check(verdict == "ok", f"{one} is {verdict}")


# --- by hand ---

REVIVE = "state = 1, lane = 1, parked_at = null, finished = 0, attempt = 0, generation = generation + 1"
# what is done, to which row, by which statements (of that row's seq), what must be told, of which job
EDITS = (
    ("a row is deleted", "state = 4", ["delete from jobs where seq = :seq"], "I1", True),
    ("a row is doubled", "state = 4 and key is not null", None, "I1", False),
    ("a dead job is offered again", "state = 5", [f"update jobs set {REVIVE} where seq = :seq"], "I8", True),
    ("a dead job is completed", "state = 5 and reason = 4",
     [f"update jobs set {REVIVE} where seq = :seq",
      "update jobs set state = 2, lane = null, room = x'00', claim = claim + 1, attempt = 1 where seq = :seq",
      "update jobs set state = 4, room = null, reason = 0, finished = started + 1 where seq = :seq"], "I16", True),
    ("a payload is changed", "state = 4", ["update jobs set payload = x'00' where seq = :seq"], "I10", True),
    ("a claim is taken back", "state = 4 and claim = 2", ["update jobs set claim = 1 where seq = :seq"], "I2", True),
    ("a token is changed", "state = 4", ["update jobs set token = token + 1 where seq = :seq"], "I3", True),
    ("a result is another's", "state = 4", ["update jobs set result = x'00' where seq = :seq"], "I4", True),
    ("an attempt is added", "state = 5 and reason = 2", ["update jobs set attempt = attempt + 1 where seq = :seq"],
     "I6", True),
    ("a strike is added", "state = 4", ["update jobs set strikes = strikes + 1 where seq = :seq"], "I7", True),
    ("a dead job's try is deleted", "state = 5 and reason = 2",
     ["delete from attempts where seq = :seq and ended_job = 1"], "I8", True),
    ("a claim stays open", "state = 4", ["insert into commits values (7, 0, 9, :seq, x'00')"], "I15", False),
)


def double(db, seq):
    columns = [row[1] for row in db.execute("pragma table_info(jobs)")]
    new = {"seq": "(select max(seq) + 1 from jobs)", "id": "randomblob(16)", "key": "null"}
    db.execute(f"insert into jobs ({', '.join(columns)}) select {', '.join(new.get(c, c) for c in columns)} from jobs "
               "where seq = ?", (seq,))


def edit(root, path, where, statements):
    """Returns the id of the row that was changed in a copy of the ledger."""
    source, db = sqlite3.connect(f"{root}/skep.db"), sqlite3.connect(path)
    source.backup(db)
    source.close()
    seq, id_ = db.execute(f"select seq, lower(hex(id)) from jobs where {where} order by seq limit 1").fetchone()
    for statement in statements or ():
        db.execute(statement, {"seq": seq})
    if statements is None:
        double(db, seq)
    db.commit()
    db.close()
    return id_


def every_edit_is_reported(root):
    for name, where, statements, which, by_id in EDITS:
        path = os.path.join(root, "edited.db")
        id_ = edit(root, path, where, statements)
        try:
            audit.audit("sqlite:" + path, *logs(root), BUILD, quiet=True)
        except audit.Violated as violated:
            said = str(violated)
        else:
            raise Failure(f"{name}, and nothing is reported")
        finally:
            os.unlink(path)
        check(f"\n{which} VIOLATED: 1 case" in said, f"{name}, and {which} is not reported: {said}")
        check(not by_id or f"    {id_[:8]}-{id_[8:12]}-" in said, f"{name}, and {id_} is not reported: {said}")
    print(f"  {len(EDITS)} edits reported")


def an_illegal_edge_is_refused_by_the_database(root):
    db = sqlite3.connect(f"{root}/skep.db")
    try:
        db.execute("update jobs set state = 1, lane = 1, finished = 0 where seq = (select min(seq) from jobs "
                   "where state = 4)")
    except sqlite3.DatabaseError as error:
        check("no such edge" in str(error), str(error))
    else:
        raise Failure("a completed job was set back to pending")
    finally:
        db.close()


def on(root, test):
    def bound():
        test(root)
    bound.__name__ = test.__name__
    return bound


ROOT = tempfile.mkdtemp(prefix="skep-audited-")
try:
    run(*(on(ROOT, test) for test in (a_killed_node_violates_nothing, every_edit_is_reported,
                                      an_illegal_edge_is_refused_by_the_database)))
finally:
    shutil.rmtree(ROOT, ignore_errors=True)
