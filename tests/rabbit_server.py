"""A private RabbitMQ, and a cluster of three."""
import contextlib
import os
import random
import signal
import struct
import subprocess
import time

from private_cluster import Cluster, quietly
from private_server import PATIENCE, Server, Trouble, receive


class RabbitMQ(Server):
    """A broker without plug-ins. options are lines of rabbitmq.conf; `channel_tick_interval`, which has none there,
    and others of the application rabbit go with the prefix `rabbit.`, as Erlang terms."""

    name = "rabbitmq"
    stop_signal = signal.SIGTERM
    ports_needed = 3
    defaults = {}
    scripts = "/usr/lib/rabbitmq/bin"  # those on PATH insist on the user rabbitmq and on its folder
    # Calm on few cores: no spinning schedulers, small tables.
    machine = "+P 131072 +t 1048576 +S 2:2 +SDio 8 +sbwt none +sbwtdcpu none +sbwtdio none +zdbbl 32000"

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def node(self):
        return f"skep-{self.port}@localhost"

    @property
    def epmd_port(self):
        return self.ports[2]

    def environment(self):
        return {
            "HOME": self.directory, "RABBITMQ_NODENAME": self.node, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.ports[1]),
            "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
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
        plain = {k: v for k, v in {**self.defaults, **self.options}.items() if not k.startswith("rabbit.")}
        self.write("rabbitmq.conf", "".join(f"{k} = {v}\n" for k, v in plain.items()))
        terms = ",".join(f"{{{k[7:]},{v}}}" for k, v in self.options.items() if k.startswith("rabbit."))
        self.write("advanced.config", f"[{{rabbit,[{terms}]}}].\n")
        environment = self.environment()
        if len(self.roots()) == 0:
            self.run_epmd(environment)
        # `detached` makes the script become the server; otherwise it would stand beside it and forward signals.
        self.spawn([os.path.join(self.scripts, "rabbitmq-server")], env={**environment, "detached": "1"}, cwd="/")

    def run_epmd(self, environment):
        self.spawn(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"], main=False, env=environment,
                   cwd="/")

    def cookie(self):
        return self.kept("cookie.json", lambda: f"skep{random.getrandbits(64):x}")

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
        """The value of an Erlang expression in the broker, as Erlang prints it. The broker refuses two nodes of one name,
        and -r draws the same one twice within a second."""
        name = f"eval-{os.getpid()}-{time.monotonic_ns()}"
        words = ["/usr/lib/erlang/bin/erl_call", "-h", name, "-c", self.cookie(), "-address",
                 f"localhost:{self.ports[1]}", "-e", "-fetch_stdout", "-no_result_term"]
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


# --- three of them ---

class Epmd(Server):
    """Erlang's port mapper, which the nodes of a cluster share: none of them takes it down when it is killed."""

    ports_needed = 1

    def run(self):
        self.spawn(["epmd", "-port", str(self.port), "-address", "127.0.0.1"], cwd="/",
                   env={"PATH": "/usr/bin:/bin", "HOME": self.directory})

    @staticmethod
    def greet(connection):
        """NAMES_REQ (Erlang's distribution protocol, section 13.2): four bytes and a list."""
        connection.sendall(b"\0\x01n")
        return len(receive(connection, 4)) == 4


class RabbitNode(RabbitMQ):
    """A node that was wiped has forgotten its cluster, which remembers it: RabbitMQ refuses that. So it is done to all
    of them or none."""

    ports_needed = 2
    may_move = False
    # A node that was paused and resumed heals by itself.
    defaults = {"cluster_partition_handling": "pause_minority"}

    def __init__(self, cluster, number):
        self.cluster = cluster
        super().__init__(cluster.home, owned=False, name=f"{cluster.name}.{number}")

    @property
    def epmd_port(self):
        return self.cluster.epmd.port

    def run_epmd(self, environment):
        self.cluster.epmd.start()

    def cookie(self):
        return self.cluster.cookie()

    def wipe(self):
        raise Trouble(f"{self.name} alone cannot be wiped: wipe {self.cluster.name}")

    def members(self):
        said = quietly(lambda: self.eval("length(rabbit_nodes:all_running())"), Trouble, OSError)
        return int(said) if said and said.isdigit() else 0

    def join(self, other):
        """What rabbitmqctl's stop_app, join_cluster and start_app do."""
        self.eval(f"ok = rabbit:stop(), ok = rabbit_mnesia:join_cluster('{other.node}', disc), ok = rabbit:start()")
        self.keep("joined.json", True)

    def erase(self):
        super().erase()
        self.keep("joined.json", False)


class RabbitCluster(Cluster):
    """Three brokers: a quorum queue has a member on each, and lives as long as any two of them."""

    name = "rabbitmq-cluster"
    kind = RabbitNode

    def __init__(self, directory=None, options=None, owned=True):
        super().__init__(directory, options, owned)
        self.epmd = Epmd(self.home, owned=False, name=self.name)

    @property
    def url(self):
        return ",".join([self.nodes[0].url] + [f"127.0.0.1:{node.port}" for node in self.nodes[1:]])

    def cookie(self):
        return self.epmd.kept("cookie.json", lambda: f"skep{random.getrandbits(64):x}")

    def launch(self):
        self.epmd.start()
        self.cookie()
        return super().launch()

    def settle(self):
        for node in self.nodes[1:]:
            if not node.read("joined.json"):
                node.join(self.nodes[0])
        self.await_all("all nodes to be members",
                       lambda: all(node.members() == len(self.nodes) for node in self.running()))

    def stop(self):
        super().stop()
        self.epmd.kill()
        return self

    def kill(self):
        super().kill()
        self.epmd.kill()
        return self
