/*
 * A copy of what the handlers say of themselves, and a table of their patterns, so that a node with
 * a thousand types pays one probe per job.
 */
#include "core/roster.h"

#include <stdlib.h>

#include "core/arena.h"
#include "core/patterns.h"

struct roster_inner {
        struct roster shown; /* first: the pointer handed out is to this */
        struct arena arena;
        struct patterns patterns;
};

static bool copy_handlers(struct roster_inner *r, const struct handler_desc *handlers, uint32_t n)
{
        struct str *patterns = arena_alloc(&r->arena, (n + 1) * sizeof *patterns);
        r->shown.handlers = arena_zalloc(&r->arena, (n + 1) * sizeof *handlers);
        if (!patterns || !r->shown.handlers) {
                return false;
        }
        for (uint32_t i = 0; i < n; i++) {
                struct handler_desc *h = &r->shown.handlers[i];
                *h = handlers[i];
                h->pattern = patterns[i] = arena_str(&r->arena, handlers[i].pattern);
                h->plugin = arena_str(&r->arena, handlers[i].plugin);
                if (!h->pattern.p || !h->plugin.p) {
                        return false;
                }
        }
        return patterns_build(&r->arena, patterns, n, &r->patterns) == 0;
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
        return r ? patterns_find(&CONTAINER_OF(r, struct roster_inner, shown)->patterns, type) : -1;
}
