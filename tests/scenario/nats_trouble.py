"""JetStream that is set up in another way, or loses what it had while letters come: streams and consumers of others,
accounts and tokens, a full stream, a deleted one, a server that stands still. What differs is named and never changed;
what is gone is made again; what was submitted to skep runs in any case. What both brokers share is in outages.py.
"""

import os
import time

from brokers import broker
from faults import (FULL, LEDGER, Background, check, counts, ended, logged, metric, named_and_healed, send, until_ready,
                    wait_for, wait_logged, world)
from harness import Skip, run
from producer import Refused

SECOND = 10 ** 9
LOST = int(os.environ.get("SKEP_NATS_LOST", "2000" if FULL else "300"))
STREAM = {"name": "JOBS", "subjects": ["jobs.>"], "retention": "workqueue", "storage": "file"}


def said(line):
    return line.split("msg=")[1]


def config_of(one, words):
    return one.api(words)["config"]


# --- of others ---

def a_stream_with_another_configuration():
    theirs = {**STREAM, "subjects": ["jobs.>", "other.>"], "retention": "limits", "storage": "memory",
              "duplicate_window": SECOND, "max_age": 3600 * SECOND}
    with broker() as one:
        one.api("STREAM.CREATE.JOBS", theirs)
        before = config_of(one, "STREAM.INFO.JOBS")
        with world(broker=one, private=False) as w:
            node = w.node()
            print(f"  it says: {said(wait_logged(node, 'JOBS', 'memory'))}")
            send(w, 40)
            id_ = w.http(node).submit("diary", {"bell": 1}, key="bell")
            check(node.finish(id_)["state"] == "completed", "a doorbell goes through it")
            wait_for("40 letters' jobs", lambda: ended(node, 41))
            check(config_of(one, "STREAM.INFO.JOBS") == before, "its configuration is left alone")
            w.settle(41)
            check(one.messages() >= 40, "and so are its messages")
            w.audit()


def a_stream_that_takes_other_subjects():
    with broker() as one:
        one.api("STREAM.CREATE.JOBS", {**STREAM, "subjects": ["jobs.mail.>"]})
        with world(broker=one, private=False) as w:
            named_and_healed(w, w.node(ready=False), "transport js", ("JOBS", "jobs.mail.>", "jobs.>"),
                             lambda: one.api("STREAM.UPDATE.JOBS", STREAM))
            w.audit()


MIXED = ({"name": "mail", "types": ["diary"]}, {"name": "side", "types": ["sleep"]})


def another_consumer(one, durable, **more):
    """In the place of ours, with this difference."""
    ours = {name: value for name, value in config_of(one, f"CONSUMER.INFO.JOBS.{durable}").items()
            if name != "max_waiting"}  # of pull consumers alone, where it has a default
    one.api(f"CONSUMER.DELETE.JOBS.{durable}")
    one.api(f"CONSUMER.DURABLE.CREATE.JOBS.{durable}", {"stream_name": "JOBS", "config": {**ours, **more}})
    return config_of(one, f"CONSUMER.INFO.JOBS.{durable}")


def a_consumer_that_cannot_be_used():
    """Its queue waits, the one beside it runs; it is named, left alone, and when somebody removed it all is well."""
    with broker() as one, world(broker=one, private=False, queues=MIXED) as w:
        node = w.node()
        one.await_queues(2)
        durable = next(name for name, row in one.consumers().items() if row["config"]["filter_subject"] == "jobs.diary")
        for n, more in enumerate(({"max_deliver": 3}, {"deliver_subject": "somewhere"})):
            w.stop()
            theirs, mark = another_consumer(one, durable, **more), os.path.getsize(node.log_path)
            node.start(ready=False)
            print(f"  it says: {said(wait_logged(node, durable, next(iter(more)), after=mark))}")
            send(w, 10, queue="mail", start=10 * n)
            send(w, 10, type_="sleep", queue="side", start=10 * n)
            wait_for("the letters beside it", lambda: ended(node, 10 * n + 10, "side"))
            check(counts(node, "mail").get("completed", 0) == 10 * n, "the queue itself waits")
            check(config_of(one, f"CONSUMER.INFO.JOBS.{durable}") == theirs, "it is left alone")
            one.api(f"CONSUMER.DELETE.JOBS.{durable}")
            wait_for("the queue to be consumed", lambda: ended(node, 10 * n + 10, "mail"))
        w.settle(40)
        w.audit(unserved=["sleep"])


PATIENT = 5  # seconds


