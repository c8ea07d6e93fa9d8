/*
 * Group commit: one transaction for all that waits, one fsync, all handed back.
 *
 * Optimistic: there is no savepoint per batch. When one fails for a reason of its own the
 * transaction is rolled back and each batch is written alone, so that the failure stays with the
 * one that has it.
 *
 * An I/O error in COMMIT leaves the outcome unknown. The connection is then given up and never
 * asked to sync again: what the kernel dropped after a failed fsync is gone, and a second fsync
 * would lie. The reader's connection keeps the shared index of the log alive, so that a new
 * connection does not take the half-written frames for a commit.
 */
#include "ledgers/sqlite/ledger.h"
#include "ledgers/sqlite/life.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define CHECKPOINT_IDLE_PAGES 1000  /* 4 MiB of log: copied back when nothing comes */
#define CHECKPOINT_MOST_PAGES 16000 /* 64 MiB: copied back even then */
#define RETRY_FIRST_NS        (100 * NS_PER_MS)
#define RETRY_LAST_NS         (5 * NS_PER_S)

static int64_t monotonic_ns(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t wall_us(const struct sqlite_ledger *l)
{
        return l->options.wall_us(l->options.wall_ctx);
}

static bool fails_at(const struct sqlite_ledger *l, enum ledger_sqlite_point point)
{
        return l->options.fault && l->options.fault(l->options.fault_ctx, point);
}

/* --- the connection --------------------------------------------------------------------------- */

int writer_connect(struct sqlite_ledger *l, char *note, size_t note_size)
{
        struct db *db;
        int r = db_open(l->path, l->options.busy_timeout_ms, false, note, note_size, &db);
        if (r < 0) {
                return r;
        }
        r = db_migrate(db->sql, l->path, wall_us(l), note, note_size);
        if (r < 0) {
                db_close(db);
                return r;
        }
        l->writer.db = db;
        return 0;
}

/* A database in memory is gone with its connection: it stays, whatever SQLite said. */
static void give_up_connection(struct sqlite_ledger *l)
{
        if (l->memory || !l->writer.db) {
                return;
        }
        (void)sqlite3_db_config(l->writer.db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        l->writer.db = db_close(l->writer.db);
        l->retry_after_ns = RETRY_FIRST_NS;
        l->retry_at_ns = monotonic_ns() + l->retry_after_ns;
}

static bool has_connection(struct sqlite_ledger *l, char *note, size_t note_size)
{
        if (l->writer.db) {
                return true;
        }
        int64_t now = monotonic_ns();
        if (now < l->retry_at_ns) {
                snprintf(note, note_size, "%s: closed after an I/O error; it is tried again soon",
                         l->path);
                return false;
        }
        if (writer_connect(l, note, note_size) == 0) {
                return true;
        }
        l->retry_after_ns *= 2;
        if (l->retry_after_ns > RETRY_LAST_NS) {
                l->retry_after_ns = RETRY_LAST_NS;
        }
        l->retry_at_ns = monotonic_ns() + l->retry_after_ns;
        return false;
}

static bool is_broken(int rc)
{
        int primary = rc & 0xff;
        return rc > 0 && (primary == SQLITE_IOERR || primary == SQLITE_CORRUPT ||
                          primary == SQLITE_NOTADB || primary == SQLITE_CANTOPEN);
}

/* --- outcomes --------------------------------------------------------------------------------- */

static void settle_submissions(struct ledger_batch *b)
{
        if (b->op != LEDGER_SUBMIT) {
                return;
        }
        for (struct submission *s = LEDGER_AS(submit, SUBMIT, b)->list; s; s = s->next) {
                s->refused = true;
                snprintf(s->note, sizeof s->note, "%s", b->note);
        }
}

static void settle_batch(struct ledger_batch *b, enum ledger_outcome outcome, const char *note)
{
        b->outcome = outcome;
        if (note) {
                snprintf(b->note, sizeof b->note, "%s", note);
        }
        if (outcome == LEDGER_REFUSED) {
                settle_submissions(b);
        }
}

static void settle_all(struct ledger_batch *list, enum ledger_outcome outcome, const char *note)
{
        for (struct ledger_batch *b = list; b; b = b->next) {
                settle_batch(b, outcome, note);
        }
}

/* What an operation said without having written anything. */
static bool settle_unwritten(struct ledger_batch *b, int rc)
{
        switch (rc) {
        case TX_TAKEN: settle_batch(b, LEDGER_REFUSED, "commit number taken"); return true;
        case TX_FENCED:
                settle_batch(b, LEDGER_FENCED, "this node was declared dead, or never registered");
                return true;
        case TX_REFUSED: settle_batch(b, LEDGER_REFUSED, NULL); return true;
        default: return false;
        }
}

/* --- one transaction -------------------------------------------------------------------------- */

/* SQL producers are for ledgers that they can reach: there is no inbox here. */
static int inbox_run(struct ledger_inbox *b)
{
        b->letters = NULL;
        b->n = 0;
        b->more = false;
        return SQLITE_OK;
}

static int run_read(struct db *db, struct ledger_batch *b)
{
        switch (b->op) {
        case LEDGER_RECALL: return recall_run(db, LEDGER_AS(recall, RECALL, b));
        case LEDGER_HELD: return held_run(db, LEDGER_AS(held, HELD, b));
        case LEDGER_SHOW: return show_run(db, LEDGER_AS(show, SHOW, b));
        case LEDGER_LIST: return list_run(db, LEDGER_AS(list, LIST, b));
        case LEDGER_INBOX: return inbox_run(LEDGER_AS(inbox, INBOX, b));
        case LEDGER_STATS: return stats_run(db, LEDGER_AS(stats, STATS, b));
        case LEDGER_SCHEDULES: return schedules_run(db, LEDGER_AS(schedules, SCHEDULES, b));
        case LEDGER_GROUPS: return groups_run(db, LEDGER_AS(groups, GROUPS, b));
        case LEDGER_NODES: return nodes_run(db, LEDGER_AS(nodes, NODES, b));
        default: return SQLITE_MISUSE;
        }
}

/* Of a node that was declared dead nothing new may come, not even a transaction that was under way
 * when it was forgotten. Verdicts have fences of their own. */
static bool needs_living_node(enum ledger_op op)
{
        return op == LEDGER_BEAT || op == LEDGER_SUBMIT || op == LEDGER_ARRIVE ||
               op == LEDGER_CLAIM || op == LEDGER_CANCEL || op == LEDGER_REQUEUE;
}

static int run_batch(struct tx *t, struct ledger_batch *b)
{
        int rc = needs_living_node(b->op) ? tx_alive(t, b->no.holder) : SQLITE_OK;
        if (rc) {
                return rc;
        }
        switch (b->op) {
        case LEDGER_REGISTER: return register_run(t, LEDGER_AS(register, REGISTER, b));
        case LEDGER_BEAT: return beat_run(t, LEDGER_AS(beat, BEAT, b));
        case LEDGER_BURY: return bury_run(t, LEDGER_AS(bury, BURY, b));
        case LEDGER_SUBMIT: return submit_run(t, LEDGER_AS(submit, SUBMIT, b));
        case LEDGER_ARRIVE: return arrive_run(t, LEDGER_AS(arrive, ARRIVE, b));
        case LEDGER_CLAIM: return claim_run(t, LEDGER_AS(claim, CLAIM, b));
        case LEDGER_FINISH: return finish_run(t, LEDGER_AS(finish, FINISH, b));
        case LEDGER_CANCEL: return cancel_run(t, LEDGER_AS(cancel, CANCEL, b));
        case LEDGER_REQUEUE: return requeue_run(t, LEDGER_AS(requeue, REQUEUE, b));
        case LEDGER_DUE: return due_run(t, LEDGER_AS(due, DUE, b));
        case LEDGER_UNPARK: return unpark_run(t, LEDGER_AS(unpark, UNPARK, b));
        case LEDGER_FOLD: return fold_run(t, LEDGER_AS(fold, FOLD, b));
        case LEDGER_RELAY: return relay_run(t, LEDGER_AS(relay, RELAY, b));
        case LEDGER_RUNG: return rung_run(t, LEDGER_AS(rung, RUNG, b));
        case LEDGER_TIDE: return tide_run(t, LEDGER_AS(tide, TIDE, b));
        case LEDGER_FLOOR: return floor_run(t, LEDGER_AS(floor, FLOOR, b));
        case LEDGER_RESOLVE: return resolve_run(t, LEDGER_AS(resolve, RESOLVE, b));
        case LEDGER_CONTROL: return control_run(t, LEDGER_AS(control, CONTROL, b));
        case LEDGER_SAVE: return save_run(t, LEDGER_AS(save, SAVE, b));
        case LEDGER_SCHEDULE: return schedule_run(t, LEDGER_AS(schedule, SCHEDULE, b));
        case LEDGER_TICK: return tick_run(t, LEDGER_AS(tick, TICK, b));
        case LEDGER_BULK: return bulk_run(t, LEDGER_AS(bulk, BULK, b));
        case LEDGER_PRUNE: return prune_run(t, LEDGER_AS(prune, PRUNE, b));
        default: return run_read(t->db, b);
        }
}

static int run_group(struct sqlite_ledger *l, struct ledger_batch *list)
{
        for (struct ledger_batch *b = list; b; b = b->next) {
                b->outcome = LEDGER_COMMITTED;
                int rc = run_batch(&l->tx, b);
                if (settle_unwritten(b, rc)) {
                        continue;
                }
                rc = rc ? rc : tx_flush(&l->tx);
                if (rc) {
                        return rc;
                }
        }
        return SQLITE_OK;
}

static void roll_back(struct sqlite_ledger *l, enum tx_fate fate)
{
        if (!sqlite3_get_autocommit(l->writer.db->sql)) {
                (void)db_run(db_get(l->writer.db, ST_ROLLBACK));
        }
        tx_end(&l->tx, fate);
        if (!sqlite3_get_autocommit(l->writer.db->sql)) {
                give_up_connection(l); /* it cannot even do that */
        }
}

/* REFUSED and FENCED batches wrote nothing: they keep what they were told. A read is just asked
 * again. */
static void settle_written(struct ledger_batch *list, const char *note)
{
        for (struct ledger_batch *b = list; b; b = b->next) {
                bool read = ledger_op_lane(b->op) == LANE_READS;
                if (b->outcome == LEDGER_COMMITTED) {
                        settle_batch(b, read ? LEDGER_REFUSED : LEDGER_UNKNOWN, note);
                }
        }
}

static void commit_group(struct sqlite_ledger *l, struct ledger_batch *list)
{
        char note[160];
        if (fails_at(l, LEDGER_SQLITE_BEFORE_COMMIT)) {
                roll_back(l, TX_UNKNOWN);
                settle_written(list, "made unknown by a test before the commit");
                return;
        }
        int rc = db_run(db_get(l->writer.db, ST_COMMIT));
        if (rc) {
                db_note(rc, l->writer.db->sql, l->path, note, sizeof note);
                bool unknown = is_broken(rc);
                roll_back(l, unknown ? TX_UNKNOWN : TX_ROLLED_BACK);
                if (unknown) {
                        settle_written(list, note);
                        give_up_connection(l);
                } else {
                        settle_all(list, LEDGER_REFUSED, note);
                }
                return;
        }
        l->checkpointed = false;
        bool lost = fails_at(l, LEDGER_SQLITE_AFTER_COMMIT);
        tx_end(&l->tx, lost ? TX_UNKNOWN : TX_WRITTEN);
        if (lost) {
                settle_written(list, "made unknown by a test after the commit");
        }
}

/* Writes the list as one transaction. False: a batch failed, nothing is written, *ret_rc says why.
 */
static bool write_once(struct sqlite_ledger *l, struct ledger_batch *list, int *ret_rc, char *note,
                       size_t note_size)
{
        struct db *db = l->writer.db;
        if (fails_at(l, LEDGER_SQLITE_BEGIN)) {
                settle_all(list, LEDGER_REFUSED, "refused by a test");
                return true;
        }
        int rc = db_run(db_get(db, ST_BEGIN));
        if (!rc) {
                tx_begin(&l->tx, db, wall_us(l));
                rc = run_group(l, list);
        }
        if (rc) {
                db_note(rc, db->sql, l->path, note, note_size);
                roll_back(l, TX_ROLLED_BACK);
                *ret_rc = rc;
                return false;
        }
        commit_group(l, list);
        return true;
}

static void write_alone(struct sqlite_ledger *l, struct ledger_batch *list)
{
        while (list) {
                struct ledger_batch *b = list;
                char note[160];
                int rc = SQLITE_OK;
                list = b->next;
                b->next = NULL;
                if (!has_connection(l, note, sizeof note) ||
                    !write_once(l, b, &rc, note, sizeof note)) {
                        settle_batch(b, LEDGER_REFUSED, note);
                }
                if (is_broken(rc)) {
                        give_up_connection(l);
                }
                ledger_hand_back(l, b);
        }
}

void writer_run(struct sqlite_ledger *l, struct ledger_batch *list)
{
        char note[160];
        int rc = SQLITE_OK;
        if (!has_connection(l, note, sizeof note)) {
                settle_all(list, LEDGER_REFUSED, note);
                ledger_hand_back(l, list);
                return;
        }
        if (write_once(l, list, &rc, note, sizeof note)) {
                ledger_hand_back(l, list);
        } else if (list->next && !is_broken(rc) && (rc & 0xff) != SQLITE_BUSY) {
                write_alone(l, list);
        } else {
                settle_all(list, LEDGER_REFUSED, note);
                if (is_broken(rc)) {
                        give_up_connection(l);
                }
                ledger_hand_back(l, list);
        }
        if (l->writer.db && l->writer.db->wal_pages > CHECKPOINT_MOST_PAGES) {
                writer_checkpoint(l);
        }
}

/* --- checkpoints ------------------------------------------------------------------------------ */

bool writer_wants_checkpoint(const struct sqlite_ledger *l)
{
        return l->writer.db && !l->checkpointed && l->writer.db->wal_pages > CHECKPOINT_IDLE_PAGES;
}

/* Passive: stops nobody. Once complete, the next writer begins the log anew. */
void writer_checkpoint(struct sqlite_ledger *l)
{
        (void)db_run(db_get(l->writer.db, ST_CHECKPOINT));
        l->checkpointed = true;
}

void read_batch(struct sqlite_ledger *l, struct db *db, struct ledger_batch *b)
{
        int rc = run_read(db, b);
        if (rc) {
                char note[160];
                db_note(rc, db->sql, l->path, note, sizeof note);
                settle_batch(b, LEDGER_REFUSED, note);
        }
}
