"""What producers may write beside the body, with pika, Node.js' amqplib and a NATS client: the headers job-* in any case,
every kind of value that these clients can send, and what cannot be read, routed or kept. Nothing is guessed and nothing is lost:
a letter becomes a job, or a dead one that says why and has its payload.
"""

import datetime
import decimal
import hashlib
import json
import re
import urllib.parse

from brokers import broker
from faults import check, wait_for
from harness import BROKER, run
from mailroom import (UNROUTED, Postman, all_jobs, content, ended_by_key, job_by_key, jobs_when, mirrored,
                      seen_by_handler, wrong_headers)
from strangers import amqplib

MIB = 1 << 20
LATER = "2031-05-04T13:00:00Z"


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# --- the headers job-* ---

def known_headers_in_any_case():
    named = {"Job-Type": "mail.other", "JOB-MAX-ATTEMPTS": 7, "job-timeout": "90s", "Job-Deadline": LATER,
             "job-TAGS": " blue, red ,blue", "jOB-pRIORITY": "8", "job-id": "from-the-header"}
    weaker = {"priority": 1, "type": "mail.property", "expiration": "1000"} if BROKER == "amqp" else {}
    with mirrored() as w, Postman(w) as letters:
        node = w.nodes[0]
        letters.drop("mail.welcome", "named", message_id="from-the-property", headers=named, **weaker)
        letters.drop("mail.welcome", "later", message_id="later", headers={"Job-Run-At": LATER})
        letters.drop("mail.welcome", "delayed", message_id="delayed", headers={"job-delay": "1h"})
        letters.drop("mail.welcome", "soon", message_id="soon", headers={"JOB-DELAY": "1s"})
        job = ended_by_key(node, "from-the-header")
        fields = seen_by_handler(job).fields
        check((fields["type"], fields["priority"], fields["max_attempts"], fields["timeout_ms"]) ==
              ("mail.other", "8", "7", "90000"), f"headers win over properties: {fields}")
        check(int(fields["deadline_us"]) == moment(LATER).timestamp() * 1e6, f"deadline: {fields['deadline_us']}")
        check(job["tags"] == ["blue", "red"], f"tags: {job['tags']}")
        check(job["timeout"] in ("90s", "1m30s"), f"time-out: {job['timeout']}")
        check(not [name for name in job["headers"] if name.startswith("job-")], f"no second copy: {job['headers']}")
        check(job_by_key(node, "from-the-property") is None, "the property's id is not asked")
        later, delayed = (wait_for(key, lambda key=key: job_by_key(node, key)) for key in ("later", "delayed"))
        check(later["state"] == delayed["state"] == "scheduled", f"both wait: {later['state']}, {delayed['state']}")
        check(moment(later["run_at"]) == moment(LATER), f"run at: {later['run_at']}")
        waits = (moment(delayed["run_at"]) - moment(delayed["created_at"])).total_seconds()
        check(3590 < waits < 3700, f"delayed by {waits} s")
        soon = ended_by_key(node, "soon")
        waited = (moment(soon["started_at"]) - moment(soon["created_at"])).total_seconds()
        check(soon["state"] == "completed" and waited >= 0.99, f"soon: {soon['state']} after {waited} s")
        print(f"  headers in any case win over properties; scheduled for {later['run_at']} and in {waits:.0f} s; "
              f"one second took {waited:.2f} s")


def properties_where_no_header_is():
    with mirrored() as w, Postman(w) as pika:
        pika.drop("mail.welcome", "properties", message_id="properties", priority=1, type="mail.property",
                  expiration="3600000", content_type="text/plain")
        job = ended_by_key(w.nodes[0], "properties")
        fields = seen_by_handler(job).fields
        check((fields["type"], fields["priority"], fields["content_type"]) == ("mail.property", "1", "text/plain"),
              f"properties: {fields}")
        check(moment(job["deadline"]) > moment(job["created_at"]), f"deadline: {job['deadline']}")


# --- every kind of value ---

