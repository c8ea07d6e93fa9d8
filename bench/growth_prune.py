"""Rows pruned while jobs flow: is there a dip? Jobs are submitted without a pause and end at once; each second is counted."""
import subprocess
import time

from growth_node import plant
from measure import Failed, middle, say
from node import place, program, read_metrics, skepd, wait_ready

BATCH = 100
PATIENCE = 7200
KEEP = "retention = { completed = \"7d\"; };\n"
OLD_DAYS = 15        # and less than a week of them: all are over the seven days


def counts(where):
    metrics = read_metrics(where)
    return (sum(value for name, value in metrics.items() if name.startswith("skep_jobs_finished_total")),
            metrics.get("skep_jobs_pruned_total", 0.0))


def load(where):
    """An endless producer: what it posts in a second is what ends in a second."""
    return subprocess.Popen([*program("bench-post"), f"{where}/s", "fill", "100000000", str(BATCH), "4"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def watch(where, rows, process, producer):
    """[(jobs ended, rows pruned)] by second, until all are gone and five seconds more."""
    seconds, before, after = [], counts(where), 0
    begin = then = time.monotonic()
    while after < 5:
        time.sleep(1)
        now, at = counts(where), time.monotonic()
        seconds.append(tuple((new - old) / (at - then) for new, old in zip(now, before)))
        before, then = now, at
        after += now[1] >= rows
        if process.poll() is not None or producer.poll() is not None or at > begin + PATIENCE:
            raise Failed(f"{now[1]:.0f} of {rows} rows are pruned")
    return seconds


def measure(book, rows):
    url = book.new("skep_prune")
    plant(book, url)
    book.fill_old(url, rows, days=OLD_DAYS)
    book.rest(url)
    with place() as where, skepd(where, url, KEEP) as process:
        wait_ready(where, process)
        with load(where) as producer:
            seconds = watch(where, rows, process, producer)
            producer.kill()
    before = [jobs for jobs, gone in seconds if not gone][1:]
    during = [jobs for jobs, gone in seconds if gone]
    say(f"prune: {rows:,} rows went in {len(during)} s")
    if not before or not during:
        raise Failed("nothing was pruned, or all of it before anything could be seen")
    return {"rows": rows, "seconds": seconds, "took_s": len(during), "before_per_s": middle(before),
            "during_per_s": middle(during), "worst_before_per_s": min(before), "worst_during_per_s": min(during),
            "ratio": middle(during) / middle(before)}


def table(result):
    return (f"\nprune: {result['rows']:,} rows in {result['took_s']} s, jobs flowing meanwhile\n"
            f"{'':<28}{'meanwhile':>14}{'before':>14}   ratio\n"
            f"  {'jobs/s, median second':<26}{result['during_per_s']:>14,.0f}{result['before_per_s']:>14,.0f}   "
            f"{result['ratio']:>5.2f}\n"
            f"  {'jobs/s, worst second':<26}{result['worst_during_per_s']:>14,.0f}{result['worst_before_per_s']:>14,.0f}\n")
