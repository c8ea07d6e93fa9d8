#!/usr/bin/python3
"""Benchmarks of skep beside bare loops that do the same work by hand, in interleaved rounds.

    ./dev bench [quick|full] [SUITE...] [--json FILE] [--svg FILE] [more]
    ./dev bench growth [...]            what millions of rows, jobs and schedules cost: a program of its own

Suites: sqlite (embedded), postgres (PostgreSQL alone), and of a broker and a ledger rabbitmq (with PostgreSQL),
rabbitmq-sqlite, nats (with PostgreSQL), nats-sqlite; each of them with -64k behind for payloads of 64 KiB;
submit-sqlite, submit-postgres (how fast jobs are taken); mixed (fast jobs beside slow ones); rows (what ten
million finished rows in the ledger change: only when named, since it needs 15 GB and half an hour). Without any: quick leaves out the 64k of all but sqlite and rabbitmq.

What counts are the ratios of one run, and only on a machine that does nothing else. docs/benchmarks.md says how to read
them; the promises are in gates.py, and a run's last lines say which are met. Every drain of skep ends with an audit: all
rows completed, each with its own payload, the queue empty. What fails it ends the run with an error; a missed gate does not.
"""
import argparse
import contextlib
import functools
import json
import os
import signal
import sys

sys.dont_write_bytecode = True  # a source tree stays as it is
import chart
import gates
import idle
import stage
import suite_mixed
import suite_rows
import suite_submit
from measure import NOISE, Failed
from node import BUILD
from pair import LARGE, measure_broker, measure_ledger
from sides import Nats, Postgres, RabbitMQ, Sqlite
from tables import line

DURABLE = {"sqlite": "SQLite (WAL, FULL)", "postgres": "PostgreSQL (fsync on, default settings)"}
# name: (broker's class or None, ledger's class)
PAIRS = {"sqlite": (None, Sqlite), "postgres": (None, Postgres), "rabbitmq": (RabbitMQ, Postgres),
         "rabbitmq-sqlite": (RabbitMQ, Sqlite), "nats": (Nats, Postgres), "nats-sqlite": (Nats, Sqlite)}
BROKERS = {RabbitMQ: "RabbitMQ (quorum queue)", Nats: "NATS JetStream (file, WorkQueue)"}
GROUPS = {"loop": "the program", "rabbitmq": "RabbitMQ", "nats": "NATS", "postgres": "PostgreSQL"}


class Suite:
    """measure(options, servers) → result; table(result) → text; broker: the name of the one that it wants."""

    def __init__(self, measure, table, broker, database):
        self.measure, self.table, self.broker, self.database = measure, table, broker, database


def drain_suite(name, broker, book, payload):
    how = functools.partial(measure_broker, broker=broker) if broker else measure_ledger

    def measure(options, servers):
        result = how(name, options, servers, book=book, payload=payload)
        if name == "sqlite":
            result["idle"] = idle.measure()
        return result
    sides = f"{BROKERS[broker]} and {DURABLE[book.name]}" if broker else f"{DURABLE[book.name]} alone"
    title = f"{sides}, no-op handler in isolated workers, {payload:,}-byte payloads"
    return Suite(measure, lambda result: drain_table(title, "skep", "bare loop", result), broker and broker.name,
                 book is Postgres)


def submit_suite(book):
    def measure(options, servers):
        with contextlib.closing(book(servers[0])) as record:
            return suite_submit.measure(options, record)
    return Suite(measure, lambda result: suite_submit.table(DURABLE[book.name], result), None, book is Postgres)


def all_suites():
    suites = {}
    for payload, tail in ((256, ""), (LARGE, "-64k")):
        suites.update({name + tail: drain_suite(name + tail, *sides, payload) for name, sides in PAIRS.items()})
    suites.update({f"submit-{book.name}": submit_suite(book) for book in (Sqlite, Postgres)})
    suites["mixed"] = Suite(suite_mixed.measure, suite_mixed.table, None, True)
    title = "RabbitMQ and PostgreSQL: a ledger with old rows beside an empty one"
    suites["rows"] = Suite(suite_rows.measure, lambda result: drain_table(title, "old rows", "empty", result),
                           "rabbitmq", True)
    return suites


SUITES = all_suites()
FULL = [name for name in SUITES if name != "rows"]
QUICK = [name for name in FULL if not name.endswith("-64k") or name in ("sqlite-64k", "rabbitmq-64k")]


