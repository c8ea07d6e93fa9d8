"""Everything is killed, again and again, while letters come: nodes, workers, the broker, PostgreSQL. The auditor judges.

Half of the letters have a message id, half have nothing but a payload of their own. Of the latter at most one in a
thousand may exist twice over RabbitMQ: a broker that is killed may deliver a letter again without saying so. Over NATS
none may: its place in the stream is its name.

SKEP_STORM_JOBS, SKEP_STORM_SECONDS and SKEP_STORM_SEED choose another storm.
"""

import itertools
import os
import random
import threading
import time

from faults import SHORT, Background, answering, check, kill_quietly, wait_for, worker_pids, world
from harness import BROKER, run

JOBS = int(os.environ.get("SKEP_STORM_JOBS", "6000" if SHORT else "20000"))
SECONDS = float(os.environ.get("SKEP_STORM_SECONDS", "20" if SHORT else "60"))
SEED = int(os.environ.get("SKEP_STORM_SEED", "1"))
PRODUCERS = 4
# Weights of what the diary is asked to do.
KINDS = [("", 700), ("sleep:5", 120), ("sleep:40", 60), ("retry:1:20", 50), ("retry:2", 20), ("snooze:1:1000", 15),
         ("discard", 10), ("dead", 10), ("deaf:200", 6), ("crash:1", 6), ("poison", 1), ("exit:1", 2)]


def publish(letters, number, stop_at, nemesis):
    """This producer's share, spread over the storm, and more until enough was killed."""
    dice = random.Random(f"{SEED}-{number}")
    mine = range(number, JOBS, PRODUCERS)
    begin = time.monotonic()
    for at, n in enumerate(mine):
        kind = dice.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
        key = f"storm-{n}" if n // PRODUCERS % 2 else None
        letters.letter("diary", {"n": n, "do": kind, "seed": SEED}, key=key, poison=int(kind == "poison") or None)
        behind = begin + (stop_at - begin) * at / len(mine) - time.monotonic()
        if behind > 0:
            letters.pause(min(behind, 1))
    for n in itertools.count(JOBS + number, PRODUCERS):
        if nemesis.enough():
            return
        letters.letter("diary", {"n": n, "do": "sleep:5", "seed": SEED}, key=f"storm-{n}" if n // PRODUCERS % 2 else None)
        letters.pause(0.02)


class Nemesis:
    """One thread per kind of victim, each with dice of its own; they end when `over` is set, and all runs then."""

    def __init__(self, world_):
        self.world, self.over, self.kills = world_, threading.Event(), {}

    def count(self, what):
        self.kills[what] = self.kills.get(what, 0) + 1

    def killed(self, what):
        return sum(n for name, n in list(self.kills.items()) if name.startswith(what))

    def victims(self):
        return ("nodes", "workers", "broker") + (("PostgreSQL",) if self.world.ledger.server else ())

    def enough(self):
        return self.over.is_set() or all(self.killed(victim) > SECONDS / 40 for victim in self.victims())

    def nodes(self, node):
        dice = random.Random(f"{SEED}-{node.name}")
        for number in range(1000):
            if self.over.wait(dice.uniform(2, 10)):
                return
            self.world.kill(node)
            if dice.random() < 0.5:
                node.state = os.path.join(node.root, f"state-{number}")
                self.count("nodes, a fresh state directory next")
            else:
                self.count("nodes, the same state directory next")
            time.sleep(dice.choice([0, 0, 0.5, 4]))
            node.start(ready=False)

    def workers(self):
        dice = random.Random(f"{SEED}-workers")
        while not self.over.wait(dice.uniform(0.3, 3)):
            victims = [pid for node in self.world.nodes for pid in worker_pids(node)]
            if victims:
                pid = dice.choice(victims)
                self.world.log.fault("kill", pid=pid, from_=time.monotonic_ns())
                if kill_quietly(pid):
                    self.count("workers")

    def server(self, service, what, low, high):
        dice = random.Random(f"{SEED}-{what}")
        while not self.over.wait(dice.uniform(low, high)):
            begin = time.monotonic_ns()
            service.server.kill()
            self.count(what)
            time.sleep(dice.choice([0, 0, 1, 3]))
            end = time.monotonic_ns()
            service.server.start()
            if what == "PostgreSQL":
                self.world.log.fault("ledger", from_=begin, to=end)

    def start(self):
        threads = [Background(self.nodes, node) for node in self.world.nodes] + [Background(self.workers)]
        threads.append(Background(self.server, self.world.broker, "broker", 8, 20))
        if self.world.ledger.server:
            threads.append(Background(self.server, self.world.ledger, "PostgreSQL", 5, 15))
        return threads


def a_storm_loses_nothing():
    with world() as w:
        for _ in range(2):
            w.node(ready=False)
        for node in w.nodes:
            node.wait_ready()
            node.serving("diary.so")
        wait_for("the queue at the broker", lambda: "default" in w.broker.queues())
        w.broker.durable()
        begin = time.monotonic()
        letters = [w.sender() for _ in range(PRODUCERS)]
        nemesis = Nemesis(w)
        producers = [Background(publish, one, number, begin + SECONDS, nemesis) for number, one in enumerate(letters)]
        killers = nemesis.start()
        for one in producers:
            one.join_or_raise()
        print(f"  seed {SEED}: {sum(one.confirmed + one.unconfirmed for one in letters)} letters in {time.monotonic() - begin:.0f} s: "
              + ", ".join(f"{sum(getattr(one, what) for one in letters)} {what}"
                          for what in ("confirmed", "unconfirmed", "repeated")))
        nemesis.over.set()
        for one in killers:
            one.join_or_raise()
        print("  killed: " + ", ".join(f"{n} {what}" for what, n in sorted(nemesis.kills.items())))
        for node in w.nodes:
            wait_for(f"node {node.name} to serve", lambda node=node: answering(node))
        w.settle(sum(one.confirmed for one in letters))
        report = w.audit("I1 I1b I2 I3 I4 I6 I7 I8 I9 I10 I12 I15 I16 I17 I22")
        if BROKER == "amqp":
            extra, all_ = report["idless_extra"], report["idless"]
            print(f"  letters without an id: {all_}, of which {extra} exist twice")
            check(all_ and extra * 1000 <= all_, f"{extra} of {all_} letters without an id exist twice")
        for victim in nemesis.victims():
            check(nemesis.killed(victim) > SECONDS / 40, f"{victim} were killed {nemesis.killed(victim)} times only")


run(a_storm_loses_nothing)
