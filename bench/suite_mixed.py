"""Fast jobs beside slow ones, on one node without a broker: what do slow jobs take from fast ones?

Slow jobs sleep for a second, two at a time (their queue's concurrency), on a node of four workers. Fast jobs beside them are
measured against the same fast jobs on a node that has only the two workers left, and no slow jobs: what is lost beyond the
workers that slow jobs occupy is the fault of skep. That is stricter than half the rate of four workers, which is told as
well: where two cores are the limit, two workers do nearly as much as four.

`noop`: jobs that do nothing, so that the processors are the limit; `brief`: jobs of 2 ms, so that the workers are. Then how
long single fast jobs wait at 200 a second, also when slow ones are of the same type in the same queue, where nobody can
know them beforehand; and what two nodes do when jobs that took microseconds suddenly take two seconds.
"""
import contextlib
import json
import os
import shutil
import time

import gates
from measure import NOISE, Failed, Meter, lower_quartile, middle, run_json, run_pairs, say
from node import BUILD, Unix, place, program, read_metrics, skepd, wait_ready
from pair import quantiles
from sides import Postgres, Sqlite
from suite_submit import tell
from tables import line

WORKERS, SLOW_AT_ONCE, SLOW_MS, BRIEF_MS = 4, 2, 1000, 2
SLOW_JOBS = 2000       # more than can run while anything is measured
RATE = 200             # fast jobs a second, where their wait is measured
HIDDEN_EVERY = 200     # one of so many is slow, where they are of one type and queue
CONFIG = f'queues = ( {{ name = "default"; }}, {{ name = "slow"; concurrency = {SLOW_AT_ONCE}; }} );\n'
TURN_MS, TURN_JOBS, TURN_TAUGHT, TURN_WORKERS = 2000, 16, 5000, 2
PATIENCE = 600


# --- a node ---

@contextlib.contextmanager
def node(url, workers):
    """(its folder, its pid)"""
    with place() as where:
        os.makedirs(f"{where}/handlers", mode=0o755)
        shutil.copy(os.path.join(BUILD, "handlers", "sleep.so"), f"{where}/handlers/sleep.so")
        with skepd(where, url, CONFIG, (f"handlers.workers={workers}",)) as process:
            wait_ready(where, process)
            yield where, process.pid


def submit(where, jobs):
    """In arrays of 1,000 at most."""
    connection = Unix(f"{where}/s")
    for at in range(0, len(jobs), 1000):
        connection.request("POST", "/v1/jobs", json.dumps(jobs[at:at + 1000]), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode()
        if answer.status != 201:
            raise Failed(f"POST: {answer.status} {said[:300]}")


def sleeps(ms, many, queue="default"):
    return [{"type": "sleep", "queue": queue, "payload": {"ms": ms}}] * many


def ended(where, queue="default"):
    return sum(value for name, value in read_metrics(where).items()
               if name.startswith("skep_jobs_finished_total") and f'queue="{queue}"' in name)


def wait_for(what, probe):
    end = time.monotonic() + PATIENCE
    while not probe():
        if time.monotonic() > end:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.05)


def begin_slow(where):
    submit(where, sleeps(SLOW_MS, SLOW_JOBS, "slow"))
    wait_for("the first slow jobs", lambda: ended(where, "slow") >= SLOW_AT_ONCE)


def audit(book, url, jobs):
    """(first start, last end) of the fast jobs in seconds. All of them are there and done, and none was claimed twice
    unless it is counted."""
    count, good, once, begin, end = book.rows(url, "select count(*), sum(state = 4), sum(claim = 1), min(started), "
                                                   "max(finished) from jobs where queue = 'default'")[0]
    if (count, good) != (jobs, jobs):
        raise Failed(f"audit: of {jobs} fast jobs there are {count} rows, {good} completed")
    return begin / 1e6, end / 1e6, jobs - once


# --- a backlog of fast jobs ---

def slow_times(book, url):
    """[(start, end)] in seconds, by start."""
    rows = book.rows(url, "select started, finished from jobs where queue = 'slow' and finished > 0 order by started")
    return [(start / 1e6, end / 1e6) for start, end in rows]


def share_of(times, begin, end):
    """How much of the time of the workers that slow jobs may have they had between the two."""
    busy = sum(max(min(last, end) - max(first, begin), 0) for first, last in times)
    return busy / (SLOW_AT_ONCE * (end - begin))


def waits_of(times):
    """Milliseconds from the end of a slow job to the start of the one that takes its place."""
    return [max(after[0] - before[1], 0) * 1e3 for before, after in zip(times, times[SLOW_AT_ONCE:])]


