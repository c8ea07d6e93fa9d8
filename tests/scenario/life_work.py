"""What a running job leaves: progress, results, replies, checkpoints; and waiting for its end."""

import contextlib
import json

from lives import LINE, Skip, check, life, refused, run, wait_for


def it_goes_on_where_it_was():
    with life() as it:
        job = it.ended(it.send("life.steps", {"steps": 6, "die_at": 4}))
        check(job["state"] == "completed" and job["attempt"] == 2, f"{job}")
        check(job["result"] == "from 4 to 6", f"the second attempt went on from the checkpoint: {job['result']}")


def a_requeued_job_goes_on_too():
    with life() as it:
        key = it.send("life.steps", {"steps": 6, "die_at": 4}, max_attempts=1)
        job = it.ended(key)
        check(job["state"] == "dead" and job["checkpoint_size"] == 1, f"{job}")
        it.ask("POST", f"/v1/jobs/{job['id']}/retry")
        # its first attempt again, and it would abort again before step 4, which is where it begins
        job = wait_for("its end", lambda: (lambda j: j if j["generation"] == 1 and j["state"] in ("dead", "completed")
                                           else None)(it.by_key(key)))
        check(job["generation"] == 1, f"{job}")


def the_checkpoint_survives_its_node():
    with life(nodes=2, settings=("handlers.workers=1",)) as it:
        key = it.send("life.steps", {"steps": 6, "hold_at": 4})  # four words within milliseconds, then none: the last one counts
        job = wait_for("a few steps", lambda: (lambda j: j if j and j.get("progress", {}).get("done", 0) >= 4 else None)(
            it.by_key(key)))
        holder = wait_for("one that runs it", lambda: next((
            node for node in it.w.nodes if any(row.get("job_id") == job["id"] for row in node.workers())), None))
        other = next(node for node in it.w.nodes if node is not holder)
        it.w.kill(holder)
        it.w.nodes.insert(0, it.w.nodes.pop(it.w.nodes.index(other)))
        job = it.ended(key)
        start = int(job["result"].split()[1])
        print(f"  killed after {job['attempts'][0]['class']}; the other node went on from step {start}")
        check(job["state"] == "completed" and start >= 3, f"{job['result']}")


def progress_is_shown():
    with life(nodes=2) as it:
        gate, let_go = it.gate()
        key = it.send("life.lively", {"ms": 600000, "gate": gate})
        seen = []

        def look():
            job = it.by_key(key)
            if job and job.get("progress"):
                seen.append(job["progress"]["done"])
            return len(set(seen)) >= 3
        wait_for("progress", look)
        check(seen == sorted(seen), f"it grew: {seen[:10]}")
        let_go()
        check(it.ended(key)["state"] == "completed", "it ends")
        check(not it.by_key(key).get("progress"), "and went when the job completed")


def a_caller_waits_for_the_result():
    with life() as it:
        answer = it.node.post({"type": "echo", "payload": {"x": 1}}, {"Prefer": "wait=20"})
        check(answer.json["state"] == "completed" and answer.json["result"] == {"x": 1}, f"{answer.json}")
        said = it.node.skep("enqueue", "echo", '{"y":2}', "--wait")
        check(json.loads(said.stdout) == {"y": 2}, f"{said}")
        dead = it.node.skep("enqueue", "life.fail", "{}", "--wait", "--max-attempts", "1")
        check(dead.returncode == 1 and "refused by" in dead.stderr, f"{dead}")


def replies_come(it, listen, number):
    """(correlation id, headers, body) of so many replies."""
    got = []
    wait_for("the replies", lambda: (got.extend(listen()), len(got) >= number)[1])
    return {row[0]: row[1:] for row in got}


