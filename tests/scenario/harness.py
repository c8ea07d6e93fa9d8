"""What every scenario shares: private skepds, their API over the Unix socket, the command line, PostgreSQL, and a runner.
The brokers are in brokers.py, producers that are not ours in strangers.py.

A scenario is a story at process level: the real skepd, the real worker program, real plug-ins, real signals. Each test
gets Nodes of its own in temporary directories and leaves nothing behind. No test asserts a time; waiting has a bound
that is far above what is expected, and says what it waited for when it is exceeded.

A story that needs a server takes it as a context, and says so in meson.build (SKEP_TEST_NEEDS):

    with postgres() as ledger, cluster(3, ledger=ledger.url) as nodes:
        nodes[0].enqueue("echo", {"x": 1})

One that kills, stops or wipes it asks for a server of its own: postgres(private=True).
"""

import contextlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import servers

BUILD = os.environ["SKEP_BUILD"]
SKEPD = os.path.join(BUILD, "daemon", "skepd")
SKEP = os.path.join(BUILD, "cli", "skep")
WORKER = os.path.join(BUILD, "plugins", "skep-worker")
HANDLERS = os.path.join(BUILD, "handlers")
VILLAINS = os.path.join(BUILD, "tests", "villains")
PATIENCE = float(os.environ.get("SKEP_PATIENCE", "180"))
BROKER = os.environ.get("SKEP_BROKER", "amqp")  # of the stories that are told for each: amqp or nats
TERMINAL = ("completed", "dead", "cancelled")


class Failure(AssertionError):
    """A scenario found something that must not be."""


class Skip(Exception):
    """What the scenario needs is not on this machine; the message says what."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait_for(what, probe, patience=None):
    """Polls until probe() gives something true; returns it."""
    end = time.monotonic() + (patience or PATIENCE)
    pause = 0.005
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited in vain for: {what}; last seen: {value}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=90):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Node:
    """One skepd with a state directory, a handlers directory and a socket of its own."""

    def __init__(self, handlers=("echo", "sleep", "noop"), villains=(), settings=(), root=None, ledger=None, config=""):
        self.own_root = root is None
        self.root = root or tempfile.mkdtemp(prefix="skep-scenario-")
        self.handlers = os.path.join(self.root, "handlers")
        self.socket = os.path.join(self.root, "s")
        self.state = os.path.join(self.root, "state")
        self.log_path = os.path.join(self.root, "skepd.log")
        self.ledger = ledger or f"sqlite:{self.root}/skep.db"
        self.settings = list(settings)
        self.config_path = os.path.join(self.root, "skep.conf")
        self.write_config(config.replace("ROOT", self.root))
        self.process = None
        os.makedirs(self.handlers, mode=0o755, exist_ok=True)
        for name in handlers:
            self.drop(os.path.join(HANDLERS, name + ".so"))
        for name in villains:
            self.drop(os.path.join(VILLAINS, name + ".so"))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and os.path.exists(self.log_path):
            with open(self.log_path, errors="replace") as log:
                print("  --- the end of skepd's log ---")
                print("".join("  " + line for line in log.readlines()[-30:]))
        self.kill()
        if self.own_root:
            shutil.rmtree(self.root, ignore_errors=True)

    def write_config(self, text):
        with open(self.config_path, "w") as file:
            os.chmod(self.config_path, 0o600)  # it may hold a password
            file.write(text)

    def drop(self, source, name=None):
        """Puts a plug-in into the handlers directory, whole at once."""
        target = os.path.join(self.handlers, name or os.path.basename(source))
        shutil.copyfile(source, target + ".part")
        os.chmod(target + ".part", 0o755)
        os.rename(target + ".part", target)
        return target

    def command(self, settings=()):
        pairs = [f"node.state_dir={self.state}", f"handlers.dir={self.handlers}", f"http.socket={self.socket}",
                 f"ledger.url={self.ledger}", "log.format=logfmt", *self.settings, *settings]
        words = [SKEPD, "--config", self.config_path, "--worker", WORKER]
        for pair in pairs:
            words += ["--set", pair]
        return words

    def start(self, settings=(), ready=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            check(self.process.poll() is None, f"skepd ended with {self.process.returncode} instead of serving")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/readyz").status == 200
            return False
        wait_for("skepd to be ready", ready)

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
        if self.process:
            self.process.wait()

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    # --- the API ---

    def request(self, method, path, body=None, headers=None, timeout=90):
        connection = UnixConnection(self.socket, timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            headers = dict(headers or {})
            if body is not None:
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, body, headers=None):
        return self.request("POST", "/v1/jobs", body, headers)

    def enqueue(self, type_, payload=None, **fields):
        """Submits one job, returns its id."""
        body = {"type": type_, **fields}
        if payload is not None:
            body["payload"] = payload
        answer = self.post(body)
        check(answer.status == 201, f"POST {body} was answered {answer.status}: {answer.body[:300]}")
        return answer.json["id"]

    def enqueue_many(self, jobs):
        answer = self.post(list(jobs))
        check(answer.status == 201, f"POST of an array was answered {answer.status}: {answer.body[:300]}")
        return [job["id"] for job in answer.json]

    def job(self, id_, wait=0):
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        answer = self.request("GET", f"/v1/jobs/{id_}", headers=headers)
        check(answer.status == 200, f"GET of job {id_} was answered {answer.status}: {answer.body[:300]}")
        return answer.json

    def finish(self, id_, patience=None):
        """Waits for the job to end."""
        return wait_for(f"job {id_} to end", lambda: self.ended(id_), patience)

    def ended(self, id_):
        job = self.job(id_, wait=5)
        return job if job["state"] in TERMINAL else None

    def until(self, id_, state):
        return wait_for(f"job {id_} to be {state}",
                        lambda: (lambda job: job if job["state"] == state else None)(self.job(id_)))

    def workers(self):
        return self.get("/v1/workers").json["workers"]

    def plugins(self):
        return {row["plugin"]: row for row in self.get("/v1/handlers").json["handlers"]}

    def serving(self, plugin):
        wait_for(f"{plugin} to serve", lambda: self.plugins().get(plugin, {}).get("state") == "serving")

    def refused(self, plugin):
        return wait_for(f"{plugin} to be refused",
                        lambda: (lambda row: row if row.get("state") == "refused" else None)
                        (self.plugins().get(plugin, {})))["reason"]

    def skep(self, *words, input=None, check_code=None):
        environment = dict(os.environ, SKEP_URL="unix:" + self.socket)
        done = subprocess.run([SKEP, *words], input=input, capture_output=True, text=True, env=environment,
                              timeout=PATIENCE + 60, check=False)
        if check_code is not None:
            check(done.returncode == check_code,
                  f"skep {' '.join(words)} ended with {done.returncode}, not {check_code}: "
                  f"{done.stdout[-500:]}{done.stderr[-500:]}")
        return done


@contextlib.contextmanager
def cluster(count, ledger, **more):
    """That many ready nodes on one ledger, each with a state directory, handlers and a socket of its own."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(ledger=ledger, **more)) for _ in range(count)]
        for node in nodes:
            node.start(ready=False)
        for node in nodes:
            node.wait_ready()
        yield nodes


