"""A small NATS client for tests, of Python's standard library alone: Debian packages none for Python and no command line.

One connection, one thread, blocking calls with a limit. It speaks the text protocol (docs.nats.io, "NATS protocol"), so
a test can publish as any client would: with headers in any case, without headers, raw lines. It never reconnects: a
connection that ended raises OSError at the next call, and the test connects anew when its story says so.

    with connect(url) as nats:
        nats.publish("jobs.mail", b"x")                      # core publish: nobody says whether it was stored
        nats.store("jobs.mail", b"x", {"job-id": "a-1"}, message_id="a-1")       # its PubAck, or Refused
        nats.api("STREAM.INFO.JOBS")["state"]["messages"]
        for message in nats.fetch("JOBS", "skep-mail", 10): nats.publish(message.reply, b"+ACK")
"""
import json
import os
import socket
import time
from urllib.parse import unquote

LINE_MAX = 1 << 20


class Refused(Exception):
    """The server answered no: `code` as HTTP has them, `err_code` JetStream's own."""

    def __init__(self, what, error):
        self.code, self.err_code = error.get("code", 0), error.get("err_code", 0)
        super().__init__(f"{what}: {error.get('description', 'refused')} ({self.code}, {self.err_code})")


class Message:
    """status: of a message that carries none but it (503 no responders, 404 no messages, 408, 409, 100); else 0."""

    def __init__(self, subject, sid, reply, header, body):
        self.subject, self.sid, self.reply, self.body = subject, sid, reply, body
        lines = header.decode("utf-8", "surrogateescape").split("\r\n") if header else []
        words = lines[0].split(" ", 2) if lines else []
        self.status = int(words[1]) if len(words) > 1 else 0
        self.description = words[2] if len(words) > 2 else ""
        self.headers = [(name, value.strip(" ")) for name, _, value in
                        (line.partition(":") for line in lines[1:] if line)]

    def header(self, name):
        """The first with this name, in any case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def delivery(self):
        """Of one that a consumer brought: (stream, consumer, delivered, stream seq, consumer seq, time in ns)."""
        words = self.reply.split(".")
        return (words[2], words[3], *map(int, words[4:8]))


def parse_url(url):
    """({login fields for CONNECT}, [(host, port)])"""
    rest = url.partition("://")[2].partition("?")[0].rstrip("/")
    login, _, places = rest.rpartition("@")
    user, colon, password = login.partition(":")
    user, password = unquote(user), unquote(password)
    fields = {"user": user, "pass": password} if colon else {"auth_token": user} if user else {}
    pairs = [place.rpartition("://")[2].rpartition(":") for place in places.split(",")]
    return fields, [(host, int(port)) for host, _, port in pairs]


class Nats:
    def __init__(self, place, fields, patience, context=None):
        self.patience, self.sids, self.waiting, self.read = patience, 0, {}, b""
        self.socket = socket.create_connection(place, patience)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.info = json.loads(self.line().partition(b" ")[2])
            if context:
                self.socket = context.wrap_socket(self.socket, server_hostname=place[0])
            words = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1,
                     "lang": "python", "version": "0", "name": "skep-test", **fields}
            self.send(b"CONNECT " + json.dumps(words).encode() + b"\r\n")
            self.flush()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- the wire ---

    def send(self, data):
        """Bytes as they are: raw protocol lines too."""
        self.socket.settimeout(self.patience)
        self.socket.sendall(data)

    def more(self, end):
        self.socket.settimeout(max(end - time.monotonic(), 0.001))
        part = self.socket.recv(1 << 16)
        if not part:
            raise OSError("the server hung up")
        self.read += part

    def line(self, end=None):
        end = end or time.monotonic() + self.patience
        while b"\r\n" not in self.read:
            if len(self.read) > LINE_MAX:
                raise OSError("a line without end")
            self.more(end)
        line, _, self.read = self.read.partition(b"\r\n")
        return line

    def turn(self, end):
        """Takes one thing that the server said; what belongs to a subscription waits for next()."""
        line = self.line(end)
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        if verb in (b"MSG", b"HMSG"):
            words = rest.decode().split()
            sizes = [int(word) for word in words[-2 if verb == b"HMSG" else -1:]]
            while len(self.read) < sizes[-1] + 2:
                self.more(time.monotonic() + self.patience)
            body, self.read = self.read[:sizes[-1]], self.read[sizes[-1] + 2:]
            names = words[:-len(sizes)]
            cut = sizes[0] if verb == b"HMSG" else 0
            message = Message(names[0], int(names[1]), names[2] if len(names) > 2 else "", body[:cut], body[cut:])
            self.waiting.setdefault(message.sid, []).append(message)
        elif verb == b"PING":
            self.send(b"PONG\r\n")
        elif verb == b"INFO":
            self.info = json.loads(rest)
        elif verb == b"-ERR":
            raise OSError(f"the server said {rest.decode(errors='replace')}")
        return verb

    def flush(self):
        """Returns when the server has dealt with all that was sent before."""
        end = time.monotonic() + self.patience
        self.send(b"PING\r\n")
        while self.turn(end) != b"PONG":
            pass

    # --- messages ---

    def publish(self, subject, body=b"", headers=None, reply=""):
        """Core publish. headers: a dict or pairs, sent in their order and as they are written."""
        body = body.encode() if isinstance(body, str) else body
        place = subject + (" " + reply if reply else "")
        if headers is None:
            self.send(f"PUB {place} {len(body)}\r\n".encode() + body + b"\r\n")
            return
        pairs = headers.items() if isinstance(headers, dict) else headers
        block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in pairs) + "\r\n"
        block = block.encode("utf-8", "surrogateescape")
        self.send(f"HPUB {place} {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n")

    def subscribe(self, subject, queue=""):
        """A number for next() and unsubscribe()."""
        self.sids += 1
        self.send(f"SUB {subject} {queue + ' ' if queue else ''}{self.sids}\r\n".encode())
        return self.sids

    def unsubscribe(self, sid):
        self.send(f"UNSUB {sid}\r\n".encode())
        self.waiting.pop(sid, None)

    def next(self, sid, patience=None):
        """The next message of a subscription, or None when none came in time."""
        end = time.monotonic() + (self.patience if patience is None else patience)
        while not self.waiting.get(sid):
            try:
                self.turn(end)
            except TimeoutError:
                return None
        return self.waiting[sid].pop(0)

    def request(self, subject, body=b"", headers=None, patience=None):
        """The first answer; Refused (503) when nobody listens there, TimeoutError when nobody answers."""
        inbox = f"_INBOX.{os.urandom(11).hex()}"
        sid = self.subscribe(inbox)
        try:
            self.publish(subject, body, headers, inbox)
            answer = self.next(sid, patience)
        finally:
            self.unsubscribe(sid)
        if answer is None:
            raise TimeoutError(f"no answer on {subject}")
        if answer.status == 503:
            raise Refused(subject, {"code": 503, "description": "no responders"})
        return answer

    # --- JetStream ---

    def api(self, words, question=None, patience=None):
        """$JS.API.<words>: the answer; Refused when it is an error."""
        body = json.dumps(question).encode() if question is not None else b""
        answer = json.loads(self.request("$JS.API." + words, body, None, patience).body)
        if "error" in answer:
            raise Refused(words, answer["error"])
        return answer

    def exists(self, words):
        """The answer of api(), or None where it says 404."""
        try:
            return self.api(words)
        except Refused as refused:
            if refused.code != 404:
                raise
            return None

    def store(self, subject, body=b"", headers=None, message_id=None, patience=None):
        """Publishes and waits for the PubAck: {"stream", "seq", "duplicate"?}."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers or [])
        pairs += [("Nats-Msg-Id", message_id)] if message_id is not None else []
        answer = json.loads(self.request(subject, body, pairs or None, patience).body)
        if "error" in answer:
            raise Refused(subject, answer["error"])
        return answer

    def store_all(self, letters, window=500):
        """The same for many, in their order, with so many on their way: [(subject, body, pairs or None)]; their
        PubAcks, or what was refused as Refused, in that order."""
        inbox = f"_INBOX.{os.urandom(11).hex()}"
        sid, answers, taken = self.subscribe(inbox + ".*"), {}, 0
        for number, (subject, body, pairs) in enumerate(letters):
            self.publish(subject, body, pairs, f"{inbox}.{number}")
            while number + 1 - taken >= window:
                taken += self.take_answer(sid, answers)
        while taken < len(letters):
            taken += self.take_answer(sid, answers)
        self.unsubscribe(sid)
        return [answers[number] for number in range(len(letters))]

    def take_answer(self, sid, answers):
        message = self.next(sid)
        if message is None:
            raise TimeoutError("a PubAck is missing")
        said = {"error": {"code": message.status}} if message.status else json.loads(message.body)
        number = int(message.subject.rpartition(".")[2])
        answers[number] = Refused(message.subject, said["error"]) if "error" in said else said
        return 1

    def fetch(self, stream, consumer, count, patience=1):
        """Up to so many messages of a durable pull consumer; they are acknowledged by who wants to."""
        inbox = f"_INBOX.{os.urandom(11).hex()}"
        sid, found = self.subscribe(inbox), []
        question = {"batch": count, "expires": int(patience * 1e9)}
        self.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", json.dumps(question), None, inbox)
        while len(found) < count:
            message = self.next(sid, patience + self.patience)
            if message is None or message.status not in (0, 100):
                break
            found += [message] if not message.status else []
        self.unsubscribe(sid)
        return found

    def consumers(self, stream):
        """[CONSUMER.INFO] of all of them."""
        found = []
        while True:
            page = self.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            found += page.get("consumers") or []
            if len(found) >= page.get("total", 0) or not page.get("consumers"):
                return found


def connect(url, patience=10, context=None):
    """To the first of the URL's servers that lets us in. context: an ssl.SSLContext."""
    fields, places = parse_url(url)
    for number, place in enumerate(places):
        try:
            return Nats(place, fields, patience, context)
        except OSError:
            if number + 1 == len(places):
                raise
    raise OSError(f"{url} names no server")
