/*
 * rabbitmq-c for the publisher and the bare loop: a connection with one channel, and calls that
 * must succeed.
 */
#ifndef SKEP_BENCH_KIT_AMQP_H
#define SKEP_BENCH_KIT_AMQP_H

#include <amqp.h>
#include <amqp_framing.h>

#define CHANNEL 1

amqp_connection_state_t broker_connect(const char *url);
void broker_leave(amqp_connection_state_t c);
void broker_must(amqp_connection_state_t c, const char *what); /* the last call succeeded */

#endif
