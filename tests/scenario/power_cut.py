"""The power of a NATS server's machine is cut under load. What skep was given completes; what raw producers were told is
stored, and is not, is counted and named.

The server keeps its streams on a file system in a file. It is stopped, the file is copied as it is (what server and
kernel had not written is not in it), the server is killed, and it goes on from the copy. This nats-server writes a stream
to its disk every two minutes at best: a young stream is gone, one whose beginning was safe comes back emptied or short,
and a consumer whose place was safe remembers more than its stream has. What is safe, and when, the stories choose by
asking the kernel to write.

Needs root, a mount namespace and a loop device; says so where they cannot be had.
"""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import brokers
from faults import Background, check, metric, producer, wait_for, wait_logged, world
from harness import Skip, run, servers
from private_server import halt

FULL = "SKEP_FAULTS_FULL" in os.environ  # ./dev faults
LETTERS = int(os.environ.get("SKEP_POWER_CUT_LETTERS", "8000" if FULL else "2000"))
AFTER = LETTERS // 4
PAGE = 50
SLOW = "sleep:4"  # so that letters gather at the broker
IMAGE_BYTES = 256 << 20
ALONE = "SKEP_POWER_CUT_ALONE"


def alone():
    """Begins this program anew in a mount namespace of its own, so that nothing stays mounted, whatever ends it. Returns
    why it cannot."""
    if os.environ.get(ALONE) == str(os.getpid()):
        return None
    if os.geteuid() != 0:
        return "only root may mount a disk"
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"no mount namespace: {probe.stderr.strip()}"
    os.environ[ALONE] = str(os.getpid())
    os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def tool(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{' '.join(words)}: {done.stderr}")


class Disk:
    """A file system in a file of a folder. Skip: this machine gives none."""

    def __init__(self, folder):
        self.image, self.place = os.path.join(folder, "disk"), os.path.join(folder, "mounted")
        os.makedirs(self.place)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        tool("mkfs.ext4", "-q", self.image)
        done = self.mount()
        if done.returncode:
            raise Skip(f"no disk in a file can be mounted: {done.stderr.strip()}")

    def mount(self):
        """The loop device goes with the mount."""
        return subprocess.run(["mount", "-o", "loop", self.image, self.place], capture_output=True, text=True, check=False)

    def unmount(self):
        wait_for("the disk to be free",
                 lambda: subprocess.run(["umount", self.place], capture_output=True, check=False).returncode == 0)

    def sync(self):
        """All of it is safe now."""
        tool("sync", "--file-system", self.place)

    def cut(self):
        """Keeps what is on the disk at this moment. The file system in use does not notice."""
        tool("cp", "--sparse=always", self.image, self.image + ".cut")

    def go_on(self):
        """From what was kept; nobody uses the disk."""
        self.unmount()
        os.rename(self.image + ".cut", self.image)
        check(self.mount().returncode == 0, "the copy can be mounted")


class Noting(producer.JetStream):
    """Keeps the numbers that the server gave."""

    def __init__(self, *words):
        super().__init__(*words)
        self.numbers = []

    def put(self, *words, **more):
        answer = super().put(*words, **more)
        self.numbers.append(answer["seq"])
        return answer


class Machine:
    """A nats-server whose power can be cut, a world with one node that uses it, and those who send."""

    def __init__(self, stack, folder):
        self.disk = Disk(folder)
        stack.callback(self.disk.unmount)
        store = os.path.join(self.disk.place, "data")
        self.server = stack.enter_context(servers.Nats(options={"jetstream.store_dir": json.dumps(store)}))
        self.broker = brokers.Nats(self.server.url, self.server)
        self.world = stack.enter_context(world(broker=self.broker))
        self.node = self.world.node(start=False)
        self.safe_ns, self.submitted, self.over = None, 0, threading.Event()
        self.before = self.found = self.mark = None
        self.letters = producer.Letters(self.world.log, Noting(self.broker.url, self.broker.subject))
        self.numbers = self.letters.client.numbers

    def start(self):
        self.node.start()
        self.node.serving("diary.so")
        self.broker.await_queues()
        self.senders = [Background(self.send), Background(self.submit)]
        return self

    def send(self):
        """Letters until it is over, every second one with an id."""
        n = 0
        while not self.over.is_set():
            self.letters.letter("diary", {"letter": n, "do": SLOW}, key=f"letter-{n}" if n % 2 else None)
            n += 1

    def submit(self):
        """Jobs over the API until it is over."""
        http = self.world.http(self.node)
        while not self.over.is_set():
            begin = self.submitted
            self.world.pages(self.node, [("diary", {"job": n}) for n in range(begin, begin + PAGE - 1)])
            http.submit("diary", {"job": begin + PAGE - 1}, key=f"job-{begin}")
            self.submitted += PAGE
            self.over.wait(0.1)

    # --- while they send ---

    def confirmed(self, number):
        wait_for(f"{number} letters", lambda: self.letters.confirmed >= number)
        return self

    def safe(self):
        """What was confirmed until now stays."""
        self.safe_ns = time.monotonic_ns()
        self.disk.sync()
        return self

    def info(self):
        return self.broker.api(f"STREAM.INFO.{self.broker.stream}")

    def safe_consumer(self):
        """The place of the consumer is safe, and nothing of the stream since."""
        pattern = f"{self.disk.place}/data/jetstream/*/streams/{self.broker.stream}/obs/skep-*/o.dat"

        def written():
            files = glob.glob(pattern)
            return files and os.path.getsize(files[0]) and files[0]
        file = wait_for("the server to write the consumer's place", written)
        tool("sync", file)
        return self

    def cut(self):
        """The power goes and comes back; notes how many messages the server found, None: no stream."""
        self.before = self.info()
        halt([self.server.main_pid()])
        self.disk.cut()
        self.server.kill()
        self.disk.go_on()
        at = os.path.getsize(self.server.log)
        self.world.log.fault("broker_lost", from_=self.safe_ns or 0, to=time.monotonic_ns())
        self.mark = len(self.numbers)
        self.server.start()
        with open(self.server.log, encoding="utf-8", errors="replace") as log:
            log.seek(at)
            said = [line for line in log if "Restored" in line and f"> {self.broker.stream}'" in line]
        self.found = int(said[0].partition("Restored ")[2].split()[0].replace(",", "")) if said else None
        state = self.before["state"]
        print(f"  {self.letters.confirmed} letters confirmed and {self.submitted} jobs submitted when the power went; "
              f"{state['messages']} messages, the last {state['last_seq']}; afterwards "
              + ("no stream" if self.found is None else f"{self.found} messages"))
        return self

    # --- afterwards ---

    def finish(self):
        """More letters, the last ones without ids; then nobody sends any more."""
        self.confirmed(self.letters.confirmed + AFTER)
        self.over.set()
        for one in self.senders:
            one.join_or_raise()
        check(all(self.letters.letter("diary", {"after": n}) for n in range(AFTER)), "letters are confirmed afterwards")
        again = set(self.numbers[:self.mark]) & set(self.numbers[self.mark:])
        check(again, "numbers come again: else nothing was tried")
        self.world.settle(self.submitted + AFTER)
        report = self.world.audit("I1 I1b I2 I3 I4 I6 I9 I10 I15 I16 I17 I22")
        lost, named = report["lost_with_broker"], report["invariants"]["I1b"]["allowed"]
        check(lost, "it lost letters: else nothing was tried")
        print(f"  {self.submitted} jobs submitted, all completed; {len(self.numbers) - self.mark} letters confirmed afterwards, "
              f"{len(again)} under numbers that had been given before: all are jobs")
        print(f"  lost by the server: {lost} of {self.mark} letters that it had confirmed, {named[0]['job']} "
              f"first: {named[0]['text']}")


WHY_NOT = alone()


@contextlib.contextmanager
def machine():
    if WHY_NOT:
        raise Skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="skep-power-")
        stack.callback(shutil.rmtree, folder)
        yield Machine(stack, folder).start()


