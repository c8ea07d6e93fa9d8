"""Producers that are not ours feed skepd: amqp-publish or a PUB line by hand, without a single header; pika or a NATS
client; Node.js' amqplib. What arrives in the handler is what they sent, byte for byte; a message id names a job once; the
auditor has the last word. What NATS alone has is in nats_producers.py.
"""

import datetime
import json
import os
import time

from faults import check, wait_for
from harness import BROKER, run
from mailroom import Postman, all_jobs, content, ended_by_key, job_by_key, jobs_when, post_office, seen_by_handler
from strangers import amqplib, plain

LETTERS = int(os.environ.get("SKEP_PRODUCERS_LETTERS", "500"))


# --- without any header ---

def a_letter_without_any_header_is_a_complete_job():
    bodies = [b"", b"\0", b"a\0b\0", bytes(range(256)), b"\xff\xfe no text \x80", b"\n", b"x" * 20000,
              '{"to":"Zoë"}'.encode()]
    with post_office(mirror=True) as w:
        node = w.nodes[0]
        bodies.append(b'{"to":"x"}')
        for body in bodies:
            plain(w.broker, "email.send", body)
        jobs = jobs_when(node, len(bodies), state="completed", type="email.send")
        for job in jobs:
            seen = seen_by_handler(job)
            check(content(job, "payload") == seen.payload, f"API and handler agree on the payload of {job['id']}")
            check(job["queue"] == "default" and seen.fields["queue"] == "default", f"queue: {job['queue']}")
            check(seen.fields["type"] == "email.send", f"type: {seen.fields['type']}")
            check(job["content_type"] == seen.fields["content_type"] == "application/octet-stream",
                  f"content type: {job['content_type']}, {seen.fields['content_type']}")
            check("key" not in job, f"no key: {job}")
            check(job["headers"] == {} and seen.headers == {}, f"no headers: {job['headers']}, {seen.headers}")
            check(seen.fields["attempt"] == "1" and seen.fields["max_attempts"] == "3", f"policy: {seen.fields}")
        check(sorted(seen_by_handler(job).payload for job in jobs) == sorted(bodies), "all bodies, byte for byte")
        print(f"  {len(jobs)} jobs of email.send, bodies of {sorted(map(len, bodies))} bytes as they were sent")


def hundreds_of_them_run_once_each():
    with post_office() as w:
        for n in range(LETTERS):
            body = b'{"n":%d,"bytes":"%s"}' % (n, bytes((n % 256,)) * (n % 7))
            ref = w.log.intend(body, via=w.broker.kind, type="diary", queue="default")
            plain(w.broker, "diary", body)
            w.log.answer(ref, "sent")
        w.settle(LETTERS)
        report = w.audit(must="I2 I3 I4 I6 I9 I10 I15 I16 I17 I22")  # nothing is confirmed: no promise to keep
        rows, content_types = w.select("select count(*), count(distinct content_type) from jobs")[0]
        check(int(rows) == LETTERS, f"{rows} rows for {LETTERS} letters")
        completed, named = w.select("select count(*), count(nullif(length(key_text), 0)) from jobs where state = 4")[0]
        check((int(completed), int(named), int(content_types)) == (LETTERS, 0, 1),
              f"{completed} completed, {named} with a key; {content_types} kinds")
        check(report["runs"] == LETTERS, f"{report['runs']} runs")
        print(f"  {LETTERS} letters, {rows} jobs, {report['runs']} runs, no key, one content type")


# --- with headers and properties ---

def an_id_names_a_job_once():
    with post_office() as w:
        node, once, batch = w.nodes[0], w.broker.named("once"), w.broker.named("batch")
        with Postman(w) as letters:
            refs = letters.drop("diary", '{"n":"once"}', **once)
            first = ended_by_key(node, "once")
            for _ in range(3):
                letters.drop("diary", '{"n":"once"}', known=refs, **once)
            in_flight = letters.drop("diary", '{"n":"twice in one batch"}', **batch)
            letters.drop("diary", '{"n":"twice in one batch"}', known=in_flight, **batch)
            for n in range(20):
                letters.drop("diary", '{"n":"without an id %d"}' % n)
            letters.drop("diary", '{"n":"another"}', answer="conflict", **once)
        dead = jobs_when(node, 1, state="dead")
        w.settle(23)
        check(len(dead) == 1 and dead[0]["reason"] == "id_conflict", f"the other payload is dead: {dead}")
        check(first["id"] in json.dumps(dead[0]["error"]), f"it names the other job {first['id']}: {dead[0]['error']}")
        check(content(dead[0], "payload") == b'{"n":"another"}', "its payload is kept")
        check(dead[0].get("key") == "once", f"its id is shown: {dead[0].get('key')}")
        check(ended_by_key(node, "once")["id"] == first["id"], "the key still names the first")
        jobs = all_jobs(node)
        check(len(jobs) == 23, f"{len(jobs)} rows: one per id, one per letter without, one conflict")
        print(f"  5 letters with the id `once`: job {first['id']} and {dead[0]['state']}({dead[0]['reason']}): "
              f"{dead[0]['error']['text']}")
        w.audit()


