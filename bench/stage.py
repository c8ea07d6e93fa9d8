"""Private servers for the benchmarks, as their packages set them up: fsync on, no option of ours. Their data is on the
build's disk (or /var/tmp, when the build's folder is closed to the user that runs PostgreSQL), and goes at the end."""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))
import private_server  # noqa: E402  (both found through the line above)
import servers  # noqa: E402

from measure import Failed, say  # noqa: E402
from node import BUILD  # noqa: E402

Trouble = servers.Trouble


class Database(servers.Postgres):
    """What no line sets is the server's built-in default."""

    defaults = {"log_min_messages": "warning", "cluster_name": "skep-bench"}


class Broker(servers.RabbitMQ):
    """With the schedulers that the package gives it."""

    def environment(self):
        return {key: value for key, value in super().environment().items() if key != "RABBITMQ_SERVER_ERL_ARGS"}


def refuse_memory(path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        raise Failed(f"{path} is on {kind}: what is measured there is not durable")


BROKERS = {"rabbitmq": Broker, "nats": servers.Nats}


@contextlib.contextmanager
def serve(broker, database=True):
    """(PostgreSQL, the broker of that name), running; None stands for one that was not asked for."""
    home = tempfile.mkdtemp(prefix="bench-servers-", dir=BUILD)
    os.chmod(home, 0o755)
    pair = (Database(home) if database else None, BROKERS[broker](home) if broker else None)
    started = [server for server in pair if server]
    try:
        for server in started:
            os.makedirs(os.path.dirname(server.data), exist_ok=True)
            refuse_memory(os.path.dirname(server.data))
            say(f"starting {server.name} on 127.0.0.1:{server.port}, data in {server.data}")
            server.start()
        yield pair
    finally:
        for server in started:
            server.close()
            shutil.rmtree(server.data, ignore_errors=True)
        private_server.end_guard(home)
        shutil.rmtree(home, ignore_errors=True)


def roots(server):
    """Pids to measure it by."""
    return [pid for pid, _ in server.roots()] if server else []
