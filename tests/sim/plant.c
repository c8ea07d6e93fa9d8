/*
 * Which bug is planted in this process: for our own parts by number, for core's hooks by name.
 */
#include "tests/sim/plant.h"

#include "core/plant.h"

enum sim_plant sim_planted = PLANT_NONE;

#ifdef SKEP_PLANT
const char *plant_active = "";
#endif

static const struct {
        const char *name, *core, *text;
} plants[] = {[PLANT_NONE] = {"none", "", ""},
#define X(name_, core_, text_) [PLANT_##name_] = {#name_, core_, text_},
              SIM_PLANTS(X)
#undef X
};

void plant_set(enum sim_plant p)
{
        sim_planted = p;
#ifdef SKEP_PLANT
        plant_active = plants[p].core;
#endif
}

const char *plant_name(enum sim_plant p)
{
        return plants[p].name;
}

const char *plant_core(enum sim_plant p)
{
        return plants[p].core;
}

const char *plant_text(enum sim_plant p)
{
        return plants[p].text;
}
