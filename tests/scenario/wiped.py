"""A broker that lost its whole store loses no job that was submitted to skep; a long queue is not mistaken for a loss.

What is submitted over the API stands in the ledger; the broker carries doorbells alone. When its data are wiped between
the submission and the claim, the tide finds the jobs that were passed over. And it must not find any where a hundred
thousand doorbells merely wait: each job is published once, and none is offered from the ledger beside it.
"""

import os
import time

from faults import FULL, SHORT, answering, check, counts, metric, wait_for, world
from harness import run

LONG = int(os.environ.get("SKEP_WIPED_LONG", "100000" if FULL else "8000" if SHORT else "20000"))
SLOW = int(os.environ.get("SKEP_WIPED_SLOW", "4500" if FULL else "600" if SHORT else "1500"))
WATCH_SECONDS = float(os.environ.get("SKEP_WIPED_WATCH", "30" if FULL else "7" if SHORT else "15"))
MARKS = 5
LOST = 1000


def outbox(w):
    return int(w.select("select count(*) from outbox")[0][0])


def rung(w, number, queue="default"):
    """The outbox is empty, and the broker holds at least so many doorbells."""
    wait_for("all doorbells to be confirmed", lambda: outbox(w) == 0)
    at_broker = wait_for("the broker to know the queue", lambda: w.broker.queues().get(queue))
    if sum(at_broker) < number:  # its counts may be seconds old
        at_broker = wait_for(f"{number} doorbells at the broker, not {at_broker}",
                             lambda: (lambda q: sum(q) >= number and q)(w.broker.queues().get(queue, (0, 0))))
    return at_broker


def submit_behind_long_jobs(w, node, do):
    """LOST jobs behind two that keep both workers; returns the two."""
    wait_for("the queue", lambda: "default" in w.broker.queues())
    w.broker.durable()
    http = w.http(node)
    long_ids = [http.submit("diary", {"long": n, "do": do}, key=f"long-{n}") for n in range(2)]
    for id_ in long_ids:
        w.begun(id_)
    w.pages(node, [("diary", {"behind": n}) for n in range(LOST)])
    held = rung(w, LOST // 4)
    print(f"  {LOST} jobs submitted behind two long ones, {held[0]} doorbells ready at the broker and {held[1]} "
          f"unacknowledged; wiped")
    return long_ids


def finish(w, node, begin, number):
    wait_for("all jobs to complete", lambda: counts(node).get("completed") == number)
    found = metric(node, "skep_tide_recovered_total")
    print(f"  all completed {time.monotonic() - begin:.1f} s after the wipe; the tide found {found:.0f}")
    check(found >= LOST / 4, "the tide found them")
    w.settle(LOST + 2)
    w.audit()


def a_broker_that_is_wiped_between_submission_and_claim():
    with world() as w:
        node = w.node()
        long_ids = submit_behind_long_jobs(w, node, "sleep:600000")
        begin, pid = time.monotonic(), node.pid
        w.broker.server.wipe()
        for id_ in long_ids:
            check(w.http(node).cancel(id_) == 202, "a long job is asked to stop")
        finish(w, node, begin, LOST)
        check(node.pid == pid and node.process.returncode == 0, "it is the same process, ended in order")


def a_broker_that_is_wiped_while_the_node_is_dead():
    with world() as w:
        node = w.node()
        submit_behind_long_jobs(w, node, "hang:1")
        w.kill(node)
        begin = time.monotonic()
        w.broker.server.wipe()
        node.start(ready=False)
        wait_for("skepd to serve", lambda: answering(node))
        finish(w, node, begin, LOST + 2)


def books(w, node):
    """(published and still there, of which ready, claimed by doorbell, found by the tide)"""
    ready, unacked = w.broker.queues().get("default", (0, 0))
    bells = metric(node, "skep_doorbells_total")
    return ready + unacked + bells, ready, bells, metric(node, "skep_tide_recovered_total")


def a_long_queue_is_left_alone():
    with world(settings=("node.lease=15s", "node.beat=1s")) as w:
        node = w.node()
        wait_for("the queue", lambda: "default" in w.broker.queues())
        begin, http = time.monotonic(), w.http(node)
        held = [http.submit("diary", {"held": n, "do": "sleep:600000"}, key=f"held-{n}") for n in range(2)]
        for id_ in held:  # nothing else runs before all doorbells are there
            w.begun(id_)
        for at in range(0, LONG, 20000):
            w.pages(node, [("diary", {"n": n, "do": "sleep:40" if n < SLOW else ""})
                           for n in range(at, min(at + 20000, LONG))])
        print(f"  {LONG} jobs submitted in {time.monotonic() - begin:.1f} s")
        rung(w, LONG // 2)
        check([http.cancel(id_) for id_ in held] == [202, 202], "the first two are asked to stop")
        total, ready, bells, tide = books(w, node)
        watched = time.monotonic()
        while time.monotonic() < watched + WATCH_SECONDS or not bells:
            time.sleep(2)
            total, ready, bells, tide = books(w, node)
            check(tide == 0, f"the tide took {tide:.0f} jobs for lost while {ready} doorbells wait")
        print(f"  watched for {time.monotonic() - watched:.0f} s: {ready} ready at the broker, {bells:.0f} doorbells came, "
              f"{tide:.0f} found by the tide, {outbox(w)} in the outbox")
        check(ready > LONG / 2, f"only {ready} were left waiting: nothing was watched")
        wait_for(f"the broker's books to hold {LONG + 2} doorbells and at most {MARKS} marks",
                 lambda: LONG + 2 <= books(w, node)[0] <= LONG + 2 + MARKS)
        wait_for("all to complete", lambda: counts(node).get("completed") == LONG, 600)
        total, ready, bells, tide = books(w, node)
        print(f"  all completed {time.monotonic() - begin:.0f} s after the first was submitted: {bells:.0f} doorbells came, "
              f"{metric(node, 'skep_doorbells_known_total'):.0f} of them for nothing, {tide:.0f} found by the tide")
        check(bells == LONG + 2 and tide == 0, "each doorbell was published once and came once, and the tide found nothing")
        w.settle(LONG + 2)
        w.audit()


run(a_broker_that_is_wiped_between_submission_and_claim, a_broker_that_is_wiped_while_the_node_is_dead,
    a_long_queue_is_left_alone)
