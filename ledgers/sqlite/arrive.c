/*
 * ARRIVE: one queue's letters, doorbells and marks, in one go. A letter that starts is one insert
 * and nothing more; a doorbell that starts is one look, and its claim is written together with
 * those of its neighbours: doorbells of one submission have consecutive seqs, which are
 * consecutive lanes of the broker's band. The number goes in last, with the runs of what was
 * taken, and only when something was written.
 */
#include "ledgers/sqlite/life.h"

#include <stdio.h>

struct arriving {
        struct tx *t;
        struct ledger_arrive *b;
        struct taker by;
        struct journal journal;
        int64_t *refs; /* of all that was claimed */
        uint32_t n_refs;
        struct run bells;    /* taken, and their rows not yet updated */
        int64_t first, last; /* lanes of the broker's band */
        uint32_t expired;
};

/* --- letters ---------------------------------------------------------------------------------- */

/* Its key names another payload: it is kept, without the key, and names the other job. */
static int bury_conflict(struct arriving *k, const struct submit_row *r)
{
        char text[96], id[JOB_ID_TEXT];
        id_text(&r->existing, id);
        int n = snprintf(text, sizeof text, "its key names job %s, which has another payload", id);
        struct submit_row dead = *r;
        dead.key.set = false;
        dead.state = STATE_DEAD;
        dead.reason = REASON_ID_CONFLICT;
        dead.error_text = (struct str){text, (uint32_t)n};
        int64_t seq;
        return row_put(k->t, &dead, NULL, &seq);
}

static int letter_known(struct arriving *k, struct arrival *a)
{
        a->result = ARRIVAL_KNOWN;
        k->b->known++;
        return SQLITE_OK;
}

/* Another job has its unique key: it is cancelled before it began, and names that job. */
static int bury_duplicate(struct arriving *k, const struct submit_row *r)
{
        char text[96], id[JOB_ID_TEXT];
        id_text(&r->existing, id);
        int n = snprintf(text, sizeof text, "its unique key is held by job %s", id);
        struct submit_row loser = *r;
        loser.state = STATE_CANCELLED;
        loser.reason = REASON_DUPLICATE;
        loser.error_text = (struct str){text, (uint32_t)n};
        int64_t seq;
        return row_put(k->t, &loser, NULL, &seq);
}

/* It did not go in. */
static int letter_met(struct arriving *k, struct arrival *a)
{
        if (a->row.result == SUBMIT_EXISTS) {
                return letter_known(k, a);
        }
        bool conflict = a->row.result == SUBMIT_CONFLICT;
        int rc = conflict ? bury_conflict(k, &a->row) : bury_duplicate(k, &a->row);
        if (!rc) {
                a->result = conflict ? ARRIVAL_CONFLICT : ARRIVAL_DUPLICATE;
                k->b->conflicts += conflict;
                journal_note(&k->journal, a->fingerprint, &a->row.id);
        }
        return rc;
}

static int letter_refused(struct arriving *k, struct arrival *a)
{
        a->result = ARRIVAL_UNSTORABLE;
        k->b->unstorable++;
        journal_note(&k->journal, a->fingerprint, &a->row.id);
        return row_bury(k->t, &a->row);
}

static void take_letter(struct arriving *k, struct arrival *a, int64_t seq)
{
        a->result = ARRIVAL_TAKEN;
        a->ref = seq;
        if (a->row.state == STATE_RUNNING) {
                k->refs[k->n_refs++] = seq;
        }
        journal_note(&k->journal, a->fingerprint, &a->row.id);
}

static int arrive_letter(struct arriving *k, struct arrival *a)
{
        struct submit_row *r = &a->row;
        if (a->redelivered && a->fingerprint &&
            journal_find(&k->journal, a->fingerprint, &r->existing)) {
                bool found;
                int rc = row_find(k->t, &r->existing, &found, &r->existing_state);
                return rc ? rc : letter_known(k, a);
        }
        int64_t seq;
        int rc = row_admit(k->t, r, &k->by, &seq);
        if (!rc && !seq) {
                rc = letter_met(k, a);
        }
        if (rc || !seq) {
                return db_data_error(rc) ? letter_refused(k, a) : rc;
        }
        take_letter(k, a, seq);
        return SQLITE_OK;
}

