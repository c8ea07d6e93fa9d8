"""Plug-ins come and go while skepd runs; what is broken is refused with its reason and disturbs nobody."""

import os
import time

from harness import BUILD, HANDLERS, VILLAINS, Node, check, run, wait_for


def a_type_without_a_handler_waits_and_runs_once_its_plugin_is_dropped_in():
    with Node(handlers=["sleep"]).start() as node:
        id_ = node.enqueue("echo", {"late": True})
        other = node.enqueue("sleep", {"ms": 1})
        check(node.finish(other)["state"] == "completed", "types beside it are not blocked")
        job = wait_for("the reason to show", lambda: (lambda job: job if job.get("reason") else None)(node.job(id_)))
        check(job["state"] == "pending" and job["reason"] == "no_handler", f"{job}")
        node.drop(os.path.join(HANDLERS, "echo.so"))
        job = node.finish(id_)
        check(job["state"] == "completed" and job["result"] == {"late": True}, f"{job}")


def broken_plugins_are_refused_with_the_reason():
    expected = {
        "ctor-crash": "SIG",
        "ctor-hang": "",
        "ctor-fork": "process",
        "ctor-exit": "exit",
        "abi": "ABI",
        "no-symbol": "skep_plugin",
    }
    with Node(villains=list(expected), settings=["handlers.probe_timeout=10s"]).start() as node:
        busy = [node.enqueue("sleep", {"ms": 50}) for _ in range(40)]
        for name, word in expected.items():
            reason = node.refused(name + ".so")
            check(word in reason, f"{name}: the reason does not say {word!r}: {reason}")
            wait_for(f"{name} to be in the log", lambda: name + ".so" in node.log())
        listed = node.skep("handlers", "ls", check_code=0).stdout
        check(all(name in listed for name in expected), listed)
        for id_ in busy:
            job = node.finish(id_)
            check(job["state"] == "completed" and job["attempt"] == 1, f"{job}")


def truncated_and_foreign_files_are_refused():
    with Node().start() as node:
        with open(os.path.join(HANDLERS, "echo.so"), "rb") as file:
            whole = file.read()
        for size in (0, 1, 63, 64, 1000, len(whole) // 2, len(whole) - 1000):
            path = os.path.join(node.root, f"cut-{size}.so")
            with open(path, "wb") as file:
                file.write(whole[:size])
            node.drop(path)
            check(node.refused(f"cut-{size}.so"), "a reason is given")
        foreign = bytearray(whole)
        foreign[18] = 0xB7  # e_machine: AArch64
        path = os.path.join(node.root, "foreign.so")
        with open(path, "wb") as file:
            file.write(foreign)
        node.drop(path)
        reason = node.refused("foreign.so")
        check("machine" in reason or "architecture" in reason, reason)
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "the others serve on")


def a_replaced_plugin_takes_new_jobs_while_the_old_one_finishes():
    with Node(handlers=["sleep"], settings=["handlers.workers=1"]) as node:
        node.drop(os.path.join(VILLAINS, "swap-v1.so"), "swap.so")
        node.drop(os.path.join(BUILD, "tests", "scenario", "life.so"))
        node.start()
        node.serving("swap.so")
        node.serving("life.so")
        type_ = node.plugins()["swap.so"]["types"]
        first = node.finish(node.enqueue(type_, {}))
        gate = os.path.join(node.root, "gate")
        slow = node.enqueue("life.silent", {"ms": 600000, "gate": gate})
        node.until(slow, "running")
        build = node.plugins()["swap.so"]["build"]
        node.drop(os.path.join(VILLAINS, "swap-v2.so"), "swap.so")
        wait_for("the new build to serve", lambda: node.plugins()["swap.so"]["build"] != build)
        second = node.finish(node.enqueue(type_, {}))
        check(first.get("result", first.get("result_base64")) != second.get("result", second.get("result_base64")),
              f"the new code ran: {first} {second}")
        check(node.job(slow)["state"] == "running", "the old worker still runs its job")
        open(gate, "w").close()
        job = node.finish(slow)
        check(job["state"] == "completed" and job["attempt"] == 1, f"the old worker finished: {job}")


def a_deleted_plugin_leaves():
    with Node().start() as node:
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "serves first")
        os.unlink(os.path.join(node.handlers, "echo.so"))
        wait_for("echo.so to leave", lambda: "echo.so" not in node.plugins())
        id_ = node.enqueue("echo", 2)
        wait_for("the reason to show", lambda: node.job(id_).get("reason") == "no_handler")
        node.drop(os.path.join(HANDLERS, "echo.so"))
        check(node.finish(id_)["state"] == "completed", "runs when it is back")


def a_dropped_in_plugin_serves_soon():
    with Node(handlers=["sleep"]).start() as node:
        started = time.monotonic()
        node.drop(os.path.join(HANDLERS, "echo.so"))
        node.serving("echo.so")
        print(f"  served after {time.monotonic() - started:.2f} s")


run(a_type_without_a_handler_waits_and_runs_once_its_plugin_is_dropped_in, broken_plugins_are_refused_with_the_reason,
    truncated_and_foreign_files_are_refused, a_replaced_plugin_takes_new_jobs_while_the_old_one_finishes,
    a_deleted_plugin_leaves, a_dropped_in_plugin_serves_soon)
