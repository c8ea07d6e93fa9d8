#!/usr/bin/python3
"""Private PostgreSQL, RabbitMQ and NATS servers for tests and for trying skep out; a module and a program.

Each server has ports, a data folder, a log and, for RabbitMQ, a node name, a cookie and an epmd of its own, listens on
127.0.0.1 alone, and is found again by the folder that it lives in: DIR/postgres, DIR/rabbitmq, DIR/nats. What Debian's
packages installed is run in place; its system services, their data and their ports are never touched.

usage: servers.py VERB [NAME...] --dir DIR
  names: postgres rabbitmq nats, and clusters of three: nats-cluster rabbitmq-cluster; one node of one: nats-cluster.2
  none: up means the first three, every other verb what is there
  up [--while PID]    starts what does not run; --while: they end when that process has ended
     [--set NAME.KEY=VALUE]...   an option of the server's own configuration, kept until it is set again
     [--remove]       and their folder is gone then
  down                stops them and the guard
  discard             kills them and removes the folder
  env                 prints export lines: SKEP_TEST_POSTGRES, SKEP_TEST_AMQP, SKEP_TEST_NATS, those of the clusters
                      with _CLUSTER behind, SKEP_TEST_SERVERS_CONTROL
  url                 prints their URLs, one per line, when they run
  status              one line each: name, up or down, URL
  start stop kill restart pause resume wipe     kill: SIGKILL of all of it; wipe: its data is gone, it runs if it ran
  ctl WORD...         rabbitmqctl (slow)        eval EXPRESSION   in the broker's Erlang (fast)
  sql STATEMENT       psql, one value per line
  api WORDS [JSON]    NATS: asks $JS.API.WORDS  lameduck NAME...  NATS: it sends its clients away and ends
Readiness is a protocol's answer, not an open port. Wait for it alone, never for a time.
"""
import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys

sys.dont_write_bytecode = True  # a source tree stays as it is
from nats_client import Refused
from nats_server import Nats, NatsCluster
from private_server import PATIENCE, Server, Trouble, end_guard, lives, receive, start_guard, stat_of  # noqa: F401
from rabbit_server import RabbitCluster, RabbitMQ

NAMES = ("postgres", "rabbitmq", "nats")


