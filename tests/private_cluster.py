"""Several private servers of one kind that know each other, moved together or one by one.

A cluster NAME has its nodes in DIR/NAME.1 to DIR/NAME.3 and what they share in DIR/NAME. Each node is a private server
like any other, killed, started and paused by its name; the cluster does the same to all. Nodes never change their ports
by themselves: the others were told them.
"""
import contextlib
import os
import shutil
import tempfile

from private_server import Trouble, end_guard, start_guard, wait_until


class Cluster:
    """kind(cluster, number) makes a node."""

    name = None
    kind = None
    size = 3

    def __init__(self, directory=None, options=None, owned=True):
        self.temporary = directory is None
        self.home = os.path.abspath(directory or tempfile.mkdtemp(prefix="skep-servers-"))
        self.directory = os.path.join(self.home, self.name)
        self.owned, self.guarded = owned, False
        os.makedirs(self.directory, exist_ok=True)
        self.nodes = [self.kind(self, number) for number in range(1, self.size + 1)]
        self.configure(**(options or {}))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def node(self, name):
        return next((node for node in self.nodes if node.name == name), None)

    def settle(self):
        """Returns when all nodes are members, as they say themselves."""

    # --- its life; each as private_server.Server has it ---

    def launch(self):
        if self.owned and not self.guarded:
            start_guard(self.home, os.getpid(), self.temporary)
            self.guarded = True
        for node in self.nodes:
            node.note()  # each node's file tells the others where it listens
        for node in self.nodes:
            node.launch()
        return self

    def await_ready(self):
        for left in (2, 1, 0):
            try:
                for node in self.nodes:
                    node.await_ready()
                break
            except Trouble:
                if not left or not any(node.port_was_taken() for node in self.nodes):
                    raise
            self.kill()
            self.erase()
            for node in self.nodes:
                node.ports = node.new_ports()
            self.launch()
        self.settle()
        return self

    def start(self):
        return self.launch().await_ready()

    def stop(self):
        for node in self.nodes:
            node.stop()
        return self

    def kill(self):
        """All at once, as nearly as can be: none sees another die for long."""
        for node in self.nodes:
            node.pause()
        for node in self.nodes:
            node.kill()
        return self

    def restart(self):
        return self.stop().start()

    def pause(self):
        for node in self.nodes:
            node.pause()

    def resume(self):
        for node in self.nodes:
            node.resume()

    def erase(self):
        for node in self.nodes:
            node.erase()

    def wipe(self):
        ran = self.alive()
        self.kill()
        self.erase()
        return self.start() if ran else self

    def configure(self, **options):
        for node in self.nodes:
            node.configure(**options)
        return self

    def note(self):
        for node in self.nodes:
            node.note()

    def read(self, file):
        return self.nodes[0].read(file)

    def alive(self):
        return any(node.alive() for node in self.nodes)

    def answers(self):
        return all(node.answers() for node in self.nodes)

    def running(self):
        """Those that live and are not paused."""
        return [node for node in self.nodes if node.alive() and not node.stands_still()]

    def has_quorum(self):
        return 2 * len(self.running()) > self.size

    def await_all(self, what, probe):
        wait_until(f"{self.name}: {what}", probe, explain=lambda: "\n".join(node.said() for node in self.nodes))

    def close(self):
        self.kill()
        if self.temporary:
            end_guard(self.home)
            self.erase()
            shutil.rmtree(self.home, ignore_errors=True)


def quietly(probe, *kinds):
    """Its value, or False when it met such an exception."""
    with contextlib.suppress(*kinds):
        return probe()
    return False
