"""skep and a bare loop at the same work: what both suites of drains, with a broker and without, have in common."""
import contextlib
import json
import subprocess
import time

import ledger
from bareloop import BareDrain
from measure import Failed, Meter, batches_for, best_batch, middle, per_10k, run_json, run_pairs, run_text, say
from measure import status_kib, summarize
from node import log_end, place, program, read_metrics, skepd, wait_drained, wait_ready
from stage import roots

PATIENCE = 10  # seconds: for acknowledgements that the broker has still to take
LARGE = 65536
# Of a round of ./dev bench full: as many as autovacuum and a checkpoint come in between, where a server does such.
FULL_JOBS = {"postgres": 1000000, "sqlite": 300000}
SEARCH_JOBS = 300000  # at most, to find the bare loop's best batch


class Pair:
    """One ledger, `book`; what brings the jobs is a subclass's. A round is drain_skep() or drain_bare(batch)."""

    config = ""  # skepd's, besides places and the ledger

    def __init__(self, options, book, payload):
        self.ledger, self.payload = book, payload
        self.jobs = options.jobs or self.usual_jobs(options.full)
        self.rounds = options.rounds or (3 if not options.full else 9 if self.jobs <= SEARCH_JOBS else 5)
        self.seconds = options.latency or (10 if options.full else 3)
        self.settle = options.settle
        self.groups = dict(book.groups)
        self.highest = float("inf")  # jobs a second that the producer can bring

    def usual_jobs(self, full):
        if self.payload == LARGE:
            return 20000 if full else 3000
        return FULL_JOBS[self.ledger.name] if full else 100000

    def program(self, name):
        return program(name, self.payload)

    # What a subclass has: jobs for skepd, jobs for the bare loop, the words that drain those.
    def fill_skep(self, url):
        raise NotImplementedError

    def fill_bare(self, url):
        raise NotImplementedError

    def bare_words(self, url, batch):
        raise NotImplementedError

    def empty(self, ours):
        """Nothing is left where the jobs came from."""

    def drain_into(self, url):
        """One drain by skepd into that ledger, which may hold rows already."""
        first = ledger.first_id()
        self.fill_skep(url)
        self.ledger.rest(url)
        commits, upkeep = self.ledger.commits(url), self.ledger.upkeep(url)
        with place() as where:
            meter = Meter(self.groups)
            with skepd(where, url, self.config) as process:
                end = wait_drained(where, process, lambda: self.ledger.finished(url, first), self.jobs)
                used = meter.stop(end, loop=process.pid)
                peak = status_kib(process.pid, "VmHWM") / 1024
                batches = read_metrics(where)
        seen = self.ledger.audit(url, first, self.jobs, self.payload)
        self.empty(True)
        commits = self.ledger.commits(url) - commits if commits is not None else \
            sum(batches[f'skep_ledger_commit_seconds_count{{lane="{lane}"}}'] for lane in ("claims", "verdicts"))
        return {"rate": self.jobs / (seen["finished"] - seen["started"]), "cpu_per_10k": per_10k(used["cpu"], self.jobs),
                "others": used["others"], "peak_mib": peak, "again": seen["again"], "upkeep": self.since(url, upkeep),
                "commits_per_10k": commits * 1e4 / self.jobs, "first_start_s": seen["started"] - seen["created"]}

    def since(self, url, before):
        return {what: count - before[what] for what, count in self.ledger.upkeep(url).items()}

    def drain_skep(self):
        return self.drain_into(self.ledger.new("skep_bench"))

    def drain_bare(self, batch):
        url = self.new_bare()
        self.fill_bare(url)
        self.ledger.rest(url)
        upkeep = self.ledger.upkeep(url)
        result = BareDrain(self.bare_words(url, batch), self.groups).result(self.jobs)
        self.empty(False)
        return {**result, "commits_per_10k": 2e4 / batch, "upkeep": self.since(url, upkeep)}

    def new_bare(self):
        return self.ledger.new("bare_bench")

    # Latency: {"p50_ms", "p99_ms"} from a job's being sent or submitted to its start.
    def latency_skep(self, rate):
        raise NotImplementedError

    def latency_bare(self, rate):
        raise NotImplementedError