VALUES = {
    "x-true": (True, "true"), "x-false": (False, "false"), "x-zero": (0, "0"), "x-small": (-7, "-7"),
    "x-32": (2 ** 31 - 1, "2147483647"), "x-32-low": (-2 ** 31, "-2147483648"), "x-33": (2 ** 32, "4294967296"),
    "x-64": (2 ** 63 - 1, "9223372036854775807"), "x-64-low": (-2 ** 63, "-9223372036854775808"),
    "x-decimal": (decimal.Decimal("3.1415"), "3.1415"), "x-decimal-small": (decimal.Decimal("0.0007"), "0.0007"),
    "x-decimal-whole": (decimal.Decimal("1200"), "1200"), "x-unicode": ("Zoë ✓ 🐝", "Zoë ✓ 🐝"),
    "x-text": ("plain", "plain"), "x-empty": ("", ""), "x-quote": ('a"b\\c\n', 'a"b\\c\n'),
    "x-bytes": (b"raw", "raw"), "x-none": (None, "null"),
    "x-time": (datetime.datetime(2024, 2, 29, 12, 0, 0), "1709208000"),
    "x-list": ([1, "two", None, [True, []]], '[1,"two",null,[true,[]]]'), "x-list-empty": ([], "[]"),
    "x-nested": ({"a": {"b": [{"c": "d"}], "e": b"f"}, "n": 2 ** 40},
                 '{"a":{"b":[{"c":"d"}],"e":"f"},"n":1099511627776}'),
    "x-nested-empty": ({}, "{}"), "UPPER-Case": ("folded", "folded"),
}


def every_kind_of_value_that_pika_sends():
    with mirrored() as w, Postman(w) as pika:
        node = w.nodes[0]
        pika.drop("mail.welcome", "values", message_id="values", headers={n: v for n, (v, _) in VALUES.items()},
                  reply_to="answers", correlation_id="c-1", app_id="shop", user_id="guest", timestamp=1700000000,
                  content_encoding="gzip")
        job = ended_by_key(node, "values")
        seen = seen_by_handler(job)
        wrong = wrong_headers(seen, {name: text for name, (_, text) in VALUES.items()})
        check(not wrong, f"seen and expected: {wrong}")
        check(job["headers"] == seen.headers, f"the API shows the same: {job['headers']}")
        properties = {"reply-to": "answers", "correlation-id": "c-1", "app-id": "shop", "user-id": "guest",
                      "timestamp": "2023-11-14T22:13:20.000000Z", "content-encoding": "gzip"}
        check(properties.items() <= seen.headers.items(), f"properties: {seen.headers}")
        check(len(seen.headers) == len(VALUES) + len(properties), f"nothing else: {list(seen.headers)}")
        print(f"  {len(VALUES)} values as the handler sees them: " + " ".join(
            f"{name}={seen.headers[name]}" for name in ("x-64-low", "x-decimal", "x-none", "x-list", "x-time")))


def a_negative_decimal_stays_negative():
    below = {"x-cents": "-3.14", "x-whole": "-5", "x-least": "-2147483648", "x-small": "-0.0007"}
    with mirrored() as w, Postman(w) as pika:
        pika.drop("mail.welcome", "below", message_id="below",
                  headers={name: decimal.Decimal(value) for name, value in below.items()})
        seen = seen_by_handler(ended_by_key(w.nodes[0], "below"))
        wrong = wrong_headers(seen, below)
        check(not wrong, f"seen and expected: {wrong}")
        print(f"  {seen.headers}")


def ids_of_every_form():
    """Each names one job; two spellings of one UUID are one id, two texts that differ in case alone are two."""
    uuid = "0190163d-8694-739b-aea5-966c26f8ad91"
    ids = ["a", "A", "with blanks and / ? # % &", "Zoë ✓", "x" * 255, "0", "-", "key:key", uuid,
           "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV.1", "' or 1=1 --"]
    ids += ["line\nbreak"] if BROKER == "amqp" else []  # a line of NATS' headers ends there
    with mirrored() as w, Postman(w) as letters:
        node = w.nodes[0]
        for id_ in ids:
            letters.drop("mail.welcome", id_, message_id=id_)
        for id_ in ids:
            letters.drop("mail.welcome", id_, **w.broker.named(id_))
        letters.drop("mail.welcome", uuid, message_id=uuid.upper())
        for id_ in ids:
            job = ended_by_key(node, urllib.parse.quote(id_, safe=""))
            check(seen_by_handler(job).payload == id_.encode() and job["key"] == id_, f"{id_!r}: {job}")
        letters.drop("mail.welcome", "the last one", message_id="last")
        ended_by_key(node, "last")
        jobs = all_jobs(node)
        check(len(jobs) == len(ids) + 1, f"{len(jobs)} jobs: {[(job['key'], job['state']) for job in jobs]}")
        print(f"  {len(ids)} ids, each sent twice, name {len(jobs) - 1} jobs")


