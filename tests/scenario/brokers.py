"""The brokers, behind one face, so that a story is told once and holds for each: SKEP_BROKER says for which.

    with broker() as b, Node(config=b.config()) as node, b.client() as client:
        client.put("echo", b'{"x":1}', message_id="a-1")

A story that kills, stops or wipes its broker asks for one of its own: broker(private=True). What only one of them can do
(virtual hosts, bindings, an alarm; streams, consumers, accounts) stands on its class alone, and stories of it are run for
that one alone. It must not decide what is right: that is the stories' and the auditor's.
"""

import base64
import contextlib
import os
import secrets
import sys

from harness import BROKER, Service, libconfig, servers, shared, wait_for

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "audit"))
import nats_client  # noqa: E402
import producer  # noqa: E402

ALL = ({"name": "default", "types": [">"]},)


class Broker(Service):
    """A broker, or a corner of a shared one, that no other test uses. kind: as in URLs, and in the auditor's logs;
    transport: the name of the transport in the configuration."""

    kind = transport = None
    settings = {}  # further keys of the transport

    @staticmethod
    def locked_out(user):
        """Words that stand in what is said of a wrong login."""
        return user, "refused"

    def config(self, queues=ALL, transport=None, **sections):
        """Configuration text: a transport that all these queues use, and further sections as they are."""
        whole = {"transports": {self.transport: {"url": self.url, **self.settings, **(transport or {})}},
                 "queues": [{"transport": self.transport, **queue} for queue in queues], **sections}
        return "\n".join(f"{key} = {libconfig(value)};" for key, value in whole.items())

    def sender(self, log):
        return producer.Letters(log, self.client())


class Rabbit(Broker):
    kind, transport = "amqp", "rabbit"

    @classmethod
    @contextlib.contextmanager
    def corner(cls, private=False, **options):
        server, url = (None, None) if private or options else shared(servers.RabbitMQ, "SKEP_TEST_AMQP")
        if server:
            name = "test-" + secrets.token_hex(6)
            try:
                yield cls(server.new_vhost(name), server, name)
            finally:
                server.drop_vhost(name)
        elif url:
            yield cls(url, None)
        else:
            with servers.RabbitMQ(options=options) as server:
                yield cls(server.url, server)

    def client(self, exchange="jobs"):
        return producer.Pika(self.url, exchange)

    def declare(self, queue):
        """A place for letters without any skepd; returns a client that reaches it by its name."""
        client = self.client(exchange="")
        client.connect()
        client.channel.queue_declare(queue, durable=True)
        return client

    def take(self, queue):
        """Bodies of letters out of such a place, acknowledged."""
        with self.client() as client:
            return [body for _, _, body in iter(lambda: client.channel.basic_get(queue, auto_ack=True),
                                                (None, None, None))]

    def queues(self):
        """{queue: (ready, unacknowledged)}"""
        return self.server.queues(self.name or "/")

    def bindings(self, exchange="jobs"):
        """{(queue, pattern)} of an exchange; empty while it is not there."""
        said = self.server.eval(
            '[io_lib:format("~ts ~ts;", [element(4, element(4, B)), element(3, B)]) || B <- '
            f'rabbit_binding:list_for_source(rabbit_misc:r(<<"{self.name or "/"}">>, exchange, <<"{exchange}">>))]', "~ts")
        return {tuple(pair.split(" ")) for pair in said.split(";") if pair}

    def await_queues(self, patterns=1):
        """Until a letter for each of the patterns finds its queue."""
        wait_for("the queues to be bound", lambda: len(self.bindings()) >= patterns)

    def durable(self):
        """RabbitMQ writes a new queue's name to its disk half a second late and forgets the queue, with all that it
        confirmed, when it is killed before. This writes it now."""
        self.server.eval('[dets:sync(T) || T <- dets:all()], mnesia:sync_log(), ok')

    def keeps_refused(self):
        return "jobs.refused" in self.queues()

    def refused(self, count):
        """{id: (headers, body)} of letters that were too large, once there are so many."""
        found = {}
        with self.client() as client:
            while len(found) < count:
                _, about, body = wait_for("a refused letter", lambda: (lambda got: got if got[0] else None)(
                    client.channel.basic_get("jobs.refused", auto_ack=True)))
                found[about.message_id] = (about.headers, body)
        return found

    def lock_out(self, user, password):
        """From now on it is to be reached as `user`, whose password is another; returns what puts that right."""
        self.server.eval(
            f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"other">>, <<"skep">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{self.name}">>, <<".*">>, <<".*">>, <<".*">>, '
            '<<"skep">>)')
        self.url = self.url.replace("guest:guest", f"{user}:{password}")
        return lambda: self.server.eval(
            f'rabbit_auth_backend_internal:change_password(<<"{user}">>, <<"{password}">>, <<"skep">>)')

    @staticmethod
    def named(key):
        """Properties that name a letter so that skep alone looks at it."""
        return {"message_id": key}


