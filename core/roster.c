/*
 * A linear search by rank: rosters are tens of handlers; exact types are found first through a
 * small open-addressed table, so that a node with a thousand types pays one probe per job.
 */
#include "core/roster.h"

#include <stdlib.h>

#include "core/arena.h"
#include "core/pattern.h"

struct roster_inner {
        struct roster shown; /* first: the pointer handed out is to this */
        struct arena arena;
        uint32_t mask;
        int32_t *exact; /* hash table: handler index or -1 */
        uint32_t n_wild;
        int32_t *wild; /* patterns, most specific first */
};

static uint32_t hash_type(struct str s)
{
        uint32_t h = 2166136261u;
        for (uint32_t i = 0; i < s.n; i++) {
                h = (h ^ (uint8_t)s.p[i]) * 16777619u;
        }
        return h ^ (h >> 15);
}

static bool is_wild(struct str pattern)
{
        return memchr(pattern.p, '*', pattern.n) || memchr(pattern.p, '>', pattern.n);
}

static void insert_exact(struct roster_inner *r, int32_t index)
{
        struct str type = r->shown.handlers[index].pattern;
        uint32_t at = hash_type(type) & r->mask;
        while (r->exact[at] >= 0) {
                if (str_eq(r->shown.handlers[r->exact[at]].pattern, type)) {
                        return;
                }
                at = (at + 1) & r->mask;
        }
        r->exact[at] = index;
}

static void insert_wild(struct roster_inner *r, int32_t index)
{
        uint32_t rank = pattern_rank(r->shown.handlers[index].pattern);
        uint32_t at = r->n_wild++;
        while (at > 0 && pattern_rank(r->shown.handlers[r->wild[at - 1]].pattern) < rank) {
                r->wild[at] = r->wild[at - 1];
                at--;
        }
        r->wild[at] = index;
}

static bool copy_handlers(struct roster_inner *r, const struct handler_desc *handlers, uint32_t n)
{
        r->shown.handlers = arena_zalloc(&r->arena, (n + 1) * sizeof *handlers);
        r->wild = arena_zalloc(&r->arena, (n + 1) * sizeof *r->wild);
        r->mask = 15;
        while (r->mask < n * 2) {
                r->mask = r->mask * 2 + 1;
        }
        r->exact = arena_alloc(&r->arena, (r->mask + 1) * sizeof *r->exact);
        if (!r->shown.handlers || !r->wild || !r->exact) {
                return false;
        }
        memset(r->exact, 0xff, (r->mask + 1) * sizeof *r->exact);
        for (uint32_t i = 0; i < n; i++) {
                struct handler_desc *h = &r->shown.handlers[i];
                *h = handlers[i];
                h->pattern = arena_str(&r->arena, handlers[i].pattern);
                h->plugin = arena_str(&r->arena, handlers[i].plugin);
                if (!h->pattern.p || !h->plugin.p) {
                        return false;
                }
        }
        return true;
}

struct roster *roster_new(uint32_t generation, const struct handler_desc *handlers, uint32_t n)
{
        struct roster_inner *r = calloc(1, sizeof *r);
        if (!r) {
                return NULL;
        }
        r->shown.refs = 1;
        r->shown.generation = generation;
        if (!copy_handlers(r, handlers, n)) {
                return roster_unref(&r->shown);
        }
        r->shown.n = n;
        for (uint32_t i = 0; i < n; i++) {
                if (is_wild(r->shown.handlers[i].pattern)) {
                        insert_wild(r, (int32_t)i);
                } else {
                        insert_exact(r, (int32_t)i);
                }
        }
        return &r->shown;
}

struct roster *roster_ref(struct roster *r)
{
        if (r) {
                r->refs++;
        }
        return r;
}

struct roster *roster_unref(struct roster *r)
{
        if (r && --r->refs == 0) {
                struct roster_inner *inner = CONTAINER_OF(r, struct roster_inner, shown);
                arena_deinit(&inner->arena);
                free(inner);
        }
        return NULL;
}

int roster_find(const struct roster *r, struct str type)
{
        const struct roster_inner *inner = CONTAINER_OF(r, struct roster_inner, shown);
        if (!r || type.n == 0) {
                return -1;
        }
        for (uint32_t at = hash_type(type) & inner->mask; inner->exact[at] >= 0;
             at = (at + 1) & inner->mask) {
                if (str_eq(r->handlers[inner->exact[at]].pattern, type)) {
                        return inner->exact[at];
                }
        }
        for (uint32_t i = 0; i < inner->n_wild; i++) {
                if (pattern_match(r->handlers[inner->wild[i]].pattern, type)) {
                        return inner->wild[i];
                }
        }
        return -1;
}
