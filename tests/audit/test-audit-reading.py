#!/usr/bin/python3
"""Honest worlds pass the auditor; evidence that cannot be read, or not all of it, is told from evidence that can."""

import json
import os
import sqlite3
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import audit  # noqa: E402
import producer  # noqa: E402
from dump import tick_of, unmixed  # noqa: E402
from forged import BUILD, check, full_world, main, test, World  # noqa: E402


# --- clean worlds ---

@test
def an_honest_world_passes():
    world, _ = full_world()
    code, report = world.judge()
    lines = report["invariants"]
    check(code == 0, f"exit {code}: " + json.dumps({k: v["found"] for k, v in lines.items() if v["found"]}))
    open_ = {one for one in lines if lines[one]["verdict"] == "not judged"}
    check(open_ == {"I5", "I18", "I19", "I20", "I23"}, f"not judged: {open_}")


@test
def an_empty_world_is_not_judged():
    code, report = World().judge()
    verdicts = {line["verdict"] for line in report["invariants"].values()}
    check(code == 0 and verdicts == {"not judged"}, f"exit {code}: {verdicts}")


@test
def rows_without_any_log_are_only_judged_by_themselves():
    world, _ = full_world()
    code, report = world.judge(text="")
    check(code == 0 and report["invariants"]["I9"]["verdict"] == "not judged", f"exit {code}: {report}")
    check(report["invariants"]["I22"]["verdict"] == "ok", "rows are judged")


# --- reading ---

@test
def a_line_cut_off_at_the_end_is_counted():
    world, _ = full_world()
    code, report = world.judge(text=world.text() + "start/1\tid=018bcf")
    check(code == 0 and report["truncated"] == 1, f"exit {code}: {report['truncated']}")
    text = world.text()
    check(world.judge(text=text[:-1])[1]["truncated"] == 1, "a last line without its newline does not count")


@test
def garbage_in_the_middle_is_an_error():
    world, jobs = full_world()
    first, rest = world.text().split("\n", 1)
    for garbage in ("start/1\tid=018bcf", "?", "", "intent/2\tref=x", "start/1\tid=x\tclaim=y", "intent/1\tref=%4",
                    "intent/1\tref=x", "ack/1\tref=nobody\tanswer=refused", "word/1\ta=b",
                    f"end/1\tid={jobs['plain']}\tclaim=7\tpid=7\tend=done\tmono=1", "intent/1\tref=r1\tpayload=ab"):
        code, said = world.judge(text=f"{first}\n{garbage}\n{rest}")
        check(code == 2 and ("log:2: " in said or "r1" in garbage), f"{garbage!r}: exit {code}: {said}")


@test
def half_a_dump_is_an_error():
    world, _ = full_world()
    lines = world.dump().splitlines(keepends=True)
    for what, dump in {"no end": lines[:-1], "a row is missing": lines[:1] + lines[2:], "no begin": lines[1:],
                       "not JSON": [*lines[:2], "{\n", *lines[2:]], "cut": [*lines[:-1], lines[-1][:9]]}.items():
        code, said = world.judge(dump="".join(dump))
        check(code == 2 and "dump:" in said, f"{what}: exit {code}: {said}")


