/*
 * The transport seam over the simulated broker: one node's connection to it. Time is whatever the
 * caller hands to dispatch() and sim_transport_tick(): virtual in the simulator, real in the
 * conformance binary.
 *
 * It heals itself as a real one must: it connects anew, makes its queues anew, and opens a
 * connection that has gone deaf again. What goes wrong is drawn by the broker.
 */
#ifndef SKEP_SIM_TRANSPORT_H
#define SKEP_SIM_TRANSPORT_H

#include "core/transport.h"
#include "tests/sim/sim_broker.h"

/* wall_offset_us: its wall clock - now / 1000. */
struct transport *sim_transport_new(struct sim_broker *broker, int64_t now_ns,
                                    int64_t wall_offset_us);
void sim_transport_tick(struct transport *base, int64_t now_ns);

/* Its process died: what was under way was sent or not. Then close() it. */
void sim_transport_abandon(struct transport *base);

/* The broker's side. */
struct sim_transport *sim_transport_next(struct sim_transport *t);
struct sim_transport *sim_transport_of(const struct transport *t);
struct transport *sim_transport_base(struct sim_transport *t);
void sim_transport_cut(struct sim_transport *t, bool marked);
void sim_transport_mute(struct sim_transport *t);   /* what it sends is lost, until it is cut */
void sim_transport_deafen(struct sim_transport *t); /* nothing is delivered, until it is cut */

#endif
