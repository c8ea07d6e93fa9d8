/*
 * CLAIM, and what reads claims back: RECALL, HELD.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>

int claim_begin(struct claim *c, const struct commit_no *no, uint64_t token, uint32_t n)
{
        arena_reset(&c->arena);
        c->no = *no;
        c->token = token;
        c->n = c->open = 0;
        c->jobs = arena_alloc(&c->arena, (n + 1) * sizeof *c->jobs);
        return c->jobs ? 0 : -ENOMEM;
}

/* Rows are found by their id: all that a ref can be good for is to tell that it belongs to it. */
int64_t ref_of(const struct job_id *id)
{
        uint64_t ref;
        memcpy(&ref, id->b + 8, sizeof ref);
        return (int64_t)(ref | 1);
}

/* Jobs of one claim mostly share their queue and type: one copy serves the next as well. */
static struct str share(struct arena *a, struct str last, const PGresult *r, int i, int column)
{
        struct str v = cell_str(r, i, column);
        return v.n && str_eq(v, last) ? last : cell_copy(a, r, i, column);
}

#define LARGE (16u << 10) /* payloads of a result, on an average: not copied out of it */

static void clear_result(void *r)
{
        PQclear(r);
}

/* True: the claim owns the result, in which its payloads stand. Of smaller ones the rest of the
 * rows would be too much to hold for so long. */
static bool keep_result(struct work *w, struct claim *c, const PGresult *r)
{
        uint64_t bytes = 0;
        int rows = PQntuples(r);
        for (int i = 0; i < rows; i++) {
                bytes += (uint64_t)PQgetlength(r, i, HANDED_PAYLOAD);
        }
        w->kept = rows && bytes / (uint64_t)rows >= LARGE &&
                  arena_adopt(&c->arena, (void *)(uintptr_t)r, clear_result);
        return w->kept;
}

static int read_handed(struct claim *c, const PGresult *r, int i, bool kept, struct job *j)
{
        struct job none = {0};
        const struct job *last = c->n ? &c->jobs[c->n - 1] : &none;
        *j = (struct job){
            .id = cell_id(r, i, HANDED_ID),
            .claim = (uint32_t)cell_i32(r, i, HANDED_CLAIM),
            .token = (uint64_t)cell_i64(r, i, HANDED_TOKEN),
            .attempt = (uint16_t)cell_i32(r, i, HANDED_ATTEMPT),
            .max_attempts = (uint16_t)cell_i32(r, i, HANDED_MAX_ATTEMPTS),
            .snoozes = (uint16_t)cell_i32(r, i, HANDED_SNOOZES),
            .strikes = (uint8_t)cell_i16(r, i, HANDED_STRIKES),
            .priority = (uint8_t)cell_i16(r, i, HANDED_PRIORITY),
            .generation = (uint32_t)cell_i32(r, i, HANDED_GENERATION),
            .timeout_ms = (uint32_t)cell_i64(r, i, HANDED_TIMEOUT_MS),
            .cancel_asked = cell_bool(r, i, HANDED_CANCEL_ASKED),
            .created_us = cell_i64(r, i, HANDED_CREATED),
            .deadline_us = cell_i64(r, i, HANDED_DEADLINE),
            .heartbeat_ms = (uint32_t)cell_i64(r, i, HANDED_HEARTBEAT_MS),
            .retry_until_us = cell_i64(r, i, HANDED_RETRY_UNTIL),
            .late_us = cell_i64(r, i, HANDED_LATE),
            .left_work = !cell_null(r, i, HANDED_WORK),
            .policy = share(&c->arena, last->policy, r, i, HANDED_POLICY),
            .checkpoint = cell_copy(&c->arena, r, i, HANDED_WORK),
            .queue = share(&c->arena, last->queue, r, i, HANDED_QUEUE),
            .type = share(&c->arena, last->type, r, i, HANDED_TYPE),
            .content_type = share(&c->arena, last->content_type, r, i, HANDED_CONTENT_TYPE),
            .headers = cell_copy(&c->arena, r, i, HANDED_HEADERS),
            .payload =
                kept ? cell_str(r, i, HANDED_PAYLOAD) : cell_copy(&c->arena, r, i, HANDED_PAYLOAD),
            .handler = -1,
        };
        j->ref = ref_of(&j->id);
        bool out = !j->queue.p || !j->type.p || !j->content_type.p || !j->headers.p ||
                   !j->payload.p || !j->policy.p || !j->checkpoint.p;
        return out ? -ENOMEM : 0;
}

int handed_read(struct claim *c, const PGresult *r, int i, struct job *j)
{
        return read_handed(c, r, i, false, j);
}

/* --- CLAIM ------------------------------------------------------------------------------------ */

static int send_claim(struct lane *n, struct work *w)
{
        struct ledger_claim *b = LEDGER_AS(claim, CLAIM, w->b);
        b->more = b->limited = false;
        b->parked = b->expired = 0;
        int r = claim_begin(b->got, &b->base.no, b->token, b->want);
        struct params *p = params_for(n);
        put_number(p, &b->base.no);
        put_bytes(p, b->queue);
        put_u64(p, b->token);
        put_limit(p, b->want);
        put_i64(p, b->max_bytes > INT64_MAX ? INT64_MAX : (int64_t)b->max_bytes);
        put_roster(p, b->roster);
        if (b->global) {
                put_limit(p, b->global);
        }
        r = r ? r : work_send(n, w, b->global ? ST_CLAIM_GLOBAL : ST_CLAIM);
        return r ? r : send_alive(n, w);
}

