/*
 * Operations over many jobs, for whoever begins one (dead.c) and whoever looks at them.
 */
#ifndef SKEP_HTTP_OPERATIONS_H
#define SKEP_HTTP_OPERATIONS_H

#include "http/call.h"

/* The answer to an operation that was begun: 202, 200 when it is over already, 429 when it could
 * not begin. */
void operation_answer(struct call *call, struct api_request *r);

#endif
