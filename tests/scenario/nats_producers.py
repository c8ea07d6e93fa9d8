"""Producers of NATS that are not ours: Node.js' client, and lines of the protocol written by hand. With headers and
without, through JetStream and past it; ids that come twice; subjects of every depth; letters that are delivered again.
The examples of docs/nats.md, as far as this machine has their clients, and the permissions that it names.
"""

import contextlib
import json
import os
import re
import subprocess

from brokers import broker
from faults import check, doctor, logged, metric, wait_for, wait_logged
from harness import run
from mailroom import Postman, all_jobs, content, ended_by_key, jobs_when, mirrored, post_office, seen_by_handler
from strangers import by_hand, hpub, nats_js, node, pub

AGAIN = int(os.environ.get("SKEP_NATS_AGAIN", "200"))
SECOND = 10 ** 9
HANDBOOK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "nats.md")


def by_payload(jobs):
    return {content(job, "payload"): job for job in jobs}


@contextlib.contextmanager
def written_down(w, letters, queue="default"):
    """For the auditor: [(body, key, answer)] of what is sent inside."""
    refs = {}
    for body, key, answer in letters:
        if body not in refs:
            refs[body] = (w.log.intend(body, via="nats", type="-", key=key, queue=queue), answer)
    yield
    for ref, answer in refs.values():
        w.log.answer(ref, answer)


# --- Node.js ---

def letters_of_a_nodejs_service():
    headers = {"X-Tenant": "blue", "job-tags": "new, urgent", "JOB-PRIORITY": 7, "x-twice": ["one", "two"]}
    letters = [("jobs.mail.welcome", '{"n":%d,"name":"Zoë"}' % n, {"id": f"node-{n}", "headers": headers})
               for n in range(20)]
    letters += letters[:4]
    letters += [("jobs.mail.plain", "no headers", {}), ("jobs.mail.plain", "past JetStream", {"plain": True}),
                ("jobs.mail.plain", "with a header, past JetStream", {"plain": True, "headers": {"X-Tenant": "blue"}}),
                ("jobs.mail.plain", "headers and no id", {"headers": {"job-type": "mail.other"}}),
                ("jobs.mail.plain", "", {"id": "empty"})]
    with mirrored() as w:
        with written_down(w, [(body.encode(), more.get("id"), "sent" if "plain" in more else "confirmed")
                              for _, body, more in letters]):
            answers = nats_js(w.broker.url, letters)
        check(answers == ["confirmed"] * 20 + ["duplicate"] * 4 + ["confirmed", "sent", "sent", "confirmed", "confirmed"],
              f"nats.js was answered {answers}")
        jobs = by_payload(jobs_when(w.nodes[0], 25, state="completed"))
        check(len(jobs) == 25, f"{len(jobs)} jobs for 29 letters, four of them sent twice")
        for n in range(20):
            job = jobs[letters[n][1].encode()]
            seen = seen_by_handler(job)
            check(job["key"] == f"node-{n}" and seen.fields["type"] == "mail.welcome", f"its id and type: {job}")
            check(seen.fields["priority"] == "7" and job["tags"] == ["new", "urgent"], f"known headers: {seen.fields}")
            check(seen.headers == job["headers"] and seen.headers["x-tenant"] == "blue", f"headers: {seen.headers}")
            check(seen.headers["x-twice"] == "one", f"of two with one name the first: {seen.headers}")
        check(set(seen.headers) == {"x-tenant", "x-twice"}, f"nothing of JetStream's own: {seen.headers}")
        plain = jobs[b"no headers"]
        check("key" not in plain and plain["headers"] == {} and plain["content_type"] == "application/octet-stream",
              f"without headers: {plain}")
        check(jobs[b"with a header, past JetStream"]["headers"] == {"x-tenant": "blue"}, "past JetStream it keeps them")
        other = jobs[b"headers and no id"]
        check(other["type"] == "mail.other" and other["headers"] == {"routing-key": "mail.plain"}, f"named type: {other}")
        print(f"  29 letters of nats.js, {len(jobs)} jobs; headers: {seen.headers}")


# --- by hand ---

