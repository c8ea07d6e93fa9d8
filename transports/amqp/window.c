/*
 * What was published and not answered: a ring of delivery tags, bounded by messages and by bytes.
 * The bound is what keeps publishing from blocking: a broker with an alarm takes some megabytes
 * into its sockets before a send would wait, and the window is far below.
 *
 * Confirms are bulk and may come out of order, so each slot is marked and the low end follows.
 */
#include "transports/amqp/internal.h"

void window_reset(struct window *w)
{
        *w = (struct window){.low = 1, .next = 1};
}

/* One that is larger than the window goes alone. */
bool window_room(const struct window *w, uint32_t bytes)
{
        return w->next == w->low ||
               (w->next - w->low < WINDOW_SLOTS && w->bytes + bytes <= WINDOW_BYTES);
}

void window_sent(struct window *w, struct flight *f, uint32_t bytes)
{
        uint64_t i = w->next++ % WINDOW_SLOTS;
        w->slots[i].flight = f;
        w->slots[i].bytes = bytes ? bytes : 1;
        w->bytes += w->slots[i].bytes;
        f->open++;
}

static void answer(struct window *w, uint64_t tag, bool ok)
{
        uint64_t i = tag % WINDOW_SLOTS;
        struct flight *f = w->slots[i].flight;
        w->bytes -= w->slots[i].bytes;
        if (f && w->slots[i].bytes) {
                f->open--;
                f->failed = f->failed || !ok;
        }
        w->slots[i].flight = NULL;
        w->slots[i].bytes = 0;
}

void window_answered(struct window *w, uint64_t tag, bool multiple, bool ok)
{
        if (multiple && tag == 0) {
                tag = w->next - 1;
        }
        if (tag < w->low || tag >= w->next) {
                return; /* never published, or answered before */
        }
        for (uint64_t t = multiple ? w->low : tag; t <= tag; t++) {
                answer(w, t, ok);
        }
        while (w->low < w->next && w->slots[w->low % WINDOW_SLOTS].bytes == 0) {
                w->low++;
        }
}

void window_forget(struct window *w, const struct flight *f)
{
        for (uint64_t t = w->low; t < w->next; t++) {
                if (w->slots[t % WINDOW_SLOTS].flight == f) {
                        w->slots[t % WINDOW_SLOTS].flight = NULL;
                }
        }
}

bool window_waits(const struct window *w, uint64_t tag)
{
        return tag >= w->low && tag < w->next && w->slots[tag % WINDOW_SLOTS].bytes != 0;
}
