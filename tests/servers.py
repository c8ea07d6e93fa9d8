#!/usr/bin/python3
"""Private PostgreSQL and RabbitMQ servers for tests and for trying skep out; a module and a program.

Each server has ports, a data folder, a log and, for RabbitMQ, a node name, a cookie and an epmd of its own, listens on
127.0.0.1 alone, and is found again by the folder that it lives in: DIR/postgres, DIR/rabbitmq. What Debian's packages
installed is run in place; its system services, their data and their ports are never touched.

usage: servers.py VERB [NAME...] --dir DIR     names: postgres rabbitmq; none: both
  up [--while PID]    starts what does not run; --while: they end when that process has ended
     [--set NAME.KEY=VALUE]...   an option of the server's own configuration, kept until it is set again
     [--remove]       and their folder is gone then
  down                stops them and the guard
  discard             kills them and removes the folder
  env                 prints export lines: SKEP_TEST_POSTGRES, SKEP_TEST_AMQP, SKEP_TEST_SERVERS_CONTROL
  url                 prints their URLs, one per line, when they run
  status              one line each: name, up or down, URL
  start stop kill restart pause resume wipe     kill: SIGKILL of all of it; wipe: its data is gone, it runs if it ran
  ctl WORD...         rabbitmqctl (slow)        eval EXPRESSION   in the broker's Erlang (fast)
  sql STATEMENT       psql, one value per line
Readiness is a protocol's answer, not an open port. Wait for it alone, never for a time.
"""
import argparse
import contextlib
import fcntl
import hashlib
import os
import pwd
import random
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys

sys.dont_write_bytecode = True  # a source tree stays as it is
from private_server import PATIENCE, Server, Trouble, end_guard, lives, receive, start_guard, stat_of  # noqa: F401

NAMES = ("postgres", "rabbitmq")


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