def lines_written_by_hand():
    head = b"NATS/1.0\r\n%s\r\n\r\n"
    letters = {
        b"a PUB line": pub("jobs.mail.a", b"a PUB line"),
        b"small letters": b"pub\tjobs.mail.a   13\r\nsmall letters\r\n",
        b"with a reply": b"PUB jobs.mail.a some.inbox 12\r\nwith a reply\r\n",
        b"no headers": hpub("jobs.mail.a", b"NATS/1.0\r\n\r\n", b"no headers"),
        b"odd case": hpub("jobs.mail.a", head % b"JOB-priORity:9\r\njOb-TyPe:mail.b\r\nX-KEPT:   kept  ", b"odd case"),
        b"an id in any case": hpub("jobs.mail.a", head % b"nats-msg-ID: by-hand", b"an id in any case"),
        b"our id first": hpub("jobs.mail.a", head % b"Nats-Msg-Id: theirs\r\njob-ID: ours", b"our id first"),
        b"empty value": hpub("jobs.mail.a", head % b"x-empty:\r\nx-colons: a:b:c", b"empty value"),
        b"a status": hpub("jobs.mail.a", b"NATS/1.0 503 words\r\n\r\n", b"a status"),
        b"\0\r\n.\r\nPUB x 1\r\n": pub("jobs.mail.a", b"\0\r\n.\r\nPUB x 1\r\n"),
    }
    keys = {b"an id in any case": "by-hand", b"our id first": "ours"}
    with mirrored() as w:
        with written_down(w, [(body, keys.get(body), "confirmed") for body in letters]):
            check(by_hand(w.broker.url, *letters.values()) == "", "the server takes them all")
        jobs = by_payload(jobs_when(w.nodes[0], len(letters), state="completed"))
        check(set(jobs) == set(letters), f"each is a job with its bytes: {list(jobs)}")
        check(all(seen_by_handler(job).payload == body for body, job in jobs.items()), "and the handler saw them")
        odd = jobs[b"odd case"]
        check((odd["priority"], odd["type"], odd["headers"].get("x-kept")) == (9, "mail.b", "kept"), f"odd case: {odd}")
        check(jobs[b"an id in any case"]["key"] == "by-hand", f"an id: {jobs[b'an id in any case']}")
        check(jobs[b"our id first"]["key"] == "ours", f"our id: {jobs[b'our id first']}")
        check(jobs[b"empty value"]["headers"] == {"x-empty": "", "x-colons": "a:b:c"}, f"{jobs[b'empty value']['headers']}")
        print(f"  {len(letters)} letters by hand; odd case: {odd['headers']}, priority {odd['priority']}")


# What nats.c's own functions would lose, in silence: (lines, what the job must show).
ODD_BLOCKS = [
    (b"x-empty:\r\nJob-Priority: 8", {"priority": 8, "headers": {"x-empty": ""}}),
    (b"x-empty: \r\nNats-Msg-Id: behind-an-empty-one", {"key": "behind-an-empty-one"}),
    (b"Job-Priority: 8\r\nx-last: ", {"priority": 8, "headers": {"x-last": ""}}),
    (b"Job-Priority: 8\r\nno colon", {"priority": 8, "headers": {"skep-dropped-headers": "1 more"}}),
    (b"no colon\r\nJob-Priority: 8", {"priority": 8, "headers": {"skep-dropped-headers": "1 more"}}),
    (b"x-nul: a\0b\r\nJob-Priority: 8", {"priority": 8, "headers": {"skep-dropped-headers": "x-nul"}}),
    (b"Job-Priority: 8\r\njob-priority: 2", {"priority": 8}),
    (b"X-Twice: one\r\nx-twice: two", {"headers": {"x-twice": "one"}}),
    (b"x-long: " + b"l" * 9000 + b"\r\nJob-Priority: 8", {"priority": 8, "headers": {"skep-dropped-headers": "x-long"}}),
    (b"Job-Tags: caf\xc3\xa9,x\r\nx-raw: \xff", {"tags": ["caf\u00e9", "x"]}),
    (b"Nats-Expected-Stream: JOBS\r\nNats-Whatever: x", {"headers": {}}),
]


def blocks_that_other_readers_stumble_over():
    with mirrored() as w:
        letters = {b"%d: " % n + lines[:20]: (lines, shown) for n, (lines, shown) in enumerate(ODD_BLOCKS)}
        with written_down(w, [(body, shown.get("key"), "confirmed") for body, (_, shown) in letters.items()]):
            said = by_hand(w.broker.url, *(hpub("jobs.mail.a", b"NATS/1.0\r\n" + lines + b"\r\n\r\n", body)
                                           for body, (lines, _) in letters.items()))
            check(said == "", f"the server said {said}")
        jobs, wrong = by_payload(jobs_when(w.nodes[0], len(letters), state="completed")), []
        for body, (lines, shown) in letters.items():
            seen = {name: jobs[body].get(name) for name in shown}
            wrong += [] if seen == shown else [f"{lines[:60]}: {seen}, not {shown}"]
        check(not wrong, "\n    ".join(["wrong:", *wrong]))
        print(f"  {len(letters)} header blocks as they were meant")


