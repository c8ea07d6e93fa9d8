#!/usr/bin/python3
"""Runs a test with a RabbitMQ of its own, which it may kill, wipe and put under alarm: with_broker.py COMMAND...

The broker lives in a folder of its own and ends with this process, however that ends.
"""
import os
import shlex
import subprocess
import sys
import tempfile

SERVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers.py")


def main():
    with tempfile.TemporaryDirectory(prefix="skep-broker-") as folder:
        control = [sys.executable, SERVERS, "--dir", folder]
        subprocess.run([*control, "up", "rabbitmq", "--while", str(os.getpid())], check=True, stdout=sys.stderr)
        try:
            url = subprocess.run([*control, "url", "rabbitmq"], check=True, capture_output=True, text=True).stdout.strip()
            env = dict(os.environ, SKEP_TEST_AMQP=url, SKEP_TEST_SERVERS_CONTROL=shlex.join(control))
            return subprocess.run(sys.argv[1:], env=env, check=False).returncode
        finally:
            subprocess.run([*control, "down"], check=False, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
