#!/usr/bin/python3
"""What a job costs in countable things: system calls, allocations, messages, transactions and lines, of skepd and its
workers, while they drain a queue that is full.

    SKEP_BUILD=BUILD bench/count.py [PAIR...] [--jobs N] [--payload BYTES] [--calls N]

Pairs: sqlite, postgres, nats, nats-sqlite, rabbitmq, rabbitmq-sqlite; without any, all. The queue is filled while it is
paused, whoever counts is attached, and then it is resumed: so neither start nor filling is counted. Two drains of a pair:
one under `perf trace` (or strace) for the system calls, one with a counter in front of malloc(), which slow it down. Counts
hold on a busy machine too, though batches are then of another size.
"""
import argparse
import contextlib
import json
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import types

sys.dont_write_bytecode = True  # a source tree stays as it is
import ledger
import stage
from idle import children
from measure import Failed, status_kib
from node import Unix, place, read_metrics, skepd, wait_drained, wait_ready
from pair import BrokerPair, LedgerPair
from sides import Nats, Postgres, RabbitMQ, Sqlite

PAIRS = {"sqlite": (None, Sqlite), "postgres": (None, Postgres), "nats": (Nats, Postgres), "nats-sqlite": (Nats, Sqlite),
         "rabbitmq": (RabbitMQ, Postgres), "rabbitmq-sqlite": (RabbitMQ, Sqlite)}
UNIT = 10000  # jobs: what counts are told for

