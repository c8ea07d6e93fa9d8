"""Slow jobs beside fast ones: slow ones are shared by all workers of all nodes, fast ones do not wait behind them."""

from harness import Node, check, cluster, postgres, run, wait_for

TEACH = 2000  # jobs that end at once, so that a node believes that all of them do
FAST = 400
SLOW, SLOW_MS = 16, 1000
ENDLESS_MS = 600000  # it runs until its node is killed
TWO_QUEUES = 'queues = ( { name = "default"; }, { name = "slow"; concurrency = 2; } );\n'


def figure(node, beginning):
    """The sum of all metrics that begin so."""
    lines = node.get("/metrics").body.decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(beginning))


def finished(node):
    return figure(node, "skep_jobs_finished_total{")


def sleeps(ms, many, **more):
    return [{"type": "sleep", "payload": {"ms": ms}, **more} for _ in range(many)]


def send(node, jobs):
    return [id_ for at in range(0, len(jobs), 500) for id_ in node.enqueue_many(jobs[at:at + 500])]


def teach(nodes, ms, many):
    """Afterwards they know how long such jobs take."""
    before = sum(map(finished, nodes))
    send(nodes[0], sleeps(ms, many))
    wait_for(f"{many} jobs of {ms} ms", lambda: sum(map(finished, nodes)) - before >= many)


def fast_jobs_go_on_beside_slow_ones():
    with Node(settings=("handlers.workers=4",), config=TWO_QUEUES).start() as node:
        slow = send(node, sleeps(ENDLESS_MS, 8, queue="slow"))
        running = lambda: [id_ for id_ in slow if node.job(id_)["state"] == "running"]  # noqa: E731
        wait_for("two slow jobs to run", lambda: len(running()) == 2)
        teach([node], 0, FAST)
        check(len(running()) == 2, "the slow ones run meanwhile")


def a_slow_job_holds_up_none_that_was_given_to_its_worker():
    """It is of their type and in their queue, and comes first."""
    with Node(settings=("handlers.workers=2",)).start() as node:
        teach([node], 0, TEACH)
        before = finished(node)
        slow = send(node, sleeps(ENDLESS_MS, 1) + sleeps(0, FAST - 1))[0]
        wait_for("the fast jobs behind it", lambda: finished(node) - before >= FAST - 1)
        check(node.job(slow)["state"] == "running", "the slow one runs meanwhile")


def a_slow_job_does_not_wait_for_a_backlog_of_fast_ones():
    with Node(settings=("handlers.workers=2",), config=TWO_QUEUES).start() as node:
        many = 20000
        send(node, sleeps(1, many))
        slow = send(node, sleeps(ENDLESS_MS, 1, queue="slow"))[0]
        node.until(slow, "running")
        left = many - finished(node)
        print(f"  {left} of {many} fast jobs were left when it began")
        check(left > 0, "it begins before they have ended")


def share_slow_jobs(nodes):
    before = [finished(node) for node in nodes]
    send(nodes[0], sleeps(SLOW_MS, SLOW))
    held = [0] * len(nodes)

    def done():
        for n, node in enumerate(nodes):
            idle = figure(node, "skep_worker_slots{state=\"idle\"}")
            held[n] = max(held[n], figure(node, "skep_claimed_jobs ") - len(node.workers()) + idle)
        return sum(map(finished, nodes)) - sum(before) >= SLOW
    wait_for("the slow jobs", done)
    ran = [finished(node) - old for node, old in zip(nodes, before)]
    print(f"  of {SLOW} slow jobs {ran} were run, and at most {held} held that had not begun")
    check(min(ran) >= SLOW // 4, f"each node runs its share of {SLOW} slow jobs: {ran}")


def slow_jobs_are_shared_by_two_nodes():
    with postgres() as ledger, cluster(2, ledger=ledger.url, settings=("handlers.workers=2",)) as nodes:
        teach(nodes, 300, 8)
        share_slow_jobs(nodes)


def slow_jobs_are_shared_by_nodes_that_took_them_for_fast_ones():
    """They are of the type and in the queue of jobs that took microseconds."""
    with postgres() as ledger, cluster(2, ledger=ledger.url, settings=("handlers.workers=2",)) as nodes:
        teach(nodes, 0, TEACH)
        share_slow_jobs(nodes)


run(fast_jobs_go_on_beside_slow_ones, a_slow_job_holds_up_none_that_was_given_to_its_worker,
    a_slow_job_does_not_wait_for_a_backlog_of_fast_ones, slow_jobs_are_shared_by_two_nodes,
    slow_jobs_are_shared_by_nodes_that_took_them_for_fast_ones)