def put_fast(where, kind, jobs):
    if kind == "noop":
        run_json([*program("bench-post"), f"{where}/s", "fill", str(jobs), "1000"])
    else:
        submit(where, sleeps(BRIEF_MS, jobs))


def drain(book, kind, jobs, workers, slow):
    """A backlog of fast jobs, let go at once when slow ones are running."""
    url = book.new("skep_bench")
    with node(url, workers) as (where, pid):
        tell(where, "pause")
        put_fast(where, kind, jobs)
        if slow:
            begin_slow(where)
        meter = Meter({"loop": [pid]})
        tell(where, "resume")
        wait_for("the fast jobs", lambda: ended(where) >= jobs)
        others = meter.stop()["others"]
    begin, end, again = audit(book, url, jobs)
    times = slow_times(book, url) if slow else []
    return {"rate": jobs / (end - begin), "others": others, "again": again,
            "slow_share": share_of(times, begin, end) if slow else None, "slow_waits_ms": waits_of(times)}


def measure_kind(book, kind, jobs, rounds):
    """Beside slow jobs and on the workers left alone, in turn; and once a round with all workers and no slow jobs."""
    whole = [drain(book, kind, jobs, WORKERS, False)["rate"] for _ in range(rounds)]
    pairs, dropped, noisy = run_pairs(f"mixed, {kind}", rounds, lambda: drain(book, kind, jobs, WORKERS, True),
                                      lambda: drain(book, kind, jobs, WORKERS - SLOW_AT_ONCE, False),
                                      names=("beside slow", "left alone"))
    beside, alone = (middle(pair[side]["rate"] for pair in pairs) for side in (0, 1))
    ratios = [ours["rate"] / left["rate"] for ours, left in pairs]
    waits = [wait for ours, _ in pairs for wait in ours["slow_waits_ms"]]
    return {"jobs": jobs, "rounds": len(pairs), "dropped": dropped, "noisy": noisy, "pairs": pairs,
            "beside_per_s": beside, "alone_per_s": alone, "whole_per_s": middle(whole),
            "ratio_of_medians": beside / alone, "ratio": middle(ratios), "ratio_lower_quartile": lower_quartile(ratios),
            "of_share": beside / (middle(whole) * (WORKERS - SLOW_AT_ONCE) / WORKERS),
            "slow_share": middle(ours["slow_share"] for ours, _ in pairs), "slow_wait": quantiles(waits) if waits else None,
            "again": sum(half["again"] for pair in pairs for half in pair)}


# --- single fast jobs ---

def starts(book, url, what):
    return [(start - made) / 1000 for made, start in book.rows(url, f"select created, started from jobs where {what}")]


def wait_beside(book, seconds, workers, slow):
    """From a fast job's submission to its start, at RATE a second."""
    url, jobs = book.new("skep_bench"), RATE * seconds
    with node(url, workers) as (where, _):
        if slow:
            begin_slow(where)
        run_json([*program("bench-post"), f"{where}/s", "pace", str(jobs), str(RATE)])
        wait_for("the fast jobs", lambda: ended(where) >= jobs)
    audit(book, url, jobs)
    return quantiles(starts(book, url, "queue = 'default'"))


def wait_hidden(book, seconds, slow):
    """The same where one of HIDDEN_EVERY is slow, and nothing tells it from the others before it runs."""
    url, jobs = book.new("skep_bench"), RATE * seconds
    with node(url, WORKERS) as (where, _):
        begin = time.monotonic()
        for number in range(jobs):
            time.sleep(max(begin + number / RATE - time.monotonic(), 0))
            hidden = slow and number % HIDDEN_EVERY == HIDDEN_EVERY // 2
            submit(where, sleeps(SLOW_MS if hidden else 0, 1))
        wait_for("the jobs", lambda: ended(where) >= jobs)
    audit(book, url, jobs)
    return quantiles(starts(book, url, f"finished - started < {SLOW_MS * 1000 // 2}"))


def middles(rounds):
    return {name: middle(one[name] for one in rounds) for name in ("p50_ms", "p99_ms")}


def measure_waits(book, seconds, rounds):
    cases = {"beside slow ones": lambda: wait_beside(book, seconds, WORKERS, True),
             "on the workers left alone": lambda: wait_beside(book, seconds, WORKERS - SLOW_AT_ONCE, False),
             "slow ones among them": lambda: wait_hidden(book, seconds, True),
             "none among them": lambda: wait_hidden(book, seconds, False)}
    taken = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            taken[name].append(case())
        say(f"mixed, waits {number + 1}/{rounds}: p99 " +
            ", ".join(f"{name} {waits[-1]['p99_ms']:.2f} ms" for name, waits in taken.items()))
    return {name: middles(waits) for name, waits in taken.items()}


