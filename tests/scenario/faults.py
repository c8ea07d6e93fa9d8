"""What the fault stories share: worlds whose work is written down for the auditor, letters that go on through faults,
and an end that the auditor judges.

A World has a folder, a ledger, a broker or none, nodes that serve the diary handler (tests/audit/handler/diary.c), and
the two logs: what producers and the nemesis write, and what handlers write. Its settle() waits until nothing moves any
more; its audit() stops the nodes and lets skep-audit decide. Nothing here asserts a time or decides what is right.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "audit"))
import audit as auditor  # noqa: E402
import brokers  # noqa: E402
import producer  # noqa: E402
from harness import BROKER, BUILD, Failure, Node, Service, check, libconfig, postgres, servers, wait_for  # noqa: E402
from private_server import offspring  # noqa: E402

DIARY = os.path.join(BUILD, "tests", "audit", "diary.so")
# A dead node is soon rescued, and one on a machine that stalls for some seconds is not taken for dead.
LEASE_MS = 8000
QUICK = (f"node.lease={LEASE_MS}ms", "node.beat=200ms")
LEDGER = os.environ.get("SKEP_FAULTS_LEDGER", "postgres")
FULL = "SKEP_FAULTS_FULL" in os.environ  # ./dev faults
SHORT = not FULL and BROKER != "amqp"  # ./dev test has no time to tell long stories at length for each broker
SETTLE = float(os.environ.get("SKEP_FAULTS_SETTLE", "300"))


@contextlib.contextmanager
def ledger_of(folder, kind=None, private=True):
    """The ledger of a story: PostgreSQL, or one SQLite file for all its nodes."""
    if (kind or LEDGER) == "sqlite":
        yield Service(f"sqlite:{folder}/skep.db", None)
    else:
        with postgres(private=private) as service:
            yield service


def metric(node, name, **labels):
    """The sum of a metric's samples that have these labels."""
    total = 0.0
    for line in node.get("/metrics").body.decode().splitlines():
        found = re.fullmatch(re.escape(name) + r"(\{.*\})? (\S+)", line)
        if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
            total += float(found[2])
    return total


def counts(node, queue="default"):
    """{state: jobs} of a queue, as the API tells them."""
    for row in node.get("/v1/stats").json["queues"]:
        if row["queue"] == queue:
            return row["jobs"]
    return {}


def logged(node, *words, after=0):
    """The first line of a node's log, from a byte on, that holds all these words."""
    with open(node.log_path, "rb") as log:
        log.seek(after)
        for line in log.read().decode(errors="replace").splitlines():
            if all(word.lower() in line.lower() for word in words):
                return line
    return None


def wait_logged(node, *words, after=0, patience=None):
    return wait_for(f"{' ... '.join(words)} in the log", lambda: logged(node, *words, after=after), patience)


def answering(node):
    """Whether it serves; a node that ended by itself is a failure."""
    check(node.process.poll() is None, f"skepd ended by itself with {node.process.poll()}")
    with contextlib.suppress(OSError, producer.http.client.HTTPException):
        return node.get("/readyz", timeout=5).status == 200
    return False


