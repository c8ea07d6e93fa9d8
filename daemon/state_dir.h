/*
 * The state directory: a lock (one skepd at a time), and the incarnation that runs in it, written
 * down before it takes its first job, so that its successor can rescue at once what it held.
 */
#ifndef SKEP_DAEMON_STATE_DIR_H
#define SKEP_DAEMON_STATE_DIR_H

#include "core/base.h"

struct state_dir {
        char path[256];
        int lock_fd;
};

/* Makes the directory (and one missing parent chain) with mode 0700, locks it. > 0:
 * STATE_DIR_IN_USE. note says what, where and what to do. */
#define STATE_DIR_IN_USE 1
int state_dir_open(struct str path, struct state_dir *ret, char *note, size_t note_size);
void state_dir_close(struct state_dir *d);

/* The former incarnation, 0: none. */
uint64_t state_dir_former(const struct state_dir *d);

/* Durable when it returns (file and directory synced). holder 0: forget it (a clean end). */
int state_dir_remember(const struct state_dir *d, uint64_t holder);

#endif
