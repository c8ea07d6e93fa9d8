/*
 * The SQLite ledger: the reference implementation of core/ledger.h, embedded in the node.
 *
 * One writer thread with a connection of its own takes all that waits and writes it in one
 * transaction; one reader thread answers LANE_READS from a second connection (":memory:" has the
 * one connection only). Several processes of one host may share a file; network file systems are
 * not supported, since WAL needs shared memory.
 */
#ifndef SKEP_LEDGERS_SQLITE_H
#define SKEP_LEDGERS_SQLITE_H

#include "core/ledger.h"

/* For tests alone. Called on the writer's thread; nonzero makes the transaction fail at this point.
 */
enum ledger_sqlite_point {
        LEDGER_SQLITE_BEGIN,         /* REFUSED: nothing is written */
        LEDGER_SQLITE_BEFORE_COMMIT, /* UNKNOWN, and it did not happen */
        LEDGER_SQLITE_AFTER_COMMIT,  /* UNKNOWN, and it happened */
};

struct ledger_sqlite_options {
        const char *path;              /* a file, created when missing; or ":memory:" */
        int64_t (*wall_us)(void *ctx); /* the ledger's clock, any thread; NULL: CLOCK_REALTIME */
        void *wall_ctx;
        int busy_timeout_ms; /* how long to wait for another process's lock; 0: 5000 */
        int (*fault)(void *ctx, enum ledger_sqlite_point point); /* tests; NULL: none */
        void *fault_ctx;
};

/* Opens, migrates, starts the threads. 0, or -errno: -ENOENT directory missing, -EACCES not
 * readable or not writable, -EMEDIUMTYPE not a database or another program's, -EPROTONOSUPPORT a
 * newer schema, -EBUSY locked, -ENOSPC disk full, -EIO any other. `note` then says what, where and
 * what to do. */
int ledger_sqlite_open(const struct ledger_sqlite_options *o, struct ledger **ret_ledger,
                       char *note, size_t note_size);

/* The path within "sqlite:/path", "sqlite:///path", "sqlite:relative", "sqlite::memory:"; NULL when
 * the URL is none of them. Points into url. */
const char *ledger_sqlite_url_path(const char *url);

#endif
