#!/usr/bin/python3
"""What growth costs: jobs drained beside millions of rows, jobs, schedules and names, against an empty system.

    ./dev bench growth [PART...] [--scale F] [--ledger postgres|sqlite] [--json FILE] [--svg FILE] [more]

Parts: finished (10 million finished rows), backlog (5 million jobs waiting in one queue), schedules (10,000), types (1,000),
queues (100), workers (64): each drained in turn with an empty system, and told by jobs a second, CPU and commits per 10,000
jobs, skepd's peak of memory and the time from its start to being ready. prune: a million rows pruned while jobs flow, and as
many seconds of the same flow without. uuid4: letters of RabbitMQ with random message ids into PostgreSQL, which has kept 10
million such, against ordered ones. Without any: all that the ledger has. Hours, and 40 GB of disk; --scale 0.001 tries it out
in minutes.
"""
import argparse
import contextlib
import json
import os
import signal
import sys

sys.dont_write_bytecode = True  # a source tree stays as it is
import chart
import gates
import growth_prune
import ledger
import stage
from growth_node import Load, drain, fill, plant
from measure import NOISE, Failed, middle, say
from node import BUILD, Unix, place, skepd, wait_ready
from pair import BrokerPair
from sides import Postgres, RabbitMQ, Sqlite


def loads(scale):
    types = max(int(1000 * scale), 10)
    queues = min(max(int(100 * scale), 10), 100)
    listed = ", ".join(f'{{ pattern = "t.{number}"; timeout = "60s"; }}' for number in range(min(types, 1000)))
    queued = ", ".join(f'{{ name = "q{number}"; }}' for number in range(queues))
    return [Load("finished", int(10e6 * scale)), Load("backlog", int(5e6 * scale)),
            Load("schedules", max(int(10e3 * scale), 10)),
            Load("types", types, ("1", str(types)), f"types = ( {listed} );\n"),
            Load("queues", queues, (str(queues),), f"queues = ( {queued} );\n"),
            Load("workers", 64, sets=("handlers.workers=64",))]