static int take_claim(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_claim *b = LEDGER_AS(claim, CLAIM, w->b);
        struct claim *c = b->got;
        int rc = 0;
        bool ours = which == ST_CLAIM || which == ST_CLAIM_GLOBAL;
        bool kept = ours && keep_result(w, c, r);
        for (int i = 0; ours && i < PQntuples(r) && !rc; i++) {
                if (cell_null(r, i, HANDED_ID)) {
                        b->parked = (uint32_t)cell_i32(r, i, HANDED_CLAIM);
                        b->expired = (uint32_t)cell_i32(r, i, HANDED_ATTEMPT);
                        b->more = cell_bool(r, i, HANDED_CANCEL_ASKED);
                        b->limited = cell_i32(r, i, HANDED_SNOOZES) != 0;
                } else if (c->n < b->want) {
                        rc = read_handed(c, r, i, kept, &c->jobs[c->n]);
                        c->n += !rc;
                }
        }
        (void)n;
        return rc;
}

static int end_claim(struct lane *n, struct work *w)
{
        struct ledger_claim *b = LEDGER_AS(claim, CLAIM, w->b);
        b->got->open = b->got->n;
        n->l->offered |= b->parked > 0;
        return 0;
}

const struct op op_claim = {.send = send_claim, .take = take_claim, .end = end_claim};

/* --- RECALL ----------------------------------------------------------------------------------- */

static int send_recall(struct lane *n, struct work *w)
{
        struct ledger_recall *b = LEDGER_AS(recall, RECALL, w->b);
        struct params *p = params_for(n);
        put_number(p, &b->of);
        put_u64(p, b->token);
        return work_send(n, w, ST_RECALL);
}

static int take_recall(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_recall *b = LEDGER_AS(recall, RECALL, w->b);
        struct claim *c = b->got;
        int rc = claim_begin(c, &b->of, b->token, (uint32_t)PQntuples(r));
        (void)n;
        (void)which;
        for (int i = 0; i < PQntuples(r) && !rc; i++) {
                rc = handed_read(c, r, i, &c->jobs[c->n]);
                c->n += !rc;
        }
        c->open = c->n;
        return rc;
}

const struct op op_recall = {.send = send_recall, .take = take_recall};

/* --- HELD ------------------------------------------------------------------------------------- */

static int send_held(struct lane *n, struct work *w)
{
        struct ledger_held *b = LEDGER_AS(held, HELD, w->b);
        struct params *p = params_for(n);
        put_u64(p, b->victim);
        put_i16(p, LANE_CLAIMS);
        put_u64(p, b->after);
        put_i64(p, (int64_t)b->limit + 1);
        return work_send(n, w, ST_HELD);
}

static int read_held(struct ledger_held *b, const PGresult *r, int i)
{
        struct arena *a = &b->base.arena;
        struct held_job h = {
            .token = (uint64_t)cell_i64(r, i, 1),
            .id = cell_id(r, i, 2),
            .claim = (uint32_t)cell_i32(r, i, 3),
            .attempt = (uint16_t)cell_i32(r, i, 4),
            .max_attempts = (uint16_t)cell_i32(r, i, 5),
            .snoozes = (uint16_t)cell_i32(r, i, 6),
            .strikes = (uint8_t)cell_i16(r, i, 7),
            .cancel_asked = cell_bool(r, i, 8),
            .queue = cell_copy(a, r, i, 9),
            .type = cell_copy(a, r, i, 10),
            .created_us = cell_i64(r, i, 11),
            .retry_until_us = cell_i64(r, i, 12),
            .policy = cell_copy(a, r, i, 13),
            .headers = cell_copy(a, r, i, 14),
            .left_work = cell_bool(r, i, 15),
        };
        h.ref = ref_of(&h.id);
        b->jobs[b->n++] = h;
        return h.queue.p && h.type.p && h.policy.p && h.headers.p ? 0 : -ENOMEM;
}

static int take_held(struct lane *n, struct work *w, enum statement which, const PGresult *r)
{
        struct ledger_held *b = LEDGER_AS(held, HELD, w->b);
        size_t rows = (size_t)PQntuples(r) + 1;
        uint64_t last = 0;
        int rc = 0;
        (void)n;
        (void)which;
        b->n = b->n_covered = 0;
        b->more = false;
        b->jobs = arena_alloc(&b->base.arena, rows * sizeof *b->jobs);
        b->covered = arena_alloc(&b->base.arena, rows * sizeof *b->covered);
        if (!b->jobs || !b->covered) {
                return -ENOMEM;
        }
        for (int i = 0; i < PQntuples(r) && !rc; i++) {
                uint64_t number = (uint64_t)cell_i64(r, i, 0);
                if (number != last && b->n_covered == b->limit) {
                        b->more = true;
                        break;
                }
                if (number != last) {
                        b->covered[b->n_covered++] = last = number;
                }
                rc = cell_null(r, i, 2) ? 0 : read_held(b, r, i);
        }
        return rc;
}

const struct op op_held = {.send = send_held, .take = take_held};
