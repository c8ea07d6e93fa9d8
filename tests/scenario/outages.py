"""Servers that are away, blocked, refused or badly set up; letters that the ledger refuses; types without a handler;
handlers that run longer than the broker's patience. In each story what can go on goes on, what is wrong is named in
the log, at /readyz and by `skep doctor`, and skepd heals by itself once it is put right: same process, nothing lost.
"""

import contextlib
import json
import os
import time

from faults import (LEDGER, SHORT, Background, House, check, counts, doctor, ended, logged, metric, named_and_healed, not_ready,
                    send, until_ready, wait_for, wait_logged)
from harness import BROKER, HANDLERS, PATIENCE, Skip, run

DOWN_SECONDS = 12 if SHORT else 30
BROKER_WAITS = {"amqp": 60, "nats": 10}  # seconds, for an acknowledgement
DONE, DEAD, PENDING = 4, 5, 1
UNSTORABLE = 7


# --- the broker ---

def a_broker_that_is_down_at_the_start():
    with house.world() as w:
        w.broker.durable()
        w.broker.server.kill()
        node = w.node(ready=False)
        said = wait_for("skepd to serve, not ready", lambda: not_ready(node))
        name = w.broker.transport
        said = wait_for("the reason", lambda: (lambda s: s if s and "refused" in s["transports"][name].lower() else None)
                        (not_ready(node)))
        check(str(w.broker.server.port) in said["transports"][name], f"/readyz names the broker: {said}")
        line = wait_logged(node, "transport is down", str(w.broker.server.port))
        status, detail = doctor(node)[f"transport {name}"]
        check(status == "fail" and "refused" in detail.lower(), f"doctor says {status}: {detail}")
        print(f"  it says: {line.split('msg=')[1]}")
        pid, begin, http = node.pid, time.monotonic(), w.http(node)
        ids = [http.submit("diary", {"early": n}, key=f"early-{n}") for n in range(20)]
        check(all(ids), "submissions are accepted without the broker")
        wait_for("20 jobs to complete without the broker", lambda: ended(node, 20))
        print(f"  20 jobs ended {time.monotonic() - begin:.1f} s after they were submitted, without the broker")
        w.broker.server.start()
        until_ready(node, pid)
        w.broker.durable()
        send(w, 50)
        wait_for("50 letters' jobs", lambda: ended(node, 70))
        w.settle(70)
        w.audit()


def a_broker_that_is_blocked_by_a_memory_alarm():
    with house.world() as w:
        node = w.node()
        rabbit, pid, http = w.broker.server, node.pid, w.http(node)
        w.broker.await_queues()
        busy = [http.submit("diary", {"long": n, "do": "sleep:600000"}, key=f"long-{n}") for n in range(2)]
        for id_ in busy:
            node.until(id_, "running")
        send(w, 300, "sleep:20")
        rabbit.eval("vm_memory_monitor:set_vm_memory_high_watermark(0)")
        try:
            wait_for("the alarm", lambda: "memory" in rabbit.eval("rabbit_alarm:get_alarms()"))
            before, bells = counts(node).get("completed", 0), metric(node, "skep_doorbells_total")
            check([http.cancel(id_) for id_ in busy] == [202, 202], "the long jobs are asked to stop")
            check(before < 300, "letters are left when the alarm begins")
            begin = time.monotonic()
            ids = [http.submit("diary", {"blocked": n}, key=f"blocked-{n}") for n in range(50)]
            check(all(ids), "submissions are accepted while publishers are blocked")
            print(f"  it says: {wait_logged(node, 'blocks publishers').split('msg=')[1]}")  # once it has published
            wait_for("the letters' and the submitted jobs", lambda: ended(node, 352))
            print(f"  {300 - before} letters and 50 submissions ended within {time.monotonic() - begin:.1f} s under the "
                  f"alarm; {metric(node, 'skep_doorbells_total') - bells:.0f} doorbells came, "
                  f"{metric(node, 'skep_tide_recovered_total'):.0f} by the tide")
        finally:
            rabbit.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.4)")
        wait_logged(node, "lets publishers go on")
        send(w, 20, start=1000)
        id_ = http.submit("diary", {"after": 1}, key="after")
        check(node.finish(id_)["state"] == "completed", "what is submitted afterwards completes")
        wait_for("the last letters", lambda: ended(node, 373))
        check(node.pid == pid, "it is the same process")
        w.settle(373)
        w.audit()


