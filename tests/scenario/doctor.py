"""`skep doctor` and the server of the ledger: what it is set up for, against the keys that it keeps."""

import json
import os
import time
import uuid

from harness import Node, check, postgres, run

MANY = 20000                              # their index has more than a megabyte
LITTLE = {"shared_buffers": "512kB"}


def random_id():
    return str(uuid.uuid4())


def ordered_id():
    """A UUIDv7."""
    number = int(time.time() * 1000) << 80 | 7 << 76 | 2 << 62 | int.from_bytes(os.urandom(7), "big")
    return str(uuid.UUID(int=number))


def keep(node, make_id, many=MANY):
    for _ in range(many // 1000):
        node.enqueue_many({"type": "noop", "key": make_id()} for _ in range(1000))


def keys_row(node):
    done = node.skep("doctor", "-o", "json")
    check(done.returncode in (0, 1), f"{done.returncode}: {done.stderr}")
    rows = [row for row in json.loads(done.stdout)["checks"] if row["name"] == "ledger keys"]
    return rows[0] if rows else None


def random_ids_in_great_number_want_memory():
    with postgres(private=True, **LITTLE) as ledger, Node(ledger=ledger.url).start() as node:
        row = keys_row(node)
        check(row["status"] == "ok" and "few" in row["detail"], f"nothing is there yet: {row}")
        keep(node, random_id)
        row = keys_row(node)
        check(row["status"] == "warn" and "scattered" in row["detail"], f"{row}")
        for word in ("UUIDv7", "shared_buffers", "max_wal_size"):
            check(word in row["advice"], f"the advice names {word}: {row}")
        keep(node, ordered_id, 2000)
        row = keys_row(node)
        check(row["status"] == "ok" and "order of time" in row["detail"], f"the newest count: {row}")


def random_ids_that_fit_are_none_of_its_business():
    with postgres(private=True) as ledger, Node(ledger=ledger.url).start() as node:
        keep(node, random_id, 3000)
        row = keys_row(node)
        check(row["status"] == "ok" and "scattered" in row["detail"] and not row["advice"], f"{row}")


def a_server_that_is_away_is_said_to_be():
    with postgres(private=True) as ledger, Node(ledger=ledger.url).start() as node:
        ledger.server.kill()
        row = keys_row(node)
        check(row["status"] == "warn" and "not looked at" in row["detail"], f"{row}")


def a_file_has_no_server():
    with Node().start() as node:
        check(keys_row(node) is None, "nothing is said of SQLite")


run(random_ids_in_great_number_want_memory, random_ids_that_fit_are_none_of_its_business,
    a_server_that_is_away_is_said_to_be, a_file_has_no_server)
