/*
 * The proxy for NATS. It also keeps account of what JetStream delivered to clients that are still
 * there: the server itself counts those that live and those that are gone together.
 */
#ifndef SKEP_TESTS_CONFORMANCE_NATS_PROXY_H
#define SKEP_TESTS_CONFORMANCE_NATS_PROXY_H

#include "tests/conformance/proxy.h"

struct proxy *nats_proxy_new(int broker_port); /* as proxy_new() */

/* Present subscriptions: no message of a consumer reaches them; those that are made anew are
 * served. What else the server says passes. */
void nats_proxy_deafen(struct proxy *p);

/* From now on what clients publish to this subject is held. Empty: what was held goes on. */
void nats_proxy_hold(struct proxy *p, struct str subject);

/* How many messages of a consumer present clients were brought and have answered neither with an
 * acknowledgement nor by handing them back. */
uint32_t nats_proxy_unanswered(struct proxy *p, struct str stream, struct str consumer);

/* The consumer was deleted: what it brought counts no more. */
void nats_proxy_forget(struct proxy *p, struct str stream, struct str consumer);

#endif
