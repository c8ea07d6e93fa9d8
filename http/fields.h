/*
 * A job as producers write it in JSON, turned into the row that the ledger takes.
 *
 * Everything that can be wrong with the words is found here and told with field, value and what is
 * allowed; whether the job exists already is the ledger's to say. Texts of the row live in the
 * given arena.
 */
#ifndef SKEP_HTTP_FIELDS_H
#define SKEP_HTTP_FIELDS_H

#include "core/ledger.h"
#include "http/object.h"

#define FIELDS_REFUSED OBJECT_REFUSED

#define TAGS_MAX 32
#define TAG_MAX  64 /* bytes */

/* `text` is one JSON object, part of `body` (line and column are told within that). now_us: the
 * wall clock, for telling a start in the past from a later one. The row's id is not set.
 * FIELDS_REFUSED with the problem; -ENOMEM. */
int fields_parse(const struct settings *s, struct arena *a, struct str body, struct str text,
                 int64_t now_us, struct submit_row *ret_row, struct problem *ret_problem);

/* The same of an object that is walked already, which stays at its end. */
int fields_walk(const struct settings *s, struct arena *a, struct json_walk *walk, int64_t now_us,
                struct submit_row *ret_row, struct problem *ret_problem);

/* The job of a schedule, as the member `job` of `outer`: without what a tick decides by itself
 * (its key and times), and what would make its runs one. */
int fields_parse_tick(const struct taking *outer, struct str text, struct submit_row *ret_row);

#endif
