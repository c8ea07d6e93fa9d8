/*
 * Operations over many jobs: requeue, cancel, purge or count by a filter, page by page, by the node
 * that was asked and as long as it lives. What was done stays done; nothing else is remembered in
 * the ledger, so an operation whose node stops ends there and is simply begun again.
 *
 * A page is one short transaction, so that an operation over a million jobs never stands in the way
 * of the jobs that run meanwhile. With a rate, a page is a quarter of a second's worth, and the
 * next waits until the one before is paid for. A page whose fate is not known is written again:
 * those that it took are no longer of the filter. Discarded: to begin all pages at once and let the
 * ledger order them; then nothing could stop it.
 */
#include "core/engine/inner.h"

#include <stdio.h>
#include <stdlib.h>

#define BULKS_MAX      16 /* that run at once */
#define BULKS_KEPT     100
#define KEPT_NS        (3600 * NS_PER_S)
#define PAGE_MAX       1000
#define AGAIN_LEAST    20 /* requeued before it is judged how many died again */
#define RETRY_AFTER    (500 * NS_PER_MS)
#define REFUSED_LONG   (600 * NS_PER_S)
#define PAGES_A_SECOND 4
#define PACE_FIRST     20 /* a second, of a requeue that watches and has no rate */
#define PACE_MORE      20 /* and so many more in each second that it goes on */
#define PACE_MAX       1000000

struct bulk_books {
        struct bulk_books *next;
        struct arena arena;
        struct bulk_request request; /* its texts in the arena */
        struct bulk_view view;
        bool posted, has_after, stop;
        struct job_id after;
        int64_t begun_ns;
        int64_t next_ns; /* when the next page may be posted */
        int64_t over_ns;
        int64_t refused_ns; /* since when the ledger refuses its pages; 0: it does not */
};

static struct bulk_books *bulk_free(struct bulk_books *k)
{
        if (k) {
                arena_deinit(&k->arena);
                free(k);
        }
        return NULL;
}

void bulk_deinit(struct engine *e)
{
        while (e->bulks) {
                struct bulk_books *next = e->bulks->next;
                bulk_free(e->bulks);
                e->bulks = next;
        }
}

/* --- begin and end ---------------------------------------------------------------------------- */

static bool copy_request(struct bulk_books *k, const struct bulk_request *r)
{
        k->request = *r;
        struct job_filter *f = &k->request.filter;
        f->type = arena_str(&k->arena, r->filter.type);
        f->queue = arena_str(&k->arena, r->filter.queue);
        f->tag = arena_str(&k->arena, r->filter.tag);
        return f->type.p && f->queue.p && f->tag.p;
}

/* NULL: no memory. */
static struct bulk_books *bulk_new(struct engine *e, const struct bulk_request *r)
{
        struct bulk_books *k = calloc(1, sizeof *k);
        if (!k || !copy_request(k, r)) {
                return bulk_free(k);
        }
        k->view.no = ++e->bulk_last;
        k->view.kind = r->kind;
        k->view.begun_us = e->now.wall_us;
        k->begun_ns = e->now.mono_ns;
        return k;
}

static uint32_t count_running(const struct engine *e)
{
        uint32_t n = 0;
        for (const struct bulk_books *k = e->bulks; k; k = k->next) {
                n += !k->view.over;
        }
        return n;
}

/* Those that ended long ago, and those beyond what is kept. */
static void forget_old(struct engine *e)
{
        uint32_t kept = 0;
        struct bulk_books **at = &e->bulks;
        while (*at) {
                struct bulk_books *k = *at;
                bool old =
                    k->view.over && (e->now.mono_ns - k->over_ns >= KEPT_NS || kept >= BULKS_KEPT);
                if (old && !k->posted) {
                        *at = k->next;
                        bulk_free(k);
                } else {
                        at = &k->next;
                        kept++;
                }
        }
}

