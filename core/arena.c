/*
 * Chunks grow by doubling from 4 KiB to 64 KiB: a handful of mallocs for a thousand small jobs, and
 * what one arena leaves is what the next one takes. A large piece gets a chunk of its own size
 * behind the one that is being filled, which so loses nothing. Freeing is by the whole.
 *
 * Discarded: doubling up to 1 MiB. It leaves a third of the memory unused, and as much again in
 * holes between chunks of different sizes.
 */
#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_FIRST (4u << 10)
#define CHUNK_LAST  (64u << 10)
#define LARGE       (CHUNK_LAST / 2)
#define ALIGNMENT   16

struct arena_chunk {
        struct arena_chunk *below;
        size_t used, size;
        _Alignas(ALIGNMENT) char bytes[];
};

/* Stands in the arena itself. */
struct arena_guest {
        struct arena_guest *next;
        void *what;
        void (*end)(void *);
};

static void end_guests(struct arena *a)
{
        while (a->guests) {
                struct arena_guest g = *a->guests;
                a->guests = g.next;
                g.end(g.what);
        }
}

bool arena_adopt(struct arena *a, void *what, void (*end)(void *))
{
        struct arena_guest *g = arena_alloc(a, sizeof *g);
        if (g) {
                *g = (struct arena_guest){a->guests, what, end};
                a->guests = g;
        }
        return g != NULL;
}

void arena_deinit(struct arena *a)
{
        end_guests(a);
        struct arena_chunk *c = a->head;
        while (c) {
                struct arena_chunk *below = c->below;
                free(c);
                c = below;
        }
        *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
        end_guests(a);
        struct arena_chunk *keep = STEAL(a->head);
        if (!keep) {
                return;
        }
        struct arena rest = {keep->below, 0, NULL};
        arena_deinit(&rest);
        keep->below = NULL;
        keep->used = 0;
        a->head = keep;
        a->bytes = sizeof *keep + keep->size;
}

static struct arena_chunk *push_chunk(struct arena *a, size_t n)
{
        size_t size = a->head ? a->head->size * 2 : CHUNK_FIRST;
        size = size > CHUNK_LAST ? CHUNK_LAST : size;
        size = n > LARGE || size < n ? n : size;
        struct arena_chunk *c = malloc(sizeof *c + size);
        if (!c) {
                return NULL;
        }
        struct arena_chunk **at = n > LARGE && a->head ? &a->head->below : &a->head;
        c->below = *at;
        c->used = 0;
        c->size = size;
        *at = c;
        a->bytes += sizeof *c + size;
        return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
        if (n > SIZE_MAX / 4) {
                return NULL;
        }
        n = (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
        struct arena_chunk *c = a->head;
        if (!c || c->size - c->used < n) {
                c = push_chunk(a, n);
        }
        if (!c) {
                return NULL;
        }
        void *p = c->bytes + c->used;
        c->used += n;
        return p;
}

void arena_shrink(struct arena *a, const void *p, size_t n)
{
        struct arena_chunk *c = a->head;
        uintptr_t at = (uintptr_t)p - (uintptr_t)(c ? c->bytes : NULL);
        if (c && at < c->used) {
                c->used = at + ((n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
        }
}

void *arena_zalloc(struct arena *a, size_t n)
{
        void *p = arena_alloc(a, n);
        return p ? memset(p, 0, n) : NULL;
}

struct str arena_str(struct arena *a, struct str s)
{
        char *p = arena_alloc(a, (size_t)s.n + 1);
        if (p) {
                if (s.n) {
                        memcpy(p, s.p, s.n);
                }
                p[s.n] = 0;
        }
        return (struct str){p, s.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list args, again;
        va_start(args, fmt);
        va_copy(again, args);
        int n = vsnprintf(NULL, 0, fmt, args);
        va_end(args);
        char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
        if (p) {
                vsnprintf(p, (size_t)n + 1, fmt, again);
        }
        va_end(again);
        return p ? (struct str){p, (uint32_t)n} : (struct str){0};
}
