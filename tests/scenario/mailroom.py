"""What the stories of foreign producers share: a world whose queues are there before the first letter, a handler that
shows what it got (mirror.c), and whole jobs as the API shows them.

Nothing here publishes through code of ours: letters come from clients of other makers (strangers.py, pika) and, for NATS,
from the tests' own small client.
"""

import base64
import contextlib
import json
import os

from faults import LEDGER, check, producer, wait_for, world
from harness import BUILD

MIRROR = os.path.join(BUILD, "tests", "scenario", "mirror.so")
QUEUE = {"name": "default", "types": [">"]}
CALM = ("node.lease=15s", "node.beat=1s")  # nothing dies here
UNROUTED = "jobs.unrouted"


@contextlib.contextmanager
def post_office(queues=(QUEUE,), bound=1, nodes=1, mirror=False, settings=(), private=False, **more):
    """A world with nodes that serve, and all bindings in place, so that each letter finds its queue. mirror: its
    handler serves the types that no other one names."""
    print(f"  ledger: {LEDGER}")
    with world(private=private, settings=(*CALM, *settings), queues=queues, **more) as w:
        for _ in range(nodes):
            node = w.node(start=False)
            if mirror:
                node.drop(MIRROR)
            node.start(ready=False)
        for node in w.nodes:
            node.wait_ready()
            node.serving("diary.so")
            if mirror:
                node.serving("mirror.so")
        w.broker.await_queues(bound)
        yield w


@contextlib.contextmanager
def mirrored(must="I1 I1b I2 I3 I4 I9 I10 I15 I16 I22", unserved=(), **more):
    """A post office with the mirror; the auditor judges it when the story is told. must, unserved: as audit() has it."""
    with post_office(mirror=True, **more) as w:
        yield w
        w.audit(must, unserved=unserved)


# --- jobs ---

def content(job, name):
    """Bytes of a job's payload or result. The API shows JSON as the value that it is, all else in base64."""
    if name + "_base64" in job:
        return base64.b64decode(job[name + "_base64"])
    value = job.get(name, "")
    return value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()


def wrong_headers(seen, expected):
    """{name: (seen, expected)} of those that differ."""
    return {name: (seen.headers.get(name.lower()), text) for name, text in expected.items()
            if seen.headers.get(name.lower()) != text}


class Seen:
    """What the handler saw: fields, headers in order, payload."""

    def __init__(self, result):
        words, self.payload = self.split(result)
        pairs = list(zip(words[::2], words[1::2]))
        self.fields = {name[1:]: value for name, value in pairs if name.startswith(".")}
        self.headers = {name: value for name, value in pairs if not name.startswith(".")}

    @staticmethod
    def split(result):
        words, at = [], 0
        while True:
            end = result.index(b"\0", at)
            if end == at and len(words) % 2 == 0:
                return words, result[end + 1:]
            words.append(result[at:end].decode(errors="surrogateescape"))
            at = end + 1


def job_by_key(node, key, queue="default"):
    """The job that bears this key, or None while it is not there."""
    answer = node.get(f"/v1/jobs/key:{key}?queue={queue}")
    return answer.json if answer.status == 200 else None


def ended_by_key(node, key, queue="default"):
    job = wait_for(f"a job with the key {key}", lambda: job_by_key(node, key, queue))
    return node.finish(job["id"])


def all_jobs(node, **filters):
    """Whole rows, oldest first, through all pages."""
    ids, more = [], ""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    while more is not None:
        page = node.get(f"/v1/jobs?limit=200&{query}{more}").json
        ids += [row["id"] for row in page["jobs"]]
        more = f"&cursor={page['next']}" if page.get("next") else None
    return [node.job(id_) for id_ in sorted(ids)]


def jobs_when(node, number, **filters):
    """All jobs that match, once there are so many."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    wait_for(f"{number} jobs with {query}",
             lambda: len(node.get(f"/v1/jobs?limit=200&{query}").json["jobs"]) >= min(number, 200))
    return wait_for(f"{number} jobs with {query}",
                    lambda: (lambda jobs: jobs if len(jobs) >= number else None)(all_jobs(node, **filters)))


def seen_by_handler(job):
    check(job["state"] == "completed", f"the job is {job['state']}: {job.get('error')}")
    return Seen(content(job, "result"))


# --- letters ---

class Postman:
    """A client as it is, with any properties, whose letters are written down. client: one of w.broker's own kind."""

    def __init__(self, w, **options):
        self.log, self.client, self.queue = w.log, w.broker.client(**options), w.queues[0]["name"]

    def __enter__(self):
        self.client.connect()
        return self

    def __exit__(self, *_):
        self.client.drop()

    @property
    def channel(self):
        return self.client.channel

    @staticmethod
    def key(message_id=None, headers=None, **_):
        """The letter's id as skep reads it: the header before the property, and none where the header is no id."""
        named = [value for name, value in (headers or {}).items() if name.lower() == "job-id"]
        return (named or [message_id])[0] if not named or 1 <= len(named[0].encode()) <= 255 else None

    def drop(self, address, body, queues=None, known=None, answer="confirmed", **properties):
        """queues: where it is to become a job, for the auditor (the world's first); known: its intents from the first
        time, when it is sent again; answer: what the auditor is told once the broker has it. Returns its intents."""
        body = body if isinstance(body, bytes) else body.encode()
        refs = known or [self.log.intend(body, via=self.client.transport, type=address, key=self.key(**properties),
                                         queue=queue) for queue in queues or (self.queue,)]
        try:
            self.client.put(address, body, **properties)
        except producer.Refused as refusal:
            check(False, f"the broker did not take a letter for {address}: {refusal}")
        for ref in refs:
            self.log.answer(ref, answer)
        return refs