class Nats(Broker):
    """Always a server of the test's own: it starts in a moment."""

    kind, transport = "nats", "js"
    stream, subject = "JOBS", "jobs"

    def __init__(self, *words):
        super().__init__(*words)
        self.by_pattern = {}

    @classmethod
    @contextlib.contextmanager
    def corner(cls, private=False, **options):
        with servers.Nats(options=options) as server:
            yield cls(server.url, server)

    def config(self, queues=ALL, **more):
        self.by_pattern = {f"{self.subject}.{pattern}": queue["name"] for queue in queues
                           for pattern in queue.get("types", [queue["name"]])}
        return super().config(queues, **more)

    def client(self):
        return producer.JetStream(self.url, self.subject)

    def connect(self):
        return nats_client.connect(self.url)

    def api(self, words, question=None):
        """JetStream's answer to $JS.API.<words>; nats_client.Refused when it is an error."""
        with self.connect() as connection:
            return connection.api(words, question)

    def declare(self, queue):
        subject = f"{self.subject}.{queue}"
        self.by_pattern[subject] = queue
        self.api(f"STREAM.CREATE.{self.stream}", {"name": self.stream, "subjects": [subject], "retention": "workqueue"})
        self.api(f"CONSUMER.DURABLE.CREATE.{self.stream}.{queue}", {"stream_name": self.stream, "config": {
            "durable_name": queue, "filter_subject": subject, "ack_policy": "explicit"}})
        return self.client()

    def take(self, queue):
        with self.connect() as connection:
            found = connection.fetch(self.stream, queue, 100, patience=0.2)
            for message in found:
                connection.publish(message.reply, b"+ACK")
            connection.flush()
            return [message.body for message in found]

    def consumers(self):
        """{durable: what the server tells of it}; empty while there is no stream."""
        with self.connect() as connection:
            there = connection.exists(f"STREAM.INFO.{self.stream}")
            return {one["name"]: one for one in connection.consumers(self.stream)} if there else {}

    def queues(self):
        """{queue: (waiting, unacknowledged)} of its consumers together."""
        found = {}
        for one in self.consumers().values():
            pattern = one["config"].get("filter_subject", "")
            name = self.by_pattern.get(pattern, pattern)
            before = found.get(name, (0, 0))
            found[name] = (before[0] + one["num_pending"], before[1] + one["num_ack_pending"])
        return found

    def messages(self):
        """How many messages the stream holds, whoever asks for them."""
        return self.api(f"STREAM.INFO.{self.stream}")["state"]["messages"]

    def await_queues(self, patterns=1):
        wait_for("the consumers", lambda: len(self.consumers()) >= patterns)

    def durable(self):
        """What it acknowledged it keeps when it is killed; a lost machine is another story."""

    def keeps_refused(self):
        with self.connect() as connection:
            return connection.exists(f"STREAM.INFO.{self.stream}_REFUSED")

    def refused(self, count):
        stream = f"{self.stream}_REFUSED"
        with self.connect() as connection:
            wait_for(f"{count} refused letters",
                     lambda: connection.api(f"STREAM.INFO.{stream}")["state"]["messages"] >= count)
            return {headers.get("job-id"): (headers, body)
                    for headers, body in (kept(connection, stream, n + 1) for n in range(count))}

    def lock_out(self, user, password):
        self.server.configure(login=f"{user}:other").restart()
        self.url = self.server.url.replace(":other@", f":{password}@")
        return lambda: self.server.configure(login=f"{user}:{password}").restart()

    @staticmethod
    def named(key):
        return {"headers": {"job-id": key}}


def kept(connection, stream, number):
    """Headers, names in lower case, and body of a message that a stream holds."""
    row = connection.api(f"STREAM.MSG.GET.{stream}", {"seq": number})["message"]
    lines = base64.b64decode(row.get("hdrs", "")).decode().split("\r\n")[1:]
    pairs = [line.partition(":") for line in lines if line]
    return {name.lower(): value.strip() for name, _, value in pairs}, base64.b64decode(row.get("data", ""))


KINDS = {one.kind: one for one in (Rabbit, Nats)}


def broker(private=False, kind=BROKER, **options):
    """A context: a broker without any queue. private: a server of the test's own, which it may kill (`.server`)."""
    return KINDS[kind].corner(private, **options)
