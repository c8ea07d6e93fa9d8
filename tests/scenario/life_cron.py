"""Schedules with real nodes: one job a tick however many nodes run and die, ticks that were missed, ticks while the last job
runs, what people change at runtime, what the configuration holds, and what is refused."""

import contextlib
import datetime
import signal
import sqlite3
import subprocess
import time
import zoneinfo

from lives import LEDGER, check, life, logged, metric, run, wait_for
from harness import SKEPD, libconfig

EVERY_SECOND = "* * * * * *"
HOUR = 3600


def put(it, name, cron=EVERY_SECOND, type_="noop", payload=None, status=(200, 201), node=None, **fields):
    return it.ask("PUT", f"/v1/schedules/{name}",
                  {"cron": cron, "job": {"type": type_, "payload": payload or {}}, **fields}, status=status, node=node)


def show(it, name):
    return it.ask("GET", f"/v1/schedules/{name}")


def rows(it, name):
    """(second of its tick, state) of each job that a tick of the schedule made, in order of the ticks."""
    found = []
    for key, state in it.w.select("select key_text, state from jobs where key_text is not null"):
        text = key if isinstance(key, str) else key.decode()
        text = bytes.fromhex(text[2:]).decode() if text.startswith("\\x") else text
        kind, schedule, at = text.split(":", 2)
        if (kind, schedule) == ("cron", name):
            found.append((seconds(at), int(state)))
    return sorted(found)


def ticks(it, name):
    return [at for at, _ in rows(it, name)]


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def write(it, text):
    """While no node runs."""
    if LEDGER == "sqlite":
        with contextlib.closing(sqlite3.connect(it.w.ledger.url[7:])) as db:
            db.execute(text)
            db.commit()
    else:
        it.w.ledger.sql(f"set search_path = skep; {text};")


def without_gap(found, step=1):
    return all(b - a == step for a, b in zip(found, found[1:]))


# --- ticks ---

def two_nodes_make_one_job_a_tick():
    with life(nodes=2) as it:
        put(it, "n", catch_up="all")
        wait_for("ten ticks", lambda: len(ticks(it, "n")) >= 10)
        it.ask("POST", "/v1/schedules/n/pause")
        wait_for("each of them to be counted by the node that made it", lambda: len(ticks(it, "n")) == sum(
            metric(node, "skep_schedule_ticks_total", schedule="n", outcome="made") for node in it.w.nodes))
        found = ticks(it, "n")
        check(len(set(found)) == len(found) and without_gap(found), f"a tick has two jobs or none: {found}")
        wait_for("them to have run", lambda: all(state == 4 for _, state in rows(it, "n")))


def a_node_that_dies_misses_nothing():
    with life(nodes=2) as it:
        put(it, "n", catch_up="all")
        for victim in (0, 1):
            begin = len(ticks(it, "n"))
            wait_for("some ticks", lambda: len(ticks(it, "n")) >= begin + 2)
            it.w.kill(it.w.nodes[victim])
            begin = len(ticks(it, "n"))
            wait_for("ticks of the other one", lambda: len(ticks(it, "n")) >= begin + 3)
            it.w.nodes[victim].start()
        it.ask("DELETE", "/v1/schedules/n")
        check(without_gap(ticks(it, "n")), f"there is a gap: {ticks(it, 'n')}")


def missed_ticks_are_made_up_for_as_the_schedule_says():
    names = {"none": ("none", 100), "last": ("last", 100), "all": ("all", 100), "three": ("all", 3)}
    with life() as it:
        now = time.time()
        latest = now // 60 * 60 - HOUR / 2  # no tick is near, however long all this takes
        minute = datetime.datetime.fromtimestamp(latest, datetime.timezone.utc).minute
        for name, (catch_up, most) in names.items():
            put(it, name, f"{minute} * * * *", catch_up=catch_up, catch_max=most)
        it.node.stop()
        # as if nobody had been there for six ticks
        first = latest - 5 * HOUR
        write(it, f"update schedules set next = {int(first) * 1000000}")
        it.node.start()
        every = [first + n * HOUR for n in range(6)]
        wanted = {"none": [], "last": every[-1:], "all": every, "three": every[-3:]}
        for name, made in wanted.items():
            wait_for(f"the schedule {name} to go on", lambda: seconds(show(it, name)["next_at"]) > now)
            found = [at for at in ticks(it, name) if at <= latest]
            check(found == made, f"{name}: {found}, not {made}")


# --- overlap ---

def alive(it, name):
    return sum(state < 4 for _, state in rows(it, name))


def watched(it, name, count):
    """The most jobs of a schedule that were there at once, until it has made so many."""
    most = 0

    def probe():
        nonlocal most
        most = max(most, alive(it, name))
        return len(ticks(it, name)) >= count
    wait_for(f"{count} jobs", probe)
    return most


