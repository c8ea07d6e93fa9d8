/*
 * What tests may do to the PostgreSQL ledger. No program includes this.
 */
#ifndef SKEP_LEDGERS_POSTGRES_HOOKS_H
#define SKEP_LEDGERS_POSTGRES_HOOKS_H

#include "ledgers/postgres/postgres.h"

enum postgres_fault {
        POSTGRES_FAULT_NONE,
        POSTGRES_FAULT_REFUSE,  /* the batch is not sent: REFUSED */
        POSTGRES_FAULT_LOST,    /* the batch is not sent: UNKNOWN */
        POSTGRES_FAULT_WRITTEN, /* it is committed, and comes back UNKNOWN */
};

struct postgres_hooks {
        enum postgres_fault (*fault)(void *ctx); /* asked before each numbered write; NULL: none */
        void *ctx;
        int lock_timeout_ms; /* 0: the usual */
};

/* Like postgres_open(). */
int postgres_open_hooked(const char *url, const struct postgres_options *o,
                         const struct postgres_hooks *hooks, struct ledger **ret, char *note,
                         size_t note_size);

/* Are all four connections ready? */
bool postgres_ready(const struct ledger *l);

/* The text of a prepared statement, by its name; NULL: none. And what each session is set to. */
const char *postgres_statement(const char *name);
extern const char postgres_session[];

#endif
