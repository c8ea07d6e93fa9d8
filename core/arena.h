/*
 * A bump allocator: many small pieces with one common end. A claim's payloads, a submission's rows,
 * a finish batch's texts each live in one arena, so that nothing is allocated or freed per job.
 * Not thread-safe; an arena may move between threads as a whole.
 */
#ifndef SKEP_CORE_ARENA_H
#define SKEP_CORE_ARENA_H

#include "core/base.h"

struct arena_chunk;
struct arena_guest;

struct arena {
        struct arena_chunk *head; /* the chunk being filled */
        size_t bytes;             /* taken from malloc in all */
        struct arena_guest *guests;
};

/* An all-zero arena is empty and ready. */
void arena_deinit(struct arena *a);

/* Forgets every piece, keeps one chunk for the next use. */
void arena_reset(struct arena *a);

/* n bytes, aligned for any type, not zeroed; NULL when memory is out. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);

/* Of the piece that was taken last only n bytes are needed. MAY be without effect (large ones). */
void arena_shrink(struct arena *a, const void *p, size_t n);

/* What a library made, with pieces in it that shall live as long as the arena's own: end(what) is
 * called when those are forgotten. False: no memory, it stays the caller's. */
bool arena_adopt(struct arena *a, void *what, void (*end)(void *));

/* A copy of s, with a NUL behind it. p is NULL when memory is out (n stays, so callers can tell).
 */
struct str arena_str(struct arena *a, struct str s);

/* printf into the arena; {NULL, 0} when memory is out. */
struct str arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
