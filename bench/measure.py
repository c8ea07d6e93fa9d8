"""How things are measured: CPU of groups of processes and of everybody else, and rounds in pairs.

Absolute figures of a machine do not carry over to another hour; ratios of two neighbours do. So nothing here compares
figures of different rounds.
"""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD, in field 9 of /proc/PID/stat
NOISE = 0.2                 # cores: a round in which others used more is dropped

middle = statistics.median


class Failed(Exception):
    """A benchmark could not be carried out, or its audit found something."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_json(words):
    """The last line that a program prints, as JSON."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{os.path.basename(words[0])}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def run_text(words, check=True):
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode and check:
        raise Failed(f"{os.path.basename(words[0])}: {done.stderr.strip()}")
    return done.stdout.strip() if done.returncode == 0 else None


# --- CPU ---

def stat_of(pid):
    """(parent, is it a kernel thread, CPU seconds with those of its reaped children), or None."""
    with contextlib.suppress(OSError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[1]), bool(int(fields[6]) & KERNEL_THREAD), sum(map(int, fields[11:15])) / TICKS
    return None


def own_cpu(pid):
    """CPU seconds of one process alone."""
    with contextlib.suppress(OSError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / TICKS
    return 0.0


def machine_busy():
    """CPU seconds of the whole machine: user, nice, system, and what the host beneath it took (steal)."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(word) for word in file.readline().split()[1:]]
    return (fields[0] + fields[1] + fields[2] + (fields[7] if len(fields) > 7 else 0)) / TICKS


class Snapshot:
    def __init__(self):
        self.when = time.monotonic()
        self.busy = machine_busy()
        self.processes = {int(name): stat for name in os.listdir("/proc") if name.isdigit() and (stat := stat_of(name))}
        times = os.times()
        self.own = times.user + times.system + times.children_user + times.children_system

    def tree(self, roots):
        """CPU of these processes and all beneath them, ended ones included as far as they were waited for."""
        children = {}
        for pid, (parent, _, _) in self.processes.items():
            children.setdefault(parent, []).append(pid)
        found, row = set(), [pid for pid in roots if pid in self.processes]
        while row:
            found.update(row)
            row = [child for pid in row for child in children.get(pid, []) if child not in found]
        return sum(self.processes[pid][2] for pid in found)

    def kernel(self):
        return sum(cpu for _, kernel, cpu in self.processes.values() if kernel)


class Meter:
    """From here to stop(): CPU by group, and how many cores the rest of the machine used meanwhile. The kernel's own
    threads count for nobody: they flush for us as well as for others."""

    def __init__(self, groups):
        self.groups = {name: list(roots) for name, roots in groups.items()}
        self.begin = Snapshot()

    def stop(self, end=None, **born):
        """end: when the work ended (None: now); born: groups that began after the meter did, by the pid of their root."""
        end = end or Snapshot()
        seconds = end.when - self.begin.when
        cpu = {name: end.tree(roots) - self.begin.tree(roots) for name, roots in self.groups.items()}
        cpu.update({name: end.tree([root]) for name, root in born.items()})
        others = (end.busy - self.begin.busy) - sum(cpu.values()) - (end.own - self.begin.own) \
            - (end.kernel() - self.begin.kernel())
        return {"cpu": cpu, "others": max(others, 0.0) / seconds, "window": seconds}


def status_kib(pid, name):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


# --- rounds ---

def batches_for(payload):
    """What the bare loop is tried with: megabytes are enough for a commit, and a NATS server closes a connection that
    has 64 MB to take."""
    return (100, 500, 2000) if payload < 4096 else (10, 50, 200)


def best_batch(drain, batches):
    """One round of each; drain(batch) answers with a `rate`. (the best one, the rates of all)"""
    rates = {batch: drain(batch)["rate"] for batch in batches}
    say("bare loop by batch: " + ", ".join(f"{batch}: {rate:,.0f}/s" for batch, rate in rates.items()))
    return max(rates, key=rates.get), rates


def lower_quartile(values):
    return sorted(values)[len(values) // 4]


def run_pairs(name, rounds, ours, bare, names=("skep", "bare")):
    """Pairs until `rounds` quiet ones were seen, twice as many at most. When there was no quiet one all of them are
    kept, and said to be noisy."""
    quiet, noisy = [], []
    while len(quiet) < rounds and len(quiet) + len(noisy) < 2 * rounds:
        pair = (ours(), bare())
        others = max(half["others"] for half in pair)
        (noisy if others > NOISE else quiet).append(pair)
        say(f"{name} {len(quiet)}/{rounds}: {names[0]} {pair[0]['rate']:,.0f}/s, {names[1]} {pair[1]['rate']:,.0f}/s, "
            f"ratio {pair[0]['rate'] / pair[1]['rate']:.2f}"
            + (f"; dropped: others used {others:.2f} cores" if others > NOISE else ""))
    return quiet or noisy, len(noisy), not quiet


def summarize(pairs, dropped, noisy):
    ratios = [ours["rate"] / bare["rate"] for ours, bare in pairs]
    result = {
        "rounds": len(pairs), "dropped": dropped, "noisy": noisy, "ratio": middle(ratios),
        "ratio_lower_quartile": lower_quartile(ratios), "pairs": [[ours, bare] for ours, bare in pairs],
    }
    for side, name in ((0, "ours"), (1, "bare")):
        halves = [pair[side] for pair in pairs]
        result[name] = {"rate": middle(half["rate"] for half in halves),
                        "cpu_per_10k": {group: middle(half["cpu_per_10k"][group] for half in halves)
                                        for group in halves[0]["cpu_per_10k"]},
                        "commits_per_10k": middle(half["commits_per_10k"] for half in halves),
                        "upkeep": {what: sum(half["upkeep"][what] for half in halves) for what in halves[0]["upkeep"]}}
    result["ratio_of_medians"] = result["ours"]["rate"] / result["bare"]["rate"]
    result["peak_mib"] = max(ours["peak_mib"] for ours, _ in pairs)
    result["again"] = sum(ours["again"] for ours, _ in pairs)
    return result


def per_10k(cpu, jobs):
    return {group: seconds * 1e4 / jobs for group, seconds in cpu.items()}
