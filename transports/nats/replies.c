/*
 * A reply as a message: a plain publish to its address, with headers. The address is a stranger's
 * word: what is no subject to publish to, and what the server itself listens at ($JS, $SYS: their
 * requests would be ours then), can never be delivered and goes nowhere. Nor may a header's text
 * hold what ends a header.
 */
#include "transports/nats/internal.h"

#include "core/ledger.h"

#include <ctype.h>

#define ADDRESS_MAX 255

static bool may_publish_to(struct str s)
{
        bool fresh = true; /* a token begins */
        if (s.n == 0 || s.n > ADDRESS_MAX || s.p[0] == '$') {
                return false;
        }
        for (uint32_t i = 0; i < s.n; i++) {
                unsigned char c = (unsigned char)s.p[i];
                if (c <= ' ' || c == 0x7f || c == '*' || c == '>' || (c == '.' && fresh)) {
                        return false;
                }
                fresh = c == '.';
        }
        return !fresh;
}

static natsStatus put_header(natsMsg *msg, struct arena *a, const char *name, struct str value)
{
        struct str copy = value.n ? arena_str(a, value) : (struct str){0};
        if (!copy.p) {
                return value.n ? NATS_NO_MEMORY : NATS_OK;
        }
        for (uint32_t i = 0; i < copy.n; i++) {
                char *c = (char *)&copy.p[i];
                *c = iscntrl((unsigned char)*c) ? ' ' : *c;
        }
        return natsMsgHeader_Set(msg, name, copy.p);
}

static natsStatus put_headers(natsMsg *msg, struct arena *a, const struct job_reply *r)
{
        char id[JOB_ID_TEXT];
        id_text(&r->job, id);
        struct str reason =
            r->reason != REASON_NONE ? str_of(reason_name(r->reason)) : (struct str){0};
        natsStatus e = put_header(msg, a, "job-id", str_of(id));
        e = e ? e : put_header(msg, a, "job-state", str_of(state_name(r->state)));
        e = e ? e : put_header(msg, a, "job-reason", reason);
        e = e ? e : put_header(msg, a, "job-error", r->error_text);
        e = e ? e : put_header(msg, a, "correlation-id", r->correlation_id);
        return e ? e : put_header(msg, a, "content-type", r->content_type);
}

bool reply_publish(struct receiver *r, struct arena *scratch, const struct job_reply *reply)
{
        natsMsg *msg = NULL;
        struct str to = arena_str(scratch, reply->to);
        if (!to.p || !may_publish_to(to)) {
                return to.p != NULL;
        }
        natsStatus e = natsMsg_Create(&msg, to.p, NULL, reply->body.p, (int)reply->body.n);
        e = e ? e : put_headers(msg, scratch, reply);
        e = e ? e : natsConnection_PublishMsg(r->link->nc, msg);
        natsMsg_Destroy(msg);
        return e == NATS_OK || e == NATS_INVALID_SUBJECT || e == NATS_MAX_PAYLOAD;
}