def bodies_that_are_not_what_their_content_type_says():
    bodies = [("application/json", body) for body in
              (b"", b"{", b"\xff\xfe", b'{"a":1} x', b'{"a":1}\0', b'"\xed\xa0\x80"', b"NaN", b" [1,\n2] ", b"1e999",
               b"[" * 3000 + b"]" * 3000, b'{"a":1,"a":2}')]
    bodies += [("text/plain", b"\xff\xfe\0"), ("", b"none"), ("application/json; charset=utf-8", b"{\"a\":1}"),
               ("multipart/form-data; boundary=\"--x\"", b"--x--")]
    with mirrored() as w, Postman(w) as pika:
        node = w.nodes[0]
        for n, (kind, body) in enumerate(bodies):
            pika.drop("mail.welcome", body, message_id=f"body-{n}", content_type=kind)
        shown = []
        for n, (kind, body) in enumerate(bodies):
            job = ended_by_key(node, f"body-{n}")
            shown += [body] if "payload" in job else []
            seen = seen_by_handler(job)
            check(seen.payload == body, f"{kind} {body[:40]}: the handler saw {seen.payload[:40]}")
            check(seen.fields["content_type"] == (kind or "application/octet-stream"), f"content type: {seen.fields}")
            check(payload_shown(job) in (body, as_value(body)), f"{kind} {body[:40]}: the API shows {str(job)[:300]}")
        print(f"  {len(bodies)} bodies as they were sent; the API shows as values {shown}")


def payload_shown(job):
    return repr(job["payload"]) if "payload" in job else content(job, "payload")


def as_value(body):
    try:
        return repr(json.loads(body))
    except (ValueError, RecursionError):
        return None


def what_no_header_can_hold_is_left_out_and_named():
    with mirrored() as w, Postman(w) as letters:
        node = w.nodes[0]
        letters.drop("mail.welcome", "odd", message_id="odd", headers={
            "x-nul": "a\0b", "x-raw": b"\xff\xfe", "skep-mine": "a producer's", "user-id": "somebody",
            "x-kept": "kept"})
        job = ended_by_key(node, "odd")
        seen = seen_by_handler(job)
        check(seen.headers["x-kept"] == "kept", f"kept: {seen.headers}")
        check(seen.headers["x-raw"].encode(errors="surrogateescape") == b"\xff\xfe", f"raw bytes: {seen.headers}")
        dropped = seen.headers["skep-dropped-headers"].split(", ")
        check(sorted(dropped) == ["skep-mine", "user-id", "x-nul"], f"dropped: {dropped}")
        check(set(job["headers"]) == set(seen.headers), f"the API shows the same names: {job['headers']}")
        print(f"  dropped and named: {dropped}; bytes that are no text in the API: {job['headers']['x-raw']!r}")


