"""The ledgers as the benchmarks see them: the PostgreSQL audit, and old rows in bulk for both."""
import contextlib
import os
import sqlite3
import time

from measure import Failed, run_text, say

DAY_US = 86400 * 1000000
CHUNK = 500000
SPAN_US = 6 * DAY_US - DAY_US // 24

# What an audit reads of the rows from an id on. The publisher and bench-fill number their payloads.
AUDIT = """
select count(*), count(*) filter (where state = 4 and octet_length(payload) = {payload} and finished <> 0),
       count(distinct substr(payload, 22, 10)), count(*) filter (where claim = 1),
       min(created), min(started), max(finished)
from skep.jobs where id >= '{first}'"""

# Job `g` of `n`, as a letter of the last six days that was done long ago: all columns of the model but those that differ
# from job to job.
OLD = """
insert into skep.jobs (id, key, key_text, created, started, finished, token, {columns})
select (lpad(to_hex(at / 1000), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid,
       case when m.key is not null then k::uuid end,
       case when m.key is not null then convert_to(k, 'UTF8') else m.key_text end,
       at, at + 2000, at + 2500, (random() * 9e18)::bigint, {values}
from (select * from skep.jobs where state = 4 order by id limit 1) m,
     (select {begin}::bigint + ({span}::numeric * g / {n})::bigint as at, md5('job' || g) as h, md5('key' || g) as i
      from generate_series({low}, {high}) g) s,
     lateral (select {key}) t (x),
     lateral (select x::uuid::text) u (k)
on conflict do nothing"""


def sql(url, text):
    """Without a limit of time: some of it takes minutes."""
    return run_text(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text])


def first_id():
    """No id from now on is smaller (they are UUIDv7), and all so far are."""
    time.sleep(0.002)
    return f"{int(time.time() * 1000):012x}70008000000000000000"


def finished(url, first):
    """Dead ones too, so that nobody waits for them; the audit tells."""
    return int(sql(url, f"select count(*) from skep.jobs where state in (4, 5, 6) and id >= '{first}'"))


def audit(url, first, jobs, payload=256):
    said = sql(url, AUDIT.format(first=first, payload=payload))
    return judge([int(word or 0) for word in said.split("|")], jobs)


def judge(numbers, jobs):
    """What AUDIT selects, as {created, started, finished} in seconds of the first and the last, and how many were
    claimed `again`; Failed unless every job is completed, with its own payload, and nothing else is there."""
    count, good, different, once, created, started, last = numbers
    if (count, good, different) != (jobs, jobs, jobs):
        raise Failed(f"audit: of {jobs} jobs there are {count} rows, {good} completed with their bytes, "
                     f"{different} different payloads")
    return {"created": created / 1e6, "started": started / 1e6, "finished": last / 1e6, "again": count - once}


# The key as 32 digits: a UUIDv7 from five milliseconds before its job's, or a random one.
KEYS = {"uuid": "lpad(to_hex((at - 5000) / 1000), 12, '0') || '7' || substr(i, 1, 3) || '8' || substr(i, 4, 15)",
        "uuid4": "substr(i, 1, 12) || '4' || substr(i, 13, 3) || '8' || substr(i, 16, 15)"}


def fill_old(url, rows, there=0, days=6, keys="uuid"):
    """Finished rows like the first one that the ledger holds, beside those that are `there`; then what autovacuum would
    have done to them by now. They are `days` old; keys: as in KEYS."""
    own = {"id", "key", "key_text", "created", "started", "finished", "token"}
    columns = [word for word in sql(url, "select column_name from information_schema.columns where table_schema = "
                                         "'skep' and table_name = 'jobs' order by ordinal_position").split()
               if word not in own]
    begin = int(time.time() * 1e6) - days * DAY_US
    for low in range(there, rows, CHUNK):
        high = min(low + CHUNK, rows)
        sql(url, OLD.format(columns=", ".join(columns), values=", ".join("m." + word for word in columns),
                            begin=begin, span=SPAN_US, key=KEYS[keys], n=rows, low=low + 1, high=high))
        say(f"{high:,} of {rows:,} old rows")
    sql(url, "vacuum (analyze) skep.jobs")
    there = int(sql(url, "select count(*) from skep.jobs where state = 4"))
    if there < rows:
        raise Failed(f"{there} of {rows} old rows went in")


def fill_old_file(path, rows, days):
    """The same in SQLite's file, which nobody else has open. No key: the first row came through the ledger."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.row_factory = sqlite3.Row
        model = dict(file.execute("select * from jobs where state = 4 limit 1").fetchone())
        top = file.execute("select max((select max(seq) from jobs), (select value from meta where name = 'seq_floor'))")
        seq, begin = top.fetchone()[0], int(time.time() * 1e6) - days * DAY_US
        own = ("seq", "id", "created", "started", "finished")
        rest = [name for name in model if name not in own]
        text = f"insert into jobs ({', '.join((*own, *rest))}) values ({', '.join('?' * len(model))})"
        same = tuple(model[name] for name in rest)

        def row(number):
            at = begin + SPAN_US * number // rows
            tail = os.urandom(10)
            mark = (at // 1000).to_bytes(6, "big") + bytes((0x70 | tail[0] & 15, tail[1], 0x80 | tail[2] & 63)) + tail[3:]
            return (seq + number, mark, at, at + 2000, at + 2500, *same)
        for low in range(0, rows, CHUNK):
            high = min(low + CHUNK, rows)
            with file:
                file.executemany(text, (row(number) for number in range(low + 1, high + 1)))
            say(f"{high:,} of {rows:,} old rows")
        file.execute("pragma wal_checkpoint(truncate)")
