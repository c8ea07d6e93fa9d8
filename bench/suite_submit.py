"""Submission: single POSTs at a steady rate, batches, and an NDJSON file through the command line, beside a loop that
inserts the same rows by hand. Each into a new ledger, and each followed by the audit that all jobs were done: at once for
single POSTs, when all of them are in for the others."""
import contextlib
import json
import os
import time

import gates
import ledger
from measure import Failed, lower_quartile, middle, run_json, run_text, say
from node import SKEP, Unix, place, program, skepd, wait_drained, wait_ready

RATE = 1000           # single POSTs a second
BATCHES = (1, 10, 100, 1000)
BEST = 1000


def tell(where, what):
    connection = Unix(f"{where}/s")
    connection.request("POST", f"/v1/queues/default/{what}")
    answer = connection.getresponse()
    if answer.status != 200:
        raise Failed(f"{what}: {answer.status} {answer.read().decode()}")


@contextlib.contextmanager
def node(book, jobs, paused=True):
    """The folder of a skepd that is ready; afterwards the jobs are waited for and audited. paused: until then none of
    them starts, as the bare loop runs none."""
    url = book.new("skep_bench")
    first = ledger.first_id()
    with place() as where:
        with skepd(where, url) as process:
            wait_ready(where, process)
            if paused:
                tell(where, "pause")
            yield where
            if paused:
                tell(where, "resume")
            wait_drained(where, process, lambda: book.finished(url, first), jobs)
    book.audit(url, first, jobs)


def post(book, *words, jobs, paused=True):
    with node(book, jobs, paused) as where:
        return run_json([*program("bench-post"), f"{where}/s", *words])


def single(book, seconds):
    return post(book, "pace", str(seconds * RATE), str(RATE), jobs=seconds * RATE, paused=False)


def batches(book, jobs, batch):
    return post(book, "fill", str(jobs), str(batch), jobs=jobs)


def payload(number):
    """256 bytes with its quotes, as bench-post's."""
    return f"{int(time.time() * 1e6):019d} {number:010d} ".ljust(254, "x")


def ndjson(book, jobs):
    """Jobs a second of `skep enqueue -f FILE`, its start included."""
    with node(book, jobs) as where:
        path = os.path.join(where, "jobs.ndjson")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"type": "noop", "payload": payload(number)}) + "\n" for number in range(jobs))
        begin = time.monotonic()
        run_text([SKEP, "--url", f"unix:{where}/s", "enqueue", "-f", path])
        return {"rate": jobs / (time.monotonic() - begin)}


def bare(book, jobs, batch):
    return run_json([*program(f"bare-{book.name}"), book.new("bare_bench"), "fill", str(jobs), str(batch)])


def best_pairs(book, rounds, jobs):
    """Array of BEST, NDJSON and the bare loop, one after the other, `rounds` times."""
    taken = []
    for number in range(rounds):
        taken.append((batches(book, jobs, BEST)["rate"], ndjson(book, jobs)["rate"], bare(book, jobs, BEST)["rate"]))
        say(f"submit {book.name} {number + 1}/{rounds}: batch {taken[-1][0]:,.0f}/s, NDJSON {taken[-1][1]:,.0f}/s, "
            f"bare {taken[-1][2]:,.0f}/s")
    return taken


def measure(options, book):
    rounds = options.rounds or (5 if options.full else 3)
    jobs = options.jobs or (200000 if options.full else 50000)
    paced = [single(book, options.latency or (10 if options.full else 3)) for _ in range(rounds)]
    taken = best_pairs(book, rounds, jobs)
    few = {batch: max(jobs * batch // BEST // 2, 200) for batch in BATCHES[:-1]}
    by_batch = {batch: {"skep": batches(book, few[batch], batch)["rate"], "bare": bare(book, few[batch], batch)["rate"]}
                for batch in few}
    by_batch[BEST] = {"skep": middle(one[0] for one in taken), "bare": middle(one[2] for one in taken)}
    ratios = [ours / loop for ours, _, loop in taken]
    return {
        "rate_per_s": RATE, "p50_ms": middle(one["p50_ms"] for one in paced), "p99_ms": middle(one["p99_ms"] for one in paced),
        "jobs": jobs, "rounds": rounds, "batch": BEST, "batch_per_s": by_batch[BEST]["skep"],
        "ndjson_per_s": middle(one[1] for one in taken), "bare_per_s": by_batch[BEST]["bare"],
        "ratio": middle(ratios), "ratio_lower_quartile": lower_quartile(ratios),
        "ndjson_ratio": middle(cli / loop for _, cli, loop in taken),
        "by_batch": by_batch,
    }


def table(name, result):
    lines = [
        f"submission ({name}), 256-byte payloads", "",
        f"single POST at {result['rate_per_s']:,}/s: p50 {result['p50_ms']:.2f} ms, p99 {result['p99_ms']:.2f} ms"
        + gates.beside(result, "post_p99"),
        f"{'':<28}{'skep':>14}{'bare insert':>14}   ratio",
        f"{'arrays of ' + str(result['batch']) + ', jobs/s':<28}{result['batch_per_s']:>14,.0f}"
        f"{result['bare_per_s']:>14,.0f}   {result['ratio']:>5.2f}  (lower quartile "
        f"{result['ratio_lower_quartile']:.2f}; {result['rounds']} rounds of {result['jobs']:,} jobs)"
        + gates.beside(result, "arrays"),
        f"{'NDJSON by skep enqueue -f':<28}{result['ndjson_per_s']:>14,.0f}{result['bare_per_s']:>14,.0f}   "
        f"{result['ndjson_ratio']:>5.2f}"]
    for batch, rates in list(result["by_batch"].items())[:-1]:
        lines.append(f"{'arrays of ' + str(batch) + ', jobs/s':<28}{rates['skep']:>14,.0f}{rates['bare']:>14,.0f}   "
                     f"{rates['skep'] / rates['bare']:>5.2f}")
    return "\n" + "\n".join(lines) + "\n"