def every_kind_of_value_that_amqplib_sends():
    kinds = {"x-int8": ({"!": "int8", "value": -3}, "-3"), "x-uint8": ({"!": "uint8", "value": 200}, "200"),
             "x-int16": ({"!": "int16", "value": -300}, "-300"), "x-uint16": ({"!": "uint16", "value": 60000}, "60000"),
             "x-int32": ({"!": "int32", "value": -70000}, "-70000"),
             "x-uint32": ({"!": "uint32", "value": 4000000000}, "4000000000"),
             "x-int64": ({"!": "int64", "value": -2 ** 40}, str(-2 ** 40)), "x-plain": (0.125, "0.125"),
             "x-float": ({"!": "float", "value": 0.5}, "0.5"), "x-double": ({"!": "double", "value": -2.25}, "-2.25"),
             "x-timestamp": ({"!": "timestamp", "value": 1700000000}, "1700000000"),
             "x-decimal": ({"!": "decimal", "value": {"digits": 314, "places": 2}}, "3.14"),
             "x-null": (None, "null"), "x-object": ({"a": [1, {"b": False}]}, '{"a":[1,{"b":false}]}')}
    with mirrored() as w:
        intent = w.log.intend(b"kinds", via="amqp", type="mail.kinds", key="kinds", queue="default")
        answers = amqplib(w.broker.url, [("mail.kinds", "kinds", {
            "messageId": "kinds", "headers": {name: value for name, (value, _) in kinds.items()}})])
        check(answers == ["confirmed"], f"amqplib was answered {answers}")
        w.log.answer(intent, "confirmed")
        seen = seen_by_handler(ended_by_key(w.nodes[0], "kinds"))
        wrong = wrong_headers(seen, {name: text for name, (_, text) in kinds.items()})
        check(not wrong, f"seen and expected: {wrong}")
        print(f"  {len(kinds)} kinds: " + " ".join(f"{name}={seen.headers[name]}" for name in kinds))


# --- what cannot be read ---

MALFORMED = [
    ("job-type", "two words"), ("job-type", ""), ("job-type", "a..b"), ("job-delay", "soon"), ("job-delay", "-5s"),
    ("job-delay", 30), ("job-run-at", "tomorrow"), ("job-run-at", 1700000000), ("job-deadline", "2031-05-04"),
    ("job-max-attempts", 0), ("job-max-attempts", -1), ("job-max-attempts", 1001), ("job-max-attempts", "many"),
    ("job-timeout", "0s"), ("job-timeout", "31d"), ("job-timeout", None), ("job-priority", 10),
    ("job-priority", "high"), ("job-priority", [1]), ("job-priority", {"p": 1}), ("job-priority", True),
    ("job-tags", "a b"), ("job-tags", "x" * 65), ("job-id", ""),
    ("job-id", "k" * 256), ("job-unique-for", "soon"), ("job-parent-id", "nobody"),
    ("traceparent", "00-0-0-0"),
]


def a_known_header_that_cannot_be_read():
    with mirrored() as w, Postman(w) as letters:
        node = w.nodes[0]
        for n, (name, value) in enumerate(MALFORMED):
            letters.drop("mail.welcome", f"payload {n} \0", message_id=f"malformed-{n}", headers={name: value, "x-n": n})
        jobs = jobs_when(node, len(MALFORMED), state="dead")
        check(len(jobs) == len(MALFORMED), f"{len(jobs)} dead ones for {len(MALFORMED)} letters")
        by_number = {int(job["headers"]["x-n"]): job for job in jobs}
        for n, (name, value) in enumerate(MALFORMED):
            job = by_number[n]
            text = job["error"]["text"]
            check(job["reason"] == "malformed", f"{name}: {value!r}: {job['reason']}")
            check(text.startswith(name + ": ") and "write " in text, f"{name}: {value!r}: the reason is {text!r}")
            check(content(job, "payload") == f"payload {n} \0".encode(), f"{name}: its payload is {job}")
            check(job["attempts"] == [] and job["claim"] == 0, f"{name}: it never ran")
        named = w.broker.named("malformed-4")
        headers = {**named.pop("headers", {}), "job-delay": "0s"}
        letters.drop("mail.welcome", "corrected", headers=headers, **named)
        corrected = ended_by_key(node, "malformed-4")
        check(seen_by_handler(corrected).payload == b"corrected", "the corrected letter with the same id is a new job")
        print(f"  {len(MALFORMED)} dead(malformed), as: {by_number[0]['error']['text']}")
        print(f"  and: {by_number[len(MALFORMED) - 1]['error']['text']}")


def count_dropped(text):
    """Of `a, b, and 3 more` 5."""
    last = re.fullmatch(r"(.*?)(?:, and )?(\d+) more", text)
    names, rest = (last[1], int(last[2])) if last else (text, 0)
    return len([name for name in names.split(", ") if name]) + rest


