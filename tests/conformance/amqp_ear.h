/*
 * Somebody who waits for replies at a RabbitMQ, on a connection of its own: at a queue, or at
 * RabbitMQ's direct reply-to. One thread, blocking calls; what goes wrong is printed and exits.
 */
#ifndef SKEP_TESTS_CONFORMANCE_AMQP_EAR_H
#define SKEP_TESTS_CONFORMANCE_AMQP_EAR_H

#include "tests/conformance/transport_fixture.h"

struct amqp_ear;

/* At this queue, which is made; NULL: at the direct reply-to. */
struct amqp_ear *amqp_ear_new(const char *url, const char *queue);
struct amqp_ear *amqp_ear_free(struct amqp_ear *e); /* NULL-safe, returns NULL; the queue goes */
struct str amqp_ear_address(const struct amqp_ear *e);
bool amqp_ear_next(struct amqp_ear *e, int timeout_ms, struct fixture_reply *ret);

#endif
