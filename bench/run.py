#!/usr/bin/python3
"""Benchmarks of the embedded pair (SQLite ledger, no broker) beside the bare loop, in interleaved rounds.

    bench/run.py [quick|full] [--json FILE]

Absolute figures of a machine do not carry over to another hour: what counts are the ratios of medians of one run. Every drain
of skep ends with an audit: all rows completed, each with its payload.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.environ["SKEP_BUILD"]
BARE = os.path.join(BUILD, "bench", "bare-sqlite")
FILL = os.path.join(BUILD, "bench", "bench-fill")
SKEPD = os.path.join(BUILD, "daemon", "skepd")
WORKER = os.path.join(BUILD, "plugins", "skep-worker")
HANDLERS = os.path.join(BUILD, "handlers")
BATCHES = (100, 500, 2000)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@contextlib.contextmanager
def place():
    """On the disk that the build lives on, not on a memory file system: what is measured is durable."""
    where = tempfile.mkdtemp(prefix="bench-", dir=BUILD)
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


@contextlib.contextmanager
def skepd(where):
    log = open(os.path.join(where, "log"), "ab")
    handlers = os.path.join(where, "handlers")
    os.makedirs(handlers, mode=0o755, exist_ok=True)
    shutil.copy(os.path.join(HANDLERS, "noop.so"), handlers)
    os.chmod(os.path.join(handlers, "noop.so"), 0o755)
    empty = os.path.join(where, "skep.conf")
    open(empty, "w").close()
    words = [SKEPD, "--config", empty, "--worker", WORKER]
    for pair in (f"node.state_dir={where}/state", f"handlers.dir={handlers}", f"http.socket={where}/s",
                 f"ledger.url=sqlite:{where}/skep.db"):
        words += ["--set", pair]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def rows(where, sql):
    with contextlib.closing(sqlite3.connect(f"file:{where}/skep.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(sql).fetchall()


def tree_cpu(pid):
    """CPU seconds of a process and its children so far."""
    pids = [pid] + [int(word) for word in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True,
                                                         text=True, check=False).stdout.split()]
    ticks = 0
    for one in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{one}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def status_kib(pid, name):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def drain_skep(jobs):
    with place() as where:
        subprocess.run([FILL, f"{where}/skep.db", str(jobs)], check=True)
        with skepd(where) as process:
            def left():
                return rows(where, "select count(*) from jobs where lane is not null")[0][0]
            while left():
                time.sleep(0.1)
            while rows(where, "select count(*) from commits where runs is not null")[0][0]:
                time.sleep(0.05)
            cpu = tree_cpu(process.pid)
            memory = status_kib(process.pid, "VmHWM")
        first, last, good = rows(where, "select min(started), max(finished), sum(state = 4 and length(coalesce(payload,"
                                        " (select payload from blobs where blobs.seq = jobs.seq))) = 256) from jobs")[0]
        if good != jobs:
            raise SystemExit(f"audit: {good} of {jobs} rows are completed with their payload")
        return {"rate": jobs / ((last - first) / 1e6), "cpu_per_10k": cpu * 1e4 / jobs, "peak_mib": memory / 1024}


def drain_bare(jobs, batch):
    with place() as where:
        path = f"{where}/bare.db"
        subprocess.run([BARE, path, "fill", str(jobs)], check=True)
        out = subprocess.run([BARE, path, "drain", str(batch)], check=True, capture_output=True, text=True).stdout
        return json.loads(out)


def best_batch(jobs):
    rates = {batch: statistics.median(drain_bare(jobs, batch)["rate"] for _ in range(3)) for batch in BATCHES}
    say("bare loop by batch: " + ", ".join(f"{batch}: {rate:,.0f}/s" for batch, rate in rates.items()))
    return max(rates, key=rates.get)


def measure_drain(jobs, rounds):
    batch = best_batch(min(jobs, 100000))
    pairs = []
    for number in range(rounds):
        ours, bare = drain_skep(jobs), drain_bare(jobs, batch)
        pairs.append((ours, bare))
        say(f"drain {number + 1}/{rounds}: skep {ours['rate']:,.0f}/s, bare {bare['rate']:,.0f}/s, "
            f"ratio {ours['rate'] / bare['rate']:.2f}")
    ratios = sorted(ours["rate"] / bare["rate"] for ours, bare in pairs)
    middle = statistics.median
    return {
        "jobs": jobs, "rounds": rounds, "bare_batch": batch,
        "skep_per_s": middle(ours["rate"] for ours, _ in pairs),
        "bare_per_s": middle(bare["rate"] for _, bare in pairs),
        "ratio": middle(ratios), "ratio_lower_quartile": ratios[len(ratios) // 4],
        "skep_cpu_s_per_10k": middle(ours["cpu_per_10k"] for ours, _ in pairs),
        "bare_cpu_s_per_10k": middle(bare["cpu_per_10k"] for _, bare in pairs),
        "skepd_peak_mib": middle(ours["peak_mib"] for ours, _ in pairs),
    }


def latency_skep(jobs, rate):
    with place() as where, skepd(where):
        while not os.path.exists(f"{where}/s"):
            time.sleep(0.05)
        connection = Unix(f"{where}/s")
        time.sleep(1)
        body = json.dumps({"type": "noop", "payload_base64": "eHh4"})
        begin = time.monotonic()
        for number in range(jobs):
            left = begin + number / rate - time.monotonic()
            if left > 0:
                time.sleep(left)
            connection.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        while rows(where, "select count(*) from jobs where state <> 4")[0][0]:
            time.sleep(0.1)
        took = sorted((started - created) / 1000 for started, created in rows(where, "select started, created from jobs"))
        return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}


def latency_bare(jobs, rate):
    with place() as where:
        out = subprocess.run([BARE, f"{where}/bare.db", "latency", str(jobs), str(rate)], check=True,
                             capture_output=True, text=True).stdout
        return json.loads(out)


def measure_latency(jobs, rounds, rate=200):
    pairs = []
    for number in range(rounds):
        pairs.append((latency_skep(jobs, rate), latency_bare(jobs, rate)))
        say(f"latency {number + 1}/{rounds}: skep p50 {pairs[-1][0]['p50_ms']:.2f} ms, "
            f"bare commits p50 {pairs[-1][1]['p50_ms']:.2f} ms")
    middle = statistics.median
    return {
        "rate_per_s": rate, "jobs": jobs, "rounds": rounds,
        "skep_p50_ms": middle(ours["p50_ms"] for ours, _ in pairs),
        "skep_p99_ms": middle(ours["p99_ms"] for ours, _ in pairs),
        "bare_p50_ms": middle(bare["p50_ms"] for _, bare in pairs),
        "bare_p99_ms": middle(bare["p99_ms"] for _, bare in pairs),
    }


def idle_node():
    """Memory and wake-ups of a skepd that has nothing to do."""
    with place() as where, skepd(where) as process:
        time.sleep(3)

        def switches():
            total = 0
            for task in os.listdir(f"/proc/{process.pid}/task"):
                with open(f"/proc/{process.pid}/task/{task}/status") as file:
                    total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
            return total
        before = switches()
        time.sleep(10)
        wakeups = (switches() - before) / 10
        workers = [int(word) for word in subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)],
                                                        capture_output=True, text=True, check=False).stdout.split()]
        return {"skepd_rss_anon_mib": status_kib(process.pid, "RssAnon") / 1024,
                "worker_rss_anon_mib": max(status_kib(pid, "RssAnon") for pid in workers) / 1024,
                "wakeups_per_s": wakeups}


def table(result):
    drain, latency, idle = result["drain"], result["latency"], result["idle"]
    print(f"""
