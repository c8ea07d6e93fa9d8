/*
 * Letters without ids. The ledger keeps a journal of them until their acknowledgement is sure, so
 * that a redelivery finds its job; here stands which batches those are. What became of each -
 * surely acknowledged, or its connection went away before - is told with the next ARRIVE, within a
 * second. Those of an incarnation that was declared dead need not be told: the ledger knows.
 *
 * A batch may hold several receipts. Lost it is only while none of them is known to have arrived:
 * an equal letter that comes again would else be taken for one that is gone. So a batch of which
 * the connection's end let one part through is forgotten as a whole, and its other letters, should
 * they come again, are new jobs. To tell the ledger which part it was would spare those, for a
 * case that needs a connection to break between two proofs of one batch.
 */
#include "core/engine/inner.h"

#include <stdlib.h>

#define TELL_AFTER NS_PER_S

static void decided(struct engine *e, struct journal_entry *j, enum journal_fate fate)
{
        j->fate = fate;
        if (e->journal_ns == 0) {
                e->journal_ns = e->now.mono_ns + TELL_AFTER;
        }
}

/* No memory: the entry stays open in the ledger until this node is gone; only redeliveries of its
 * letters would wait for that. */
void journal_add(struct engine *e, const struct journal_entry *entry)
{
        if (e->n_journal == e->journal_capacity) {
                uint32_t capacity = e->journal_capacity ? e->journal_capacity * 2 : 64;
                struct journal_entry *grown = realloc(e->journal, capacity * sizeof *grown);
                if (!grown) {
                        return;
                }
                e->journal = grown;
                e->journal_capacity = capacity;
        }
        struct journal_entry *j = &e->journal[e->n_journal++];
        *j = *entry;
        if (PLANT(journal_hasty)) {
                j->fate = FATE_ACKNOWLEDGED;
        }
        if (j->fate != FATE_OPEN) {
                decided(e, j, j->fate);
        }
}

static bool same_commit(struct commit_no a, struct commit_no b)
{
        return a.holder == b.holder && a.writer == b.writer && a.n == b.n;
}

/* Though its connection is lost by now. */
static void receipt_arrived(struct engine *e, struct journal_entry *j)
{
        j->receipts -= j->receipts > 0;
        j->partly = true;
        if (j->receipts == 0 || (j->fate == FATE_LOST && !PLANT(journal_halved))) {
                decided(e, j, FATE_ACKNOWLEDGED);
        }
}

void journal_acknowledged(struct engine *e, const struct receipt *list)
{
        for (; list; list = list->next) {
                for (uint32_t i = 0; i < e->n_journal; i++) {
                        struct journal_entry *j = &e->journal[i];
                        if (same_commit(j->no, list->no)) {
                                receipt_arrived(e, j);
                                break;
                        }
                }
        }
}

void journal_lost(struct engine *e, uint64_t connection)
{
        for (uint32_t i = 0; i < e->n_journal; i++) {
                struct journal_entry *j = &e->journal[i];
                if (j->fate == FATE_OPEN && j->connection == connection) {
                        bool partly = j->partly && !PLANT(journal_halved);
                        decided(e, j, partly ? FATE_ACKNOWLEDGED : FATE_LOST);
                }
        }
}

/* Moves what is decided into the batch. */
void journal_tell(struct engine *e, struct ledger_arrive *b)
{
        uint32_t kept = 0, n = 0;
        for (uint32_t i = 0; i < e->n_journal; i++) {
                n += e->journal[i].fate != FATE_OPEN;
        }
        b->acknowledged = n ? arena_alloc(&b->base.arena, 2 * n * sizeof *b->acknowledged) : NULL;
        if (!b->acknowledged) {
                return;
        }
        b->lost = b->acknowledged + n;
        for (uint32_t i = 0; i < e->n_journal; i++) {
                struct journal_entry *j = &e->journal[i];
                if (j->fate == FATE_OPEN) {
                        e->journal[kept++] = *j;
                } else if (j->no.holder != e->holder) {
                        continue;
                } else if (j->fate == FATE_LOST) {
                        b->lost[b->n_lost++] = j->no;
                } else {
                        b->acknowledged[b->n_acknowledged++] = j->no;
                }
        }
        e->n_journal = kept;
        e->journal_ns = 0;
}

/* The batch was not written: its news waits for another. */
void journal_untold(struct engine *e, const struct ledger_arrive *b)
{
        for (uint32_t i = 0; i < b->n_acknowledged + b->n_lost; i++) {
                bool lost = i >= b->n_acknowledged;
                struct commit_no no = lost ? b->lost[i - b->n_acknowledged] : b->acknowledged[i];
                struct journal_entry entry = {.no = no,
                                              .fate = lost ? FATE_LOST : FATE_ACKNOWLEDGED};
                journal_add(e, &entry);
        }
}

bool journal_busy(const struct engine *e)
{
        return e->n_journal > 0;
}

int64_t journal_wake_ns(const struct engine *e)
{
        return e->journal_ns == 0 ? NEVER : e->draining ? 0 : e->journal_ns;
}
