"""Order and limits: priorities, pausing, limits on one node and over all, bounds, live resize."""

import json


from lives import LINE, Skip, check, life, refused, run, wait_for


def bulk(it, number, **fields):
    """So many jobs of one kind in one request."""
    lines = "".join(json.dumps({"type": "noop", "payload": n, **fields}) + "\n" for n in range(number))
    answer = it.node.request("POST", "/v1/jobs", lines, {"Content-Type": "application/x-ndjson"}, timeout=120)
    check(answer.status == 200 or answer.status == 207, f"{answer.status} {answer.body[:300]}")


def in_order_of_start(it):
    return [row[0] for row in it.w.select("select priority from jobs where type = 'noop' and state = 4 order by started, priority desc")] \
        if it.w.ledger.url.startswith("sqlite:") else \
        [int(row[0]) for row in it.w.select("select priority from jobs where type = 'noop' and state = 4 order by started, priority desc")]


def the_most_urgent_start_first_with_ten_thousand_waiting():
    with life(queue={"order": "priority"}, settings=("handlers.workers=1",)) as it:
        it.ask("POST", "/v1/queues/default/pause")
        wait_for("the node to know", lambda: it.ask("GET", "/v1/queues/default")["paused"])
        for priority in (5, 0, 9, 3, 7):
            bulk(it, 2000, priority=priority)
        wait_for("ten thousand to wait", lambda: it.counts().get(1) == 10000)
        it.ask("POST", "/v1/queues/default/resume")
        wait_for("all to end", lambda: it.counts().get(4) == 10000, 300)
        order = in_order_of_start(it)
        wrong = sum(before < after for before, after in zip(order, order[1:]))
        print(f"  10000 jobs of five priorities: {wrong} times a job started after one of lower priority")
        check(order == sorted(order, reverse=True), f"{wrong} inversions: {order[:20]}")


def what_comes_later_and_is_urgent_goes_first():
    with life(queue={"order": "priority"}, settings=("handlers.workers=1",)) as it:
        gate, let_go = it.gate()
        it.send("life.silent", {"ms": 600000, "gate": gate}, priority=1)
        wait_for("the worker to be busy", lambda: it.counts().get(2))
        slow = [it.send("life.silent", {"ms": 10, "n": n}, priority=1) for n in range(100)]
        urgent = it.send("echo", {}, priority=9)
        wait_for("all to wait", lambda: sum(it.counts().values()) == 102)
        let_go()
        urgent = it.ended(urgent)
        passed = sum(it.ended(key)["started_at"] > urgent["started_at"] for key in slow)
        print(f"  100 slow jobs waited; the urgent one that came later passed {passed}")
        check(passed >= 50, f"{passed}")


def first_in_first_out_by_default():
    with life(settings=("handlers.workers=1",), queue={"concurrency": 1}) as it:
        keys = [it.send("noop", {"n": n}) for n in range(300)]
        jobs = [it.ended(key) for key in keys]
        starts = [job["started_at"] for job in jobs]
        places = sorted(range(300), key=lambda n: starts[n])
        far = max(abs(n - place) for place, n in enumerate(places))
        print(f"  300 jobs: none started more than {far} places from its own")
        late = [(n, jobs[n]["claim"], jobs[n]["created_at"], starts[n]) for place, n in enumerate(places) if abs(n - place) == far]
        print(f"  the farthest: (number, claim, created, started) {late[:2]}; the last began {max(starts)}")
        # a letter that finds the workers full is claimed from the ledger; those behind it may be faster by some moments
        check(far == 0 or LINE != "none", f"they started in the order in which they were sent: {far}")


def a_paused_queue_starts_nothing_anywhere():
    with life(nodes=2) as it:
        it.ask("POST", "/v1/queues/default/pause")
        wait_for("both nodes to know", lambda: all(
            it.ask("GET", "/v1/queues/default", node=node)["paused"] for node in it.w.nodes))
        keys = [it.send("noop", {"n": n}) for n in range(200)]
        late = it.send("noop", {"later": 1}, delay="300ms")
        for key in keys:
            if LINE == "none":
                it.job(key)
        wait_for("three beats", beats(it, 3))
        check(not it.counts().get(4) and not it.counts().get(2), f"nothing started: {it.counts()}")
        queue = it.ask("GET", "/v1/queues/default")
        check(queue["paused"] and "paused" in (queue["not_consumed"] or "paused"), f"{queue}")
        if LINE == "none":
            why = it.ask("GET", f"/v1/jobs/{it.by_key(keys[0])['id']}/explain")
            check(why["code"] == "paused" and "paused" in why["sentence"], f"{why}")
        it.ask("POST", "/v1/queues/default/resume")
        for key in [*keys, late]:
            check(it.ended(key)["state"] == "completed", key)


def beats(it, number):
    """A probe that is true after so many more beats of every node."""
    def seen():
        return [row["beat_at"] for row in it.ask("GET", "/v1/nodes")["nodes"]]
    last, left = seen(), [number]

    def probe():
        nonlocal last
        now = seen()
        if all(new != old for new, old in zip(now, last)):
            last, left[0] = now, left[0] - 1
        return left[0] <= 0
    return probe


def running(it):
    return it.counts().get(2, 0)


