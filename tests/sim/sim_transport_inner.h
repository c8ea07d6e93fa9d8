/*
 * The simulated transport's own books, shared by sim_transport.c (the seam, time, life), sim_wire.c
 * (what is under way, the connection) and sim_flow.c (messages, acknowledgements, doorbells).
 */
#ifndef SKEP_SIM_TRANSPORT_INNER_H
#define SKEP_SIM_TRANSPORT_INNER_H

#include "tests/sim/sim_transport.h"

#define SIM_PROBE_NS (2 * NS_PER_S)

enum flight_kind {
        FLY_ARRIVALS,
        FLY_ACK,
        FLY_ACKED,
        FLY_PUBLISH,
        FLY_TOLD,
        FLY_REPLY,
        FLY_REPLIED,
        FLY_NEWS,
};

struct flight {
        struct flight *next; /* by time */
        enum flight_kind kind;
        int64_t at_ns, since_ns;
        uint64_t connection;
        struct arrivals *arrivals;
        struct sim_receipt *receipt;
        struct doorbells *bells;
        struct replies *replies;
        struct transport_news *news;
};

struct slot {
        struct slot *next;
        uint32_t index;
        struct sim_queue *queue;
        struct str default_type;
        struct queue_config settings; /* its texts are not read */
        uint32_t room, unacked;
        int64_t floor;   /* the highest that the ledger answered */
        int64_t last_ns; /* order holds: the time of the last batch under way */
};

struct sim_transport {
        struct transport base;
        struct sim_transport *next;
        struct sim_broker *broker;
        int64_t now_ns, wall_offset_us;
        struct slot *slots;
        struct flight *flights;
        struct transport_answers answers;
        bool up, muted, deaf, reopen;
        uint64_t connection;
        int64_t ack_ns, connect_ns, heal_ns, probe_ns;
};

/* sim_wire.c */
struct flight *wire_fly(struct sim_transport *t, enum flight_kind kind, int64_t at_ns);
int64_t wire_soon(struct sim_transport *t);
struct transport_news *wire_news(struct sim_transport *t, enum transport_news_kind kind,
                                 const char *text);
void wire_arrivals(struct sim_transport *t, struct arrivals *a);
void wire_bells(struct sim_transport *t, struct doorbells *d);
void wire_replies(struct sim_transport *t, struct replies *r);
void wire_confirmed(struct sim_transport *t, struct receipt *r);
struct slot *wire_slot(const struct sim_transport *t, uint32_t index);
struct slot *wire_slot_by_queue(const struct sim_transport *t, const struct sim_queue *q);
struct receipt *wire_receipt_free(struct receipt *r);
void wire_drop_told(struct sim_transport *t);
void wire_reopen(struct sim_transport *t, bool marked);
void wire_connect(struct sim_transport *t);
void wire_heal(struct sim_transport *t);

/* sim_flow.c */
uint32_t flow_wanted(const struct slot *s);
bool flow_may_deliver(const struct sim_transport *t);
void flow_pull(struct sim_transport *t);
void flow_probe(struct sim_transport *t);
void flow_apply_ack(struct sim_transport *t, struct sim_receipt *r);
void flow_settle(struct transport *base, struct receipt *r);
void flow_publish(struct sim_transport *t, struct doorbells *d);
void flow_land_publish(struct sim_transport *t, struct flight *f);
void flow_ring(struct transport *base, struct doorbells *bells);
void flow_send(struct sim_transport *t, struct replies *r);
void flow_land_reply(struct sim_transport *t, struct flight *f);
void flow_reply(struct transport *base, struct replies *replies);
void flow_floor(struct transport *base, struct str history, int64_t floor);
void flow_land_ack(struct sim_transport *t, struct sim_receipt *r);
void flow_land_acked(struct sim_transport *t, struct sim_receipt *r);

#endif