# --- configuration ---

def libconfig(value):
    """A value in libconfig's words: a dict is a group, a list of dicts a list, any other list an array."""
    if isinstance(value, dict):
        return "{ " + " ".join(f"{key} = {libconfig(inner)};" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        ends = "()" if any(isinstance(inner, dict) for inner in value) else "[]"
        return ends[0] + ", ".join(libconfig(inner) for inner in value) + ends[1]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- servers ---

class Service:
    """A server, or a corner of a shared one (a database) that no other test uses. `server` is None when somebody else's
    is used, of which only the address is known."""

    def __init__(self, url, server, name=None):
        self.url, self.server, self.name = url, server, name

    def sql(self, text):
        """PostgreSQL: runs SQL, returns what psql printed."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-f", "-"],
                              input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)
        check(done.returncode == 0, f"psql: {done.stderr}")
        return done.stdout.strip()


def shared(kind, variable):
    """The server that runs for all tests, and its URL; (None, None) without one."""
    url, control = os.environ.get(variable), os.environ.get("SKEP_TEST_SERVERS_CONTROL")
    if not url or not control:
        return None, url
    words = shlex.split(control)
    return kind(words[words.index("--dir") + 1], owned=False), url


@contextlib.contextmanager
def postgres(private=False, **options):
    """A PostgreSQL with an empty database. private: a server of the test's own, which it may kill (`.server`)."""
    server, url = (None, None) if private or options else shared(servers.Postgres, "SKEP_TEST_POSTGRES")
    if server:
        name = "test_" + secrets.token_hex(6)
        try:
            yield Service(server.new_database(name), server, name)
        finally:
            server.sql(f'drop database if exists "{name}" with (force)')
    elif url:
        yield Service(url, None)
    else:
        with servers.Postgres(options=options) as server:
            yield Service(server.url, server)


def run(*tests, amqp=(), nats=()):
    """Runs the scenario's tests, prints the closing line, ends the process. amqp, nats: those of one broker alone."""
    tests += {"amqp": tuple(amqp), "nats": tuple(nats)}[BROKER]
    passed = failed = skipped = 0
    chosen = sys.argv[1:]
    for test in tests:
        name = test.__name__
        if chosen and name not in chosen:
            continue
        started = time.monotonic()
        try:
            test()
            passed += 1
            verdict = "ok"
        except Skip as reason:
            skipped += 1
            verdict = f"skipped: {reason}"
        except Exception:  # a scenario must never end without its closing line
            failed += 1
            verdict = "FAILED"
            traceback.print_exc(file=sys.stdout)
        print(f"{verdict:>6}  {name.replace('_', ' ')}  ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)