# --- the ledger ---

def postgres_is_down_under_load():
    if LEDGER == "sqlite":
        raise Skip("SQLite has no server")
    # The default lease: reconnecting may take seconds, and the other node must not take that for death.
    with house.world(settings=("handlers.workers=4", "node.lease=15s", "node.beat=1s")) as w:
        nodes = [w.node(), w.node()]
        http, pids = w.http(nodes[0]), [node.pid for node in nodes]
        do = f"sleep:{DOWN_SECONDS // 2 * 1000}"
        long_ids = [http.submit("diary", {"long": n, "do": do}, key=f"long-{n}") for n in range(4)]
        for id_ in long_ids:
            w.begun(id_)
        letters, stop = w.sender(), []
        flow = Background(keep_sending, letters, stop)
        wait_for("letters to flow", lambda: ended(nodes[0], 50))
        begin, log_end = time.monotonic_ns(), os.path.getsize(nodes[0].log_path)
        w.ledger.server.kill()
        end_at = time.monotonic() + DOWN_SECONDS
        said = wait_for("/readyz to say 503", lambda: not_ready(nodes[0]))
        check(said["ledger"] == "down", f"/readyz says {said}")
        line = wait_logged(nodes[0], "ledger", str(w.ledger.server.port), after=log_end)
        print(f"  it says: {line.split('msg=')[1]}")
        status, detail = doctor(nodes[0])["ledger"]
        check(status == "fail" and str(w.ledger.server.port) in detail, f"doctor says {status}: {detail}")
        refused = 0
        while time.monotonic() < end_at:
            check(nodes[0].post({"type": "diary", "payload": {"no": refused}}).status == 503, "the API says 503")
            refused += 1
            time.sleep(1)
        end = time.monotonic_ns()
        w.ledger.server.start()
        w.log.fault("ledger", from_=begin, to=end)
        back = time.monotonic()
        for node, pid in zip(nodes, pids):
            until_ready(node, pid)
        print(f"  ready {time.monotonic() - back:.1f} s after PostgreSQL; {refused} submissions were answered 503")
        for id_ in long_ids:
            job = nodes[0].finish(id_)
            check(job["state"] == "completed" and job["claim"] == 1, f"a handler that ran on was disturbed: {job}")
        stop.append(True)
        flow.join_or_raise()
        print(f"  {letters.confirmed} letters confirmed meanwhile, {letters.unconfirmed} not")
        known = sum(metric(node, "skep_letters_known_total") for node in nodes)
        check(known <= letters.confirmed / 20, f"{known:.0f} of {letters.confirmed} letters came twice")
        for durable, row in (w.broker.consumers() if BROKER == "nats" else {}).items():
            again = row["delivered"]["consumer_seq"] - row["delivered"]["stream_seq"]
            check(again <= letters.confirmed / 20, f"{durable}: {again} deliveries more than messages")
            print(f"  {durable}: {row['delivered']['stream_seq']} messages, {again} of them delivered again")
        w.settle(letters.confirmed + 4)
        w.audit("I1 I1b I2 I3 I4 I9 I10 I15 I16 I19 I22", lease_ms=15000)


def keep_sending(letters, stop):
    n = 0
    while not stop:
        letters.letter("diary", {"flow": n, "do": "sleep:5"}, key=f"flow-{n}" if n % 2 else None)
        letters.pause(0.02)
        n += 1
    letters.drop()


# --- what is set up wrongly, and put right ---

def a_wrong_password_of_the_broker():
    with house.world() as w:
        put_right = w.broker.lock_out("keeper", "s3cret")
        named_and_healed(w, w.node(ready=False), f"transport {w.broker.transport}", w.broker.locked_out("keeper"), put_right)
        w.audit()


def a_virtual_host_that_does_not_exist():
    with house.world() as w:
        rabbit = w.broker.server
        w.broker.url = w.broker.url.replace(w.broker.name, "elsewhere")
        w.broker.name = "elsewhere"
        named_and_healed(w, w.node(ready=False), "transport rabbit", ("virtual host elsewhere",),
                         lambda: rabbit.new_vhost("elsewhere"))
        w.audit()


def a_database_that_does_not_exist():
    if LEDGER == "sqlite":
        raise Skip("SQLite makes its own")
    with house.world(broker=False) as w:
        w.ledger.url = w.ledger.server.url_of("not_yet")
        named_and_healed(w, w.node(ready=False), "ledger", ("not_yet", "does not exist"),
                         lambda: w.ledger.server.new_database("not_yet"))
        w.audit()


