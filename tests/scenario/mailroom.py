"""What the stories of foreign producers share: a world whose exchange is bound before the first letter, a handler that
shows what it got (mirror.c), and whole jobs as the API shows them.

Nothing here publishes through code of ours: letters come from amqp-publish, pika and Node.js' amqplib.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess

from faults import LEDGER, check, wait_for, world
from harness import BUILD, PATIENCE, Failure, Skip, node_publish

MIRROR = os.path.join(BUILD, "tests", "scenario", "mirror.so")
QUEUE = {"name": "default", "types": [">"]}
CALM = ("node.lease=15s", "node.beat=1s")  # nothing dies here
UNROUTED = "jobs.unrouted"


def bindings(broker, exchange="jobs"):
    """{(queue, pattern)} of an exchange; empty while it is not there."""
    vhost = broker.name or "/"
    said = broker.server.eval(
        '[io_lib:format("~ts ~ts;", [element(4, element(4, B)), element(3, B)]) || B <- '
        f'rabbit_binding:list_for_source(rabbit_misc:r(<<"{vhost}">>, exchange, <<"{exchange}">>))]', "~ts")
    return {tuple(pair.split(" ")) for pair in said.split(";") if pair}


@contextlib.contextmanager
def post_office(queues=(QUEUE,), bound=1, nodes=1, mirror=False, settings=(), **more):
    """A world with nodes that serve, and all bindings in place, so that each letter finds its queue. mirror: its
    handler serves the types that no other one names."""
    print(f"  ledger: {LEDGER}")
    with world(private=False, settings=(*CALM, *settings), queues=queues, **more) as w:
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
        wait_for("the queues to be bound", lambda: len(bindings(w.broker)) >= bound)
        yield w


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


# --- producers ---

def amqp_publish_stdin(url, routing_key, body, *more, exchange="jobs"):
    """A body of any bytes, which no argument can hold."""
    done = subprocess.run(["amqp-publish", "-u", url, "-e", exchange, "-r", routing_key, "-p", *more], input=body,
                          capture_output=True, timeout=PATIENCE, check=False)
    check(done.returncode == 0, f"amqp-publish ended with {done.returncode}: {done.stderr}")


def node_letters(url, letters):
    """harness.node_publish, or Skip where this machine has no npm, or its registry is away. Never in CI."""
    if os.environ.get("CI"):
        return node_publish(url, letters)
    if not shutil.which("npm") or not shutil.which("node"):
        raise Skip("no node or npm on this machine: Node.js' amqplib was NOT tried")
    try:
        return node_publish(url, letters)
    except (Failure, subprocess.TimeoutExpired) as trouble:
        away = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "timed out")
        if "npm" in str(trouble) and any(word in str(trouble) for word in away):
            raise Skip(f"npm cannot install amqplib, which was NOT tried: {str(trouble)[-300:]}") from trouble
        raise


class Postman:
    """pika as it is: confirmed, mandatory, any properties."""

    def __init__(self, w, exchange="jobs"):
        import pika
        self.pika, self.log, self.exchange = pika, w.log, exchange
        self.connection = pika.BlockingConnection(pika.URLParameters(w.broker.url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(self.pika.exceptions.AMQPError, OSError):
            self.connection.close()

    def drop(self, routing_key, body, exchange=None, queues=("default",), known=None, answer="confirmed", **properties):
        """queues: where it is to become a job, for the auditor; known: its intents from the first time, when it is sent
        again; answer: what the auditor is told once the broker has it. Returns its intents."""
        body = body if isinstance(body, bytes) else body.encode()
        refs = known or [self.log.intend(body, via="amqp", type=routing_key, key=properties.get("message_id"),
                                         queue=queue) for queue in queues]
        properties.setdefault("delivery_mode", 2)
        try:
            self.channel.basic_publish(self.exchange if exchange is None else exchange, routing_key, body,
                                       self.pika.BasicProperties(**properties), mandatory=True)
        except (self.pika.exceptions.NackError, self.pika.exceptions.UnroutableError) as refusal:
            check(False, f"the broker did not take a letter for {routing_key}: {refusal!r}")
        for ref in refs:
            self.log.answer(ref, answer)
        return refs
