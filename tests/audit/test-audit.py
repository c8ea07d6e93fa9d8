#!/usr/bin/python3
"""Is the auditor worth its verdict? Every invariant that it judges gets a forged world that violates it, and the
auditor must name that invariant, and no other, and the right job."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from forged import (  # noqa: E402
    CANCELLED, caught, check, COMPLETED, CRASHED, CRASHED_OUT, full_world, HOLDER, LOST, main, mono,
    NOW, OPERATOR, STOPPED, test, wall)


@caught("I1", "plain")
def an_accepted_job_has_no_row(w, jobs):
    del w.rows[jobs["plain"]]
    w.lines = [line for line in w.lines if line[1].get("id") != jobs["plain"] or line[0] == "ack"]


@caught("I1", more=("I16",))
def a_keyed_submission_has_two_rows(w, jobs):
    jobs["new"] = w.copy_row(jobs["keyed"], key=None)
    check(w.judge()[1]["invariants"]["I1"]["found"][0]["job"] == jobs["new"], "the second row is named")


@caught("I1", "refused")
def a_refused_submission_has_a_row(w, jobs):
    jobs["refused"] = w.complete(w.submit(ack="refused"))


@caught("I1", "waits")
def a_pending_job_is_run_by_nobody(w, jobs):
    jobs["waits"] = w.submit()


@caught("I1", "due")
def a_due_job_is_offered_by_nobody(w, jobs):
    jobs["due"] = w.submit()
    w.fail(jobs["due"], 10)


@caught("I1", ref="half")
def a_child_of_a_completed_job_is_missing(w, jobs):
    w.submit(11, via="child", ack=None, row=False, ref="half", parent=jobs["parent"], parent_claim=1)


@caught("I1", "child")
def a_child_of_a_try_that_did_not_complete_is_there(w, jobs):
    [fields for word, fields in w.lines if "parent" in fields][0]["parent_claim"] = 2


@caught("I1")
def half_of_an_atomic_array(w, jobs):
    w.complete(w.submit(group="g"))
    lost = w.submit(group="g", ack="accepted", row=False)
    check(w.judge()[1]["invariants"]["I1"]["found"][0]["job"] == lost, "the missing half is named")


@caught("I1")
def too_many_letters_without_an_id_came_twice(w, jobs):
    for _ in range(3):
        w.copy_row(jobs["letter"], claim=0, token="0", holder="0", attempt=0, result=None, state=CANCELLED,
                   reason=OPERATOR, parked_at=wall(9), finished=wall(9))
    return {"idless_extra_permille": 1}


@test
def some_letters_without_an_id_may_come_twice():
    world, jobs = full_world()
    for _ in range(1999):
        world.complete(world.submit(via="amqp", ack="confirmed"))
    world.copy_row(jobs["letter"], claim=0, token="0", holder="0", attempt=0, result=None, state=CANCELLED,
                   reason=OPERATOR, parked_at=wall(9), finished=wall(9))
    code, report = world.judge()
    check(code == 0, f"exit {code}: {report['invariants']['I1']}")
    check(report["idless"] == 2000 and report["idless_extra"] == 1, f"{report['idless']}, {report['idless_extra']}")
    check(report["invariants"]["I1"]["excused"] == 1, "the second row is listed")
    check(world.judge(idless_extra_permille=0)[0] == 1, "no tolerance, no second row")


@caught("I1b", ref="gone")
def a_confirmed_letter_has_no_row(w, jobs):
    w.submit(via="amqp", ack="confirmed", row=False, ref="gone")


@caught("I1b", ref="named")
def a_confirmed_letter_with_an_id_has_no_row(w, jobs):
    w.submit(via="amqp", ack="confirmed", row=False, ref="named", key="m2")


@test
def letters_that_their_broker_lost_are_counted_and_named():
    world, _ = full_world()
    world.submit(via="nats", ack="confirmed", row=False, ref="idless")
    world.submit(via="nats", ack="confirmed", row=False, ref="named", key="m7")
    world.submit(via="nats", ack="unknown", row=False, ref="never confirmed")
    world.line("fault", kind="broker_lost", to=mono(100))
    code, report = world.judge()
    line = report["invariants"]["I1b"]
    check(code == 0 and report["lost_with_broker"] == line["excused"] == 2, f"exit {code}: {line}")
    named = {one["job"]: one["text"] for one in line["allowed"]}
    check(set(named) == {"idless", "named"} and named["named"].endswith("key m7"), f"named: {named}")


@caught("I1b", ref="later")
def a_letter_confirmed_after_the_broker_lost_its_store(w, jobs):
    w.line("fault", kind="broker_lost", to=mono(100))
    w.submit(101, via="nats", ack="confirmed", row=False, ref="later")


@caught("I1b", ref="safe")
def a_letter_that_the_broker_had_safe(w, jobs):
    w.line("fault", kind="broker_lost", **{"from": mono(50), "to": mono(100)})
    w.submit(40, via="nats", ack="confirmed", row=False, ref="safe")
    w.submit(60, via="nats", ack="confirmed", row=False, ref="not safe")


@caught("I1")
def a_submission_that_went_down_with_the_broker(w, jobs):
    w.line("fault", kind="broker_lost", to=mono(100))
    lost = w.submit(via="http", row=False)
    check(w.judge()[1]["invariants"]["I1"]["found"][0]["job"] == lost, "a broker's loss excuses letters alone")


@caught("I1b")
def letters_are_still_in_the_broker(w, jobs):
    w.line("broker", queue="default", ready=3, unacked=0)


@caught("I1b")
def letters_are_still_in_the_inbox(w, jobs):
    w.others.append({"kind": "inbox", "n": 2})


@caught("I2", "plain")
def a_run_under_a_new_claim_after_the_end(w, jobs):
    w.line("start", 90, **{**w.find("start", jobs["plain"]), "wall": wall(90), "mono": mono(90), "claim": 2,
                           "attempt": 2, "token": "9"})


@caught("I2", "cancelled", more=("I14",))
def a_run_after_a_cancelled_end(w, jobs):
    w.start(jobs["cancelled"], 500)
    w.end(jobs["cancelled"], 501, "discard")
    w.finish(jobs["cancelled"], 20, CANCELLED, OPERATOR)


@caught("I2", "plain")
def a_run_of_a_generation_that_is_not_there(w, jobs):
    w.find("start", jobs["plain"])["generation"] = 1


@caught("I3", "plain")
def a_run_with_another_token(w, jobs):
    w.find("start", jobs["plain"])["token"] = "bad"


@caught("I3", "retried")
def claims_go_back(w, jobs):
    w.find("start", jobs["retried"], 1)["mono"] = mono(1)
    w.find("start", jobs["retried"], 1)["wall"] = wall(1)
    w.find("end", jobs["retried"], 1)["mono"] = mono(2)


@caught("I3", "dead")
def fewer_claims_than_attempts(w, jobs):
    w.rows[jobs["dead"]]["snoozes"] = 1


@caught("I3", "retried")
def a_try_of_a_claim_that_never_was(w, jobs):
    w.tries.append({**w.tries[0], "claim": 9, "generation": 9, "error": LOST})


@caught("I4", "retried")
def two_runs_at_once(w, jobs):
    w.find("end", jobs["retried"])["mono"] = mono(102)


@test
def two_runs_at_once_are_listed_while_a_node_is_cut_off():
    world, jobs = full_world()
    world.find("end", jobs["retried"])["mono"] = mono(102)
    world.line("fault", kind="stop", node="a", **{"from": mono(50), "to": mono(101)})
    code, report = world.judge()
    check(code == 0, f"exit {code}")
    check([one["job"] for one in report["invariants"]["I4"]["allowed"]] == [jobs["retried"]], "it is listed")
    world.find("start", jobs["retried"])["exclusive"] = 1
    check(world.judge()[0] == 1, "an exclusive handler has no excuse")


@caught("I4", "plain")
def one_claim_starts_twice(w, jobs):
    w.line("start", **{**w.find("start", jobs["plain"]), "mono": mono(30), "wall": wall(13), "pid": 8})
    return {}


@caught("I4", "retried")
def a_zombies_result_was_taken(w, jobs):
    w.find("end", jobs["retried"])["result"] = "5555"
    w.rows[jobs["retried"]]["result"] = "5555"


@caught("I4", "plain")
def a_result_that_no_handler_gave(w, jobs):
    w.rows[jobs["plain"]]["result"] = "5555"


@caught("I6", "dead")
def more_attempts_than_allowed(w, jobs):
    w.rows[jobs["dead"]]["max_attempts"] = 2


@caught("I6", "retried")
def an_attempt_that_was_not_counted(w, jobs):
    w.find("start", jobs["retried"], 1)["attempt"] = 1


@caught("I6", "stopped")
def a_try_that_is_not_kept_and_its_attempt_given_back(w, jobs):
    w.tries.append({**[one for one in w.tries if one["id"] == jobs["stopped"]][0], "claim": 2, "attempt": 2})


@caught("I6", "policy")
def another_policy_than_asked_for(w, jobs):
    jobs["policy"] = w.complete(w.submit(max_attempts=5))


@caught("I7", "poison")
def a_poison_job_completed(w, jobs):
    jobs["poison"] = w.complete(w.submit(poison=1))


@caught("I7", "dead")
def dead_of_three_strikes_that_never_were(w, jobs):
    w.rows[jobs["dead"]]["reason"] = CRASHED_OUT


@caught("I7", "retried")
def a_strike_for_nothing(w, jobs):
    w.rows[jobs["retried"]]["strikes"] = 1


@caught("I8", "dead")
def a_dead_job_without_its_payload(w, jobs):
    w.rows[jobs["dead"]]["payload"] = None


@caught("I8", "dead", more=("I17",))
def a_dead_job_without_one_of_its_tries(w, jobs):
    w.tries.remove([one for one in w.tries if one["id"] == jobs["dead"]][0])


@caught("I8", "dead")
def a_generation_that_nobody_asked_for(w, jobs):
    w.rows[jobs["dead"]]["generation"] = 1
    for one in w.tries:
        one["generation"] += one["id"] == jobs["dead"]
    for word, fields in w.lines:
        if word == "start" and fields["id"] == jobs["dead"]:
            fields["generation"] = 1


@caught("I8", "dead")
def a_requeue_without_a_generation(w, jobs):
    w.line("requeue", 3000, id=jobs["dead"])
    w.line("requeued", 3001, id=jobs["dead"], generation=1)


@caught("I9")
def a_row_that_nobody_submitted(w, jobs):
    new = w.copy_row(jobs["cancelled"], payload="abcdef")
    check(w.judge()[1]["invariants"]["I9"]["found"][0]["job"] == new, "the stranger is named")


@test
def strangers_are_welcome_when_they_are_announced():
    world, jobs = full_world()
    world.copy_row(jobs["cancelled"], payload="abcdef")
    check(world.judge(strangers=True)[0] == 0, "with --strangers it passes")


@caught("I9")
def a_run_that_nobody_submitted(w, jobs):
    w.line("start", **{**w.find("start", jobs["plain"]), "id": "018bcfe5-6800-7000-9000-000000000000"})


@caught("I10", "plain")
def a_handler_saw_another_payload(w, jobs):
    w.find("start", jobs["plain"])["payload"] = "bad"


@caught("I10", "keyed")
def a_row_holds_another_payload(w, jobs):
    w.rows[jobs["keyed"]]["payload"] = "bad"
    w.find("start", jobs["keyed"])["payload"] = w.find("intent", nth=1)["payload"]


@caught("I12", "later")
def a_start_before_its_time(w, jobs):
    w.find("start", jobs["later"])["wall"] = wall(499)


@caught("I12", "snoozed")
def a_start_before_a_snooze_is_over(w, jobs):
    w.find("start", jobs["snoozed"], 1)["mono"] = mono(900)


@test
def a_moved_clock_is_seen_through():
    world, jobs = full_world()
    world.line("fault", kind="clock", node="a")
    world.find("start", jobs["later"])["wall"] = wall(-1000)
    check(world.judge()[0] == 0, "the handler's clock went back; the job was in time")
    world.find("start", jobs["later"])["mono"] = mono(400)
    code, report = world.judge()
    check(code == 1 and report["invariants"]["I12"]["found"][0]["job"] == jobs["later"], "too early by any clock")


@caught("I13", ref="again")
def one_key_has_two_jobs(w, jobs):
    w.find("ack", jobs["keyed"], 1)["id"] = w.complete(w.submit(row={"key": None}))
    w.lines = [line for line in w.lines if not (line[0] in ("intent", "ack") and line[1]["ref"] == f"r{w.made}")]
    w.rows[f"018bcfe5-6800-7000-8000-{w.made:012x}"]["payload"] = w.rows[jobs["keyed"]]["payload"]
    w.lines[-2][1]["payload"] = w.rows[jobs["keyed"]]["payload"]


@caught("I13")
def two_rows_bear_one_key(w, jobs):
    w.rows[jobs["plain"]]["key"] = w.rows[jobs["keyed"]]["key"]


@caught("I13", ref="again")
def another_payload_under_the_same_key(w, jobs):
    [fields for word, fields in w.lines if word == "intent" and fields["ref"] == "again"][0]["payload"] = "bad"


@caught("I13", ref="again")
def an_equal_submission_is_called_a_conflict(w, jobs):
    ack = w.find("ack", jobs["keyed"], 1)
    del ack["id"]
    ack["answer"] = "conflict"


@caught("I13", ref="other")
def two_submissions_without_a_name_share_a_job(w, jobs):
    w.line("intent", 3, ref="other", payload=w.rows[jobs["plain"]]["payload"], via="http", queue="default")
    w.line("ack", 4, ref="other", answer="accepted", id=jobs["plain"])


@caught("I13", "second of its kind")
def two_jobs_of_a_unique_key_are_there_at_once(w, jobs):
    w.rows[jobs["second of its kind"]]["created"] = wall(1205)


@caught("I13")
def a_tick_has_two_jobs(w, jobs):
    w.rows[jobs["next tick"]]["tick"] = w.rows[jobs["tick"]]["tick"]


@caught("I12", "next tick")
def a_tick_is_made_before_its_time(w, jobs):
    w.rows[jobs["next tick"]]["tick"] = wall(9000)


@caught("I6", "of a batch")
def one_of_a_batch_that_died_runs_in_a_batch_again(w, jobs):
    w.find("start", jobs["of a batch"], 1)["batch"] = 2


@caught("I4", "of a batch", more=("I16",))
def one_that_died_alone_runs_again_under_its_claim(w, jobs):
    w.find("start", jobs["of a batch"])["batch"] = 1


@caught("I14", "cancelled")
def a_cancelled_job_is_something_else(w, jobs):
    w.complete(jobs["cancelled"], 10)


@caught("I14", "asked")
def a_running_job_was_asked_too_late(w, jobs):
    w.find("asked", jobs["asked"])["mono"] = mono(3000)
    w.find("end", jobs["asked"])["mono"] = mono(3001)


@caught("I14", "asked")
def a_running_job_was_not_killed_at_grace(w, jobs):
    w.find("end", jobs["asked"])["mono"] = mono(15000)


@caught("I15", "held")
def running_and_its_holder_does_not_live(w, jobs):
    jobs["held"] = w.submit()
    w.start(jobs["held"], 10)
    w.rows[jobs["held"]]["holder"] = "bb"


@test
def running_and_its_holder_lives():
    world, _ = full_world()
    id_ = world.submit()
    world.start(id_, 10)
    code, report = world.judge()
    check(code == 0 and report["invariants"]["I15"]["excused"] == 1, f"exit {code}")
    world.others[-1]["beat_at"] = NOW - 60_000_000
    check(world.judge()[0] == 1, "a node that does not beat does not live")


@caught("I15")
def a_claim_was_never_retired(w, jobs):
    w.others.append({"kind": "commit", "holder": HOLDER, "writer": 0, "n": 4, "open": True})


@caught("I15")
def an_old_outbox_row(w, jobs):
    w.others.append({"kind": "outbox", "created": NOW - 11_000_000})


@caught("I15")
def unacknowledged_messages_at_idle(w, jobs):
    w.line("broker", queue="default", ready=0, unacked=1)


@caught("I16", "plain")
def completed_without_a_run(w, jobs):
    w.lines = [line for line in w.lines if not (line[0] in ("start", "end") and line[1]["id"] == jobs["plain"])]


@caught("I16", "plain")
def completed_and_its_handler_said_otherwise(w, jobs):
    end = w.find("end", jobs["plain"])
    end["end"] = "retry"


@caught("I16", "plain")
def completed_by_a_run_that_never_ended(w, jobs):
    w.lines.remove(["end", w.find("end", jobs["plain"])])


@caught("I16", "retried")
def failed_and_its_handler_said_otherwise(w, jobs):
    w.find("end", jobs["retried"])["end"] = "done"


def never_started(w, id_, error):
    w.keep_try(id_, 6, error)
    w.tries[-1] |= {"claim": 1, "attempt": 1}
    w.rows[id_].update(claim=1, attempt=1, strikes=int(error == CRASHED))
    w.complete(id_, 100)
    w.find("start", id_)["attempt"] = 2


@caught("I16", "blamed")
def a_crash_was_blamed_on_a_job_that_did_not_run(w, jobs):
    jobs["blamed"] = w.submit()
    never_started(w, jobs["blamed"], CRASHED)


@test
def a_kill_may_hit_before_the_first_line():
    world, _ = full_world()
    never_started(world, world.submit(), CRASHED)
    world.line("fault", kind="kill", node="a", pid=100, **{"from": mono(5)})
    code, report = world.judge()
    check(code == 0, f"exit {code}: {report['invariants']['I16']}")


@caught("I16")
def a_supervisor_that_nobody_restarted(w, jobs):
    w.line("fault", kind="stop", node="a", **{"from": mono(0), "to": mono(1)})
    w.find("start", jobs["plain"])["ppid"] = 101


@caught("I17", "unstarted")
def an_attempt_spent_by_sigterm_on_a_job_that_did_not_run(w, jobs):
    jobs["unstarted"] = w.submit()
    never_started(w, jobs["unstarted"], STOPPED)


@caught("I17", "given")
def given_back_and_it_had_started(w, jobs):
    jobs["given"] = w.submit()
    w.start(jobs["given"], 10)
    w.rows[jobs["given"]]["attempt"] = 0
    w.complete(jobs["given"], 100)
    w.find("start", jobs["given"])["attempt"] = 3  # so that this alone is wrong
    return {}


@caught("I17")
def a_node_that_does_not_end_in_time(w, jobs):
    w.line("fault", kind="term", node="a", grace_ms=1000, code=0, **{"from": mono(0), "to": mono(3500)})


@caught("I17")
def a_node_that_ends_badly(w, jobs):
    w.line("fault", kind="term", node="a", grace_ms=1000, code=1, **{"from": mono(0), "to": mono(500)})


@caught("I19", "later")
def a_run_starts_while_the_ledger_is_away(w, jobs):
    w.line("fault", kind="ledger", **{"from": mono(300), "to": mono(900)})
    return {"lease_ms": 200}


@caught("I22", "plain")
def completed_in_a_lane(w, jobs):
    w.rows[jobs["plain"]]["lane"] = 1


@caught("I22", "dead")
def dead_without_a_reason(w, jobs):
    w.rows[jobs["dead"]]["reason"] = 0


@caught("I22", "never", more=("I3",))
def completed_without_a_claim(w, jobs):
    jobs["never"] = w.submit()
    w.finish(jobs["never"], 10, COMPLETED)
    w.rows[jobs["never"]] |= {"type": "another", "attempt": 1}


@caught("I22", "plain")
def ended_without_a_time(w, jobs):
    w.rows[jobs["plain"]]["finished"] = 0


main()
