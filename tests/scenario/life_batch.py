"""Batches: many jobs in one request, many jobs in one call of a handler; children."""

import json
import time

from lives import LINE, check, life, run, wait_for
from faults import DIARY, kill_quietly  # noqa: E402 (lives chooses the broker first)


def a_handler_takes_many_at_once():
    with life(settings=("handlers.workers=1",)) as it:
        it.ask("POST", "/v1/queues/default/pause")
        keys = [it.send("life.batch", {"n": n, "odd": int(n == 7)}) for n in range(60)]
        if LINE == "none":
            wait_for("them to wait", lambda: it.counts().get(1) == 60)
        it.ask("POST", "/v1/queues/default/resume")
        jobs = [it.ended(key) for key in keys]
        sizes = [int(job["result"].split()[-1]) for job in jobs]
        print(f"  60 jobs in batches of {sorted(set(sizes), reverse=True)}")
        check(all(job["state"] == "completed" for job in jobs), "each has its own verdict")
        check(max(sizes) > 1 and max(sizes) <= 20, f"up to batch_max at a time: {sizes}")
        check(jobs[7]["attempt"] == 2 and all(job["attempt"] == 1 for job in jobs if job is not jobs[7]),
              "one was to be tried again, and only that one was")


def a_lonely_job_does_not_wait_for_ever():
    with life() as it:
        job = it.ended(it.send("life.batch", {"n": 1}))
        check(job["state"] == "completed" and job["result"] == "one of 1", f"{job}")


def a_crash_costs_the_others_nothing():
    with life(settings=("handlers.workers=2",)) as it:
        it.ask("POST", "/v1/queues/default/pause")
        keys = [it.send("life.batch", {"n": n, "poison": int(n == 5)}) for n in range(20)]
        if LINE == "none":
            wait_for("them to wait", lambda: it.counts().get(1) == 20)
        it.ask("POST", "/v1/queues/default/resume")
        jobs = [it.ended(key) for key in keys]
        poisoned = jobs.pop(5)
        check(poisoned["state"] == "dead" and poisoned["strikes"] == 3, f"{poisoned}")
        check(all(job["state"] == "completed" and job["attempt"] == 1 and job["strikes"] == 0 for job in jobs),
              f"the others lost nothing: {[(job['attempt'], job['strikes'], job['state']) for job in jobs]}")


def a_thousand_in_one_request():
    with life() as it:
        jobs = [{"type": "noop", "payload": n, "key": f"b{n}"} for n in range(1000)]
        said = it.ask("POST", "/v1/jobs", jobs)
        said = said if isinstance(said, list) else said["jobs"]
        check(len({job["id"] for job in said}) == 1000, "each has its id")
        again = it.ask("POST", "/v1/jobs", jobs)
        again = again if isinstance(again, list) else again["jobs"]
        check([job["id"] for job in again] == [job["id"] for job in said], "the same again is the same jobs")
        bad = it.ask("POST", "/v1/jobs", [*jobs[:3], {"type": "no type!", "payload": 1}], status=(400, 422))
        check("type" in json.dumps(bad), f"{bad}")
        wait_for("all to end", lambda: it.counts() == {4: 1000})


def children_come_with_done():
    with life() as it:
        parent = it.ended(it.send("life.family", {"children": 25}))
        check(parent["state"] == "completed", f"{parent}")
        wait_for("the children", lambda: it.counts() == {4: 26})
        child = it.by_key(f"{parent['id']}/3") or it.ask("GET", f"/v1/jobs/key:{parent['id']}%2F3?queue=default")
        check(child["payload"]["child"] == 3, f"{child}")
        failed = it.ended(it.send("life.family", {"children": 25, "fail": 1}))
        check(failed["state"] == "dead" and sum(it.counts().values()) == 27, f"no children without DONE: {it.counts()}")


def batches_are_audited_while_all_is_killed():
    """Workers and nodes die in the midst of batches: nothing is lost, nobody pays for another, each of them runs alone next."""
    with life(nodes=2, plugins=(DIARY,), settings=("handlers.workers=2",)) as it:
        sent, workers = 0, 0
        for turn in range(4):
            for n in range(120):
                name = f"t{turn}-{n}"
                do = {3: "retry:1:0", 7: "crash:1"}.get(n % 40, "sleep:3")
                if it.letters and n % 2:
                    it.letters.letter("diary.batch", {"n": name, "do": do}, key=name)
                else:
                    it.w.http(it.w.nodes[turn % 2]).submit("diary.batch", {"n": name, "do": do}, key=name, max_attempts=20)
                sent += 1
            for _ in range(2):
                more = []
                wait_for("a busy worker to kill", lambda: kill_a_busy_worker(it.w) or keep_busy(it, more))
                workers, sent = workers + 1, sent + len(more)
            victim = it.w.nodes[1 - turn % 2]
            it.w.kill(victim)
            victim.start()
        it.w.settle(sent)
        sizes = [int(part[6:]) for line in open(it.w.handlers, encoding="utf-8") if line.startswith("start/")
                 for part in line.split() if part.startswith("batch=")]
        print(f"  {sent} jobs, {len(sizes)} runs, up to {max(sizes)} at once; {workers} workers and 4 nodes were killed")
        check(max(sizes) > 2 and workers, f"batches ran, and workers were killed in them: {max(sizes)}, {workers}")
        it.w.audit("I1 I2 I3 I4 I6 I9 I10 I15 I16 I22")


def keep_busy(it, more):
    """One job more when all have ended: the nodes were quicker than the story."""
    if not any(it.counts().get(state) for state in range(4)):
        more.append(f"more-{time.monotonic_ns()}")
        it.w.http(it.w.nodes[0]).submit("diary.batch", {"n": more[-1], "do": "sleep:2000"}, key=more[-1], max_attempts=20)


def kill_a_busy_worker(w):
    """1 when there was one."""
    for node in w.nodes:
        for row in node.workers():
            if row.get("pid") and "job_id" in row:
                begin = time.monotonic_ns()
                if kill_quietly(row["pid"]):
                    w.log.fault("kill", node=node.name, pid=row["pid"], from_=begin)
                    return 1
    return 0


run(batches_are_audited_while_all_is_killed, a_handler_takes_many_at_once, a_lonely_job_does_not_wait_for_ever, a_crash_costs_the_others_nothing,
    a_thousand_in_one_request, children_come_with_done)
