"""PostgreSQL as the whole system: queues without a transport, jobs claimed from the ledger by many, and producers that
know nothing but SQL: skep_enqueue() in a transaction of their own.
"""

import contextlib
import statistics

from faults import check, counts, producer, wait_for, world
from harness import Failure, run

BEAT_SECONDS = 5
DONE, DEAD = 4, 5
ID_CONFLICT = 8


def runs_by_node(w):
    """{node: runs} as the handlers wrote them down."""
    found = {}
    with open(w.handlers, encoding="utf-8") as log:
        for line in log:
            if line.startswith("start/1"):
                name = line.split("\tnode=")[1].split("\t")[0]
                found[name] = found.get(name, 0) + 1
    return found


@contextlib.contextmanager
def session(w):
    import psycopg2
    connection = psycopg2.connect(w.ledger.url)
    try:
        yield connection
    finally:
        connection.close()


class Sql:
    """A producer with a connection of its own: what it enqueues counts when it commits."""

    def __init__(self, w, connection):
        self.w, self.connection, self.open = w, connection, []

    def enqueue(self, type_, payload, key=None, queue=None, **more):
        body = producer.as_bytes(payload)
        self.open.append(self.w.log.intend(body, via="sql", type=type_, key=key, queue=queue or "default"))
        words = {"type": type_, "payload": body, "queue": queue, "key": key, **more}
        words = {name: value for name, value in words.items() if value is not None}
        with self.connection.cursor() as cursor:
            cursor.execute("select skep_enqueue(" + ", ".join(f"{name} => %s" for name in words) + ")",
                           list(words.values()))
            return cursor.fetchone()[0]

    def commit(self):
        self.connection.commit()
        self.end("confirmed")

    def rollback(self):
        self.connection.rollback()
        self.end("refused")

    def end(self, answer):
        for ref in self.open:
            self.w.log.answer(ref, answer)
        self.open = []


def two_nodes_share_a_queue():
    with world("postgres", broker=False, private=False) as w:
        a, b = w.node(), w.node()
        sent = 0
        # once more when a node stood still as long as it took the other one
        while sent < 6000 or (sent < 60000 and min(runs_by_node(w).get(name, 0) for name in "ab") <= 300):
            for at in range(sent, sent + 6000, 1000):
                w.pages(a, [("diary", {"n": n, "do": "sleep:5" if n % 3 == 0 else ""}) for n in range(at, at + 1000)])
            sent += 6000
            w.settle(sent)
        again = w.select("select count(*) from jobs where claim <> 1")
        check(int(again[0][0]) == 0, f"{again} jobs were claimed more than once")
        shares = runs_by_node(w)
        print(f"  {sent} jobs submitted to one node ran once each: {shares}")
        check(len(shares) == 2 and min(shares.values()) > 300, f"both nodes took their part: {shares}")
        report = w.audit()
        check(report["runs"] == sent, f"{report['runs']} runs")
        check(a.process.returncode == b.process.returncode == 0, "both ended in order")


def an_idle_node_is_woken_by_the_others_submission():
    settings = (f"node.beat={BEAT_SECONDS}s", f"node.lease={4 * BEAT_SECONDS}s", "handlers.workers=1")
    with world("postgres", broker=False, private=False, settings=settings) as w:
        a, b = w.node(), w.node()
        busy = w.http(a).submit("diary", {"busy": 1, "do": "sleep:600000"}, key="busy")
        a.until(busy, "running")
        holder = wait_for("its worker", lambda: next(
            (node for node in (a, b) if any(row.get("job_id") == busy for row in node.workers())), None))
        waits = []
        for n in range(12):
            id_ = w.http(holder).submit("diary", {"wake": n})
            holder.finish(id_)
            row = w.select(f"select started - created from jobs where id = '{id_}'")
            waits.append(int(row[0][0]) / 1000)
        print(f"  started {statistics.median(waits):.1f} ms (at most {max(waits):.0f} ms) after they were created, by the "
              f"other node, whose beat is {BEAT_SECONDS * 1000} ms")
        w.http(holder).cancel(busy)
        w.settle(13)
        shares = runs_by_node(w)
        check(shares.get("a" if holder is b else "b") == 12, f"the other node ran all 12: {shares}")
        w.audit()


def a_letter_counts_when_its_transaction_commits():
    with world("postgres", broker=False, private=False) as w, session(w) as connection:
        nodes, sql = [w.node(), w.node()], Sql(w, connection)
        connection.cursor().execute("create table public.orders(n int)")
        connection.commit()
        for n in range(300):
            connection.cursor().execute("insert into public.orders values (%s)", (n,))
            sql.enqueue("diary", {"order": n}, key=f"order-{n}" if n % 2 else None)
            if n % 3:
                sql.commit()
            else:
                sql.rollback()
        w.settle(200)
        orders = int(w.select("select count(*) from public.orders")[0][0])
        check(orders == 200, f"{orders} orders were committed")
        check(w.rows() == {DONE: 200}, f"the ledger holds {w.rows()}")
        check(int(w.select("select count(*) from inbox")[0][0]) == 0, "the inbox is empty")
        print(f"  {orders} of 300 transactions were committed, each with its job; runs {runs_by_node(w)}")
        check(all(node.process.poll() is None for node in nodes), "both nodes live")
        w.audit()


