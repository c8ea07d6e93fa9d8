"""Producers that are not ours, as they are: they write nothing down for the auditor, and nothing of ours runs in them.

The program amqp-publish, Node.js' amqplib and nats, and a line of the NATS protocol written by hand. (pika, and the tests'
own NATS client, which does what nats.py would do, are in tests/audit/producer.py.)
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import urllib.parse

from harness import BUILD, PATIENCE, Failure, Skip, check, servers

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(servers.__file__)), "clients")


def amqp_publish(url, routing_key, body, *more, exchange="jobs"):
    """One letter through the C client's own tool, which neither asks for a confirm nor sets a message id."""
    body = body if isinstance(body, bytes) else body.encode()
    done = subprocess.run(["amqp-publish", "-u", url, "-e", exchange, "-r", routing_key, "-p", *more], input=body,
                          capture_output=True, timeout=PATIENCE, check=False)
    check(done.returncode == 0, f"amqp-publish ended with {done.returncode}: {done.stderr}")


def plain(one, address, body):
    """One letter as small as the broker's protocol allows: nothing beside the body, and nobody says that it is kept."""
    if one.kind == "amqp":
        amqp_publish(one.url, address, body)
    else:
        said = by_hand(one.url, pub(f"{one.subject}.{address}", body))
        check(not said, f"the server said {said}")


# --- Node.js ---

def node_modules():
    """The folder of the clients, installed from tests/clients' lock file into the build directory when it is not there."""
    place = os.path.join(BUILD, "clients")
    os.makedirs(place, exist_ok=True)
    with open(os.path.join(CLIENTS, "package-lock.json"), "rb") as lock:
        wanted = hashlib.sha256(lock.read()).hexdigest()
    stamp = os.path.join(place, "installed")
    with open(os.path.join(place, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(stamp) or open(stamp).read() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(os.path.join(CLIENTS, name), os.path.join(place, name))
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place, check=False,
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
            check(done.returncode == 0, f"npm ci ended with {done.returncode}: {done.stdout}{done.stderr}")
            with open(stamp, "w") as file:
                file.write(wanted)
    return os.path.join(place, "node_modules")


def run_node(words, lines):
    done = subprocess.run(["node", *words], input=lines, capture_output=True, text=True, check=False,
                          env=dict(os.environ, NODE_PATH=node_modules()), timeout=PATIENCE)
    check(done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout.splitlines()


def node(*words, lines=""):
    """What it prints, with the clients of tests/clients at hand; or Skip where this machine has no npm, or its registry is
    away. Never in CI."""
    if os.environ.get("CI"):
        return run_node(words, lines)
    if not shutil.which("npm") or not shutil.which("node"):
        raise Skip("no node or npm on this machine: producers in Node.js were NOT tried")
    try:
        return run_node(words, lines)
    except (Failure, subprocess.TimeoutExpired) as trouble:
        away = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "timed out")
        if "npm" in str(trouble) and any(word in str(trouble) for word in away):
            raise Skip(f"npm cannot install the clients, which were NOT tried: {str(trouble)[-300:]}") from trouble
        raise


def of_node(script, url, letters):
    """The answers, in order."""
    return node(os.path.join(CLIENTS, script), url, lines="".join(json.dumps(letter) + "\n" for letter in letters))


def amqplib(url, letters, exchange="jobs"):
    """[(routing key, body, options)]; confirmed, refused or returned, each."""
    return of_node("publish.js", url, [{"exchange": exchange, "routing_key": key, "body": body, "options": options}
                                       for key, body, options in letters])


def nats_js(url, letters):
    """[(subject, body, {"id", "headers", "plain"})]; confirmed, duplicate, "refused: why" or, of a plain one, sent."""
    return of_node("publish_nats.js", url, [{"subject": subject, "body": body, **more} for subject, body, more in letters])


# --- the NATS protocol by hand ---

def by_hand(url, *operations):
    """Bytes of client operations, written to the socket one after another as they are; the server has read them all when
    this returns. What it said against them, or ""."""
    place = urllib.parse.urlsplit(url)
    with socket.create_connection((place.hostname, place.port), PATIENCE) as connection:
        login = {"verbose": False, "pedantic": False, "headers": True}
        if place.username:
            login |= {"user": place.username, "pass": place.password} if place.password else {"auth_token": place.username}
        said = b""
        with contextlib.suppress(ConnectionError):  # it may hang up at once on what it does not like
            connection.sendall(b"CONNECT " + json.dumps(login).encode() + b"\r\n" + b"".join(operations) + b"PING\r\n")
        while b"PONG\r\n" not in said:
            part = connection.recv(65536)
            said += part
            if not part:
                break
    return " ".join(line[5:].decode() for line in said.split(b"\r\n") if line.startswith(b"-ERR"))


def pub(subject, body=b""):
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(body), body)


def hpub(subject, block, body=b""):
    """block: the header block as it is, from NATS/1.0 to the empty line."""
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (subject.encode(), len(block), len(block) + len(body), block, body)
