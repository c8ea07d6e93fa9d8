"""A deployment moves from one broker to another: only its URL is changed. What waited as a doorbell at the old broker is
found by the tide, letters of both become jobs, and nothing runs twice.
"""

from brokers import Nats, Rabbit
from faults import answering, check, ended, metric, send, wait_for, world
from harness import run

WAITING = 300


def move(w, node, to):
    """The same transport under another URL, after skepd's death."""
    w.kill(node)
    w.broker = to
    node.write_config(w.config(node.name))
    node.start(ready=False)
    wait_for("skepd to serve", lambda: answering(node))
    to.await_queues()


def a_deployment_moves_and_moves_back():
    with Rabbit.corner() as rabbit, Nats.corner() as nats, world(broker=rabbit, private=False) as w:
        rabbit.transport = nats.transport = "broker"
        node = w.node()
        rabbit.await_queues()  # no letters yet: a node that has seen how quick they are claims hundreds at once
        http = w.http(node)
        long_ids = [http.submit("diary", {"long": n, "do": "hang:1"}, key=f"long-{n}") for n in range(2)]
        for id_ in long_ids:
            w.begun(id_)
        w.pages(node, [("diary", {"behind": n}) for n in range(WAITING)])
        wait_for("all doorbells to be at RabbitMQ", lambda: int(w.select("select count(*) from outbox")[0][0]) == 0)
        move(w, node, nats)
        send(w, 40, start=100)
        wait_for("all jobs to complete", lambda: ended(node, 42 + WAITING))
        found = metric(node, "skep_tide_recovered_total")
        print(f"  at NATS the tide found {found:.0f} of {WAITING}, 40 letters came")
        check(found > WAITING / 2, "the tide found what waited at the old broker")
        move(w, node, rabbit)
        send(w, 40, start=200)
        wait_for("letters of RabbitMQ again", lambda: ended(node, 82 + WAITING))
        print(f"  back at RabbitMQ {metric(node, 'skep_doorbells_known_total'):.0f} doorbells came for nothing")
        w.settle(82 + WAITING)
        w.audit()


run(a_deployment_moves_and_moves_back)