class Postgres(Server):
    """A cluster with the superuser `skep` (trusted on loopback) and the database `skep`. The option fsync = off makes
    it quicker and loses nothing to a killed process, but then skep wants `ledger.unsafe`."""

    name = "postgres"
    stop_signal = signal.SIGINT
    binaries = "/usr/lib/postgresql/15/bin"
    defaults = {"shared_buffers": "64MB", "max_connections": "100", "max_wal_size": "256MB",
                "dynamic_shared_memory_type": "mmap", "log_min_messages": "warning", "log_line_prefix": "'%m [%p] '",
                "jit": "off", "cluster_name": "skep-test"}

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        if os.geteuid() == 0 and not reachable(self.directory):
            name = hashlib.sha256(self.directory.encode()).hexdigest()[:16]
            self.data = os.path.join(elsewhere(), "data-" + name)

    @property
    def url(self):
        return self.url_of("skep")

    def url_of(self, database):
        return f"postgresql://skep@127.0.0.1:{self.port}/{database}"

    @staticmethod
    def identity():
        """The server refuses to run as root; then it runs as the user that Debian's package made."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam("postgres")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def tool(self, name):
        path = os.path.join(self.binaries, name)
        if not os.path.exists(path):
            raise Trouble(f"{path} is not there: Debian's package postgresql-15 has it")
        return path

    def environment(self):
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def give(self, path):
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def run(self):
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            self.copy_template()
        lines = {**self.defaults, **self.options, "listen_addresses": "'127.0.0.1'", "port": self.port,
                 "unix_socket_directories": "''"}
        with open(os.path.join(self.data, "postgresql.conf"), "w", encoding="utf-8") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in lines.items())
        self.spawn([self.tool("postgres"), "-D", self.data], cwd="/", env=self.environment(), **self.identity())

    def copy_template(self):
        """A fresh cluster costs initdb seconds; a copy of one costs a moment."""
        template = self.template()
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", template, self.data], check=True)

    def template(self):
        place = template_directory()
        ready = os.path.join(place, f"postgres-15-{os.geteuid()}")
        with open(ready + ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(ready):
                self.make_template(ready + ".part")
                os.rename(ready + ".part", ready)
        return ready

    def make_template(self, path):
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        self.give(path)
        more = {"cwd": "/", "env": self.environment(), "capture_output": True, "text": True, **self.identity()}
        done = subprocess.run([self.tool("initdb"), "-D", path, "-U", "skep", "-A", "trust", "-E", "UTF8",
                               "--no-locale", "--no-sync", "--no-instructions"], check=False, **more)
        if done.returncode == 0:
            done = subprocess.run([self.tool("postgres"), "--single", "-D", path, "postgres"], check=False,
                                  input="create database skep\n", **more)
        if done.returncode:
            raise Trouble(f"initdb in {path} failed\n{done.stdout}{done.stderr}")

    @staticmethod
    def greet(connection):
        """Logs in; the last message of a login that succeeded is ReadyForQuery (protocol 3.0, section 55.2.1)."""
        words = b"user\0skep\0database\0skep\0\0"
        connection.sendall(struct.pack("!II", 8 + len(words), 3 << 16) + words)
        while True:
            kind, size = struct.unpack("!cI", receive(connection, 5))
            receive(connection, size - 4)
            if kind in (b"Z", b"E"):
                connection.sendall(b"X\0\0\0\4")
                return kind == b"Z"

    def sql(self, text, database="skep", check=True):
        """Runs SQL through psql; returns what it printed: rows by line, columns by `|`."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url_of(database),
                               "-f", "-"], input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if check and done.returncode:
            raise Trouble(f"psql: {done.stderr}")
        return done.stdout.strip()

    def new_database(self, name):
        """A database of one's own on a shared server; returns its URL."""
        self.sql(f'drop database if exists "{name}" with (force)')
        self.sql(f'create database "{name}"')
        return self.url_of(name)


KINDS = {kind.name: kind for kind in (Postgres, RabbitMQ, Nats, NatsCluster, RabbitCluster)}
SIMPLE = ("start", "stop", "kill", "restart", "pause", "resume", "wipe", "lameduck")
VARIABLES = {"postgres": "SKEP_TEST_POSTGRES", "rabbitmq": "SKEP_TEST_AMQP", "nats": "SKEP_TEST_NATS",
             "nats-cluster": "SKEP_TEST_NATS_CLUSTER", "rabbitmq-cluster": "SKEP_TEST_AMQP_CLUSTER"}


def template_directory():
    """Where the user that runs PostgreSQL can reach it: beside the build when that is open to all."""
    build = os.environ.get("SKEP_BUILD")
    if not build or not reachable(build):
        return elsewhere()
    place = os.path.join(build, "servers")
    os.makedirs(place, mode=0o755, exist_ok=True)
    return place


def elsewhere():
    """A directory of this user for what other users must reach."""
    place = os.path.join("/var/tmp", f"skep-servers-{os.geteuid()}")
    os.makedirs(place, mode=0o755, exist_ok=True)
    stat = os.lstat(place)
    if stat.st_uid != os.geteuid() or not os.path.isdir(place) or os.path.islink(place):
        raise Trouble(f"{place} belongs to somebody else")
    os.chmod(place, 0o755)
    return place


def reachable(path):
    """May other users pass through?"""
    path = os.path.abspath(path)
    while True:
        if os.path.exists(path) and not os.stat(path).st_mode & 0o001:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


# --- the program ---