void bulk_arrived(struct engine *e, const struct bulk_request *request, void *cookie)
{
        const char *why = NULL;
        struct bulk_books *k = NULL;
        forget_old(e);
        if (e->draining) {
                why = "skepd is stopping";
        } else if (count_running(e) >= BULKS_MAX) {
                why = "16 operations run already; wait until one has ended, or stop one";
        } else if (!(k = bulk_new(e, request))) {
                why = "out of memory";
        } else {
                k->next = e->bulks;
                e->bulks = k;
        }
        struct engine_action *a = engine_act(e, ACT_BULK);
        if (a) {
                a->cookie = cookie;
                a->bulk_no = k ? k->view.no : 0;
                a->text = str_of(why);
        }
}

/* Its note says by now why, or nothing. */
static void bulk_over(struct engine *e, struct bulk_books *k)
{
        k->view.over = true;
        k->view.over_us = e->now.wall_us;
        k->over_ns = e->now.mono_ns;
}

/* A page that is on its way is still counted. */
static void ask_to_stop(struct engine *e, struct bulk_books *k, const char *why)
{
        if (k->view.over) {
                return;
        }
        k->stop = true;
        snprintf(k->view.note, sizeof k->view.note, "%s", why);
        if (!k->posted) {
                bulk_over(e, k);
        }
}

void bulk_stop(struct engine *e, uint64_t no)
{
        for (struct bulk_books *k = e->bulks; k; k = k->next) {
                if (k->view.no == no) {
                        ask_to_stop(e, k, "stopped by an operator");
                }
        }
}

