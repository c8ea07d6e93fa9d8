#!/usr/bin/python3
"""Runs a test with a broker of its own, which it may kill, wipe and put under alarm: with_broker.py NAME COMMAND...

NAME is one of tests/servers.py: rabbitmq, nats. The broker lives in a folder of its own and ends with this process,
however that ends.
"""
import os
import shlex
import subprocess
import sys
import tempfile

SERVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers.py")


def main():
    name, command = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="skep-broker-") as folder:
        control = [sys.executable, SERVERS, "--dir", folder]
        subprocess.run([*control, "up", name, "--while", str(os.getpid())], check=True, stdout=sys.stderr)
        try:
            exports = subprocess.run([*control, "env", name], check=True, capture_output=True, text=True).stdout
            env = dict(os.environ)
            env.update(word.split("=", 1) for word in shlex.split(exports) if word != "export")
            return subprocess.run(command, env=env, check=False).returncode
        finally:
            subprocess.run([*control, "down"], check=False, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
