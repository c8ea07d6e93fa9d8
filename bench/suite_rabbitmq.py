"""RabbitMQ and PostgreSQL: the letters wait in a quorum queue; and what ten million old rows change."""
import json
import subprocess
import time

import ledger
from bareloop import BareDrain
from measure import Failed, Meter, best_batch, middle, per_10k, run_json, run_pairs, run_text, say, status_kib, \
    summarize
from node import log_end, place, program, skepd, wait_drained, wait_ready
from stage import roots

GATE = 0.80
GATE_ROWS = 0.85
PUBLISH = program("bench-publish")
BARE = program("bare-rabbitmq-postgres")
QUEUE, KEY = "bench", "noop"  # a letter's type is its routing key, unless that is the queue's name
BARE_QUEUE, BARE_KEY = "bench.bare", "bare"
YOUNG = 3                    # seconds: RabbitMQ forgets a queue that is younger when it is killed
LETTERS_US = "convert_from(substr(payload, 1, 20), 'LATIN1')::bigint"


class Bench:
    def __init__(self, options, servers):
        self.database, self.broker = servers
        self.jobs = options.jobs or (300000 if options.full else 100000)
        self.rounds = options.rounds or (9 if options.full else 3)
        self.latency_jobs = 2000 if options.full else 600
        self.settle = options.settle
        self.ids = options.ids
        self.groups = {"postgres": roots(self.database), "broker": roots(self.broker)}

    @property
    def config(self):
        return (f'transports = {{ rabbit = {{ url = "{self.broker.url}"; }}; }};\n'
                f'queues = ( {{ name = "{QUEUE}"; transport = "rabbit"; types = [ "{KEY}" ]; }} );\n')

    def publish(self, *words):
        return run_text([PUBLISH, self.broker.url, *words])

    def depth(self, queue):
        """None: there is no such queue."""
        said = run_text([PUBLISH, self.broker.url, "depth", queue], check=False)
        return None if said is None else int(said)

    def declare(self):
        """skepd makes its own exchange and queue; the bare loop's queue joins them."""
        url = self.database.new_database("skep_bench")
        with place() as where, skepd(where, url, self.config) as process:
            wait_ready(where, process)
            end = time.monotonic() + 30
            while self.depth(QUEUE) is None:
                if time.monotonic() > end:
                    raise Failed(f"skepd declares no queue {QUEUE}; it says:\n{log_end(where)}")
                time.sleep(0.2)
        self.publish("declare", BARE_QUEUE, BARE_KEY)
        time.sleep(YOUNG)

    def fill(self, key):
        """RabbitMQ goes on writing for a while after it has confirmed; a drain in that time costs half as much again."""
        said = json.loads(self.publish("fill", key, str(self.jobs), self.ids))
        time.sleep(self.settle)
        return said

    def empty(self, queue):
        """What was unacknowledged when its reader left is ready again by now."""
        left = self.depth(queue)
        if left:
            raise Failed(f"audit: {left} letters are left in {queue}")

    def drain(self, url):
        """One drain by skepd into that ledger, which may hold rows already."""
        self.fill(KEY)
        first = ledger.first_id()
        ledger.sql(url, "checkpoint")
        with place() as where:
            meter = Meter(self.groups)
            with skepd(where, url, self.config) as process:
                wait_drained(where, process, lambda: finished_or_none(url, first), self.jobs)
                used = meter.stop(loop=process.pid)
                peak = status_kib(process.pid, "VmHWM") / 1024
        seen = ledger.audit(url, first, self.jobs)
        self.empty(QUEUE)
        return {"rate": self.jobs / (seen["finished"] - seen["started"]), "cpu_per_10k": per_10k(used["cpu"], self.jobs),
                "others": used["others"], "peak_mib": peak, "again": seen["again"],
                "first_start_s": seen["started"] - seen["created"]}

    def drain_skep(self):
        return self.drain(self.database.new_database("skep_bench"))

    def drain_bare(self, batch):
        url = self.database.new_database("bare_bench")
        run_text([BARE, self.broker.url, url, "reset"])
        self.fill(BARE_KEY)
        ledger.sql(url, "checkpoint")
        words = [BARE, self.broker.url, url, "drain", BARE_QUEUE, str(self.jobs), str(batch)]
        result = BareDrain(words, self.groups).result(self.jobs)
        self.empty(BARE_QUEUE)
        return result

    def latency_skep(self, rate):
        """From being sent to the handler's start, both by this machine's clock."""
        url = self.database.new_database("skep_bench")
        first = ledger.first_id()
        with place() as where, skepd(where, url, self.config) as process:
            wait_ready(where, process)
            time.sleep(1)
            self.publish("pace", KEY, str(self.latency_jobs), str(rate), self.ids)
            wait_drained(where, process, lambda: finished_or_none(url, first), self.latency_jobs)
        ledger.audit(url, first, self.latency_jobs)
        took = sorted(int(word) / 1000 for word in ledger.sql(url, f"select started - {LETTERS_US} from skep.jobs").split())
        return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}

    def latency_bare(self, rate):
        url = self.database.new_database("bare_bench")
        run_text([BARE, self.broker.url, url, "reset"])
        with subprocess.Popen([BARE, self.broker.url, url, "latency", BARE_QUEUE, str(self.latency_jobs)],
                              stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            self.publish("pace", BARE_KEY, str(self.latency_jobs), str(rate), self.ids)
            said, _ = process.communicate()
        if process.returncode:
            raise Failed("the bare loop failed")
        return json.loads(said)


def finished_or_none(url, first):
    """0 also while a new ledger has no tables yet."""
    try:
        return ledger.finished(url, first)
    except Failed:
        return 0


def measure_latency(bench, rounds=3, rate=200):
    pairs = []
    for number in range(rounds):
        pairs.append((bench.latency_skep(rate), bench.latency_bare(rate)))
        say(f"latency {number + 1}/{rounds}: skep p50 {pairs[-1][0]['p50_ms']:.2f} ms, "
            f"bare p50 {pairs[-1][1]['p50_ms']:.2f} ms")
    return {"rate_per_s": rate, "jobs": bench.latency_jobs, "rounds": rounds,
            **{f"{side}_{name}": middle(pair[number][name] for pair in pairs)
               for number, side in enumerate(("skep", "bare")) for name in ("p50_ms", "p99_ms")}}


def measure(options, servers):
    bench = Bench(options, servers)
    bench.declare()
    batch = best_batch(bench.drain_bare)
    pairs, dropped, noisy = run_pairs("rabbitmq", bench.rounds, bench.drain_skep, lambda: bench.drain_bare(batch))
    return {"drain": {"jobs": bench.jobs, "bare_batch": batch, **summarize(pairs, dropped, noisy, GATE)},
            "latency": measure_latency(bench)}


def measure_rows(options, servers):
    """The same drain into a ledger with old rows and into an empty one."""
    bench = Bench(options, servers)
    bench.declare()
    url = bench.database.new_database("skep_rows")
    one, bench.jobs, bench.settle = bench.jobs, 1, 0
    bench.drain(url)  # the row that the old ones are copied from
    bench.jobs, bench.settle = one, options.settle
    ledger.fill_old(url, options.rows)
    pairs, dropped, noisy = run_pairs("rows", bench.rounds, lambda: bench.drain(url), bench.drain_skep,
                                      names=("full", "empty"))
    return {"drain": {"jobs": bench.jobs, "rows": options.rows, **summarize(pairs, dropped, noisy, GATE_ROWS)}}
