"""A skepd of the build, its configuration in a file, its state on the build's disk."""
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from measure import Failed, Snapshot, own_cpu

BUILD = os.path.abspath(os.environ["SKEP_BUILD"])  # ./dev bench sets it: an optimised build
SKEPD = os.path.join(BUILD, "daemon", "skepd")
WORKER = os.path.join(BUILD, "plugins", "skep-worker")
NOOP = os.path.join(BUILD, "handlers", "noop.so")
SKEP = os.path.join(BUILD, "cli", "skep")


def program(name, payload=256):
    """The words that run a program of bench/, whose jobs have payloads of so many bytes."""
    return [os.path.join(BUILD, "bench", name), *(["--payload", str(payload)] if payload != 256 else [])]


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@contextlib.contextmanager
def place():
    """On the disk that the build lives on, not on a memory file system: what is measured is durable."""
    where = tempfile.mkdtemp(prefix="bench-", dir=BUILD)
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def write_config(where, ledger, more):
    handlers = os.path.join(where, "handlers")
    os.makedirs(handlers, mode=0o755, exist_ok=True)
    shutil.copy(NOOP, handlers)
    os.chmod(os.path.join(handlers, "noop.so"), 0o755)
    path = os.path.join(where, "skep.conf")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f'node = {{ state_dir = "{where}/state"; }};\nhandlers = {{ dir = "{handlers}"; }};\n'
                   f'http = {{ socket = "{where}/s"; }};\nledger = {{ url = "{ledger}"; }};\n{more}')
    return path


@contextlib.contextmanager
def skepd(where, ledger, more="", sets=()):
    """The default configuration but for places and servers; more: text for its file, sets: KEY=VALUE. It is stopped in
    order."""
    config = write_config(where, ledger, more)
    with open(os.path.join(where, "log"), "ab") as log:
        flags = [word for one in sets for word in ("--set", one)]
        process = subprocess.Popen([SKEPD, "--config", config, "--worker", WORKER, *flags], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def log_end(where):
    with contextlib.suppress(OSError):
        with open(os.path.join(where, "log"), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-10:])
    return ""


def wait_ready(where, process, patience=60, every=0.05):
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = Unix(f"{where}/s")
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(every)
    raise Failed(f"skepd does not become ready\n{log_end(where)}")


def read_metrics(where):
    """name{labels} → value"""
    connection = Unix(f"{where}/s")
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def wait_drained(where, process, finished, jobs, patience=900):
    """Waits without asking the servers anything while skepd works: it is done when it has had nothing to do for a second
    and the ledger then counts as many finished jobs. The snapshot from before that count."""
    end = time.monotonic() + patience
    before, quiet = own_cpu(process.pid), 0
    while True:
        time.sleep(0.1)
        now = own_cpu(process.pid)
        quiet = quiet + 1 if now - before <= 0.01 else 0
        before = now
        if quiet >= 10:
            seen = Snapshot()
            if finished() >= jobs:
                return seen
            quiet = 0
        if process.poll() is not None or time.monotonic() > end:
            raise Failed(f"{finished()} of {jobs} jobs are finished; skepd says:\n{log_end(where)}")