def a_doorbell_that_is_forged_creates_nothing():
    bell = b"NATS/1.0\r\nskep-bell: %s\r\nskep-seq: 7\r\n\r\n"
    with post_office(mirror=True) as w:
        node = w.nodes[0]
        by_hand(w.broker.url, hpub("jobs.mail.a", bell % b"0190163d-8694-739b-aea5-966c26f8ad91"),
                hpub("jobs.mail.a", bell % b"mark"), hpub("jobs.mail.a", bell % b"no id"),
                hpub("jobs.mail.a", bell % b"mark", b"a body"), pub("jobs.mail.a", b"after"))
        jobs_when(node, 1, state="completed")
        dead = jobs_when(node, 2, state="dead")
        check({job["reason"] for job in dead} == {"malformed"}, f"what is no doorbell says so: {dead}")
        check(len(all_jobs(node)) == 3, "nothing else became a job")
        wait_for("the stream to be empty", lambda: w.broker.messages() == 0)


def a_body_over_the_servers_own_limit():
    with broker(max_payload="64KB") as one, mirrored(broker=one) as w:
        node = w.nodes[0]
        with written_down(w, [(b"x" * 70000, None, "refused"), (b"y" * 70000, None, "refused"),
                              (b"z" * 60000, None, "confirmed")]):
            said = by_hand(one.url, b"PUB jobs.mail.a 70000\r\n")
            check("maximum payload" in said.lower(), f"the server said {said!r}")
            answers = nats_js(one.url, [("jobs.mail.a", "y" * 70000, {}), ("jobs.mail.a", "z" * 60000, {})])
        check(answers[0].startswith("refused") and answers[1] == "confirmed", f"nats.js was answered {answers}")
        jobs = jobs_when(node, 1, state="completed")
        check([len(content(job, "payload")) for job in jobs] == [60000], "the one within the limit ran")
        print(f"  the server said {said!r}; nats.js said {answers[0]!r}")


# --- the handbook ---

def handbook(pattern):
    with open(HANDBOOK, encoding="utf-8") as book:
        return re.search(pattern, book.read(), re.S).groups()


def example(language, address, place):
    """As it stands there, but for the server's address."""
    text, = handbook(rf"```{language}\n(.*?)```")
    check(address in text, f"the example has {address}: {text}")
    return text.replace(address, place)


def the_examples_of_the_handbook():
    emails = ({"name": "email", "types": ["email.>"]},)
    with post_office(queues=emails, mirror=True) as w:
        place = w.broker.url.rpartition("/")[2]
        subprocess.run(["sh", "-c", example("sh", "localhost:4222", place)], capture_output=True, check=False)
        job = jobs_when(w.nodes[0], 1, state="completed")[0]
        check((job["type"], content(job, "payload")) == ("email.send", b'{"to":"x"}'), f"by hand: {job}")
        print("  by hand")
        node("-e", "const { connect } = require('nats');\n(async () => {" + example("js", "nats.example.org", place)
             + "process.exit() })()")
        job = ended_by_key(w.nodes[0], "order-4711", "email")
        check((job["type"], content(job, "payload")) == ("email.send", b'{"to":"x"}'), f"Node.js: {job}")
        print("  Node.js")


def accounts(without=None):
    """For the server's configuration: a user with the permissions that the handbook names, but for one."""
    may = [[subject for subject in re.findall("`([^`]+)`", text) if subject != without]
           for text in handbook(r"the user needs to publish (.*?) and to subscribe\s(.*?)\.\s")]
    keeper = {"user": "keeper", "password": "s3cret",
              "permissions": {"publish": [*may[0], "answers"], "subscribe": may[1] or ["nothing"]}}
    return json.dumps({"WORK": {"jetstream": "enabled", "users": [keeper, {"user": "other", "password": "other"}]}})


@contextlib.contextmanager
def limited(**more):
    """A world whose nodes come as that user, and whose other clients may do all."""
    with broker(accounts=accounts(), no_auth_user="other") as one:
        open_url, one.url = one.url, one.url.replace("://", "://keeper:s3cret@")
        with post_office(broker=one, settings=("jobs.payload_max=16k",), mirror=True, **more) as w:
            one.url = open_url
            yield w, w.nodes[0]