/* Behind the letters from i on of which the journal knows nothing. */
static uint32_t end_of_new(const struct arrivals *l, uint32_t i)
{
        while (i < l->n && l->items[i].kind == ARRIVAL_LETTER &&
               !(l->items[i].redelivered && l->items[i].fingerprint)) {
                i++;
        }
        return i;
}

/* Those that go in together, of the n letters from `a` on. */
static int arrive_alike(struct arriving *k, struct arrival *a, uint32_t n, uint32_t *ret_done)
{
        struct incoming x = {.first = &a->row, .stride = sizeof *a, .n = n};
        int rc = incoming_put(k->t, x, &k->by, ret_done);
        for (uint32_t i = 0; i < *ret_done; i++) {
                take_letter(k, &a[i], k->t->seq - *ret_done + 1 + i);
        }
        return rc;
}

/* --- doorbells -------------------------------------------------------------------------------- */

/* Lanes of the broker's band are as consecutive as the seqs: no row of another stands between. */
static int claim_bells(struct arriving *k)
{
        struct run run = k->bells;
        k->bells = (struct run){0};
        if (!run.n) {
                return SQLITE_OK;
        }
        struct binder b = bind_start(db_get(k->t->db, ST_CLAIM));
        bind_u64(&b, k->by.token);
        bind_u64(&b, k->by.holder);
        bind_int(&b, k->t->now_us);
        bind_text(&b, k->b->queue);
        bind_int(&b, lane_value(BAND_BROKER, 0, run.first));
        bind_int(&b, lane_value(BAND_BROKER, 0, run.first + run.n - 1));
        int rc = bind_run(&b);
        return rc || sqlite3_changes(k->t->db->sql) == run.n ? rc : SQLITE_CORRUPT;
}

static int start_bell(struct arriving *k, int64_t seq)
{
        k->refs[k->n_refs++] = seq;
        if (k->bells.n && seq == k->bells.first + k->bells.n) {
                k->bells.n++;
                return SQLITE_OK;
        }
        int rc = claim_bells(k);
        k->bells = (struct run){seq, 1};
        return rc;
}

static int offer_bell(struct arriving *k, int64_t seq, uint8_t priority)
{
        struct binder b = bind_start(db_get(k->t->db, ST_OFFER));
        bind_int(&b, lane_value(BAND_OFFERED, priority, seq));
        bind_int(&b, seq);
        return bind_run(&b);
}

static int expire_bell(struct arriving *k, int64_t seq)
{
        struct binder b = bind_start(db_get(k->t->db, ST_EXPIRE));
        bind_int(&b, k->t->now_us);
        bind_int(&b, seq);
        k->expired++;
        return bind_run(&b);
}

/* The row that a doorbell found. */
struct waiter {
        int64_t seq;
        uint8_t priority;
        bool waits, expired;
};

