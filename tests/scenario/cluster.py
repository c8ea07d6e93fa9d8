"""A cluster of three brokers loses any one node while jobs flow, and nothing is lost: RabbitMQ with quorum queues, NATS
with a stream of three replicas.

Two nodes of skep name all three brokers in their URL. Half of the jobs are letters of raw producers, each with an id and
repeated until it is confirmed; half are submitted to skep. Each broker is killed in turn, and the one that leads, while
they flow; NATS' leaders are also asked to step down, and sent away in order. The auditor judges.

SKEP_CLUSTER_JOBS chooses another number of jobs.
"""

import contextlib
import os
import time

import brokers
from faults import Background, check, metric, producer, wait_for, wait_logged, world
from harness import BROKER, run, servers
from private_server import Trouble, wait_until

FULL = "SKEP_FAULTS_FULL" in os.environ  # ./dev clusters
JOBS = int(os.environ.get("SKEP_CLUSTER_JOBS", "20000" if FULL else "3000"))
KINDS = ("", "", "", "", "sleep:2", "", "", "retry:1:20", "", "")
PAGE = 25
PRODUCERS = 2


# --- the clusters ---

class NatsCluster(brokers.Nats):
    settings = {"replicas": 3}

    def client(self):
        return Impatient(self.url, self.subject)

    def leader(self):
        return wait_for("a leader of the stream", lambda: self.server.leader(f"STREAM.INFO.{self.stream}"))

    def await_whole(self):
        """Until every node has all of the stream and of its consumers."""
        self.server.await_current(self.stream)

        def current():
            with contextlib.suppress(OSError, brokers.nats_client.Refused):
                with self.connect() as connection:
                    rows = [one["cluster"].get("replicas") or [] for one in connection.consumers(self.stream)]
                return rows and all(len(row) == 2 and all(one["current"] for one in row) for row in rows)
            return False
        wait_for("the consumers to be whole on all nodes", current)

    def members(self):
        replicas = self.api(f"STREAM.INFO.{self.stream}")["cluster"].get("replicas") or []
        return 1 + len(replicas)


class Impatient(producer.JetStream):
    """Whose question went down with a leader asks again soon."""

    def connect(self):
        if self.connection is None:
            self.connection = self.module.connect(self.url, patience=3)


class RabbitCluster(brokers.Rabbit):
    def __init__(self, cluster):
        super().__init__(cluster.url, cluster)

    def client(self):
        return PikaOfAll([node.url for node in self.server.nodes])

    def eval(self, expression, form="~0tp"):
        """In any node that answers."""
        def ask():
            for node in self.server.running():
                with contextlib.suppress(Trouble, OSError):
                    return [node.eval(expression, form)]
            return None
        return wait_for("a node of the cluster to answer", ask)[0]

    def queues(self):
        """The counts of a quorum queue are its leader's to tell."""
        said = self.eval(
            '[begin {_, N} = amqqueue:get_pid(Q), case rpc:call(N, rabbit_amqqueue, info, [Q, [messages_ready, '
            'messages_unacknowledged]]) of [{_, R}, {_, U}] when is_integer(R) -> io_lib:format("~ts|~w|~w;", [element(4, '
            'amqqueue:get_name(Q)), R, U]); _ -> "" end end || Q <- rabbit_amqqueue:list(<<"/">>)]', "~ts")
        rows = [row.split("|") for row in said.split(";") if row]
        return {name: (int(ready), int(unacked)) for name, ready, unacked in rows}

    def bindings(self, exchange="jobs"):
        said = self.eval(
            '[io_lib:format("~ts ~ts;", [element(4, element(4, B)), element(3, B)]) || B <- '
            f'rabbit_binding:list_for_source(rabbit_misc:r(<<"/">>, exchange, <<"{exchange}">>))]', "~ts")
        return {tuple(pair.split(" ")) for pair in said.split(";") if pair}

    def of_queue(self, what, queue="default"):
        return self.eval(f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
                         f'[{{_, V}}] = rabbit_amqqueue:info(Q, [{what}]), V')

    def leader(self):
        def find():
            name = self.of_queue("leader").strip("'")
            return next((node for node in self.server.running() if node.node == name), None)
        return wait_for("a leader of the queue", find)

    def members(self):
        return len(self.of_queue("members").split(","))

    def await_whole(self):
        wait_for("all members of the queue", lambda: len(self.of_queue("online").split(",")) == self.server.size)

    def durable(self):
        for node in self.server.nodes:
            node.eval('[dets:sync(T) || T <- dets:all()], mnesia:sync_log(), ok')


