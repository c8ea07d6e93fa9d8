/*
 * What people read: SHOW, LIST, STATS. Rows are copied into the batch's arena; nothing is written.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/pattern.h"
#include "tests/sim/store.h"

static struct attempt_row copy_attempt(struct arena *a, const struct attempt_row *from)
{
        struct attempt_row t = *from;
        t.error_text = arena_str(a, from->error_text);
        t.build = arena_str(a, from->build);
        return t;
}

/* whole: with payload, headers and result; shown: with its attempts too. */
static void copy_row(struct arena *a, const struct store_job *j, bool whole, bool shown,
                     struct job_row *to)
{
        const struct job_row *r = &j->row;
        *to = *r;
        to->queue = arena_str(a, r->queue);
        to->type = arena_str(a, r->type);
        to->key_text = arena_str(a, r->key_text);
        to->content_type = arena_str(a, r->content_type);
        to->tags = arena_str(a, r->tags);
        to->last = copy_attempt(a, &r->last);
        to->result_type = arena_str(a, r->result_type);
        to->policy = arena_str(a, r->policy);
        to->checkpoint_size = 0;
        to->headers = whole ? arena_str(a, r->headers) : (struct str){0};
        to->payload = whole ? arena_str(a, r->payload) : (struct str){0};
        to->result = whole ? arena_str(a, r->result) : (struct str){0};
        to->n_attempts = shown ? r->n_attempts : 0;
        to->attempts = arena_zalloc(a, (to->n_attempts + 1) * sizeof *to->attempts);
        assert(to->attempts);
        for (uint32_t i = 0; i < to->n_attempts; i++) {
                to->attempts[i] = copy_attempt(a, &r->attempts[i]);
        }
}

static const struct store_job *find_shown(struct store *s, const struct ledger_show *b)
{
        if (!b->key.set) {
                return store_find(s, &b->id);
        }
        struct store_key key;
        memset(&key, 0, sizeof key);
        key.queue = store_queue_of(s, b->queue, false);
        memcpy(key.b, b->key.b, sizeof key.b);
        struct store_job *j = NULL;
        if (key.queue) {
                HASH_FIND(hh_key, s->keys, &key, sizeof key, j);
        }
        return j;
}

#define AHEAD_MAX 10000

static uint64_t count_ahead(const struct store_job *j)
{
        int64_t first, last;
        lane_range(j->row.band, &first, &last);
        const struct store_index *x = &j->queue->lanes;
        uint32_t i = store_index_from(x, first), n = 0;
        while (i + n < x->n && x->list[i + n].job != j && n < AHEAD_MAX) {
                n++;
        }
        return n;
}

void store_apply_show(struct store *s, struct ledger_show *b)
{
        const struct store_job *j = find_shown(s, b);
        b->found = j != NULL;
        if (j) {
                copy_row(&b->base.arena, j, true, true, &b->row);
                b->row.checkpoint_size = j->checkpoint.n;
                b->row.ahead = j->row.state == STATE_PENDING ? count_ahead(j) : 0;
        }
}

/* Tags are ",a,b,": a tag is there when ",tag," is. */
bool store_has_tag(struct str tags, struct str tag)
{
        for (uint32_t i = 0; i + tag.n + 1 < tags.n; i++) {
                bool here = tags.p[i] == ',' && tags.p[i + tag.n + 1] == ',' &&
                            memcmp(tags.p + i + 1, tag.p, tag.n) == 0;
                if (here) {
                        return true;
                }
        }
        return false;
}

static bool is_placed(const struct ledger_list *b, const struct job_row *r)
{
        return r->created_us >= b->since_us &&
               (!b->has_before || memcmp(r->id.b, b->before.b, sizeof b->before.b) < 0);
}

static bool is_listed(const struct ledger_list *b, const struct store_job *j)
{
        const struct job_row *r = &j->row;
        return (b->state < 0 || r->state == (enum job_state)b->state) &&
               (!b->queue.n || str_eq(r->queue, b->queue)) &&
               (!b->type.n || str_eq(r->type, b->type) || pattern_match(b->type, r->type)) &&
               (b->error == ERROR_NONE || r->last.error == b->error) &&
               (!b->fingerprint || r->last.fingerprint == b->fingerprint) &&
               (!b->tag.n || store_has_tag(r->tags, b->tag)) && is_placed(b, r);
}

static int compare_ids(const void *a, const void *b)
{
        const struct store_job *x = *(struct store_job *const *)a;
        const struct store_job *y = *(struct store_job *const *)b;
        return memcmp(y->row.id.b, x->row.id.b, sizeof x->row.id.b);
}

void store_apply_list(struct store *s, struct ledger_list *b)
{
        struct store_job **all = calloc(HASH_COUNT(s->jobs) + 1, sizeof *all), *j, *next;
        assert(all);
        uint32_t n = 0;
        HASH_ITER (hh, s->jobs, j, next) {
                if (is_listed(b, j)) {
                        all[n++] = j;
                }
        }
        qsort(all, n, sizeof *all, compare_ids);
        b->more = n > b->limit;
        b->n = b->more ? b->limit : n;
        b->rows = arena_zalloc(&b->base.arena, (b->n + 1) * sizeof *b->rows);
        assert(b->rows);
        for (uint32_t i = 0; i < b->n; i++) {
                copy_row(&b->base.arena, all[i], b->whole, false, &b->rows[i]);
        }
        free(all);
}

static void count_job(struct queue_stat *q, const struct store_job *j)
{
        q->jobs[j->row.state]++;
        if (j->row.state != STATE_PENDING) {
                return;
        }
        q->parked += j->row.band == BAND_PARKED;
        if (!q->oldest_pending_us || j->row.created_us < q->oldest_pending_us) {
                q->oldest_pending_us = j->row.created_us;
        }
}

void store_apply_stats(struct store *s, struct ledger_stats *b)
{
        uint32_t n = 0;
        for (struct store_queue *q = s->queues; q; q = q->next) {
                n++;
        }
        b->queues = arena_zalloc(&b->base.arena, (n + 1) * sizeof *b->queues);
        assert(b->queues);
        b->n = 0;
        for (struct store_queue *q = s->queues; q; q = q->next) {
                struct queue_stat *stat = &b->queues[b->n++];
                stat->queue = arena_str(&b->base.arena, q->name);
                struct store_job *j, *next;
                HASH_ITER (hh, s->jobs, j, next) {
                        if (j->queue == q) {
                                count_job(stat, j);
                        }
                }
        }
}