# --- the stories ---

def a_young_stream_is_gone():
    with machine() as m:
        created = m.info()["created"]
        m.confirmed(LETTERS).cut()
        check(m.found is None, f"the stream is gone, not: {m.found} messages")
        wait_logged(m.node, "stream", m.broker.stream, "made")
        m.finish()
        print(f"  the stream of {created} was made anew")


def a_stream_comes_back_emptied():
    with machine() as m:
        m.safe().confirmed(LETTERS).cut()
        check(m.found is not None and m.found < m.before["state"]["messages"], f"{m.found} messages are left")
        m.finish()


def a_stream_comes_back_short():
    with machine() as m:
        m.confirmed(LETTERS // 2).safe().confirmed(LETTERS).cut()
        check(m.found, f"{m.found} messages are left")
        m.finish()


def a_consumer_remembers_more_than_its_stream():
    with machine() as m:
        m.safe().confirmed(LETTERS).safe_consumer().confirmed(LETTERS + LETTERS // 10).cut()
        check(m.found is not None, "the stream is there")
        print("  it says: " + wait_logged(m.node, "consumer", "ends at", "lost messages").split("msg=")[1])
        m.finish()


run(nats=(a_young_stream_is_gone, a_stream_comes_back_emptied, a_stream_comes_back_short,
          a_consumer_remembers_more_than_its_stream))