def a_user_with_no_more_than_the_handbook_names():
    """All that skep does goes through: streams and consumers made, letters, doorbells, one too large, a reply."""
    with limited() as (w, node_), w.broker.connect() as server:
        answers = server.subscribe("answers")
        server.store("jobs.mail.small", b"small", {"job-reply-to": "answers"})
        server.store("jobs.mail.large", b"l" * 20000)
        check(server.next(answers), "an answer comes")
        id_ = w.http(node_).submit("mail.bell", {"by": "bell"})
        check(node_.finish(id_)["state"] == "completed" and metric(node_, "skep_doorbells_total") == 1, "by doorbell")
        check(jobs_when(node_, 1, state="dead")[0]["reason"] == "too_large", "what is too large")
        w.settle(3)
        check(w.letters() == (0, 0) and w.broker.keeps_refused(), "all is acknowledged, one is kept")
        check(not logged(node_, "permission"), f"it may all that it does: {logged(node_, 'permission')}")


def a_permission_that_is_missing():
    """It is named, once for all messages, and all is well when it is given."""
    with limited() as (w, node_):
        for n, (subject, named) in enumerate((("jobs.>", "jobs._bell"), ("$JS.ACK.JOBS.>", "$JS.ACK.JOBS.>"),
                                              ("_INBOX.>", "_INBOX.>"))):
            mark = os.path.getsize(node_.log_path)
            w.broker.server.configure(accounts=accounts(subject)).restart()
            wait_logged(node_, "transport is up" if n < 2 else "transport is down", after=mark)
            with w.broker.connect() as server:
                for m in range(5):
                    server.store("jobs.mail.small", b"%d-%d" % (n, m))
            id_ = w.http(node_).submit("mail.bell", {"by": n})
            print(f"  it says: {wait_logged(node_, 'lacks a permission', named, after=mark).split('msg=')[1]}")
            w.broker.server.configure(accounts=accounts()).restart()
            check(node_.finish(id_)["state"] == "completed", "the job ends")
            w.settle(6 * (n + 1))
            check(w.letters() == (0, 0) and w.rows() == {4: 6 * (n + 1)}, f"each ran once: {w.rows()}, {w.letters()}")
            lines = node_.log()[mark:].count("lacks a permission")
            check(lines == 1, f"told {lines} times")


# --- ids ---

def an_id_inside_and_outside_of_the_window():
    """The server drops what bears a known Nats-Msg-Id, whatever its body; once it has forgotten the id, skep's own rule
    holds."""
    with broker() as one:
        one.api("STREAM.CREATE.JOBS", {"name": "JOBS", "subjects": ["jobs.>"], "retention": "workqueue",
                                       "duplicate_window": 5 * SECOND})
        with mirrored(broker=one) as w, one.connect() as server, \
                written_down(w, [(b"once", "once", "confirmed"), (b"another", "once", "conflict")]):
            node = w.nodes[0]
            first = server.store("jobs.mail.a", b"once", message_id="once")
            inside = [server.store("jobs.mail.a", body, message_id="once") for body in (b"once", b"another, too early")]
            check(not first.get("duplicate") and all(said.get("duplicate") for said in inside), f"{first}, {inside}")
            check({said["seq"] for said in inside} == {first["seq"]}, "they are answered with the first one's number")
            ended_by_key(node, "once")

            def forgotten():
                return not server.store("jobs.mail.a", b"once", message_id="once").get("duplicate")
            wait_for("the server to forget the id", forgotten)
            wait_for("another body to be taken",
                     lambda: not server.store("jobs.mail.a", b"another", message_id="once").get("duplicate"))
            dead = jobs_when(node, 1, state="dead")
            jobs = all_jobs(node)
            check([(job["reason"], content(job, "payload")) for job in dead] == [("id_conflict", b"another")], f"{dead}")
            check(len(jobs) == 2 and len(jobs_when(node, 1, state="completed")) == 1, f"one ran, once: {jobs}")
            known = metric(node, "skep_letters_known_total")
            check(known >= 1, "the repeated one came and was recognised")
            print(f"  inside: {inside[0]}; outside: {known:.0f} known, {dead[0]['state']}({dead[0]['reason']})")


