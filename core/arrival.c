/*
 * The life of the batches that transports fill.
 */
#include "core/arrival.h"
#include "core/ledger.h"

#include <stdlib.h>

struct arrivals *arrivals_new(uint32_t capacity)
{
        struct arrivals *a = calloc(1, sizeof *a);
        if (!a) {
                return NULL;
        }
        a->items = calloc(capacity ? capacity : 1, sizeof *a->items);
        a->capacity = capacity;
        if (!a->items) {
                free(a);
                return NULL;
        }
        return a;
}

struct arrivals *arrivals_free(struct arrivals *a)
{
        if (a) {
                arena_deinit(&a->arena);
                free(a->items);
                free(a);
        }
        return NULL;
}

void arrivals_drop_items(struct arrivals *a)
{
        free(STEAL(a->items));
        a->n = a->capacity = 0;
}

struct arrivals *arrivals_free_list(struct arrivals *list)
{
        while (list) {
                struct arrivals *next = list->next;
                arrivals_free(list);
                list = next;
        }
        return NULL;
}

struct doorbells *doorbells_new(uint32_t n)
{
        struct doorbells *d = calloc(1, sizeof *d);
        if (!d) {
                return NULL;
        }
        d->items = arena_zalloc(&d->arena, (n ? n : 1) * sizeof *d->items);
        if (!d->items) {
                free(d);
                return NULL;
        }
        return d;
}

struct doorbells *doorbells_free(struct doorbells *d)
{
        if (d) {
                arena_deinit(&d->arena);
                free(d);
        }
        return NULL;
}

struct replies *replies_new(uint32_t n)
{
        struct replies *r = calloc(1, sizeof *r);
        if (!r) {
                return NULL;
        }
        r->items = arena_zalloc(&r->arena, (n ? n : 1) * sizeof *r->items);
        if (!r->items) {
                free(r);
                return NULL;
        }
        return r;
}

struct replies *replies_free(struct replies *r)
{
        if (r) {
                arena_deinit(&r->arena);
                free(r);
        }
        return NULL;
}
