"""Audits what a scenario did: dumps its ledger, runs skep-audit, raises with its report when something is violated.

    audit(node.ledger, [producer_log], [handler_log], BUILD)
    audit(url, logs, logs, BUILD, idless_extra_permille=5, unserved=["never.type"], strangers=True)

Keyword arguments are skep-audit's options. Logs of faults and broker counts are logs like any other: the producers' log
will do.
"""

import json
import os
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class Violated(AssertionError):
    """Something that must hold has not."""


class Unreadable(Exception):
    """The evidence cannot be read: no verdict."""


def words_of(tolerances):
    words = []
    for name, value in tolerances.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, (list, tuple)):
            words += [word for one in value for word in (option, str(one))]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def dump(ledger_url, path):
    with open(path, "w") as out:
        done = subprocess.run(["/usr/bin/python3", os.path.join(HERE, "dump.py"), ledger_url], stdout=out,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    if done.returncode:
        raise Unreadable(f"dump.py {ledger_url}: {done.stderr[-1000:]}")


def run(build, dump_path, logs, words=(), **tolerances):
    """(exit code, text) of skep-audit. words: further arguments as they are."""
    program = os.path.join(build, "tests", "audit", "skep-audit")
    done = subprocess.run([program, "--dump", dump_path, *words_of(tolerances), *words, *logs], capture_output=True,
                          text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def audit(ledger_url, producer_logs, handler_logs, build, quiet=False, **tolerances):
    """Returns the report as JSON has it. Logs that do not exist were never written to: they are left out."""
    logs = [log for log in [*producer_logs, *handler_logs] if os.path.exists(log)]
    with tempfile.TemporaryDirectory(prefix="skep-audit-") as folder:
        path = os.path.join(folder, "dump.jsonl")
        dump(ledger_url, path)
        code, text = run(build, path, logs, **tolerances)
        if code == 1:
            raise Violated("skep-audit says:\n" + text)
        if code:
            raise Unreadable(text)
        if not quiet:
            print("".join("  " + line + "\n" for line in text.splitlines()), end="")
        return json.loads(run(build, path, logs, json=True, **tolerances)[1])
