"""A job's plain life: submitted, run, recorded; results, retries, delays, keys, requeue."""

import json
import os

from harness import Node, check, run, wait_for


def a_job_runs_and_its_result_is_kept():
    with Node().start() as node:
        job = node.finish(node.enqueue("echo", {"x": 1}))
        check(job["state"] == "completed", f"{job}")
        check(job["result"] == {"x": 1}, f"the result is {job.get('result')}")
        check(job["attempt"] == 1 and job["claim"] == 1, f"one attempt under one claim: {job}")


def the_stored_payload_is_what_was_sent_byte_for_byte():
    with Node().start() as node:
        raw = '{"type":"echo","payload": { "b":1.50,  "a" : [1e3 ,"\\u00e9"] } }'
        answer = node.post(raw)
        check(answer.status == 201, f"{answer.status} {answer.body}")
        node.finish(answer.json["id"])
        shown = node.request("GET", "/v1/jobs/" + answer.json["id"]).body.decode()
        check('{ "b":1.50,  "a" : [1e3 ,"\\u00e9"] }' in shown, shown)


def a_job_that_fails_twice_succeeds_by_retry():
    with Node(settings=["queues.default.retry.base=50ms"]).start() as node:
        job = node.finish(node.enqueue("sleep", {"ms": 1, "fail_attempts": 2}))
        check(job["state"] == "completed" and job["attempt"] == 3, f"{job}")
        kept = job["attempts"]
        check([row["attempt"] for row in kept] == [1, 2], f"the tries that failed are kept: {kept}")
        check(all(row["class"] == "failed" for row in kept), f"{kept}")


def attempts_are_spent_and_the_job_is_dead():
    with Node(settings=["queues.default.retry.base=10ms"]).start() as node:
        job = node.finish(node.enqueue("sleep", {"ms": 1, "fail_attempts": 99}, max_attempts=2))
        check(job["state"] == "dead" and job["reason"] == "exhausted", f"{job}")
        check(job["attempt"] == 2 and len(job["attempts"]) == 1, f"{job}")
        answer = node.request("POST", f"/v1/jobs/{job['id']}/retry")
        check(answer.status == 200, f"{answer.status} {answer.body}")
        again = node.finish(job["id"])
        check(again["generation"] == 1 and again["state"] == "dead", f"{again}")
        check(len(again["attempts"]) >= 2, f"a requeue keeps the history: {again}")


def a_delayed_job_waits_and_can_be_started_now():
    with Node().start() as node:
        id_ = node.enqueue("echo", 1, delay="1h")
        check(node.job(id_)["state"] == "scheduled", "a delay is scheduled")
        check(node.request("POST", f"/v1/jobs/{id_}/retry").status == 200, "retry starts it now")
        check(node.finish(id_)["state"] == "completed", "it ran")
        soon = node.enqueue("echo", 2, delay="200ms")
        check(node.finish(soon)["state"] == "completed", "it ran when it was due")


def the_same_key_is_the_same_job():
    with Node().start() as node:
        first = node.post({"type": "echo", "payload": 1, "key": "order-17"})
        again = node.post({"type": "echo", "payload": 1, "key": "order-17"})
        other = node.post({"type": "echo", "payload": 2, "key": "order-17"})
        check(first.status == again.status == 201, f"{first.status} {again.status}")
        check(first.json["id"] == again.json["id"], "a repeat is the same job")
        check(other.status == 422 and first.json["id"] in other.body.decode(), f"{other.status} {other.body}")
        by_key = node.get("/v1/jobs/key:order-17?queue=default").json
        check(by_key["id"] == first.json["id"], f"{by_key}")
        check(len(node.get("/v1/jobs").json["jobs"]) == 1, "one row")


def a_whole_request_can_be_repeated():
    with Node().start() as node:
        body = json.dumps([{"type": "echo", "payload": n} for n in range(5)])
        headers = {"Idempotency-Key": "import-1"}
        first, again = node.post(body, headers), node.post(body, headers)
        check([job["id"] for job in first.json] == [job["id"] for job in again.json], "the same jobs")
        other = node.post(json.dumps([{"type": "echo"}]), headers)
        check(other.status == 422, f"another body under a used key: {other.status}")
        check(len(node.get("/v1/jobs").json["jobs"]) == 5, "five rows")


def ndjson_answers_line_by_line():
    with Node().start() as node:
        lines = ['{"type":"echo","payload":%d}' % n for n in range(1200)]
        lines[600] = '{"type":"echo","priority":42}'
        answer = node.post("\n".join(lines) + "\n", {"Content-Type": "application/x-ndjson"})
        rows = [json.loads(line) for line in answer.body.decode().splitlines()]
        check(len(rows) == 1200, f"{len(rows)} answers for 1200 lines")
        bad = [n for n, row in enumerate(rows) if "id" not in row]
        check(bad == [600], f"only line 601 is refused: {bad}")
        check("priority" in json.dumps(rows[600]), f"{rows[600]}")
        wait_for("1199 jobs to end", lambda: node.get("/v1/stats").json["queues"][0]["jobs"]["completed"] == 1199)


def the_command_line_enqueues_waits_and_shows():
    with Node().start() as node:
        done = node.skep("enqueue", "echo", '{"x":1}', "--wait", check_code=0)
        check('{"x":1}' in done.stdout, f"the result is printed: {done.stdout}")
        rows = json.loads(node.skep("jobs", "ls", "-o", "json", check_code=0).stdout)
        check(len(rows["jobs"]) == 1, f"{rows}")
        shown = node.skep("jobs", "show", rows["jobs"][0]["id"], check_code=0).stdout
        check("completed" in shown and "echo" in shown, shown)
        listed = node.skep("handlers", "ls", check_code=0).stdout
        check("echo" in listed and "sleep" in listed, listed)
        workers = node.skep("workers", "ls", check_code=0).stdout
        check(len(workers.splitlines()) >= 2, workers)


def a_file_of_jobs_is_enqueued_once_even_if_repeated():
    with Node().start() as node:
        path = os.path.join(node.root, "jobs.ndjson")
        with open(path, "w") as file:
            for n in range(3000):
                file.write('{"type":"noop","key":"k%d"}\n' % n)
        first = node.skep("enqueue", "-f", path, check_code=0)
        check("3000" in first.stdout + first.stderr, first.stdout + first.stderr)
        node.skep("enqueue", "-f", path, check_code=0)
        wait_for("3000 jobs to end", lambda: node.get("/v1/stats").json["queues"][0]["jobs"]["completed"] == 3000)


def metrics_and_health_are_served():
    with Node().start() as node:
        node.finish(node.enqueue("echo", 1))
        wait_for("it to be counted", lambda: 'skep_jobs_finished_total{queue="default",type="echo",outcome="completed"} 1'
                 in node.get("/metrics").body.decode())
        check("skep_build_info" in node.get("/metrics").body.decode(), "build info")
        check(node.get("/livez").status == 200 and node.get("/readyz").status == 200, "alive and ready")


run(a_job_runs_and_its_result_is_kept, the_stored_payload_is_what_was_sent_byte_for_byte,
    a_job_that_fails_twice_succeeds_by_retry, attempts_are_spent_and_the_job_is_dead,
    a_delayed_job_waits_and_can_be_started_now, the_same_key_is_the_same_job, a_whole_request_can_be_repeated,
    ndjson_answers_line_by_line, the_command_line_enqueues_waits_and_shows,
    a_file_of_jobs_is_enqueued_once_even_if_repeated, metrics_and_health_are_served)
