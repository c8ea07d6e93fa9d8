"""What private servers have in common: a folder, ports, processes that are found again, and an end with their owner.

A server ends with its owner: a guard, a process of its own, waits for the owner's death (any, SIGKILL too) and ends
what the folder's pid file names. The parent-death signal was tried for this and discarded: it follows the thread that
started the server. Pids are kept with their start times, so that a stale file never hits a stranger. It must never
touch a process that no file of its own folder names.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = float(os.environ.get("SKEP_SERVERS_PATIENCE", "300"))
BELOW_EPHEMERAL = (20000, 32000)
TAKEN = re.compile("address.*in use|eaddrinuse", re.IGNORECASE)


class Trouble(Exception):
    """A server did not do what was asked; the message ends with what it logged."""


# --- processes, named by pid and start time ---

def stat_of(pid):
    """(state, parent, start time, threads) of a process, or None."""
    with contextlib.suppress(OSError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0], int(fields[1]), fields[19], int(fields[17])
    return None


def lives(pid, born):
    """A process is a zombie as soon as its first thread has ended; while others end, its ports are still taken."""
    stat = stat_of(pid)
    return bool(stat) and stat[2] == born and (stat[0] != "Z" or stat[3] > 1)


def offspring(pid):
    """Pids of all descendants, nearest first."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := stat_of(name)):
            children.setdefault(stat[1], []).append(int(name))
    found, row = [], [pid]
    while row:
        row = [child for parent in row for child in children.get(parent, [])]
        found += row
    return found


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def halt(pids):
    """Stops processes and waits until they stand still: the signal alone only asks."""
    send(pids, signal.SIGSTOP)

    def moving():
        return [pid for pid in pids if (stat := stat_of(pid)) and stat[0] not in "TtZX"]
    wait_until("processes to stand still", lambda: not moving())