def a_consumer_with_less_patience():
    """Harmless differences are used: no letter is delivered twice while the ledger stands still for longer."""
    if LEDGER == "sqlite":
        raise Skip("SQLite has no server that could stand still")
    with broker() as one, world(broker=one, private=True, settings=("node.lease=60s", "node.beat=1s")) as w:
        node = w.node()
        one.await_queues()
        durable = next(iter(one.consumers()))
        w.stop()
        another_consumer(one, durable, ack_wait=PATIENT * SECOND)
        mark = os.path.getsize(node.log_path)
        node.start()
        print(f"  it says: {said(wait_logged(node, durable, 'ack_wait', after=mark))}")
        begin = time.monotonic_ns()
        w.ledger.server.pause()
        send(w, 200)
        wait_for("letters to be held", lambda: one.queues()["default"][1])
        held_since = time.monotonic()
        wait_for("three times its patience", lambda: time.monotonic() > held_since + 3 * PATIENT)
        held = one.queues()["default"][1]
        w.ledger.server.resume()
        w.log.fault("ledger", from_=begin, to=time.monotonic_ns())
        w.settle(200)
        row = one.consumers()[durable]
        check(row["delivered"]["consumer_seq"] == 200, f"each was delivered once: {row['delivered']}")
        check(metric(node, "skep_letters_known_total") == 0, "none came twice")
        print(f"  {held} letters were held for {3 * PATIENT} s: {row['delivered']['consumer_seq']} deliveries of 200")
        w.audit()


def a_history_that_is_kept_is_not_run_again():
    """A stream with limits keeps what ran. A consumer that somebody removed begins where the ledger knows that all is
    taken in, not with the first message."""
    with broker() as one:
        one.api("STREAM.CREATE.JOBS", {**STREAM, "retention": "limits"})
        with world(broker=one, private=False) as w:
            node = w.node()
            one.await_queues()
            send(w, 300)
            wait_for("300 letters' jobs", lambda: ended(node, 300))
            wait_for("the ledger to know it", lambda: int(
                (w.select("select coalesce(max(floor), 0) from floors") or [[0]])[0][0]) >= 300)
            w.stop()
            durable = next(iter(one.consumers()))
            one.api(f"CONSUMER.DELETE.JOBS.{durable}")
            send(w, 10, start=300)
            node.start()
            wait_for("10 letters' jobs", lambda: ended(node, 310))
            w.settle(310)
            row = one.consumers()[durable]
            check(row["delivered"]["consumer_seq"] == 10, f"no more than 10 were delivered: {row['delivered']}")
            check(one.messages() >= 310, "all are kept")
            print(f"  {one.messages()} messages are kept; the new consumer brought {row['delivered']}")
            w.audit()


def what_is_not_to_be_made():
    """create = no: the stream, then the consumer, are named and waited for."""
    with broker() as one:
        one.settings = {"create": "no"}
        with world(broker=one, private=False, queues=({"name": "mail", "types": ["diary"]},)) as w:
            node = w.node(ready=False)
            print(f"  it says: {said(wait_logged(node, 'stream JOBS'))}")
            one.api("STREAM.CREATE.JOBS", STREAM)
            print(f"  it says: {said(wait_logged(node, 'consumer', 'skep-diary'))}")
            check(one.consumers() == {}, "nothing was made")
            one.api("CONSUMER.DURABLE.CREATE.JOBS.skep-diary", {"stream_name": "JOBS", "config": {
                "durable_name": "skep-diary", "filter_subject": "jobs.diary", "ack_policy": "explicit", "max_deliver": -1,
                "ack_wait": 10 * SECOND, "max_ack_pending": 50000}})
            send(w, 10, queue="mail")
            wait_for("the letters", lambda: ended(node, 10, "mail"))
            w.settle(10)
            w.audit()


# --- who may come in ---

def an_account_without_jetstream():
    def account(more):
        return "{ WORK: { %s users: [ { user: keeper, password: s3cret } ] } }" % more
    with broker(accounts=account("")) as one:
        one.url = one.url.replace("://", "://keeper:s3cret@")
        with world(broker=one, private=False) as w:
            named_and_healed(w, w.node(ready=False), "transport js", ("JetStream", "account"), lambda: one.server.configure(
                accounts=account("jetstream: enabled,")).restart())
            w.audit()


def a_wrong_token():
    with broker(login="other") as one:
        one.url = one.url.replace("://other@", "://s3cret@")
        with world(broker=one, private=False) as w:
            named_and_healed(w, w.node(ready=False), "transport js", ("by token", "Authorization"),
                             lambda: one.server.configure(login="s3cret").restart())
            w.audit()


# --- while it runs ---

def busy(w, node):
    """Jobs that keep both workers; ends them when called."""
    http = w.http(node)
    ids = [http.submit("diary", {"long": n, "do": "sleep:600000"}, key=f"long-{time.monotonic_ns()}") for n in range(2)]
    for id_ in ids:
        node.until(id_, "running")
    return lambda: [check(http.cancel(id_) == 202, "a long job is asked to stop") for id_ in ids]


