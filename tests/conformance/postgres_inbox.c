/*
 * The inbox: letters of SQL producers, in their own transactions.
 */
#include "tests/conformance/postgres_own.h"

#include <stdio.h>
#include <unistd.h>

static const struct ledger_inbox *read_inbox(struct bed *bed, uint32_t limit)
{
        struct ledger_inbox *b = NEW(inbox, INBOX);
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static void a_letter_keeps_every_field(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        CU_ASSERT(read_inbox(bed, 10)->n == 0 && !bed_beat(bed)->inbox);
        int64_t first =
            ask_number(c, "select skep_enqueue('mail.send', '\\x00ff'::bytea, 'q', 'order-1', 7, "
                          "timestamptz '2030-01-02 03:04:05.678901+00', 'text/plain', "
                          "'{\"B-Name\": \"b\", \"A\": 1}', 9)");
        int64_t second = ask_number(c, "select skep_enqueue('noop', '{\"a\": [1]}'::jsonb)");
        CU_ASSERT(first > 0 && second > first);
        const struct ledger_inbox *b = read_inbox(bed, 10);
        CU_ASSERT_FATAL(b->n == 2 && !b->more);
        const struct inbox_letter *m = &b->letters[0], *bare = &b->letters[1];
        CU_ASSERT(m->no == first && bare->no == second);
        CU_ASSERT(str_eq(m->type, STR("mail.send")) && str_eq(m->queue, STR("q")));
        CU_ASSERT(str_eq(m->key, STR("order-1")) && str_eq(m->content_type, STR("text/plain")));
        CU_ASSERT(str_eq(m->payload, (struct str){"\0\xff", 2}));
        CU_ASSERT(str_eq(m->headers, (struct str){"a\0001\0b-name\0b\0", 13}));
        CU_ASSERT(m->priority == 7 && m->max_attempts == 9);
        CU_ASSERT(m->at_us == INT64_C(1893553445678901) && m->deadline_us == 0);
        CU_ASSERT(str_eq(bare->payload, STR("{\"a\": [1]}")));
        CU_ASSERT(str_eq(bare->content_type, STR("application/json")));
        CU_ASSERT(bare->queue.n == 0 && bare->key.n == 0 && bare->headers.n == 0);
        CU_ASSERT(bare->priority == -1 && bare->max_attempts == 0 && bare->at_us == 0);
        CU_ASSERT(bed_beat(bed)->inbox);
        b = read_inbox(bed, 1);
        CU_ASSERT(b->n == 1 && b->more && b->letters[0].no == first);
        PQfinish(c);
        bed_free(bed);
}

/* As most people write it: a literal without a type. */
static void an_untyped_payload_is_text(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        (void)ask_number(c, "select skep_enqueue('noop', '{\"a\":  1}')");
        (void)ask_number(c, "select skep_enqueue('noop', 'no JSON', key => 'k')");
        const struct ledger_inbox *b = read_inbox(bed, 10);
        CU_ASSERT_FATAL(b->n == 2);
        CU_ASSERT(str_eq(b->letters[0].payload, STR("{\"a\":  1}")));
        CU_ASSERT(str_eq(b->letters[0].content_type, STR("application/json")));
        CU_ASSERT(str_eq(b->letters[1].payload, STR("no JSON")));
        CU_ASSERT(str_eq(b->letters[1].content_type, STR("text/plain; charset=utf-8")));
        CU_ASSERT(str_eq(b->letters[1].key, STR("k")));
        PQfinish(c);
        bed_free(bed);
}

static void stands_or_falls_with_the_producer(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, "begin; select skep_enqueue('noop', 'x'::bytea)");
        CU_ASSERT(read_inbox(bed, 10)->n == 0 && !bed_beat(bed)->inbox);
        must_run(c, "rollback");
        CU_ASSERT(read_inbox(bed, 10)->n == 0);
        must_run(c, "begin; select skep_enqueue('noop', 'x'::bytea)");
        must_run(c, "commit");
        CU_ASSERT(read_inbox(bed, 10)->n == 1 && bed_beat(bed)->inbox);
        PQfinish(c);
        bed_free(bed);
}

static void refuses_what_could_never_run(void)
{
        static const char *const calls[] = {
            "select skep_enqueue('two words', 'x'::bytea)",
            "select skep_enqueue('', 'x'::bytea)",
            "select skep_enqueue(repeat('x', 256), 'x'::bytea)",
            "select skep_enqueue(null, 'x'::bytea)",
            "select skep_enqueue('noop', null::bytea)",
            "select skep_enqueue('noop', 'x'::bytea, priority => 10)",
            "select skep_enqueue('noop', 'x'::bytea, max_attempts => 0)",
            "select skep_enqueue('noop', 'x'::bytea, key => repeat('k', 256))",
            "select skep_enqueue('noop', 'x'::bytea, headers => '[1]')",
        };
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
                bool done = run_sql(c, calls[i]);
                if (done) {
                        printf("\n%s: went through\n", calls[i]);
                }
                CU_ASSERT(!done);
        }
        CU_ASSERT(read_inbox(bed, 10)->n == 0);
        PQfinish(c);
        bed_free(bed);
}

