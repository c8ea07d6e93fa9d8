"""Letters of clients that we did not write become jobs, once each, whatever is killed on the way."""

import contextlib
import itertools
import os
import time

from brokers import broker
from faults import Background, check, wait_for, world
from harness import run
from strangers import amqp_publish, amqplib, by_hand, nats_js, pub

LETTERS = int(os.environ.get("SKEP_LETTERS", "400"))


@contextlib.contextmanager
def served(nodes=1, **more):
    """A world whose nodes serve and whose queue is there."""
    with world(**more) as w:
        for _ in range(nodes):
            w.node(ready=False)
        for node in w.nodes:
            node.wait_ready()
            node.serving("diary.so")
        w.broker.await_queues()
        yield w


def clients_of(one):
    """What each of three clients does to send `{"by":its name}` to the type diary, with the id that it gives."""
    def through_ours():
        with one.client() as client:
            for _ in range(2):
                client.put("diary", b'{"by":"python"}', message_id="p-1")

    def answered(said):
        check(said == ["confirmed"], f"the Node.js client was answered {said}")

    body = '{"by":"node"}'
    if one.kind == "amqp":
        return (("plain", None, lambda: amqp_publish(one.url, "diary", '{"by":"plain"}')),
                ("python", "p-1", through_ours),
                ("node", "n-1", lambda: answered(
                    amqplib(one.url, [("some.key", body, {"messageId": "n-1", "type": "diary"})]))))
    return (("plain", None, lambda: by_hand(one.url, pub("jobs.diary", b'{"by":"plain"}'))),
            ("python", "p-1", through_ours),
            ("node", "n-1", lambda: answered(
                nats_js(one.url, [("jobs.some.key", body, {"id": "n-1", "headers": {"job-type": "diary"}})]))))


def letters_of_three_clients_become_jobs():
    with served(private=False) as w:
        for name, key, send in clients_of(w.broker):
            ref = w.log.intend(b'{"by":"%s"}' % name.encode(), via=w.broker.kind, type="diary", key=key, queue="default")
            send()
            w.log.answer(ref, "confirmed" if key else "sent")
        w.settle(3)
        rows = w.rows()
        check(sum(rows.values()) == 3, f"three letters are three jobs: {rows}")
        check(w.nodes[0].get("/v1/jobs/key:p-1?queue=default").json["state"] == "completed", "a message id is the job's key")
        w.audit("I1 I1b I2 I3 I4 I9 I10 I15 I16 I17 I22")


class Flow:
    """Numbered letters, each until it is confirmed, under a message id of its own."""

    def __init__(self, w):
        self.world, self.letters = w, w.sender()
        self.thread = Background(self.send)

    def send(self):
        for n in range(LETTERS):
            self.letters.letter("diary", {"n": n}, key=f"letter-{n}")

    def until(self, part):
        wait_for("more letters", lambda: self.letters.confirmed >= LETTERS * part or not self.thread.is_alive())

    def end(self):
        """All of them are there, once each, and the auditor finds nothing."""
        self.thread.join_or_raise()
        self.letters.drop()
        self.world.settle(LETTERS)
        check(self.letters.confirmed == LETTERS, f"{self.letters.confirmed} of {LETTERS} letters were confirmed")
        report = self.world.audit("I1 I1b I2 I3 I4 I6 I9 I10 I15 I16 I17 I22")
        check(report["rows"] == LETTERS, f"{report['rows']} jobs of {LETTERS} letters")


def nodes_are_killed_while_letters_come():
    with served(2, private=False) as w:
        flow = Flow(w)
        for round_, node in zip(range(4), itertools.cycle(w.nodes)):
            flow.until((round_ + 1) / 6)
            w.kill(node)
            node.start(ready=False)
        for node in w.nodes:
            node.wait_ready()
        flow.end()


def the_broker_is_killed_while_letters_come():
    with served(kind="sqlite") as w:
        w.broker.durable()
        flow = Flow(w)
        flow.until(1 / 4)
        w.broker.server.kill()
        w.broker.server.start()
        flow.end()


def postgres_is_killed_while_letters_come():
    with broker() as one, served(kind="postgres", broker=one) as w:
        flow = Flow(w)
        for round_ in range(2):
            flow.until((round_ + 1) / 4)
            begin = time.monotonic_ns()
            w.ledger.server.kill()
            w.ledger.server.start()
            w.log.fault("ledger", from_=begin, to=time.monotonic_ns())
        flow.end()


run(letters_of_three_clients_become_jobs, nodes_are_killed_while_letters_come, the_broker_is_killed_while_letters_come,
    postgres_is_killed_while_letters_come)
