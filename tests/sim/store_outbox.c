/*
 * What a broker is told, and what it forgot: the outbox, TIDE, floors; and letters that SQL
 * producers leave in the inbox.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/plant.h"
#include "tests/sim/store.h"

/* --- the outbox --------------------------------------------------------------------------- */

static bool is_to_ring(const struct submit_row *r)
{
        return r->result == SUBMIT_CREATED && r->state == STATE_PENDING && r->band == BAND_BROKER;
}

static struct store_outbox *outbox_row(struct store *s, struct store_queue *q)
{
        struct store_outbox *o = calloc(1, sizeof *o), **at = &s->outbox;
        assert(o);
        o->no = ++s->outbox_no;
        o->touched_us = s->now_us;
        o->queue = q;
        while (*at) {
                at = &(*at)->next;
        }
        *at = o;
        return o;
}

static void add_bell(struct store_outbox *o, const struct submit_row *r)
{
        o->bells = realloc(o->bells, (o->n + 1) * sizeof *o->bells);
        assert(o->bells);
        o->bells[o->n++] = (struct doorbell){r->id, r->seq};
}

static void copy_out(struct arena *a, const struct store_outbox *o, struct outbox_row *to)
{
        *to = (struct outbox_row){.no = o->no, .queue = arena_str(a, o->queue->name), .n = o->n};
        to->bells = arena_alloc(a, (o->n + 1) * sizeof *to->bells);
        assert(to->bells);
        memcpy(to->bells, o->bells, o->n * sizeof *to->bells);
}

/* One row for each queue. */
void store_outbox_add(struct store *s, const struct submission *list, struct arena *a,
                      struct outbox_row **ret_rows, uint32_t *ret_n)
{
        uint32_t n = 0;
        int64_t first = s->outbox_no;
        for (; list; list = list->next) {
                for (uint32_t i = 0; i < list->n; i++) {
                        const struct submit_row *r = &list->rows[i];
                        if (!is_to_ring(r)) {
                                continue;
                        }
                        struct store_queue *q = store_queue_of(s, r->queue, true);
                        struct store_outbox *o = s->outbox;
                        while (o && (o->no <= first || o->queue != q)) {
                                o = o->next;
                        }
                        n += !o;
                        add_bell(o ? o : outbox_row(s, q), r);
                }
        }
        if (!a) {
                return;
        }
        *ret_n = 0;
        *ret_rows = arena_alloc(a, (n + 1) * sizeof **ret_rows);
        assert(*ret_rows);
        for (const struct store_outbox *o = s->outbox; o; o = o->next) {
                if (o->no > first) {
                        copy_out(a, o, &(*ret_rows)[(*ret_n)++]);
                }
        }
}

static void free_row(struct store_outbox *o)
{
        free(o->bells);
        free(o);
}

static void delete_rows(struct store *s, int64_t no)
{
        struct store_outbox **at = &s->outbox;
        while (*at) {
                struct store_outbox *o = *at;
                if (o->no == no) {
                        *at = o->next;
                        free_row(o);
                } else {
                        at = &o->next;
                }
        }
}

void store_apply_submit(struct store *s, struct ledger_submit *b)
{
        store_submit_bound(s, b->list, b->bounds, b->n_bounds);
        store_outbox_add(s, b->list, &b->base.arena, &b->outbox, &b->n_outbox);
        for (uint32_t i = 0; planted(PLANT_OUTBOX_LOST) && i < b->n_outbox; i++) {
                delete_rows(s, b->outbox[i].no);
        }
}

void store_apply_relay(struct store *s, struct ledger_relay *b)
{
        b->n = 0;
        b->rows = arena_alloc(&b->base.arena, ((size_t)b->limit + 1) * sizeof *b->rows);
        assert(b->rows);
        for (struct store_outbox *o = s->outbox; o && b->n < b->limit && !b->owed_only;
             o = o->next) {
                if (o->touched_us + b->older_us <= s->now_us) {
                        o->touched_us = s->now_us;
                        copy_out(&b->base.arena, o, &b->rows[b->n++]);
                }
        }
        store_relay_replies(s, b);
}

void store_apply_rung(struct store *s, struct ledger_rung *b)
{
        for (uint32_t i = 0; i < b->n; i++) {
                const struct store_outbox *o = s->outbox;
                while (o && o->no != b->rows[i]) {
                        o = o->next;
                }
                if (o && s->on_rung) {
                        s->on_rung(s->watcher, o);
                }
                delete_rows(s, b->rows[i]);
        }
        store_replies_rung(s, b);
}

/* --- the tide ----------------------------------------------------------------------------- */

static struct store_job *first_left(const struct store_queue *q, int64_t before_us, int64_t below)
{
        int64_t first, last;
        lane_range(BAND_BROKER, &first, &last);
        for (uint32_t i = store_index_from(&q->lanes, first); i < q->lanes.n; i++) {
                struct store_job *j = q->lanes.list[i].job;
                if (q->lanes.list[i].at > last || j->seq >= below) {
                        break;
                }
                if (j->row.created_us <= before_us) {
                        return j;
                }
        }
        return NULL;
}