static struct submit_row row_of(struct bed *bed, const struct inbox_letter *m)
{
        struct submit_row row = bed_row(bed);
        row.type = m->type;
        row.payload = m->payload;
        row.inbox = m->no;
        return row;
}

static void is_taken_once(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        PGconn *c = connect_to(store_url(bed->store));
        must_run(c, "select skep_enqueue('noop', convert_to(i::text, 'UTF8')) "
                    "from generate_series(1, 3) i");
        const struct ledger_inbox *b = read_inbox(bed, 10);
        CU_ASSERT_FATAL(b->n == 3);
        struct submit_row first = row_of(bed, &b->letters[1]);
        CU_ASSERT(bed_add(bed, &first) == SUBMIT_CREATED);
        struct submission *s = bed_submission(other, 4); /* all three, and one of its own */
        for (int i = 0; i < 3; i++) {
                s->rows[i] = row_of(other, &b->letters[i]);
        }
        struct ledger_submit *again = bed_submit(s);
        bed_must(other, &again->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_CREATED && s->rows[2].result == SUBMIT_CREATED);
        CU_ASSERT(s->rows[1].result == SUBMIT_UNDONE && s->rows[3].result == SUBMIT_CREATED);
        CU_ASSERT(bed_state(bed, &s->rows[1].id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &first.id) == STATE_PENDING);
        CU_ASSERT(read_inbox(bed, 10)->n == 0 && !bed_beat(bed)->inbox);
        ledger_batch_free(&again->base);
        submission_free(s);
        PQfinish(c);
        bed_free(other);
        bed_free(bed);
}

/* A letter whose job is there by its key, or whose data is refused, is taken out all the same. */
static void is_taken_whatever_became_of_it(void)
{
        static char long_type[300];
        memset(long_type, 'x', sizeof long_type);
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        struct submit_row there = bed_row(bed);
        there.key = key_from_text(STR("k"));
        CU_ASSERT(bed_add(bed, &there) == SUBMIT_CREATED);
        must_run(c, "select skep_enqueue('noop', 'x'::bytea) from generate_series(1, 2)");
        const struct ledger_inbox *b = read_inbox(bed, 10);
        struct submission *s = bed_submission(bed, 2);
        for (int i = 0; i < 2; i++) {
                s->rows[i] = row_of(bed, &b->letters[i]);
        }
        s->rows[0].key = there.key;
        s->rows[1].type = (struct str){long_type, sizeof long_type};
        struct ledger_submit *sub = bed_submit(s);
        bed_must(bed, &sub->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(job_id_eq(&s->rows[0].existing, &there.id));
        CU_ASSERT(s->rows[1].result == SUBMIT_UNSTORABLE);
        CU_ASSERT(read_inbox(bed, 10)->n == 0);
        ledger_batch_free(&sub->base);
        submission_free(s);
        PQfinish(c);
        bed_free(bed);
}

static void a_producer_needs_no_other_right(void)
{
        struct bed *bed = bed_new();
        PGconn *c = connect_to(store_url(bed->store));
        char sql[400];
        int pid = (int)getpid();
        snprintf(
            sql, sizeof sql,
            "create role skep_producer_%d; revoke execute on function public.skep_enqueue(text, "
            "bytea, text, text, int, timestamptz, text, jsonb, int) from public; "
            "set role skep_producer_%d; set search_path = public",
            pid, pid);
        must_run(c, sql);
        CU_ASSERT(!run_sql(c, "select skep_enqueue('noop', 'x'::bytea)"));
        snprintf(
            sql, sizeof sql,
            "reset role; grant execute on function public.skep_enqueue(text, bytea, text, text, "
            "int, timestamptz, text, jsonb, int) to skep_producer_%d; set role skep_producer_%d",
            pid, pid);
        must_run(c, sql);
        CU_ASSERT(run_sql(c, "select skep_enqueue('noop', 'x'::bytea)"));
        CU_ASSERT(run_sql(c, "select skep_enqueue('noop', '1'::jsonb)"));
        CU_ASSERT(!run_sql(c, "insert into skep.inbox (type, payload) values ('noop', 'x')"));
        CU_ASSERT(!run_sql(c, "select count(*) from skep.jobs"));
        snprintf(sql, sizeof sql,
                 "reset role; drop owned by skep_producer_%d; drop role skep_producer_%d", pid,
                 pid);
        must_run(c, sql);
        CU_ASSERT(read_inbox(bed, 10)->n == 2);
        PQfinish(c);
        bed_free(bed);
}

CASES(postgres_cases_inbox, {"a letter keeps every field", a_letter_keeps_every_field, 0},
      {"an untyped payload is text", an_untyped_payload_is_text, 0},
      {"stands or falls with the producer", stands_or_falls_with_the_producer, 0},
      {"refuses what could never run", refuses_what_could_never_run, 0},
      {"is taken once", is_taken_once, 0},
      {"is taken whatever became of it", is_taken_whatever_became_of_it, 0},
      {"a producer needs no other right", a_producer_needs_no_other_right, 0});