embedded: SQLite ledger (WAL, FULL), no-op handler in isolated workers, 256-byte payloads

                        skep        bare loop   ratio
drain, jobs/s      {drain['skep_per_s']:>12,.0f} {drain['bare_per_s']:>12,.0f}   {drain['ratio']:.2f} (lower quartile {drain['ratio_lower_quartile']:.2f}, {drain['rounds']} pairs of {drain['jobs']:,} jobs)
CPU s per 10k jobs {drain['skep_cpu_s_per_10k']:>12.3f} {drain['bare_cpu_s_per_10k']:>12.3f}   {drain['skep_cpu_s_per_10k'] / drain['bare_cpu_s_per_10k']:.2f}
start latency at {latency['rate_per_s']}/s
  p50, ms          {latency['skep_p50_ms']:>12.2f} {latency['bare_p50_ms']:>12.2f}   {latency['skep_p50_ms'] / latency['bare_p50_ms']:.2f}
  p99, ms          {latency['skep_p99_ms']:>12.2f} {latency['bare_p99_ms']:>12.2f}   {latency['skep_p99_ms'] / latency['bare_p99_ms']:.2f}

skepd at full drain, peak: {drain['skepd_peak_mib']:.1f} MiB; idle: {idle['skepd_rss_anon_mib']:.1f} MiB RssAnon, worker {idle['worker_rss_anon_mib']:.1f} MiB, {idle['wakeups_per_s']:.1f} wake-ups/s
""")


def main():
    full = "full" in sys.argv[1:]
    result = {
        "drain": measure_drain(300000 if full else 100000, 9 if full else 5),
        "latency": measure_latency(2000 if full else 600, 3),
        "idle": idle_node(),
    }
    table(result)
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
            json.dump(result, file, indent=2)


main()
