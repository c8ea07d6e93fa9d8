/*
 * The ledger as its threads see it: two stations (writer, reader), the list of what is done, and
 * the state of the connection to the file. Shared by sqlite.c and writer.c alone.
 */
#ifndef SKEP_LEDGERS_SQLITE_LEDGER_H
#define SKEP_LEDGERS_SQLITE_LEDGER_H

#include "ledgers/sqlite/internal.h"

#include <pthread.h>

struct batch_list {
        struct ledger_batch *head, **tail;
};

/* A thread, what waits for it, and the connection that it alone uses. */
struct station {
        pthread_mutex_t mutex; /* guards waiting and stop */
        pthread_cond_t wake;
        struct batch_list waiting;
        bool stop;
        bool started; /* the engine's thread's */
        pthread_t thread;
        struct db *db;
};

struct sqlite_ledger {
        struct ledger base;
        struct ledger_sqlite_options options;
        char *path;
        bool memory;
        struct station writer, reader;
        pthread_mutex_t done_mutex;
        struct batch_list done;
        int event_fd;

        /* The writer's own. */
        struct tx tx;
        int64_t retry_at_ns; /* when the file is tried again after an I/O error */
        int64_t retry_after_ns;
        bool checkpointed; /* since the last commit: nothing to gain from another try */
};

/* Gives batches back to the engine. Takes the list. */
void ledger_hand_back(struct sqlite_ledger *l, struct ledger_batch *list);

/* Opens the writer's connection and migrates. 0 or -errno, noted. */
int writer_connect(struct sqlite_ledger *l, char *note, size_t note_size);

/* Writes the batches as one transaction and hands them back. Takes the list. */
void writer_run(struct sqlite_ledger *l, struct ledger_batch *list);

bool writer_wants_checkpoint(const struct sqlite_ledger *l);
void writer_checkpoint(struct sqlite_ledger *l);

/* Answers one read. */
void read_batch(struct sqlite_ledger *l, struct db *db, struct ledger_batch *b);

#endif