/* Reads the row, and the job as well when it is to be started. */
static int look_for(struct arriving *k, const struct arrival *a, struct waiter *ret)
{
        struct binder b = bind_start(db_get(k->t->db, ST_DOORBELL));
        bind_id(&b, &a->row.id);
        int rc = sqlite3_step(b.s);
        struct waiter w = {0};
        if (rc == SQLITE_ROW) {
                int64_t lane = sqlite3_column_int64(b.s, JOB_LANE); /* 0: it waits nowhere */
                int64_t deadline = sqlite3_column_int64(b.s, JOB_DEADLINE);
                w.seq = sqlite3_column_int64(b.s, JOB_SEQ);
                w.priority = (uint8_t)sqlite3_column_int(b.s, JOB_PRIORITY);
                bool taken =
                    k->bells.n && w.seq >= k->bells.first && w.seq < k->bells.first + k->bells.n;
                w.waits = lane >= k->first && lane <= k->last && !taken &&
                          str_eq(column_str(b.s, JOB_QUEUE), k->b->queue);
                w.expired = deadline && deadline <= k->t->now_us;
                bool starts = w.waits && !w.expired && a->start;
                rc = starts ? job_take(k->t->db, k->b->got, b.s, k->t->now_us) : SQLITE_OK;
        }
        (void)sqlite3_reset(b.s);
        *ret = w;
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int arrive_doorbell(struct arriving *k, struct arrival *a)
{
        struct waiter w;
        int rc = look_for(k, a, &w);
        bool known = !w.waits || w.expired;
        a->result = known ? ARRIVAL_KNOWN : ARRIVAL_TAKEN;
        k->b->known += known;
        if (rc || !w.waits) {
                return rc;
        }
        if (w.expired) {
                return expire_bell(k, w.seq);
        }
        return a->start ? start_bell(k, w.seq) : offer_bell(k, w.seq, w.priority);
}

/* --- the batch -------------------------------------------------------------------------------- */

static int arrive_one(struct arriving *k, struct arrival *a)
{
        switch (a->kind) {
        case ARRIVAL_LETTER: return arrive_letter(k, a);
        case ARRIVAL_DOORBELL: return arrive_doorbell(k, a);
        default: a->result = ARRIVAL_TAKEN; return SQLITE_OK;
        }
}

static int arrive_list(struct arriving *k, struct arrivals *l)
{
        int rc = SQLITE_OK;
        uint32_t end = 0;
        for (uint32_t i = 0, done = 0; i < l->n && !rc; i += done) {
                end = i < end ? end : end_of_new(l, i);
                rc = arrive_alike(k, &l->items[i], end - i, &done);
                if (!rc && !done) {
                        rc = arrive_one(k, &l->items[i]);
                        done = 1;
                }
        }
        return rc;
}

static int arrive_all(struct arriving *k)
{
        int rc = SQLITE_OK;
        for (struct arrivals *l = k->b->list; l && !rc; l = l->next) {
                rc = arrive_list(k, l);
        }
        job_read_end(k->t->db);
        return rc ? rc : claim_bells(k);
}

/* What the doorbells moved; letters were counted as they went in. */
static int count_bells(struct arriving *k)
{
        struct str queue = k->b->queue;
        int64_t taken = k->b->got->n, expired = k->expired;
        int rc = SQLITE_OK;
        if (taken + expired) {
                rc = tx_delta(k->t, queue, STATE_PENDING, -taken - expired);
                rc = rc ? rc : tx_delta(k->t, queue, STATE_RUNNING, taken);
                rc = rc ? rc : tx_delta(k->t, queue, STATE_DEAD, expired);
        }
        return rc;
}

static int enter_number(struct arriving *k)
{
        struct str runs = {0};
        if (k->n_refs) {
                runs = runs_of(&k->t->scratch, k->refs, k->n_refs);
                if (!runs.p) {
                        return SQLITE_NOMEM;
                }
        }
        return tx_number_claim(k->t, &k->b->base.no, k->b->token, runs);
}

static int start_arriving(struct arriving *k)
{
        struct ledger_arrive *b = k->b;
        uint32_t bells = 0, n = 0;
        for (const struct arrivals *l = b->list; l; l = l->next) {
                n += l->n;
                for (uint32_t i = 0; i < l->n; i++) {
                        bells += l->items[i].kind == ARRIVAL_DOORBELL && l->items[i].start;
                }
        }
        b->known = b->conflicts = b->unstorable = b->ambiguous = 0;
        lane_range(BAND_BROKER, &k->first, &k->last);
        k->refs = arena_alloc(&k->t->scratch, n * sizeof *k->refs + 1);
        return k->refs ? job_start_claim(b->got, &b->base.no, b->token, bells) : SQLITE_NOMEM;
}

int arrive_run(struct tx *t, struct ledger_arrive *b)
{
        struct arriving k = {.t = t, .b = b, .by = {b->token, b->base.no.holder}};
        struct queue_bound bound = {b->queue, b->drop_above, true};
        struct limits limits = {.letters = true};
        int64_t before = sqlite3_total_changes64(t->db->sql);
        int rc = start_arriving(&k);
        rc = rc ? rc : tx_number_free(t, &b->base.no);
        rc = rc ? rc : journal_open(&k.journal, t, b);
        if (rc == TX_REFUSED) {
                b->undecided = true;
                snprintf(b->base.note, sizeof b->base.note,
                         "a letter came again, and whether it was acknowledged is not sure yet");
                return rc;
        }
        rc = rc ? rc : limits_start(t, &limits, &bound, b->drop_above > 0);
        rc = rc ? rc : arrive_all(&k);
        t->limits = NULL;
        rc = rc ? rc : journal_close(&k.journal);
        rc = rc ? rc : count_bells(&k);
        if (!rc && sqlite3_total_changes64(t->db->sql) != before) {
                rc = enter_number(&k);
        }
        b->ambiguous = k.journal.ambiguous;
        b->got->open = rc ? 0 : b->got->n;
        return rc;
}
