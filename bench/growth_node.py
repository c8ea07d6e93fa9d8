"""A node that drains jobs from a ledger that has grown, seen from outside."""
import os
import shutil
import time

from measure import Failed, Meter, per_10k, run_text, status_kib
from node import BUILD, place, program, read_metrics, skepd, wait_ready

PATIENCE = 3600
MANY = os.path.join(BUILD, "bench", "many.so")


class Load:
    """Jobs for a node and how it is set up: name, so many rows or things, bench-fill's spread, configuration."""

    def __init__(self, name, many, spread=(), config="", sets=()):
        self.name, self.many, self.spread, self.config, self.sets = name, many, spread, config, sets


def drain(book, url, load, jobs):
    """A node from its start until so many jobs have ended; more may be left."""
    commits = book.commits(url)
    with place() as where:
        os.makedirs(f"{where}/handlers", mode=0o755)
        shutil.copy(MANY, f"{where}/handlers/many.so")
        meter, begin = Meter(book.groups), time.monotonic()
        with skepd(where, url, load.config, load.sets) as process:
            wait_ready(where, process, 600, 0.005)
            ready = time.monotonic() - begin
            first, last = watch(where, process, jobs)
            used = meter.stop(loop=process.pid)
            peak = status_kib(process.pid, "VmHWM") / 1024
            batches = read_metrics(where)
    done = last[1]
    commits = book.commits(url) - commits if commits is not None else \
        sum(batches[f'skep_ledger_commit_seconds_count{{lane="{lane}"}}'] for lane in ("claims", "verdicts"))
    return {"rate": (last[1] - first[1]) / max(last[0] - first[0], 0.001), "ready_s": ready, "peak_mib": peak,
            "cpu_per_10k": per_10k(used["cpu"], done), "commits_per_10k": commits * 1e4 / done, "others": used["others"]}


def ended(where):
    return sum(value for name, value in read_metrics(where).items() if name.startswith("skep_jobs_finished_total"))


def watch(where, process, jobs):
    """((when, how many had ended) early on, the same when `jobs` had); of few jobs the first is when it was ready."""
    begin, first = (time.monotonic(), 0), None
    while True:
        now = (time.monotonic(), ended(where))
        if now[1] >= jobs:
            return first if first and first[1] < jobs / 2 else begin, now
        if now[1] > 0 and not first:
            first = now
        if process.poll() is not None or now[0] > begin[0] + PATIENCE:
            raise Failed(f"{now[1]:.0f} of {jobs} jobs have ended")
        time.sleep(pause(now[0] - begin[0], now[1], jobs))


def pause(took, done, jobs):
    """To answer is work for it, with many queues and types a millisecond: asked seldom, and often when all but few are done."""
    left = took * (jobs - done) / done if done else 0
    return min(max(left / 4, 0.02), 0.5)


def fill(url, jobs, spread=()):
    run_text([*program("bench-fill"), url, str(jobs), *spread])


def plant(book, url):
    """The row that old ones are copied from."""
    fill(url, 1)
    drain(book, url, Load("one", 1), 1)
