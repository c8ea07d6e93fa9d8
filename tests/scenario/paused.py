"""Nodes that stand still and come back, and many at once: fences, leases, locks.

A node that was stopped for three leases wakes up among jobs that another has rescued and run: whatever it says of them
is refused and counted, and it starts nothing whose lease is over. Ten that start on an empty PostgreSQL make its schema
once. A thousand jobs that become due at the same moment run once each, whoever moves them.
"""

import os
import signal
import time

from faults import LEDGER, answering, check, counts, logged, metric, wait_for, wait_logged, world
from harness import Skip, run

LEASE_SECONDS = 4
LEASE = (f"node.lease={LEASE_SECONDS}s",)
DUE = int(os.environ.get("SKEP_PAUSED_DUE", "1000"))
NODES = 10
DONE = 4


def stop_for_leases(w, node, other, seconds):
    """SIGSTOP, until the other has taken its jobs and so many seconds have gone by."""
    begin, mark = time.monotonic_ns(), os.path.getsize(other.log_path)
    node.signal(signal.SIGSTOP)
    wait_logged(other, "is silent for a lease", after=mark)
    while time.monotonic_ns() < begin + seconds * 1_000_000_000:
        time.sleep(0.05)
    node.signal(signal.SIGCONT)
    w.log.fault("stop", node=node.name, pid=node.pid, from_=begin, to=time.monotonic_ns())


def a_node_that_is_stopped_for_three_leases():
    with world(broker=False, private=False, settings=("handlers.workers=4", *LEASE)) as w:
        a, b = w.node(), w.node()
        http = w.http(b)
        for n in range(400):
            http.submit("diary", {"n": n, "do": "deaf:40" if n % 5 else "deaf:3000"}, max_attempts=20)
        wait_for("both to work", lambda: sum("job_id" in row for node in (a, b) for row in node.workers()) >= 6)
        pid = a.pid
        stop_for_leases(w, a, b, 3 * LEASE_SECONDS)
        wait_for("all jobs to complete", lambda: counts(b).get("completed") == 400, 300)
        wait_for("node a to be ready", lambda: a.get("/readyz").status == 200)
        check(a.pid == pid and a.process.poll() is None, "the stopped node lives under its old pid")
        fenced = metric(a, "skep_fenced_writes_total")
        rescued = (logged(b, "rescued") or "msg=?").split("msg=")[1]
        print(f"  node a was stopped for {3 * LEASE_SECONDS} s; node b says: {rescued}; {fenced:.0f} writes of a fenced")
        check(fenced > 0, "what the stopped node had to say was refused and counted")
        more = [http.submit("diary", {"after": n}) for n in range(40)]
        check(all(w.http(a).submit("diary", {"after a": n}) for n in range(40)) and all(more), "both accept jobs")
        w.settle(480)
        report = w.audit(lease_ms=LEASE_SECONDS * 1000)
        overlaps = report["invariants"]["I4"]
        print(f"  {overlaps['excused']} runs overlapped while it stood still")


def a_stopped_node_with_letters():
    """The same with a broker: what it held unacknowledged and what it had acknowledged."""
    with world(private=False, settings=LEASE) as w:
        a, b = w.node(), w.node()
        letters = w.sender()
        for n in range(600):
            letters.letter("diary", {"n": n, "do": "deaf:30"}, key=f"n-{n}" if n % 2 else None)
            if n == 200:
                wait_for("both to work", lambda: all(any("job_id" in row for row in node.workers()) for node in (a, b)))
                letters.drop()
                stop_for_leases(w, a, b, 3 * LEASE_SECONDS)
        letters.drop()
        w.settle(600)
        print(f"  {metric(a, 'skep_fenced_writes_total'):.0f} writes of the stopped node were fenced, "
              f"{metric(b, 'skep_letters_known_total') + metric(a, 'skep_letters_known_total'):.0f} letters came twice")
        w.audit(lease_ms=LEASE_SECONDS * 1000)


def ten_nodes_start_on_an_empty_ledger():
    if LEDGER == "sqlite":
        raise Skip("ten nodes share a PostgreSQL")
    with world(broker=False, private=False, settings=("handlers.workers=1", "node.lease=30s")) as w:
        begin = time.monotonic()
        for _ in range(NODES):
            w.node(ready=False)
        for node in w.nodes:
            wait_for(f"node {node.name}", lambda node=node: answering(node))
        print(f"  {NODES} nodes were ready {time.monotonic() - begin:.1f} s after the first was started")
        applied = w.select("select count(*), count(distinct number) from schema_migrations")
        check(applied[0][0] == applied[0][1] != "0", f"each migration was applied once: {applied}")
        check(not any(logged(node, "level=error") for node in w.nodes), "nobody complains")
        living = w.select("select count(*) from nodes where not dead")
        check(int(living[0][0]) == NODES, f"{living} nodes live")
        for node in w.nodes:
            node.serving("diary.so")
        ids = [w.http(node).submit("diary", {"at": node.name, "n": n, "do": "sleep:5"}) for node in w.nodes
               for n in range(20)]
        check(all(ids), "each accepts jobs")
        w.settle(20 * NODES)
        w.audit()


def a_thousand_due_at_once_run_once_each():
    with world(broker=False, private=False) as w:
        nodes = [w.node() for _ in range(3)]
        due = (time.time_ns() // 1_000_000_000 + 8) * 1_000_000
        http = [w.http(node) for node in nodes]
        begin = time.time()
        for n in range(DUE):
            check(http[n % 3].submit("diary", {"due": n}, not_before=due), "a scheduled job is accepted")
        print(f"  {DUE} jobs submitted in {time.time() - begin:.1f} s for one moment, {due / 1e6 - time.time():.1f} s away")
        w.settle(DUE)
        again = w.select("select count(*) from jobs where claim <> 1")
        check(int(again[0][0]) == 0, f"{again} jobs were claimed more than once")
        check(w.rows() == {DONE: DUE}, f"the ledger holds {w.rows()}")
        late = w.select("select max(started), max(finished) from jobs")[0]
        print(f"  the last started {int(late[0]) / 1e6 - due / 1e6:.2f} s after that moment")
        report = w.audit()
        check(report["runs"] == DUE, f"{report['runs']} runs of {DUE} jobs")


run(a_stopped_node_with_letters,
    amqp=(a_node_that_is_stopped_for_three_leases, ten_nodes_start_on_an_empty_ledger,
          a_thousand_due_at_once_run_once_each))  # without a broker: once is enough
