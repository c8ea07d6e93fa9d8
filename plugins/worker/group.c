/*
 * Batches: jobs that are handed to run_batch() together.
 *
 * The frames of a batch are kept until the last of its jobs is there. Then its slots are taken in
 * order, so that skepd, which takes back from the newest down, and this process meet at one place:
 * what was taken is the batch. All of it is marked as running before a handler sees the first job,
 * and ends at one instant; each job has a verdict of its own. Never is one of them told to have
 * ended before all have: who crashes in the midst leaves all of them running.
 */
#include "plugins/worker/worker.h"

#include <stdlib.h>

struct member {
        struct incoming in;
        uint32_t position, epoch;
};

struct kept_frame {
        struct kept_frame *next;
        _Alignas(16) uint8_t bytes[]; /* payloads lie aligned in their frame */
};

/* One batch at a time; on the heap, where a handler's overflowing stack does not reach it. */
static struct {
        uint32_t group, n, room;
        struct member *members;
        struct live *lives;
        struct kept_frame *frames;
} g;

static void make_room(struct worker *w, uint32_t n)
{
        if (n <= g.room) {
                return;
        }
        struct member *members = realloc(g.members, n * sizeof *members);
        g.members = members ? members : g.members;
        free(g.lives);
        g.lives = calloc(n, sizeof *g.lives);
        if (!members || !g.lives) {
                give_up(w, "a batch cannot be taken");
        }
        g.room = n;
}

static const uint8_t *keep_frame(struct worker *w, const uint8_t *bytes, size_t n)
{
        struct kept_frame *f = malloc(sizeof *f + n);
        if (!f) {
                give_up(w, "a batch cannot be taken");
        }
        memcpy(f->bytes, bytes, n);
        f->next = g.frames;
        g.frames = f;
        return f->bytes;
}

/* How many of them are ours: the rest was taken back. */
static uint32_t take_members(struct worker *w, int64_t now)
{
        uint32_t n = 0;
        while (n < g.n) {
                const struct member *m = &g.members[n];
                if (!slot_take(w, page_slot(w->page, m->position), m->epoch, now)) {
                        break;
                }
                n++;
        }
        return n;
}

/* One call, unless a change of plug-ins gave them different handlers meanwhile. */
static void run_members(uint32_t n)
{
        for (uint32_t i = 0, end; i < n; i = end) {
                const struct wire_job *j = &g.members[i].in.j;
                for (end = i + 1; end < n; end++) {
                        const struct wire_job *k = &g.members[end].in.j;
                        if (k->plugin != j->plugin || k->handler != j->handler) {
                                break;
                        }
                }
                live_run_batch(g.lives + i, end - i, j->plugin, j->handler);
        }
}

static void forget_batch(void)
{
        for (uint32_t i = 0; i < g.n; i++) {
                incoming_done(&g.members[i].in);
                arena_deinit(&g.lives[i].arena);
        }
        while (g.frames) {
                struct kept_frame *f = g.frames;
                g.frames = f->next;
                free(f);
        }
        g.n = 0;
}

void group_run(struct worker *w)
{
        if (g.n == 0) {
                return;
        }
        const struct member *first = &g.members[0];
        int64_t now =
            slot_await_lease(w, page_slot(w->page, first->position), first->epoch, clock_set(w));
        uint32_t n = take_members(w, now);
        for (uint32_t i = 0; i < n; i++) {
                live_begin(&g.lives[i], w, &g.members[i].in, g.members[i].position);
        }
        run_members(n);
        now = clock_ns();
        for (uint32_t i = 0; i < n; i++) {
                struct slot *s = page_slot(w->page, g.members[i].position);
                s->ended_mono_ns = now;
                live_end(&g.lives[i], s, g.members[i].epoch);
        }
        if (n) {
                say_ended(w, g.members[n - 1].position, now);
        }
        forget_batch();
}

void group_frame(struct worker *w, const struct wire_frame *head, const uint8_t *bytes, size_t n,
                 const int *fds, uint32_t n_fds)
{
        if (g.n && g.group != head->group) {
                group_run(w);
        }
        bool whole = g.n == 0 && head->n >= head->group_n;
        struct frame f = {w, whole ? bytes : keep_frame(w, bytes, n), n, sizeof *head, fds, n_fds,
                          0};
        g.group = head->group;
        make_room(w, head->group_n > g.n + head->n ? head->group_n : g.n + head->n);
        for (uint32_t i = 0; i < head->n; i++) {
                frame_next(&f, &g.members[g.n].in);
                g.members[g.n].position = head->first + i;
                g.members[g.n].epoch = head->epoch;
                g.n++;
        }
        if (g.n >= head->group_n) {
                group_run(w);
        }
}
