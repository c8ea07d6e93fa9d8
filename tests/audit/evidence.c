/*
 * Small things that all readers of evidence share.
 */
#include "tests/audit/evidence.h"

#include <assert.h>
#include <stdlib.h>

void evidence_deinit(struct evidence *e)
{
        HASH_CLEAR(hh, e->intents);
        audit_deinit(&e->audit);
        arena_deinit(&e->texts);
        free(e->rows);
        free(e->nodes);
}

struct str keep_text(struct evidence *e, struct str s)
{
        struct str kept = arena_str(&e->texts, s);
        assert(kept.p);
        return kept;
}

struct word *word_find(struct word *list, struct str text)
{
        while (list && !str_eq(list->text, text)) {
                list = list->next;
        }
        return list;
}

struct word *word_note(struct evidence *e, struct word **list, struct str text)
{
        struct word *w = word_find(*list, text);
        if (!w) {
                w = arena_zalloc(&e->texts, sizeof *w);
                assert(w);
                w->text = keep_text(e, text);
                w->next = *list;
                *list = w;
        }
        return w;
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash_more(uint64_t h, struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                h = (h ^ (uint8_t)s.p[i]) * UINT64_C(0x100000001b3);
        }
        return h;
}
#define HASH_START UINT64_C(0xcbf29ce484222325)

uint32_t hash32(struct str s)
{
        uint64_t h = hash_more(HASH_START, s);
        return (uint32_t)(h ^ h >> 32);
}

uint64_t hash_holder(struct str node, int64_t pid)
{
        return hash_more(hash_more(HASH_START, node), (struct str){(const char *)&pid, sizeof pid});
}
