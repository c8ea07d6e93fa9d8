/*
 * How far each history of a broker was taken in. A broker that keeps messages after they were
 * acknowledged forgets our place in them with its consumer; the ledger knows it, so that a consumer
 * made anew does not begin from the first message.
 *
 * A transport tells what it knows and asks what the ledger knows, in one. Nothing is kept here but
 * what is on its way to the ledger, one batch for each history. What cannot be posted or comes back
 * unwritten is dropped: the transport tells it again. It must never be believed here that a floor
 * was written; only the ledger's answer is passed on. Discarded: gathering floors and posting the
 * highest later; they come every few seconds, and the one that is late is the next one.
 */
#include "core/engine/inner.h"

#define FLOORS_MAX 64 /* on their way at once */

/* In its batch's arena, and named by its cookie. */
struct floor_ask {
        struct floor_ask *next;
        struct str transport, history;
};

static bool is_asked(const struct engine *e, struct str transport, struct str history)
{
        const struct floor_ask *ask = e->floors;
        while (ask && !(str_eq(ask->transport, transport) && str_eq(ask->history, history))) {
                ask = ask->next;
        }
        return ask != NULL;
}

/* NULL: no memory. */
static struct floor_ask *make_ask(struct ledger_batch *b, struct str transport, struct str history)
{
        struct floor_ask *ask = arena_zalloc(&b->arena, sizeof *ask);
        if (!ask) {
                return NULL;
        }
        ask->transport = arena_str(&b->arena, transport);
        ask->history = arena_str(&b->arena, history);
        return ask->transport.p && ask->history.p ? ask : NULL;
}

void floor_came(struct engine *e, const struct engine_event *ev)
{
        struct str transport = ev->transport.name, history = ev->transport.history;
        if (e->leaving || e->n_floors == FLOORS_MAX || is_asked(e, transport, history)) {
                return;
        }
        struct ledger_batch *b = ledger_batch_new(LEDGER_FLOOR);
        struct floor_ask *ask = b ? make_ask(b, transport, history) : NULL;
        if (!ask) {
                ledger_batch_free(b);
                return;
        }
        b->cookie = ask;
        LEDGER_AS(floor, FLOOR, b)->history = ask->history;
        LEDGER_AS(floor, FLOOR, b)->floor = ev->transport.floor;
        if (post_batch(e, b)) {
                ask->next = e->floors;
                e->floors = ask;
                e->n_floors++;
        }
}

static void forget_ask(struct engine *e, const struct floor_ask *ask)
{
        struct floor_ask **at = &e->floors;
        while (*at != ask) {
                at = &(*at)->next;
        }
        *at = ask->next;
        e->n_floors--;
}

/* The batch holds the action's texts until the next step. */
void floor_answered(struct engine *e, struct ledger_floor *b)
{
        const struct floor_ask *ask = b->base.cookie;
        forget_ask(e, ask);
        if (b->base.outcome == LEDGER_COMMITTED) {
                struct engine_action *a = engine_act(e, ACT_FLOOR);
                if (a) {
                        a->transport = ask->transport;
                        a->text = ask->history;
                        a->floor = b->floor;
                }
        }
        b->base.next = e->told;
        e->told = &b->base;
}
