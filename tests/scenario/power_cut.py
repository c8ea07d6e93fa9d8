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
from faults import Background, check, producer, wait_for, wait_logged, world
from harness import Skip, run, servers
from private_server import halt

FULL = "SKEP_FAULTS_FULL" in os.environ  # ./dev faults
LETTERS = int(os.environ.get("SKEP_POWER_CUT_LETTERS", "8000" if FULL else "2000"))
AFTER = LETTERS // 4
PAGE = 50
SLOW = "sleep:4"  # so that letters gather at the broker
IMAGE_BYTES = 256 << 20
ALONE = "SKEP_POWER_CUT_ALONE"
SHORT = ("stream", "lost")  # what the node says: of the end that it knew of, or of its consumer, whichever it sees


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
        self.safe_ns, self.submitted, self.over, self.closed = None, 0, threading.Event(), threading.Event()
        self.before = self.found = self.mark = self.log_mark = None
        self.letters = producer.Letters(self.world.log, Noting(self.broker.url, self.broker.subject))
        self.numbers = self.letters.client.numbers

    def start(self, retention=None):
        """retention: of a stream that is there, and safe, before skep comes."""
        if retention:
            self.broker.api(f"STREAM.CREATE.{self.broker.stream}", {
                "name": self.broker.stream, "subjects": [f"{self.broker.subject}.>"], "retention": retention})
            self.safe()
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
        """Jobs over the API until it is over, or the node is about to go."""
        http = self.world.http(self.node)
        while not self.over.is_set() and not self.closed.is_set():
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

    def files(self, pattern):
        return glob.glob(f"{self.disk.place}/data/jetstream/*/streams/{self.broker.stream}/{pattern}")

    def safe_messages(self):
        """Of the stream, and nothing of its consumers."""
        self.safe_ns = time.monotonic_ns()
        tool("sync", *self.files("msgs/*.blk"))
        return self

    def info(self):
        return self.broker.api(f"STREAM.INFO.{self.broker.stream}")

    def safe_consumer(self):
        """The place of the consumer is safe, and nothing of the stream since."""
        def written():
            files = self.files("obs/skep-*/o.dat")
            return files and os.path.getsize(files[0]) and files[0]
        file = wait_for("the server to write the consumer's place", written)
        tool("sync", file)
        return self

    def cut(self):
        """The power goes and comes back; notes how many messages the server found, None: no stream."""
        def gathered():
            self.before = self.info()
            return self.before["state"]["messages"] >= AFTER
        wait_for("letters to gather at the broker", gathered)
        halt([self.server.main_pid()])
        self.disk.cut()
        self.server.kill()
        self.disk.go_on()
        at = os.path.getsize(self.server.log)
        self.world.log.fault("broker_lost", from_=self.safe_ns or 0, to=time.monotonic_ns())
        self.mark, self.log_mark = len(self.numbers), os.path.getsize(self.node.log_path)
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

    def says(self, *words):
        """The node, since the cut."""
        print("  it says: " + wait_logged(self.node, *words, after=self.log_mark).split("msg=")[1])

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
        print(f"  {self.submitted} jobs submitted, all completed; {len(self.numbers) - self.mark} letters confirmed "
              f"afterwards, {len(again)} under numbers that had been given before: all are jobs")
        print(f"  lost by the server: {lost} of {self.mark} letters that it had confirmed, {named[0]['job']} "
              f"first: {named[0]['text']}")


WHY_NOT = alone()


@contextlib.contextmanager
def machine(**more):
    if WHY_NOT:
        raise Skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="skep-power-")
        stack.callback(shutil.rmtree, folder)
        yield Machine(stack, folder).start(**more)


# --- the stories ---

def a_young_stream_is_gone():
    with machine() as m:
        m.confirmed(LETTERS).cut()
        check(m.found is None, f"the stream is gone, not: {m.found} messages")
        m.says("stream", m.broker.stream, "was made")
        m.says("stream", m.broker.stream, "another than before", "lost")
        m.finish()


