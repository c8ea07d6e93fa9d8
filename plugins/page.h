/*
 * The shared page of a worker: a ring of slots that says of each job given to it whether it started
 * and how it ended. The host fills a slot and marks it GIVEN; the worker takes it (GIVEN → RUNNING)
 * or the host takes it back (GIVEN → RECALLED), whoever swaps first. The verdict stands here before
 * any message speaks of it, so that it survives the crash of either side.
 *
 * A worker can write anything into its page. The host therefore keeps its own record of what it
 * gave, reads from here only states, verdicts and short texts, and checks every number; nonsense
 * ends the worker. A position that was taken back is given again under a new epoch, which is part
 * of the state word, so that an old frame cannot start it.
 *
 * Discarded: verdicts by message only (lost with the worker), a ring for small payloads as
 * well (measured: 0.13 µs a job less than the socket, not worth its code; large ones have belt.h).
 */
#ifndef SKEP_PLUGINS_PAGE_H
#define SKEP_PLUGINS_PAGE_H

#include <stdatomic.h>

#include "core/base.h"
#include "plugins/host.h"

#define PAGE_MAGIC   0x70656b7370616765u
#define PAGE_VERSION 3u

#define SLOT_TEXT  160 /* reason, or result with its type */
#define CRASH_TEXT 2048

enum slot_state {
        SLOT_EMPTY,
        SLOT_GIVEN,
        SLOT_RUNNING,
        SLOT_ENDED,
        SLOT_RECALLED,
};

/* state word: 24 bits of epoch above 8 bits of enum slot_state */
#define SLOT_WORD(epoch, state) ((uint32_t)(epoch) << 8 | (uint32_t)(state))
#define SLOT_STATE(word)        ((word)&0xffu)
#define SLOT_EPOCH(word)        ((word) >> 8)
#define EPOCH_MASK              0xffffffu

struct slot {
        uint8_t id[16];
        uint64_t token;
        uint32_t claim;
        _Atomic uint32_t word;
        /* the worker's, valid once ENDED (started_* once RUNNING) */
        int64_t started_mono_ns, ended_mono_ns, started_wall_us;
        int64_t delay_ms;
        uint8_t verdict;
        _Atomic uint8_t asked; /* enum skep_why: the host's wish that the job stop */
        uint16_t
            parts; /* messages that were sent ahead: text, result, children. 0: all of it is here */
        uint16_t text_n, type_n, result_n; /* in `text`, one after the other */
        uint16_t pad2;
        _Atomic uint32_t words;     /* of progress, so far; the latest one is: */
        _Atomic double done, total; /* written before it is counted */
        char text[SLOT_TEXT];
};

_Static_assert(sizeof(struct slot) == 256, "a slot is 256 bytes");

struct page {
        uint64_t magic;
        uint32_t version, n_slots, slot_size, worker;
        _Atomic uint32_t
            cancels; /* how often a job was asked: the worker empties cancel_fd when it changed */
        uint32_t unused[3];
        _Atomic int64_t progress_ns; /* last sign of life from the handler */
        _Atomic uint32_t crash_n;    /* bytes in crash_text, written last */
        _Atomic int64_t
            lease_ns; /* no job starts at or after this instant (CLOCK_MONOTONIC); 0: no limit */
        char pad[4096 - 64 - CRASH_TEXT];
        char crash_text[CRASH_TEXT];
        struct slot slots[RING_SLOTS];
};

_Static_assert(offsetof(struct page, slots) == 4096, "slots begin on a page of memory");

static inline struct slot *page_slot(struct page *p, uint32_t position)
{
        return &p->slots[position % RING_SLOTS];
}

#endif
