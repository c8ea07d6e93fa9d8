"""Dead letters and operators: groups, requeue by filter, edit, export and import, purge; cancel; explain; reconcile."""

import json
import os

from lives import LINE, check, life, refused, run, wait_for


def died(it, number, type_="life.fail", first=0, **fields):
    keys = [it.send(type_, {"n": n}, max_attempts=1, **fields) for n in range(first, first + number)]
    return [it.ended(key) for key in keys]


def operation(it, path, body):
    """Runs one to its end; returns its last look."""
    begun = it.ask("POST", path, body, status=202)
    return wait_for("its end", lambda: (lambda o: o if o["over"] else None)(
        it.ask("GET", f"/v1/operations/{begun['id']}")))


def the_dead_are_grouped_by_what_killed_them():
    with life() as it:
        died(it, 12)
        died(it, 2, "life.steps", first=0)
        keys = [it.send("life.steps", {"steps": 2, "die_at": 0}, max_attempts=1) for _ in range(3)]
        [it.ended(key) for key in keys]
        groups = it.ask("GET", "/v1/dead/groups")["groups"]
        seen = [(group["type"], group["error"], group["count"]) for group in groups]
        print("  " + "; ".join(f"{group['count']} x {group['type']} {group['error']}: {group['text'][:50]!r}"
                               for group in groups))
        check(("life.fail", "failed", 12) in seen, f"texts that differ in numbers alone are one group: {seen}")
        check(("life.steps", "crashed", 3) in seen, f"{seen}")
        one = next(group for group in groups if group["count"] == 12)
        same = it.ask("GET", f"/v1/jobs?state=dead&fingerprint={one['fingerprint']}")["jobs"]
        check(len(same) == 12, f"{len(same)} have its fingerprint")


def they_are_requeued_by_filter():
    with life() as it:
        ids = {job["id"] for job in died(it, 30)}
        others = died(it, 5, first=100, tags=["keep"])
        wish = {"filter": {"type": "life.fail", "before": others[0]["created_at"]}}
        count = it.ask("POST", "/v1/dead/requeue", {**wish, "dry_run": True})
        check(count["count"] == 30, f"{count}")
        check(it.counts() == {5: 35}, "a dry run changes nothing")
        over = operation(it, "/v1/dead/requeue", {**wish, "stop_when": 0})
        check(over["done"] == 30 and not over.get("note"), f"{over}")
        wait_for("them to die again", lambda: it.counts() == {5: 35} and all(
            it.ask("GET", f"/v1/jobs/{id_}")["generation"] == 1 for id_ in list(ids)[:3]))
        check(it.ask("GET", f"/v1/jobs/{others[0]['id']}")["generation"] == 0, "the others stayed")
        said = it.ask("POST", "/v1/dead/requeue", {"filter": {}}, status=(400, 422))
        check("all" in json.dumps(said), f"without a filter it wants a word more: {said}")


def it_stops_when_too_many_die_again():
    with life() as it:
        died(it, 120)
        over = operation(it, "/v1/dead/requeue", {"filter": {"type": "life.fail"}, "rate": 12, "stop_when": 0.2})
        print(f"  {over['done']} of 120 were requeued, {over['died_again']} died again: {over['note']}")
        check(20 <= over["done"] < 120 and over.get("note"), f"it stopped by itself: {over}")


def without_a_rate_it_watches_by_itself():
    with life() as it:
        lines = "".join('{"type":"life.fail","payload":{"n":%d},"max_attempts":1}\n' % n for n in range(2000))
        it.node.request("POST", "/v1/jobs", lines, {"Content-Type": "application/x-ndjson"})
        wait_for("them to die", lambda: it.counts() == {5: 2000})
        over = operation(it, "/v1/dead/requeue", {"filter": {"type": "life.fail"}})
        print(f"  {over['done']} of 2000 were requeued, {over['died_again']} died again: {over['note']}")
        check(20 <= over["done"] < 2000 and over.get("note"), f"it stopped by itself: {over}")


def one_is_edited_and_submitted_anew():
    with life() as it:
        old = died(it, 1)[0]
        said = it.node.skep("dead", "edit", old["id"], '{"until":1}', check_code=0)
        job = it.node.finish(said.stdout.strip())
        check(job["state"] == "completed" and job["payload"] == {"until": 1}, f"{job}")
        check(job["parent_id"] == old["id"], f"it names its parent: {job}")
        check(it.ask("GET", f"/v1/jobs/{old['id']}")["state"] == "dead", "the old one stays")