def urgent_letters_run_first():
    queue = {"name": "default", "types": [">"], "order": "priority"}
    with post_office(queues=(queue,), settings=("handlers.workers=1",)) as w:
        node = w.nodes[0]
        with Postman(w) as letters:
            letters.drop("diary", '{"n":"busy","do":"sleep:600000"}', message_id="busy")
            busy = wait_for("the worker to be busy", lambda: (jobs_when(node, 1, state="running") or [None])[0])
            for n in range(60):
                named = {"headers": {"Job-Priority": n % 10}} if n % 3 == 0 else {"priority": n % 10}
                letters.drop("diary", '{"n":%d,"p":%d}' % (n, n % 10), message_id=f"letter-{n}", **named)
            letters.drop("diary", '{"n":"default"}', message_id="letter-default")
            over = {"priority": 200} if BROKER == "amqp" else {"headers": {"job-priority": "9"}}
            letters.drop("diary", '{"n":"over"}', message_id="letter-over", **over)
        jobs_when(node, 62, state="pending")
        check(w.http(node).cancel(busy["id"]) == 202, "the busy one is asked to stop")
        w.settle(63)
        ran = sorted(all_jobs(node, state="completed"), key=lambda job: job["started_at"])
        order, by_key = [job["priority"] for job in ran], {job["key"]: job["priority"] for job in ran}
        check(len(order) == 62, f"{len(order)} ran")
        check(order == sorted(order, reverse=True), f"priorities in the order of their start: {order}")
        check((by_key["letter-default"], by_key["letter-over"]) == (5, 9), "5 when it says nothing, 200 counts as 9")
        print(f"  started in the order {''.join(str(p) for p in order)}")
        w.audit()


def past_its_deadline(job):
    return job and datetime.datetime.fromisoformat(job["deadline"].replace("Z", "+00:00")).timestamp() < time.time()


def a_letter_that_expired_never_starts():
    with post_office(settings=("handlers.workers=1",)) as w:
        node = w.nodes[0]
        with Postman(w) as letters:
            letters.drop("diary", '{"n":"busy","do":"sleep:600000"}', message_id="busy")
            busy = wait_for("the worker to be busy", lambda: (jobs_when(node, 1, state="running") or [None])[0])
            letters.drop("diary", '{"n":"short"}', message_id="short", expiration="8000")
            letters.drop("diary", '{"n":"passed"}', message_id="passed", headers={"job-deadline": "2001-02-03T04:05:06Z"})
            letters.drop("diary", '{"n":"long"}', message_id="long", expiration="3600000")
            passed = ended_by_key(node, "passed")
            wait_for("the short one's deadline", lambda: past_its_deadline(job_by_key(node, "short")))
        check(w.http(node).cancel(busy["id"]) == 202, "the busy one is asked to stop")
        long = ended_by_key(node, "long")
        short = ended_by_key(node, "short")
        for job in (short, passed):
            check((job["state"], job["reason"]) == ("dead", "expired"), f"{job['key']}: {job}")
            check(content(job, "payload"), "its payload is kept")
        check(long["state"] == "completed" and "deadline" in long, f"long: {long['state']}")
        check("deadline" in passed["error"]["text"], f"it says why: {passed['error']}")
        print(f"  short: dead({short['reason']}); passed: {passed['error']['text']!r}; long: {long['state']}")
        w.settle(4)
        w.audit()


# --- Node.js ---

def letters_of_a_nodejs_service():
    sent_at = 1700000000
    options = {"type": "mail.welcome", "priority": 7, "timestamp": sent_at, "appId": "shop", "correlationId": "c-1",
               "replyTo": "answers", "contentType": "application/json", "contentEncoding": "utf-8",
               "headers": {"x-tenant": "blue", "nested": {"a": [1, 2.5, None, True]}, "big": 2 ** 40,
                           "Job-Tags": "new, urgent"}}
    letters = []
    for n in range(20):
        mine = dict(options, messageId=f"node-{n}")
        letters += [("some.address", '{"n":%d,"name":"Zoë"}' % n, mine)] * (2 if n % 5 == 0 else 1)
    letters.append(("mail.plain", "no options at all", {}))
    with post_office(mirror=True) as w:
        node = w.nodes[0]
        answers = amqplib(w.broker.url, letters)
        check(answers == ["confirmed"] * len(letters), f"amqplib was answered {answers}")
        jobs = jobs_when(node, 21, state="completed")
        check(len(jobs) == 21, f"{len(jobs)} jobs for 20 ids, four of them twice, and one without")
        plain = [job for job in jobs if job["type"] == "mail.plain"]
        check(len(plain) == 1 and seen_by_handler(plain[0]).payload == b"no options at all", f"plain: {plain}")
        for job in (job for job in jobs if job["type"] != "mail.plain"):
            seen = seen_by_handler(job)
            n = int(job["key"].split("-")[1])
            check(seen.payload == letters_body(letters, job["key"]), f"payload of {n}: {seen.payload}")
            check(seen.fields["type"] == "mail.welcome" and seen.fields["priority"] == "7", f"fields: {seen.fields}")
            check(seen.fields["content_type"] == "application/json", f"content type: {seen.fields}")
            check(job["tags"] == ["new", "urgent"], f"tags: {job.get('tags')}")
            check(seen.headers == job["headers"], f"API and handler agree: {job['headers']}, {seen.headers}")
            expected = {"x-tenant": "blue", "big": "1099511627776", "timestamp": "2023-11-14T22:13:20.000000Z",
                        "app-id": "shop", "correlation-id": "c-1", "reply-to": "answers", "content-encoding": "utf-8",
                        "routing-key": "some.address"}
            check(expected.items() <= seen.headers.items(), f"headers: {seen.headers}")
            check(json.loads(seen.headers["nested"]) == {"a": [1, 2.5, None, True]}, f"nested: {seen.headers}")
        print(f"  {len(letters)} letters of amqplib, {len(jobs)} jobs; headers: {seen.headers}")


def letters_body(letters, key):
    return next(body.encode() for _, body, options in letters if options.get("messageId") == key)


run(a_letter_without_any_header_is_a_complete_job, hundreds_of_them_run_once_each, an_id_names_a_job_once,
    urgent_letters_run_first, a_letter_that_expired_never_starts, amqp=(letters_of_a_nodejs_service,))
