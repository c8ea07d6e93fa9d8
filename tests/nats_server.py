"""A private nats-server with JetStream, and a cluster of three. Options are keys of its configuration file with their
values as they stand there (`max_payload`: `8MB`, `authorization`: `{ user: a, password: b }`); those of the block
jetstream go with the prefix `jetstream.`; the one key of ours, `login` (`user:password` or a token), makes it ask for
that login and stands in the URL then."""
import http.client
import json
import os
import signal
from urllib.parse import quote

from nats_client import Refused, connect, parse_url
from private_cluster import Cluster, quietly
from private_server import Server, Trouble, receive, send

LINE_MAX = 1 << 16


class Nats(Server):
    name = "nats"
    stop_signal = signal.SIGTERM
    ports_needed = 2  # for clients, for its monitor
    program = "/usr/sbin/nats-server"

    @property
    def url(self):
        login = ":".join(quote(word, safe="") for word in self.options.get("login", "").split(":", 1))
        return f"nats://{login + '@' if login else ''}127.0.0.1:{self.port}"

    @property
    def server_name(self):
        return self.name.replace(".", "-")

    def connect(self, patience=10):
        return connect(self.url, patience)

    def sections(self):
        """Blocks beyond those that every server here has."""
        return {}

    def login_section(self):
        fields = parse_url(self.url)[0]
        if not fields:
            return {}
        words = {"user": "user", "pass": "password", "auth_token": "token"}
        pairs = ", ".join(f"{words[name]}: {json.dumps(value)}" for name, value in fields.items())
        return {"authorization": f"{{ {pairs} }}"}

    def run(self):
        if not os.path.exists(self.program):
            raise Trouble(f"{self.program} is not there: Debian's package nats-server has it")
        own = {key: value for key, value in self.options.items() if key != "login" and not key.startswith("jetstream.")}
        stream = {key[10:]: value for key, value in self.options.items() if key.startswith("jetstream.")}
        stream = {"store_dir": json.dumps(self.data), **stream}
        block = ", ".join(f"{key}: {value}" for key, value in stream.items())
        lines = {"server_name": json.dumps(self.server_name), "listen": f'"127.0.0.1:{self.port}"',
                 "http": f'"127.0.0.1:{self.ports[1]}"', "jetstream": f"{{ {block} }}",
                 **self.login_section(), **self.sections(), **own}
        conf = os.path.join(self.directory, "nats.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.writelines(f"{key}: {value}\n" for key, value in lines.items())
        self.spawn([self.program, "-c", conf], cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})

    def greet(self, connection):
        """Its INFO line, then an answer of its JetStream, which in a cluster has a leader then. To one that lets only
        others in (a login or certificate that no option here names) no more can be said than what INFO tells."""
        line = receive(connection, 5)
        while not line.endswith(b"\r\n") and len(line) < LINE_MAX:
            line += receive(connection, 1)
        info = json.loads(line.partition(b" ")[2])
        if info.get("tls_required") or info.get("auth_required") and "login" not in self.options:
            return bool(info.get("jetstream"))
        return self.serves()

    def serves(self):
        def ask():
            with self.connect(2) as nats:
                return "error" not in nats.api("INFO")
        return quietly(ask, OSError, Refused)

    def monitor(self, path):
        """(status, JSON) of the server's monitor: varz, connz, jsz, healthz."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[1], timeout=10)
        try:
            connection.request("GET", "/" + path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def lameduck(self):
        """It tells its clients that it will go, lets them go one after another, and ends. How long that takes is the
        option `lame_duck_duration` (30s at least)."""
        send([self.main_pid()], signal.SIGUSR2)
        return self


class NatsNode(Nats):
    ports_needed = 3  # and for the other nodes
    may_move = False

    def __init__(self, cluster, number):
        self.cluster = cluster
        super().__init__(cluster.home, owned=False, name=f"{cluster.name}.{number}")

    def sections(self):
        routes = ", ".join(f'"nats://127.0.0.1:{node.ports[2]}"' for node in self.cluster.nodes if node is not self)
        return {"cluster": f'{{ name: "{self.cluster.name}", listen: "127.0.0.1:{self.ports[2]}", '
                           f'routes: [ {routes} ] }}'}

    def serves(self):
        """Without a majority there is nobody to answer: then it serves as well as it can."""
        if not self.cluster.has_quorum():
            return True
        return super().serves() and quietly(lambda: self.monitor("healthz?js-server-only=true")[0] == 200, OSError)


class NatsCluster(Cluster):
    """Three servers; a stream with num_replicas 3 lives as long as any two of them."""

    name = "nats-cluster"
    kind = NatsNode

    @property
    def url(self):
        return ",".join([self.nodes[0].url] + [f"127.0.0.1:{node.port}" for node in self.nodes[1:]])

    def connect(self, patience=10):
        return connect(self.url, patience)

    def meta(self):
        """The nodes' view of who leads them: {node's name: meta_cluster of /jsz}."""
        def view(node):
            return quietly(lambda: node.monitor("jsz")[1].get("meta_cluster") or {}, OSError) or {}
        return {node.name: view(node) for node in self.running()}

    def settle(self):
        def whole():
            replicas = [view.get("replicas") or [] for view in self.meta().values()]
            return any(len(row) == self.size - 1 and all(one.get("current") for one in row) for row in replicas)
        self.await_all("all nodes to be members", whole)

    def leader(self, words):
        """The node that leads a stream (`STREAM.INFO.JOBS`) or consumer (`CONSUMER.INFO.JOBS.x`), or None."""
        def ask():
            with self.connect(5) as nats:
                return nats.api(words).get("cluster", {}).get("leader")
        said = quietly(ask, OSError, Refused)
        return next((node for node in self.nodes if node.server_name == said), None)

    def await_current(self, stream):
        """Until every node has the whole of a stream: before another one may be killed."""
        def current():
            with self.connect(5) as nats:
                row = nats.api(f"STREAM.INFO.{stream}")["cluster"].get("replicas") or []
                return len(row) == self.size - 1 and all(one["current"] for one in row)
        self.await_all(f"{stream} to be whole on all nodes", lambda: quietly(current, OSError, Refused))