def more_headers_than_a_job_keeps():
    with mirrored() as w, Postman(w) as letters:
        node = w.nodes[0]
        letters.drop("mail.welcome", "full", message_id="full",
                     headers={f"x-{n:02}": f"{n:02}" * 500 for n in range(20)})
        letters.drop("mail.welcome", "long", message_id="long", headers={"x-long": "l" * 60000, "x-short": "s"})
        full, long = (ended_by_key(node, key) for key in ("full", "long"))
        for job in (full, long):
            check_headers(job)
        kept = [name for name in full["headers"] if name.startswith("x-")]
        check(kept == [f"x-{n:02}" for n in range(len(kept))] and 6 <= len(kept) <= 8, f"the first are kept: {kept}")
        check(full["headers"]["skep-dropped-headers"].split(", ") == [f"x-{n:02}" for n in range(len(kept), 20)],
              f"the others are named: {full['headers']['skep-dropped-headers']}")
        check(long["headers"] == {"x-short": "s", "skep-dropped-headers": "x-long"}, f"long: {list(long['headers'])}")
        print(f"  full: {len(kept)} of 20 kept, {full['headers']['skep-dropped-headers']}")


def check_headers(job):
    seen = seen_by_handler(job)
    size = sum(len(name.encode()) + len(value.encode()) + 2 for name, value in seen.headers.items())
    check(size <= 8192, f"{job['key']}: {size} bytes of headers")
    check(seen.headers == job["headers"], f"{job['key']}: the API shows the same")


def a_nested_value_that_is_larger_than_a_job_keeps():
    with mirrored() as w, Postman(w) as pika:
        pika.drop("mail.welcome", "nested", message_id="nested", headers={"x-list": ["n" * 1000] * 50, "x-short": "s"})
        nested = ended_by_key(w.nodes[0], "nested")
        check_headers(nested)
        check(nested["headers"] == {"x-list": "(larger than 8 KiB)", "x-short": "s"}, f"nested: {nested['headers']}")


def hundreds_of_small_headers():
    sent = {**{f"x-{n:03}": n for n in range(400)}, "job-priority": 9, "Job-Tags": "last"}
    with mirrored() as w, Postman(w) as letters:
        letters.drop("mail.welcome", "many", message_id="many", headers=sent)
        many = ended_by_key(w.nodes[0], "many")
        check(seen_by_handler(many).headers == many["headers"], "the API shows what the handler saw")
        check(many["priority"] == 9 and many["tags"] == ["last"], "known ones count wherever they stand")
        dropped = many["headers"].get("skep-dropped-headers", "")
        kept = [name for name in many["headers"] if name.startswith("x-")]
        check(len(kept) + count_dropped(dropped) == 400,
              f"of 400 headers {len(kept)} are kept, and named as dropped: {dropped!r}")
        print(f"  {len(kept)} of 400 are kept, dropped: ...{dropped[-40:]}")


# --- what cannot be routed, what is too large ---

def a_type_that_no_queue_takes():
    with mirrored(queues=({"name": "mail", "types": ["mail.>"]},), unserved=["bill.send"]) as w, Postman(w) as pika:
        node = w.nodes[0]
        wait_for("the queue of the unrouted", lambda: w.broker.bindings(UNROUTED))
        pika.drop("bill.send", "unrouted", queues=[UNROUTED], message_id="unrouted", headers={"x-kept": "kept"})
        pika.drop("mail.send", "routed", message_id="routed")
        job = wait_for("the unrouted one", lambda: job_by_key(node, "unrouted", queue=UNROUTED))
        check((job["state"], job["reason"], job["type"]) == ("pending", "no_queue", "bill.send"), f"parked: {job}")
        check(content(job, "payload") == b"unrouted" and job["headers"]["x-kept"] == "kept", f"whole: {job}")
        check(ended_by_key(node, "routed", queue="mail")["state"] == "completed", "the other ran")
        wait_for("the broker to have its acknowledgement", lambda: w.broker.queues()[UNROUTED] == (0, 0))
        check(node.job(job["id"])["state"] == "pending", "it waits on")
        print(f"  bill.send: {job['state']}({job['reason']}) in {job['queue']}; {UNROUTED} at the broker is empty")


