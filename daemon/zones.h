/*
 * Time zones of this machine, read once and kept for as long as skepd lives.
 */
#ifndef SKEP_DAEMON_ZONES_H
#define SKEP_DAEMON_ZONES_H

#include "core/zone.h"

struct zone_book; /* one that was asked for */

/* NULL: the machine has none of the name (looked for again the next time), or memory is out. */
const struct zone *zones_find(struct zone_book **book, struct str name);

/* To be told later, by zones_next(). No memory: it is not, and whoever asked asks again. */
void zones_ask(struct zone_book **book, struct str name);

/* The next one that was asked for; false: there is none. Its name stays. */
bool zones_next(struct zone_book **book, struct str *ret_name, const struct zone **ret_zone);

struct zone_book *zones_free(struct zone_book *book); /* NULL-safe, returns NULL */

#endif
