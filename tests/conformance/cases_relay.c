/*
 * The outbox: what SUBMIT leaves to be rung, RELAY finds when nobody confirmed it, RUNG ends.
 */
#include "tests/conformance/bed.h"

#define OLDER (5 * SECOND)

static struct ledger_relay *relay(struct bed *bed, uint32_t limit)
{
        struct ledger_relay *b = NEW(relay, RELAY);
        b->older_us = OLDER;
        b->limit = limit;
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static void rung(struct bed *bed, int64_t *rows, uint32_t n)
{
        struct ledger_rung *b = NEW(rung, RUNG);
        b->rows = rows;
        b->n = n;
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

/* Submits so many rows into the broker's band; the answer is kept with the bed. */
static struct ledger_submit *submit(struct bed *bed, struct submission *s)
{
        struct ledger_submit *b = bed_submit(s);
        bed_must(bed, &b->base);
        bed_keep(bed, &b->base);
        return b;
}

static struct submission *to_broker(struct bed *bed, uint32_t n)
{
        struct submission *s = bed_submission(bed, n);
        for (uint32_t i = 0; i < n; i++) {
                s->rows[i].band = BAND_BROKER;
        }
        return s;
}

/* One job on its way to the broker; returns its outbox row. */
static int64_t submit_one(struct bed *bed, struct job_id *ret_id)
{
        struct submission *s = to_broker(bed, 1);
        const struct ledger_submit *b = submit(bed, s);
        CU_ASSERT_FATAL(b->n_outbox == 1 && b->outbox[0].n == 1);
        *ret_id = s->rows[0].id;
        submission_free(s);
        return b->outbox[0].no;
}

/* --- SUBMIT ----------------------------------------------------------------------------------- */

static void one_row_for_each_queue(void)
{
        struct bed *bed = bed_new();
        struct submission *s = to_broker(bed, 60), *next = to_broker(bed, 4);
        for (uint32_t i = 0; i < s->n; i++) {
                s->rows[i].queue = i % 3 ? STR("q") : STR("q2");
        }
        s->rows[7].band = BAND_OFFERED;
        s->rows[8].state = STATE_SCHEDULED;
        s->rows[8].after_us = SECOND;
        s->next = next; /* two submissions, one batch */
        const struct ledger_submit *b = submit(bed, s);
        CU_ASSERT_FATAL(b->n_outbox == 2);
        uint32_t bells = 0;
        for (uint32_t o = 0; o < 2; o++) {
                const struct outbox_row *row = &b->outbox[o];
                CU_ASSERT(row->no != 0 && row->no != b->outbox[!o].no);
                uint32_t k = 0;
                for (uint32_t i = 0; i < s->n + next->n; i++) {
                        const struct submit_row *r = i < s->n ? &s->rows[i] : &next->rows[i - s->n];
                        bool rings = r->state == STATE_PENDING && r->band == BAND_BROKER &&
                                     str_eq(r->queue, row->queue);
                        if (rings && k < row->n) {
                                CU_ASSERT(job_id_eq(&row->bells[k].id, &r->id));
                                CU_ASSERT(row->bells[k].seq == r->seq && r->seq > 0);
                                CU_ASSERT(k == 0 || row->bells[k].seq > row->bells[k - 1].seq);
                                k++;
                        }
                }
                CU_ASSERT(k == row->n);
                bells += k;
        }
        CU_ASSERT(bells == 62);
        submission_free(s);
        submission_free(next);
        bed_free(bed);
}

static void nothing_for_rows_that_are_offered(void)
{
        struct bed *bed = bed_new();
        struct submission *s = bed_submission(bed, 5);
        CU_ASSERT(submit(bed, s)->n_outbox == 0);
        fixture->advance(bed->store, 60 * SECOND);
        CU_ASSERT(relay(bed, 10)->n == 0);
        submission_free(s);
        bed_free(bed);
}

static void nothing_for_rows_that_were_not_created(void)
{
        struct bed *bed = bed_new();
        struct submission *first = to_broker(bed, 1), *again = to_broker(bed, 2),
                          *undone = to_broker(bed, 2);
        first->rows[0].key = again->rows[0].key = undone->rows[1].key = key_from_text(STR("k"));
        undone->rows[1].payload = STR("other");
        undone->atomic = true;
        CU_ASSERT(submit(bed, first)->n_outbox == 1);
        again->next = undone;
        const struct ledger_submit *b = submit(bed, again);
        CU_ASSERT(again->rows[0].result == SUBMIT_EXISTS);
        CU_ASSERT(undone->rows[0].result == SUBMIT_UNDONE);
        CU_ASSERT_FATAL(b->n_outbox == 1);
        CU_ASSERT(b->outbox[0].n == 1);
        CU_ASSERT(job_id_eq(&b->outbox[0].bells[0].id, &again->rows[1].id));
        fixture->advance(bed->store, 60 * SECOND);
        CU_ASSERT(relay(bed, 10)->n == 2);
        submission_free(first);
        submission_free(again);
        submission_free(undone);
        bed_free(bed);
}

static struct ledger_submit *request(struct bed *bed, uint8_t body)
{
        struct submission *s = to_broker(bed, 3);
        s->atomic = true;
        s->request_key = key_from_text(STR("r"));
        memset(s->request_hash, body, sizeof s->request_hash);
        struct ledger_submit *b = submit(bed, s);
        submission_free(s);
        return b;
}

static void nothing_for_a_request_that_is_repeated(void)
{
        struct bed *bed = bed_new();
        CU_ASSERT(request(bed, 1)->n_outbox == 1);
        CU_ASSERT(request(bed, 1)->n_outbox == 0);
        CU_ASSERT(request(bed, 2)->n_outbox == 0); /* another body: a conflict */
        bed_free(bed);
}

static void an_unknown_submission_is_found_by_relay(void)
{
        struct bed *bed = bed_new();
        struct submission *s = to_broker(bed, 3);
        struct ledger_submit *b = bed_submit(s);
        fixture->fail_next(bed->store, FAULT_UNKNOWN_WRITTEN);
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
        CU_ASSERT(bed_resolve(bed, b->base.no));
        b->base.no.n = 0;
        bed_must(bed, &b->base);
        CU_ASSERT(s->rows[0].result == SUBMIT_EXISTS && b->n_outbox == 0);
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT_FATAL(r->n == 1 && r->rows[0].n == 3);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT(job_id_eq(&r->rows[0].bells[i].id, &s->rows[i].id));
        }
        ledger_batch_free(&b->base);
        submission_free(s);
        bed_free(bed);
}

/* --- RELAY, RUNG ------------------------------------------------------------------------------ */

static void gives_what_nobody_confirmed(void)
{
        struct bed *bed = bed_new();
        struct submission *s = to_broker(bed, 3);
        s->rows[2].queue = STR("q2");
        const struct ledger_submit *b = submit(bed, s);
        fixture->advance(bed->store, OLDER - SECOND);
        CU_ASSERT(relay(bed, 10)->n == 0); /* too young */
        fixture->advance(bed->store, 2 * SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT_FATAL(r->n == 2 && b->n_outbox == 2);
        for (uint32_t i = 0; i < 2; i++) {
                const struct outbox_row *row = &r->rows[i];
                const struct outbox_row *wanted = &b->outbox[b->outbox[0].no != row->no];
                CU_ASSERT(row->no == wanted->no && str_eq(row->queue, wanted->queue));
                CU_ASSERT_FATAL(row->n == wanted->n);
                for (uint32_t k = 0; k < row->n; k++) {
                        CU_ASSERT(job_id_eq(&row->bells[k].id, &wanted->bells[k].id));
                        CU_ASSERT(row->bells[k].seq == wanted->bells[k].seq);
                }
        }
        submission_free(s);
        bed_free(bed);
}

static void gives_each_once_in_a_while(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no = submit_one(bed, &id);
        for (int i = 0; i < 3; i++) {
                fixture->advance(bed->store, OLDER + SECOND);
                const struct ledger_relay *r = relay(bed, 10);
                CU_ASSERT(r->n == 1 && r->rows[0].no == no);
                CU_ASSERT(relay(bed, 10)->n == 0);
                fixture->advance(bed->store, OLDER - SECOND);
                CU_ASSERT(relay(bed, 10)->n == 0);
        }
        bed_free(bed);
}

static void gives_the_oldest_first(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no[5];
        for (int i = 0; i < 5; i++) {
                no[i] = submit_one(bed, &id);
                fixture->advance(bed->store, SECOND);
        }
        fixture->advance(bed->store, OLDER);
        static const uint32_t limits[] = {2, 2, 10};
        int at = 0;
        for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
                const struct ledger_relay *r = relay(bed, limits[i]);
                CU_ASSERT_FATAL(r->n == (i == 2 ? 1 : 2));
                for (uint32_t k = 0; k < r->n; k++) {
                        CU_ASSERT(r->rows[k].no == no[at++]);
                }
        }
        bed_free(bed);
}

static void rung_rows_are_gone(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no[3];
        for (int i = 0; i < 3; i++) {
                no[i] = submit_one(bed, &id);
        }
        fixture->advance(bed->store, OLDER + SECOND);
        CU_ASSERT(relay(bed, 10)->n == 3);
        int64_t done[] = {no[0], no[2], 987654321};
        rung(bed, done, 3); /* the last: of nobody */
        rung(bed, NULL, 0);
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT(r->n == 1 && r->rows[0].no == no[1]);
        bed_free(bed);
}

/* The number of a row that is gone is not given again: two nodes may confirm the same. */
static void a_late_rung_takes_no_other_row(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t old = submit_one(bed, &id);
        rung(bed, &old, 1);
        int64_t now = submit_one(bed, &id);
        CU_ASSERT(now != old);
        rung(bed, &old, 1);
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT(r->n == 1 && r->rows[0].no == now);
        bed_free(bed);
}

/* Takes what both handles get when they ask at the same time. Returns how many rows are in seen
 * then. */
static uint32_t relay_both(struct bed *bed, struct bed *other, int64_t *seen, uint32_t n)
{
        struct bed *beds[] = {bed, other};
        struct ledger_relay *b[ARRAY_LEN(beds)];
        for (size_t i = 0; i < ARRAY_LEN(beds); i++) {
                b[i] = NEW(relay, RELAY);
                b[i]->older_us = OLDER;
                b[i]->limit = 2;
                bed_post(beds[i], &b[i]->base);
        }
        for (size_t i = 0; i < ARRAY_LEN(beds); i++) {
                bed_wait(beds[i], &b[i]->base);
                CU_ASSERT(b[i]->base.outcome == LEDGER_COMMITTED && b[i]->n <= 2);
                for (uint32_t k = 0; k < b[i]->n; k++) {
                        seen[n++] = b[i]->rows[k].no;
                }
                ledger_batch_free(&b[i]->base);
        }
        return n;
}

/* One of two that ask at once may get nothing, so they ask until they have all. */
static void two_handles_do_not_get_the_same(void)
{
        enum { ROWS = 30, EXTRA = 3 };
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        struct job_id id;
        for (int i = 0; i < ROWS; i++) {
                (void)submit_one(bed, &id);
        }
        fixture->advance(bed->store, OLDER + SECOND);
        int64_t seen[ROWS + 4] = {0};
        uint32_t n = 0;
        for (int i = 0, empty = 0; n <= ROWS && i < ROWS && empty < EXTRA; i++) {
                uint32_t before = n;
                n = relay_both(bed, other, seen, n);
                empty += n == before;
        }
        CU_ASSERT(n == ROWS);
        for (uint32_t i = 0; i < n; i++) {
                for (uint32_t j = 0; j < i; j++) {
                        CU_ASSERT(seen[i] != seen[j]);
                }
        }
        bed_free(other);
        bed_free(bed);
}

static void survives_its_handle(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no = submit_one(bed, &id);
        bed_reopen(bed);
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT_FATAL(r->n == 1 && r->rows[0].no == no && r->rows[0].n == 1);
        CU_ASSERT(job_id_eq(&r->rows[0].bells[0].id, &id));
        bed_free(bed);
}

static void outlives_its_node(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no = submit_one(bed, &id);
        uint64_t victim = bed->holder;
        bed->holder = 500;
        CU_ASSERT(bed_register(bed) == LEDGER_COMMITTED);
        CU_ASSERT(bed_bury(bed, victim, 0, true, false) && bed_bury(bed, victim, 0, false, true));
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT(r->n == 1 && r->rows[0].no == no);
        rung(bed, &no, 1);
        fixture->advance(bed->store, OLDER + SECOND);
        CU_ASSERT(relay(bed, 10)->n == 0);
        bed_free(bed);
}

static void a_cancelled_job_is_rung_in_vain(void)
{
        struct bed *bed = bed_new();
        struct job_id id;
        int64_t no = submit_one(bed, &id);
        CU_ASSERT(bed_cancel(bed, &id) == CANCEL_DONE);
        fixture->advance(bed->store, OLDER + SECOND);
        const struct ledger_relay *r = relay(bed, 10);
        CU_ASSERT_FATAL(r->n == 1 && r->rows[0].no == no);
        struct arrival bell = bed_doorbell(&r->rows[0].bells[0].id, true);
        CU_ASSERT(bed_arrive_one(bed, &bell) == ARRIVAL_KNOWN);
        rung(bed, &no, 1);
        CU_ASSERT(bed_state(bed, &id) == STATE_CANCELLED);
        fixture->advance(bed->store, OLDER + SECOND);
        CU_ASSERT(relay(bed, 10)->n == 0);
        bed_free(bed);
}

CASES(cases_relay, {"one outbox row for each queue", one_row_for_each_queue, 0},
      {"nothing for rows that are offered", nothing_for_rows_that_are_offered, 0},
      {"nothing for rows that were not created", nothing_for_rows_that_were_not_created, 0},
      {"nothing for a request that is repeated", nothing_for_a_request_that_is_repeated, 0},
      {"an unknown submission is found by RELAY", an_unknown_submission_is_found_by_relay,
       NEED_FAULT},
      {"gives what nobody confirmed", gives_what_nobody_confirmed, 0},
      {"gives each once in a while", gives_each_once_in_a_while, 0},
      {"gives the oldest first", gives_the_oldest_first, 0},
      {"rung rows are gone", rung_rows_are_gone, 0},
      {"a late RUNG takes no other row", a_late_rung_takes_no_other_row, 0},
      {"two handles do not get the same", two_handles_do_not_get_the_same, NEED_SHARE},
      {"survives its handle", survives_its_handle, NEED_REOPEN},
      {"outlives its node", outlives_its_node, 0},
      {"a cancelled job is rung in vain", a_cancelled_job_is_rung_in_vain, 0});