# Counts who calls malloc, calloc and realloc, by return address, in a file that the script reads while skepd runs.
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#define SITES 4096
struct site { _Atomic uint64_t pc, calls; };
static struct site none[SITES], *sites = none;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static void *count(void *p, void *from)
{
        uint64_t pc = (uint64_t)from, at = pc * 0x9e3779b97f4a7c15u >> 52;
        for (int i = 0; i < SITES; i++, at = (at + 1) % SITES) {
                uint64_t there = 0;
                if (sites[at].pc == pc || __atomic_compare_exchange_n((uint64_t *)&sites[at].pc, &there, pc, 0, 5, 5) ||
                    there == pc) {
                        sites[at].calls++;
                        break;
                }
        }
        return p;
}
void *malloc(size_t n) { return count(__libc_malloc(n), __builtin_return_address(0)); }
void *calloc(size_t n, size_t m) { return count(__libc_calloc(n, m), __builtin_return_address(0)); }
void *realloc(void *p, size_t n) { return count(__libc_realloc(p, n), __builtin_return_address(0)); }
__attribute__((constructor)) static void begin(void)
{
        const char *path = getenv("SKEP_COUNT_FILE");
        int fd = path ? open(path, O_RDWR) : -1;
        void *p = fd < 0 ? MAP_FAILED : mmap(0, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
                sites = p;
        }
        unsetenv("LD_PRELOAD"); /* workers and probes are not counted */
}
"""
SITES_BYTES = 4096 * 16


# --- system calls ---

def perf_works():
    done = subprocess.run(["perf", "trace", "-s", "true"], capture_output=True, text=True, check=False) \
        if shutil.which("perf") else None
    return bool(done) and done.returncode == 0 and "syscall" in done.stderr


class Calls:
    """System calls by name of these processes from now to stop()."""

    def __init__(self, pids, where):
        self.pids, self.tools = pids, []
        self.perf = perf_works()
        self.paths = [os.path.join(where, f"calls.{pid}") for pid in pids]
        for pid, path in zip(pids, self.paths):
            words = ["perf", "trace", "-s", "-m", "4096", "-o", path, "-p", str(pid)] if self.perf else \
                ["strace", "-f", "-c", "-o", path, "-p", str(pid)]
            self.tools.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(2)
        if any(tool.poll() is not None for tool in self.tools):
            raise Failed("neither `perf trace -s` nor `strace` can be attached here")

    def stop(self):
        for tool in self.tools:
            tool.send_signal(signal.SIGINT)
        for tool in self.tools:
            tool.wait(60)
        line = re.compile(r"^\s+(\w+)\s+(\d+)\s" if self.perf else r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$",
                          re.MULTILINE)
        return {pid: self.read(path, line) for pid, path in zip(self.pids, self.paths)}

    def read(self, path, line):
        found = {}
        with open(path, encoding="utf-8", errors="replace") as file:
            for one, two in line.findall(file.read()):
                name, n = (one, two) if self.perf else (two, one)
                if name != "total":
                    found[name] = found.get(name, 0) + int(n)
        return found


# --- allocations ---

class Allocations:
    """What goes into the environment of skepd, and what was counted since begin()."""

    def __init__(self, where):
        self.path, self.library = os.path.join(where, "sites"), os.path.join(where, "counter.so")
        with open(self.path, "wb") as file:
            file.truncate(SITES_BYTES)
        subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", "-o", self.library, "-x", "c", "-"], input=COUNTER, text=True,
                       check=True)
        self.environment = {"LD_PRELOAD": self.library, "SKEP_COUNT_FILE": self.path}
        self.before = {}

    def read(self):
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            return {pc: calls for pc, calls in struct.iter_unpack("QQ", memory[:]) if pc}

    def begin(self):
        self.before = self.read()

    def since(self, pid):
        """[(calls, function)], most first."""
        maps = []
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            for words in map(str.split, file):
                if len(words) > 5 and words[5].startswith("/"):
                    low, high = (int(word, 16) for word in words[0].split("-"))
                    maps.append((low, high, low - int(words[2], 16), words[5]))
        found = {}
        for pc, calls in self.read().items():
            name = name_of(pc, maps)
            found[name] = found.get(name, 0) + calls - self.before.get(pc, 0)
        return sorted(((calls, name) for name, calls in found.items() if calls), reverse=True)


def name_of(pc, maps):
    for low, high, base, path in maps:
        if low <= pc < high:
            said = subprocess.run(["addr2line", "-f", "-e", path, hex(pc - base - 1)], capture_output=True, text=True,
                                  check=False).stdout.split("\n")[0]
            return f"{os.path.basename(path).split('.so')[0]}: {said if said != '??' else hex(pc - base)}"
    return "?"


# --- a drain ---

def request(where, method, path):
    connection = Unix(f"{where}/s")
    connection.request(method, path)
    return json.loads(connection.getresponse().read() or b"{}")


def each_queue(where, verb):
    for queue in request(where, "GET", "/v1/queues")["queues"]:
        request(where, "POST", f"/v1/queues/{queue['name']}/{verb}")


@contextlib.contextmanager
def environment(more):
    old = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


class Drain:
    """A full queue and a skepd that waits before it; run() lets it go."""

    def __init__(self, pair, jobs):
        self.pair, self.jobs = pair, jobs

    def run(self, where, more, begin):
        """begin(process, workers) → a function that is called at the end; its answer comes back."""
        pair = self.pair
        url = pair.ledger.new("skep_count")
        first = ledger.first_id()
        with skepd(where, url, pair.config) as process:
            wait_ready(where, process)
            each_queue(where, "pause")
        pair.fill_skep(url)
        with contextlib.ExitStack() as stack:
            with environment(more):  # of skepd alone
                process = stack.enter_context(skepd(where, url, pair.config))
            wait_ready(where, process)
            time.sleep(1)
            end = begin(process.pid, children(process.pid))
            before, lines = read_metrics(where), count_lines(where)
            each_queue(where, "resume")
            wait_drained(where, process, lambda: pair.ledger.finished(url, first), self.jobs)
            counted = end()
            after = read_metrics(where)
            peak = status_kib(process.pid, "VmHWM") / 1024
            lines = count_lines(where) - lines
        pair.ledger.audit(url, first, self.jobs, pair.payload)
        pair.empty(True)
        return counted, {key: after[key] - before.get(key, 0) for key in after}, lines, peak


def count_lines(where):
    with open(os.path.join(where, "log"), encoding="utf-8", errors="replace") as file:
        return sum(1 for _ in file)


def comm(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()


def count_calls(drain, where):
    names = {}

    def begin(pid, workers):
        names.update({pid: "skepd", **{worker: "workers" for worker in workers}})
        return Calls([pid, *workers], where).stop
    by_pid, metrics, lines, peak = drain.run(where, {}, begin)
    sums = {"skepd": {}, "workers": {}}
    for pid, calls in by_pid.items():
        into = sums[names[pid]]
        for name, n in calls.items():
            into[name] = into.get(name, 0) + n
    return sums, metrics, lines, peak


def count_allocations(drain, where):
    allocations = Allocations(where)

    def begin(pid, _workers):
        allocations.begin()
        return lambda: allocations.since(pid)
    return drain.run(where, allocations.environment, begin)[0]


# --- telling ---

def per_unit(n, jobs):
    return f"{n * UNIT / jobs:,.0f}"


def tell_list(title, pairs, jobs, most):
    total = sum(n for n, _ in pairs)
    shown = ", ".join(f"{name} {per_unit(n, jobs)}" for n, name in pairs[:most] if n * UNIT / jobs >= 0.5)
    print(f"  {title:<20} {per_unit(total, jobs):>8}   {shown}")


def tell(name, options, calls, allocated, metrics, lines, peak):
    jobs = options.jobs
    print(f"\n{name}, {options.payload:,}-byte payloads; of {UNIT:,} jobs (counted over {jobs:,}):")
    for group, by_name in calls.items():
        tell_list(f"calls, {group}", sorted(((n, word) for word, n in by_name.items()), reverse=True), jobs, options.calls)
    tell_list("allocations, skepd", allocated, jobs, options.calls)
    lanes = [(n, re.search('lane="([a-z]+)"', key)[1]) for key, n in metrics.items()
             if key.startswith("skep_ledger_commit_seconds_count")]
    tell_list("transactions", sorted(lanes, reverse=True), jobs, options.calls)
    print(f"  {'log lines':<20} {per_unit(lines, jobs):>8}\n  peak of skepd: {peak:.1f} MiB", flush=True)


def read_options():
    parser = argparse.ArgumentParser(prog="bench/count.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="PAIR")
    parser.add_argument("--jobs", type=int, default=50000)
    parser.add_argument("--payload", type=int, default=256, metavar="BYTES")
    parser.add_argument("--calls", type=int, default=8, metavar="N", help="how many names of each kind are shown")
    options = parser.parse_args()
    unknown = [name for name in options.pairs if name not in PAIRS]
    if unknown:
        parser.error(f"there is no pair {', '.join(unknown)}; there are {', '.join(PAIRS)}")
    return options


def count_pair(name, options):
    broker, book = PAIRS[name]
    # what a pair of the benchmarks asks its options for
    wanted = types.SimpleNamespace(jobs=options.jobs, rounds=1, full=False, settle=3, ids="uuid", latency=1)
    with stage.serve(broker and broker.name, book is Postgres) as (database, server), \
            contextlib.closing(book(database)) as record:
        pair = BrokerPair(wanted, broker(server), record, options.payload) if broker else \
            LedgerPair(wanted, record, options.payload)
        if broker:
            pair.declare()
        drain = Drain(pair, options.jobs)
        with place() as where:
            calls, metrics, lines, peak = count_calls(drain, where)
        with place() as where:
            allocated = count_allocations(drain, where)
    tell(name, options, calls, allocated, metrics, lines, peak)


def main():
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("count: asked to stop"))  # what was started is stopped
    try:
        for name in options.pairs or PAIRS:
            count_pair(name, options)
    except (Failed, stage.Trouble) as trouble:
        sys.exit(f"count: {trouble}")


main()
