"""What skep promises of its speed: every gate, its limit and where its figure comes from, in one table.

A figure is a ratio of medians of one run, or says its unit. A gate is met, MISSED, or has no verdict: when other programs
used the machine in every round, or when what it needs was not measured. No gate decides the exit status: a run ends
badly when an audit fails, and what a gate says is worth something only on a machine that does nothing else.
"""
from measure import NOISE

LEAST, MOST, BELOW = ">=", "<=", "<"
HOLDS = {LEAST: lambda figure, limit: figure >= limit, MOST: lambda figure, limit: figure <= limit,
         BELOW: lambda figure, limit: figure < limit}

ON_POSTGRES = ("rabbitmq", "nats", "postgres")
DRAINS = (*ON_POSTGRES, "sqlite", "rabbitmq-sqlite", "nats-sqlite")
LARGE = tuple(name + "-64k" for name in DRAINS if name != "postgres")
SUBMITS = ("submit-sqlite", "submit-postgres")


# --- figures, of a suite's result; None: there is none ---

def drain(result):
    return result["drain"]["ratio_of_medians"]


def cpu_all(result):
    ours, bare = (sum(result["drain"][side]["cpu_per_10k"].values()) for side in ("ours", "bare"))
    return ours / bare if bare else None


def cpu_database(result):
    ours, bare = (result["drain"][side]["cpu_per_10k"].get("postgres") for side in ("ours", "bare"))
    return ours / bare if bare else None


def peak(result):
    return result["drain"]["peak_mib"]


def at_200(result):
    return next((one for one in result.get("latency", ()) if one["rate_per_s"] == 200), None)


def start_p50(result):
    one = at_200(result)
    return one and one["skep_p50_ms"] - one["bare_p50_ms"]


def start_p99(result):
    one = at_200(result)
    return one and one["skep_p99_ms"] / one["skep_p50_ms"]


def post_p99(result):
    return result["p99_ms"]


def arrays(result):
    return result["batch_per_s"] / result["bare_per_s"]


def grown(result):
    return result["grown"]["rate"] / result["empty"]["rate"]


def pruned(result):
    return result["ratio"]


def beside_slow(kind):
    return lambda result: result[kind]["ratio_of_medians"]


def slow_share(result):
    return result["slow"]["share"]


# --- sizes, that a promise is made for ---

def jobs(result):
    return result.get("jobs", result.get("drain", {}).get("jobs", 0))


def old_rows(result):
    return result.get("many", result.get("drain", {}).get("rows", 0))


def rows(result):
    return result["rows"]


# --- the table ---

class Gate:
    """`of`: (size, how much): what the promise is made for; less of it proves less."""

    def __init__(self, key, suites, what, how, limit, figure, of=(jobs, 0), digits=2):
        self.key, self.suites, self.what, self.how, self.limit = key, suites, what, how, limit
        self.figure, self.of, self.digits = figure, of, digits


MANY = (jobs, 300000)

GATES = (
    Gate("drain", ("rabbitmq", "nats"), "drain, of the bare loop's", LEAST, 0.95, drain, (jobs, 1000000)),
    Gate("drain", ("sqlite", "rabbitmq-sqlite"), "drain, of the bare loop's", LEAST, 0.90, drain, MANY),
    Gate("drain", ("nats-sqlite",), "drain, of the bare loop's", LEAST, 0.80, drain, MANY),
    Gate("drain", LARGE, "drain, of the bare loop's", LEAST, 0.80, drain, (jobs, 20000)),
    Gate("cpu", DRAINS, "CPU a job, all parties, of the bare loop's", MOST, 1.5, cpu_all, MANY),
    Gate("database", ON_POSTGRES, "CPU a job, the database, of the bare loop's", MOST, 1.3, cpu_database, MANY),
    Gate("peak", DRAINS, "skepd's peak while it drains, MiB", MOST, 48, peak, MANY, digits=1),
    Gate("start_p50", DRAINS, "start at 200/s, p50 beyond the bare one, ms", MOST, 1, start_p50),
    Gate("start_p99", DRAINS, "start at 200/s, p99 by p50", MOST, 5, start_p99),
    Gate("post_p99", SUBMITS, "single POST at 1,000/s, p99, ms", BELOW, 10, post_p99),
    Gate("arrays", SUBMITS, "arrays of 1,000, of bare inserts", LEAST, 0.70, arrays, (jobs, 200000)),
    Gate("drain", ("rows",), "drain beside old rows, of an empty ledger's", LEAST, 0.90, drain, (old_rows, 10000000)),
    Gate("grown", ("finished",), "drain beside old rows, of an empty ledger's", LEAST, 0.90, grown, (old_rows, 10000000)),
    Gate("grown", ("queues",), "drain of 100 queues, of one queue's", LEAST, 0.80, grown),
    Gate("prune", ("prune",), "jobs while rows are pruned, of the same flow without", LEAST, 0.90, pruned, (rows, 1000000)),
    Gate("noop", ("mixed",), "fast jobs beside slow ones, of the workers left alone", LEAST, 0.90, beside_slow("noop")),
    Gate("brief", ("mixed",), "2 ms jobs beside slow ones, of the workers left alone", LEAST, 0.90, beside_slow("brief")),
    Gate("slow", ("mixed",), "time in which slow jobs had their workers", LEAST, 0.90, slow_share),
)


def is_noisy(result, key):
    return any(part.get("noisy", False) for part in (result, result.get("drain", {}), result.get(key, {})))


def judge(suite, result):
    """What stands in result["gates"], by key. `met` is None without a verdict; `size` of `promised` says how much of what
    the promise is made for there was."""
    found = {}
    for gate in GATES:
        if suite not in gate.suites:
            continue
        figure = gate.figure(result)
        met = None if figure is None or is_noisy(result, gate.key) else HOLDS[gate.how](figure, gate.limit)
        size, promised = gate.of
        found[gate.key] = {"what": gate.what, "figure": figure, "how": gate.how, "limit": gate.limit, "met": met,
                           "digits": gate.digits, "of": size.__name__.replace("_", " "), "size": size(result),
                           "promised": promised}
    return found


def verdict(gate):
    return {True: "met", False: "MISSED", None: "no verdict"}[gate["met"]]


def limit_of(gate):
    return f"{gate['how']} {gate['limit']:.{gate['digits']}f}"


def beside(result, key):
    """What stands behind a figure in a table; nothing when it has no gate."""
    gate = result.get("gates", {}).get(key)
    return f"  gate {limit_of(gate)}: {verdict(gate)}" if gate else ""


def why_little(gate):
    few = gate["size"] < gate["promised"]
    return f" (promised for {gate['promised']:,} {gate['of']}, here {gate['size']:,})" if few else ""


def summary(results, suites=()):
    """The last lines of a run: every gate of what ran, and which of these suites did not."""
    lines = []
    for suite, result in results.items():
        for gate in result.get("gates", {}).values():
            figure = "-" if gate["figure"] is None else f"{gate['figure']:,.{gate['digits'] + 1}f}"
            lines.append(f"{verdict(gate):<11}{figure:>9} {limit_of(gate):>8}  {suite}: {gate['what']}{why_little(gate)}")
    absent = [suite for suite in suites if suite not in results and any(suite in gate.suites for gate in GATES)]
    if any(is_noisy(result, key) for result in results.values() for key in result.get("gates", ())):
        lines.append(f"no verdict: others used over {NOISE} cores in every round")
    if absent:
        lines.append("with gates, but not run: " + ", ".join(absent))
    return "\n".join(["gates:", *(lines or ["none of what ran has one"])])
