"""No job is lost by kill -9: of skepd, of single workers, at random moments; and none runs after it ended."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

from harness import Failure, Node, UnixConnection, check, run, wait_for

JOBS = int(os.environ.get("SKEP_KILL_JOBS", "2000"))


class Producer(threading.Thread):
    """Submits until every job is acknowledged; a job without an answer is repeated under its key."""

    def __init__(self, node, numbers):
        super().__init__(daemon=True)
        self.node, self.numbers = node, numbers
        self.acknowledged = {}
        self.error = None

    def run(self):
        try:
            for number in self.numbers:
                self.submit(number)
        except Exception as error:  # told by the test
            self.error = error

    def submit(self, number):
        body = json.dumps({"type": "witness", "key": f"job-{number}", "payload": {"n": number},
                           "max_attempts": 1000})
        end = time.monotonic() + 120
        while time.monotonic() < end:
            connection = UnixConnection(self.node.socket, timeout=10)
            try:
                connection.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 201:
                    self.acknowledged[number] = json.loads(text)["id"]
                    return
                if answer.status != 503:
                    raise Failure(f"job {number} was answered {answer.status}: {text[:200]}")
            except OSError:
                pass
            except Exception as error:
                if isinstance(error, Failure):
                    raise
            finally:
                connection.close()
            time.sleep(0.02)
        raise Failure(f"job {number} was never acknowledged")


CONFIG = 'handlers = { options = ( { type = "witness"; set = { log = "ROOT/witness.log"; }; } ); };'


def witnessed(**more):
    return Node(villains=["witness"], config=CONFIG, settings=["queues.default.retry.base=20ms", *more.pop("settings", ())],
                **more)


def read_witness(node):
    runs = {}
    with open(os.path.join(node.root, "witness.log")) as log:
        for line in log:
            word, id_, claim, token, *rest = line.split()
            runs.setdefault(id_, []).append((word, int(claim), token))
    return runs


def audit(node, acknowledged):
    """Every acknowledged job completed; each run of it under a claim that was recorded, no two under the same; none
    starts after the run whose verdict was taken."""
    ledger = sqlite3.connect(f"file:{node.root}/skep.db?mode=ro", uri=True)
    rows = {id_.hex(): (state, claim) for id_, state, claim in ledger.execute("select id, state, claim from jobs")}
    runs = read_witness(node)
    check(len(rows) == len(acknowledged), f"{len(rows)} rows for {len(acknowledged)} acknowledged jobs")
    repeated = 0
    for number, id_ in acknowledged.items():
        key = id_.replace("-", "")
        check(key in rows, f"job {number} ({id_}) was acknowledged and has no row")
        state, claim = rows[key]
        check(state == 4, f"job {number} ({id_}) is in state {state}, not completed")
        starts = [run for run in runs.get(id_, []) if run[0] == "start"]
        check(starts, f"job {number} completed without a run")
        claims = [run[1] for run in starts]
        check(len(set(claims)) == len(claims), f"job {number} ran twice under one claim: {claims}")
        check(max(claims) <= claim, f"job {number} ran under claim {max(claims)}, the ledger knows {claim}")
        check(claims == sorted(claims), f"job {number}: claims went back: {claims}")
        recorded = {row[0] for row in ledger.execute(
            "select claim from attempts where seq = (select seq from jobs where id = ?)", (bytes.fromhex(key),))}
        for earlier in claims[:-1]:
            check(earlier in recorded, f"job {number}: its run under claim {earlier} is not among the recorded tries")
        repeated += len(claims) > 1
    for id_ in runs:
        check(id_.replace("-", "") in rows, f"a run of {id_}, which nobody submitted")
    left = ledger.execute("select count(*) from commits where runs is not null").fetchone()[0]
    check(left == 0, f"{left} claims are still recorded as open")
    print(f"  {len(acknowledged)} jobs, {repeated} ran more than once, each under claims of its own")


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in out.split()]


def drain_and_audit(node, producers):
    for producer in producers:
        producer.join(180)
        check(not producer.is_alive(), "a producer is stuck")
        if producer.error:
            raise producer.error
    acknowledged = {}
    for producer in producers:
        acknowledged.update(producer.acknowledged)
    check(len(acknowledged) == JOBS, f"{len(acknowledged)} of {JOBS} were acknowledged")

    def all_ended():
        jobs = node.get("/v1/stats").json["queues"][0]["jobs"]
        return jobs["completed"] == JOBS
    wait_for("all jobs to complete", all_ended, 120)
    check(node.stop() == 0, "skepd ends with 0 on SIGTERM")
    audit(node, acknowledged)


def start_producers(node):
    producers = [Producer(node, range(start, JOBS, 4)) for start in range(4)]
    for producer in producers:
        producer.start()
    return producers


def skepd_is_killed_again_and_again():
    dice = random.Random(7)
    with witnessed() as node:
        node.start()
        node.serving("witness.so")
        producers = start_producers(node)
        kills = 0
        while any(producer.is_alive() for producer in producers) or kills < 5:
            time.sleep(dice.uniform(0.05, 0.6))
            node.kill()
            kills += 1
            node.start(ready=False)
            if kills >= 12:
                break
        node.wait_ready()
        print(f"  killed skepd {kills} times")
        drain_and_audit(node, producers)


def single_workers_are_killed():
    dice = random.Random(11)
    with witnessed(settings=["handlers.workers=3"]) as node:
        node.start()
        node.serving("witness.so")
        pid = node.pid
        producers = start_producers(node)
        kills = 0
        end = time.monotonic() + 60
        while any(producer.is_alive() for producer in producers) and time.monotonic() < end:
            time.sleep(dice.uniform(0.02, 0.2))
            pids = [row["pid"] for row in node.workers() if row["pid"]]
            if pids:
                try:
                    os.kill(dice.choice(pids), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
        check(kills > 0, "no worker was killed")
        check(node.process.poll() is None and node.pid == pid, "skepd lives under its old pid")
        print(f"  killed {kills} workers")
        drain_and_audit(node, producers)


def a_restarted_node_ends_its_former_workers():
    with witnessed() as node:
        node.start()
        node.serving("sleep.so")
        ids = [node.enqueue("sleep", {"ms": 60000}) for _ in range(2)]
        for id_ in ids:
            node.until(id_, "running")
        former = wait_for("two busy workers", lambda: [row["pid"] for row in node.workers() if "job_id" in row][:2])
        node.kill()
        node.start()
        for pid in former:
            wait_for(f"worker {pid} to be gone", lambda pid=pid: not os.path.exists(f"/proc/{pid}"))
        for id_ in ids:
            job = wait_for("the job's lost try", lambda id_=id_: (lambda job: job if job["attempts"] else None)
                           (node.job(id_)))
            check(job["attempts"][0]["class"] == "lost", f"{job['attempts']}")
            node.request("DELETE", "/v1/jobs/" + id_)


run(skepd_is_killed_again_and_again, single_workers_are_killed, a_restarted_node_ends_its_former_workers)