def a_wrong_password_of_the_database():
    if LEDGER == "sqlite":
        raise Skip("SQLite has none")
    with house.world(broker=False) as w:
        server = w.ledger.server
        hba = os.path.join(server.data, "pg_hba.conf")
        with open(hba, "r+") as file:
            rest = file.read()
            if "keeper" not in rest:
                file.seek(0)
                file.write("host all keeper 127.0.0.1/32 scram-sha-256\n" + rest)
        server.sql("drop role if exists keeper; create role keeper login password 'other'; "
                   f"select pg_reload_conf(); alter database {w.ledger.name} owner to keeper")
        secret = os.path.join(w.folder, "url")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(w.ledger.url.replace("skep@", "keeper:s3cret@") + "\n")
        node = w.node(ready=False, settings=(f"ledger.url_file={secret}",))
        named_and_healed(w, node, "ledger", ("keeper", "password authentication failed"),
                         lambda: server.sql("alter role keeper password 's3cret'"))
        w.audit()


def a_queue_that_exists_with_other_arguments():
    with house.world() as w:
        import pika
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(w.broker.url))) as connection:
            connection.channel().queue_declare("default", durable=True, arguments={"x-max-priority": 7})
        node = w.node()
        print(f"  it says: {wait_logged(node, 'queue default', 'x-queue-type').split('msg=')[1]}")
        send(w, 40)
        id_ = w.http(node).submit("diary", {"bell": 1}, key="bell")
        check(node.finish(id_)["state"] == "completed", "a doorbell goes through it")
        wait_for("40 letters' jobs", lambda: ended(node, 41))
        w.settle(41)
        w.audit()


# --- letters ---

def one_poisoned_row_among_five_hundred():
    with house.world() as w:
        node = w.node()
        wait_for("the queue", lambda: "default" in w.broker.queues())
        check(node.stop() == 0, "skepd ends with 0")
        poison_ledger(w)
        letters = w.sender()
        for n in range(500):
            do = "POISON" if n == 320 else ""
            letters.letter("diary", {"n": n, "text": do}, key=f"row-{n}" if n % 3 else None)
        letters.drop()
        node.start()
        wait_for("500 letters' jobs", lambda: ended(node, 500))
        check(w.rows() == {DONE: 499, DEAD: 1}, f"the ledger holds {w.rows()}")
        reasons = w.select(f"select reason from jobs where state = {DEAD}")
        check([int(row[0]) for row in reasons] == [UNSTORABLE], f"it is dead for {reasons}")
        dead = node.get("/v1/jobs?state=dead").json["jobs"][0]
        print(f"  499 completed; the other is dead({dead.get('reason')}): {json.dumps(dead)[:300]}")
        w.settle(500)
        w.audit()


def poison_ledger(w):
    if LEDGER == "sqlite":
        import sqlite3
        with contextlib.closing(sqlite3.connect(w.ledger.url[7:])) as db:
            db.execute("create trigger poisoned before insert on jobs when instr(new.payload, x'504f49534f4e') begin "
                       "select raise(abort, 'poisoned'); end")
    else:
        w.ledger.sql("alter table skep.jobs add constraint poisoned "
                     "check (position('\\x504f49534f4e'::bytea in payload) = 0)")


def a_type_without_a_handler_blocks_nobody():
    with house.world() as w:
        node = w.node()
        letters = w.sender()
        for n in range(200):
            letters.letter("echo" if n % 4 == 0 else "diary", {"n": n}, key=f"mixed-{n}" if n % 3 else None)
        letters.drop()
        wait_for("150 jobs beside them", lambda: ended(node, 150))
        wait_for("50 jobs to be parked", lambda: counts(node)["pending"] == 50)
        reasons = w.select(f"select distinct reason from jobs where state = {PENDING}")
        check([int(row[0]) for row in reasons] == [1], f"they wait for {reasons}")
        wait_for("the broker to hold none of them", lambda: sum(w.letters()) == 0)
        begin = time.monotonic()
        node.drop(os.path.join(HANDLERS, "echo.so"))
        wait_for("the parked jobs to run", lambda: ended(node, 200))
        print(f"  50 parked jobs ended {time.monotonic() - begin:.1f} s after their handler was dropped in")
        check(w.rows() == {DONE: 200}, f"the ledger holds {w.rows()}")
        w.settle(200)
        w.audit(unserved=["echo"])


