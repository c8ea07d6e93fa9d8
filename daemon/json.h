/*
 * The few words in which the daemon's views make JSON.
 */
#ifndef SKEP_DAEMON_JSON_H
#define SKEP_DAEMON_JSON_H

#include <jansson.h>

#include "core/arena.h"

json_t *json_of(struct str s); /* bytes that are no UTF-8 are said to be so */
json_t *json_time(int64_t wall_us);
void json_set_time(json_t *o, const char *name, int64_t wall_us);
struct str json_print(json_t *root /* takes root */, struct arena *a); /* p NULL: no memory */

#endif
