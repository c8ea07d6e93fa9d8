/*
 * Many seeds over several processes. A world that kills its process is a failed seed, not the end.
 */
#ifndef SKEP_SIM_FARM_H
#define SKEP_SIM_FARM_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/plant.h"

struct farm_seed {
        uint64_t seed;
        char text[320]; /* the violation */
};

struct farm_result {
        bool names; /* in: print every failing seed */
        uint64_t passed, failed, runs, events;
        uint64_t hash;          /* of all traces, whatever the order they ended in; never 0 */
        struct farm_seed first; /* the failing seed with the lowest number */
};

/* Runs seeds from .. from + count - 1 in `jobs` processes; `until_failed`: stops at the first
 * failure that is seen. */
void farm_run(uint64_t from, uint64_t count, uint32_t jobs, bool until_failed,
              struct farm_result *ret);

/* Can this bug be planted in this build? */
bool plant_there(enum sim_plant p);

#endif
