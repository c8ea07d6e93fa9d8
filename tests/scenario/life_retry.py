"""Retries, their delays and budgets; time: delays, deadlines, time-outs, signs of life."""

import datetime
import time

from lives import LINE, check, life, metric, refused, run, wait_for


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def gaps(job):
    """Seconds from the end of each failed try to the start of the next."""
    tries = [*job["attempts"], {"started_at": job["started_at"]}]
    return [instant(after["started_at"]) - instant(before["ended_at"]) for before, after in zip(tries, tries[1:])]


POLICIES = {
    "fixed base=100ms jitter=0 attempts=4": [0.1, 0.1, 0.1],
    "linear base=100ms jitter=0 attempts=4": [0.1, 0.2, 0.3],
    "exponential base=100ms cap=300ms jitter=0 attempts=5": [0.1, 0.2, 0.3, 0.3],
    "table=50ms,200ms jitter=0 attempts=4": [0.05, 0.2, 0.2],
}


def a_failing_job_starts_when_its_policy_says():
    with life() as it:
        keys = {policy: it.send("life.fail", {"n": n}, retry=policy) for n, policy in enumerate(POLICIES)}
        for policy, wanted in POLICIES.items():
            job = it.ended(keys[policy])
            check(job["state"] == "dead" and job["reason"] == "exhausted", f"{policy}: {job}")
            seen = gaps(job)
            print(f"  {policy}: " + ", ".join(f"{gap * 1000:.0f} ms" for gap in seen))
            check(len(seen) == len(wanted), f"{policy}: {len(seen) + 1} tries, not {len(wanted) + 1}")
            # its clock is the ledger's; a millisecond of rounding on each side
            check(all(gap >= must - 0.003 for gap, must in zip(seen, wanted)), f"{policy}: too early: {seen}")
            for number, row in enumerate(job["attempts"], 1):
                check(row["attempt"] == number and row["class"] == "failed", f"{row}")
                check({"text", "node", "worker", "build", "started_at", "ended_at"} <= set(row), f"a try keeps all: {row}")


def a_budget_of_time_ends_the_tries():
    with life() as it:
        job = it.ended(it.send("life.fail", {}, retry="fixed base=1s jitter=0 attempts=1000 for=4500ms"))
        check(job["state"] == "dead" and job["reason"] == "exhausted", f"{job}")
        last = instant(job["started_at"]) - instant(job["created_at"])
        print(f"  {job['attempt']} attempts; the last began {last * 1000:.0f} ms after the job was made")
        check(2 <= job["attempt"] <= 5, f"no try was made after its budget: {job}")


def a_type_has_a_policy_of_its_own():
    types = ({"pattern": "life.*", "retry": "fixed base=10ms attempts=2"},
             {"pattern": "life.fail", "retry": "fixed base=10ms attempts=4"})
    with life(types=types) as it:
        check(it.ended(it.send("life.fail", {}))["attempt"] == 4, "the most literal pattern counts")
        check(it.ended(it.send("life.fail", {}, retry="attempts=1"))["attempt"] == 1, "the job's own goes before")
        check(it.ended(it.send("life.fail", {}, max_attempts=3))["attempt"] == 3, "as does its field")


def every_class_of_error_is_told():
    with life(settings=("handlers.cancel_grace=200ms",)) as it:
        failed = it.ended(it.send("life.fail", {}, max_attempts=1))
        check(failed["error"]["class"] == "failed", f"{failed['error']}")
        crashed = it.ended(it.send("life.steps", {"steps": 2, "die_at": 0}, max_attempts=1))
        check(crashed["error"]["class"] == "crashed", f"{crashed['error']}")
        asked = it.ended(it.send("life.silent", {"ms": 60000}, timeout="150ms", max_attempts=1))
        check(asked["error"]["class"] == "timed_out", f"asked at its time-out, it ended: {asked['error']}")
        deaf = it.ended(it.send("sleep", {"ms": 60000, "ignore_cancel": True}, timeout="150ms", max_attempts=1))
        check(deaf["error"]["class"] == "timed_out", f"killed after its grace: {deaf['error']}")


def stamp(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat().replace("+00:00", "Z")


def a_late_job_is_not_started():
    with life(queue={"concurrency": 1}, settings=("handlers.workers=1",)) as it:
        gate, let_go = it.gate()
        it.send("life.silent", {"ms": 600000, "gate": gate})
        wait_for("it to run", lambda: any(row.get("job_id") for row in it.node.workers()))
        deadline = stamp(1)
        key = it.send("echo", {}, deadline=deadline)
        wait_for("its deadline", lambda: time.time() > instant(deadline))
        let_go()
        job = it.ended(key)
        check(job["state"] == "dead" and job["reason"] == "expired" and job["attempt"] == 0, f"{job}")


def nothing_starts_before_its_time():
    with life() as it:
        delayed = [it.send("echo", {"n": n}, delay=f"{100 + 50 * n}ms") for n in range(10)]
        at = stamp(5)  # still to come when it arrives
        fixed = it.send("echo", {}, run_at=at)
        jobs = [it.ended(key) for key in delayed]
        for n, job in enumerate(jobs):
            late = instant(job["started_at"]) - instant(job["created_at"]) - (0.1 + 0.05 * n)
            check(late >= -0.003, f"{job} began {-late} s early")
        job = it.ended(fixed)
        check(instant(job["started_at"]) >= instant(at) - 0.003, f"{job} began before {at}")
        count = wait_for("11 latenesses to be measured", lambda: (lambda n: n if n >= 11 else 0)(
            metric(it.node, "skep_job_lateness_seconds_count")))
        print(f"  {count:.0f} starts measured, mean lateness {metric(it.node, 'skep_job_lateness_seconds_sum') / count:.3f} s")


def silence_is_noticed():
    with life(settings=("handlers.cancel_grace=200ms",)) as it:
        silent = it.send("life.silent", {"ms": 60000}, heartbeat="600ms", max_attempts=1)
        lively = it.send("life.lively", {"ms": 6000}, heartbeat="4s", max_attempts=1)
        job = it.ended(silent)
        check(job["error"]["class"] == "timed_out" and "sign of life" in job["error"]["text"], f"{job['error']}")
        check(it.ended(lively)["state"] == "completed", "signs of life keep a job going")


def mistakes_are_named():
    with life() as it:
        for field, value, *words in [
                ("retry", "exponentiel base=1s", "exponentiel", "exponential"), ("retry", "base=forever", "base"),
                ("retry", {"backoff": "table"}, "table"), ("retry", "jitter=2", "jitter", "0 to 1"),
                ("max_attempts", 0, "1"), ("timeout", "soon", "30s"), ("heartbeat", -1), ("delay", "yesterday", "30s"),
                ("run_at", "tomorrow", "RFC 3339"), ("deadline", "x")]:
            refused(it, "POST", "/v1/jobs", {"type": "echo", "payload": 1, field: value}, field, *words)
        if LINE != "none":
            it.send("echo", {}, retry="sometimes")
            job = wait_for("it to be dead", lambda: it.ask("GET", "/v1/jobs?state=dead")["jobs"])[0]
            check(job["reason"] == "malformed" and "job-retry" in job["error"]["text"], f"{job}")


run(a_failing_job_starts_when_its_policy_says, a_budget_of_time_ends_the_tries, a_type_has_a_policy_of_its_own,
    every_class_of_error_is_told, a_late_job_is_not_started, nothing_starts_before_its_time, silence_is_noticed,
    mistakes_are_named)