def put_schedules(url, many):
    """Each once a day, round the clock."""
    with place() as where, skepd(where, url) as process:
        wait_ready(where, process)
        connection = Unix(f"{where}/s")
        for number in range(many):
            body = {"cron": f"{number % 60} {number // 60 % 24} * * *", "job": {"type": "noop", "payload": "x" * 254}}
            connection.request("PUT", f"/v1/schedules/s{number}", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status // 100 != 2:
                raise Failed(f"schedule {number}: {said.decode()}")


def prepare(book, url, load, jobs):
    """What has grown; jobs themselves come with each round."""
    if load.name == "finished":
        plant(book, url)
        book.fill_old(url, load.many)
    elif load.name == "backlog":
        fill(url, load.many - jobs if load.many > jobs else 1)
    elif load.name == "schedules":
        put_schedules(url, load.many)


def measure_load(book, load, jobs, rounds):
    """Grown and empty in turn. The grown ledger stays from round to round."""
    grown, pairs = book.keep("skep_grown"), []
    try:
        prepare(book, grown, load, jobs)
        for number in range(rounds):
            fill(grown, jobs, load.spread)
            book.rest(grown)
            ours = drain(book, grown, load, jobs)
            empty = book.new("skep_bench")
            fill(empty, jobs)
            book.rest(empty)
            pairs.append((ours, drain(book, empty, Load("empty", 0), jobs)))
            say(f"{load.name} {number + 1}/{rounds}: grown {ours['rate']:,.0f}/s, empty {pairs[-1][1]['rate']:,.0f}/s, "
                f"ready after {ours['ready_s']:.2f} s")
        wrong = book.wrong(grown)
        if wrong:
            raise Failed(f"audit: {wrong} completed rows are without their payload")
    finally:
        book.drop(grown)
    return summarize(load, jobs, pairs)


def summarize(load, jobs, pairs):
    result = {"many": load.many, "jobs": jobs, "pairs": pairs,
              "ratio": middle(ours["rate"] / empty["rate"] for ours, empty in pairs),
              "others": max(half["others"] for pair in pairs for half in pair)}
    result["noisy"] = result["others"] > NOISE
    for side, name in ((0, "grown"), (1, "empty")):
        halves = [pair[side] for pair in pairs]
        result[name] = {key: middle(half[key] for half in halves)
                        for key in ("rate", "ready_s", "peak_mib", "commits_per_10k", "others")}
        result[name]["cpu_per_10k"] = {group: middle(half["cpu_per_10k"][group] for half in halves)
                                       for group in halves[0]["cpu_per_10k"]}
    return result


# --- random message ids ----------------------------------------------------------------------------------------------

def measure_ids(options, servers, rows):
    """Two ledgers with as many kept keys, random ones and ordered ones, each fed with letters of its kind."""
    with contextlib.closing(Postgres(servers[0])) as book:
        pair = BrokerPair(options, RabbitMQ(servers[1]), book)
        pair.jobs = options.jobs
        pair.declare()
        urls = {}
        for ids in ("uuid4", "uuid"):
            urls[ids] = book.keep(f"skep_{ids}")
            pair.ids, pair.settle, pair.jobs = ids, 0, 1
            pair.drain_into(urls[ids])
            pair.settle, pair.jobs = options.settle, options.jobs
            ledger.fill_old(urls[ids], rows, keys=ids)
        pairs = []
        for number in range(options.rounds):
            halves = {}
            for ids, url in urls.items():
                pair.ids = ids
                halves[ids] = pair.drain_into(url)
            pairs.append((halves["uuid4"], halves["uuid"]))
            say(f"uuid4 {number + 1}/{options.rounds}: random {halves['uuid4']['rate']:,.0f}/s, ordered "
                f"{halves['uuid']['rate']:,.0f}/s")
        return summarize(Load("uuid4", rows), options.jobs,
                         [tuple({**half, "ready_s": 0.0} for half in halves) for halves in pairs])


# --- the program -----------------------------------------------------------------------------------------------------

def read_options():
    parser = argparse.ArgumentParser(prog="./dev bench growth", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--ledger", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--scale", type=float, default=1, help="all sizes by so much (1)")
    parser.add_argument("--jobs", type=int, default=100000, help="jobs of a round (100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each part (3)")
    parser.add_argument("--settle", type=float, default=10, metavar="SECONDS", help="rest of the broker (10)")
    parser.add_argument("--json", metavar="FILE", default=os.path.join(BUILD, "growth.json"))
    parser.add_argument("--svg", metavar="FILE", default=os.path.join(BUILD, "growth.svg"))
    options = parser.parse_args()
    options.full, options.latency, options.ids = False, None, "uuid"
    names = [load.name for load in loads(options.scale)] + ["prune"] + (["uuid4"] if options.ledger == "postgres" else [])
    options.parts = options.parts or names
    unknown = [word for word in options.parts if word not in names]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def line(name, result, key, digits):
    grown, empty = result["grown"][key], result["empty"][key]
    return f"  {name:<26}{grown:>14,.{digits}f}{empty:>14,.{digits}f}   {grown / empty if empty else 0:>5.2f}"


def table(name, result):
    left, right = ("random ids", "ordered") if name == "uuid4" else ("grown", "empty")
    lines = [f"{name}: {result['many']:,}, {len(result['pairs'])} rounds of {result['jobs']:,} jobs; median of the "
             f"ratios {result['ratio']:.2f}", f"{'':<28}{left:>14}{right:>14}   ratio",
             line("jobs/s", result, "rate", 0) + gates.beside(result, "grown"),
             line("commits per 10k", result, "commits_per_10k", 0),
             line("skepd's peak, MiB", result, "peak_mib", 1)]
    if name != "uuid4":
        lines.append(line("start to ready, s", result, "ready_s", 3))
    for group in result["grown"]["cpu_per_10k"]:
        both = {side: {"cpu": result[side]["cpu_per_10k"][group]} for side in ("grown", "empty")}
        lines.append(line(f"CPU s per 10k, {'skepd' if group == 'loop' else group}", both, "cpu", 3))
    if result["noisy"]:
        lines.append(f"  other programs used up to {result['others']:.1f} cores meanwhile: no verdict")
    return "\n" + "\n".join(lines) + "\n"


def run_parts(options):
    """(name, result, table)"""
    wants_broker = "uuid4" in options.parts
    with stage.serve("rabbitmq" if wants_broker else None, options.ledger == "postgres") as servers, \
            contextlib.closing((Postgres if options.ledger == "postgres" else Sqlite)(servers[0])) as book:
        for load in loads(options.scale):
            if load.name in options.parts:
                result = measure_load(book, load, options.jobs, options.rounds)
                result["gates"] = gates.judge(load.name, result)
                yield load.name, result, table(load.name, result)
        if "prune" in options.parts:
            result = growth_prune.measure(book, max(int(1e6 * options.scale), 1000), options.rounds)
            result["gates"] = gates.judge("prune", result)
            yield "prune", result, growth_prune.table(result, gates.beside(result, "prune"))
        if wants_broker:
            result = measure_ids(options, servers, int(10e6 * options.scale))
            yield "uuid4", result, table("uuid4", result)


def write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def panels_of(results):
    panels = []
    if "finished" in results:
        one = results["finished"]
        panels.append(chart.Panel("jobs drained a second against rows in the ledger", "finished rows",
                                  {"drain": {0: one["empty"]["rate"], one["many"]: one["grown"]["rate"]}}))
    if "prune" in results:
        seconds, control = results["prune"]["seconds"], results["prune"]["control"]
        panels.append(chart.Panel("jobs a second while rows are pruned", "seconds",
                                  {"jobs": {at + 1: rate for at, (rate, _) in enumerate(seconds)},
                                   "jobs, nothing to prune": {at + 1: rate for at, (rate, _) in enumerate(control)},
                                   "rows pruned": {at + 1: gone for at, (_, gone) in enumerate(seconds)}}, linear=True))
    return panels


def main():
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: asked to stop"))  # what was started is stopped
    results = {}
    try:
        for name, result, text in run_parts(options):
            results[name] = result
            print(text, flush=True)
    except (Failed, stage.Trouble) as trouble:
        sys.exit(f"bench: {trouble}")
    finally:
        write(options.json, json.dumps({"ledger": options.ledger, "scale": options.scale, **results}, indent=2) + "\n")
        panels = panels_of(results)
        if panels:
            write(options.svg, chart.draw(panels))
        print(f"figures: {options.json}" + (f"; charts: {options.svg}" if panels else "") + "\n")
        print(gates.summary(results))


main()