# --- fast jobs that turn slow ---

def look(where):
    """(claimed and not ended, workers at work)"""
    metrics = read_metrics(where)
    return int(metrics["skep_claimed_jobs"]), int(metrics['skep_worker_slots{state="busy"}'])


def measure_turn(book):
    """Two nodes; how many jobs each ran and how many it held at most without their having started."""
    url = book.new("skep_bench")
    with node(url, TURN_WORKERS) as (one, _), node(url, TURN_WORKERS) as (other, _):
        both = (one, other)
        submit(one, sleeps(0, TURN_TAUGHT))
        wait_for("the jobs that end at once", lambda: sum(map(ended, both)) >= TURN_TAUGHT)
        before, held = [ended(where) for where in both], [0, 0]
        submit(one, sleeps(TURN_MS, TURN_JOBS))
        begin = time.monotonic()

        def done():
            for number, (claimed, busy) in enumerate(map(look, both)):
                held[number] = max(held[number], claimed - busy)
            return sum(map(ended, both)) - sum(before) >= TURN_JOBS
        wait_for("the jobs that take long", done)
        took = time.monotonic() - begin
        ran = [int(ended(where) - old) for where, old in zip(both, before)]
    say(f"mixed: {TURN_JOBS} jobs turned slow: run {ran[0]} and {ran[1]}, held {held[0]} and {held[1]}")
    return {"jobs": TURN_JOBS, "ran": sorted(ran), "held": max(held), "took_s": took,
            "least_s": TURN_JOBS / (2 * TURN_WORKERS) * TURN_MS / 1000}


# --- the suite ---

def measure(options, servers):
    rounds = options.rounds or (5 if options.full else 3)
    jobs = options.jobs or (300000 if options.full else 100000)
    with contextlib.closing(Sqlite()) as book:
        kinds = {kind: measure_kind(book, kind, many, rounds)
                 for kind, many in (("noop", jobs), ("brief", max(jobs // 20, 500)))}
        waits = measure_waits(book, options.latency or (10 if options.full else 3), rounds)
    return {**kinds, "jobs": jobs, "waits": waits, "slow": {
        "share": min(kind["slow_share"] for kind in kinds.values()), "noisy": any(kind["noisy"] for kind in kinds.values())},
            "turn": measure_turn(Postgres(servers[0]))}


# --- its table ---

KINDS = {"noop": "no-op jobs", "brief": f"jobs of {BRIEF_MS} ms"}


def table(result):
    left = WORKERS - SLOW_AT_ONCE
    lines = [f"fast jobs beside slow ones: SQLite alone, {WORKERS} workers, {SLOW_AT_ONCE} of them "
             f"at jobs of {SLOW_MS / 1000:g} s", "", f"{'':<28}{'beside slow':>14}{f'{left} left alone':>14}   ratio"]
    for kind, words in KINDS.items():
        one = result[kind]
        lines += [line(words + ", jobs/s", one["beside_per_s"], one["alone_per_s"], 0, gates.beside(result, kind)),
                  f"  median of the pairs {one['ratio']:.2f}, lower quartile {one['ratio_lower_quartile']:.2f}; "
                  f"{one['rounds']} pairs of {one['jobs']:,} jobs; all {WORKERS} workers without slow jobs: "
                  f"{one['whole_per_s']:,.0f}/s, of whose share of {left} it is {one['of_share']:.2f}"]
        if one["noisy"]:
            lines.append(f"  noisy: others used over {NOISE} cores in every round")
        if one["slow_wait"]:
            lines.append(f"  a worker for the next slow job: p50 {one['slow_wait']['p50_ms']:.1f} ms, p99 "
                         f"{one['slow_wait']['p99_ms']:.1f} ms after the one before it")
    lines.append(f"slow jobs had their workers for {result['slow']['share']:.2f} of the time"
                 + gates.beside(result, "slow"))
    lines.append(f"start of single fast jobs at {RATE}/s, p50 / p99, ms")
    lines += [f"  {name:<26}{wait['p50_ms']:>8.2f} / {wait['p99_ms']:.2f}" for name, wait in result["waits"].items()]
    turn = result["turn"]
    lines.append(f"{turn['jobs']} jobs that turned slow on two nodes (PostgreSQL): {turn['ran'][1]} ran on one and "
                 f"{turn['ran'][0]} on the other; held without starting: at most {turn['held']} by one node; "
                 f"{turn['took_s']:.1f} s, of at least {turn['least_s']:.0f} s")
    return "\n" + "\n".join(lines) + "\n"
