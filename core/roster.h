/*
 * The roster: which handlers a node offers right now, and which of them a type goes to. Immutable
 * once built; a change of plug-ins makes a new roster with the next generation. Shared by the
 * engine and the ledger's threads by reference: `refs` is counted on the engine's thread only,
 * readers on other threads are covered by the batch that carries the reference.
 */
#ifndef SKEP_CORE_ROSTER_H
#define SKEP_CORE_ROSTER_H

#include "core/base.h"

#define BUILD_ID_MAX 41 /* hex text of a GNU build id, or of our own hash of the file */

struct handler_desc {
        struct str pattern;     /* exact type or pattern */
        struct str plugin;      /* file name, "email.so" */
        uint32_t plugin_index;  /* in the generation's list of plug-ins */
        uint32_t handler_index; /* within the plug-in */
        uint32_t timeout_ms;    /* per attempt; 0: none of its own */
        uint32_t concurrency;   /* per node; 0: no limit of its own */
        uint32_t flags;         /* enum skep_handler_flags */
        uint32_t heartbeat_ms;  /* a sign of life at least so often; 0: none is asked for */
        uint32_t batch_max;     /* jobs that it takes at once; 0 and 1: one */
        uint32_t batch_wait_ms; /* how long a batch may wait to be full */
        char build[BUILD_ID_MAX];
};

struct roster {
        uint32_t refs;
        uint32_t generation;
        uint32_t n;
        struct handler_desc *handlers; /* texts belong to the roster */
};

/* Copies the descriptors and their texts; refs is 1. NULL when memory is out. Ties must have been
 * refused before: where two match equally, the first wins. */
struct roster *roster_new(uint32_t generation, const struct handler_desc *handlers, uint32_t n);
struct roster *roster_ref(struct roster *r);
struct roster *roster_unref(struct roster *r); /* NULL-safe, returns NULL */

/* Index of the handler for a type, or -1. Any thread. */
int roster_find(const struct roster *r, struct str type);

#endif
