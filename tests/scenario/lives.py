"""What the stories of a job's life share. Each is told over SKEP_FAULTS_LEDGER (sqlite, postgres) and SKEP_LINE: `none`
(jobs come over HTTP and wait in the ledger), `amqp` or `nats` (jobs come as letters and, where a story says so, over HTTP,
and their doorbells go through the broker). A story asks for what must be so whatever carries the job.
"""

import base64
import contextlib
import itertools
import json
import os
import sys

LINE = os.environ.get("SKEP_LINE", "none")
if LINE != "none":
    os.environ["SKEP_BROKER"] = LINE

from faults import check, logged, metric, world  # noqa: E402, F401
from harness import BUILD, Skip, run, wait_for  # noqa: E402, F401

LIFE = os.path.join(BUILD, "tests", "scenario", "life.so")
TYPES = ["life.>", "diary", "diary.batch", "echo", "noop", "sleep", "nobody.>"]  # room for others: on NATS patterns may not overlap
NUMBERS = itertools.count(1)
LEDGER = os.environ.get("SKEP_FAULTS_LEDGER", "postgres")
COMPLETED, DEAD, CANCELLED = 4, 5, 6


def header(name):
    return "job-" + name.replace("_", "-")


def as_header(value):
    """A JSON field's value as the header of the same meaning says it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class Life:
    """A world with one queue, some nodes, and one way in."""

    def __init__(self, w):
        self.w = w
        self.letters = w.sender() if w.broker else None

    @property
    def node(self):
        return self.w.nodes[0]

    def post(self, type_, payload=None, node=None, **fields):
        """Over HTTP; returns the answer."""
        return (node or self.node).post({"type": type_, "payload": payload if payload is not None else {}, **fields})

    def submit(self, type_, payload=None, **fields):
        """Over HTTP; returns the job's id."""
        answer = self.post(type_, payload, **fields)
        check(answer.status == 201, f"{answer.status} {answer.body}")
        return answer.json["id"]

    def send(self, type_, payload=None, key=None, **fields):
        """By this story's own way in: a letter whose headers say the same, or HTTP. Returns the job's key."""
        key = key or f"k{os.getpid()}-{next(NUMBERS)}"
        if not self.letters:
            check(self.post(type_, payload, key=key, **fields).status in (200, 201), f"{key} was not taken")
        else:
            given = {header(name): as_header(value) for name, value in fields.items()}
            self.letters.letter(type_, payload if payload is not None else {}, key=key,
                                properties={"headers": given} if given else None)
        return key

    def by_key(self, key):
        answer = self.node.get(f"/v1/jobs/key:{key}?queue=default")
        return answer.json if answer.status == 200 else None

    def job(self, key):
        """The job of a key, once it is there."""
        return wait_for(f"job {key}", lambda: self.by_key(key))

    def ended(self, key, patience=None):
        """The job of a key, with its attempts, once it has ended."""
        return wait_for(f"the end of {key}", lambda: (lambda job: job if job and job["state"] in (
            "completed", "dead", "cancelled") else None)(self.by_key(key)), patience)

    def ask(self, method, path, body=None, status=None, node=None):
        """One request; returns its JSON (None when there is none)."""
        answer = (node or self.node).request(method, path, None if body is None else json.dumps(body),
                                             {"Content-Type": "application/json"} if body is not None else {})
        allowed = (200, 201, 202) if status is None else status if isinstance(status, tuple) else (status,)
        check(answer.status in allowed, f"{method} {path} {body}: {answer.status} {answer.body[:500]}")
        return answer.json if answer.body else None

    def counts(self):
        return {int(state): int(n) for state, n in self.w.select("select state, count(*) from jobs group by state")}

    def gate(self, name="gate"):
        """A place that handlers of life.c look at: they wait while nothing is there. Returns it, and what opens it."""
        path = os.path.join(self.w.folder, name)
        return path, lambda: open(path, "w", encoding="utf-8").close()

    def stop_all(self):
        """Ends what waits and runs, so that nodes need not wait for it."""
        self.ask("POST", "/v1/jobs/cancel", {"filter": {}, "all": True})
        wait_for("all to have ended", lambda: not any(self.counts().get(state) for state in range(4)))

    def waiting(self, number):
        """Until so many jobs wait or run no more than ... are there."""
        return wait_for(f"{number} jobs in the ledger", lambda: sum(self.counts().values()) >= number)


@contextlib.contextmanager
def life(nodes=1, settings=(), start=True, handlers=("sleep", "echo", "noop"), villains=(), queue=None, queues=(),
         plugins=(LIFE,), **sections):
    """A world for one story: queue is what is configured for the queue `default`, queues further ones."""
    first = {"name": "default", "types": TYPES, "retry": {"base": "50ms"}, **(queue or {})}
    private = False
    with world(LEDGER, broker=LINE != "none", private=private, queues=(first, *queues), settings=settings,
               **sections) as w:
        for _ in range(nodes):
            node = w.node(start=False, handlers=handlers, villains=villains)
            for plugin in plugins:
                node.drop(plugin)
            if start:
                node.start()
        if start:
            for node in w.nodes:
                for plugin in plugins:
                    node.serving(os.path.basename(plugin))
            if w.broker:
                w.broker.await_queues(sum(len(queue.get("types", ())) for queue in (first, *queues)))
        it = Life(w)
        try:
            yield it
        finally:
            if it.letters:
                it.letters.drop()


def value(job, name):
    """A job's payload or result; letters say nothing of being JSON, so theirs comes in base64."""
    encoded = job.get(name + "_base64")
    return json.loads(base64.b64decode(encoded)) if encoded else job.get(name)


def refused(it, method, path, body, field, *words, status=(400, 422)):
    """The request is refused with an error that names the field and says these words."""
    said = it.ask(method, path, body, status=status)
    text = json.dumps(said)
    check(said.get("field", field) == field or field in text, f"{body}: the field {field} is not named: {said}")
    missing = [word for word in words if word.lower() not in text.lower()]
    check(not missing, f"{body}: {missing} not in {said}")
