"""PostgreSQL alone: the jobs wait in the ledger, no broker."""
import ledger
from bareloop import BareDrain
from measure import Meter, best_batch, per_10k, run_pairs, run_text, status_kib, summarize
from node import place, program, skepd, wait_drained
from stage import roots

GATE = 0.80
FILL = program("bench-fill")
BARE = program("bare-postgres")


def drain_skep(database, jobs):
    url = database.new_database("skep_bench")
    first = ledger.first_id()
    run_text([FILL, url, str(jobs)])
    ledger.sql(url, "vacuum (analyze) skep.jobs")  # as the bare table is, and as autovacuum would within a minute
    ledger.sql(url, "checkpoint")
    with place() as where:
        meter = Meter({"postgres": roots(database)})
        with skepd(where, url) as process:
            wait_drained(where, process, lambda: ledger.finished(url, first), jobs)
            used = meter.stop(loop=process.pid)
            peak = status_kib(process.pid, "VmHWM") / 1024
    seen = ledger.audit(url, first, jobs)
    return {"rate": jobs / (seen["finished"] - seen["started"]), "cpu_per_10k": per_10k(used["cpu"], jobs),
            "others": used["others"], "peak_mib": peak, "again": seen["again"]}


def drain_bare(database, jobs, batch):
    url = database.new_database("bare_bench")
    run_text([BARE, url, "fill", str(jobs)])
    ledger.sql(url, "checkpoint")
    return BareDrain([BARE, url, "drain", str(batch)], {"postgres": roots(database)}).result(jobs)


def measure(options, servers):
    database, _ = servers
    jobs = options.jobs or (300000 if options.full else 100000)
    batch = best_batch(lambda size: drain_bare(database, jobs, size))
    pairs, dropped, noisy = run_pairs("postgres", options.rounds or (9 if options.full else 3),
                                      lambda: drain_skep(database, jobs), lambda: drain_bare(database, jobs, batch))
    return {"drain": {"jobs": jobs, "bare_batch": batch, **summarize(pairs, dropped, noisy, GATE)}}