class World:
    """Where a story happens. queues: as in the configuration; none: a queue `default` for all types."""

    def __init__(self, ledger, broker=None, queues=None, folder=None, settings=(), **sections):
        self.ledger, self.broker, self.folder, self.settings, self.sections = ledger, broker, folder, settings, sections
        self.queues = queues or ({"name": "default", "types": [">"], "retry": {"base": "20ms", "max_attempts": 20}},)
        self.producers = os.path.join(folder, "producers.log")
        self.handlers = os.path.join(folder, "handlers.log")
        self.log = producer.Log(self.producers)
        self.nodes = []
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.__exit__(*error)
        self.log.close()

    def config(self, name):
        options = {"options": [{"type": type_, "set": {"log": self.handlers, "node": name}}
                               for type_ in ("diary", "diary.exclusive", "diary.batch", ">")]}
        sections = {**self.sections, "handlers": {**options, **self.sections.get("handlers", {})}}
        if self.broker:
            return self.broker.config(self.queues, **sections)
        return "\n".join(f"{key} = {libconfig(value)};" for key, value in {"queues": self.queues, **sections}.items())

    def node(self, name=None, settings=(), start=True, ready=True, diary=True, **more):
        """One more node; its name stands in the diary and in the faults."""
        name = name or "abcdefghijklmnop"[len(self.nodes)]
        root = os.path.join(self.folder, name)
        os.makedirs(root)
        node = Node(root=root, ledger=self.ledger.url, config=self.config(name),
                    settings=(*QUICK, *self.settings, *settings), handlers=more.pop("handlers", ("sleep",)), **more)
        node.name = name
        os.chmod(node.config_path, 0o600)
        self.stack.enter_context(node)
        if diary:
            node.drop(DIARY)
        self.nodes.append(node)
        return node.start(ready=ready) if start else node

    def kill(self, node):
        """SIGKILL, written down."""
        check(node.process.poll() is None, f"skepd ended by itself with {node.process.poll()}")
        begin, pid = time.monotonic_ns(), node.pid
        node.kill()
        self.log.fault("kill", node=node.name, pid=pid, from_=begin)

    def begun(self, id_):
        """Until the diary has begun it: what is claimed may yet be given back, and no try is spent."""
        def written():
            with contextlib.suppress(FileNotFoundError), open(self.handlers, encoding="utf-8") as log:
                return any(line.startswith("start/") and id_ in line for line in log)
        wait_for(f"job {id_} to begin", written)

    def http(self, node, **more):
        return producer.Http(self.log, node.socket, **more)

    def sender(self):
        """Sends letters that the auditor knows of."""
        return self.broker.sender(self.log)

    def pages(self, node, jobs, queue="default"):
        """Submits [(type, payload)] as NDJSON; returns their ids, and fails when one was not accepted."""
        lines, refs = [], []
        for type_, payload in jobs:
            body = producer.as_bytes(payload)
            refs.append(self.log.intend(body, via="http", type=type_, queue=queue))
            lines.append(b'{"type":"%s","payload":%s}\n' % (type_.encode(), body))
        answer = node.request("POST", "/v1/jobs", b"".join(lines), {"Content-Type": "application/x-ndjson"},
                              timeout=300)
        said = [json.loads(line) for line in answer.body.splitlines()]
        check(len(said) == len(refs), f"{len(refs)} lines were answered {answer.status} with {len(said)}: {said[-1:]}")
        for ref, one in zip(refs, said):
            check("id" in one, f"a line was answered {one}")
            self.log.answer(ref, "accepted", id=one["id"])
        return [one["id"] for one in said]

    # --- the end ---

    def rows(self):
        """{state number: jobs} from the ledger itself."""
        return {int(state): int(n) for state, n in self.select("select state, count(*) from jobs group by state")}

    def select(self, text):
        """Rows of the ledger, whichever it is; columns as text or numbers."""
        if self.ledger.url.startswith("sqlite:"):
            with contextlib.closing(sqlite3.connect(f"file:{self.ledger.url[7:]}?mode=ro", uri=True)) as db:
                return list(db.execute(text))
        return [line.split("|") for line in self.ledger.sql(f"set search_path = skep; {text};").splitlines()]

    def letters(self):
        """(ready, unacknowledged) of all queues of the broker."""
        if not self.broker:
            return (0, 0)
        rows = self.broker.queues().values()
        return tuple(sum(row[i] for row in rows) for i in (0, 1))

    def still(self, at_least):
        def probe():
            rows, letters = self.rows(), self.letters()
            probe.seen = f"rows {rows}, letters {letters}"
            moving = any(rows.get(state) for state in range(4)) or any(letters)
            return sum(rows.values()) >= at_least and not moving
        return probe

    def settle(self, at_least=0, patience=SETTLE):
        """Until at least so many jobs are there, all have ended, and the broker holds nothing; says what it saw when
        that does not come, and leaves the verdict to the auditor."""
        probe, begin = self.still(at_least), time.monotonic()
        try:
            wait_for("the work to end", probe, patience)
        except Failure:
            print(f"  NOT settled after {patience} s: {probe.seen}")
        else:
            print(f"  settled in {time.monotonic() - begin:.1f} s: {probe.seen}")
        if self.broker:
            for name, (ready, unacked) in self.broker.queues().items():
                self.log.broker(name, ready, unacked)

    def stop(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                begin, pid = time.monotonic_ns(), node.pid
                code = node.stop()
                self.log.fault("term", node=node.name, pid=pid, from_=begin, to=time.monotonic_ns(), code=code)

    def audit(self, must="I1 I2 I3 I4 I6 I9 I10 I15 I16 I17 I22", **tolerances):
        """must: what has to be judged at all; an invariant without evidence is no success."""
        self.stop()
        keep = os.environ.get("SKEP_FAULTS_KEEP")
        if keep:
            shutil.copytree(self.folder, keep, dirs_exist_ok=True)
            auditor.dump(self.ledger.url, os.path.join(keep, "dump.jsonl"))
        report = auditor.audit(self.ledger.url, [self.producers], [self.handlers], BUILD, quiet=True,
                               **{"lease_ms": LEASE_MS, **tolerances})
        verdicts = {name: line["verdict"] for name, line in report["invariants"].items()}
        print(f"  audited: {report['submissions']} submissions, {report['runs']} runs, {report['rows']} rows; ok: "
              + " ".join(name for name, verdict in verdicts.items() if verdict == "ok"))
        unjudged = [name for name in must.split() if verdicts[name] != "ok"]
        check(not unjudged, f"not judged: {unjudged}")
        return report


@contextlib.contextmanager
def world(kind=None, broker=True, private=True, **more):
    """A World with servers of its own (private), or with corners of those that all tests share. broker: a Service
    that is there already, True or False."""
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="skep-faults-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ledger = stack.enter_context(ledger_of(folder, kind, private))
        if broker is True:
            broker = stack.enter_context(brokers.broker(private))
        yield stack.enter_context(World(ledger, broker or None, folder=folder, **more))


class House:
    """Servers that all stories of one program use one after another, each in a corner of its own, so that those that
    start slowly need not be started anew each time. Every story leaves them running."""

    def __init__(self, **rabbit_options):
        self.rabbit_options, self.rabbit, self.pg, self.number = rabbit_options, None, None, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in filter(None, (self.rabbit, self.pg)):
            server.close()

    @contextlib.contextmanager
    def broker(self):
        if BROKER != "amqp":
            with brokers.broker() as one:
                yield one
            return
        self.rabbit = self.rabbit or servers.RabbitMQ(options=self.rabbit_options)
        self.rabbit.start()
        self.number += 1
        name = f"story-{self.number}"
        yield brokers.Rabbit(self.rabbit.new_vhost(name), self.rabbit, name)
        self.rabbit.drop_vhost(name)

    @contextlib.contextmanager
    def ledger(self, folder, kind=None):
        if (kind or LEDGER) == "sqlite":
            yield Service(f"sqlite:{folder}/skep.db", None)
            return
        self.pg = self.pg or servers.Postgres()
        self.pg.start()
        self.number += 1
        name = f"story{self.number}"
        yield Service(self.pg.new_database(name), self.pg, name)

    @contextlib.contextmanager
    def world(self, kind=None, broker=True, **more):
        """broker: a Broker that is there already, True or False."""
        with contextlib.ExitStack() as stack:
            folder = tempfile.mkdtemp(prefix="skep-faults-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            ledger = stack.enter_context(self.ledger(folder, kind))
            if broker is True:
                broker = stack.enter_context(self.broker())
            yield stack.enter_context(World(ledger, broker or None, folder=folder, **more))


# --- helpers ---

class Background(threading.Thread):
    """Runs a function; join_or_raise() tells what went wrong in it."""

    def __init__(self, function, *words):
        super().__init__(daemon=True)
        self.function, self.words, self.error = function, words, None
        self.start()

    def run(self):
        try:
            self.function(*self.words)
        except Exception as error:  # told by join_or_raise
            self.error = error

    def join_or_raise(self, patience=600):
        self.join(patience)
        check(not self.is_alive(), f"{self.function.__name__} does not end")
        if self.error:
            raise self.error


def kill_quietly(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def worker_pids(node):
    """The workers of a node and the program that forks them, without asking it."""
    found = []
    for pid in offspring(node.pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if b"skep-worker" in line.read():
                    found.append(pid)
    return found


# --- what /readyz and the doctor say ---

def not_ready(node):
    """What /readyz says of a node that serves and is not ready."""
    with contextlib.suppress(OSError):
        answer = node.get("/readyz")
        return answer.json if answer.status == 503 else None
    return None


def doctor(node):
    """{check: (status, detail)} that `skep doctor` tells."""
    said = node.skep("doctor", "-o", "json", "--config", node.config_path)
    return {row["name"]: (row["status"], row["detail"]) for row in json.loads(said.stdout)["checks"]}


def until_ready(node, pid):
    """Ready again by itself."""
    wait_for("skepd to be ready again", lambda: node.get("/readyz").status == 200)
    check(node.process.poll() is None and node.pid == pid, "it is the same process")


def ended(node, number, queue="default"):
    jobs = counts(node, queue)
    return sum(jobs.get(state, 0) for state in ("completed", "dead", "cancelled")) >= number


def send(w, number, do="", type_="diary", start=0, **more):
    """So many letters of the diary, every second one with an id."""
    with w.sender() as letters:
        for n in range(start, start + number):
            key = f"{type_}-{n}" if n % 2 else None
            check(letters.letter(type_, {"letter": n, "type": type_, "do": do}, key=key, **more), "a letter is confirmed")


def named_and_healed(w, node, check_name, words, put_right):
    """The node serves unready; log, /readyz and doctor name the words; after put_right() it becomes ready by itself."""
    pid = node.pid
    line = wait_logged(node, *words)
    said = wait_for("skepd to serve, not ready", lambda: not_ready(node))
    status, detail = doctor(node)[check_name]
    check(status == "fail" and all(word.lower() in detail.lower() for word in words), f"doctor says {status}: {detail}")
    if check_name.startswith("transport"):
        check(all(word.lower() in json.dumps(said).lower() for word in words), f"/readyz says {said}")
    else:
        check(said["ledger"] != "up", f"/readyz says {said}")
    check("s3cret" not in node.log() + json.dumps(said) + detail, "no password is told")
    print(f"  it says: {line.split('msg=')[1]}")
    put_right()
    begin = time.monotonic()
    until_ready(node, pid)
    print(f"  ready {time.monotonic() - begin:.1f} s after it was put right")
    node.serving("diary.so")
    id_ = w.http(node).submit("diary", {"healed": check_name, "words": words}, key="healed")
    check(node.finish(id_)["state"] == "completed", "a job completes")
    w.stop()
