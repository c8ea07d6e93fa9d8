/*
 * The PostgreSQL ledger: core/ledger.h over libpq, for nodes on many hosts.
 *
 * Four connections, one per lane, all polled on the engine's thread; no thread of its own. It comes
 * up by itself when the server does, and after every loss of a connection.
 */
#ifndef SKEP_LEDGERS_POSTGRES_H
#define SKEP_LEDGERS_POSTGRES_H

#include "core/ledger.h"

struct postgres_options {
        bool unsafe; /* accept plaintext to other hosts, and a server that may lose commits */
        const char *application; /* shown in pg_stat_activity; NULL: "skep" */
};

/* The URL cannot be parsed, or asks for plaintext to another host. */
#define POSTGRES_REFUSED 1

/* Never waits for the server: batches that are posted before the first connection stands wait for
 * it as long as the attempt lasts; once it has failed they come back REFUSED, with a note that
 * names host, port, database and the reason. No note and no log ever holds the password. 0,
 * POSTGRES_REFUSED (noted), -ENOMEM. url: postgresql://... or postgres://... */
int postgres_open(const char *url, const struct postgres_options *o, struct ledger **ret,
                  char *note, size_t note_size);

#endif