def a_handler_that_runs_longer_than_the_broker_waits():
    seconds = BROKER_WAITS[BROKER] * 1.25
    with house.world(settings=("node.lease=15s", "node.beat=1s"),
                     queues=({"name": "default", "types": ["diary"], "concurrency": 1},
                             {"name": "side", "types": ["sleep"]})) as w:
        node = w.node()
        w.broker.await_queues(2)
        holder, letters, begin = HOLDERS[BROKER](w), w.sender(), time.monotonic()
        letters.letter("diary", {"long": 1, "do": f"sleep:{int(seconds * 1000)}"})
        for n in range(300):
            letters.letter("diary", {"behind": n}, key=f"behind-{n}" if n % 2 else None)
            letters.letter("sleep", {"beside": n, "ms": 1}, key=f"beside-{n}" if n % 2 else None, queue="side")
        letters.drop()
        wait_for("those of the other queue", lambda: ended(node, 300, "side"))
        connects = metric(node, "skep_transport_reconnects_total")
        lost = wait_for("the broker to lose its patience with one that holds a message", holder.lost, 3 * seconds + PATIENCE)
        print(f"  after {time.monotonic() - begin:.0f} s the broker took it from the other consumer: {lost}")
        wait_for("the long job and those behind it", lambda: ended(node, 301), 2 * seconds + PATIENCE)
        print(f"  the long job and 300 behind it ended after {time.monotonic() - begin:.0f} s; {connects:.0f} reconnects")
        check(metric(node, "skep_transport_reconnects_total") == connects, "skep's connection was left alone")
        check(not logged(node, "transport is down"), "the transport was never down")
        again = w.select("select count(*) from jobs where claim <> 1")
        check(int(again[0][0]) == 0, f"{again} jobs ran more than once")
        known = metric(node, "skep_letters_known_total")
        check(known == 0, f"{known:.0f} letters came twice")
        w.settle(601)
        w.audit(strangers=True, unserved=["sleep"])


class RabbitHolder:
    """A consumer of another maker that takes a message and never acknowledges it."""

    def __init__(self, w):
        import pika
        self.pika, self.connection, self.said = pika, pika.BlockingConnection(pika.URLParameters(w.broker.url)), None
        self.channel = self.connection.channel()
        self.channel.queue_declare("held", durable=True, arguments={"x-queue-type": "quorum"})
        self.channel.basic_publish("", "held", b"x")
        self.channel.basic_consume("held", lambda *_: None)
        self.thread = Background(self.consume)

    def consume(self):
        try:
            self.channel.start_consuming()
        except self.pika.exceptions.ChannelClosedByBroker as error:
            self.said = str(error)
            self.connection.channel().queue_delete("held")
            self.connection.close()

    def lost(self):
        return self.said


class NatsHolder:
    """The same: a consumer as skep makes them, on a stream of its own."""

    def __init__(self, w):
        w.broker.api("STREAM.CREATE.HELD", {"name": "HELD", "subjects": ["held"], "retention": "workqueue"})
        w.broker.api("CONSUMER.DURABLE.CREATE.HELD.held", {"stream_name": "HELD", "config": {
            "durable_name": "held", "ack_policy": "explicit", "ack_wait": BROKER_WAITS["nats"] * 10 ** 9}})
        self.connection = w.broker.connect()
        self.connection.store("held", b"x")
        check(len(self.connection.fetch("HELD", "held", 1)) == 1, "it holds a message")

    def lost(self):
        for message in self.connection.fetch("HELD", "held", 1):
            self.connection.close()
            return f"it was delivered {message.delivery[2]} times"
        return None


HOLDERS = {"amqp": RabbitHolder, "nats": NatsHolder}

with House(consumer_timeout=BROKER_WAITS["amqp"] * 1000, **{"rabbit.channel_tick_interval": 1000}) as house:
    run(a_broker_that_is_down_at_the_start, postgres_is_down_under_load, a_wrong_password_of_the_broker,
        one_poisoned_row_among_five_hundred, a_type_without_a_handler_blocks_nobody,
        a_handler_that_runs_longer_than_the_broker_waits,
        amqp=(a_broker_that_is_blocked_by_a_memory_alarm, a_virtual_host_that_does_not_exist,
              a_queue_that_exists_with_other_arguments,
              a_database_that_does_not_exist, a_wrong_password_of_the_database))  # without a broker: once is enough
