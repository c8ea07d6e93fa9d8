"""The servers that other stories stand on: private ones keep what they acknowledged, shared ones have a corner each."""

import os
import signal
import subprocess
import sys
import tempfile

from brokers import broker
from harness import BROKER, check, libconfig, postgres, run, servers, wait_for
from producer import Refused
from strangers import amqp_publish, amqplib, by_hand, nats_js, pub


def rows(ledger):
    return ledger.sql("select count(*) from kept")


def a_killed_postgres_keeps_what_it_committed():
    with postgres(private=True) as ledger:
        ledger.sql("create table kept(a int); insert into kept select generate_series(1, 1000)")
        ledger.server.kill()
        check(not ledger.server.alive(), "it is dead")
        ledger.server.start()
        check(rows(ledger) == "1000", "all committed rows are back")
        ledger.server.restart()
        check(rows(ledger) == "1000", "a restart loses nothing")
        ledger.server.wipe()
        check(ledger.sql("select count(*) from pg_tables where tablename = 'kept'") == "0", "wiped is empty")


OPTIONS = {"amqp": {"consumer_timeout": 60000, "rabbit.channel_tick_interval": 1000}, "nats": {"max_payload": "2MB"}}


def options_of(one):
    if one.kind == "nats":
        with one.connect() as connection:
            return connection.info["max_payload"] == 2 << 20
    return one.server.eval("[application:get_env(rabbit, N) || N <- [consumer_timeout, channel_tick_interval]]") == \
        "[{ok,60000},{ok,1000}]"


def a_killed_broker_keeps_what_it_confirmed_and_a_wiped_one_nothing():
    with broker(private=True, **OPTIONS[BROKER]) as one:
        check(options_of(one), "its options hold")
        with one.declare("q") as client:
            for number in range(200):
                client.put("q", b"%d" % number)
            try:
                client.put("nowhere", b"x")
                check(False, "a letter without a queue was taken")
            except Refused as refusal:
                print(f"  a letter without a queue: {refusal}")
        one.durable()
        one.server.kill()
        check(not one.server.alive(), "it is dead")
        one.server.start()
        wait_for("200 letters", lambda: one.queues().get("q") == (200, 0))
        one.server.wipe()
        check(one.queues() == {}, "a wiped broker knows no queue")
        check(one.server.answers(), "and serves")


def a_paused_server_says_nothing_and_goes_on():
    with postgres(private=True) as ledger:
        ledger.server.pause()
        states = [servers.lives(*pair) and open(f"/proc/{pair[0]}/stat").read().rpartition(")")[2].split()[0]
                  for pair in ledger.server.roots()]
        ledger.server.resume()
        check(set(states) == {"T"}, f"stopped: {states}")
        check(ledger.sql("select 1") == "1", "it answers again")


def shared_servers_give_each_test_a_corner():
    with postgres() as one, postgres() as two, broker() as here, broker() as there:
        one.sql("create table kept(a int)")
        check(one.url == two.url or two.sql("select count(*) from pg_tables where tablename = 'kept'") == "0",
              "databases are apart")
        with here.declare("q") as client:
            client.put("q", b"x")
        check(here.url == there.url or there.queues() == {}, "brokers are apart")


def clients_of_other_makers_reach_the_broker():
    with broker() as one, one.declare("q") as client:
        client.put("q", b"python")
        if one.kind == "amqp":
            amqp_publish(one.url, "q", "plain", exchange="")
            answers = amqplib(one.url, [("q", "node", {"type": "a.b", "messageId": "n-1"}), ("none", "x", {})],
                              exchange="")
            check(answers == ["confirmed", "returned"], f"amqplib was answered {answers}")
        else:
            check(by_hand(one.url, pub("jobs.q", b"plain")) == "", "a line by hand is not complained of")
            answers = nats_js(one.url, [("jobs.q", "node", {"id": "n-1"}), ("jobs.none", "x", {}),
                                        ("jobs.q", "node", {"id": "n-1"})])
            check(answers == ["confirmed", "refused: 503", "duplicate"], f"nats.js was answered {answers}")
        kept = []
        wait_for("three letters", lambda: kept.extend(one.take("q")) or len(kept) == 3)
        check(sorted(kept) == [b"node", b"plain", b"python"], f"they are {kept}")


def servers_end_with_their_owner():
    code = ("import os, sys, servers; p = servers.Postgres(); p.start(); print(p.home, p.main_pid(), flush=True); "
            "sys.stdin.read()")
    with tempfile.TemporaryFile("w+") as said:
        environment = dict(os.environ, PYTHONPATH=os.path.dirname(servers.__file__))
        owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=said, env=environment)

        def told():
            said.seek(0)
            text = said.read()
            return text.split() if text.endswith("\n") else None
        home, pid = wait_for("the server", told)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdin.close()
        wait_for("the server's end", lambda: servers.stat_of(int(pid)) is None or servers.stat_of(int(pid))[0] == "Z")
        wait_for("its folder to be gone", lambda: not os.path.exists(home))


def configuration_is_written_in_the_form_that_skepd_reads():
    text = libconfig({"queues": [{"name": 'a"b\\c', "types": ["x.>", "y"], "concurrency": 2}], "on": True, "none": []})
    check(text == '{ queues = ({ name = "a\\"b\\\\c"; types = ["x.>", "y"]; concurrency = 2; }); on = true; none = []; }',
          text)


run(a_killed_broker_keeps_what_it_confirmed_and_a_wiped_one_nothing, shared_servers_give_each_test_a_corner,
    clients_of_other_makers_reach_the_broker,
    amqp=(a_killed_postgres_keeps_what_it_committed, a_paused_server_says_nothing_and_goes_on, servers_end_with_their_owner,
          configuration_is_written_in_the_form_that_skepd_reads))  # of no broker: once is enough
