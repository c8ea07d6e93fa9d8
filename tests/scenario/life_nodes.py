"""Several nodes, many jobs: each once when nothing fails; audited when nodes are killed; a burst of retries due at once."""

import os
import time

from lives import LEDGER, LINE, Skip, check, life, run, wait_for
from faults import DIARY  # noqa: E402 (lives chooses the broker first)

BURST = int(os.environ.get("SKEP_LIFE_BURST", "20000"))


def a_thousand_jobs_run_once_each():
    with life(nodes=2, plugins=(DIARY,)) as it:
        for n in range(1000):
            if it.letters and n % 2:
                it.letters.letter("diary", {"n": n}, key=f"n{n}")
            else:
                it.w.http(it.w.nodes[n % 2]).submit("diary", {"n": n}, key=f"n{n}")
        it.w.settle(1000)
        report = it.w.audit("I1 I2 I3 I4 I6 I9 I10 I15 I22")
        check(report["runs"] == 1000, f"{report['runs']} runs of 1000 jobs")


def nothing_is_lost_when_nodes_are_killed():
    with life(nodes=2, plugins=(DIARY,), settings=("handlers.workers=2",)) as it:
        sent = 0
        for turn in range(4):
            for n in range(150):
                name = f"t{turn}-{n}"
                do = "retry:2:0" if n % 10 == 0 else "sleep:5"
                if it.letters and n % 2:
                    it.letters.letter("diary", {"n": name, "do": do}, key=name)
                else:
                    it.w.http(it.w.nodes[turn % 2]).submit("diary", {"n": name, "do": do}, key=name, max_attempts=20)
                sent += 1
            victim = it.w.nodes[1 - turn % 2]
            it.w.kill(victim)
            victim.start()
        it.w.settle(sent)
        it.w.audit("I1 I2 I3 I4 I6 I9 I10 I15 I22")


def a_burst_of_retries_is_spread_and_does_not_stall():
    settings = ("handlers.workers=2",)
    with life(settings=settings, queue={"retry": {"backoff": "fixed", "base": "3s", "jitter": 0.5}}, plugins=(DIARY,)) as it:
        for at in range(0, BURST, 5000):
            lines = "".join('{"type":"diary","payload":{"n":%d,"do":"retry:1:0"}}\n' % n
                            for n in range(at, min(at + 5000, BURST)))
            it.node.request("POST", "/v1/jobs", lines, {"Content-Type": "application/x-ndjson"}, timeout=120)
        begin = time.monotonic()
        longest = answers = 0

        def probe():
            nonlocal longest, answers
            asked = time.monotonic()
            check(it.node.get("/readyz").status == 200, "it stays ready")
            check(it.node.post({"type": "noop", "payload": answers}).status == 201, "and takes jobs")
            longest, answers = max(longest, time.monotonic() - asked), answers + 1
            return it.counts().get(4, 0) >= BURST
        wait_for("the burst to end", probe, 600)
        rows = it.w.select("select count(*) from attempts where error = 1")
        check(int(rows[0][0]) == BURST, f"each failed once: {rows}")
        print(f"  {BURST} retries due within 3 s: all done {time.monotonic() - begin:.1f} s after they were submitted; "
              f"{answers} requests meanwhile, the slowest took {longest * 1000:.0f} ms")


def everything_in_one_directory():
    """Embedded use: skepd without any configuration, on SQLite."""
    if LINE != "none" or LEDGER != "sqlite":
        raise Skip("embedded use is SQLite without a broker")
    with life(queues=({"name": "slow", "types": ["slow.>"], "order": "priority", "global": 1},),
              schedules=({"name": "tick", "cron": "@every 1s", "type": "noop"},)) as it:
        it.ended(it.send("life.steps", {"steps": 3, "die_at": 1}))
        it.ended(it.send("life.batch", {"n": 1}))
        it.ended(it.send("echo", {}, unique_key="u", retry="fixed base=1s"))
        wait_for("the schedule", lambda: it.ask("GET", "/v1/schedules/tick").get("last_job"))
        check(it.ask("GET", "/v1/dead/groups")["groups"] == [], "nothing died")
        names = sorted(os.listdir(it.w.folder))
        print(f"  all of it lies in one directory: {names}")


run(a_thousand_jobs_run_once_each, nothing_is_lost_when_nodes_are_killed,
    a_burst_of_retries_is_spread_and_does_not_stall, everything_in_one_directory)
