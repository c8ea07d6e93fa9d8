"""Unique jobs: who holds a key, who loses, what the losers are told."""

import collections
import concurrent.futures

from lives import LINE, check, life, refused, run, value, wait_for


def a_thousand_at_once_make_one():
    with life(nodes=2, queue={"concurrency": 1}) as it:
        def one(n):
            return it.post("life.silent", {"ms": 600000, "n": n}, node=it.w.nodes[n % 2], unique_key="only")

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(one, range(1000)))
        bodies = collections.Counter((answer.status, answer.json["id"]) for answer in answers)
        check(len(bodies) == 1 and list(bodies)[0][0] == 201, f"a thousand equal answers: {bodies}")
        check(sum(it.counts().values()) == 1, f"one row: {it.counts()}")
        print(f"  1000 submissions over two nodes: {dict(bodies)}, rows {it.counts()}")
        it.stop_all()


def a_thousand_letters_make_one_run():
    with life() as it:
        total = 1000
        for n in range(total):
            it.send("life.silent", {"ms": 600000, "n": n}, unique_key="only")
        if not it.letters:
            check(sum(it.counts().values()) == 1, f"{it.counts()}")
            return it.stop_all()
        it.waiting(total)
        rows = it.counts()
        check(rows.get(6) == total - 1, f"{total - 1} are cancelled: {rows}")
        jobs = it.ask("GET", "/v1/jobs?state=cancelled&limit=1000")["jobs"]
        holder = next(job for job in it.ask("GET", "/v1/jobs?limit=1000")["jobs"] if job["state"] != "cancelled")
        for job in jobs:
            check(job["reason"] == "duplicate" and holder["id"] in job["error"]["text"], f"{job}")
        print(f"  {total} letters: {rows}; each loser names {holder['id']}")
        it.stop_all()


def the_scope_says_what_must_be_equal():
    with life(queues=({"name": "other", "types": ["other.>"]},)) as it:
        base = dict(delay="1h", unique_key="k")
        first = it.submit("echo", 1, **base)
        check(it.submit("echo", 2, **base) == first, "the payload is not in the default scope")
        check(it.submit("noop", 1, **base) != first, "the type is")
        check(it.submit("echo", 1, queue="other", **base) != first, "so is the queue")
        check(it.submit("noop", 1, unique_scope="queue", **base) == it.submit("echo", 9, unique_scope=["queue"], **base),
              "without the type in the scope any type counts")
        by_payload = it.submit("echo", {"a": 1}, delay="1h", unique_scope="type,payload")
        check(it.submit("echo", {"a": 1}, delay="1h", unique_scope="type,payload") == by_payload, "no key, same payload")
        check(it.submit("echo", {"a": 2}, delay="1h", unique_scope="type,payload") != by_payload, "another payload")


def the_key_is_free_when_its_job_has_ended():
    with life() as it:
        first = it.submit("echo", 1, unique_key="k")
        it.node.finish(first)
        second = it.submit("echo", 2, unique_key="k")
        check(second != first, "it ended, so the key is free")
        it.node.finish(second)
        third = it.submit("echo", 3, unique_key="p", unique_for="1h")
        it.node.finish(third)
        check(it.submit("echo", 4, unique_key="p", unique_for="1h") == third, "its period has not passed")
        states = it.submit("echo", 5, unique_key="s", unique_states="all")
        it.node.finish(states)
        check(it.submit("echo", 6, unique_key="s", unique_states="all") == states, "every state blocks, if asked for")
        short = it.submit("echo", 7, unique_key="q", unique_for="300ms")
        it.node.finish(short)
        wait_for("the period to pass", lambda: it.submit("echo", 8, unique_key="q", unique_for="300ms") != short)


def the_later_one_may_replace_the_payload():
    with life() as it:
        first = it.submit("echo", {"v": 1}, delay="1h", unique_key="k", unique_conflict="replace")
        check(it.submit("echo", {"v": 2}, delay="2h", unique_key="k", unique_conflict="replace") == first, "one job")
        job = it.ask("GET", f"/v1/jobs/{first}")
        check(job["payload"] == {"v": 2} and job["state"] == "scheduled", f"{job}")
        check(it.submit("echo", {"v": 3}, unique_key="k", unique_conflict="replace") == first, "now")
        job = it.node.finish(first)
        check(job["state"] == "completed" and job["result"] == {"v": 3}, f"it ran with the last payload: {job}")


def letters_replace_too():
    with life() as it:
        first = it.send("echo", {"v": 1}, delay="1h", unique_key="k", unique_conflict="replace")
        it.job(first)
        second = it.send("echo", {"v": 2}, unique_key="k", unique_conflict="replace")
        job = it.ended(first)
        check(job["state"] == "completed" and value(job, "result") == {"v": 2}, f"{job}")
        if LINE != "none":
            loser = it.job(second)
            check(loser["state"] == "cancelled" and loser["reason"] == "duplicate", f"{loser}")


def mistakes_are_named():
    with life() as it:
        for field, value, *words in [
                ("unique_key", "", "empty"), ("unique_key", "x" * 256, "255"), ("unique_scope", "colour", "payload"),
                ("unique_states", "asleep", "pending"), ("unique_for", "a while", "30s"),
                ("unique_conflict", "fight", "keep", "replace")]:
            refused(it, "POST", "/v1/jobs", {"type": "echo", "payload": 1, "unique_key": "k", field: value}, field, *words)
        refused(it, "POST", "/v1/jobs", {"type": "echo", "payload": 1, "unique_for": "1h"}, "unique_key")
        check(it.counts() == {}, "nothing of it was written")


run(a_thousand_at_once_make_one, a_thousand_letters_make_one_run, the_scope_says_what_must_be_equal,
    the_key_is_free_when_its_job_has_ended, the_later_one_may_replace_the_payload, letters_replace_too,
    mistakes_are_named)
