"""What a producer writes down for skep-audit: an intent before it sends, the answer after.

    log = Log(path)
    http = Http(log, node.socket)                 # the API over its Unix socket
    http.submit("diary", {"n": 1}, key="job-1")   # repeats under its key until it knows

    letters = Letters(log, Pika(url))             # or JetStream(url)
    letters.letter("diary", {"n": 2})             # confirmed letters

A line is one write to a descriptor in append mode, so that many threads and processes share a file, and one that is
killed leaves at most its last line unfinished. Payloads must be unique: that is how rows of letters without an id are
found. README.md has the format.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import socket
import time

ESCAPED = frozenset(itertools.chain(range(0x20), (0x25, 0x7F)))
COUNTER = itertools.count(1)


def digest(data):
    return hashlib.sha256(data).hexdigest()[:32]


def escape(value):
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"".join(b"%%%02X" % byte if byte in ESCAPED else bytes((byte,)) for byte in data)


def as_bytes(payload):
    """Bytes as they are; anything else as JSON, written in one way only."""
    return payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()


class Log:
    """An audit log. Any number of these may write into one file."""

    def __init__(self, path, name="p"):
        self.path, self.name = path, name
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def write(self, word, **fields):
        line = word.encode() + b"/1" + b"".join(
            b"\t" + name.encode() + b"=" + escape(value) for name, value in fields.items() if value is not None) + b"\n"
        if os.write(self.fd, line) != len(line):
            raise OSError(f"{self.path}: a line could not be written whole")

    def intend(self, payload, **fields):
        """Writes an intent, returns its reference. Fields: via queue type key unique request group not_before
        max_attempts poison."""
        ref = f"{self.name}-{os.getpid()}-{next(COUNTER)}"
        self.write("intent", ref=ref, payload=digest(payload), wall=time.time_ns() // 1000, mono=time.monotonic_ns(),
                   **fields)
        return ref

    def answer(self, ref, answer, id=None, **fields):
        """accepted (with its id), refused, conflict, confirmed (by a broker), sent, unknown."""
        self.write("ack", ref=ref, answer=answer, id=id, wall=time.time_ns() // 1000, mono=time.monotonic_ns(),
                   **fields)

    def cancelled(self, id, status):
        """After a cancel was answered."""
        self.write("cancel", id=id, status=status, wall=time.time_ns() // 1000, mono=time.monotonic_ns())

    def requeue(self, id):
        """Before a retry or requeue is sent."""
        self.write("requeue", id=id, wall=time.time_ns() // 1000, mono=time.monotonic_ns())

    def requeued(self, id, generation):
        """After it was answered."""
        self.write("requeued", id=id, generation=generation, wall=time.time_ns() // 1000, mono=time.monotonic_ns())

    def fault(self, kind, **fields):
        """kill, stop, cut, term, clock, ledger, broker_lost, redelivered or any other name; node, pid, from_, to (both
        time.monotonic_ns()), and what README.md says for each kind."""
        if "from_" in fields:
            fields["from"] = fields.pop("from_")
        self.write("fault", kind=kind, **fields)

    @contextlib.contextmanager
    def during(self, kind, **fields):
        """with log.during("stop", node="a", pid=node.pid): ..."""
        begin = time.monotonic_ns()
        try:
            yield
        finally:
            self.fault(kind, from_=begin, to=time.monotonic_ns(), **fields)

    def broker(self, queue, ready, unacked):
        self.write("broker", queue=queue, ready=ready, unacked=unacked)


class GaveUp(Exception):
    """No answer came in time, however often it was asked."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Http:
    """Submits over the API. With a key a submission is repeated until its answer is known; without one it is sent once,
    and an answer that does not come is written down as unknown."""

    def __init__(self, log, socket_path, timeout=60, patience=300):
        self.log, self.socket, self.timeout, self.patience = log, socket_path, timeout, patience

    def send(self, method, path, body=None, headers=None):
        """(status, body), or None when no answer came."""
        connection = UnixConnection(self.socket, self.timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def submit(self, type_, payload, key=None, queue=None, poison=None, not_before=None, group=None, headers=None,
               **fields):
        """payload: any JSON value; not_before: wall microseconds, for the log and as run_at. Returns the job's id, or
        None when it was refused or is not known."""
        body = as_bytes(payload)
        if not_before:
            fields["run_at"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(not_before // 1000000)) \
                + f".{not_before % 1000000:06d}Z"
        ref = self.log.intend(body, via="http", type=type_, queue=queue or "default", key=key, poison=poison,
                              not_before=not_before, group=group, max_attempts=fields.get("max_attempts"),
                              unique=fields.get("unique_key"), request=(headers or {}).get("Idempotency-Key"))
        rest = {"type": type_, "queue": queue, "key": key, **fields}
        text = json.dumps({name: value for name, value in rest.items() if value is not None})
        request = text[:-1].encode() + b', "payload": ' + body + b"}"
        return self.settle(ref, request, key is not None or bool(headers), headers)

    def settle(self, ref, request, repeat, headers):
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            answer = self.send("POST", "/v1/jobs", request, {"Content-Type": "application/json", **(headers or {})})
            if answer and answer[0] in (200, 201):
                id_ = json.loads(answer[1])["id"]
                self.log.answer(ref, "accepted", id=id_, status=answer[0])
                return id_
            if answer and answer[0] not in (429, 503):
                self.log.answer(ref, "conflict" if answer[0] in (409, 422) else "refused", status=answer[0])
                return None
            if not repeat:
                self.log.answer(ref, "unknown")
                return None
            time.sleep(0.02)
        raise GaveUp(f"{ref} was never answered")

    def cancel(self, id_):
        answer = self.send("DELETE", "/v1/jobs/" + id_)
        if answer:
            self.log.cancelled(id_, answer[0])
        return answer and answer[0]

    def retry(self, id_):
        """An operator's requeue, or `now` for a job that waits."""
        self.log.requeue(id_)
        answer = self.send("POST", f"/v1/jobs/{id_}/retry")
        if answer and answer[0] == 200:
            self.log.requeued(id_, json.loads(answer[1]).get("generation", 0))
        return answer and answer[0]


class Refused(Exception):
    """The broker said that it does not take this letter."""


class Pika:
    """A producer with pika: persistent, confirmed, mandatory. After a lost connection connect() makes another."""

    transport = "amqp"

    def __init__(self, url, exchange="jobs"):
        import pika  # here, so that stories without it run without it
        self.pika, self.exchange = pika, exchange
        self.parameters = url if isinstance(url, pika.connection.Parameters) else pika.URLParameters(url)
        # A client that answers nobody for a while, since its story waits for something else, keeps its connection.
        self.parameters.heartbeat, self.parameters.socket_timeout = 120, 60
        self.parameters.blocked_connection_timeout = 120
        self.broken = (pika.exceptions.AMQPError, OSError)
        self.connection = self.channel = None

    def __enter__(self):
        self.connect()
        return self

    def __exit__(self, *_):
        self.drop()

    def connect(self):
        if self.channel is not None and not self.channel.is_open:
            self.drop()
        if self.connection is None or not self.connection.is_open:
            self.connection = self.pika.BlockingConnection(self.parameters)
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()

    def drop(self):
        with contextlib.suppress(Exception):
            self.connection.close()
        self.connection = self.channel = None

    def pause(self, seconds):
        """Waits, and keeps the connection alive meanwhile. One that broke just now is told in many ways by pika; the
        next letter finds out."""
        try:
            self.connection.sleep(seconds)
        except Exception:
            time.sleep(seconds)

    def put(self, address, body, exchange=None, **properties):
        """One letter; returns once it is confirmed. Refused: it is not taken; one of `broken`: nobody knows. Properties
        by their names in AMQP."""
        properties.setdefault("delivery_mode", 2)
        self.connect()
        try:
            self.channel.basic_publish(self.exchange if exchange is None else exchange, address, body,
                                       self.pika.BasicProperties(**properties), mandatory=True)
        except (self.pika.exceptions.NackError, self.pika.exceptions.UnroutableError) as refusal:
            raise Refused(repr(refusal)) from refusal


class JetStream:
    """A producer with the tests' own NATS client: published to JetStream, whose answer is waited for. What NATS has no
    property for is written as the header of the same meaning."""

    transport = "nats"

    broken = (OSError,)

    def __init__(self, url, subject="jobs"):
        import nats_client
        self.module, self.url, self.subject = nats_client, url, subject
        self.connection = None

    def __enter__(self):
        self.connect()
        return self

    def __exit__(self, *_):
        self.drop()

    def connect(self):
        if self.connection is None:
            self.connection = self.module.connect(self.url)

    def drop(self):
        with contextlib.suppress(Exception):
            self.connection.close()
        self.connection = None

    def pause(self, seconds):
        time.sleep(seconds)

    @staticmethod
    def fields(message_id=None, headers=None, priority=None, type=None, expiration=None):
        rest = {"Nats-Msg-Id": message_id, "Job-Priority": priority, "Job-Type": type}
        if expiration is not None:
            at = time.time() + int(expiration) / 1000
            rest["Job-Deadline"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"
        given = {name: value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
                 for name, value in (headers or {}).items()}
        return {**{name: value for name, value in rest.items() if value is not None}, **given} or None

    def put(self, address, body, **properties):
        """As Pika.put(). A duplicate, of which the server keeps nothing, counts as taken: the first one is there. Returns
        the server's answer."""
        self.connect()
        try:
            return self.connection.store(f"{self.subject}.{address}", body, self.fields(**properties))
        except self.module.Refused as refusal:
            raise Refused(str(refusal)) from refusal
        except OSError:
            self.drop()
            raise


class Letters:
    """Confirmed letters that go on through the broker's deaths: nothing is written down before there is a connection.
    With a key a letter is repeated until it is confirmed; without one it is `unknown` when the connection broke."""

    def __init__(self, log, client, patience=300):
        self.log, self.client, self.patience = log, client, patience
        self.broken = (Refused, *client.broken)
        self.confirmed = self.unconfirmed = self.repeated = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def drop(self):
        self.client.drop()

    def pause(self, seconds):
        self.client.pause(seconds)

    def reach(self):
        end = time.monotonic() + self.patience
        while True:
            try:
                return self.client.connect()
            except self.client.broken:
                self.drop()
                if time.monotonic() > end:
                    raise GaveUp("the broker cannot be reached")
                time.sleep(0.1)

    def letter(self, type_, payload, key=None, queue="default", properties=None, **intent):
        """Returns whether it was confirmed."""
        self.reach()
        body, properties = as_bytes(payload), properties or {}
        ref = self.log.intend(body, via=self.client.transport, type=type_, key=key, queue=queue, **intent)
        if key:
            properties = {"message_id": key, **properties}
        end = time.monotonic() + self.patience
        while True:
            try:
                self.reach()
                self.client.put(type_, body, **properties)
                self.log.answer(ref, "confirmed")
                self.confirmed += 1
                return True
            except self.broken as trouble:
                if not key:
                    self.log.answer(ref, "unknown")
                    self.unconfirmed += 1
                    return False
                if time.monotonic() > end:
                    raise GaveUp(f"{ref} was never confirmed; last: {trouble!r}")
                self.repeated += 1
                self.pause(0.02)
