"""Letters of clients that we did not write become jobs, once each, whatever is killed on the way."""

import itertools
import os
import threading
import time

from harness import (Failure, Node, Producer, amqp_publish, broker_config, check, cluster, node_publish, postgres,
                     rabbitmq, run, wait_for)

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


def exchange_is_there(broker):
    """The topology is skepd's to make; a mandatory letter before that would be refused."""
    with Producer(broker.url) as producer:
        wait_for("the exchange and its queue", lambda: declared(producer))


def declared(producer):
    try:
        producer.channel.exchange_declare(producer.exchange, passive=True)
        return True
    except Exception:  # pika closes the channel
        producer.connect()
        return False


def letters_of_three_clients_become_jobs():
    with rabbitmq() as broker, Node(config=broker_config(broker.url), settings=SETTINGS) as node:
        node.start()
        exchange_is_there(broker)
        amqp_publish(broker.url, "echo", '{"by":"librabbitmq"}', "-C", "application/json")
        with Producer(broker.url) as producer:
            for word in ("confirmed", "confirmed again"):
                check(producer.send("echo", '{"by":"pika"}', message_id="p-1", content_type="application/json"), word)
        answers = node_publish(broker.url, [
            ("some.key", '{"by":"amqplib"}', {"messageId": "n-1", "type": "echo", "contentType": "application/json"})])
        check(answers == ["confirmed"], f"amqplib was answered {answers}")
        all_completed([node], 3)
        check(node.get("/v1/jobs/key:p-1?queue=default").json["state"] == "completed", "a message id is the job's key")
        rows = node.get("/v1/jobs?state=completed").json["jobs"]
        by = sorted(node.job(row["id"])["result"]["by"] for row in rows)
        check(by == ["amqplib", "librabbitmq", "pika"], f"the handler saw {by}")


class Steady(threading.Thread):
    """Sends numbered letters, each until it is confirmed; a repeat bears the same message id."""

    def __init__(self, url, count):
        super().__init__(daemon=True)
        self.url, self.count = url, count
        self.sent, self.error = 0, None

    def run(self):
        producer, end = Producer(self.url), time.monotonic() + 150
        while self.sent < self.count and time.monotonic() < end:
            try:
                if producer.channel is None:
                    producer.connect()
                if producer.send("echo", b'{"n":%d}' % self.sent, message_id=f"letter-{self.sent}"):
                    self.sent += 1
            except Exception as error:  # the broker is down; what became of the letter nobody knows
                self.error = error
                producer.channel = None
                time.sleep(0.05)

    def finish(self):
        self.join(180)
        if self.sent < self.count:
            raise Failure(f"only {self.sent} of {self.count} letters were confirmed; last trouble: {self.error!r}")


def nodes_are_killed_while_letters_come():
    with postgres() as ledger, rabbitmq() as broker, \
            cluster(2, ledger=ledger.url, config=broker_config(broker.url), settings=SETTINGS) as nodes:
        exchange_is_there(broker)
        steady = Steady(broker.url, LETTERS)
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
    with rabbitmq(private=True) as broker, Node(config=broker_config(broker.url), settings=SETTINGS) as node:
        node.start()
        exchange_is_there(broker)
        broker.server.restart()  # in order: what was declared only now might not survive a kill, letters and all
        steady = Steady(broker.url, LETTERS)
        steady.start()
        wait_for("some letters", lambda: steady.sent >= LETTERS // 4)
        broker.server.kill()
        broker.server.start()
        steady.finish()
        all_completed([node], LETTERS)


def postgres_is_killed_while_letters_come():
    with postgres(private=True) as ledger, rabbitmq() as broker, \
            Node(ledger=ledger.url, config=broker_config(broker.url), settings=SETTINGS) as node:
        node.start()
        exchange_is_there(broker)
        steady = Steady(broker.url, LETTERS)
        steady.start()
        for round_ in range(2):
            wait_for("more letters", lambda: steady.sent >= LETTERS * (round_ + 1) // 4)
            ledger.server.kill()
            ledger.server.start()
        steady.finish()
        all_completed([node], LETTERS)


run(letters_of_three_clients_become_jobs, nodes_are_killed_while_letters_come, the_broker_is_killed_while_letters_come,
    postgres_is_killed_while_letters_come)