def wait_until(what, probe, patience=PATIENCE, explain=lambda: ""):
    end = time.monotonic() + patience
    pause = 0.01
    while not probe():
        if time.monotonic() > end:
            raise Trouble(f"waited in vain for {what}\n{explain()}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)


def free_ports(count):
    """Ports on which nothing listens now, out of the range that the kernel gives to clients."""
    found = []
    while len(found) < count:
        port = random.randint(*BELOW_EPHEMERAL)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise OSError("the server hung up")
        data += part
    return data


class Server:
    """What both have in common. start, stop, kill, restart, wipe, pause and resume may be called from any process
    that knows the folder. options: lines of the server's own configuration, kept until they are changed."""

    name = None
    ports_needed = 1
    may_move = True  # to other ports, while it never served

    def __init__(self, directory=None, options=None, owned=True, name=None):
        self.name = name or self.name
        self.temporary = directory is None
        self.home = os.path.abspath(directory or tempfile.mkdtemp(prefix="skep-servers-"))
        self.directory = os.path.join(self.home, self.name)
        self.owned = owned
        self.log = os.path.join(self.directory, "log")
        self.data = os.path.join(self.directory, "data")
        os.makedirs(self.directory, exist_ok=True)
        for path in [self.directory] + [self.home] * self.temporary:
            os.chmod(path, 0o755)
        kept = self.read("server.json") or {}
        self.options = {**kept.get("options", {}), **(options or {})}
        self.ports = kept.get("ports") or self.new_ports()
        self.guarded = False
        self.child = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def read(self, file):
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.directory, file), encoding="utf-8") as text:
                return json.load(text)
        return None

    def keep(self, file, value):
        """Written whole or not at all, whoever else writes it."""
        path = os.path.join(self.directory, file)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.directory, prefix=file, delete=False) as text:
            json.dump(value, text)
        os.rename(text.name, path)

    def kept(self, file, make):
        """What the file says; the first time: what make() gives."""
        value = self.read(file)
        if value is None:
            value = make()
            self.keep(file, value)
        return value

    def new_ports(self):
        return free_ports(self.ports_needed)

    def note(self):
        self.keep("server.json", {"options": self.options, "ports": self.ports})

    @property
    def port(self):
        return self.ports[0]

    def said(self):
        with contextlib.suppress(OSError):
            with open(self.log, encoding="utf-8", errors="replace") as log:
                return "".join(log.readlines()[-30:])
        return ""

    # --- its processes ---

    def roots(self):
        """[(pid, start time)] of those that were started here and live; the server itself comes first."""
        return [tuple(pair) for pair in self.read("pids.json") or [] if lives(*pair)]

    def alive(self):
        return any(role[0] == self.main_pid() for role in self.roots())

    def main_pid(self):
        return (self.read("main.json") or [None])[0]

    def family(self):
        pids = [pid for pid, _ in self.roots()]
        return pids + [child for pid in pids for child in offspring(pid)]

    def spawn(self, command, main=True, **more):
        """Starts one process in a session of its own, so that a terminal's Ctrl-C is not for it."""
        with open(self.log, "ab") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True, **more)
        stat = stat_of(child.pid)
        if stat is None:
            raise Trouble(f"{command[0]} ended at once\n{self.said()}")
        if main:
            self.child = child
            self.keep("main.json", [child.pid, stat[2]])
        self.keep("pids.json", ([[child.pid, stat[2]]] if main else []) + self.roots() +
                  ([] if main else [[child.pid, stat[2]]]))
        return child

    def guard(self):
        if self.owned and not self.guarded:
            start_guard(self.home, os.getpid(), self.temporary)
            self.guarded = True

    # --- its life ---

    def start(self):
        """Runs and answers when this returns. No effect on one that runs already."""
        return self.launch().await_ready()

    def launch(self):
        """The first half of start, for those who start several at once."""
        if not self.alive():
            self.note()
            self.guard()
            self.run()
        return self

    def await_ready(self):
        for left in (2, 1, 0):
            try:
                wait_until(f"{self.name} to answer on port {self.port}", self.answered_or_ended, explain=self.said)
            except Trouble:
                self.kill()
                raise
            if self.alive():
                return self
            if not left or not self.may_move or not self.port_was_taken():
                raise Trouble(f"{self.name} ended instead of serving\n{self.said()}")
            self.kill()  # somebody was quicker to take a port: others, while nobody knows the first ones
            self.ports = self.new_ports()
            self.launch()
        return self

    def port_was_taken(self):
        return not self.read("served.json") and TAKEN.search(self.said())

    def answered_or_ended(self):
        if self.child:
            self.child.poll()
        if not self.alive():
            return True
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                connection.settimeout(10)
                if self.greet(connection):
                    self.keep("served.json", True)
                    return True
        return False

    def answers(self):
        """Does it serve now?"""
        return self.alive() and self.answered_or_ended() and self.alive()

    def stop(self, patience=60):
        """In order, as its own tools would; by force when that takes too long."""
        pid = self.main_pid()
        if self.alive():
            send(self.family(), signal.SIGCONT)
            send([pid], self.stop_signal)
            with contextlib.suppress(Trouble):
                wait_until(f"{self.name} to stop", lambda: not self.alive(), patience)
        self.kill()
        return self

    def kill(self):
        """SIGKILL of the whole server, as if the machine's power had gone, except that the file system lives on."""
        roots = [pid for pid, _ in self.roots()]
        halt(roots)  # so that none starts a child that is not in the list
        family = self.family()
        send(family, signal.SIGKILL)
        born = [(pid, stat[2]) for pid in family if (stat := stat_of(pid))]
        wait_until(f"{self.name} to be dead", lambda: not any(lives(*pair) for pair in born))
        if self.child:
            self.child.poll()
        return self

    def restart(self):
        return self.stop().start()

    def pause(self):
        """SIGSTOP: connections stay open and nothing is said."""
        halt([pid for pid, _ in self.roots()])
        halt(self.family())

    def stands_still(self):
        stat = stat_of(self.main_pid()) if self.main_pid() else None
        return bool(stat) and stat[0] in "Tt"

    def resume(self):
        send(self.family(), signal.SIGCONT)

    def wipe(self):
        """All that it knew is gone, the ports stay; it runs afterwards when it ran before."""
        ran = self.alive()
        self.kill()
        self.erase()
        return self.start() if ran else self

    def erase(self):
        """Removes what it keeps outside of its home too."""
        shutil.rmtree(self.data, ignore_errors=True)

    def configure(self, **options):
        """Changes options (None: the server's default again); they hold from the next start on."""
        if options:
            self.options = {k: v for k, v in {**self.options, **options}.items() if v is not None}
            self.note()
        return self

    def close(self):
        """Stops quickly and, for a folder of its own, leaves nothing."""
        self.kill()
        if self.temporary:
            end_guard(self.home)
            self.erase()
            shutil.rmtree(self.home, ignore_errors=True)


# --- the guard ---

def guard_file(home):
    return os.path.join(home, "guard.json")


def start_guard(home, owner, remove=False):
    end_guard(home)
    born = stat_of(owner)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers.py")
    words = [sys.executable, program, "guard", "--dir", home, "--while", str(owner)]
    guard = subprocess.Popen(words + (["--remove"] if remove else []), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                             env=dict(os.environ, SKEP_OWNER_BORN=born[2] if born else ""), cwd="/")
    stat = stat_of(guard.pid)
    with open(guard_file(home), "w", encoding="utf-8") as file:
        json.dump([guard.pid, stat[2]], file)


def end_guard(home):
    with contextlib.suppress(OSError, ValueError):
        with open(guard_file(home), encoding="utf-8") as file:
            pid, born = json.load(file)
        os.unlink(guard_file(home))
        if lives(pid, born):
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