def an_unrouted_letter_is_kept_until_it_is_cancelled():
    mail = {"name": "mail", "types": ["mail.>"]}
    with mirrored(queues=(mail,)) as w, Postman(w) as pika:
        node = w.nodes[0]
        wait_for("the queue of the unrouted", lambda: w.broker.bindings(UNROUTED))
        pika.drop("bill.send", "too early", queues=[UNROUTED], message_id="bill-1")
        job = wait_for("the unrouted one", lambda: job_by_key(node, "bill-1", queue=UNROUTED))
        w.stop()
        w.queues = (mail, {"name": "bill", "types": ["bill.>"]})
        node.write_config(w.config(node.name))
        node.start()
        wait_for("the new queue to be bound", lambda: len(w.broker.bindings()) >= 2)
        check(w.http(node).cancel(job["id"]) == 200, "it is cancelled")
        pika.drop("bill.send", "too early", queues=["bill"], message_id="bill-1")
        done = ended_by_key(node, "bill-1", queue="bill")
        check(seen_by_handler(done).payload == b"too early", "anew under the same id it is a job of its queue")
        check(node.job(job["id"])["state"] == "cancelled", "the first one is not touched")
        print(f"  pending({job['reason']}), then cancelled; ran in `{done['queue']}` when sent anew")


def unless_scheduled(job):
    return job if job and job["state"] != "scheduled" else None


def unbind_all(w, pika):
    wait_for("the queue of the unrouted", lambda: w.broker.bindings(UNROUTED))
    for queue, pattern in w.broker.bindings():
        pika.channel.queue_unbind(queue, "jobs", pattern)


def a_letter_whose_binding_is_missing_finds_its_queue():
    with mirrored(queues=({"name": "mail", "types": ["mail.>"]},)) as w, Postman(w) as pika:
        node = w.nodes[0]
        pika.drop("mail.send", "bound", message_id="bound")
        ended_by_key(node, "bound", queue="mail")
        unbind_all(w, pika)
        pika.drop("mail.send", "plain", message_id="plain")
        pika.drop("mail.send", "bound", message_id="bound")
        pika.drop("mail.send", "another", message_id="bound", answer="conflict")
        seen = seen_by_handler(ended_by_key(node, "plain", queue="mail"))
        check((seen.fields["queue"], seen.payload) == ("mail", b"plain"), f"it runs in its queue: {seen.fields}")
        dead = jobs_when(node, 1, state="dead")
        check(len(dead) == 1 and dead[0]["reason"] == "id_conflict", f"the key counts as in its queue: {dead}")
        jobs = [(job["key"], job["queue"], job["state"]) for job in all_jobs(node)]
        check(len(jobs) == 3, f"no job twice: {jobs}")
        print(f"  {jobs}")


def a_delayed_letter_whose_binding_is_missing_finds_its_queue():
    with mirrored(queues=({"name": "mail", "types": ["mail.>"]},), unserved=["bill.send"]) as w, Postman(w) as pika:
        node = w.nodes[0]
        unbind_all(w, pika)
        pika.drop("mail.send", "soon", message_id="soon", headers={"job-delay": "1s"})
        pika.drop("bill.send", "nobody's, soon", queues=[UNROUTED], message_id="nobody", headers={"job-delay": "1s"})
        nobody = wait_for("nobody's letter to be due", lambda: unless_scheduled(job_by_key(node, "nobody", UNROUTED)))
        check((nobody["state"], nobody.get("reason")) == ("pending", "no_queue"),
              f"nobody's is {nobody['state']}({nobody.get('reason')})")
        seen = seen_by_handler(ended_by_key(node, "soon", queue="mail"))
        check(seen.fields["queue"] == "mail", f"it runs in its queue: {seen.fields}")
        print(f"  mail.send ran in `mail`; bill.send is {nobody['state']}({nobody['reason']})")