def letters_without_ids_that_are_delivered_again():
    """Between delivery and claim: the ledger stands still, skepd dies with what it took. Between claim and the server's
    note of the acknowledgement: the server dies right after the jobs have ended."""
    with broker(private=True) as one, post_office(broker=one, private=True) as w:
        node = w.nodes[0]
        w.ledger.server.pause()
        with Postman(w) as letters:
            for n in range(AGAIN):
                letters.drop("diary", '{"unclaimed":%d}' % n)
        held = wait_for("skepd to hold them", lambda: one.queues()["default"][1])
        w.kill(node)
        w.ledger.server.resume()
        node.start()
        w.settle(AGAIN)
        again = sum(row["num_redelivered"] for row in one.consumers().values())
        with Postman(w) as letters:
            for n in range(AGAIN):
                letters.drop("diary", '{"unacknowledged":%d}' % n)
        jobs_when(node, 2 * AGAIN, state="completed")
        one.server.kill()
        one.server.start()
        w.settle(2 * AGAIN)
        known = metric(node, "skep_letters_known_total")
        check(w.rows() == {4: 2 * AGAIN}, f"the ledger holds {w.rows()}")
        print(f"  {held} were held when skepd died ({again} marked as delivered again); {known:.0f} came again after the "
              f"server's death and were known")
        w.audit()


# --- subjects ---

QUEUES = ({"name": "mail", "types": ["mail", "mail.*"], "default_type": "mail.any"}, {"name": "deep", "types": ["deep.>"]},
          {"name": "bare", "default_type": "mail.bare"})


def subjects_of_every_depth():
    deep = "deep" + ".x" * 100
    with mirrored(queues=QUEUES, bound=4) as w, w.broker.connect() as server:
        node = w.nodes[0]
        for subject, queue in (("mail", "mail"), ("mail.one", "mail"), (deep, "deep"), ("bare", "bare")):
            with written_down(w, [(subject.encode(), None, "confirmed")], queue):
                server.store(f"jobs.{subject}", subject.encode())
        jobs = {body.decode(): (job["queue"], job["type"]) for body, job in
                by_payload(jobs_when(node, 4, state="completed")).items()}
        check(jobs == {"mail": ("mail", "mail.any"), "mail.one": ("mail", "mail.one"), deep: ("deep", deep),
                       "bare": ("bare", "mail.bare")}, f"queue and type of each: {jobs}")
        ids = [w.http(node).submit("mail.one", {"bell": queue}, queue=queue) for queue in ("mail", "deep", "bare")]
        check(all(node.finish(id_)["state"] == "completed" for id_ in ids), "doorbells find each queue")
        print(f"  {len(jobs)} letters: a name, a word under it, {deep.count('.')} words under it, a queue without types")


def subjects_that_nobody_consumes_are_named():
    with post_office(queues=QUEUES, bound=4, mirror=True) as w, w.broker.connect() as server:
        node = w.nodes[0]
        check(node.stop() == 0, "skepd ends with 0")
        for subject, count in (("mail.one.deeper", 3), ("post", 2), ("deep", 1), ("mail.fine", 1)):
            for n in range(count):
                server.store(f"jobs.{subject}", b"%d" % n)
        node.start()
        line = wait_logged(node, "jobs.mail.one.deeper", "jobs.post", "jobs.deep")
        check("mail.fine" not in line, f"what is consumed is not named: {line}")
        jobs_when(node, 1, state="completed")
        status, detail = doctor(node)["broker js"]
        check("jobs.post" in detail and status == "warn", f"doctor says {status}: {detail}")
        wait_for("six messages to stay in the stream", lambda: w.broker.messages() == 6)
        check(len(all_jobs(node)) == 1, "none of them is a job")
        print(f"  it says: {line.split('msg=')[1]}\n  doctor: {status}: {detail}")
        w.queues = (*QUEUES, {"name": "letters", "types": ["post"]})
        node.stop()
        node.write_config(w.config(node.name))
        node.start()
        check(len(jobs_when(node, 2, state="completed", queue="letters")) == 2, "with a queue for it they run")


run(letters_of_a_nodejs_service, lines_written_by_hand, blocks_that_other_readers_stumble_over,
    a_doorbell_that_is_forged_creates_nothing, a_body_over_the_servers_own_limit,
    the_examples_of_the_handbook, a_user_with_no_more_than_the_handbook_names, a_permission_that_is_missing,
    an_id_inside_and_outside_of_the_window, letters_without_ids_that_are_delivered_again, subjects_of_every_depth,
    subjects_that_nobody_consumes_are_named)
