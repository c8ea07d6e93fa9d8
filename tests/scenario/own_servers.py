"""The servers that other stories stand on: private ones keep what they acknowledged, shared ones have a corner each."""

import os
import signal
import subprocess
import sys
import tempfile

from harness import Producer, amqp_publish, check, libconfig, node_publish, postgres, rabbitmq, run, servers, wait_for

QUEUE = {"x-queue-type": "quorum"}


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


def a_killed_broker_keeps_what_it_confirmed_and_a_wiped_one_nothing():
    with rabbitmq(private=True, consumer_timeout=60000, **{"rabbit.channel_tick_interval": 1000}) as broker:
        check(broker.server.eval("[application:get_env(rabbit, N) || N <- [consumer_timeout, channel_tick_interval]]") ==
              "[{ok,60000},{ok,1000}]", "its options hold")
        with Producer(broker.url, exchange="") as producer:
            producer.channel.queue_declare("q", durable=True)
            for number in range(200):
                check(producer.send("q", f"{number}"), f"letter {number} is confirmed")
            check(not producer.send("nowhere", "x"), "a letter without a queue comes back")
        broker.server.kill()
        check(not broker.server.alive(), "it is dead")
        broker.server.start()
        wait_for("200 letters", lambda: broker.queues().get("q") == (200, 0))
        broker.server.wipe()
        check(broker.queues() == {}, "a wiped broker knows no queue")
        check(broker.server.answers(), "and serves")


def a_paused_server_says_nothing_and_goes_on():
    with postgres(private=True) as ledger:
        ledger.server.pause()
        states = [servers.lives(*pair) and open(f"/proc/{pair[0]}/stat").read().rpartition(")")[2].split()[0]
                  for pair in ledger.server.roots()]
        ledger.server.resume()
        check(set(states) == {"T"}, f"stopped: {states}")
        check(ledger.sql("select 1") == "1", "it answers again")


def shared_servers_give_each_test_a_corner():
    with postgres() as one, postgres() as two, rabbitmq() as here, rabbitmq() as there:
        one.sql("create table kept(a int)")
        check(one.url == two.url or two.sql("select count(*) from pg_tables where tablename = 'kept'") == "0",
              "databases are apart")
        with Producer(here.url, exchange="") as producer:
            producer.channel.queue_declare("q", durable=True, arguments=QUEUE)
        amqp_publish(here.url, "q", "x", exchange="")
        check(here.url == there.url or there.queues() == {}, "virtual hosts are apart")


def clients_of_other_makers_reach_the_broker():
    with rabbitmq() as broker, Producer(broker.url, exchange="") as producer:
        producer.channel.queue_declare("q", durable=True)
        check(producer.send("q", "pika"), "pika's letter is confirmed")
        amqp_publish(broker.url, "q", "librabbitmq", exchange="")
        answers = node_publish(broker.url, [("q", "amqplib", {"type": "a.b", "messageId": "n-1"}), ("none", "x", {})],
                               exchange="")
        check(answers == ["confirmed", "returned"], f"amqplib was answered {answers}")

        def bodies():
            kept.extend(filter(None, [producer.channel.basic_get("q", auto_ack=True)[2]]))
            return len(kept) == 3 and kept
        kept = []
        check(sorted(wait_for("three letters", bodies)) == [b"amqplib", b"librabbitmq", b"pika"], f"they are {kept}")


def servers_end_with_their_owner():
    code = ("import os, sys, servers; p = servers.Postgres(); p.start(); print(p.home, p.main_pid(), flush=True); "
            "sys.stdin.read()")
    with tempfile.TemporaryFile("w+") as said:
        environment = dict(os.environ, PYTHONPATH=os.path.dirname(servers.__file__))
        owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=said, env=environment)

        def told():
            said.seek(0)
            return said.read().split()
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


run(a_killed_postgres_keeps_what_it_committed, a_killed_broker_keeps_what_it_confirmed_and_a_wiped_one_nothing,
    a_paused_server_says_nothing_and_goes_on, shared_servers_give_each_test_a_corner,
    clients_of_other_makers_reach_the_broker, servers_end_with_their_owner,
    configuration_is_written_in_the_form_that_skepd_reads)
