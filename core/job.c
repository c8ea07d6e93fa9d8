/*
 * Claims: made empty by the engine, filled by a ledger, freed when their last job has ended
 * durably.
 */
#include "core/job.h"

#include "core/arrival.h"

#include <stdlib.h>

struct claim *claim_new(void)
{
        return calloc(1, sizeof(struct claim));
}

struct claim *claim_free(struct claim *c)
{
        if (c) {
                arrivals_free_list(c->letters);
                arena_deinit(&c->arena);
                free(c);
        }
        return NULL;
}
