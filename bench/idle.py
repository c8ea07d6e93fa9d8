"""Memory and wake-ups of a skepd that has nothing to do, with the embedded ledger."""
import os
import subprocess
import time

from measure import status_kib
from node import place, skepd

SECONDS = 10


def children(pid):
    return [int(word) for word in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True,
                                                 text=True, check=False).stdout.split()]


def switches(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
    return total


def measure():
    with place() as where, skepd(where, f"sqlite:{where}/skep.db") as process:
        time.sleep(3)
        before = switches(process.pid)
        time.sleep(SECONDS)
        return {"skepd_rss_anon_mib": status_kib(process.pid, "RssAnon") / 1024,
                "worker_rss_anon_mib": max(status_kib(pid, "RssAnon") for pid in children(process.pid)) / 1024,
                "wakeups_per_s": (switches(process.pid) - before) / SECONDS}
