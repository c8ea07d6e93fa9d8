"""What users and the network send wrongly: a clear error that names what, where and what to do instead; nothing lost."""

import json
import os
import socket
import subprocess

from harness import PATIENCE, SKEPD, Failure, Node, Skip, check, run, wait_for
from private_server import free_ports


def refused(node, status, words, body, headers=None):
    before = node.get("/v1/stats").json
    answer = node.post(body, headers)
    text = answer.body.decode()
    check(answer.status == status, f"{body!r:.100} was answered {answer.status}, not {status}: {text}")
    check(answer.headers["Content-Type"] == "application/problem+json", f"{answer.headers['Content-Type']}")
    problem = json.loads(text)
    check(problem["status"] == status and problem["title"], f"{problem}")
    for word in words:
        check(word in text, f"{word!r} is not said: {text}")
    check(node.get("/v1/stats").json["queues"] == before["queues"], "a refused request left a row")


def bad_jobs_are_refused_by_name():
    with Node().start() as node:
        refused(node, 413, ["1048576"], {"type": "echo", "payload": "x" * (1 << 20)})
        refused(node, 400, ["line"], '{"type":"echo",}')
        refused(node, 400, [], "")
        refused(node, 422, ["typ", "type"], {"typ": "echo"})
        refused(node, 422, ["prio", "priority"], {"type": "echo", "prio": 1})
        refused(node, 422, ["priority", "0", "9"], {"type": "echo", "priority": 10})
        refused(node, 422, ["priority"], {"type": "echo", "priority": "high"})
        refused(node, 422, ["type"], {"type": "has space"})
        refused(node, 422, ["type"], {"type": 7})
        refused(node, 422, ["queue", "default"], {"type": "echo", "queue": "nowhere"})
        refused(node, 422, ["delay"], {"type": "echo", "delay": "soon"})
        refused(node, 422, ["run_at"], {"type": "echo", "run_at": "tomorrow"})
        refused(node, 400, ["u0000"], '{"type":"ec\\u0000ho"}')
        refused(node, 400, ["u0000"], '{"type":"echo","key":"a\\u0000b"}')
        refused(node, 415, [], "type=echo", {"Content-Type": "application/x-www-form-urlencoded"})
        nul = node.post('{"type":"echo","payload":"a\\u0000b"}')
        check(nul.status == 201, f"NUL is legal in a payload: {nul.status}")
        check(node.finish(nul.json["id"])["state"] == "completed", "and it runs")


def an_array_is_all_or_nothing():
    with Node().start() as node:
        refused(node, 422, ["priority"], [{"type": "echo"}, {"type": "echo", "priority": 99}])


def bad_configuration_ends_with_78_and_names_the_line():
    with Node() as node:
        for text, words in [
            ("handlers = {\n  worker = 2;\n};\n", [":2", "worker", "did you mean", "workers"]),
            ("handlers = { workers = 100000; };\n", [":1", "workers", "100000"]),
            ("handlers = { workers = ;\n", [":1"]),
            ('queues = ( { name = "a"; }, { name = "a"; } );\n', ["a"]),
            ('ledger = { url = "oracle:x"; };\n', ["oracle"]),
        ]:
            node.write_config(text)
            for more in (["-t"], []):
                command = [SKEPD, "--config", node.config_path, "--set", f"node.state_dir={node.state}", *more]
                done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
                check(done.returncode == 78, f"{text!r}: exit {done.returncode}: {done.stderr}")
                for word in words:
                    check(word in done.stderr, f"{text!r}: {word!r} is not said: {done.stderr}")
        done = subprocess.run([SKEPD, "--nonsense"], capture_output=True, text=True, timeout=PATIENCE, check=False)
        check(done.returncode == 64, f"usage: {done.returncode}")


def a_bad_reload_keeps_the_old_configuration():
    with Node().start() as node:
        node.write_config("handlers = { worker = 2; };\n")
        node.signal(1)
        wait_for("the refusal to be logged", lambda: "reload refused" in node.log())
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "it works on")
        node.write_config("handlers = { workers = 4; };\n")
        node.signal(1)
        wait_for("four workers", lambda: len([row for row in node.workers() if row["state"] == "ready"]) == 4)


def ends_at_once(node, code, words, settings=(), other=None):
    process = node.process
    node.start(settings, ready=False)
    got = node.process.wait(PATIENCE)
    text = node.log()
    node.process = process
    check(got == code, f"exit {got}, not {code}: {text[-500:]}")
    for word in words:
        check(word in text, f"{word!r} is not said: {text[-800:]}")


def a_second_skepd_on_the_same_state_directory_is_refused():
    with Node().start() as node:
        ends_at_once(node, 73, [node.state, "in use", str(node.pid)], ["http.socket=" + node.socket + "2"])
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "the first serves on")


