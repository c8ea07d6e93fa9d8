/*
 * Exact types stand in an open-addressed table, so that a thousand of them cost one probe for each
 * job; what has wildcards is tried one by one, by rank: those are tens where types are thousands.
 */
#include "core/patterns.h"
#include "core/pattern.h"

#include <errno.h>

static uint32_t hash_type(struct str s)
{
        uint32_t h = 2166136261u;
        for (uint32_t i = 0; i < s.n; i++) {
                h = (h ^ (uint8_t)s.p[i]) * 16777619u;
        }
        return h ^ (h >> 15);
}

bool pattern_wild(struct str pattern)
{
        return pattern.n &&
               (memchr(pattern.p, '*', pattern.n) || memchr(pattern.p, '>', pattern.n));
}

static void insert_exact(struct patterns *p, int32_t index)
{
        struct str type = p->texts[index];
        uint32_t at = hash_type(type) & p->mask;
        while (p->exact[at] >= 0) {
                if (str_eq(p->texts[p->exact[at]], type)) {
                        return;
                }
                at = (at + 1) & p->mask;
        }
        p->exact[at] = index;
}

static void insert_wild(struct patterns *p, int32_t index)
{
        uint32_t rank = pattern_rank(p->texts[index]);
        uint32_t at = p->n_wild++;
        while (at > 0 && pattern_rank(p->texts[p->wild[at - 1]]) < rank) {
                p->wild[at] = p->wild[at - 1];
                at--;
        }
        p->wild[at] = index;
}

int patterns_build(struct arena *a, const struct str *texts, uint32_t n, struct patterns *ret)
{
        struct patterns p = {.texts = texts, .mask = 15};
        while (p.mask < n * 2) {
                p.mask = p.mask * 2 + 1;
        }
        p.exact = arena_alloc(a, (p.mask + 1) * sizeof *p.exact);
        p.wild = arena_alloc(a, (n + 1) * sizeof *p.wild);
        if (!p.exact || !p.wild) {
                return -ENOMEM;
        }
        memset(p.exact, 0xff, (p.mask + 1) * sizeof *p.exact);
        for (uint32_t i = 0; i < n; i++) {
                if (pattern_wild(texts[i])) {
                        insert_wild(&p, (int32_t)i);
                } else {
                        insert_exact(&p, (int32_t)i);
                }
        }
        *ret = p;
        return 0;
}

int patterns_find(const struct patterns *p, struct str type)
{
        if (type.n == 0 || !p->exact) {
                return -1;
        }
        for (uint32_t at = hash_type(type) & p->mask; p->exact[at] >= 0; at = (at + 1) & p->mask) {
                if (str_eq(p->texts[p->exact[at]], type)) {
                        return p->exact[at];
                }
        }
        for (uint32_t i = 0; i < p->n_wild; i++) {
                if (pattern_match(p->texts[p->wild[i]], type)) {
                        return p->wild[i];
                }
        }
        return -1;
}
