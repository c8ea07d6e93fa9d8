"""No job is lost by kill -9: of skepd, of single workers, at random moments; and none runs after it ended."""

import fcntl
import os
import random
import time

from faults import Background, answering, check, kill_quietly, wait_for, world
from harness import BUILD, Node, run

JOBS = int(os.environ.get("SKEP_KILL_JOBS", "2000"))
PRODUCERS = 4
QUEUE = {"name": "default", "types": [">"], "retry": {"base": "20ms", "max_attempts": 1000}}


class Story:
    """A node without a broker, and producers that repeat each job under its key until it is acknowledged."""

    def __init__(self, w, **more):
        self.world, self.node = w, w.node(**more)
        self.node.serving("diary.so")
        self.threads = [Background(self.produce, first) for first in range(PRODUCERS)]

    def produce(self, first):
        http = self.world.http(self.node)
        for n in range(first, JOBS, PRODUCERS):
            http.submit("diary", {"n": n, "do": "sleep:2"}, key=f"job-{n}", max_attempts=1000)

    def goes_on(self):
        return any(thread.is_alive() for thread in self.threads)

    def end(self):
        """Every job is there once, completed, and the auditor finds nothing."""
        for thread in self.threads:
            thread.join_or_raise()
        wait_for("the node to serve", lambda: answering(self.node))
        self.world.settle(JOBS)
        rows = self.world.rows()
        check(rows == {4: JOBS}, f"{JOBS} jobs were acknowledged; rows by state: {rows}")
        report = self.world.audit("I1 I2 I3 I4 I6 I9 I10 I15 I16 I17 I22")
        print(f"  {report['runs'] - JOBS} runs were cut off, each under a claim of its own")


def skepd_is_killed_again_and_again():
    dice = random.Random(7)
    with world(kind="sqlite", broker=False, queues=(QUEUE,)) as w:
        story, kills = Story(w), 0
        while kills < 5 or (story.goes_on() and kills < 12):
            time.sleep(dice.uniform(0.05, 0.6))
            w.kill(story.node)
            kills += 1
            story.node.start(ready=False)
        print(f"  killed skepd {kills} times")
        story.end()


def single_workers_are_killed():
    dice = random.Random(11)
    with world(kind="sqlite", broker=False, queues=(QUEUE,)) as w:
        story, kills, ended = Story(w, settings=["handlers.workers=3"]), 0, 0
        pid = story.node.pid
        end = time.monotonic() + 60
        while story.goes_on() and time.monotonic() < end:
            time.sleep(dice.uniform(0.02, 0.2))
            before, ended = ended, w.rows().get(4, 0)
            if ended - before < 3:  # or the same job may be met three times, and be dead of it
                ended = before
                continue
            pids = [row["pid"] for row in story.node.workers() if row["pid"]]
            victim = dice.choice(pids) if pids else None
            if victim:
                w.log.fault("kill", pid=victim, from_=time.monotonic_ns())
                kills += kill_quietly(victim)
        check(kills > 0, "no worker was killed")
        check(story.node.process.poll() is None and story.node.pid == pid, "skepd lives under its old pid")
        print(f"  killed {kills} workers")
        story.end()


def a_restarted_node_ends_its_former_workers():
    with Node() as node:
        node.drop(os.path.join(BUILD, "tests", "scenario", "life.so"))
        node.start()
        node.serving("life.so")
        ids = [node.enqueue("life.lively", {"ms": 600000}) for _ in range(2)]
        for id_ in ids:  # a job that its worker has not begun yet would be given back, and no try is lost
            wait_for(f"job {id_} to be under way", lambda id_=id_: node.job(id_).get("progress"))
        former = [row["pid"] for row in node.workers() if "job_id" in row]
        check(len(former) == 2, f"two workers are busy, not {len(former)}")
        node.kill()
        node.start()
        for pid in former:
            wait_for(f"worker {pid} to be gone", lambda pid=pid: not os.path.exists(f"/proc/{pid}"))
        for id_ in ids:
            job = wait_for("the job's lost try", lambda id_=id_: (lambda job: job if job["attempts"] else None)
                           (node.job(id_)))
            check(job["attempts"][0]["class"] == "lost", f"{job['attempts']}")
            node.request("DELETE", "/v1/jobs/" + id_)


def asks_for_the_lock(node, lock):
    check(node.process.poll() is None, f"skepd ended with {node.process.returncode} instead of waiting")
    folder = f"/proc/{node.pid}/fd"
    return lock in [os.path.realpath(os.path.join(folder, fd)) for fd in os.listdir(folder)]


def the_lock_of_a_dead_skepd_is_waited_for():
    """A process that it was just starting may hold the lock for a moment longer than itself."""
    with Node() as node:
        node.start()
        node.kill()
        lock = os.path.join(node.state, "lock")
        with open(lock) as heir:
            fcntl.flock(heir, fcntl.LOCK_EX)
            node.start(ready=False)
            wait_for("skepd to ask for the lock", lambda: asks_for_the_lock(node, lock))
            check(node.process.poll() is None, "it waits")
        node.wait_ready()


run(skepd_is_killed_again_and_again, single_workers_are_killed, a_restarted_node_ends_its_former_workers,
    the_lock_of_a_dead_skepd_is_waited_for)
