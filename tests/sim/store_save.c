/*
 * What running jobs leave behind: checkpoints and progress; and the replies that wait for their
 * broker.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

bool store_left_work(const struct store_job *j)
{
        return j->checkpoint.n || j->row.has_progress;
}

static bool fence_holds(const struct store_job *j, const struct save_row *r)
{
        bool ours = j && j->row.claim == r->claim && j->token == r->token;
        return j && j->row.state == STATE_RUNNING && (ours || planted(PLANT_SAVE_UNFENCED));
}

static bool fits(const struct ledger_save *b)
{
        for (uint32_t i = 0; i < b->n; i++) {
                if (b->rows[i].has_checkpoint && b->rows[i].checkpoint.n > CHECKPOINT_MAX) {
                        return false;
                }
        }
        return true;
}

void store_apply_save(struct store *s, struct ledger_save *b)
{
        if (!fits(b)) {
                store_refuse(&b->base, "a checkpoint is larger than it may be");
                return;
        }
        for (uint32_t i = 0; i < b->n; i++) {
                struct save_row *r = &b->rows[i];
                struct store_job *j = store_find(s, &r->id);
                r->stale = !fence_holds(j, r);
                if (r->stale || (j->save_claim == r->claim && j->save_n > r->n)) {
                        continue;
                }
                j->save_claim = r->claim;
                j->save_n = r->n;
                if (r->has_checkpoint) {
                        store_put(&j->checkpoint, r->checkpoint);
                }
                if (r->has_progress) {
                        j->row.has_progress = true;
                        j->row.done = r->done;
                        j->row.total = r->total;
                        j->row.progress_us = s->now_us;
                }
                if (s->on_saved) {
                        s->on_saved(s->watcher, j, r);
                }
        }
}

/* --- replies ------------------------------------------------------------------------------ */

static void own_texts(struct job_reply *r, struct arena *a)
{
        struct str *texts[] = {&r->queue, &r->to,         &r->correlation_id, &r->content_type,
                               &r->body,  &r->error_text, &r->headers};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = a ? arena_str(a, *texts[i]) : store_dup(*texts[i]);
        }
}

void store_reply_add(struct store *s, struct job_reply *r)
{
        struct store_reply *x = calloc(1, sizeof *x), **at = &s->replies;
        assert(x);
        r->no = ++s->reply_no;
        x->touched_us = r->to.n ? s->now_us : 0;
        x->reply = *r;
        own_texts(&x->reply, NULL);
        while (*at) {
                at = &(*at)->next;
        }
        *at = x;
}

void store_reply_owe(struct store *s, const struct store_job *j)
{
        static const char sign[] = "reply-to";
        const struct str *h = &j->row.headers;
        if (!h->n || !memmem(h->p, h->n, sign, sizeof sign - 1) || planted(PLANT_REPLY_UNRUN)) {
                return;
        }
        struct job_reply r = {.queue = j->queue->name,
                              .job = j->row.id,
                              .state = j->row.state,
                              .reason = j->row.reason,
                              .headers = *h};
        if (j->row.claim == 0) {
                r.error_text = j->row.last.error_text;
        }
        store_reply_add(s, &r);
}

void store_relay_replies(struct store *s, struct ledger_relay *b)
{
        b->n_replies = 0;
        b->replies = arena_alloc(&b->base.arena, ((size_t)b->limit + 1) * sizeof *b->replies);
        assert(b->replies);
        for (struct store_reply *x = s->replies; x && b->n_replies < b->limit; x = x->next) {
                bool due = !x->touched_us || x->touched_us + b->older_us <= s->now_us;
                if (due && (!b->owed_only || !x->reply.to.n)) {
                        struct job_reply *to = &b->replies[b->n_replies++];
                        x->touched_us = s->now_us;
                        *to = x->reply;
                        own_texts(to, &b->base.arena);
                }
        }
}

static void free_reply(struct store_reply *x)
{
        struct job_reply *r = &x->reply;
        struct str *texts[] = {&r->queue, &r->to,         &r->correlation_id, &r->content_type,
                               &r->body,  &r->error_text, &r->headers};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                free((char *)texts[i]->p);
        }
        free(x);
}

static void delete_reply(struct store *s, int64_t no)
{
        struct store_reply **at = &s->replies;
        while (*at && (*at)->reply.no != no) {
                at = &(*at)->next;
        }
        if (*at) {
                struct store_reply *x = *at;
                if (s->on_replied) {
                        s->on_replied(s->watcher, x);
                }
                *at = x->next;
                free_reply(x);
        }
}

void store_replies_rung(struct store *s, const struct ledger_rung *b)
{
        for (uint32_t i = 0; i < b->n_replies; i++) {
                delete_reply(s, b->replies[i]);
        }
}

void store_save_deinit(struct store *s)
{
        s->on_replied = NULL;
        while (s->replies) {
                delete_reply(s, s->replies->reply.no);
        }
}