void bulk_stop_all(struct engine *e, const char *why)
{
        for (struct bulk_books *k = e->bulks; k; k = k->next) {
                ask_to_stop(e, k, why);
        }
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Jobs a second; 0: as fast as it goes. A requeue that shall stop when its jobs die again sees
 * nothing at full speed, since dying takes them their retries. Without a rate it begins slowly and
 * grows by as much each second: if all take d seconds to die, a fifth of what it did is dead after
 * less than 2 d. Were it to double, that share would stay small for ever. */
static uint64_t pace(const struct engine *e, const struct bulk_books *k)
{
        const struct bulk_request *r = &k->request;
        bool watches = r->kind == BULK_REQUEUE && r->stop_permille;
        if (r->rate || !watches) {
                return r->kind == BULK_COUNT ? 0 : r->rate;
        }
        int64_t s = (e->now.mono_ns - k->begun_ns) / NS_PER_S;
        uint64_t n = PACE_FIRST + PACE_MORE * (uint64_t)s;
        return n < PACE_MAX ? n : PACE_MAX;
}

static uint32_t page_limit(const struct engine *e, const struct bulk_books *k)
{
        const struct bulk_request *r = &k->request;
        uint64_t n = PAGE_MAX, rate = pace(e, k);
        if (rate) {
                n = rate / PAGES_A_SECOND;
                n = n < 1 ? 1 : n > PAGE_MAX ? PAGE_MAX : n;
        }
        uint64_t left = r->limit ? r->limit - k->view.done : n;
        return (uint32_t)(left < n ? left : n);
}

static void post_page(struct engine *e, struct bulk_books *k)
{
        struct ledger_batch *batch = ledger_batch_new(LEDGER_BULK);
        if (!batch) {
                k->next_ns = e->now.mono_ns + RETRY_AFTER;
                return;
        }
        struct ledger_bulk *b = LEDGER_AS(bulk, BULK, batch);
        b->kind = k->request.kind;
        b->filter = k->request.filter; /* its texts stay while it is posted */
        if (PLANT(bulk_unfiltered)) {
                b->filter = (struct job_filter){0};
        }
        b->has_after = k->has_after;
        b->after = k->after;
        b->limit = page_limit(e, k);
        b->again_since_us = k->request.kind == BULK_REQUEUE ? k->view.begun_us : 0;
        batch->cookie = k;
        k->next_ns = e->now.mono_ns;
        k->posted = post_batch(e, batch);
}

void bulk_pump(struct engine *e)
{
        for (struct bulk_books *k = e->bulks; e->registered && k; k = k->next) {
                if (!k->view.over && !k->posted && e->now.mono_ns >= k->next_ns) {
                        post_page(e, k);
                }
        }
}

int64_t bulk_wake_ns(const struct engine *e)
{
        int64_t at = NEVER;
        for (const struct bulk_books *k = e->bulks; e->registered && k; k = k->next) {
                at = engine_min(at, k->view.over || k->posted ? NEVER : k->next_ns);
        }
        return at;
}

static bool too_many_again(const struct bulk_books *k)
{
        uint64_t most = k->request.stop_permille;
        return most && k->request.kind == BULK_REQUEUE && k->view.done >= AGAIN_LEAST &&
               k->view.again * 1000 >= most * k->view.done;
}

/* What the page did, and whether it was the last. */
static void page_done(struct engine *e, struct bulk_books *k, const struct ledger_bulk *b)
{
        const struct bulk_request *r = &k->request;
        k->refused_ns = 0;
        k->view.done += b->done;
        k->view.asked += b->asked;
        k->view.again = b->again > k->view.again ? b->again : k->view.again;
        k->has_after = true;
        k->after = b->last;
        uint64_t rate = pace(e, k);
        if (rate) { /* from when it was posted, or later if in debt */
                k->next_ns += (int64_t)(b->done * (uint64_t)NS_PER_S / rate);
        }
        if (r->kind != BULK_COUNT && b->done) {
                e->dirty = true;
                claim_hint_all(e);
        }
        bool end = !b->more || (r->limit && k->view.done >= r->limit);
        bool again = !end && !k->stop && too_many_again(k);
        if (end) {
                k->view.note[0] = 0; /* whatever came in its way */
        } else if (again) {
                snprintf(k->view.note, sizeof k->view.note,
                         "%llu of the %llu requeued jobs died again",
                         (unsigned long long)k->view.again, (unsigned long long)k->view.done);
        }
        if (end || again || k->stop) {
                bulk_over(e, k);
        }
}

static void page_refused(struct engine *e, struct bulk_books *k, const char *note)
{
        int64_t now = e->now.mono_ns;
        k->refused_ns = k->refused_ns ? k->refused_ns : now;
        k->next_ns = now + RETRY_AFTER;
        bool long_enough = now - k->refused_ns >= REFUSED_LONG;
        if (!k->stop && long_enough) {
                snprintf(k->view.note, sizeof k->view.note, "%s", note);
        }
        if (k->stop || long_enough) {
                bulk_over(e, k);
        }
}

bool bulk_owns(const struct engine *e, const struct ledger_batch *b)
{
        const struct bulk_books *k = e->bulks;
        while (k && k != b->cookie) {
                k = k->next;
        }
        return k != NULL;
}

void bulk_answered(struct engine *e, struct ledger_bulk *b)
{
        struct bulk_books *k = b->base.cookie;
        k->posted = false;
        switch (b->base.outcome) {
        case LEDGER_COMMITTED: page_done(e, k, b); break;
        case LEDGER_FENCED: fence_node(e, b->base.no.holder); /* fall through */
        case LEDGER_UNKNOWN:
        case LEDGER_REFUSED: page_refused(e, k, b->base.note); break;
        }
        ledger_batch_free(&b->base);
}

/* --- what people see -------------------------------------------------------------------------- */

static bool is_old(const struct engine *e, const struct bulk_books *k)
{
        return k->view.over && e->now.mono_ns - k->over_ns >= KEPT_NS;
}

uint32_t engine_bulks(const struct engine *e, struct bulk_view *ret_views, uint32_t max)
{
        uint32_t n = 0;
        for (const struct bulk_books *k = e->bulks; k && n < max; k = k->next) {
                if (!is_old(e, k)) {
                        ret_views[n++] = k->view;
                }
        }
        return n;
}

bool engine_bulk(const struct engine *e, uint64_t no, struct bulk_view *ret)
{
        for (const struct bulk_books *k = e->bulks; k; k = k->next) {
                if (k->view.no == no && !is_old(e, k)) {
                        *ret = k->view;
                        return true;
                }
        }
        return false;
}
