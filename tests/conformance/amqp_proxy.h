/*
 * A proxy between a client and an AMQP broker that can do what networks and brokers do: cut,
 * refuse, swallow, fall silent. It passes whole frames (AMQP 0.9.1 section 4.2.3), so that what it
 * leaves out leaves a well-formed stream. One thread of its own; each function has taken effect
 * when it returns.
 */
#ifndef SKEP_TESTS_CONFORMANCE_AMQP_PROXY_H
#define SKEP_TESTS_CONFORMANCE_AMQP_PROXY_H

#include "core/base.h"

struct amqp_proxy;

/* To 127.0.0.1:broker_port. NULL: printed. */
struct amqp_proxy *amqp_proxy_new(int broker_port);
struct amqp_proxy *amqp_proxy_free(struct amqp_proxy *p); /* NULL-safe, returns NULL */
int amqp_proxy_port(const struct amqp_proxy *p);

void amqp_proxy_cut(struct amqp_proxy *p);             /* all links end now */
void amqp_proxy_refuse(struct amqp_proxy *p, bool on); /* new links end as they begin */
void amqp_proxy_lose(struct amqp_proxy *p);   /* present links: nothing reaches the broker */
void amqp_proxy_deafen(struct amqp_proxy *p); /* present channels: nothing is delivered */

/* From now on a declare of this queue is held, and all that its link sends behind it, heartbeats
 * apart. Empty: what was held goes on. */
void amqp_proxy_hold_declare(struct amqp_proxy *p, struct str queue);

#endif