def what_a_tick_does_while_the_last_job_runs():
    with life(settings=("handlers.workers=4",)) as it:
        put(it, "allow", type_="sleep", payload={"ms": 600000}, overlap="allow")
        check(watched(it, "allow", 4) >= 2, "allow: none ran beside another")
        it.ask("DELETE", "/v1/schedules/allow")
        it.stop_all()

        put(it, "skip", type_="sleep", payload={"ms": 2500}, overlap="skip")
        check(watched(it, "skip", 3) == 1, "skip: two at once")
        it.ask("DELETE", "/v1/schedules/skip")
        found = ticks(it, "skip")
        check(all(b - a > 1 for a, b in zip(found, found[1:])), f"skip: no tick passed: {found}")

        put(it, "buffer", type_="sleep", payload={"ms": 2500}, overlap="buffer", catch_up="all")  # also when skepd is late
        check(watched(it, "buffer", 3) == 1, "buffer: two at once")
        found = ticks(it, "buffer")
        check(found[1] - found[0] == 1, f"buffer: the tick after the first was the one to wait: {found}")
        it.ask("DELETE", "/v1/schedules/buffer")

        put(it, "cancel", type_="sleep", payload={"ms": 600000}, overlap="cancel")
        wait_for("two that run to be stopped", lambda: sum(state == 6 for _, state in rows(it, "cancel")) >= 2)
        it.ask("DELETE", "/v1/schedules/cancel")

        put(it, "waits", type_="nobody.here", overlap="cancel")
        wait_for("two that wait to be cancelled", lambda: sum(state == 6 for _, state in rows(it, "waits")) >= 2)
        it.ask("DELETE", "/v1/schedules/waits")
        wait_for("the latest alone to wait", lambda: alive(it, "waits") == 1)
        last = it.ask("GET", "/v1/jobs?state=cancelled&type=nobody.here&limit=1")["jobs"][0]
        check(last["reason"] == "overlapped", f"cancelled, and not told why: {last}")
        it.stop_all()


# --- people ---

def it_is_paused_edited_and_taken_out_at_runtime():
    with life(nodes=2) as it:
        first = put(it, "n")
        check(len(first["next"]) == 5 and not first["paused"], f"{first}")
        wait_for("a tick", lambda: ticks(it, "n"))
        it.ask("POST", "/v1/schedules/n/pause", node=it.w.nodes[1])
        time.sleep(3)  # every node has heard of it then; what must not come has no condition to wait for
        before = len(ticks(it, "n"))
        time.sleep(3)
        check(len(ticks(it, "n")) == before, "it is paused and ticks")
        check(show(it, "n")["paused"], "it says so")
        put(it, "n", type_="echo", payload={"edited": True}, paused=True)
        paused_until = time.time()
        it.ask("POST", "/v1/schedules/n/resume")
        wait_for("it to go on", lambda: len(ticks(it, "n")) > before)
        check(ticks(it, "n")[before] > paused_until - 2, f"what it slept through is no missed tick: {ticks(it, 'n')}")
        last = it.ask("GET", "/v1/jobs?limit=1")["jobs"][0]
        check(last["type"] == "echo", f"{last}")
        it.ask("DELETE", "/v1/schedules/n")
        it.ask("GET", "/v1/schedules/n", status=404)
        time.sleep(2)
        before = len(ticks(it, "n"))
        time.sleep(2)
        check(len(ticks(it, "n")) == before, "it is gone and ticks")


def it_runs_when_it_is_told_to():
    with life() as it:
        put(it, "n", "0 0 1 1 *", paused=True, type_="echo", payload={"by": "hand"})
        made = it.ask("POST", "/v1/schedules/n/run", status=201)
        check(it.node.finish(made["id"])["state"] == "completed", "it ran")
        check(show(it, "n")["last_job"] == made["id"], "and is its last job")
        check(not ticks(it, "n"), "that was no tick")
        it.ask("POST", "/v1/schedules/other/run", status=404)


def its_times_are_those_of_its_zone():
    with life() as it:
        for zone in ("Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata"):
            plan = put(it, "n", "15 4 * * *", zone=zone)
            shown = [seconds(text) for text in plan["next"]]
            here = zoneinfo.ZoneInfo(zone)
            times = {datetime.datetime.fromtimestamp(at, here).strftime("%H:%M:%S") for at in shown}
            check(times == {"04:15:00"} and len(shown) == 5, f"{zone}: {plan['next']}")
            said = it.ask("POST", "/v1/schedules/preview", {"cron": "15 4 * * *", "zone": zone, "n": 5})
            check(said["next"] == plan["next"], f"{said}")


# --- configuration ---

def settings_of(it, node, schedules):
    """The node's file with these schedules in it."""
    sections = {**it.w.sections, "schedules": schedules}
    it.w.sections = sections
    node.write_config(it.w.config(node.name).replace("ROOT", node.root))