class RabbitMQ(Server):
    """A broker without plug-ins. options are lines of rabbitmq.conf; `channel_tick_interval`, which has none there,
    and others of the application rabbit go with the prefix `rabbit.`, as Erlang terms."""

    name = "rabbitmq"
    stop_signal = signal.SIGTERM
    ports_needed = 3
    scripts = "/usr/lib/rabbitmq/bin"  # those on PATH insist on the user rabbitmq and on its folder
    # Calm on few cores: no spinning schedulers, small tables.
    machine = "+P 131072 +t 1048576 +S 2:2 +SDio 8 +sbwt none +sbwtdcpu none +sbwtdio none +zdbbl 32000"

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def node(self):
        return f"skep-{self.port}@localhost"

    def environment(self):
        return {
            "HOME": self.directory, "RABBITMQ_NODENAME": self.node, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.ports[1]),
            "ERL_EPMD_PORT": str(self.ports[2]), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": self.data, "RABBITMQ_LOG_BASE": self.directory, "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": os.path.join(self.directory, "no-such-file"),
            "RABBITMQ_CONFIG_FILE": os.path.join(self.directory, "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": os.path.join(self.directory, "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(self.directory, "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.directory, "plugins"),
            "RABBITMQ_SERVER_ERL_ARGS": self.machine,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_DIST_PORT_MIN": "20000", "RABBITMQ_CTL_DIST_PORT_MAX": "32000",
            "ERL_CRASH_DUMP_SECONDS": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def write(self, file, text, mode=0o644):
        path = os.path.join(self.directory, file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if text:  # an empty rabbitmq.conf costs the broker's start as much as a full one
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, mode), "w") as out:
                out.write(text)

    def run(self):
        if not os.path.exists(os.path.join(self.scripts, "rabbitmq-server")):
            raise Trouble(f"{self.scripts} is not there: Debian's package rabbitmq-server has it")
        os.makedirs(self.data, exist_ok=True)
        self.write(".erlang.cookie", self.cookie(), 0o400)
        self.write("plugins", "[].\n")
        plain = {k: v for k, v in self.options.items() if not k.startswith("rabbit.")}
        self.write("rabbitmq.conf", "".join(f"{k} = {v}\n" for k, v in plain.items()))
        terms = ",".join(f"{{{k[7:]},{v}}}" for k, v in self.options.items() if k.startswith("rabbit."))
        self.write("advanced.config", f"[{{rabbit,[{terms}]}}].\n")
        environment = self.environment()
        if len(self.roots()) == 0:
            self.spawn(["epmd", "-port", str(self.ports[2]), "-address", "127.0.0.1"], main=False, env=environment,
                       cwd="/")
        # `detached` makes the script become the server; otherwise it would stand beside it and forward signals.
        self.spawn([os.path.join(self.scripts, "rabbitmq-server")], env={**environment, "detached": "1"}, cwd="/")

    def cookie(self):
        kept = self.read("cookie.json") or f"skep{random.getrandbits(64):x}"
        self.keep("cookie.json", kept)
        return kept

    @staticmethod
    def greet(connection):
        """Opens the virtual host `/` as guest (AMQP 0-9-1, section 2.2.4) and leaves again."""
        def method(kind, arguments):
            body = struct.pack("!HH", 10, kind) + arguments
            connection.sendall(struct.pack("!BHI", 1, 0, len(body)) + body + b"\xce")

        def answer():
            size = struct.unpack("!BHI", receive(connection, 7))[2]
            return struct.unpack("!HH", receive(connection, size + 1)[:4])

        connection.sendall(b"AMQP\0\0\x09\x01")
        if answer() != (10, 10):
            return False
        method(11, b"\0\0\0\0" + b"\x05PLAIN" + struct.pack("!I", 12) + b"\0guest\0guest" + b"\x05en_US")
        if answer() != (10, 30):
            return False
        method(31, struct.pack("!HIH", 1, 131072, 0))
        method(40, b"\x01/\0\0")
        if answer() != (10, 41):
            return False
        method(50, struct.pack("!H", 200) + b"\0" + struct.pack("!HH", 0, 0))
        answer()
        return True

    def ctl(self, *words, check=True):
        """rabbitmqctl -q WORDS; a second and a half each, so prefer eval in loops."""
        done = subprocess.run([os.path.join(self.scripts, "rabbitmqctl"), "-q", "-n", self.node, *words], cwd="/",
                              env=self.environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
        if check and done.returncode:
            raise Trouble(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def eval(self, expression, form="~0tp"):
        """The value of an Erlang expression in the broker, as Erlang prints it."""
        words = ["/usr/lib/erlang/bin/erl_call", "-r", "-c", self.cookie(), "-address", f"localhost:{self.ports[1]}", "-e",
                 "-fetch_stdout", "-no_result_term"]
        text = expression.rstrip(". \n")
        done = subprocess.run(words, input=f'io:format("={form}", [begin {text} end]).\n', cwd="/", check=False,
                              env={"HOME": self.directory, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
                              timeout=PATIENCE)
        if done.returncode or not done.stdout.startswith("="):
            raise Trouble(f"eval {expression}: {done.stdout}{done.stderr or 'it failed'}")
        return done.stdout[1:].strip()

    # --- a corner of one's own on a shared broker ---

    def new_vhost(self, name):
        """A fresh virtual host; returns its URL."""
        self.drop_vhost(name)
        self.eval(f'ok = rabbit_vhost:add(<<"{name}">>, <<"skep">>), rabbit_auth_backend_internal:set_permissions('
                  f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"skep">>)')
        return f"{self.url}/{name}"

    def drop_vhost(self, name):
        self.eval(f'case rabbit_vhost:exists(<<"{name}">>) of true -> rabbit_vhost:delete(<<"{name}">>, <<"skep">>); '
                  'false -> ok end')

    def queues(self, vhost="/"):
        """{name: (ready, unacknowledged)}; counts may be seconds old for quorum queues that nobody asks."""
        said = self.eval('[io_lib:format("~ts|~w|~w;", [element(4, proplists:get_value(name, I)), proplists:get_value('
                         'messages_ready, I), proplists:get_value(messages_unacknowledged, I)]) || I <- '
                         f'rabbit_amqqueue:info_all(<<"{vhost}">>, [name, messages_ready, messages_unacknowledged])]',
                         "~ts")
        rows = [row.split("|") for row in said.split(";") if row]
        return {name: (int(ready), int(unacked)) for name, ready, unacked in rows if ready.isdigit()}


KINDS = {"postgres": Postgres, "rabbitmq": RabbitMQ}


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
                shutil.rmtree(server.data, ignore_errors=True)
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
        shutil.rmtree(server.data, ignore_errors=True)
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
        variable = {"postgres": "SKEP_TEST_POSTGRES", "rabbitmq": "SKEP_TEST_AMQP"}[server.name]
        print(f"export {variable}={shlex.quote(server.url)}")
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
    elif options.verb in verbs or options.verb in ("start", "stop", "kill", "restart", "pause", "resume", "wipe"):
        unknown = set(words) - set(NAMES)
        if unknown:
            parser.error(f"there is no server {', '.join(sorted(unknown))}")
        servers = [KINDS[name](home, owned=False) for name in words or NAMES]
        for server in servers:
            server.configure(**wanted(server.name, options.settings))
        verbs.get(options.verb, verb_simple)(home, servers, options)
    else:
        parser.error(f"there is no verb {options.verb}")


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(f"servers: {trouble}")