class BrokerPair(Pair):
    """The letters wait in a broker's queue."""

    def __init__(self, options, broker, book, payload=256):
        super().__init__(options, book, payload)
        self.broker = broker
        self.config = broker.config
        self.ids = options.ids
        self.groups[broker.name] = roots(broker.server)
        self.bare = [*self.program(f"bare-{broker.name}-{book.name}"), broker.url]

    def declare(self):
        """skepd makes its own queue; the bare loop's joins it."""
        url = self.ledger.new("skep_bench")
        queue = self.broker.ours[0]
        with place() as where, skepd(where, url, self.config) as process:
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
        said = json.loads(self.broker.publish("fill", key, str(self.jobs), self.ids, payload=self.payload))
        self.highest = min(self.highest, said["rate"])
        time.sleep(self.settle)

    def fill_skep(self, url):
        """The tables are made too, as the bare loop's are: to make them is not part of a drain."""
        run_text([*self.program("bench-fill"), url, "0"])
        self.fill(self.broker.ours[1])

    def fill_bare(self, _url):
        self.fill(self.broker.bare[1])

    def bare_words(self, url, batch):
        return [*self.bare, url, "drain", self.broker.bare[0], str(self.jobs), str(batch)]

    def new_bare(self):
        url = super().new_bare()
        run_text([*self.bare, url, "reset"])
        return url

    def empty(self, ours):
        """What was unacknowledged when its reader left is ready again by now, or will not be taken any more."""
        queue = (self.broker.ours if ours else self.broker.bare)[0]
        end = time.monotonic() + PATIENCE
        while self.broker.depth(queue) and time.monotonic() < end:
            time.sleep(0.2)
        left = self.broker.depth(queue)
        if left:
            raise Failed(f"audit: {left} letters are left in {queue}")

    def pace(self, key, jobs, rate):
        self.broker.publish("pace", key, str(jobs), str(rate), self.ids)

    def latency_skep(self, rate):
        """From being sent to the handler's start, both by this machine's clock."""
        jobs = int(rate * self.seconds)
        url = self.ledger.new("skep_bench")
        first = ledger.first_id()
        with place() as where, skepd(where, url, self.config) as process:
            wait_ready(where, process)
            time.sleep(1)
            self.pace(self.broker.ours[1], jobs, rate)
            wait_drained(where, process, lambda: self.ledger.finished(url, first), jobs)
        self.ledger.audit(url, first, jobs, self.payload)
        return quantiles(self.ledger.delays(url))

    def latency_bare(self, rate):
        jobs = int(rate * self.seconds)
        url = self.new_bare()
        queue, key = self.broker.bare
        with subprocess.Popen([*self.bare, url, "latency", queue, str(jobs)],
                              stdout=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            self.pace(key, jobs, rate)
            said, _ = process.communicate()
        if process.returncode:
            raise Failed("the bare loop failed")
        return json.loads(said)


class LedgerPair(Pair):
    """The jobs wait in the ledger; no broker. At more than SINGLE a second they are submitted by TOGETHER."""

    SINGLE, TOGETHER = 1000, 100

    def __init__(self, options, book, payload=256):
        super().__init__(options, book, payload)
        self.bare = self.program(f"bare-{book.name}")

    def fill_skep(self, url):
        run_text([*self.program("bench-fill"), url, str(self.jobs)])

    def fill_bare(self, url):
        run_text([*self.bare, url, "fill", str(self.jobs), "100" if self.payload == LARGE else "1000"])

    def bare_words(self, url, batch):
        return [*self.bare, url, "drain", str(batch)]

    def together(self, rate):
        return 1 if rate <= self.SINGLE else self.TOGETHER

    def latency_skep(self, rate):
        """From the submission's being taken to the handler's start."""
        batch = self.together(rate)
        posts = int(rate * self.seconds / batch)
        url = self.ledger.new("skep_bench")
        first = ledger.first_id()
        with place() as where, skepd(where, url) as process:
            wait_ready(where, process)
            time.sleep(1)
            run_json([*self.program("bench-post"), f"{where}/s", "pace", str(posts), str(max(rate // batch, 1)), str(batch)])
            wait_drained(where, process, lambda: self.ledger.finished(url, first), posts * batch)
        self.ledger.audit(url, first, posts * batch, self.payload)
        return quantiles(self.ledger.waits(url))

    def latency_bare(self, rate):
        batch = self.together(rate)
        return run_json([*self.bare, self.new_bare(), "latency", str(int(rate * self.seconds)), str(rate), str(batch)])


def quantiles(took):
    took = sorted(took)
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}


# --- what a suite measures ---

def measure_latency(pair, rate, rounds=3):
    pairs = []
    for number in range(rounds):
        pairs.append((pair.latency_skep(rate), pair.latency_bare(rate)))
        say(f"latency at {rate:,}/s {number + 1}/{rounds}: skep p50 {pairs[-1][0]['p50_ms']:.2f} ms, "
            f"bare p50 {pairs[-1][1]['p50_ms']:.2f} ms")
    return {"rate_per_s": rate, "seconds": pair.seconds, "rounds": rounds,
            **{f"{side}_{name}": middle(one[number][name] for one in pairs)
               for number, side in enumerate(("skep", "bare")) for name in ("p50_ms", "p99_ms")}}


def search_batch(pair):
    jobs, pair.jobs = pair.jobs, min(pair.jobs, SEARCH_JOBS)
    try:
        return best_batch(pair.drain_bare, batches_for(pair.payload))
    finally:
        pair.jobs = jobs


def measure_drain(name, pair):
    batch, by_batch = search_batch(pair)
    pairs, dropped, noisy = run_pairs(name, pair.rounds, pair.drain_skep, lambda: pair.drain_bare(batch))
    return {"jobs": pair.jobs, "payload": pair.payload, "bare_batch": batch, "bare_by_batch": by_batch,
            **summarize(pairs, dropped, noisy)}


def measure_pair(name, pair):
    """The drain, and unless payloads are large the latency at 200 a second and at half of the highest rate: that of
    the drain, or of the producer when it is the slower one."""
    drain = measure_drain(name, pair)
    if pair.payload == LARGE:
        return {"drain": drain}
    half = int(min(drain["ours"]["rate"], pair.highest) / 2)
    return {"drain": drain, "latency": [measure_latency(pair, rate) for rate in (200, half)]}


def measure_broker(name, options, servers, broker, book, payload):
    database, server = servers
    with contextlib.closing(book(database)) as record:
        pair = BrokerPair(options, broker(server), record, payload)
        pair.declare()
        return measure_pair(name, pair)


def measure_ledger(name, options, servers, book, payload):
    with contextlib.closing(book(servers[0])) as record:
        return measure_pair(name, LedgerPair(options, record, payload))