def it_comes_from_the_configuration():
    plans = [{"name": "fast", "cron": EVERY_SECOND, "type": "noop"},
             {"name": "yearly", "cron": "@yearly", "zone": "Europe/Berlin", "type": "echo", "payload": '{"x":1}'}]
    with life(nodes=2, schedules=plans) as it:
        wait_for("ticks", lambda: len(ticks(it, "fast")) >= 3)
        plan = show(it, "yearly")
        check(plan["from_config"] and plan["job"]["payload"] == {"x": 1}, f"{plan}")
        it.ask("DELETE", "/v1/schedules/yearly", status=409)
        put(it, "mine", "@yearly")

        plans = [{"name": "fast", "cron": "*/2 * * * * *", "type": "echo"}]
        for node in it.w.nodes:
            settings_of(it, node, plans)
            node.signal(signal.SIGHUP)
        wait_for("the change", lambda: show(it, "fast")["cron"] == "*/2 * * * * *")
        wait_for("what is no longer there to go", lambda: it.node.get("/v1/schedules/yearly").status == 404)
        check(not show(it, "mine")["from_config"], "what people made stays")

        it.ask("POST", "/v1/schedules/fast/pause")
        settings_of(it, it.node, [{**plans[0], "cron": "1 2 3"}])
        it.node.signal(signal.SIGHUP)
        wait_for("the refusal", lambda: logged(it.node, "cron", "3 fields"))
        check(show(it, "fast")["cron"] == "*/2 * * * * *", "a bad file changes nothing")
        settings_of(it, it.node, plans)
        it.node.stop()
        it.node.start()
        check(show(it, "fast")["paused"], "a pause outlives a start")


def a_bad_entry_is_told_with_file_and_line():
    with life(start=False) as it:
        for entry, words in [
            ({"name": "n", "type": "noop", "cron": "0 25 * * *"}, ["schedule n: cron: hour, position 3: 25", "0 to 23"]),
            ({"name": "n", "type": "noop", "cron": "@dayly"}, ["@dayly", "@daily"]),
            ({"name": "n", "type": "noop", "cron": "@daily", "zone": "Europe/Brelin"}, ["zone", "Europe/Brelin"]),
            ({"name": "n", "type": "noop", "cron": "@daily", "overlap": "queue"}, ["overlap", "allow, skip, buffer, cancel"]),
            ({"name": "n", "type": "noop", "cron": "@daily", "retry": "base=1 hour"}, ["retry"]),
            ({"name": "n", "type": "noop"}, ["it has no cron"]),
        ]:
            path = it.node.config_path
            with open(path) as file:
                lines = file.read().splitlines()
            it.node.write_config("\n".join([*lines, f"schedules = {libconfig([entry])};", ""]))
            done = subprocess.run([SKEPD, "-t", "--config", path], capture_output=True, text=True, check=False)
            it.node.write_config("\n".join([*lines, ""]))
            said = done.stdout + done.stderr
            check(done.returncode == 78, f"{entry}: {done.returncode}: {said}")
            missing = [word for word in (f"{path}:{len(lines) + 1}:", *words) if word not in said]
            check(not missing, f"{entry}: {missing} not in {said}")


# --- what is refused ---

BAD = [("61 * * * *", ["minute", "position 1", "0 to 59"]), ("0 24 * * *", ["hour", "position 3", "0 to 23"]),
       ("0 0 0 * *", ["day of month", "position 5"]), ("0 0 1 FOO *", ["month", "position 7", "JAN to DEC"]),
       ("0 0 * * 8", ["day of week", "position 9", "SUN to SAT"]), ("60 * * * * *", ["second", "position 1"]),
       ("0 0 * *", ["4 fields"]), ("*/0 * * * *", ["position 3", "step"]), ("9-5 * * * *", ["position 3", "range"]),
       ("@reboot", ["@reboot", "@hourly"]), ("@every 5", ["position 8", "1s to 365d"])]


def a_bad_expression_is_told_with_its_place():
    with life() as it:
        for cron, words in BAD:
            said = put(it, "n", cron, status=422)
            text = said["detail"]
            missing = [word for word in (*words, "for example") if word not in text]
            check(said.get("field") == "cron" and not missing, f"{cron}: {missing} not in {said}")
            done = it.node.skep("cron", "add", "n", cron, "noop")
            said = done.stdout + done.stderr
            missing = [word for word in words if word not in said]
            check(done.returncode != 0 and not missing, f"{cron}: {missing} not in {said}")
        put(it, "n", "@daily", zone="Europe/Brelin", status=422)
        put(it, "n", "@daily", overlap="never", status=422)
        put(it, "n", "@daily", catch_up="some", status=422)
        put(it, "n", "@daily", catch_max=0, status=422)
        put(it, "bad%20name", "@daily", status=(400, 404, 422))
        check(not it.ask("GET", "/v1/schedules")["schedules"], "nothing of it was kept")


run(two_nodes_make_one_job_a_tick, a_node_that_dies_misses_nothing, missed_ticks_are_made_up_for_as_the_schedule_says,
    what_a_tick_does_while_the_last_job_runs, it_is_paused_edited_and_taken_out_at_runtime, it_runs_when_it_is_told_to,
    its_times_are_those_of_its_zone, it_comes_from_the_configuration, a_bad_entry_is_told_with_file_and_line,
    a_bad_expression_is_told_with_its_place)
