"""Handlers that crash, exit, abort, loop and overflow their stack: the job dies of it after three strikes, its neighbours
notice nothing, skepd keeps its pid."""

import os
import time

from harness import BUILD, Node, check, run, wait_for

FAST = ["queues.default.retry.base=20ms", "queues.default.retry.max_attempts=10", "handlers.workers=3",
        "handlers.cancel_grace=200ms"]


def dies_of(plugin, class_, words, settings=(), **fields):
    """Three strikes and out, with the class and a text that says what happened."""
    with Node(villains=[plugin], settings=[*FAST, *settings]).start() as node:
        node.serving(plugin + ".so")
        pid = node.pid
        neighbours = [node.enqueue("sleep", {"ms": 20}) for _ in range(40)]
        types = node.plugins()[plugin + ".so"]["types"]
        job = node.finish(node.enqueue(types, {}, **fields))
        check(job["state"] == "dead" and job["reason"] == "crashed", f"{job}")
        tries = job["attempts"] + [job["error"]]
        check(len(tries) == 3, f"three tries: {tries}")
        for one in tries:
            check(one["class"] == class_, f"{one}")
            check(any(word in one["text"] for word in words), f"none of {words} in: {one['text']}")
        for id_ in neighbours:
            near = node.finish(id_)
            check(near["state"] == "completed" and near["attempt"] == 1, f"a neighbour lost an attempt: {near}")
        check(node.process.poll() is None and node.pid == pid, "skepd lives under its old pid")
        return tries


def a_null_dereference_is_a_crash_with_its_backtrace():
    tries = dies_of("null", "crashed", ["SIGSEGV"])
    check("null.so" in tries[0]["text"] or "run" in tries[0]["text"], f"a backtrace: {tries[0]['text']}")


def exit_0_is_not_success():
    dies_of("exit0", "crashed", ["exit"])


def abort_is_a_crash():
    dies_of("abort", "crashed", ["SIGABRT"])


def a_stack_overflow_is_a_crash():
    dies_of("overflow", "crashed", ["SIGSEGV"])


def an_endless_loop_is_killed_past_its_time_out():
    dies_of("loop", "timed_out", [""], timeout="200ms")


def a_worker_that_closes_everything_hurts_only_itself():
    with Node(villains=["close-all"], settings=FAST).start() as node:
        node.serving("close-all.so")
        job = node.finish(node.enqueue(node.plugins()["close-all.so"]["types"], {}))
        check(job["state"] in ("dead", "completed"), f"{job}")
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "others run on")


def slow_jobs_do_not_hold_up_fast_ones_behind_them():
    with Node(settings=["handlers.workers=2"]).start() as node:
        for _ in range(200):  # the node learns that this queue is fast
            node.enqueue("noop")
        slow = node.enqueue("sleep", {"ms": 600000})
        fast = [node.enqueue("noop") for _ in range(200)]
        for id_ in fast:
            node.finish(id_)
        check(node.job(slow)["state"] == "running", "the slow one still runs")
        node.request("DELETE", "/v1/jobs/" + slow)
        wait_for("the slow one to be cancelled", lambda: node.job(slow)["state"] == "cancelled")


def cancel_of_a_waiting_job_is_final():
    with Node().start() as node:
        due = time.monotonic() + 5
        id_ = node.enqueue("echo", 1, delay="5s")
        answer = node.request("DELETE", "/v1/jobs/" + id_)
        check(answer.status == 200, f"{answer.status} {answer.body}")
        job = node.job(id_)
        check(job["state"] == "cancelled" and job["claim"] == 0, f"{job}")
        wait_for("its time to have passed", lambda: time.monotonic() > due + 1)
        check(node.job(id_)["claim"] == 0, "it never started")
        check(node.request("DELETE", "/v1/jobs/" + id_).status == 409, "a second cancel meets a terminal job")
        check(node.request("DELETE", "/v1/jobs/01234567-89ab-7def-8123-456789abcdef").status == 404, "no such job")


def cancel_of_a_running_job_asks_then_kills():
    with Node(villains=["stubborn"], settings=["handlers.cancel_grace=300ms"]).start() as node:
        node.serving("stubborn.so")
        polite = node.enqueue("sleep", {"ms": 600000})
        node.until(polite, "running")
        answer = node.request("DELETE", "/v1/jobs/" + polite)
        check(answer.status == 202, f"{answer.status} {answer.body}")
        job = node.finish(polite)
        check(job["state"] == "cancelled" and job["reason"] == "operator", f"{job}")
        deaf = node.enqueue(node.plugins()["stubborn.so"]["types"], {})
        node.until(deaf, "running")
        wait_for("it to begin", lambda: "it never ends" in node.log())  # what has not begun can be taken back
        before = wait_for("its worker", lambda: {row["pid"] for row in node.workers() if row.get("job_id") == deaf})
        check(node.request("DELETE", "/v1/jobs/" + deaf).status == 202, "asked")
        job = node.finish(deaf)
        check(job["state"] == "cancelled" and job["error"]["class"] == "cancelled", f"{job}")
        wait_for("its worker to be gone", lambda: not before & {row["pid"] for row in node.workers()})


def sigterm_drains():
    with Node(settings=["node.shutdown_grace=60s", "handlers.workers=1"]).start() as node:
        running = node.enqueue("sleep", {"ms": 5000})
        node.until(running, "running")
        time.sleep(1)
        behind = [node.enqueue("sleep", {"ms": 10}) for _ in range(20)]
        check(node.stop() == 0, f"skepd ended with {node.process.returncode}")
        node.start()
        job = node.finish(running)
        check(job["state"] == "completed" and job["attempt"] == 1, f"what ran was let finish: {job}")
        for id_ in behind:
            job = node.finish(id_)
            check(job["state"] == "completed" and job["attempt"] == 1, f"what had not started spent nothing: {job}")


def sigterm_stops_what_outlives_the_grace():
    # Of its end a second is for the ledger. A machine that stands still just then is told of in the log, and is not judged.
    check(any(stopped_at_the_end_of_the_grace() for _ in range(5)), "the ledger takes what a node that ends has to say")


def stopped_at_the_end_of_the_grace():
    """False when the ledger was too slow."""
    with Node(settings=["node.shutdown_grace=1s", "handlers.cancel_grace=200ms"]).start() as node:
        node.drop(os.path.join(BUILD, "tests", "scenario", "life.so"))
        node.serving("life.so")
        id_ = node.enqueue("life.lively", {"ms": 600000, "deaf": 1}, max_attempts=1)
        # claimed is not begun: what had not would rightly be given back
        wait_for("it to be under way", lambda: node.job(id_).get("progress"))
        code = node.stop()
        if "did not take everything in time" in node.log():
            return False
        check(code == 0, f"skepd ended with {code}")
        node.start()
        job = node.job(id_)
        check(job["state"] == "dead" and job["error"]["class"] == "stopped", f"{job}")
        return True


run(a_null_dereference_is_a_crash_with_its_backtrace, exit_0_is_not_success, abort_is_a_crash,
    a_stack_overflow_is_a_crash, an_endless_loop_is_killed_past_its_time_out,
    a_worker_that_closes_everything_hurts_only_itself, slow_jobs_do_not_hold_up_fast_ones_behind_them,
    cancel_of_a_waiting_job_is_final, cancel_of_a_running_job_asks_then_kills, sigterm_drains,
    sigterm_stops_what_outlives_the_grace)
