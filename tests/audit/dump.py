#!/usr/bin/python3
"""Writes a ledger down for skep-audit: one JSON object a line, all from one snapshot.

usage: dump.py LEDGER_URL > dump.jsonl

    sqlite:/path/to/skep.db      postgres://... or postgresql://... (needs psycopg2)

It reads and never writes. Columns are taken by name, and those that a ledger does not have are left out, so that both
ledgers and their later versions go through the same few lines. Numbers without a sign stand as hexadecimal text, since
JSON readers lose the last bits of large numbers; payloads and results as the first 32 digits of their SHA-256.
"""

import hashlib
import json
import re
import sqlite3
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

MASK = (1 << 64) - 1
NUMBERS = ("state", "reason", "lane", "due", "parked_at", "claim", "attempt", "max_attempts", "snoozes", "strikes",
           "generation", "cancel_asked", "created", "finished")
UNREADABLE = (9, 10)  # reasons of dead letters: malformed, too large; their key is never the producer's own
TICK = re.compile(r"(cron|run):(.*):(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z")
TRY_NUMBERS = ("claim", "generation", "attempt", "error", "started", "ended")


def digest(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else bytes(data)).hexdigest()[:32]


def wide(number):
    return f"{(number or 0) & MASK:016x}"


def text(value):
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    return value


def raw(value):
    """16 bytes, whatever the ledger's type for them."""
    return uuid.UUID(value).bytes if isinstance(value, str) else bytes(value)


class Sqlite:
    name = "sqlite"

    def __init__(self, url):
        path = url.split(":", 1)[1]
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("begin")

    def columns(self, table):
        return [row["name"] for row in self.db.execute(f"pragma table_info({table})")]

    def rows(self, sql):
        return self.db.execute(sql)

    def now(self):
        return int(time.time() * 1e6)