def an_export_is_imported_once():
    with life() as it:
        jobs = died(it, 20, tags=["a", "b"])
        said = it.node.skep("dead", "export", "-t", "life.fail", check_code=0)
        lines = [json.loads(line) for line in said.stdout.splitlines()]
        check({line["id"] for line in lines} == {job["id"] for job in jobs}, "every dead job is a line")
        path = os.path.join(it.w.folder, "dead.ndjson")
        with open(path, "w", encoding="utf-8") as file:
            file.write(said.stdout)
        it.node.skep("dead", "purge", "--all", check_code=0)
        check(it.counts() == {}, f"purged: {it.counts()}")
        for _ in range(2):
            it.node.skep("dead", "import", path, check_code=0)
        wait_for("the new ones to end", lambda: it.counts() == {5: 20})
        again = it.ask("GET", "/v1/jobs?whole=true&limit=50")["jobs"]
        check({job["parent_id"] for job in again} == {job["id"] for job in jobs}, "each names its parent")
        check(all(job["tags"] == ["a", "b"] for job in again), "and has what it had")


def many_are_cancelled_by_a_filter():
    with life(nodes=2, settings=("handlers.workers=1",)) as it:
        ids = [it.submit("life.silent", {"ms": 600000, "n": n}, tags=["batch-7"]) for n in range(30)]
        wait_for("some to run", lambda: it.counts().get(2))
        it.submit("echo", {"n": 1}, delay="1h")
        over = operation(it, "/v1/jobs/cancel", {"filter": {"tag": "batch-7"}})
        jobs = [it.node.finish(id_) for id_ in ids]
        check(all(job["state"] == "cancelled" for job in jobs), "all are cancelled, running ones too")
        print(f"  {over['done']} cancelled, {over['asked']} of them while they ran")
        check(it.counts().get(0) == 1, "others are not")


def a_running_job_is_cancelled_from_another_node():
    with life(nodes=2, settings=("handlers.workers=1",)) as it:
        key = it.send("life.silent", {"ms": 600000})
        job = wait_for("it to run", lambda: (lambda j: j if j and j["state"] == "running" else None)(it.by_key(key)))
        other = next(node for node in it.w.nodes
                     if not any(row.get("job_id") == job["id"] for row in node.workers()))
        check(other.request("DELETE", f"/v1/jobs/{job['id']}").status == 202, "it is asked")
        job = it.ended(key)
        check(job["state"] == "cancelled" and job["reason"] == "operator", f"{job}")


def why_is_it_not_running():
    with life(queues=({"name": "idle", "types": ["idle.>"]},), settings=("handlers.workers=1",)) as it:
        def why(id_, code, *words):
            said = wait_for(f"{code}", lambda: (lambda s: s if s["code"] == code else None)(
                it.ask("GET", f"/v1/jobs/{id_}/explain")))
            missing = [word for word in words if word not in said["sentence"]]
            check(not missing, f"{missing} not in {said['sentence']}")
            print(f"  {code}: {said['sentence']}")
        later = it.submit("echo", {}, delay="1h")
        why(later, "scheduled")
        odd = it.submit("nobody.knows", {})
        why(odd, "no_handler", "nobody.knows")
        busy = it.submit("life.silent", {"ms": 600000})
        it.node.until(busy, "running")
        why(busy, "running")
        waits = it.submit("echo", {}, queue="idle")
        why(waits, "slots_taken", "life.silent")
        it.ask("DELETE", f"/v1/jobs/{busy}")
        it.node.finish(waits)
        why(waits, "completed")
        dead = died(it, 1)[0]
        why(dead["id"], "dead")
        retrying = it.send("life.fail", {}, retry="fixed base=1h")
        wait_for("its first try", lambda: (it.by_key(retrying) or {}).get("state") == "retrying")
        why(it.by_key(retrying)["id"], "retrying")
        said = it.node.skep("explain", dead["id"], check_code=0)
        check("dead" in said.stdout, f"{said}")


def nothing_is_found_where_nothing_was_lost():
    with life() as it:
        for n in range(20):
            it.submit("noop", n)
        said = it.ask("POST", "/v1/reconcile")
        rows = {row["queue"]: row for row in said["queues"]}
        print(f"  {said}")
        check(LINE == "none" or (rows["default"]["looked"] and rows["default"]["found"] == 0), f"{said}")


run(the_dead_are_grouped_by_what_killed_them, they_are_requeued_by_filter, it_stops_when_too_many_die_again,
    without_a_rate_it_watches_by_itself, one_is_edited_and_submitted_anew, an_export_is_imported_once, many_are_cancelled_by_a_filter,
    a_running_job_is_cancelled_from_another_node, why_is_it_not_running, nothing_is_found_where_nothing_was_lost)
