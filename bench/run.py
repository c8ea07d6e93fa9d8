#!/usr/bin/python3
"""Benchmarks of skep beside bare loops that do the same work by hand, in interleaved rounds.

    ./dev bench [quick|full] [SUITE...] [--json FILE] [more]

Suites: sqlite (embedded), postgres (PostgreSQL alone), rabbitmq (RabbitMQ and PostgreSQL), nats (NATS JetStream and
PostgreSQL), nats-sqlite (NATS JetStream and SQLite); without any: these five.
rows: what ten million finished rows in the ledger change; only when named, since it needs 15 GB and half an hour.

What counts are the ratios of one run, and only on a machine that does nothing else. docs/benchmarks.md says how to read
them. Every drain of skep ends with an audit: all rows completed, each with its own payload, the queue empty.
"""
import argparse
import json
import signal
import sys

sys.dont_write_bytecode = True  # a source tree stays as it is
import stage
import suite_broker
import suite_postgres
import suite_sqlite
from measure import NOISE, Failed

# Suites beside the embedded one: how they measure, the broker, whether PostgreSQL is wanted.
SERVED = {
    "postgres": (suite_postgres.measure, None, True),
    "rabbitmq": (suite_broker.measure_rabbitmq, "rabbitmq", True),
    "nats": (suite_broker.measure_nats, "nats", True),
    "nats-sqlite": (suite_broker.measure_nats_sqlite, "nats", False),
    "rows": (suite_broker.measure_rows, "rabbitmq", True),
}
USUAL = ("sqlite", *(name for name in SERVED if name != "rows"))
PROGRAM = "no-op handler in isolated workers, 256-byte payloads"
WHAT = {
    "postgres": (f"PostgreSQL alone (fsync on, default settings), {PROGRAM}", "skep", "bare loop"),
    "rabbitmq": (f"RabbitMQ (quorum queue) and PostgreSQL (fsync on, default settings), {PROGRAM}", "skep", "bare loop"),
    "nats": (f"NATS JetStream (file, WorkQueue) and PostgreSQL (fsync on, default settings), {PROGRAM}", "skep",
             "bare loop"),
    "nats-sqlite": (f"NATS JetStream (file, WorkQueue) and SQLite (WAL, FULL), {PROGRAM}", "skep", "bare loop"),
    "rows": ("RabbitMQ and PostgreSQL: a ledger with old rows beside an empty one", "old rows", "empty"),
}
GROUPS = {"loop": "the program", "rabbitmq": "RabbitMQ", "nats": "NATS", "postgres": "PostgreSQL"}


def read_options():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="quick|full|SUITE")
    parser.add_argument("--json", metavar="FILE", help="write all figures there as well")
    parser.add_argument("--jobs", type=int, help="jobs of a round (quick: 100,000; full: 300,000)")
    parser.add_argument("--rounds", type=int, help="pairs of rounds (quick: 3; full: 9)")
    parser.add_argument("--rows", type=int, default=10000000, help="old rows of the suite rows")
    parser.add_argument("--settle", type=float, default=10, metavar="SECONDS",
                        help="rest of the broker after its queue was filled (10)")
    parser.add_argument("--ids", choices=("uuid", "none"), default="uuid", help="do letters have a message id (uuid)")
    options = parser.parse_args()
    options.full = "full" in options.words
    options.suites = [word for word in options.words if word not in ("quick", "full")] or list(USUAL)
    unknown = [word for word in options.suites if word not in ("sqlite", *SERVED)]
    if unknown:
        parser.error(f"there is no suite {', '.join(unknown)}")
    return options


def run_suites(options):
    """(name, result), one after the other."""
    if "sqlite" in options.suites:
        yield "sqlite", suite_sqlite.measure(options)
    for name in [word for word in SERVED if word in options.suites]:
        measure, broker, database = SERVED[name]
        with stage.serve(broker, database) as servers:
            result = measure(options, servers)
        yield name, result


def verdict(drain):
    if drain["noisy"]:
        return f"gate {drain['gate']:.2f}: no verdict, others used over {NOISE} cores in every round"
    dropped = f", {drain['dropped']} dropped since others used over {NOISE} cores" if drain["dropped"] else ""
    return f"gate {drain['gate']:.2f}: {'met' if drain['gate_met'] else 'MISSED'}{dropped}"


def line(name, ours, bare, digits, more=""):
    return f"{name:<28}{ours:>14,.{digits}f}{bare:>14,.{digits}f}   {ours / bare if bare else 0:>5.2f}{more}"


def table(name, result):
    title, left, right = WHAT[name]
    drain, latency = result["drain"], result.get("latency")
    ours, bare = drain["ours"], drain["bare"]
    batch = f", bare batch {drain['bare_batch']}" if "bare_batch" in drain else f", {drain['rows']:,} old rows"
    lines = [
        title, "", f"{'':<28}{left:>14}{right:>14}   ratio",
        line("drain, jobs/s", ours["rate"], bare["rate"], 0, f"  (median of the pairs {drain['ratio']:.2f}, lower "
             f"quartile {drain['ratio_lower_quartile']:.2f}; {drain['rounds']} pairs of {drain['jobs']:,} jobs{batch})"),
        f"{'':<28}{verdict(drain)}"]
    for group, words in GROUPS.items():
        if group in ours["cpu_per_10k"]:
            lines.append(line(f"CPU s per 10k, {words}", ours["cpu_per_10k"][group], bare["cpu_per_10k"][group], 3))
    lines.append(line("CPU s per 10k, all", sum(ours["cpu_per_10k"].values()), sum(bare["cpu_per_10k"].values()), 3))
    for quantile in ("p50", "p99") if latency else ():
        lines.append(line(f"start at {latency['rate_per_s']}/s, {quantile}, ms", latency[f"skep_{quantile}_ms"],
                          latency[f"bare_{quantile}_ms"], 2))
    peaks = [pair[0]["peak_mib"] for pair in drain["pairs"]]
    again = sum(pair[0]["again"] for pair in drain["pairs"])
    lines.append(f"skepd's peak: {max(peaks):.1f} MiB; jobs that were claimed more than once: {again}")
    return "\n" + "\n".join(lines) + "\n"


def main():
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: asked to stop"))  # what was started is stopped
    results = {}
    try:
        for name, result in run_suites(options):
            results[name] = result
            print(suite_sqlite.table(result) if name == "sqlite" else table(name, result), flush=True)
    except (Failed, stage.Trouble) as trouble:
        sys.exit(f"bench: {trouble}")
    finally:
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=2)


main()
