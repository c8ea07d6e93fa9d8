"""Forged worlds for the tests of the auditor.

A World is what a run would leave behind: records of logs and of a dump, as dictionaries, so that a forgery is one line.
full_world() is an honest one with a job of each kind; @caught registers a forgery of it and what must be told.
"""

import json
import os
import sys
import tempfile
import traceback

import audit
import producer

BUILD = os.environ["SKEP_BUILD"]
SCHEDULED, PENDING, RUNNING, RETRYING, COMPLETED, DEAD, CANCELLED = range(7)
EXHAUSTED, CRASHED_OUT, REJECTED, EXPIRED, ID_CONFLICT, OPERATOR = 2, 3, 4, 6, 8, 12
FAILED, CRASHED, TIMED_OUT, LOST, STOPPED = 1, 2, 3, 5, 6
WALL = 1_700_000_000_000_000  # when the forged worlds begin
MONO = 5_000_000_000
NOW = WALL + 3_600_000_000    # when their ledger was dumped
HOLDER = "00000000000000aa"


def wall(ms):
    return WALL + int(ms * 1000)


def mono(ms):
    return MONO + int(ms * 1_000_000)


class World:
    def __init__(self):
        self.lines, self.rows, self.tries, self.others = [], {}, [], []
        self.made = 0

    # --- what the honest ones write ---

    def line(self, word, at=None, **fields):
        if at is not None:
            fields |= {"wall": wall(at), "mono": mono(at)}
        record = [word, {name: value for name, value in fields.items() if value is not None}]
        self.lines.append(record)
        return record[1]

    def submit(self, at=0, via="http", ack="accepted", row=None, **fields):
        """An intent, its ack and, unless row is False, a row that waits. Returns the id."""
        self.made += 1
        id_ = f"018bcfe5-6800-7000-8000-{self.made:012x}"
        payload = fields.pop("payload", f"{self.made:016x}" + 16 * "0")
        ref = fields.pop("ref", f"r{self.made}")
        self.line("intent", at, ref=ref, payload=payload, via=via, queue="default", **fields)
        if ack:
            self.line("ack", at + 1, ref=ref, answer=ack, id=id_ if ack == "accepted" else None)
        if row is not False:
            key = fields.get("key")
            self.rows[id_] = {
                "id": id_, "queue": "default", "type": "t", "state": PENDING, "reason": 0, "lane": 1, "due": None,
                "parked_at": None, "claim": 0, "token": "0" * 16, "holder": "0" * 16, "attempt": 0, "max_attempts": 3,
                "snoozes": 0, "strikes": 0, "generation": 0, "created": wall(at), "finished": 0, "payload": payload,
                "key": producer.digest(key.encode()) if key else None, "result": None, **(row or {})}
        return id_

    def start(self, id_, at, node="a", ppid=100, **fields):
        """Claims it and starts a run."""
        row = self.rows[id_]
        row.update(state=RUNNING, reason=0, lane=None, due=None, claim=row["claim"] + 1, attempt=row["attempt"] + 1,
                   token=f"{row['claim'] + 1:016x}", holder=HOLDER)
        return self.line("start", at, **{
            "id": id_, "claim": row["claim"], "token": row["token"], "attempt": row["attempt"],
            "generation": row["generation"], "payload": row["payload"], "pid": 7, "type": "t", "node": node,
            "ppid": ppid, "looks": 1, **fields})

    def end(self, id_, at, end, **fields):
        row = self.rows[id_]
        return self.line("end", at, id=id_, claim=row["claim"], token=row["token"], pid=7, end=end, **fields)

    def keep_try(self, id_, at, error, ended_job=False):
        row = self.rows[id_]
        self.tries.append({"id": id_, "claim": row["claim"], "generation": row["generation"],
                           "attempt": row["attempt"], "error": error, "ended_job": ended_job, "started": wall(at - 1),
                           "ended": wall(at)})
        row["strikes"] += error in (CRASHED, TIMED_OUT)
        row.update(state=RETRYING, due=wall(at + 10))
        return self.tries[-1]

    def finish(self, id_, at, state, reason=0, **fields):
        parked = wall(at) if state in (DEAD, CANCELLED) else None
        self.rows[id_].update(state=state, reason=reason, lane=None, due=None, parked_at=parked, finished=wall(at),
                              **fields)

    def complete(self, id_, at=10, **fields):
        self.start(id_, at, **fields)
        result = f"{self.rows[id_]['claim']:08x}{id_[-12:]}000000000000"
        self.end(id_, at + 5, "done", result=result)
        self.finish(id_, at + 5, COMPLETED, result=result)
        return id_

    def fail(self, id_, at, error=FAILED, **fields):
        self.start(id_, at, **fields)
        if error == FAILED:
            self.end(id_, at + 5, "retry")
        return self.keep_try(id_, at + 6, error)

    def bury(self, id_, at, reason):
        """Its last try was its end."""
        self.tries[-1]["ended_job"] = True
        self.finish(id_, at, DEAD, reason)

    def requeue(self, id_, at):
        row = self.rows[id_]
        self.line("requeue", at, id=id_)
        row.update(state=PENDING, reason=0, lane=1, parked_at=None, finished=0, attempt=0, strikes=0, snoozes=0,
                   generation=row["generation"] + 1)
        self.line("requeued", at + 1, id=id_, generation=row["generation"])

    def find(self, word, id_=None, nth=0):
        return [fields for w, fields in self.lines if w == word and id_ in (None, fields.get("id"))][nth]

    def copy_row(self, id_, **changes):
        self.made += 1
        new = f"018bcfe5-6800-7000-8000-{self.made:012x}"
        self.rows[new] = {**self.rows[id_], "id": new, **changes}
        return new

    # --- judging it ---

    def text(self):
        return "".join(word + "/1" + "".join(f"\t{name}={value}" for name, value in fields.items()) + "\n"
                       for word, fields in self.lines)

    def dump(self):
        records = [{"kind": "ledger", "version": 1, "ledger": "forged", "now": NOW},
                   *({"kind": "job", **row} for row in self.rows.values()),
                   *({"kind": "try", **one} for one in self.tries), *self.others,
                   {"kind": "end", "jobs": len(self.rows)}]
        return "".join(json.dumps(record) + "\n" for record in records)

    def judge(self, text=None, dump=None, **options):
        with tempfile.TemporaryDirectory(prefix="skep-audit-test-") as folder:
            paths = [os.path.join(folder, name) for name in ("log", "dump")]
            for path, content in zip(paths, (self.text() if text is None else text, dump or self.dump())):
                with open(path, "w") as file:
                    file.write(content)
            code, said = audit.run(BUILD, paths[1], paths[:1], json=True, **options)
            return code, json.loads(said) if code < 2 else said


