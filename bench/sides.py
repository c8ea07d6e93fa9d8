"""The two sides of a job's way as the suites see them: the broker that it comes from, the ledger that records it."""
import contextlib
import os
import shutil
import sqlite3
import tempfile
import time

import ledger
from measure import Failed, run_text
from node import BUILD, program
from stage import roots



class Broker:
    """name: as a bare loop's program says it. ours, bare: (queue, key) as bench-publish takes them; skepd makes what
    stands in `ours` itself."""

    young = 0  # seconds from declaring to trusting

    def __init__(self, server):
        self.server = server
        self.url = server.url

    @property
    def config(self):
        return (f'transports = {{ broker = {{ url = "{self.url}"; }}; }};\n'
                'queues = ( { name = "bench"; transport = "broker"; types = [ "noop" ]; } );\n')

    def publish(self, *words, payload=256):
        return run_text([*program("bench-publish", payload), self.url, *words])

    def depth(self, queue):
        """None: there is no such queue."""
        said = run_text([*program("bench-publish"), self.url, "depth", queue], check=False)
        return None if said is None else int(said)


class RabbitMQ(Broker):
    name = "rabbitmq"
    ours, bare = ("bench", "noop"), ("bench.bare", "bare")
    young = 3  # RabbitMQ forgets a queue that is younger when it is killed


class Nats(Broker):
    name = "nats"
    ours, bare = ("JOBS", "jobs.noop"), ("BARE", "bare.noop")


class Postgres:
    """Each round has a database of its own."""

    name = "postgres"

    def __init__(self, server):
        self.server = server
        self.groups = {"postgres": roots(server)}

    def new(self, name):
        return self.server.new_database(name)

    def close(self):
        """The server ends with the suite."""

    keep = new  # its name is its own

    def drop(self, url):
        self.server.sql(f'drop database if exists "{url.rpartition("/")[2]}" with (force)')

    fill_old = staticmethod(ledger.fill_old)

    @staticmethod
    def wrong(url):
        return int(ledger.sql(url, "select count(*) from skep.jobs where state = 4 and octet_length(payload) <> 256"))

    @staticmethod
    def rest(url):
        """As the bare table is, and as autovacuum would make ours within a minute."""
        if ledger.sql(url, "select to_regclass('skep.jobs') is not null") == "t":
            ledger.sql(url, "vacuum (analyze) skep.jobs")
        ledger.sql(url, "checkpoint")

    @staticmethod
    def commits(url):
        """So far. A connection tells of its own when it ends, or after a second."""
        time.sleep(1.1)
        return int(ledger.sql(url, "select xact_commit from pg_stat_database where datname = current_database()"))

    @staticmethod
    def upkeep(url):
        """So far, of the server and of this database."""
        said = ledger.sql(url, "select (select checkpoints_timed + checkpoints_req from pg_stat_bgwriter), "
                               "(select coalesce(sum(autovacuum_count + autoanalyze_count), 0) from pg_stat_all_tables)")
        return dict(zip(("checkpoints", "autovacuums"), map(int, said.split("|"))))

    @staticmethod
    def finished(url, first):
        """0 also while a new ledger has no tables yet."""
        try:
            return ledger.finished(url, first)
        except Failed:
            return 0

    audit = staticmethod(ledger.audit)

    @staticmethod
    def delays(url):
        """Milliseconds from each letter's being sent, by its producer's clock, to its handler's start."""
        said = ledger.sql(url, "select started - convert_from(substr(payload, 1, 20), 'LATIN1')::bigint from skep.jobs")
        return [int(word) / 1000 for word in said.split()]

    @staticmethod
    def waits(url):
        """Milliseconds from each job's submission to its handler's start."""
        return [int(word) / 1000 for word in ledger.sql(url, "select started - created from skep.jobs").split()]


class Sqlite:
    """Each round has a file of its own, in a folder that goes with the next one."""

    name = "sqlite"
    groups = {}
    jobs = "(select *, coalesce(payload, (select b.payload from blobs b where b.seq = j.seq)) as body from jobs j)"

    def __init__(self, _server=None):
        self.where = None

    def new(self, _name):
        self.close()
        self.where = tempfile.mkdtemp(prefix="bench-", dir=BUILD)
        return f"sqlite:{self.where}/skep.db"

    def close(self):
        if self.where:
            shutil.rmtree(self.where, ignore_errors=True)

    @staticmethod
    def keep(_name):
        """One that stays until drop()."""
        return f"sqlite:{tempfile.mkdtemp(prefix='bench-', dir=BUILD)}/skep.db"

    @staticmethod
    def drop(url):
        shutil.rmtree(os.path.dirname(url.removeprefix("sqlite:")), ignore_errors=True)

    @staticmethod
    def fill_old(url, rows, days=6):
        ledger.fill_old_file(url.removeprefix("sqlite:"), rows, days)

    def wrong(self, url):
        return self.rows(url, f"select count(*) from {self.jobs} where state = 4 and length(body) <> 256")[0][0]

    @staticmethod
    def rest(url):
        """It has written nothing yet."""

    @staticmethod
    def commits(url):
        """Nobody counts them in the file; skepd's batches are known."""

    @staticmethod
    def upkeep(_url):
        """It has nobody who does any."""
        return {}

    @staticmethod
    def rows(url, text):
        with contextlib.closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:')}?mode=ro", uri=True)) as file:
            return file.execute(text).fetchall()

    def finished(self, url, first):
        try:
            return self.rows(url, f"select count(*) from jobs where state in (4, 5, 6) and id >= x'{first}'")[0][0]
        except sqlite3.OperationalError:
            return 0

    def audit(self, url, first, jobs, payload=256):
        """As that of PostgreSQL."""
        row = self.rows(url, f"select count(*), sum(state = 4 and length(body) = {payload} and finished <> 0), "
                             "count(distinct substr(body, 22, 10)), sum(claim = 1), min(created), min(started), "
                             f"max(finished) from {self.jobs} where id >= x'{first}'")[0]
        return ledger.judge([int(word or 0) for word in row], jobs)

    def delays(self, url):
        rows = self.rows(url, f"select started - cast(cast(substr(body, 1, 20) as text) as integer) from {self.jobs}")
        return [row[0] / 1000 for row in rows]

    def waits(self, url):
        return [row[0] / 1000 for row in self.rows(url, "select started - created from jobs")]