class PikaOfAll(producer.Pika):
    """Goes on with the next node when its own is gone."""

    def __init__(self, urls):
        super().__init__(urls[0])
        import pika
        self.turns = [self.parameters]
        for url in urls[1:]:
            self.turns.append(pika.URLParameters(url))
            for name in ("heartbeat", "socket_timeout", "blocked_connection_timeout"):
                setattr(self.turns[-1], name, getattr(self.parameters, name))

    def put(self, *words, **more):
        """RabbitMQ may refuse for ever what comes through a channel that met the death of a queue's leader."""
        try:
            super().put(*words, **more)
        except producer.Refused:
            self.drop()
            raise

    def connect(self):
        for number, parameters in enumerate(self.turns):
            self.parameters = parameters
            try:
                return super().connect()
            except self.broken:
                self.drop()
                if number + 1 == len(self.turns):
                    raise


@contextlib.contextmanager
def cluster():
    if BROKER == "nats":
        with servers.NatsCluster(options={"lame_duck_duration": '"30s"', "lame_duck_grace_period": '"1s"'}) as three:
            yield NatsCluster(three.url, three)
    else:
        with servers.RabbitCluster() as three:
            yield RabbitCluster(three)


# --- what flows ---

class Flow:
    """So many jobs, half of them letters, half submitted; no more at a time than the story asks for."""

    def __init__(self, w, total):
        self.world, self.half, self.share = w, total // 2, 0.0
        self.letters = [w.sender() for _ in range(PRODUCERS)]
        self.submitted = [0] * len(w.nodes)
        self.senders = [Background(self.send, one, number) for number, one in enumerate(self.letters)]
        self.senders += [Background(self.submit, number) for number in range(len(w.nodes))]

    def may(self, done, all_):
        while done >= all_ * self.share and self.share < 1:
            time.sleep(0.01)

    def send(self, letters, number):
        mine = range(number, self.half, PRODUCERS)
        for done, n in enumerate(mine):
            self.may(done, len(mine))
            letters.letter("diary", {"letter": n, "do": KINDS[n % len(KINDS)]}, key=f"letter-{n}")
        letters.drop()

    def submit(self, number):
        mine = range(number, self.half, len(self.world.nodes))
        node = self.world.nodes[number]
        for at in range(0, len(mine), PAGE):
            self.may(at, len(mine))
            self.world.pages(node, [("diary", {"job": n, "do": KINDS[n % len(KINDS)]}) for n in mine[at:at + PAGE]])
            self.submitted[number] = at + PAGE

    def done(self):
        """The part that has passed, of those who are the furthest behind."""
        return min(sum(one.confirmed for one in self.letters), sum(self.submitted)) / self.half

    def more(self, part):
        """Lets so much more flow, and returns when it did."""
        before = self.share
        self.share = min(before + part, 1.0)
        wait_for(f"{self.share:.0%} of the jobs to be sent", lambda: self.alive() and self.done() >= self.share - 0.01, 600)

    def alive(self):
        for one in self.senders:
            if one.error:
                raise one.error
        return True

    def finish(self):
        self.share = 1.0
        for one in self.senders:
            one.join_or_raise()