def full_world():
    """One job of each kind, all in order. Returns the world and its jobs by name."""
    w = World()
    jobs = {"plain": w.complete(w.submit())}
    jobs["keyed"] = w.complete(w.submit(key="k1"))
    w.line("intent", 3, ref="again", payload=w.rows[jobs["keyed"]]["payload"], via="http", queue="default", key="k1")
    w.line("ack", 4, ref="again", answer="accepted", id=jobs["keyed"])
    jobs["letter"] = w.complete(w.submit(via="amqp", ack="confirmed"))
    jobs["named letter"] = w.complete(w.submit(via="amqp", ack="confirmed", key="m1"))
    jobs["retried"] = w.submit()
    w.fail(jobs["retried"], 10)
    w.complete(jobs["retried"], 100)
    jobs["snoozed"] = w.submit()
    w.start(jobs["snoozed"], 10)
    w.end(jobs["snoozed"], 11, "snooze", after_ms=1000)
    w.rows[jobs["snoozed"]].update(attempt=0, snoozes=1)
    w.complete(jobs["snoozed"], 1100)
    jobs["poison"] = w.submit(poison=1)
    for at in (10, 30, 50):
        w.fail(jobs["poison"], at, CRASHED)
    w.bury(jobs["poison"], 56, CRASHED_OUT)
    jobs["dead"] = w.submit()
    for at in (10, 30, 50):
        w.fail(jobs["dead"], at)
    w.bury(jobs["dead"], 56, EXHAUSTED)
    jobs["revived"] = w.submit()
    for at in (10, 30, 50):
        w.fail(jobs["revived"], at)
    w.bury(jobs["revived"], 56, EXHAUSTED)
    w.requeue(jobs["revived"], 60)
    w.complete(jobs["revived"], 70)
    jobs["later"] = w.complete(w.submit(not_before=wall(500)), 600)
    jobs["future"] = w.submit(not_before=NOW + 10**9, row={"state": SCHEDULED, "lane": None, "due": NOW + 10**9})
    jobs["cancelled"] = w.submit()
    w.finish(jobs["cancelled"], 20, CANCELLED, OPERATOR)
    w.line("cancel", 21, id=jobs["cancelled"], status=200)
    jobs["asked"] = w.submit()
    w.start(jobs["asked"], 10)
    w.line("cancel", 20, id=jobs["asked"], status=202)
    w.line("asked", 25, id=jobs["asked"], claim=1, pid=7)
    w.end(jobs["asked"], 26, "cancelled")
    w.keep_try(jobs["asked"], 27, 13, ended_job=True)
    w.finish(jobs["asked"], 27, CANCELLED, OPERATOR)
    jobs["stopped"] = w.submit()
    w.fail(jobs["stopped"], 10, STOPPED)
    w.complete(jobs["stopped"], 100)
    jobs["first of its kind"] = w.complete(w.submit(1200, unique="u1"), 1210)
    w.line("intent", 1205, ref="held", payload="be" * 16, via="http", queue="default", unique="u1")
    w.line("ack", 1206, ref="held", answer="accepted", id=jobs["first of its kind"])
    jobs["second of its kind"] = w.complete(w.submit(1400, unique="u1"), 1410)
    jobs["of a batch"] = w.submit()
    w.start(jobs["of a batch"], 10, batch=3, pid=8)
    again = {**w.find("start", jobs["of a batch"]), "batch": 1, "pid": 7, "wall": wall(30), "mono": mono(30)}
    w.lines.append(["start", again])
    w.end(jobs["of a batch"], 35, "done", result="78")
    w.finish(jobs["of a batch"], 35, COMPLETED, result="78")
    for name, tick in (("tick", 2000), ("next tick", 3000)):
        jobs[name] = w.copy_row(jobs["keyed"], key=f"{tick:032x}", payload=f"{tick:08x}" + 24 * "7", created=wall(tick + 5),
                                schedule="nightly", tick=wall(tick), state=PENDING, lane=1, parked_at=None, claim=0,
                                attempt=0, result=None, finished=0)
        w.complete(jobs[name], tick + 10)
    parent = jobs["parent"] = w.submit()
    w.start(parent, 10)
    jobs["child"] = w.submit(11, via="child", ack=None, parent=parent, parent_claim=1)
    w.end(parent, 15, "done", result="77")
    w.finish(parent, 15, COMPLETED, result="77")
    w.complete(jobs["child"], 20)
    w.others.append({"kind": "node", "holder": HOLDER, "dead": False, "beat_at": NOW - 1000})
    return w, jobs


TESTS = []


def test(function):
    TESTS.append(function)
    return function


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def caught(which, name=None, ref=None, more=()):
    """A forgery that must be told as a violation of `which` alone (and `more`), with that job's id."""
    def register(forge):
        def run():
            world, jobs = full_world()
            options = forge(world, jobs) or {}
            code, report = world.judge(**options)
            lines = report["invariants"]
            told = {one for one in lines if lines[one]["verdict"] == "violated"}
            check(code == 1 and told == {which, *more}, f"exit {code}, violated {told}: "
                  + json.dumps({one: lines[one]["found"] for one in told}))
            wanted = ref or jobs.get(name)
            seen = [found["job"] for found in lines[which]["found"]]
            check(wanted is None or wanted in seen, f"{wanted} ({name}) is not among {lines[which]['found']}")
        run.__name__ = f"{which} {forge.__name__}"
        TESTS.append(run)
        return forge
    return register


def main():
    passed = failed = 0
    chosen = sys.argv[1:]
    for one in TESTS:
        name = one.__name__.replace("_", " ")
        if chosen and not any(word in name for word in chosen):
            continue
        try:
            one()
            passed += 1
        except Exception:  # a test must not take the closing line with it
            failed += 1
            print(f"FAILED  {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"\n{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
