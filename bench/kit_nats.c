/*
 * nats.c for the publisher and the bare loops; see kit_nats.h. A connection that was lost is not
 * made again: what is measured would be something else.
 */
#include "bench/kit_nats.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/kit.h"

#define PATIENCE_MS  20000
#define DUPLICATES_S 120 /* for how long a stream knows message ids */
#define ACK_WAIT_S   60
#define PENDING_MAX  50000

#define NS_PER_S 1000000000LL

void stream_must(natsStatus s, const char *what)
{
        if (s != NATS_OK) {
                const char *more = nats_GetLastError(NULL);
                die("%s: %s", what, more && *more ? more : natsStatus_GetText(s));
        }
}

natsConnection *stream_connect(const char *url, bool at_once)
{
        natsOptions *o;
        natsConnection *c;
        stream_must(natsOptions_Create(&o), "options");
        stream_must(natsOptions_SetURL(o, url), url);
        stream_must(natsOptions_SetAllowReconnect(o, false), "options");
        stream_must(natsOptions_SetSendAsap(o, at_once), "options");
        stream_must(natsConnection_Connect(&c, o), url);
        natsOptions_Destroy(o);
        return c;
}

void stream_leave(natsConnection *c)
{
        stream_must(natsConnection_FlushTimeout(c, PATIENCE_MS), "flush");
        natsConnection_Destroy(c);
        nats_Close();
}

natsSubscription *stream_listen(natsConnection *c, const char *tail, natsInbox **ret_inbox)
{
        natsSubscription *s;
        char subject[256];
        stream_must(natsInbox_Create(ret_inbox), "inbox");
        snprintf(subject, sizeof subject, "%s%s", *ret_inbox, tail);
        stream_must(natsConnection_SubscribeSync(&s, c, subject), "subscribe");
        stream_must(natsSubscription_SetPendingLimits(s, -1, -1), "pending limits");
        return s;
}

/* --- the JetStream API ------------------------------------------------------------------------ */

static jsCtx *context(natsConnection *c)
{
        jsCtx *js;
        jsOptions o;
        jsOptions_Init(&o);
        o.Wait = PATIENCE_MS;
        stream_must(natsConnection_JetStream(&js, c, &o), "JetStream");
        return js;
}

void stream_declare(natsConnection *c, const char *stream, const char *subjects)
{
        jsCtx *js = context(c);
        jsStreamConfig config;
        jsStreamConfig_Init(&config);
        config.Name = stream;
        config.Subjects = &subjects;
        config.SubjectsLen = 1;
        config.Retention = js_WorkQueuePolicy;
        config.Storage = js_FileStorage;
        config.Discard = js_DiscardNew;
        config.Duplicates = DUPLICATES_S * NS_PER_S;
        stream_must(js_AddStream(NULL, js, &config, NULL, NULL), stream);
        jsCtx_Destroy(js);
}

long stream_depth(natsConnection *c, const char *stream)
{
        jsCtx *js = context(c);
        jsStreamInfo *info;
        stream_must(js_GetStreamInfo(&info, js, stream, NULL, NULL), stream);
        long n = (long)info->State.Msgs;
        jsStreamInfo_Destroy(info);
        jsCtx_Destroy(js);
        return n;
}

void stream_purge(natsConnection *c, const char *stream)
{
        jsCtx *js = context(c);
        stream_must(js_PurgeStream(js, stream, NULL, NULL), stream);
        jsCtx_Destroy(js);
}

void stream_declare_consumer(natsConnection *c, const char *stream, const char *subject)
{
        jsCtx *js = context(c);
        jsConsumerConfig config;
        jsConsumerConfig_Init(&config);
        config.Durable = STREAM_CONSUMER;
        config.FilterSubject = subject;
        config.AckPolicy = js_AckExplicit;
        config.AckWait = ACK_WAIT_S * NS_PER_S;
        config.MaxDeliver = -1;
        config.MaxAckPending = PENDING_MAX;
        stream_must(js_AddConsumer(NULL, js, stream, &config, NULL, NULL), stream);
        jsCtx_Destroy(js);
}

long stream_unsettled(natsConnection *c, const char *stream)
{
        jsCtx *js = context(c);
        jsConsumerInfo *info;
        stream_must(js_GetConsumerInfo(&info, js, stream, STREAM_CONSUMER, NULL, NULL), stream);
        long n = (long)info->NumAckPending;
        jsConsumerInfo_Destroy(info);
        jsCtx_Destroy(js);
        return n;
}