def a_stream_that_is_full():
    with broker() as one:
        one.api("STREAM.CREATE.JOBS", {**STREAM, "max_msgs": 100, "discard": "new"})
        with world(broker=one, private=False) as w:
            node = w.node()
            one.await_queues()
            end = busy(w, node)
            with one.client() as client:
                refused = fill(w, client)
            http = w.http(node)
            ids = [http.submit("diary", {"behind": n}, key=f"behind-{n}") for n in range(30)]
            check(all(ids), "submissions are accepted all the same")
            end()
            for id_ in ids:
                node.finish(id_)
            w.settle(132)
            print(f"  refused: {refused}; the tide found {metric(node, 'skep_tide_recovered_total'):.0f} of 30")
            w.audit()


def fill(w, client):
    """Letters until the stream takes no more."""
    for n in range(10000):
        body = b'{"fills":%d}' % n
        ref = w.log.intend(body, via="nats", type="diary", queue="default")
        try:
            client.put("diary", body)
        except Refused as refusal:
            w.log.answer(ref, "refused")
            return refusal
        w.log.answer(ref, "confirmed")
    return None


def what_is_deleted_while_it_runs(deed, lost):
    """What was submitted to skep runs, and letters go on; lost: whether the broker's messages went with it."""
    with broker() as one, world(broker=one, private=False) as w:
        node = w.node()
        pid = node.pid
        one.await_queues()
        end = busy(w, node)
        w.pages(node, [("diary", {"behind": n}) for n in range(LOST)])
        ready = wait_for("doorbells at the broker", lambda: (lambda n: n if n >= LOST // 4 else None)(
            one.queues().get("default", (0, 0))[0]))
        begin, mark = time.monotonic(), os.path.getsize(node.log_path)
        one.api(deed.format(durable=next(iter(one.consumers()))))
        end()
        wait_for("all jobs to complete", lambda: counts(node).get("completed") == LOST)
        found = metric(node, "skep_tide_recovered_total")
        print(f"  {LOST} jobs, {ready} doorbells ready, completed {time.monotonic() - begin:.1f} s after {deed}; the tide "
              f"found {found:.0f}")
        check(found >= LOST / 4 if lost else found == 0, "the tide finds what was lost, and nothing else")
        one.await_queues()
        send(w, 20)
        wait_for("the letters", lambda: ended(node, LOST + 22))
        check(node.pid == pid and node.process.poll() is None, "it is the same process")
        if not deed.startswith("STREAM.PURGE"):
            print(f"  it says: {said(wait_logged(node, 'made', after=mark))}")
        w.settle(LOST + 22)
        w.audit()


def a_stream_that_is_deleted():
    what_is_deleted_while_it_runs("STREAM.DELETE.JOBS", lost=True)


def a_stream_that_is_purged():
    what_is_deleted_while_it_runs("STREAM.PURGE.JOBS", lost=True)


def a_consumer_that_is_deleted():
    what_is_deleted_while_it_runs("CONSUMER.DELETE.JOBS.{durable}", lost=False)


def a_server_that_stands_still():
    with broker() as one:
        one.settings = {"heartbeat": "1s"}
        with world(broker=one, private=False) as w:
            node, stop = w.node(), []
            pid = node.pid
            one.await_queues()
            flow = Background(keep_sending, w, stop)
            wait_for("letters to flow", lambda: ended(node, 50))
            mark = os.path.getsize(node.log_path)
            one.server.pause()
            print(f"  it says: {said(wait_logged(node, 'transport', 'down', after=mark))}")
            before = counts(node).get("completed", 0)
            ids = [w.http(node).submit("diary", {"still": n}, key=f"still-{n}") for n in range(20)]
            for id_ in ids:
                node.finish(id_)
            check(not logged(node, "level=crit"), "nothing worse is told")
            one.server.resume()
            until_ready(node, pid)
            stop.append(True)
            flow.join_or_raise()
            letters = flow.words[0].sent_letters
            w.settle(letters + 20)
            print(f"  {before} had ended when it stood still, {letters} letters were confirmed")
            w.audit()


def keep_sending(w, stop):
    with w.sender() as letters:
        n = 0
        while not stop:
            letters.letter("diary", {"flow": n}, key=f"flow-{n}" if n % 2 else None)
            letters.pause(0.01)
            n += 1
        w.sent_letters = letters.confirmed


run(a_stream_with_another_configuration, a_stream_that_takes_other_subjects, a_consumer_that_cannot_be_used,
    a_consumer_with_less_patience, a_history_that_is_kept_is_not_run_again, what_is_not_to_be_made,
    an_account_without_jetstream, a_wrong_token, a_stream_that_is_full, a_stream_that_is_deleted,
    a_consumer_that_is_deleted, a_server_that_stands_still,
    *((a_stream_that_is_purged,) if FULL else ()))  # in short wiped.py tells of that
