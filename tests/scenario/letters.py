"""Letters of clients that we did not write become jobs, once each, whatever is killed on the way."""

import itertools
import json
import os
import threading
import time

from brokers import broker
from harness import Failure, Node, check, cluster, postgres, run, wait_for
from mailroom import content
from strangers import amqp_publish, amqplib, by_hand, nats_js, pub

LETTERS = int(os.environ.get("SKEP_LETTERS", "400"))
SETTINGS = ("node.beat=200ms", "node.lease=2s", "queues.default.retry.base=50ms")


def ledger_counts(node):
    """{state: jobs} of all queues; empty while the ledger does not answer."""
    sums, answer = {}, node.get("/v1/stats")
    for queue in answer.json["queues"] if answer.status == 200 else []:
        for state, count in queue["jobs"].items():
            sums[state] = sums.get(state, 0) + count
    return sums


def all_completed(nodes, count):
    def probe():
        for node in nodes:
            if node.process.poll() is None:
                counts = ledger_counts(node)
                return counts.get("completed", 0) >= count and counts
        return None
    counts = wait_for(f"{count} jobs to complete", probe, 120)
    check(counts["completed"] == count, f"{counts['completed']} jobs completed, {count} letters were sent")
    rest = {state: number for state, number in counts.items() if number and state != "completed"}
    check(not rest, f"nothing else is left: {rest}")


def clients_of(one):
    """What each of three clients does to send `{"by":its name}` to the type echo, and the id that it gives."""
    def through_ours():
        with one.client() as client:
            for _ in range(2):
                client.put("echo", b'{"by":"python"}', message_id="p-1")

    def answered(said):
        check(said == ["confirmed"], f"the Node.js client was answered {said}")

    body = '{"by":"node"}'
    if one.kind == "amqp":
        return (lambda: amqp_publish(one.url, "echo", '{"by":"plain"}'), through_ours,
                lambda: answered(amqplib(one.url, [("some.key", body, {"messageId": "n-1", "type": "echo"})])))
    return (lambda: by_hand(one.url, pub("jobs.echo", b'{"by":"plain"}')), through_ours,
            lambda: answered(nats_js(one.url, [("jobs.some.key", body, {"id": "n-1", "headers": {"job-type": "echo"}})])))


def letters_of_three_clients_become_jobs():
    with broker() as one, Node(config=one.config(), settings=SETTINGS) as node:
        node.start()
        one.await_queues()
        for send in clients_of(one):
            send()
        all_completed([node], 3)
        check(node.get("/v1/jobs/key:p-1?queue=default").json["state"] == "completed", "a message id is the job's key")
        rows = node.get("/v1/jobs?state=completed").json["jobs"]
        by = sorted(json.loads(content(node.job(row["id"]), "result"))["by"] for row in rows)
        check(by == ["node", "plain", "python"], f"the handler saw {by}")


class Steady(threading.Thread):
    """Sends numbered letters, each until it is confirmed; a repeat bears the same message id."""

    def __init__(self, one, count):
        super().__init__(daemon=True)
        self.client, self.count = one.client(), count
        self.sent, self.error = 0, None

    def run(self):
        end = time.monotonic() + 150
        while self.sent < self.count and time.monotonic() < end:
            try:
                self.client.put("echo", b'{"n":%d}' % self.sent, message_id=f"letter-{self.sent}")
                self.sent += 1
            except Exception as error:  # the broker is down; what became of the letter nobody knows
                self.error = error
                self.client.drop()
                time.sleep(0.05)
        self.client.drop()

    def finish(self):
        self.join(180)
        if self.sent < self.count:
            raise Failure(f"only {self.sent} of {self.count} letters were confirmed; last trouble: {self.error!r}")


def nodes_are_killed_while_letters_come():
    with postgres() as ledger, broker() as one, \
            cluster(2, ledger=ledger.url, config=one.config(), settings=SETTINGS) as nodes:
        one.await_queues()
        steady = Steady(one, LETTERS)
        steady.start()
        for round_, node in zip(range(4), itertools.cycle(nodes)):
            wait_for("more letters", lambda: steady.sent >= LETTERS * (round_ + 1) // 6 or not steady.is_alive())
            node.kill()
            node.start(ready=False)
        for node in nodes:
            node.wait_ready()
        steady.finish()
        all_completed(nodes, LETTERS)
        for node in nodes:
            check(node.stop() == 0, "skepd ends with 0 on SIGTERM")


def the_broker_is_killed_while_letters_come():
    with broker(private=True) as one, Node(config=one.config(), settings=SETTINGS) as node:
        node.start()
        one.await_queues()
        one.server.restart()  # in order: what was declared only now might not survive a kill, letters and all
        steady = Steady(one, LETTERS)
        steady.start()
        wait_for("some letters", lambda: steady.sent >= LETTERS // 4)
        one.server.kill()
        one.server.start()
        steady.finish()
        all_completed([node], LETTERS)


def postgres_is_killed_while_letters_come():
    with postgres(private=True) as ledger, broker() as one, \
            Node(ledger=ledger.url, config=one.config(), settings=SETTINGS) as node:
        node.start()
        one.await_queues()
        steady = Steady(one, LETTERS)
        steady.start()
        for round_ in range(2):
            wait_for("more letters", lambda: steady.sent >= LETTERS * (round_ + 1) // 4)
            ledger.server.kill()
            ledger.server.start()
        steady.finish()
        all_completed([node], LETTERS)


run(letters_of_three_clients_become_jobs, nodes_are_killed_while_letters_come, the_broker_is_killed_while_letters_come,
    postgres_is_killed_while_letters_come)