void store_apply_tide(struct store *s, struct ledger_tide *b)
{
        struct store_queue *q = store_queue_of(s, b->queue, false);
        int64_t before_us = s->now_us - (planted(PLANT_TIDE_YOUNG) ? 0 : b->older_us);
        int64_t below = planted(PLANT_TIDE_YOUNG) ? INT64_MAX : b->below;
        b->moved = 0;
        b->last = s->seq;
        b->more = b->waiting = false;
        struct store_job *j;
        while (q && b->moved < b->limit && (j = first_left(q, before_us, below))) {
                struct store_move m = {STATE_PENDING, REASON_NONE, BAND_OFFERED,
                                       .attempt = j->row.attempt};
                b->moved++;
                if (planted(PLANT_TIDE_NOTHING)) {
                        return;
                }
                store_set_state(s, j, &m);
        }
        b->more = q && first_left(q, before_us, below);
        b->waiting = q && first_left(q, before_us, INT64_MAX);
}

/* --- the inbox ---------------------------------------------------------------------------- */

struct store_letter *store_letter_find(const struct store *s, int64_t no)
{
        struct store_letter *l = s->inbox;
        while (l && l->letter.no != no) {
                l = l->next;
        }
        return l;
}

static void free_letter(struct store_letter *l)
{
        struct str *texts[] = {&l->letter.queue,        &l->letter.type,    &l->letter.key,
                               &l->letter.content_type, &l->letter.headers, &l->letter.payload};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                free((char *)texts[i]->p);
        }
        free(l);
}

void store_letter_take(struct store *s, int64_t no)
{
        struct store_letter **at = &s->inbox;
        while (no && *at && (*at)->letter.no != no) {
                at = &(*at)->next;
        }
        if (no && *at) {
                struct store_letter *l = *at;
                *at = l->next;
                free_letter(l);
        }
}

void store_letter_add(struct store *s, const struct inbox_letter *from)
{
        struct store_letter *l = calloc(1, sizeof *l), **at = &s->inbox;
        assert(l);
        l->letter = *from;
        l->letter.no = ++s->inbox_no;
        struct str *texts[] = {&l->letter.queue,        &l->letter.type,    &l->letter.key,
                               &l->letter.content_type, &l->letter.headers, &l->letter.payload};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = store_dup(*texts[i]);
        }
        while (*at) {
                at = &(*at)->next;
        }
        *at = l;
}

void store_apply_inbox(struct store *s, struct ledger_inbox *b)
{
        struct arena *a = &b->base.arena;
        b->n = 0;
        b->letters = arena_alloc(a, ((size_t)b->limit + 1) * sizeof *b->letters);
        assert(b->letters);
        const struct store_letter *l = s->inbox;
        for (; l && b->n < b->limit; l = l->next) {
                struct inbox_letter *to = &b->letters[b->n++];
                *to = l->letter;
                struct str *texts[] = {&to->queue,        &to->type,    &to->key,
                                       &to->content_type, &to->headers, &to->payload};
                for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                        *texts[i] = arena_str(a, *texts[i]);
                }
        }
        b->more = l != NULL;
}

/* --- floors ------------------------------------------------------------------------------- */

void store_apply_floor(struct store *s, struct ledger_floor *b)
{
        if (b->history.n < 1 || b->history.n > FLOOR_NAME_MAX || b->floor < 0) {
                store_refuse(&b->base, "a history's name is 1 to 255 bytes, its floor not below 0");
                return;
        }
        struct store_floor *f = s->floors;
        while (f && !str_eq(f->history, b->history)) {
                f = f->next;
        }
        if (!f && b->floor) {
                f = calloc(1, sizeof *f);
                assert(f);
                f->history = store_dup(b->history);
                f->next = s->floors;
                s->floors = f;
        }
        if (f) {
                bool raised = b->floor > f->floor || planted(PLANT_FLOOR_FALLS);
                f->floor = raised ? b->floor : f->floor;
                b->floor = f->floor;
        }
}

static void free_floors(struct store *s)
{
        while (s->floors) {
                struct store_floor *next = s->floors->next;
                free((char *)s->floors->history.p);
                free(s->floors);
                s->floors = next;
        }
}

void store_outbox_deinit(struct store *s)
{
        free_floors(s);
        while (s->outbox) {
                struct store_outbox *next = s->outbox->next;
                free_row(s->outbox);
                s->outbox = next;
        }
        while (s->journal) {
                struct store_line *next = s->journal->next;
                free(s->journal);
                s->journal = next;
        }
        while (s->inbox) {
                store_letter_take(s, s->inbox->letter.no);
        }
}