def a_socket_or_port_in_use_is_named():
    with Node().start() as node, Node() as second:
        second.settings.append("http.socket=" + node.socket)
        second.socket = node.socket
        ends_at_once(second, 73, [node.socket])
        check(node.finish(node.enqueue("echo", 1))["state"] == "completed", "the first serves on")
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        tokens = os.path.join(second.root, "tokens")
        with open(os.open(tokens, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("secret-token-of-some-length\n")
        second.settings.pop()
        second.socket = os.path.join(second.root, "s")
        ends_at_once(second, 73, [str(port)], [f"http.listen=127.0.0.1:{port}", "http.token_file=" + tokens])
        taken.close()
        ends_at_once(second, 78, ["token"], [f"http.listen=127.0.0.1:{port}"])


def a_data_directory_that_cannot_be_written_is_named():
    with Node() as node:
        node.ledger = "sqlite:/nonexistent/place/skep.db"
        ends_at_once(node, 73, ["/nonexistent/place"])
        node.ledger = "sqlite:/proc/skep.db"
        ends_at_once(node, 73, ["/proc"])
        text = os.path.join(node.root, "text.db")
        with open(text, "w") as file:
            file.write("this is not a database, it is a text that is long enough to be read as one\n" * 20)
        node.ledger = "sqlite:" + text
        ends_at_once(node, 73, [text])
        node.state = "/proc/skep-state"
        ends_at_once(node, 73, ["/proc/skep-state"])


def mounted(size):
    where = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", where], check=False,
                      capture_output=True).returncode:
        os.rmdir(where)
        raise Skip("a small tmpfs can only be mounted by root")
    return where


def unmount(where):
    subprocess.run(["umount", "-l", where], check=False)
    os.rmdir(where)


def a_read_only_data_directory_is_named():
    where = mounted("4m")
    try:
        subprocess.run(["mount", "-o", "remount,ro", where], check=True)
        with Node() as node:
            node.ledger = f"sqlite:{where}/skep.db"
            ends_at_once(node, 73, [where])
    finally:
        unmount(where)


def a_full_disk_refuses_and_loses_nothing():
    where = mounted("8m")
    try:
        with Node() as node:
            node.ledger = f"sqlite:{where}/skep.db"
            node.start()
            accepted = [node.enqueue("echo", 0)]
            ballast = os.path.join(where, "ballast")
            refusal = None
            for number in range(2000):
                answer = node.post({"type": "echo", "payload": "x" * 20000, "delay": "1h"})
                if answer.status != 201:
                    refusal = answer
                    break
                accepted.append(answer.json["id"])
            check(refusal is not None, "the disk never filled up")
            check(refusal.status == 503, f"{refusal.status} {refusal.body}")
            check("full" in refusal.body.decode(), f"{refusal.body}")
            check(node.process.poll() is None, "skepd lives")
            subprocess.run(["mount", "-o", "remount,size=64m", where], check=True)
            job = wait_for("room again", lambda: (lambda answer: answer if answer.status == 201 else None)
                           (node.post({"type": "echo", "payload": 1})))
            check(node.finish(job.json["id"])["state"] == "completed", "it works on")
            for id_ in accepted:
                job = wait_for(f"accepted job {id_}", lambda id_=id_: (lambda job: job if job["state"] in
                               ("completed", "scheduled") else None)(node.job(id_)))
                check(job["id"] == id_, "an accepted job is there")
            check(not os.path.exists(ballast), "nothing else was written")
    finally:
        unmount(where)


def start_on_a_free_port(node, *settings):
    """Returns the port. Another program may be quicker to take it: then another one."""
    for _ in range(10):
        port = free_ports(1)[0]
        try:
            node.start([f"http.listen=127.0.0.1:{port}", *settings])
            return port
        except Failure:
            if str(port) not in node.log() or node.process.poll() is None:
                raise
    raise Failure("no port is free")


def the_tcp_listener_wants_its_token():
    with Node() as node:
        tokens = os.path.join(node.root, "tokens")
        with open(os.open(tokens, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("a-token-that-nobody-guesses\n")
        port = start_on_a_free_port(node, "http.token_file=" + tokens)

        def curl(path, *words):
            done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *words,
                                   f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=False)
            return done.stdout
        check(curl("/v1/jobs") == "401", "no token")
        check(curl("/v1/jobs", "-H", "Authorization: Bearer wrong") == "401", "a wrong token")
        check(curl("/v1/jobs", "-H", "Authorization: Bearer a-token-that-nobody-guesses") == "200", "the token")
        check(curl("/livez") == "200", "health needs none")
        check("a-token-that-nobody-guesses" not in node.log(), "tokens are not logged")


run(bad_jobs_are_refused_by_name, an_array_is_all_or_nothing, bad_configuration_ends_with_78_and_names_the_line,
    a_bad_reload_keeps_the_old_configuration, a_second_skepd_on_the_same_state_directory_is_refused,
    a_socket_or_port_in_use_is_named, a_data_directory_that_cannot_be_written_is_named,
    a_read_only_data_directory_is_named, a_full_disk_refuses_and_loses_nothing, the_tcp_listener_wants_its_token)