class Postgres:
    name = "postgres"

    def __init__(self, url):
        import psycopg2
        import psycopg2.extras
        self.db = psycopg2.connect(url.replace("postgres:", "postgresql:", 1) if url.startswith("postgres:") else url)
        self.db.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with self.db.cursor() as cursor:
            cursor.execute("set search_path to skep, public")
        self.factory = psycopg2.extras.RealDictCursor
        self.cursors = 0

    def columns(self, table):
        with self.db.cursor() as cursor:
            cursor.execute("select column_name from information_schema.columns where table_name = %s "
                           "and table_schema = any (current_schemas(false))", (table,))
            return [row[0] for row in cursor.fetchall()]

    def rows(self, sql):
        self.cursors += 1
        cursor = self.db.cursor(f"audit_{self.cursors}", cursor_factory=self.factory)  # server-side: pages
        cursor.itersize = 2000
        cursor.execute(sql)
        return cursor

    def now(self):
        with self.db.cursor() as cursor:
            cursor.execute("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
            return cursor.fetchone()[0]


def born(row, columns):
    """When the oldest job of an outbox row was made: a UUIDv7 begins with its milliseconds."""
    if "bells" in columns:  # 16 bytes of id and 8 of seq each
        ids = [row["bells"][at:at + 16] for at in range(0, len(row["bells"]), 24)]
    else:
        ids = row["ids"].strip("{}").split(",") if isinstance(row["ids"], str) else row["ids"]
    return min((int.from_bytes(raw(id_)[:6], "big") * 1000 for id_ in ids), default=row["at"])


def tick_of(key_text):
    """What a schedule's job is named by: the schedule, and its tick unless it was run by hand."""
    found = TICK.fullmatch(key_text or "")
    if not found:
        return {}
    kind, name, time_ = found.groups()
    at = datetime.fromisoformat(time_).replace(tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return {"schedule": name, **({"tick": at // timedelta(microseconds=1)} if kind == "cron" else {})}


def unmixed(queue, key):
    """SQLite mixes a key with its queue (ledgers/sqlite/bind.c, key_within()); twice is not at all."""
    h, mask = 0xcbf29ce484222325, (1 << 64) - 1
    for byte in queue:
        h = (h ^ byte) * 0x100000001b3 & mask
    h = (h ^ h >> 31) * 0x9fb21c651e98df25 & mask
    h ^= h >> 29
    return key[:8] + (int.from_bytes(key[8:], "little") ^ h).to_bytes(8, "little")


def pick(row, columns, names):
    return {name: row[name] for name in names if name in columns}


class Dump:
    def __init__(self, ledger, out):
        self.ledger, self.out = ledger, out
        self.ids, self.jobs = {}, 0
        self.mixes = bool(ledger.columns("blobs"))

    def write(self, kind, **fields):
        self.out.write(json.dumps({"kind": kind, **fields}) + "\n")

    def write_job(self, row, columns):
        size, body = row["size"], row["body"]
        if body is None and not size:
            body = b""
        id_ = str(uuid.UUID(bytes=raw(row["id"])))
        self.ids[row["seq"]] = id_  # SQLite's attempts name their jobs by seq
        self.jobs += 1
        fields = pick(row, columns, NUMBERS) | tick_of(text(row["key_text"]))
        key = row["key"] if row["reason"] not in UNREADABLE or not row["key_text"] else None
        if key is not None:
            key = unmixed(text(row["queue"]).encode(), raw(key)) if self.mixes else raw(key)
        self.write("job", id=id_, queue=text(row["queue"]), type=text(row["type"]),
                   token=wide(row["token"]), holder=wide(row["holder"]),
                   key=key.hex() if key is not None else None,
                   key_text=text(row["key_text"]) if key is None and row["key_text"] else None,
                   payload=digest(body) if body is not None else None,
                   result=digest(row["result"]) if row["result"] is not None else None, **fields)

    def dump_jobs(self):
        columns = self.ledger.columns("jobs")
        body, join = "j.payload", ""
        if self.ledger.columns("blobs"):
            body, join = "coalesce(j.payload, b.payload)", "left join blobs b on b.seq = j.seq"
        size = "j.size" if "size" in columns else f"coalesce(length({body}), 0) as size"
        for row in self.ledger.rows(f"select j.*, {size}, {body} as body from jobs j {join} order by j.id"):
            self.write_job(row, columns)

    def tries(self):
        columns = self.ledger.columns("attempts")
        for row in self.ledger.rows("select * from attempts"):
            owner = self.ids.get(row["seq"]) if "seq" in columns else str(uuid.UUID(bytes=raw(row["job"])))
            if owner:  # a try without a job tells nothing
                self.write("try", id=owner, ended_job=bool(row["ended_job"]) if "ended_job" in columns else False,
                           **pick(row, columns, TRY_NUMBERS))

    def others(self):
        for row in self.ledger.rows("select * from nodes"):
            self.write("node", holder=wide(row["holder"]), dead=bool(row["dead"]), beat_at=row["beat_at"])
        open_ = "token is not null and not void" if "void" in self.ledger.columns("commits") else "runs is not null"
        for row in self.ledger.rows(f"select holder, writer, n from commits where {open_}"):
            self.write("commit", holder=wide(row["holder"]), writer=row["writer"], n=row["n"], open=True)
        columns = self.ledger.columns("outbox")
        if columns:
            for row in self.ledger.rows("select * from outbox"):
                self.write("outbox", created=born(row, columns))
        if self.ledger.columns("inbox"):
            for row in self.ledger.rows("select count(*) as n from inbox"):
                self.write("inbox", n=row["n"])

    def run(self):
        self.write("ledger", version=1, ledger=self.ledger.name, now=self.ledger.now())
        self.dump_jobs()
        self.tries()
        self.others()
        self.write("end", jobs=self.jobs)


def open_ledger(url):
    scheme = url.split(":", 1)[0]
    if scheme == "sqlite":
        return Sqlite(url)
    if scheme in ("postgres", "postgresql"):
        return Postgres(url)
    sys.exit(f"dump.py: no ledger of the kind '{scheme}'")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: dump.py LEDGER_URL > dump.jsonl")
    Dump(open_ledger(sys.argv[1]), sys.stdout).run()
