"""What a producer writes down for skep-audit: an intent before it sends, the answer after.

    log = Log(path)
    http = Http(log, node.socket)                 # the API over its Unix socket
    http.submit("diary", {"n": 1}, key="job-1")   # repeats under its key until it knows

    amqp = Pika(log, pika.ConnectionParameters(port=...))
    amqp.publish("diary", {"n": 2})               # confirmed letters
    amqp_publish(log, url, "diary", {"n": 3})     # the program amqp-publish, which knows no confirms

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
import subprocess
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

    def __init__(self, log, socket_path, timeout=10, patience=120):
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


class Pika:
    """Publishes letters with publisher confirms through pika's blocking connection. After a lost connection it connects
    anew when asked to publish next; what was not confirmed stays unconfirmed in the log."""

    def __init__(self, log, parameters, exchange="jobs"):
        import pika
        self.pika, self.log, self.parameters, self.exchange = pika, log, parameters, exchange
        self.connection = self.channel = None

    def connect(self):
        if self.connection is None or not self.connection.is_open:
            self.connection = self.pika.BlockingConnection(self.parameters)
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()

    def close(self):
        if self.connection is not None and self.connection.is_open:
            self.connection.close()

    def publish(self, type_, payload, key=None, queue=None, headers=None, repeat=False, patience=60):
        """queue: the name of the job's queue, needed with a key. repeat: with a key, until it is confirmed. Returns
        whether the broker confirmed it."""
        body = as_bytes(payload)
        ref = self.log.intend(body, via="amqp", type=type_, key=key, queue=queue or "default")
        properties = self.pika.BasicProperties(delivery_mode=2, message_id=key, headers=headers)
        end = time.monotonic() + patience
        while True:
            try:
                self.connect()
                self.channel.basic_publish(self.exchange, type_, body, properties, mandatory=True)
                self.log.answer(ref, "confirmed")
                return True
            except (self.pika.exceptions.NackError, self.pika.exceptions.UnroutableError):
                self.log.answer(ref, "unknown")
                return False
            except (self.pika.exceptions.AMQPError, OSError):
                if not (repeat and key) or time.monotonic() > end:
                    self.log.answer(ref, "unknown")
                    return False
                time.sleep(0.05)


def amqp_publish(log, url, type_, payload, key=None, queue=None, exchange="jobs", words=()):
    """The program of rabbitmq-c. It waits for no confirm, so nothing is promised: its answer is `sent`."""
    body = as_bytes(payload)
    ref = log.intend(body, via="amqp", type=type_, key=key, queue=queue or "default")
    done = subprocess.run(["amqp-publish", "-u", url, "-e", exchange, "-r", type_, "-p",
                           *(["-H", f"job-id: {key}"] if key else []), *words],
                          input=body, check=False, timeout=60)
    log.answer(ref, "sent" if done.returncode == 0 else "unknown")
    return done.returncode == 0
