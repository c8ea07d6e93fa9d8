/*
 * The belt of a worker: memory that skepd writes and the worker sees, kept for its life and used
 * again and again, on which large payloads reach it. It comes with the first of them.
 *
 * Payloads lie on it in the order of their jobs, each in one piece with a NUL behind it, and leave
 * in the same order, when the end of their job was told; a full belt makes the next one wait. skepd
 * writes by system call and never reads from it: whatever a handler does there is its own affair,
 * and there is no page of it that skepd could fault on. The worker has it mapped read-only, and no
 * descriptor of it.
 *
 * Discarded: a memfd for each payload (what is too large for the belt still travels so): fresh
 * pages, a mapping and its faults cost five times the copy. Discarded: mapping it here as well,
 * which would count its pages as skepd's, for each worker.
 */
#ifndef SKEP_PLUGINS_BELT_H
#define SKEP_PLUGINS_BELT_H

#include <sys/uio.h>

#include "core/base.h"

#define BELT_BYTES       (1u << 20)
#define BELT_PAYLOAD_MAX (256u << 10) /* of larger ones too few would be on their way at a time */
#define BELT_PARTS       128          /* pieces that are written with one call */

struct belt {
        int fd;             /* -1: there is none */
        bool none;          /* and there will be none: it cannot be made here */
        uint64_t put, done; /* positions, which only rise: the next payload's, the first one's that
                               is still needed. Its owner moves `done`, and `put` back to where it
                               was before payloads that nobody will read */
        struct iovec parts[BELT_PARTS];
        uint32_t n_parts;
        uint64_t parts_at; /* where the first of them goes */
        int failed;        /* -errno of a flush; nothing more is written */
};

/* *ret_fd: what the worker maps, read-only; the caller closes it. < 0: -errno. */
int belt_make(struct belt *b, int *ret_fd);
void belt_drop(struct belt *b);

/* A place for so many bytes and a NUL, aligned for any type; false: there is no room now. An empty
 * belt has room for BELT_PAYLOAD_MAX. The bytes must stay until belt_flush(). */
bool belt_put(struct belt *b, struct str bytes, uint32_t *ret_at);
bool belt_ready(const struct belt *b); /* one more may be put before the next flush */

/* What was put is there when this returns 0. Once it failed it fails ever after, and of what was
 * put since the flush before any part may be there. */
int belt_flush(struct belt *b);

#endif