def a_letter_to_the_queue_by_its_name():
    """Through the default exchange: the address says nothing of the type then."""
    queues = ({"name": "mail", "types": ["mail.>"], "default_type": "mail.any"}, {"name": "bare", "types": ["bare.>"]})
    with mirrored(queues=queues, bound=2) as w, Postman(w, exchange="") as pika:
        node = w.nodes[0]
        pika.drop("mail", "no type", message_id="no-type")
        pika.drop("mail", "a type", message_id="a-type", type="mail.own")
        pika.drop("bare", "no type", queues=["bare"], message_id="no-type")
        types = [seen_by_handler(ended_by_key(node, key, queue="mail")).fields["type"] for key in ("no-type", "a-type")]
        check(types == ["mail.any", "mail.own"], f"types: {types}")
        bare = jobs_when(node, 1, state="dead", queue="bare")[0]
        check((bare["reason"], bare["type"]) == ("malformed", "unknown") and content(bare, "payload") == b"no type",
              f"without a default: {bare}")
        print(f"  to the queue `mail`: {types}; to a queue without a default: {bare['error']['text']!r}")


def a_payload_that_is_too_large():
    body = bytes(range(256)) * (2 * MIB // 256)
    kind = "mail.welcome" if BROKER == "nats" else "mail.large"
    with broker(**ROOM[BROKER]) as one, mirrored(broker=one) as w, Postman(w) as letters:
        node = w.nodes[0]
        wait_for("a place for the refused", one.keeps_refused)
        typed = {} if BROKER == "nats" else {"type": kind}
        letters.drop("mail.welcome", body, message_id="large", headers={"x-kept": "kept"}, **typed)
        letters.drop("mail.welcome", b"e" * (MIB + 1), message_id="one-more")
        letters.drop("mail.welcome", b"e" * MIB, message_id="exact")
        dead = jobs_when(node, 2, state="dead")
        large = next(job for job in dead if job["key"] == "large")
        check({job["reason"] for job in dead} == {"too_large"}, f"reasons: {dead}")
        check(content(large, "payload") == b"" and large["type"] == kind, f"no payload: {str(large)[:500]}")
        check(str(2 * MIB) in large["error"]["text"] and str(MIB) in large["error"]["text"], f"why: {large['error']}")
        check(large["headers"]["x-kept"] == "kept", f"its headers: {large['headers']}")
        exact = seen_by_handler(ended_by_key(node, "exact"))
        check(exact.fields["payload_size"] == str(MIB), f"one of exactly 1 MiB runs: {exact.fields}")
        refused = one.refused(2)
        headers, kept = refused["large"]
        check(kept == body and headers["x-kept"] == "kept", f"the refused one is whole: {len(kept)} bytes, {headers}")
        check(len(refused["one-more"][1]) == MIB + 1, "the other too")
        letters.drop("mail.welcome", "smaller", **one.named("large"))
        check(seen_by_handler(ended_by_key(node, "large")).payload == b"smaller", "its id is free for a smaller one")
        print(f"  {large['error']['text']!r}; kept {len(kept)} bytes, sha256 {hashlib.sha256(kept).hexdigest()[:12]} as "
              f"sent; exactly {MIB} ran")


ROOM = {"amqp": {}, "nats": {"max_payload": "8MB"}}  # NATS' own limit is 1 MiB

run(known_headers_in_any_case, ids_of_every_form, what_no_header_can_hold_is_left_out_and_named,
    more_headers_than_a_job_keeps, hundreds_of_small_headers, a_known_header_that_cannot_be_read,
    a_payload_that_is_too_large,
    amqp=(properties_where_no_header_is, every_kind_of_value_that_pika_sends, a_negative_decimal_stays_negative,
          every_kind_of_value_that_amqplib_sends, bodies_that_are_not_what_their_content_type_says,
          a_nested_value_that_is_larger_than_a_job_keeps, a_type_that_no_queue_takes,
          an_unrouted_letter_is_kept_until_it_is_cancelled, a_letter_whose_binding_is_missing_finds_its_queue,
          a_delayed_letter_whose_binding_is_missing_finds_its_queue, a_letter_to_the_queue_by_its_name))