@contextlib.contextmanager
def flowing(total):
    """The auditor judges when the story is told: nothing is lost, and no loss is excused."""
    with cluster() as one, world(broker=one) as w:
        for _ in range(2):
            w.node(ready=False)
        for node in w.nodes:
            node.wait_ready()
            node.serving("diary.so")
        one.await_queues()
        one.durable()
        one.await_whole()
        check(one.members() == 3, f"on three nodes, not {one.members()}")
        begin, flow = time.monotonic(), Flow(w, total)
        yield one, w, flow
        flow.finish()
        print(f"  {total} jobs sent in {time.monotonic() - begin:.0f} s, "
              f"{sum(letters.repeated for letters in flow.letters)} letters repeated")
        w.settle(2 * flow.half)
        report = w.audit("I1 I1b I2 I3 I4 I6 I9 I10 I15 I16 I17 I22")
        check(report["rows"] == 2 * flow.half, f"{report['rows']} rows for {2 * flow.half} jobs")
        check(report["lost_with_broker"] == 0, "nothing is lost")
        for node in w.nodes:
            check(node.process.returncode == 0, f"node {node.name} ended with {node.process.returncode}")


def reconnects(w):
    return sum(metric(node, "skep_transport_reconnects_total") for node in w.nodes)


def while_away(w, flow, part, victim, go, come):
    """A third before it goes, a third without it, a third while it comes back."""
    begin = time.monotonic()
    flow.more(part / 3)
    moving = Background(flow.more, part / 3)
    go()
    moving.join_or_raise()
    away = time.monotonic()
    moving = Background(flow.more, part / 3)
    come()
    moving.join_or_raise()
    print(f"  {victim}: {time.monotonic() - begin:.1f} s, away for {away - begin:.1f}; {reconnects(w):.0f} reconnects "
          "in all")


def kill_in_turn(picks):
    with flowing(JOBS) as (one, w, flow):
        for number, pick in enumerate(picks):
            server = pick(one)
            w.log.fault("broker_node", server=server.name, from_=time.monotonic_ns())

            def come(server=server):
                server.start()
                one.await_whole()
            while_away(w, flow, 1 / len(picks), f"{server.name} killed" + (", the leader" if pick is leader else ""),
                       server.kill, come)
        check(reconnects(w) or len(picks) < 3, "each node of skep was connected to one of those that were killed")


def leader(one):
    return one.leader()


def nth(number):
    return lambda one: one.server.nodes[number]


# --- the stories ---

def any_node_is_killed():
    kill_in_turn([nth(0), nth(1), nth(2), leader] if FULL else [leader])


def leaders_step_down():
    """Of the stream, of each consumer, of the cluster."""
    with flowing(JOBS) as (one, w, flow):
        whats = [f"STREAM.LEADER.STEPDOWN.{one.stream}", "CONSUMER", "META.LEADER.STEPDOWN"]
        for what in whats * (3 if FULL else 1):
            def go(what=what):
                words = [what] if what != "CONSUMER" else \
                    [f"CONSUMER.LEADER.STEPDOWN.{one.stream}.{name}" for name in one.consumers()]
                for word in words:
                    check(one.api(word)["success"], f"{word} is done")
            while_away(w, flow, 1 / len(whats) / (3 if FULL else 1), what.lower(), go, one.await_whole)


def servers_end_as_lame_ducks():
    """One after another, so that each node of skep is sent away."""
    with flowing(JOBS) as (one, w, flow):
        for server in one.server.nodes:
            def go(server=server):
                server.lameduck()
                wait_until(f"{server.name} to end", lambda: not server.alive())

            def come(server=server):
                server.start()
                one.await_whole()
            while_away(w, flow, 1 / one.server.size, f"{server.name} sent away", go, come)
        for node in w.nodes:
            print(f"  {node.name} says: {wait_logged(node, 'lame duck').split('msg=')[1]}")


run(any_node_is_killed, nats=(leaders_step_down, servers_end_as_lame_ducks))
