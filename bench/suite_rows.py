"""What finished rows in the ledger change: the same drain into a ledger with old rows and into an empty one."""
import contextlib

import ledger
from measure import run_pairs, say, summarize
from pair import BrokerPair
from sides import Postgres, RabbitMQ

STEPS = (0.1, 0.3, 1)  # of --rows: a point of the chart each, the last one measured in pairs


def plant(pair, url):
    """The row that the old ones are copied from."""
    jobs, pair.jobs, settle, pair.settle = pair.jobs, 1, pair.settle, 0
    pair.drain_into(url)
    pair.jobs, pair.settle = jobs, settle


def grow(pair, url, rows):
    """(rows, jobs a second) by step."""
    before = 0
    for share in STEPS[:-1]:
        ledger.fill_old(url, int(rows * share), before)
        before = int(rows * share)
        rate = pair.drain_into(url)["rate"]
        say(f"rows: {rate:,.0f}/s with {before:,} old rows")
        yield before, rate
    ledger.fill_old(url, rows, before)


def measure(options, servers):
    with contextlib.closing(Postgres(servers[0])) as book:
        pair = BrokerPair(options, RabbitMQ(servers[1]), book)
        pair.declare()
        url = book.new("skep_rows")
        plant(pair, url)
        points = list(grow(pair, url, options.rows))
        pairs, dropped, noisy = run_pairs("rows", pair.rounds, lambda: pair.drain_into(url), pair.drain_skep,
                                          names=("full", "empty"))
        drain = {"jobs": pair.jobs, "payload": pair.payload, "rows": options.rows,
                 **summarize(pairs, dropped, noisy)}
        drain["by_rows"] = dict([(0, drain["bare"]["rate"]), *points, (options.rows, drain["ours"]["rate"])])
        return {"drain": drain}
