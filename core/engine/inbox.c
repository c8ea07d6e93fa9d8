/*
 * Letters of SQL producers: read from the ledger's inbox when a beat tells that some wait, written
 * as jobs by an ordinary SUBMIT that takes them out in the same transaction. Two nodes may read the
 * same letter; only one write finds it still there.
 */
#include "core/engine/inner.h"

#include "core/defaults.h"

#include <stdio.h>

#define INBOX_LIMIT 500
#define RETRY_AFTER (500 * NS_PER_MS)

static void malformed(struct submit_row *row, struct arena *a, const char *what, struct str said)
{
        row->state = STATE_DEAD;
        row->reason = REASON_MALFORMED;
        row->error_text = arena_printf(a, "%s: %.*s", what, (int)said.n, said.p ? said.p : "");
}

/* The queue that it names, or the one for its type. */
static const struct queue_config *letter_queue(const struct engine *e, const struct inbox_letter *l)
{
        int at = l->queue.n ? config_queue_named(e->config, l->queue)
                            : config_queue_for(e->config, l->type);
        return at < 0 ? NULL : &e->config->queues[at];
}

static void letter_times(const struct engine *e, const struct inbox_letter *l,
                         struct submit_row *row)
{
        row->deadline_us = l->deadline_us;
        if (l->at_us > e->now.wall_us) {
                row->state = STATE_SCHEDULED;
                row->at_us = l->at_us;
        }
}

static void letter_row(struct engine *e, struct arena *a, const struct inbox_letter *l,
                       struct submit_row *row)
{
        const struct queue_config *q = letter_queue(e, l);
        *row = (struct submit_row){
            .id = id_mint(&e->mint, e->now.wall_us),
            .queue = arena_str(a, q            ? q->name
                                  : l->queue.n ? l->queue
                                               : STR(QUEUE_UNROUTED)),
            .type = arena_str(a, l->type),
            .content_type = arena_str(a, l->content_type),
            .headers = arena_str(a, l->headers),
            .payload = arena_str(a, l->payload),
            .key_text = arena_str(a, l->key),
            .state = STATE_PENDING,
            .priority = l->priority >= 0 ? (uint8_t)l->priority : ROW_PRIORITY_UNSET,
            .max_attempts = (uint16_t)l->max_attempts,
            .timeout_ms = l->timeout_ms,
            .inbox = l->no,
        };
        if (l->key.n > 0 && l->key.n <= KEY_TEXT_MAX) {
                row->key = key_from_text(row->key_text);
        }
        letter_times(e, l, row);
        if (l->key.n > KEY_TEXT_MAX) {
                malformed(row, a, "the key has more than 255 bytes", STR(""));
        } else if (l->payload.n > e->config->payload_max) {
                row->state = STATE_DEAD;
                row->reason = REASON_TOO_LARGE;
                row->payload = (struct str){0};
        } else if (!q && row->state == STATE_PENDING) {
                row->band = BAND_PARKED;
                row->reason = REASON_NO_QUEUE;
        }
}

static bool texts_complete(const struct submit_row *row)
{
        return row->queue.p && row->type.p && row->content_type.p && row->headers.p &&
               row->payload.p && row->key_text.p;
}

static struct submission *letters_submission(struct engine *e, const struct ledger_inbox *b)
{
        struct submission *s = submission_new();
        if (!s || !(s->rows = arena_zalloc(&s->arena, b->n * sizeof *s->rows))) {
                return submission_free(s);
        }
        s->from_inbox = true;
        for (uint32_t i = 0; i < b->n; i++) {
                letter_row(e, &s->arena, &b->letters[i], &s->rows[i]);
                if (s->rows[i].reason != REASON_TOO_LARGE && !texts_complete(&s->rows[i])) {
                        return submission_free(s);
                }
        }
        s->n = b->n;
        return s;
}

void inbox_answered(struct engine *e, struct ledger_inbox *b)
{
        e->inbox_posted = false;
        struct submission *s =
            b->base.outcome == LEDGER_COMMITTED && b->n ? letters_submission(e, b) : NULL;
        e->inbox_waits = s != NULL; /* else the next beat tells */
        if (s) {
                e->inbox_posted = true; /* until it is written */
                submit_arrived(e, s);
        }
        ledger_batch_free(&b->base);
}

/* Their key was taken by another payload: they become dead rows of their own, without key. */
static struct submission *conflicts_of(struct submission *s)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < s->n; i++) {
                if (s->rows[i].result == SUBMIT_CONFLICT) {
                        struct submit_row *row = &s->rows[n++];
                        char other[JOB_ID_TEXT];
                        *row = s->rows[i];
                        id_text(&row->existing, other);
                        row->key.set = false;
                        row->state = STATE_DEAD;
                        row->reason = REASON_ID_CONFLICT;
                        row->error_text = arena_printf(
                            &s->arena, "its key names another payload, that of job %s", other);
                }
        }
        s->n = n;
        return n ? s : NULL;
}

void inbox_submitted(struct engine *e, struct submission *s, bool committed)
{
        e->inbox_posted = false;
        e->inbox_ns = committed ? 0 : e->now.mono_ns + RETRY_AFTER;
        e->inbox_waits = true;
        if (committed && conflicts_of(s)) {
                e->inbox_posted = true;
                submit_arrived(e, s);
                return;
        }
        submission_free(s);
}

static bool inbox_wanted(const struct engine *e)
{
        return e->inbox_waits && !e->inbox_posted && e->registered && !e->draining;
}

void inbox_pump(struct engine *e)
{
        if (!inbox_wanted(e) || e->now.mono_ns < e->inbox_ns) {
                return;
        }
        struct ledger_batch *batch = ledger_batch_new(LEDGER_INBOX);
        if (!batch) {
                e->inbox_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        LEDGER_AS(inbox, INBOX, batch)->limit = INBOX_LIMIT;
        e->inbox_posted = post_batch(e, batch);
}

int64_t inbox_wake_ns(const struct engine *e)
{
        return inbox_wanted(e) ? e->inbox_ns : NEVER;
}