def a_global_limit_holds_while_a_node_is_killed():
    with life(nodes=2, queue={"global": 3}, settings=("handlers.workers=4",)) as it:
        gate, let_go = it.gate()
        keys = [it.send("life.silent", {"ms": 600000, "gate": gate}) for _ in range(3)]
        keys += [it.send("life.silent", {"ms": 150, "n": n}) for n in range(60)]
        most, killed = wait_for("the limit to be used", lambda: running(it) >= 3 and running(it)), False
        let_go()
        while it.counts().get(4, 0) < 63:
            most = max(most, running(it))
            if not killed and it.counts().get(4, 0) > 15:
                it.w.kill(it.w.nodes[1])
                killed = True
        for key in keys:
            check(it.ended(key)["state"] == "completed", key)
        print(f"  60 jobs over two nodes, one killed: at most {most} ran at once")
        check(most == 3, f"at most 3 ran at once, and 3 did: {most}")
        check(it.ask("GET", "/v1/queues/default")["global"] == 3, "the limit is shown")


def limits_change_at_runtime():
    with life(settings=("handlers.workers=4",)) as it:
        it.ask("PATCH", "/v1/queues/default", {"concurrency": 1})
        wait_for("it to hold", lambda: it.ask("GET", "/v1/queues/default")["concurrency"] == 1)
        gate, let_go = it.gate()
        keys = [it.send("life.silent", {"ms": 600000, "gate": gate})]

        def busy():
            return sum(bool(row.get("job_id")) for row in it.node.workers())
        most = wait_for("a busy worker", busy)
        keys += [it.send("life.silent", {"ms": 60, "n": n}) for n in range(12)]
        most = max(most, busy())
        let_go()
        while it.counts().get(4, 0) < 13:
            most = max(most, busy())
        check(most == 1, f"one worker at a time: {most}")
        for key in keys:
            it.ended(key)
        it.ask("PATCH", "/v1/queues/default", {"concurrency": None})
        wait_for("it to be as configured", lambda: it.ask("GET", "/v1/queues/default")["concurrency"] == 0)


def workers_are_resized_live():
    with life(settings=("handlers.workers=1",)) as it:
        def ready():
            return sum(row["state"] == "ready" for row in it.node.workers())
        wait_for("one worker", lambda: ready() == 1)
        check(it.ask("POST", "/v1/workers", {"workers": 5})["workers"] == 5, "five")
        wait_for("five workers", lambda: ready() == 5)
        it.ask("POST", "/v1/workers", {"workers": 2})
        wait_for("two workers", lambda: ready() == 2)
        it.ask("POST", "/v1/workers", {"workers": None})
        wait_for("as configured", lambda: ready() == 1)
        refused(it, "POST", "/v1/workers", {"workers": 0}, "workers", "1 to 256")
        refused(it, "POST", "/v1/workers", {"workers": "many"}, "workers")


def a_full_queue_refuses():
    with life(queue={"max_waiting": 50, "concurrency": 1}, settings=("handlers.workers=1",)) as it:
        it.ask("POST", "/v1/queues/default/pause")
        wait_for("the pause", lambda: it.ask("GET", "/v1/queues/default")["paused"])
        taken = [it.post("noop", n).status for n in range(60)]
        check(taken == [201] * 50 + [429] * 10, f"{taken}")
        answer = it.post("noop", 99)
        check("max_waiting" in answer.json["detail"], f"{answer.json}")
        check(answer.headers.get("Retry-After"), f"{answer.headers}")
        it.ask("POST", "/v1/queues/default/resume")
        wait_for("room", lambda: it.post("noop", 100).status == 201)


def a_full_queue_drops_its_oldest():
    with life(queue={"max_waiting": 50, "when_full": "drop_oldest"}) as it:
        it.ask("POST", "/v1/queues/default/pause")
        wait_for("the pause", lambda: it.ask("GET", "/v1/queues/default")["paused"])
        ids = [it.submit("noop", n) for n in range(60)]
        states = [it.ask("GET", f"/v1/jobs/{id_}")["state"] for id_ in ids]
        check(states == ["cancelled"] * 10 + ["pending"] * 50, f"{states}")
        check(it.ask("GET", f"/v1/jobs/{ids[0]}")["reason"] == "dropped", "and says so")


def a_full_queue_takes_no_letters():
    if LINE == "none":
        raise Skip("without a broker there are no letters")
    with life(queue={"max_waiting": 20, "concurrency": 1}, settings=("handlers.workers=1",)) as it:
        keys = [it.send("life.silent", {"ms": 20, "n": n}) for n in range(200)]
        most = 0
        while it.counts().get(4, 0) < 200:
            most = max(most, it.counts().get(1, 0))
        for key in keys[-5:]:
            check(it.ended(key)["state"] == "completed", "nothing was lost")
        print(f"  200 letters, bound 20: at most {most} waited in the ledger")


def mistakes_are_named():
    with life() as it:
        refused(it, "PATCH", "/v1/queues/default", {"concurrency": -1}, "concurrency", "from 0")
        refused(it, "PATCH", "/v1/queues/default", {"globle": 1}, "globle", "global")
        refused(it, "PATCH", "/v1/queues/default", {"paused": "yes"}, "paused", "true")
        said = it.ask("POST", "/v1/queues/defualt/pause", status=404)
        check("default" in said["detail"], f"did you mean: {said}")
        refused(it, "POST", "/v1/jobs", {"type": "noop", "payload": 1, "priority": 10}, "priority", "from 0 (last) to 9")


run(the_most_urgent_start_first_with_ten_thousand_waiting, what_comes_later_and_is_urgent_goes_first, first_in_first_out_by_default,
    a_paused_queue_starts_nothing_anywhere, a_global_limit_holds_while_a_node_is_killed, limits_change_at_runtime,
    workers_are_resized_live, a_full_queue_refuses, a_full_queue_drops_its_oldest, a_full_queue_takes_no_letters,
    mistakes_are_named)
