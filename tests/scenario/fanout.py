"""One message for several queues, and one queue for several nodes, with producers that are not ours.

A topic exchange copies a message to each queue that is bound for it, under one message id; keys are per queue, so every
queue has its job, and has it once. Two nodes that share a queue, a broker and a ledger share the work.
"""

import json
import os

from faults import Background, check, counts, wait_for
from harness import run
from mailroom import Postman, all_jobs, ended_by_key, post_office

LETTERS = int(os.environ.get("SKEP_FANOUT_LETTERS", "2000"))


# --- fan-out ---

def patterns_that_overlap_make_a_job_in_each_queue():
    queues = ({"name": "narrow", "types": ["diary"]}, {"name": "wide", "types": [">"]},
              {"name": "other", "types": ["other.>"]})
    with post_office(queues=queues, bound=3, mirror=True) as w, Postman(w) as pika:
        node = w.nodes[0]
        for n in range(50):
            refs = pika.drop("diary", '{"n":%d}' % n, queues=("narrow", "wide"), message_id=f"fan-{n}")
            if n % 5 == 0:
                pika.drop("diary", '{"n":%d}' % n, known=refs, message_id=f"fan-{n}")
        for n in range(10):
            pika.drop("diary", '{"plain":%d}' % n, queues=("narrow", "wide"))
        w.settle(120)
        rows = {queue: (counts(node, queue).get("completed"),
                        sum("key" in job for job in all_jobs(node, queue=queue, state="completed")))
                for queue in ("narrow", "wide")}
        check(rows == {"narrow": (60, 50), "wide": (60, 50)}, f"completed, and those with a key: {rows}")
        one, two = (ended_by_key(node, "fan-7", queue=queue) for queue in ("narrow", "wide"))
        check(one["id"] != two["id"] and one["key"] == two["key"] == "fan-7", f"two jobs of one key: {one}, {two}")
        print(f"  60 messages, 10 of them sent twice: completed, with a key: {rows}")
        w.audit()


def an_exchange_of_their_own_fans_out():
    """As a Spring service has it: its own topic exchange and bindings to the queues of others, the type in headers."""
    queues = ({"name": "billing", "types": ["billing.>"]}, {"name": "shipping", "types": ["shipping.>"]})
    with post_office(queues=queues, bound=2, mirror=True) as w, Postman(w, exchange="orders") as pika:
        node = w.nodes[0]
        pika.channel.exchange_declare("orders", "topic", durable=True)
        for queue, key in (("billing", "order.#"), ("billing", "*.paid"), ("shipping", "*.paid"), ("shipping", "#.eu")):
            pika.channel.queue_bind(queue, "orders", key)
        check(len(w.broker.bindings("orders")) == 4, "their bindings are there")
        spring = {"content_type": "application/json", "content_encoding": "UTF-8", "priority": 0, "delivery_mode": 2,
                  "headers": {"__TypeId__": "shop.events.OrderPaid", "job-type": "diary"}}
        both = ("billing", "shipping")
        for n in range(30):
            pika.drop("order.paid", '{"order":%d}' % n, queues=both, message_id=f"order-{n}", **spring)
        pika.drop("order.opened.eu", '{"order":"opened"}', queues=both, message_id="opened", **spring)
        pika.drop("order.opened", '{"order":"at home"}', queues=("billing",), message_id="at-home", **spring)
        # Through the default exchange, by the queue's name: Spring's convertAndSend without an exchange.
        pika.drop("shipping", '{"order":"direct"}', exchange="", queues=("shipping",), message_id="direct",
                  headers={"job-type": "diary"})
        w.settle(64)
        rows = {queue: counts(node, queue).get("completed") for queue in ("billing", "shipping")}
        check(rows == {"billing": 32, "shipping": 32}, f"completed: {rows}")
        job = ended_by_key(node, "order-3", queue="shipping")
        kept = {"__typeid__": "shop.events.OrderPaid", "routing-key": "order.paid", "content-encoding": "UTF-8"}
        check(job["headers"] == kept, f"its headers: {job['headers']}")
        check(job["priority"] == 0 and job["payload"] == {"order": 3}, f"its fields: {job}")
        print(f"  32 messages through 4 bindings, one past them: {rows}; {job['headers']}")
        w.audit()


# --- two nodes ---

def publish(w, number, count, start=0):
    with Postman(w) as letters:
        for n in range(start + number, start + LETTERS, count):
            key = {"message_id": f"shared-{n}"} if n % 2 else {}
            letters.drop("diary", '{"n":%d,"do":"%s"}' % (n, "sleep:5" if n % 20 == 0 else ""), **key)


def two_nodes_share_a_queue():
    with post_office(nodes=2) as w:
        producers = [Background(publish, w, number, 4) for number in range(4)]
        sent = LETTERS
        reports = {node.name: wait_for("the doctor's ok", lambda node=node: healthy(node)) for node in w.nodes}
        for one in producers:
            one.join_or_raise()
        w.settle(sent)
        while min(worked(w).get(name, 0) for name in "ab") <= LETTERS // 50 and sent < 10 * LETTERS:
            publish(w, 0, 1, sent)  # a node that stood still as long as all this took has a part in what follows
            sent += LETTERS
            w.settle(sent)
        check(int(w.select("select count(*) from jobs where state = 4")[0][0]) == sent, "all completed")
        ran = worked(w)
        check(sum(ran.values()) == sent, f"each letter runs once: {ran}")
        check(set(ran) == {"a", "b"} and min(ran.values()) > LETTERS // 50, f"both nodes work: {ran}")
        for name, rows in reports.items():
            print(f"  doctor of {name}: " + "; ".join(f"{r['name']} {r['status']}: {r['detail']}" for r in rows))
        print(f"  {sent} letters, runs by node: {ran}")
        w.audit()


def worked(w):
    """{node: runs}, by the handlers' log."""
    ran = {}
    with open(w.handlers, encoding="utf-8") as log:
        for line in log:
            word, *fields = line.rstrip("\n").split("\t")
            if word == "start/1":
                name = dict(field.split("=", 1) for field in fields)["node"]
                ran[name] = ran.get(name, 0) + 1
    return dict(sorted(ran.items()))


def healthy(node):
    """What `skep doctor` says of broker and ledger, once it says ok."""
    done = node.skep("doctor", "-o", "json")
    rows = [row for row in json.loads(done.stdout)["checks"] if row["name"] == "ledger" or "transport " in row["name"]]
    check(len(rows) == 2, f"it names broker and ledger: {done.stdout}")
    return rows if all(row["status"] == "ok" for row in rows) else None


run(two_nodes_share_a_queue, amqp=(patterns_that_overlap_make_a_job_in_each_queue, an_exchange_of_their_own_fans_out))
