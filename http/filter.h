/*
 * Which jobs: the filter of bodies and of queries, as core/ledger_operate.h has it.
 */
#ifndef SKEP_HTTP_FILTER_H
#define SKEP_HTTP_FILTER_H

#include "core/ledger.h"
#include "http/object.h"
#include "http/route.h"

/* The object of a body's member `filter`; texts live in outer->arena. `states`: those that may be
 * named; none named: all of `fallback`. *ret_any: did it say anything? OBJECT_REFUSED with the
 * problem; -ENOMEM. */
int filter_take(const struct taking *outer, struct str object, uint8_t states, uint8_t fallback,
                struct job_filter *ret, bool *ret_any);

/* That of a query; texts are copied. false: memory is out. */
bool filter_of_query(const struct query *q, struct arena *a, struct job_filter *ret);

#endif
