"""The embedded pair: SQLite ledger, no broker."""
import contextlib
import json
import os
import sqlite3
import subprocess
import time

from measure import Failed, best_batch, lower_quartile, middle, run_json, say, status_kib
from node import Unix, place, program, skepd

BARE = program("bare-sqlite")
FILL = program("bench-fill")


def rows(where, sql):
    with contextlib.closing(sqlite3.connect(f"file:{where}/skep.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(sql).fetchall()


def children(pid):
    return [int(word) for word in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True,
                                                 text=True, check=False).stdout.split()]


def tree_cpu(pid):
    """CPU seconds of a process and its children so far."""
    ticks = 0
    for one in [pid] + children(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def embedded(where):
    return skepd(where, f"sqlite:{where}/skep.db")


def drain_skep(jobs):
    with place() as where:
        subprocess.run([FILL, f"sqlite:{where}/skep.db", str(jobs)], check=True)
        with embedded(where) as process:
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
            raise Failed(f"audit: {good} of {jobs} rows are completed with their payload")
        return {"rate": jobs / ((last - first) / 1e6), "cpu_per_10k": cpu * 1e4 / jobs, "peak_mib": memory / 1024}


def drain_bare(jobs, batch):
    with place() as where:
        path = f"{where}/bare.db"
        subprocess.run([BARE, path, "fill", str(jobs)], check=True)
        return run_json([BARE, path, "drain", str(batch)])


def measure_drain(jobs, rounds):
    batch = best_batch(lambda size: {"rate": middle(drain_bare(min(jobs, 100000), size)["rate"] for _ in range(3))})
    pairs = []
    for number in range(rounds):
        ours, bare = drain_skep(jobs), drain_bare(jobs, batch)
        pairs.append((ours, bare))
        say(f"drain {number + 1}/{rounds}: skep {ours['rate']:,.0f}/s, bare {bare['rate']:,.0f}/s, "
            f"ratio {ours['rate'] / bare['rate']:.2f}")
    ratios = [ours["rate"] / bare["rate"] for ours, bare in pairs]
    return {
        "jobs": jobs, "rounds": rounds, "bare_batch": batch,
        "skep_per_s": middle(ours["rate"] for ours, _ in pairs),
        "bare_per_s": middle(bare["rate"] for _, bare in pairs),
        "ratio": middle(ratios), "ratio_lower_quartile": lower_quartile(ratios),
        "skep_cpu_s_per_10k": middle(ours["cpu_per_10k"] for ours, _ in pairs),
        "bare_cpu_s_per_10k": middle(bare["cpu_per_10k"] for _, bare in pairs),
        "skepd_peak_mib": middle(ours["peak_mib"] for ours, _ in pairs),
    }


def latency_skep(jobs, rate):
    with place() as where, embedded(where):
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
        return run_json([BARE, f"{where}/bare.db", "latency", str(jobs), str(rate)])


def measure_latency(jobs, rounds, rate=200):
    pairs = []
    for number in range(rounds):
        pairs.append((latency_skep(jobs, rate), latency_bare(jobs, rate)))
        say(f"latency {number + 1}/{rounds}: skep p50 {pairs[-1][0]['p50_ms']:.2f} ms, "
            f"bare commits p50 {pairs[-1][1]['p50_ms']:.2f} ms")
    return {
        "rate_per_s": rate, "jobs": jobs, "rounds": rounds,
        "skep_p50_ms": middle(ours["p50_ms"] for ours, _ in pairs),
        "skep_p99_ms": middle(ours["p99_ms"] for ours, _ in pairs),
        "bare_p50_ms": middle(bare["p50_ms"] for _, bare in pairs),
        "bare_p99_ms": middle(bare["p99_ms"] for _, bare in pairs),
    }


def idle_node():
    """Memory and wake-ups of a skepd that has nothing to do."""
    with place() as where, embedded(where) as process:
        time.sleep(3)

        def switches():
            total = 0
            for task in os.listdir(f"/proc/{process.pid}/task"):
                with open(f"/proc/{process.pid}/task/{task}/status", encoding="utf-8") as file:
                    total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
            return total
        before = switches()
        time.sleep(10)
        wakeups = (switches() - before) / 10
        return {"skepd_rss_anon_mib": status_kib(process.pid, "RssAnon") / 1024,
                "worker_rss_anon_mib": max(status_kib(pid, "RssAnon") for pid in children(process.pid)) / 1024,
                "wakeups_per_s": wakeups}


def measure(options):
    return {
        "drain": measure_drain(options.jobs or (300000 if options.full else 100000),
                               options.rounds or (9 if options.full else 5)),
        "latency": measure_latency(2000 if options.full else 600, options.rounds or 3),
        "idle": idle_node(),
    }


def table(result):
    drain, latency, idle = result["drain"], result["latency"], result["idle"]
    return f"""
embedded: SQLite ledger (WAL, FULL), no-op handler in isolated workers, 256-byte payloads

                        skep        bare loop   ratio
drain, jobs/s      {drain['skep_per_s']:>12,.0f} {drain['bare_per_s']:>12,.0f}   {drain['ratio']:.2f} (lower quartile {drain['ratio_lower_quartile']:.2f}, {drain['rounds']} pairs of {drain['jobs']:,} jobs)
CPU s per 10k jobs {drain['skep_cpu_s_per_10k']:>12.3f} {drain['bare_cpu_s_per_10k']:>12.3f}   {drain['skep_cpu_s_per_10k'] / drain['bare_cpu_s_per_10k']:.2f}
start latency at {latency['rate_per_s']}/s
  p50, ms          {latency['skep_p50_ms']:>12.2f} {latency['bare_p50_ms']:>12.2f}   {latency['skep_p50_ms'] / latency['bare_p50_ms']:.2f}
  p99, ms          {latency['skep_p99_ms']:>12.2f} {latency['bare_p99_ms']:>12.2f}   {latency['skep_p99_ms'] / latency['bare_p99_ms']:.2f}

skepd at full drain, peak: {drain['skepd_peak_mib']:.1f} MiB; idle: {idle['skepd_rss_anon_mib']:.1f} MiB RssAnon, worker {idle['worker_rss_anon_mib']:.1f} MiB, {idle['wakeups_per_s']:.1f} wake-ups/s
"""