def a_letter_of_sql_runs_through_the_death_of_nodes():
    with world("postgres", broker=False, private=False) as w, session(w) as connection:
        sql = Sql(w, connection)
        nodes = [w.node(), w.node()]
        for n in range(1500):
            sql.enqueue("diary", {"n": n, "do": "sleep:2"}, key=f"n-{n}" if n % 2 else None, max_attempts=20)
            if n % 10 == 9:
                sql.commit()
            if n % 250 == 200:
                victim = nodes[n // 250 % 2]
                w.kill(victim)
                victim.start(ready=False)
        w.settle(1500)
        check(w.rows() == {DONE: 1500}, f"the ledger holds {w.rows()}")
        w.audit()


def psql_calls_it_as_the_manual_says():
    with world("postgres", broker=False, private=False) as w:
        w.node()
        at = int(w.select("select skep_now()")[0][0]) // 1000000 + 2
        for text in ("select skep_enqueue('diary', '{\"psql\": 1}'::jsonb)",
                     "select skep_enqueue('diary', '{\"psql\": 2}'::bytea, key => 'two', priority => 9)",
                     "select skep_enqueue('diary', jsonb_build_object('psql', 3), "
                     f"run_at => to_timestamp({at}), headers => jsonb_build_object('Colour', 'green'), "
                     "max_attempts => 7, queue => 'default')",
                     "begin; select skep_enqueue('diary', '{}'::jsonb); rollback"):
            w.ledger.sql(text + ";")
        w.settle(3)
        rows = w.select("select convert_from(payload, 'UTF8'), priority, max_attempts, convert_from(content_type, 'UTF8'), "
                        f"started >= {at}000000 from jobs order by payload")
        check([row[0] for row in rows] == [f'{{"psql": {n}}}' for n in (1, 2, 3)], f"the jobs are {rows}")
        check(rows[1][1] == "9" and rows[2][2] == "7" and rows[2][4] == "t", f"their settings are {rows}")
        print(f"  {rows}")
        plain = ""
        try:
            w.ledger.sql("select skep_enqueue('diary', '{\"psql\": 4}');")
        except Failure as error:
            plain = str(error)
        print(f"  with a literal that has no type: {plain or 'accepted'}")
        check(not plain, f"the shortest call is refused: {plain}")
        w.settle(4)
        w.audit("I2 I3 I4 I15 I22", strangers=True)


BAD = [("type => 'no type', payload => ''::bytea", "is no type"),
       ("type => '', payload => ''::bytea", "is no type"),
       ("type => null, payload => ''::bytea", "is no type"),
       ("type => 'a..b', payload => ''::bytea", "is no type"),
       ("type => repeat('x', 256), payload => ''::bytea", "is no type"),
       ("type => 'diary', payload => null::bytea", "payload is null"),
       ("type => 'diary', payload => ''::bytea, headers => '[1]'", "headers are no object"),
       ("type => 'diary', payload => ''::bytea, priority => 10", "priority"),
       ("type => 'diary', payload => ''::bytea, priority => -1", "priority"),
       ("type => 'diary', payload => ''::bytea, max_attempts => 0", "max_attempts"),
       ("type => 'diary', payload => ''::bytea, key => ''", "key"),
       ("type => 'diary', payload => ''::bytea, key => repeat('k', 256)", "key"),
       ("type => 'diary', payload => ''::bytea, headers => jsonb_build_object('h', repeat('x', 9000))", "headers"),
       ("type => 'diary', payload => ''::bytea, queue => repeat('q', 300)", "queue"),
       ("type => 'diary', payload => ''::bytea, colour => 'green'", "does not exist")]


def bad_arguments_are_refused_with_a_reason():
    with world("postgres", broker=False, private=False) as w:
        node, wrong = w.node(), []
        for words, reason in BAD:
            try:
                w.ledger.sql(f"select skep_enqueue({words});")
            except Failure as error:
                if reason not in str(error):
                    wrong.append(f"{words}: no word of {reason}: {error}")
            else:
                wrong.append(f"{words}: accepted")
        id_ = w.http(node).submit("diary", {"after": 1})
        check(node.finish(id_)["state"] == "completed", "a job completes beside them")
        check(not wrong, "\n    ".join(["wrong:", *wrong]))
        print(f"  {len(BAD)} calls refused, each with its reason")
        w.audit()


def a_key_names_one_job():
    with world("postgres", broker=False, private=False) as w, session(w) as connection:
        sql = Sql(w, connection)
        nodes = [w.node(), w.node()]
        for n in range(100):
            for _ in range(2):
                sql.enqueue("diary", {"keyed": n}, key=f"k-{n}")
                if n % 2:
                    sql.commit()
        sql.commit()
        wait_for("100 jobs", lambda: counts(nodes[0]).get("completed") == 100)
        sql.enqueue("diary", {"another": 1}, key="k-7")
        sql.commit()
        w.settle(101)
        check(w.rows() == {DONE: 100, DEAD: 1}, f"the ledger holds {w.rows()}")
        dead = w.select(f"select reason, key is null, convert_from(payload, 'UTF8') from jobs where state = {DEAD}")
        check(dead == [[str(ID_CONFLICT), "t", '{"another":1}']], f"the dead one is {dead}")
        shown = nodes[0].get("/v1/jobs?state=dead").json["jobs"][0]
        other = w.select("select id from jobs where payload = '{\"keyed\":7}'")[0][0]
        whole = nodes[0].job(shown["id"])
        check(other in str(whole), f"it names the other job {other}: {whole}")
        print(f"  200 letters under 100 keys: 100 jobs; another payload under one: dead({shown['reason']}), {whole.get('error')}")
        w.audit()


run(two_nodes_share_a_queue, an_idle_node_is_woken_by_the_others_submission,
    a_letter_counts_when_its_transaction_commits, a_letter_of_sql_runs_through_the_death_of_nodes,
    psql_calls_it_as_the_manual_says, bad_arguments_are_refused_with_a_reason, a_key_names_one_job)
