"""`skep bench`: it measures, touches nothing that is there, and leaves nothing behind."""

import glob
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import contextmanager

from harness import BUILD, SKEP, Node, check, postgres, run, servers, wait_for

SCRATCH = os.path.join(BUILD, "scratch", "skep-scratch")
FIGURES = ("drain_per_s", "submit_per_s", "post_p50_ms", "post_p99_ms", "start_p50_ms", "start_p99_ms", "commits_per_s")
SMALL = ("--jobs", "2000", "--seconds", "1")


def bench(config, *words, more=None):
    """What `skep bench` does with that configuration; what of the caller's environment tells skepd is in it too."""
    return subprocess.run([SKEP, "bench", "--config", config, *words], capture_output=True, text=True, timeout=300,
                          check=False, env={**os.environ, **(more or {})})


@contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="skep-scenario-") as where:
        yield where


def write(where, text):
    path = os.path.join(where, "skep.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def left_behind(where):
    return [path for path in glob.glob(os.path.join(where, "**", "skep_bench_*"), recursive=True)]


def figures_of(done):
    check(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
    figures = json.loads(done.stdout)
    for name in FIGURES:
        check(figures[name] > 0, f"{name} is {figures.get(name)}")
    check(figures["bound"] in ("cpu", "commits", "round trips"), f"bound by {figures['bound']}")
    return figures


def jobs_and_files_of_a_running_node_stay_as_they_are():
    with Node().start() as node:
        kept = node.finish(node.enqueue("echo", {"x": 1}))
        config = write(node.root, f'node = {{ state_dir = "{node.state}"; }};\nhttp = {{ socket = "{node.socket}"; }};\n'
                                  f'ledger = {{ url = "{node.ledger}"; }};\n')
        figures = figures_of(bench(config, "-o", "json", *SMALL))
        check(figures["jobs"] == 2000 and figures["payload"] == 256, f"{figures}")
        check(figures["ledger"].startswith(f"sqlite:{node.root}/skep_bench_"), f"on the same disk: {figures['ledger']}")
        check([job["id"] for job in node.get("/v1/jobs").json["jobs"]] == [kept["id"]], "one job, as before")
        check(not left_behind(node.root), f"left behind: {left_behind(node.root)}")


def queues_and_schedules_of_the_configuration_are_not_served():
    """Its transport is nowhere: who would connect to it would fail. Its schedule would make a job each second."""
    with folder() as where:
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\nledger = {{ url = "sqlite:{where}/l.db"; }};\n'
                              'transports = { t = { url = "amqp://127.0.0.1:1"; }; };\n'
                              'queues = ( { name = "default"; transport = "t"; } );\n'
                              'schedules = ( { name = "s"; cron = "@every 1s"; type = "noop"; } );\n')
        figures_of(bench(config, "-o", "json", *SMALL))
        check(os.listdir(where) == ["skep.conf"], f"nothing else was made: {os.listdir(where)}")


def settings_of_the_environment_count_once():
    """They say which ledger it is beside; the private skepd has its own."""
    with folder() as where:
        os.mkdir(f"{where}/else")
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\n')
        figures = figures_of(bench(config, "-o", "json", *SMALL, more={"SKEP_LEDGER__URL": f"sqlite:{where}/else/l.db"}))
        check(f"{where}/else/skep_bench_" in figures["ledger"], f"{figures['ledger']}")
        check(not left_behind(where) and not os.listdir(f"{where}/else"), "nothing is left")


def people_read_a_table_and_what_bounds_it():
    with folder() as where:
        done = bench(write(where, f'node = {{ state_dir = "{where}/state"; }};\n'), "-o", "table", *SMALL)
        check(done.returncode == 0 and "jobs drained" in done.stdout, f"{done.stdout}{done.stderr}")
        check("bound" in done.stdout, f"it says what bounds it: {done.stdout}")


def what_cannot_be_is_refused_and_nothing_is_made():
    with folder() as where:
        good = write(where, f'node = {{ state_dir = "{where}/state"; }};\n')
        for words, code, says in ((("--jobs", "5"), 64, "--jobs"), (("--payload", "1"), 64, "--payload"),
                                  (("--database", "x"), 64, "the ledger is SQLite"),
                                  (("--dir", f"{where}/no/where"), 73, "No such file"),
                                  (("--dir", "/proc"), 73, "no folder can be made there"),
                                  (("--url", "unix:/x"), 64, "a skepd of its own")):
            done = bench(good, *words)
            check(done.returncode == code and says in done.stderr, f"{words}: {done.returncode} {done.stderr}")
        bad = write(where, 'handlers = { workers = 0; };\n')
        done = bench(bad)
        check(done.returncode == 78 and "handlers.workers" in done.stderr, f"{done.returncode} {done.stderr}")
        deep = os.path.join(where, "x" * 100)
        os.mkdir(deep)
        done = bench(write(where, ""), "--dir", deep)
        check(done.returncode == 73 and "shorter path" in done.stderr, f"{done.returncode} {done.stderr}")
        check(not left_behind(where), f"left behind: {left_behind(where)}")


def it_is_stopped_in_the_midst_and_leaves_nothing():
    with folder() as where:
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\n')
        process = subprocess.Popen([SKEP, "bench", "--config", config, "--seconds", "600"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)

        def jobs():
            files = glob.glob(f"{where}/skep_bench_*/skep.db")
            try:
                return files and sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True).execute(
                    "select count(*) from jobs").fetchone()[0]
            except sqlite3.Error:
                return 0
        wait_for("its first jobs", jobs)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        check(process.returncode == 75 and "asked to stop" in said, f"{process.returncode} {said}")
        check(not left_behind(where), f"left behind: {left_behind(where)}")


def scratch_removes_only_what_it_made():
    with folder() as where:
        os.mkdir(f"{where}/mine")
        done = subprocess.run([SCRATCH, "remove", f"{where}/mine"], capture_output=True, text=True, check=False)
        check(done.returncode == 64 and os.path.isdir(f"{where}/mine"), f"{done.returncode} {done.stderr}")


# --- servers ---

def databases(ledger):
    return ledger.server.sql("select datname from pg_database where datname like 'skep_bench_%'")


def config_of(where, url):
    return write(where, f'node = {{ state_dir = "{where}/state"; }};\nledger = {{ url = "{url}"; }};\n')


def a_database_of_its_own_is_made_and_dropped():
    with postgres() as ledger, folder() as where:
        figures = figures_of(bench(config_of(where, ledger.url), "-o", "json", *SMALL))
        check("/skep_bench_" in figures["ledger"], f"{figures['ledger']}")
        check(databases(ledger) == "", f"left behind: {databases(ledger)}")
        check(ledger.server.sql("select to_regnamespace('skep') is null", ledger.url.rpartition("/")[2]) == "t",
              "the configured database is as it was")


def without_the_right_it_says_what_to_do():
    with postgres() as ledger, folder() as where:
        name = ledger.url.rpartition("/")[2]
        ledger.server.sql(f"create role {name}_poor login")
        try:
            config = config_of(where, ledger.url.replace("skep@", f"{name}_poor@"))
            done = bench(config)
            check(done.returncode == 77 and "createdb" in done.stderr and "--database" in done.stderr,
                  f"{done.returncode} {done.stderr}")
            done = bench(config, "--database", name)
            check(done.returncode == 77 and "as owner" in done.stderr, f"{done.returncode} {done.stderr}")
            ledger.server.sql(f"alter database {name} owner to {name}_poor")
            figures_of(bench(config, "-o", "json", "--database", name, *SMALL))
            check(ledger.server.sql("select to_regnamespace('skep') is null", name) == "t", "its schema is dropped again")
        finally:
            ledger.server.sql(f"reassign owned by {name}_poor to skep", name)
            ledger.server.sql(f"drop owned by {name}_poor; drop role {name}_poor")


def somebodys_ledger_is_not_taken():
    with postgres() as ledger, folder() as where:
        name = ledger.url.rpartition("/")[2]
        with Node(ledger=ledger.url).start() as node:
            job = node.finish(node.enqueue("echo", 1))
            done = bench(config_of(where, ledger.url), "--database", name)
            check(done.returncode == 64 and "somebody's" in done.stderr, f"{done.returncode} {done.stderr}")
            check(node.job(job["id"])["state"] == "completed", "it is all there")
        check(not left_behind(where), f"left behind: {left_behind(where)}")


def names_on(rabbit):
    return (rabbit.eval("[element(4, element(2, Q)) || Q <- rabbit_amqqueue:list()]"),
            rabbit.eval('[element(4, element(2, X)) || X <- rabbit_exchange:list(<<"/">>)]'))


def a_broker_gets_a_queue_of_its_own_which_goes_again():
    with servers.RabbitMQ() as rabbit, folder() as where:
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\n'
                              f'transports = {{ mine = {{ url = "{rabbit.url}"; }}; }};\n')
        before = names_on(rabbit)
        figures_of(bench(config, "-o", "json", "--transport", "mine", *SMALL))
        check(names_on(rabbit) == before, f"left behind: {names_on(rabbit)}")
        done = bench(config, "--transport", "other")
        check(done.returncode == 64 and "none of this name" in done.stderr, f"{done.returncode} {done.stderr}")


