"""Large payloads reach their handlers whole, whatever the jobs beside them do with theirs: keep them, write to them, die
over them; and when skepd itself is killed."""

import base64

from harness import Node, check, run, wait_for

QUICK = ["queues.default.retry.base=20ms", "queues.default.retry.max_attempts=2", "handlers.workers=2"]
BYTES = bytes(range(256)) * 2000


def body(number, most):
    """As large.so wants it: each byte one more than the one before. Those of over 256 KiB travel by themselves."""
    return BYTES[number % 256:][:(33 + number * 37 % most) << 10]


def send(node, type_, number, most=280):
    return node.enqueue(type_, payload_base64=base64.b64encode(body(number, most)).decode())


def whole(node, ids):
    for id_ in ids:
        job = node.finish(id_)
        check(job["state"] == "completed", f"{job.get('error')} in {job['state']}")
        check(job["attempt"] == 1, f"it lost an attempt to a neighbour: {job['attempts']}")


def they_arrive_whole_beside_those_who_spoil_theirs():
    with Node(villains=["large"], settings=QUICK).start() as node:
        node.serving("large.so")
        types = ("large.look", "large.keep", "large.unlock")
        good, bad = [], []
        for number in range(240):
            # Who keeps one that travelled by itself dies of it: the memory is gone.
            good.append(send(node, types[number % 3], number, most=200))
            if number % 60 == 30:
                bad.append(send(node, "large.crash" if number % 120 == 30 else "large.write", number))
        for id_ in bad:
            job = node.finish(id_)
            check(job["state"] == "dead" and job["error"]["class"] == "crashed", f"{job}")
        whole(node, good)


def send_at_once(node):
    """Three hundred, gathered while their queue is paused."""
    node.serving("large.so")
    check(node.request("POST", "/v1/queues/default/pause").status == 200, "paused")
    ids = [send(node, "large.look", number) for number in range(300)]
    check(node.request("POST", "/v1/queues/default/resume").status == 200, "resumed")
    return ids


def they_wait_while_the_queue_is_paused_and_come_all_at_once():
    with Node(villains=["large"], settings=QUICK).start() as node:
        ids = send_at_once(node)
        whole(node, ids)


def they_come_again_when_skepd_was_killed():
    with Node(villains=["large"], settings=QUICK).start() as node:
        ids = send_at_once(node)
        wait_for("some to have ended", lambda: node.job(ids[20])["state"] == "completed")
        node.kill()
        node.start()
        for id_ in ids:
            job = node.finish(id_)
            check(job["state"] == "completed", f"{job.get('error')} in {job['state']}")


run(they_arrive_whole_beside_those_who_spoil_theirs, they_wait_while_the_queue_is_paused_and_come_all_at_once,
    they_come_again_when_skepd_was_killed)
