"""A broker and a ledger: the letters wait in the broker's queue; and what ten million old rows change."""
import contextlib
import json
import subprocess
import time

import ledger
from bareloop import BareDrain
from measure import Failed, Meter, best_batch, middle, per_10k, run_pairs, run_text, say, status_kib, summarize
from node import log_end, place, program, skepd, wait_drained, wait_ready
from sides import Nats, Postgres, RabbitMQ, Sqlite
from stage import roots

GATE = 0.80
GATE_ROWS = 0.85
PATIENCE = 10  # seconds: for acknowledgements that the broker has still to take


class Bench:
    def __init__(self, options, broker, book):
        self.broker, self.ledger = broker, book
        self.bare = [program(f"bare-{broker.name}-{book.name}"), broker.url]
        self.jobs = options.jobs or (300000 if options.full else 100000)
        self.rounds = options.rounds or (9 if options.full else 3)
        self.latency_jobs = 2000 if options.full else 600
        self.settle = options.settle
        self.ids = options.ids
        self.groups = {broker.name: roots(broker.server), **book.groups}

    def declare(self):
        """skepd makes its own queue; the bare loop's joins it."""
        url = self.ledger.new("skep_bench")
        queue = self.broker.ours[0]
        with place() as where, skepd(where, url, self.broker.config) as process:
            wait_ready(where, process)
            end = time.monotonic() + 30
            while self.broker.depth(queue) is None:
                if time.monotonic() > end:
                    raise Failed(f"skepd makes no {queue}; it says:\n{log_end(where)}")
                time.sleep(0.2)
        self.broker.publish("declare", *self.broker.bare)
        time.sleep(self.broker.young)

    def fill(self, key):
        """RabbitMQ goes on writing for a while after it has confirmed; a drain in that time costs half as much again."""
        self.broker.publish("fill", key, str(self.jobs), self.ids)
        time.sleep(self.settle)

    def empty(self, queue):
        """What was unacknowledged when its reader left is ready again by now, or will not be taken any more."""
        end = time.monotonic() + PATIENCE
        while self.broker.depth(queue) and time.monotonic() < end:
            time.sleep(0.2)
        left = self.broker.depth(queue)
        if left:
            raise Failed(f"audit: {left} letters are left in {queue}")

    def drain(self, url):
        """One drain by skepd into that ledger, which may hold rows already."""
        queue, key = self.broker.ours
        self.fill(key)
        first = ledger.first_id()
        self.ledger.rest(url)
        with place() as where:
            meter = Meter(self.groups)
            with skepd(where, url, self.broker.config) as process:
                wait_drained(where, process, lambda: self.ledger.finished(url, first), self.jobs)
                used = meter.stop(loop=process.pid)
                peak = status_kib(process.pid, "VmHWM") / 1024
        seen = self.ledger.audit(url, first, self.jobs)
        self.empty(queue)
        return {"rate": self.jobs / (seen["finished"] - seen["started"]), "cpu_per_10k": per_10k(used["cpu"], self.jobs),
                "others": used["others"], "peak_mib": peak, "again": seen["again"],
                "first_start_s": seen["started"] - seen["created"]}

    def drain_skep(self):
        return self.drain(self.ledger.new("skep_bench"))

    def new_bare(self):
        url = self.ledger.new("bare_bench")
        run_text([*self.bare, url, "reset"])
        return url

    def drain_bare(self, batch):
        url = self.new_bare()
        queue, key = self.broker.bare
        self.fill(key)
        self.ledger.rest(url)
        result = BareDrain([*self.bare, url, "drain", queue, str(self.jobs), str(batch)], self.groups).result(self.jobs)
        self.empty(queue)
        return result

    def pace(self, key, rate):
        self.broker.publish("pace", key, str(self.latency_jobs), str(rate), self.ids)

    def latency_skep(self, rate):
        """From being sent to the handler's start, both by this machine's clock."""
        url = self.ledger.new("skep_bench")
        first = ledger.first_id()
        with place() as where, skepd(where, url, self.broker.config) as process:
            wait_ready(where, process)
            time.sleep(1)
            self.pace(self.broker.ours[1], rate)
            wait_drained(where, process, lambda: self.ledger.finished(url, first), self.latency_jobs)
        self.ledger.audit(url, first, self.latency_jobs)
        took = sorted(self.ledger.delays(url))
        return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}

    def latency_bare(self, rate):
        url = self.new_bare()
        queue, key = self.broker.bare
        with subprocess.Popen([*self.bare, url, "latency", queue, str(self.latency_jobs)],
                              stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            self.pace(key, rate)
            said, _ = process.communicate()
        if process.returncode:
            raise Failed("the bare loop failed")
        return json.loads(said)


def measure_latency(bench, rounds=3, rate=200):
    pairs = []
    for number in range(rounds):
        pairs.append((bench.latency_skep(rate), bench.latency_bare(rate)))
        say(f"latency {number + 1}/{rounds}: skep p50 {pairs[-1][0]['p50_ms']:.2f} ms, "
            f"bare p50 {pairs[-1][1]['p50_ms']:.2f} ms")
    return {"rate_per_s": rate, "jobs": bench.latency_jobs, "rounds": rounds,
            **{f"{side}_{name}": middle(pair[number][name] for pair in pairs)
               for number, side in enumerate(("skep", "bare")) for name in ("p50_ms", "p99_ms")}}


def measure_pair(name, options, broker, book):
    bench = Bench(options, broker, book)
    bench.declare()
    batch = best_batch(bench.drain_bare)
    pairs, dropped, noisy = run_pairs(name, bench.rounds, bench.drain_skep, lambda: bench.drain_bare(batch))
    return {"drain": {"jobs": bench.jobs, "bare_batch": batch, **summarize(pairs, dropped, noisy, GATE)},
            "latency": measure_latency(bench)}


def measure_rabbitmq(options, servers):
    return measure_pair("rabbitmq", options, RabbitMQ(servers[1]), Postgres(servers[0]))


def measure_nats(options, servers):
    return measure_pair("nats", options, Nats(servers[1]), Postgres(servers[0]))


def measure_nats_sqlite(options, servers):
    with contextlib.closing(Sqlite()) as book:
        return measure_pair("nats-sqlite", options, Nats(servers[1]), book)


def measure_rows(options, servers):
    """The same drain into a ledger with old rows and into an empty one."""
    bench = Bench(options, RabbitMQ(servers[1]), Postgres(servers[0]))
    bench.declare()
    url = bench.ledger.new("skep_rows")
    one, bench.jobs, bench.settle = bench.jobs, 1, 0
    bench.drain(url)  # the row that the old ones are copied from
    bench.jobs, bench.settle = one, options.settle
    ledger.fill_old(url, options.rows)
    pairs, dropped, noisy = run_pairs("rows", bench.rounds, lambda: bench.drain(url), bench.drain_skep,
                                      names=("full", "empty"))
    return {"drain": {"jobs": bench.jobs, "rows": options.rows, **summarize(pairs, dropped, noisy, GATE_ROWS)}}
