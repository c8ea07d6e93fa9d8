/*
 * What happens to the server: settings that lose commits, passwords, read-only, death and return.
 */
#include "tests/conformance/postgres_own.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct ledger *open_on(const char *url, bool unsafe)
{
        struct postgres_options o = {.unsafe = unsafe, .application = "test"};
        char note[200] = "";
        struct ledger *l = NULL;
        int r = postgres_open(url, &o, &l, note, sizeof note);
        if (r != 0) {
                printf("\n%s\n", note);
        }
        CU_ASSERT_FATAL(r == 0);
        return l;
}

/* --- promises --------------------------------------------------------------------------------- */

static void careless_servers_are_refused(void)
{
        static const char *const settings[] = {"fsync", "full_page_writes", "synchronous_commit"};
        struct server *s = server_new();
        struct ledger *l = open_on(s->url, false);
        CU_ASSERT(wait_ready(l));
        l->ops->close(l);
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
                char words[64];
                server_set(s, settings[i], "off");
                l = open_on(s->url, false);
                const char *why = refusal(l);
                snprintf(words, sizeof words, "%s = off", settings[i]);
                CU_ASSERT(strstr(why, words) && strstr(why, "127.0.0.1"));
                l->ops->close(l);
                l = open_on(s->url, true);
                CU_ASSERT(wait_ready(l));
                l->ops->close(l);
                server_set(s, settings[i], "on");
        }
        server_free(s);
}

static bool lets_in(const char *url)
{
        PGconn *c = PQconnectdb(url);
        bool in = PQstatus(c) == CONNECTION_OK;
        PQfinish(c);
        return in;
}

static void a_wrong_password_is_named_and_not_told(void)
{
        struct server *s = server_new();
        char path[200], url[200];
        PGconn *c = connect_to(s->url);
        must_run(c, "create role locked login password 'right'");
        snprintf(path, sizeof path, "%s/data/pg_hba.conf", s->dir);
        FILE *f = fopen(path, "w");
        CU_ASSERT_FATAL(f != NULL);
        fprintf(f,
                "host all locked 127.0.0.1/32 scram-sha-256\nhost all skep 127.0.0.1/32 trust\n");
        fclose(f);
        must_run(c, "select pg_reload_conf()");
        PQfinish(c);
        snprintf(url, sizeof url, "postgresql://locked:wrongsecret@127.0.0.1:%d/postgres", s->port);
        for (int i = 0; i < 6000 && lets_in(url); i++) { /* until the server has read it */
                (void)poll(NULL, 0, 10);
        }
        struct ledger *l = open_on(url, true);
        const char *why = refusal(l);
        CU_ASSERT(strstr(why, "password authentication failed") != NULL);
        CU_ASSERT(strstr(why, "127.0.0.1") && strstr(why, "/postgres"));
        CU_ASSERT(!strstr(why, "wrongsecret"));
        l->ops->close(l);
        server_free(s);
}

/* --- read-only -------------------------------------------------------------------------------- */

static struct ledger_register *a_node(uint64_t holder, uint64_t n)
{
        struct ledger_register *r = NEW(register, REGISTER);
        r->base.no = (struct commit_no){holder, LANE_BEAT, n};
        r->host = STR("host");
        return r;
}

static enum ledger_outcome register_on(struct ledger *l, uint64_t holder, char *note, size_t size)
{
        struct ledger_register *r = a_node(holder, 1);
        enum ledger_outcome outcome = ledger_do(l, &r->base);
        snprintf(note, size, "%s", r->base.note);
        ledger_batch_free(&r->base);
        return outcome;
}

/* Posts until it is written; a fail-over may take a while. */
static bool registers_in_the_end(struct ledger *l, uint64_t holder)
{
        char note[200];
        for (int64_t start = own_now_ns(); own_now_ns() - start < 60 * NS_PER_S;) {
                if (register_on(l, holder, note, sizeof note) == LEDGER_COMMITTED) {
                        return true;
                }
                (void)poll(NULL, 0, 20);
        }
        return false;
}

static void a_server_that_becomes_read_only_is_refused(void)
{
        struct server *s = server_new();
        struct ledger *l = open_on(s->url, true);
        char note[200];
        CU_ASSERT_FATAL(wait_ready(l));
        CU_ASSERT(register_on(l, 1, note, sizeof note) == LEDGER_COMMITTED);
        server_set(s, "default_transaction_read_only", "on");
        for (int i = 0;
             i < 3000 && register_on(l, 10 + (uint64_t)i, note, sizeof note) == LEDGER_COMMITTED;
             i++) {
                (void)poll(NULL, 0, 10); /* until its session has seen it */
        }
        CU_ASSERT(strstr(note, "read-only") != NULL);
        server_set(s, "default_transaction_read_only", "off");
        CU_ASSERT(registers_in_the_end(l, 2));
        l->ops->close(l);
        server_free(s);
}

/* --- death ------------------------------------------------------------------------------------ */

static struct ledger_submit *one_job(struct submission *s, struct submit_row *row,
                                     struct id_mint *mint, uint64_t n)
{
        *row = (struct submit_row){
            .id = id_mint(mint, INT64_C(1760000000000000)),
            .queue = STR("q"),
            .type = STR("noop"),
            .state = STATE_PENDING,
            .max_attempts = 1,
            .payload = STR("x"),
        };
        *s = (struct submission){.rows = row, .n = 1};
        struct ledger_submit *b = bed_submit(s);
        b->base.no = (struct commit_no){1, LANE_CLAIMS, n};
        return b;
}