@test
def a_dump_of_sqlite_is_what_the_auditor_reads():
    migrations = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "ledgers", "sqlite", "migrations")
    made, gone = "018bcfe5680070008000000000000001", "018bcfe5680070008000000000000002"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "skep.db")
        db = sqlite3.connect(path)
        db.execute("create table meta (name text primary key, value integer)")
        for name in sorted(os.listdir(migrations)):
            with open(os.path.join(migrations, name)) as file:
                db.executescript(file.read())
        mixed = unmixed(b"default", bytes.fromhex(producer.digest(b"k"))).hex()  # twice is not at all
        db.execute("insert into jobs (seq, id, queue, type, state, max_attempts, priority, created, lane, key, size) "
                   f"values (1, x'{made}', 'default', 't', 1, 3, 5, 1, 7, x'{mixed}', 5)")
        db.execute("insert into blobs values (1, 'hello')")
        db.execute("insert into jobs (seq, id, queue, type, state, reason, parked_at, max_attempts, priority, created, "
                   f"finished, size, payload) values (2, x'{gone}', 'default', 't', 5, 9, 4, 3, 5, 1, 4, 4, 'body')")
        db.execute("insert into attempts (seq, claim, ended_job, attempt, generation, error, error_text, holder, worker, "
                   "worker_pid, started, ended) values (2, 0, 1, 0, 0, 9, 'no', 0, 0, 0, 0, 4)")
        db.execute("insert into commits values (-1, 0, 3, -2, x'00')")
        db.commit()
        db.close()
        audit.dump("sqlite:" + path, os.path.join(folder, "dump"))
        with open(os.path.join(folder, "dump")) as file:
            dump = file.read()
    records = [json.loads(line) for line in dump.splitlines()]
    jobs = {one["id"].replace("-", ""): one for one in records if one["kind"] == "job"}
    check(jobs[made]["payload"] == producer.digest(b"hello"), f"a payload apart: {jobs[made]}")
    check(jobs[gone]["payload"] == producer.digest(b"body"), f"a payload in the row: {jobs[gone]}")
    check([one["holder"] for one in records if one["kind"] == "commit"] == ["f" * 16], "holders have no sign")
    world = World()
    world.line("intent", 0, ref="a", payload=producer.digest(b"hello"), via="http", queue="default", key="k")
    world.line("intent", 0, ref="b", payload=producer.digest(b"body"), via="amqp", queue="default")
    code, report = world.judge(dump=dump)
    told = {one: line["found"][0]["text"] for one, line in report["invariants"].items() if line["violations"]}
    check(code == 1 and told == {"I1": "pending, and nobody runs it", "I15": "1 claims were never retired"}, f"{told}")


@test
def a_job_of_a_schedule_is_known_by_its_key():
    found = tick_of("cron:a:b:2031-05-04T04:30:00Z")
    check(found == {"schedule": "a:b", "tick": 1935635400000000}, f"{found}")
    check(tick_of("cron:x:1970-01-01T00:00:01.5Z") == {"schedule": "x", "tick": 1500000}, "parts of a second")
    check(tick_of("run:x:2031-05-04T04:30:00.123456Z") == {"schedule": "x"}, "by hand: for no tick")
    for other in (None, "", "cron:x", "order-7", "cron:x:yesterday"):
        check(tick_of(other) == {}, f"{other}")


@test
def at_most_ten_are_listed_and_all_are_counted():
    world = World()
    for _ in range(25):
        world.submit()
    code, report = world.judge()
    line = report["invariants"]["I1"]
    check(code == 1 and line["violations"] == 25 and len(line["found"]) == 10, f"{line}")


@test
def the_text_is_for_people():
    world = World()
    lost = world.submit(row=False)
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("log", "dump")]
        for path, content in zip(paths, (world.text(), world.dump())):
            with open(path, "w") as file:
                file.write(content)
        code, said = audit.run(BUILD, paths[1], paths[:1])
    lines = said.splitlines()
    check(code == 1 and "I1 VIOLATED: 1 case" in lines and f"    {lost}: accepted, and lost" in lines, said)
    check("I12 not judged: no scheduled jobs in the logs, and no handler asked for a delay" in lines, said)
    check(lines[-1] == "0 held, 1 violated, 21 not judged", lines[-1])


@test
def the_producers_module_writes_what_the_auditor_reads():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        log = producer.Log(path)
        ref = log.intend(b"\x00payload", via="amqp", key="a\tb%\n\x7f=c", queue="q")
        log.answer(ref, "confirmed")
        with log.during("stop", node="n"):
            pass
        log.broker("q", 0, 0)
        log.close()
        world = World()
        id_ = world.submit(row={"queue": "q", "payload": producer.digest(b"\x00payload"),
                                "key": producer.digest(b"a\tb%\n\x7f=c")})
        world.lines = []
        world.complete(id_)
        world.lines[0][1]["payload"] = producer.digest(b"\x00payload")
        with open(path, encoding="latin1") as file:
            written = file.read()
    code, report = world.judge(text=written + world.text())
    check(code == 0 and report["invariants"]["I1b"]["judged"] == 1, f"exit {code}: {report}")


main()