def a_stream_comes_back_emptied():
    with machine() as m:
        m.safe().confirmed(LETTERS).cut()
        check(m.found is not None and m.found < m.before["state"]["messages"], f"{m.found} messages are left")
        m.says(*SHORT)
        m.finish()


def a_stream_comes_back_short():
    with machine() as m:
        m.confirmed(LETTERS // 2).safe().confirmed(LETTERS).cut()
        check(m.found, f"{m.found} messages are left")
        m.says(*SHORT)
        m.finish()


def a_stream_that_keeps_its_messages_comes_back_short():
    with machine(retention="limits") as m:
        m.confirmed(LETTERS // 2).safe().confirmed(LETTERS).cut()
        check(m.found, f"{m.found} messages are left")
        m.says(*SHORT)
        m.finish()


def a_stream_overtakes_its_consumer():
    """As the one before, but nobody looks until the numbers are past the place that the consumer remembers."""
    with machine() as m:
        m.safe().confirmed(LETTERS).safe_consumer()
        m.closed.set()
        m.senders[1].join_or_raise()
        m.world.kill(m.node)
        m.cut()
        place = max(one["delivered"]["stream_seq"] for one in m.broker.consumers().values())
        check(place > AFTER // 4, f"the consumer is at {place}")
        wait_for("the stream to overtake it", lambda: m.info()["state"]["last_seq"] > place + AFTER)
        state = m.info()["state"]
        print(f"  the consumer is at {place}, the stream has {state['messages']} messages from {state['first_seq']} on")
        m.node.start()
        m.finish()


def floor(m):
    return wait_for("the ledger to know how far the stream was taken",
                    lambda: max((int(row[0]) for row in m.world.select("select floor from floors")), default=0))


def begins_at(m):
    """Where the consumer that was made after the cut begins."""
    m.says("consumer", "was gone", "made anew")
    return wait_for("the consumer", m.broker.consumers).popitem()[1]["config"].get("opt_start_seq", 0)


def a_stream_that_keeps_its_messages_loses_its_consumer():
    """It goes on where the ledger is."""
    with machine(retention="limits") as m:
        m.confirmed(LETTERS)
        known = floor(m)
        m.safe_messages().confirmed(m.letters.confirmed + AFTER).cut()
        check(m.found and m.found > known, f"{m.found} messages are left, {known} were taken")
        at = begins_at(m)
        check(known < at <= m.found + 1, f"it begins at {at}, {known} were taken")
        print(f"  the ledger had {known} or more of it; the new consumer begins at {at}")
        m.finish()


def a_stream_that_keeps_its_messages_loses_its_consumer_and_its_end():
    """What the ledger knows is more than there is: numbers come again, and all of them are wanted."""
    with machine(retention="limits") as m:
        m.confirmed(LETTERS)
        known = floor(m)
        m.cut()
        check(m.found is not None and m.found < known, f"{m.found} messages are left, {known} were taken")
        at = begins_at(m)
        check(not at, f"it begins at {at}")
        m.finish()


def a_consumer_remembers_more_than_its_stream():
    with machine() as m:
        m.safe().confirmed(LETTERS).safe_consumer().confirmed(LETTERS + LETTERS // 10).cut()
        check(m.found is not None, "the stream is there")
        m.says("consumer", "ends at", "lost messages")
        m.finish()


SMALL = (a_young_stream_is_gone, a_stream_comes_back_short, a_consumer_remembers_more_than_its_stream)
LARGE = (a_stream_comes_back_emptied, a_stream_overtakes_its_consumer, a_stream_that_keeps_its_messages_comes_back_short,
         a_stream_that_keeps_its_messages_loses_its_consumer,
         a_stream_that_keeps_its_messages_loses_its_consumer_and_its_end)
run(nats=SMALL + LARGE * FULL)