def a_stream_is_made_and_goes_again():
    with servers.Nats() as nats, folder() as where:
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\n'
                              f'transports = {{ mine = {{ url = "{nats.url}"; }}; }};\n')
        figures_of(bench(config, "-o", "json", "--transport", "mine", *SMALL))
        with nats.connect() as client:
            check(not client.api("STREAM.NAMES")["streams"], "no stream is left")


def a_broker_that_could_not_be_cleared_is_not_used():
    with folder() as where:
        config = write(where, f'node = {{ state_dir = "{where}/state"; }};\n'
                              'transports = { mine = { url = "amqps://localhost"; }; };\n')
        done = bench(config, "--transport", "mine")
        check(done.returncode == 69 and "its URL alone" in done.stderr, f"{done.returncode} {done.stderr}")
        check(not left_behind(where), f"left behind: {left_behind(where)}")


def a_server_that_is_away_is_named():
    with folder() as where:
        done = bench(config_of(where, "postgresql://skep:secret@127.0.0.1:1/skep"))
        check(done.returncode == 69 and "127.0.0.1:1" in done.stderr, f"{done.returncode} {done.stderr}")
        check("secret" not in done.stderr, "no password in it")
        check(not left_behind(where), f"left behind: {left_behind(where)}")


run(jobs_and_files_of_a_running_node_stay_as_they_are, queues_and_schedules_of_the_configuration_are_not_served,
    settings_of_the_environment_count_once, people_read_a_table_and_what_bounds_it,
    what_cannot_be_is_refused_and_nothing_is_made, it_is_stopped_in_the_midst_and_leaves_nothing,
    scratch_removes_only_what_it_made, a_database_of_its_own_is_made_and_dropped, without_the_right_it_says_what_to_do,
    somebodys_ledger_is_not_taken, a_broker_gets_a_queue_of_its_own_which_goes_again, a_stream_is_made_and_goes_again,
    a_broker_that_could_not_be_cleared_is_not_used, a_server_that_is_away_is_named)
