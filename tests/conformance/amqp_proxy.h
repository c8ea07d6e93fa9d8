/*
 * The proxy for AMQP 0.9.1.
 */
#ifndef SKEP_TESTS_CONFORMANCE_AMQP_PROXY_H
#define SKEP_TESTS_CONFORMANCE_AMQP_PROXY_H

#include "tests/conformance/proxy.h"

struct proxy *amqp_proxy_new(int broker_port); /* as proxy_new() */

void amqp_proxy_deafen(struct proxy *p); /* present channels: nothing is delivered */

/* From now on a declare of this queue is held, and all that its link sends behind it, heartbeats
 * apart. Empty: what was held goes on. */
void amqp_proxy_hold_declare(struct proxy *p, struct str queue);

#endif
