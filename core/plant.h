/*
 * Planted bugs: places where the simulator proves that it would notice. In every ordinary build
 * PLANT(x) is the constant false and the compiler removes the branch; only the simulator's own copy
 * of core is compiled with SKEP_PLANT.
 */
#ifndef SKEP_CORE_PLANT_H
#define SKEP_CORE_PLANT_H

#ifdef SKEP_PLANT
#include <string.h>
extern const char *plant_active; /* name of the bug that is in force, or "" */
#define PLANT(name) (strcmp(plant_active, #name) == 0)
#else
#define PLANT(name) false
#endif

#endif
