"""Rows pruned while jobs flow: is there a dip? Jobs are submitted without a pause and end at once; each second is counted.
The same flow runs for as many seconds into a ledger without old rows: it changes with the rows that it leaves behind, so what
pruning costs is told by the same seconds of the two, and not by those before it begins."""
import subprocess
import time

from growth_node import plant
from measure import NOISE, Failed, Meter, middle, say
from node import place, program, read_metrics, skepd, wait_ready

BATCH = 100
PATIENCE = 7200
KEEP = "retention = { completed = \"7d\"; };\n"
OLD_DAYS = 15        # and less than a week of them: all are over the seven days
AFTER = 5            # seconds


def counts(where):
    metrics = read_metrics(where)
    return (sum(value for name, value in metrics.items() if name.startswith("skep_jobs_finished_total")),
            metrics.get("skep_jobs_pruned_total", 0.0))


def load(where):
    """An endless producer: what it posts in a second is what ends in a second."""
    return subprocess.Popen([*program("bench-post"), f"{where}/s", "fill", "100000000", str(BATCH), "4"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def watch(where, rows, most, process, producer):
    """[(jobs ended, rows pruned)] by second: so many seconds, or with 0 until all rows are gone and a few more."""
    seconds, before, after = [], counts(where), 0
    begin = then = time.monotonic()
    while after < AFTER and len(seconds) < (most or PATIENCE):
        time.sleep(1)
        now, at = counts(where), time.monotonic()
        seconds.append(tuple((new - old) / (at - then) for new, old in zip(now, before)))
        before, then = now, at
        after += bool(rows) and now[1] >= rows
        if process.poll() is not None or producer.poll() is not None or at > begin + PATIENCE:
            raise Failed(f"{now[1]:.0f} of {rows} rows are pruned")
    return seconds


def flow(book, rows, most=0):
    """(seconds, what others used)"""
    url = book.new("skep_prune")
    plant(book, url)
    if rows:
        book.fill_old(url, rows, days=OLD_DAYS)
    book.rest(url)
    with place() as where, skepd(where, url, KEEP) as process:
        wait_ready(where, process)
        with load(where) as producer:
            meter = Meter(book.groups)
            seconds = watch(where, rows, most, process, producer)
            used = meter.stop(loop=process.pid, producer=producer.pid)
            producer.kill()
    return seconds, used["others"]


def compare(pruned, control):
    """Of the seconds in which rows went, and the same ones of the flow beside which none did."""
    during = [at for at, (_, gone) in enumerate(pruned) if gone]
    if not during:
        raise Failed("nothing was pruned")
    ours, bare = ([seconds[at][0] for at in during] for seconds in (pruned, control))
    return {"seconds": pruned, "control": control, "took_s": len(during), "during_per_s": middle(ours),
            "control_per_s": middle(bare), "worst_during_per_s": min(ours), "worst_control_per_s": min(bare),
            "ratio": middle(ours) / middle(bare)}


def measure(book, rows, rounds):
    """The two in turn."""
    pairs, others = [], []
    for number in range(rounds):
        pruned = flow(book, rows)
        control = flow(book, 0, len(pruned[0]))
        pairs.append(compare(pruned[0], control[0]))
        others += [pruned[1], control[1]]
        say(f"prune {number + 1}/{rounds}: {rows:,} rows went in {pairs[-1]['took_s']} s, jobs {pairs[-1]['ratio']:.2f} of "
            "those without")
    return {**pairs[0], **{key: middle(pair[key] for pair in pairs) for key in pairs[0] if key not in ("seconds", "control")},
            "rows": rows, "pairs": pairs, "others": max(others), "noisy": max(others) > NOISE}


def table(result, verdict=""):
    lines = [f"prune: {result['rows']:,} rows in {result['took_s']:.0f} s while jobs flow; medians of {len(result['pairs'])}",
             f"{'':<28}{'meanwhile':>14}{'without':>14}   ratio",
             f"  {'jobs/s, median second':<26}{result['during_per_s']:>14,.0f}{result['control_per_s']:>14,.0f}   "
             f"{result['ratio']:>5.2f}{verdict}",
             f"  {'jobs/s, worst second':<26}{result['worst_during_per_s']:>14,.0f}{result['worst_control_per_s']:>14,.0f}"]
    if result["noisy"]:
        lines.append(f"  other programs used up to {result['others']:.1f} cores meanwhile: no verdict")
    return "\n" + "\n".join(lines) + "\n"
