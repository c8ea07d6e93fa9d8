/*
 * From a delivered message to the envelope that core opens. Texts are borrowed from the message:
 * core copies what it keeps.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ACK_PREFIX "$JS.ACK."
#define MSG_ID     "Nats-Msg-Id"
#define TOKENS_MAX 16
#define TOKENS_OLD 9  /* $JS.ACK.stream.consumer.delivered.sequence.consumer's.time.pending */
#define TOKENS_NEW 11 /* with domain and account before the stream */

bool letter_is_one(natsMsg *msg)
{
        const char *reply = natsMsg_GetReply(msg);
        return reply && strncmp(reply, ACK_PREFIX, sizeof ACK_PREFIX - 1) == 0;
}

static bool read_number(const char *p, uint64_t *ret)
{
        uint64_t n = 0;
        const char *from = p;
        for (; *p >= '0' && *p <= '9'; p++) {
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) {
                        return false;
                }
        }
        *ret = n;
        return p > from && (*p == '.' || *p == '\0');
}

/* Delivered, sequence and time, from the subject that the acknowledgement goes to. */
static bool read_reply(struct letter *l, const char *reply)
{
        const char *tokens[TOKENS_MAX];
        uint32_t n = 0;
        for (const char *p = reply; p && n < TOKENS_MAX; n++) {
                tokens[n] = p;
                p = strchr(p, '.');
                p = p ? p + 1 : NULL;
        }
        if (n < TOKENS_OLD) {
                return false;
        }
        uint32_t at = n < TOKENS_NEW ? 4 : 6;
        return read_number(tokens[at], &l->delivered) &&
               read_number(tokens[at + 1], &l->sequence) &&
               read_number(tokens[at + 3], &l->stamp_ns);
}

uint32_t history_hash(const char *stream, const char *created)
{
        uint32_t h = 0x811c9dc5;
        for (const char *p = stream; *p; p++) {
                h = (h ^ (unsigned char)*p) * 0x01000193;
        }
        h = (h ^ 0xff) * 0x01000193;
        for (const char *p = created; *p; p++) {
                h = (h ^ (unsigned char)*p) * 0x01000193;
        }
        return h;
}

static void put_be(uint8_t *p, uint64_t v, int bytes)
{
        for (int i = bytes; i-- > 0; v >>= 8) {
                p[i] = (uint8_t)v;
        }
}

static struct job_key origin_key(const struct letter *l, uint32_t history)
{
        struct job_key key = {.set = true};
        put_be(key.b, l->stamp_ns, 8);
        put_be(key.b + 8, l->sequence, 4);
        put_be(key.b + 12, history, 4);
        return key;
}

bool letter_take(struct letter *l, natsMsg *msg, size_t prefix, uint32_t history)
{
        const char *subject = natsMsg_GetSubject(msg);
        struct envelope *e = &l->envelope;
        if (!read_reply(l, natsMsg_GetReply(msg)) || strlen(subject) < prefix) {
                return false;
        }
        *e = (struct envelope){.priority = -1, .headers = l->headers};
        e->address = str_of(subject + prefix);
        e->body = (struct str){natsMsg_GetData(msg), (uint32_t)natsMsg_GetDataLength(msg)};
        e->body_size = e->body.n;
        e->redelivered = l->delivered > 1;
        e->origin = origin_key(l, history);
        headers_read(l, msg);
        return true;
}

/* --- for the stream of the refused ------------------------------------------------------------ */

static bool has_header(const struct letter *l, const char *name)
{
        for (uint32_t i = 0; i < l->envelope.n_headers; i++) {
                struct str s = l->headers[i].name;
                if (s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0) {
                        return true;
                }
        }
        return false;
}

static void set_header(struct letter *l, natsMsg *to, const char *name, struct str value)
{
        struct str z = arena_str(&l->scratch, value);
        if (z.p) {
                (void)natsMsgHeader_Set(to, name, z.p);
        }
}

static void copy_headers(struct letter *l, natsMsg *to)
{
        char id[64];
        const struct envelope *e = &l->envelope;
        for (uint32_t i = 0; i < e->n_headers; i++) {
                struct str name = arena_str(&l->scratch, l->headers[i].name);
                struct str value = arena_str(&l->scratch, l->headers[i].value);
                if (name.p && value.p) {
                        (void)natsMsgHeader_Add(to, name.p, value.p);
                }
        }
        if (!has_header(l, "job-type")) {
                set_header(l, to, "job-type", e->address);
        }
        if (e->message_id.p && !has_header(l, "job-id")) {
                set_header(l, to, "job-id", e->message_id);
        }
        int n = 0;
        for (size_t i = 0; i < sizeof e->origin.b; i++) {
                n += snprintf(id + n, sizeof id - (size_t)n, "%02x", e->origin.b[i]);
        }
        (void)natsMsgHeader_Set(to, MSG_ID, id); /* delivered twice, it is kept once */
        arena_reset(&l->scratch);
}

natsMsg *letter_refuse(struct letter *l, natsMsg *msg, const char *subject)
{
        natsMsg *to = NULL;
        if (natsMsg_Create(&to, subject, NULL, natsMsg_GetData(msg), natsMsg_GetDataLength(msg)) !=
            NATS_OK) {
                return NULL;
        }
        copy_headers(l, to);
        return to;
}