static bool happened(struct ledger *l, struct commit_no of)
{
        for (int64_t start = own_now_ns(); own_now_ns() - start < 60 * NS_PER_S;) {
                struct ledger_resolve *r = NEW(resolve, RESOLVE);
                r->of = of;
                bool known = ledger_do(l, &r->base) == LEDGER_COMMITTED, is = r->happened;
                CU_ASSERT(!known || !r->forgotten);
                ledger_batch_free(&r->base);
                if (known) {
                        return is;
                }
                (void)poll(NULL, 0, 20);
        }
        CU_FAIL_FATAL("never resolved");
        return false;
}

/* A batch is at the server, and waits there for a lock: nobody can tell what becomes of it. */
static void what_was_sent_is_unknown_when_the_server_dies(void)
{
        struct server *s = server_new();
        struct ledger *l = open_on(s->url, true);
        struct id_mint mint = {.random = 4711};
        struct submit_row first, second;
        struct submission one, two;
        CU_ASSERT_FATAL(wait_ready(l) && registers_in_the_end(l, 1));
        struct ledger_submit *a = one_job(&one, &first, &mint, 1),
                             *b = one_job(&two, &second, &mint, 2);
        CU_ASSERT(ledger_do(l, &a->base) == LEDGER_COMMITTED);
        PGconn *c = connect_to(s->url);
        must_run(c, "begin; lock table skep.jobs in exclusive mode");
        l->ops->post(l, &b->base);
        PGconn *look = connect_to(s->url);
        while (ask_number(look, "select count(*) from pg_locks where not granted") == 0) {
                CU_ASSERT_FATAL(!l->ops->dispatch(l, own_now_ns()));
                (void)poll(NULL, 0, 5);
        }
        server_kill(s, SIGKILL);
        PQfinish(look);
        PQfinish(c);
        struct ledger_batch *back = NULL;
        for (int i = 0; i < 6000 && !back; i++) {
                back = l->ops->dispatch(l, own_now_ns());
                (void)poll(NULL, 0, back ? 0 : 10);
        }
        CU_ASSERT_FATAL(back == &b->base);
        CU_ASSERT(back->outcome == LEDGER_UNKNOWN && back->note[0]);
        const char *why = refusal(l); /* nothing can be sent: refused at once */
        CU_ASSERT(strstr(why, "127.0.0.1") != NULL);
        server_start(s);
        CU_ASSERT(happened(l, a->base.no)); /* it was told so: it must have */
        CU_ASSERT(!happened(l, b->base.no));
        CU_ASSERT(!happened(l, b->base.no));
        b->base.no.n = 3;
        for (int i = 0; i < 3000 && ledger_do(l, &b->base) != LEDGER_COMMITTED; i++) {
                (void)poll(NULL, 0, 20);
        }
        CU_ASSERT(second.result == SUBMIT_CREATED);
        c = connect_to(s->url);
        CU_ASSERT(ask_number(c, "select count(*) from jobs") == 2);
        PQfinish(c);
        ledger_batch_free(&a->base);
        ledger_batch_free(&b->base);
        l->ops->close(l);
        server_free(s);
}

/* The node whose transaction hangs is declared dead: that waits a moment, and keeps no beat
 * waiting. */
static void a_hanging_transaction_delays_its_burial_alone(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, "begin; select alive(101)"); /* as its claim would have it */
        struct ledger_bury *b = NEW(bury, BURY);
        b->victim = 101;
        b->any_beat = true;
        CU_ASSERT(bed_do(other, &b->base) == LEDGER_REFUSED && !b->done);
        CU_ASSERT(strstr(b->base.note, "lock timeout") != NULL);
        (void)bed_beat(other);
        (void)bed_beat(bed);
        must_run(c, "commit");
        CU_ASSERT(bed_do(other, &b->base) == LEDGER_COMMITTED && b->done);
        CU_ASSERT(!run_sql(c, "select alive(101)"));
        ledger_batch_free(&b->base);
        PQfinish(c);
        bed_free(other);
        bed_free(bed);
}

/* Only the sessions go: all is prepared again, and others are still heard. */
static void comes_back_after_its_sessions_were_ended(void)
{
        struct server *s = server_new();
        struct ledger *l = open_on(s->url, true);
        CU_ASSERT_FATAL(wait_ready(l) && registers_in_the_end(l, 1));
        PGconn *c = connect_to(s->url);
        static const char count[] =
            "select count(*) from pg_stat_activity where application_name = 'test'";
        for (int i = 0; i < 6000 && ask_number(c, count) < LEDGER_LANES; i++) {
                (void)poll(NULL, 0, 10);
        }
        CU_ASSERT(ask_number(c, count) == LEDGER_LANES);
        must_run(c, "select pg_terminate_backend(pid) from pg_stat_activity where "
                    "application_name = 'test'");
        CU_ASSERT(registers_in_the_end(l, 2));
        CU_ASSERT(wait_ready(l));
        (void)l->ops->heard(l);
        must_run(c, "notify skep");
        bool heard = false;
        for (int i = 0; i < 12000 && !heard; i++) {
                CU_ASSERT(!l->ops->dispatch(l, own_now_ns()));
                heard = l->ops->heard(l);
                (void)poll(NULL, 0, heard ? 0 : 5);
        }
        CU_ASSERT(heard);
        PQfinish(c);
        l->ops->close(l);
        server_free(s);
}

CASES(postgres_cases_server, {"careless servers are refused", careless_servers_are_refused, 0},
      {"a wrong password is named and not told", a_wrong_password_is_named_and_not_told, 0},
      {"a server that becomes read-only is refused", a_server_that_becomes_read_only_is_refused, 0},
      {"what was sent is unknown when the server dies",
       what_was_sent_is_unknown_when_the_server_dies, 0},
      {"a hanging transaction delays its burial alone",
       a_hanging_transaction_delays_its_burial_alone, 0},
      {"comes back after its sessions were ended", comes_back_after_its_sessions_were_ended, 0});