def stand_guard(home, owner, remove):
    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(owner)
        if lives(owner, os.environ.get("SKEP_OWNER_BORN", "")):
            select.select([ended], [], [])
    for name, kind in KINDS.items():
        if os.path.isdir(os.path.join(home, name)):
            server = kind(home, owned=False).kill()
            if remove:
                server.erase()
    if remove:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def alone(home):
    """One at a time changes what runs in a folder."""
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wanted(name, settings):
    """The options for this server among `NAME.KEY=VALUE`."""
    pairs = [setting.partition("=") for setting in settings]
    return {key[len(name) + 1:]: value for key, _, value in pairs if key.startswith(name + ".")}


def found(home, name):
    """The server, the cluster or the node of a cluster with this name."""
    if name in KINDS:
        return KINDS[name](home, owned=False)
    kind = KINDS.get(name.rpartition(".")[0])
    server = kind(home, owned=False).node(name) if hasattr(kind, "size") else None
    if not server:
        raise Trouble(f"there is no server {name}")
    return server


def there(home):
    return [name for name in KINDS if os.path.isdir(os.path.join(home, name))]


def verb_up(home, servers, options):
    with alone(home):
        if options.owner:
            start_guard(home, options.owner, options.remove)
        started = [server.launch() for server in servers]
        for server in started:
            server.await_ready()
    verb_status(home, servers, options)


def verb_down(home, servers, options):
    with alone(home):
        if not options.words:
            end_guard(home)
        for server in servers:
            server.stop()


def verb_discard(home, servers, _options):
    end_guard(home)
    for server in servers:
        server.kill()
        server.erase()
    shutil.rmtree(home, ignore_errors=True)


def verb_url(home, servers, _options):
    for server in servers:
        if not server.alive():
            raise Trouble(f"no {server.name} runs in {home}; first: up")
        print(server.url)


def verb_env(home, servers, _options):
    for server in servers:
        if not server.read("server.json"):
            continue
        if server.name in VARIABLES:
            print(f"export {VARIABLES[server.name]}={shlex.quote(server.url)}")
    control = shlex.join(["/usr/bin/python3", os.path.abspath(__file__), "--dir", home])
    print(f"export SKEP_TEST_SERVERS_CONTROL={shlex.quote(control)}")


def verb_status(_home, servers, _options):
    for server in servers:
        print(f"{server.name}\t{'up' if server.alive() and server.answers() else 'down'}\t{server.url}")


def verb_simple(home, servers, options):
    with alone(home):
        for server in servers:
            getattr(server, options.verb)()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--while", dest="owner", type=int)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--remove", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("verb")
    options, words = parser.parse_known_args()
    options.words = words
    home = os.path.abspath(options.dir)
    verbs = {"up": verb_up, "down": verb_down, "discard": verb_discard, "env": verb_env, "url": verb_url,
             "status": verb_status}
    if options.verb == "guard":
        stand_guard(home, options.owner, options.remove)
    elif options.verb == "ctl":
        print(RabbitMQ(home, owned=False).ctl(*words))
    elif options.verb == "eval":
        print(RabbitMQ(home, owned=False).eval(" ".join(words)))
    elif options.verb == "sql":
        print(Postgres(home, owned=False).sql(" ".join(words)))
    elif options.verb == "api":
        with found(home, "nats" if "nats" in there(home) else "nats-cluster").connect() as nats:
            print(json.dumps(nats.api(words[0], *map(json.loads, words[1:])), indent=2))
    elif options.verb in verbs or options.verb in SIMPLE:
        servers = [found(home, name) for name in words or (NAMES if options.verb == "up" else there(home))]
        for server in servers:
            server.configure(**wanted(server.name, options.settings))
        verbs.get(options.verb, verb_simple)(home, servers, options)
    else:
        parser.error(f"there is no verb {options.verb}")


if __name__ == "__main__":
    try:
        main()
    except (Trouble, Refused, OSError) as trouble:
        sys.exit(f"servers: {trouble}")