def whoever_asked_is_told():
    if LINE == "none":
        with life() as it:
            refused(it, "POST", "/v1/jobs", {"type": "echo", "payload": 1, "reply_to": "somewhere"}, "reply_to",
                    "transport")
        return
    with life() as it, listener(it.w.broker) as (address, listen):
        it.send("echo", {"x": 1}, reply_to=address, correlation_id="good")
        it.send("life.fail", {"n": 4}, max_attempts=1, reply_to=address, correlation_id="bad")
        it.submit("echo", {"x": 3}, reply_to=address, correlation_id="http")
        replies = replies_come(it, listen, 3)
        headers, body = replies["good"]
        check(headers["job-state"] == "completed" and json.loads(body) == {"x": 1}, f"{replies['good']}")
        headers, body = replies["bad"]
        check(headers["job-state"] == "dead" and json.loads(body)["error"]["class"] == "failed", f"{replies['bad']}")
        check(json.loads(replies["http"][1]) == {"x": 3}, f"{replies['http']}")


def who_asked_is_told_of_what_never_ran():
    if LINE == "none":
        raise Skip("without a broker there is no way for replies")
    slow = {"name": "slow", "types": ["slow.>"], "max_waiting": 2, "when_full": "drop_oldest"}
    with life(queues=(slow,)) as it, listener(it.w.broker) as (address, listen):
        def ask(mark, **fields):
            return it.submit(fields.pop("type_", "life.lively"), {"ms": 1}, reply_to=address, correlation_id=mark, **fields)
        it.ask("DELETE", f"/v1/jobs/{ask('one', delay='1h')}")
        for mark in ("many-1", "many-2"):
            ask(mark, delay="1h", tags=["many"])
        it.ask("POST", "/v1/jobs/cancel", {"filter": {"tag": "many"}})
        for mark in ("first", "second", "third"):
            ask(mark, type_="slow.none")
        it.submit("life.lively", {}, unique_key="only", delay="1h")
        it.send("life.lively", {}, unique_key="only", reply_to=address, correlation_id="twin")
        it.send("life.lively", {}, priority="no number", reply_to=address, correlation_id="bad")
        wanted = {"one": ("cancelled", "operator"), "many-1": ("cancelled", "operator"),
                  "many-2": ("cancelled", "operator"), "first": ("cancelled", "dropped"),
                  "twin": ("cancelled", "duplicate"), "bad": ("dead", "malformed")}
        replies = replies_come(it, listen, len(wanted))
        for mark, (state, reason) in wanted.items():
            check(mark in replies, f"{mark} was told: {sorted(replies)}")
            headers, body = replies[mark]
            error = json.loads(body)["error"]
            check((headers["job-state"], headers["job-reason"]) == (state, reason), f"{mark}: {headers}")
            check(error["class"] == reason and error["text"], f"{mark}: {body}")
        check("held by job" in replies["twin"][1].decode(), replies["twin"][1])


def listener(broker):
    """A place for replies: (its address, a function that gives those that came since)."""
    return amqp_listener(broker) if LINE == "amqp" else nats_listener(broker)


@contextlib.contextmanager
def amqp_listener(broker):
    with broker.declare("replies") as client:
        def listen():
            got = []
            while True:
                _, about, body = client.channel.basic_get("replies", auto_ack=True)
                if about is None:
                    return got
                got.append((about.correlation_id, about.headers or {}, body))
        yield "replies", listen


@contextlib.contextmanager
def nats_listener(broker):
    names = ("correlation-id", "job-id", "job-state", "job-reason", "job-error")
    with broker.connect() as connection:
        sid = connection.subscribe("answers.here")
        connection.flush()

        def listen():
            message = connection.next(sid, patience=0.2)
            return [] if message is None else [(message.header("correlation-id"),
                                                {name: message.header(name) for name in names}, message.body)]
        yield "answers.here", listen


run(it_goes_on_where_it_was, a_requeued_job_goes_on_too, the_checkpoint_survives_its_node, progress_is_shown,
    a_caller_waits_for_the_result, whoever_asked_is_told, who_asked_is_told_of_what_never_ran)