def read_options():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="quick|full|SUITE")
    parser.add_argument("--json", metavar="FILE", default=os.path.join(BUILD, "bench.json"),
                        help="all figures of all rounds (bench.json in the build's folder)")
    parser.add_argument("--svg", metavar="FILE", default=os.path.join(BUILD, "bench.svg"),
                        help="charts against batch and rows (bench.svg there)")
    parser.add_argument("--jobs", type=int, help="jobs of a round (quick: 100,000; full: 300,000, on "
                        "PostgreSQL 1,000,000; of 64 KiB 3,000, 20,000)")
    parser.add_argument("--rounds", type=int, help="pairs of rounds (quick: 3; full: 9, of 1,000,000 jobs 5)")
    parser.add_argument("--latency", type=int, metavar="SECONDS", help="length of a round of latencies (quick: 3; full: 10)")
    parser.add_argument("--rows", type=int, default=10000000, help="old rows of the suite rows")
    parser.add_argument("--settle", type=float, default=10, metavar="SECONDS",
                        help="rest of the broker after its queue was filled (10)")
    parser.add_argument("--ids", choices=("uuid", "uuid4", "none"), default="uuid",
                        help="the letters' message ids: UUIDv7 (uuid), random ones, or none")
    options = parser.parse_args()
    options.full = "full" in options.words
    options.suites = [word for word in options.words if word not in ("quick", "full")] or (FULL if options.full else QUICK)
    unknown = [word for word in options.suites if word not in SUITES]
    if unknown:
        parser.error(f"there is no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    return options


def run_suites(options):
    """(name, result), one after the other."""
    for name in [word for word in SUITES if word in options.suites]:
        suite = SUITES[name]
        with stage.serve(suite.broker, suite.database) as servers:
            result = suite.measure(options, servers)
        result["gates"] = gates.judge(name, result)
        yield name, result


# --- tables ---

def rounds_of(drain):
    """Whether they were quiet, and what the database did of its own meanwhile."""
    if drain["noisy"]:
        yield f"noisy: others used over {NOISE} cores in every round"
    elif drain["dropped"]:
        yield f"{drain['dropped']} pairs dropped since others used over {NOISE} cores"
    if drain["ours"]["upkeep"]:
        yield "; ".join(f"{what} meanwhile: {count} and {drain['bare']['upkeep'][what]}"
                        for what, count in drain["ours"]["upkeep"].items())


def start_gate(result, quantile):
    """It is not on the ratio."""
    figure = result["gates"]["start_" + quantile]["figure"]
    words = f"beyond it by {figure:.2f} ms" if quantile == "p50" else f"{figure:.1f} times skep's p50"
    return f"  ({words})" + gates.beside(result, "start_" + quantile)


def drain_table(title, left, right, result):
    drain = result["drain"]
    ours, bare = drain["ours"], drain["bare"]
    batch = f", bare batch {drain['bare_batch']}" if "bare_batch" in drain else f", {drain['rows']:,} old rows"
    lines = [
        title, "", f"{'':<28}{left:>14}{right:>14}   ratio",
        line("drain, jobs/s", ours["rate"], bare["rate"], 0, gates.beside(result, "drain")),
        f"  median of the pairs {drain['ratio']:.2f}, lower quartile {drain['ratio_lower_quartile']:.2f}; "
        f"{drain['rounds']} pairs of {drain['jobs']:,} jobs{batch}", *("  " + words for words in rounds_of(drain))]
    for group, words in GROUPS.items():
        if group in ours["cpu_per_10k"]:
            lines.append(line(f"CPU s per 10k, {words}", ours["cpu_per_10k"][group], bare["cpu_per_10k"][group], 3,
                              gates.beside(result, "database") if group == "postgres" else ""))
    lines.append(line("CPU s per 10k, all", sum(ours["cpu_per_10k"].values()), sum(bare["cpu_per_10k"].values()), 3,
                      gates.beside(result, "cpu")))
    lines.append(line("commits per 10k", ours["commits_per_10k"], bare["commits_per_10k"], 0))
    for latency in result.get("latency", ()):
        lines += [line(f"start at {latency['rate_per_s']:,}/s, {quantile}, ms", latency[f"skep_{quantile}_ms"],
                       latency[f"bare_{quantile}_ms"], 2,
                       start_gate(result, quantile) if latency["rate_per_s"] == 200 else "") for quantile in ("p50", "p99")]
    lines.append(f"skepd's peak: {drain['peak_mib']:.1f} MiB{gates.beside(result, 'peak')}; jobs that were claimed more "
                 f"than once: {drain['again']}")
    if "idle" in result:
        rest = result["idle"]
        lines.append(f"idle: skepd {rest['skepd_rss_anon_mib']:.1f} MiB RssAnon, worker {rest['worker_rss_anon_mib']:.1f} MiB, "
                     f"{rest['wakeups_per_s']:.1f} wake-ups/s")
    return "\n" + "\n".join(lines) + "\n"


def write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def main():
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: asked to stop"))  # what was started is stopped
    results = {}
    try:
        for name, result in run_suites(options):
            results[name] = result
            print(SUITES[name].table(result), flush=True)
    except (Failed, stage.Trouble) as trouble:
        sys.exit(f"bench: {trouble}")
    finally:
        write(options.json, json.dumps(results, indent=2) + "\n")
        panels = chart.panels_of(results)
        if panels:
            write(options.svg, chart.draw(panels))
        print(f"figures: {options.json}" + (f"; charts: {options.svg}" if panels else "") + "\n")
        print(gates.summary(results, SUITES))


main()
