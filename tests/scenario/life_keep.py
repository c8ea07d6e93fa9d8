"""How long ended jobs stay, what stays longer, and that pruning goes on under load."""

import json

from lives import LINE, check, life, metric, run, wait_for

SHORT = {"completed": "1s", "dead": "1s", "cancelled": "1s"}


def begun_later(it, payload, **fields):
    """A job that waits until it is told to begin; one that begins at once may have gone before anybody saw it."""
    job = it.job(it.send("echo", payload, delay="1h", **fields))
    return job["id"], lambda: it.ask("POST", f"/v1/jobs/{job['id']}/retry")


def rows_go_by_state_and_queue():
    keep = {"name": "keep", "types": ["keep.>"], "retention": {"completed": "forever"}}
    with life(queues=(keep,), retention={**SHORT, "dead": "forever"}) as it:
        done, begin = begun_later(it, {"n": 1})
        begin()
        dead = it.ended(it.send("life.fail", {}, max_attempts=1))
        kept = it.submit("echo", {"n": 2}, queue="keep")
        waits = it.submit("echo", {"n": 3}, delay="1h")
        cancelled = it.submit("echo", {"n": 4}, delay="1h")
        it.ask("DELETE", f"/v1/jobs/{cancelled}")
        it.node.finish(kept)
        wait_for("the completed and the cancelled one to go", lambda: all(
            it.node.get(f"/v1/jobs/{id_}").status == 404 for id_ in (done, cancelled)))
        for id_ in (dead["id"], kept, waits):
            check(it.node.get(f"/v1/jobs/{id_}").status == 200, "the others stay")
        wait_for("it to be counted", lambda: metric(it.node, "skep_jobs_pruned_total") == 2)
        left = it.w.select("select count(*) from attempts")[0][0]
        check(int(left) == 1, f"{left} attempts are left: the dead job's")


def a_key_outlives_its_row():
    with life(retention=SHORT) as it:
        first, begin = begun_later(it, {"n": 1}, key="order-1")
        begin()
        wait_for("its row to go", lambda: it.node.get(f"/v1/jobs/{first}").status == 404)
        body = b'{"type":"echo","key":"order-1","payload":%s}' % (b'{"n": 1}' if LINE == "none" else b'{"n":1}')
        again = it.node.post(body)
        check(again.status in (200, 201) and again.json["id"] == first, f"the same job: {again.status} {again.json}")
        other = it.post("echo", {"n": 2}, key="order-1")
        check(other.status == 422, f"another payload under its key: {other.status}")
        if it.letters:
            it.send("echo", {"n": 1}, key="order-1")
            it.job(it.send("echo", {"n": 9}, key="after", delay="1h"))
        check(it.counts().get(4, 0) <= 1, f"nothing ran again: {it.counts()}")


def pruning_goes_on_while_jobs_run():
    with life(retention={"completed": "1s", "dead": "forever", "cancelled": "1s"}) as it:
        total = 0
        for page in range(8):
            lines = "".join(json.dumps({"type": "noop", "payload": n}) + "\n" for n in range(2500))
            it.node.request("POST", "/v1/jobs", lines, {"Content-Type": "application/x-ndjson"}, timeout=120)
            total += 2500
        wait_for("all to run and go", lambda: it.counts() == {}, 300)
        wait_for("all to be counted", lambda: metric(it.node, "skep_jobs_pruned_total") >= total)
        check(metric(it.node, "skep_jobs_pruned_total") == total, "each was pruned once")
        check(it.node.post({"type": "echo", "payload": 1}).status == 201, "and the next is taken")
        if LINE == "none":
            print(f"  {total} jobs ran and were pruned meanwhile")


run(rows_go_by_state_and_queue, a_key_outlives_its_row, pruning_goes_on_while_jobs_run)
