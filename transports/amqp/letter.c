/*
 * From a message's properties to the envelope that core opens. Everything is copied: the library
 * takes its buffers back before the body is there.
 *
 * Headers that brokers make on their way (deaths, delivery counts) are no business of a job: they
 * are left out, but for the delivery count, which tells a redelivery where the flag does not.
 */
#include "transports/amqp/internal.h"

#include <strings.h>

static const char *const made_by_brokers[] = {"x-death", "x-first-death-", "x-last-death-",
                                              "x-delivery-count", "x-acquired-count"};

static bool has_prefix(amqp_bytes_t key, const char *prefix)
{
        size_t n = strlen(prefix);
        return key.len >= n && strncasecmp(key.bytes, prefix, n) == 0;
}

static bool is_brokers(amqp_bytes_t key)
{
        for (size_t i = 0; i < ARRAY_LEN(made_by_brokers); i++) {
                if (has_prefix(key, made_by_brokers[i])) {
                        return true;
                }
        }
        return false;
}

static bool counts_delivery(const amqp_table_entry_t *e)
{
        if (e->key.len != 16 || !has_prefix(e->key, "x-delivery-count")) {
                return false;
        }
        switch (e->value.kind) {
        case AMQP_FIELD_KIND_I64:
        case AMQP_FIELD_KIND_U64: return e->value.value.u64 != 0;
        case AMQP_FIELD_KIND_I32:
        case AMQP_FIELD_KIND_U32: return e->value.value.u32 != 0;
        case AMQP_FIELD_KIND_I16:
        case AMQP_FIELD_KIND_U16: return e->value.value.u16 != 0;
        case AMQP_FIELD_KIND_I8:
        case AMQP_FIELD_KIND_U8: return e->value.value.u8 != 0;
        default: return false;
        }
}

static bool is_ours(amqp_bytes_t key)
{
        return has_prefix(key, "job-") || has_prefix(key, "skep-") || has_prefix(key, "trace");
}

static bool add_header(struct letter *l, const amqp_table_entry_t *e, struct arena *a)
{
        struct envelope_header *h = &l->headers[l->envelope.n_headers];
        h->name = arena_str(a, (struct str){e->key.bytes, (uint32_t)e->key.len});
        h->value = field_text(&e->value, a);
        if (!h->name.p || !h->value.p) {
                return false;
        }
        l->envelope.n_headers++;
        return true;
}

/* Those that core knows first when there are too many. */
static bool read_headers(struct letter *l, const amqp_table_t *t, struct arena *a)
{
        bool many = t->num_entries > ENVELOPE_HEADERS_MAX;
        for (int pass = many ? 0 : 1; pass < 2; pass++) {
                for (int i = 0; i < t->num_entries; i++) {
                        const amqp_table_entry_t *e = &t->entries[i];
                        l->envelope.redelivered |= counts_delivery(e);
                        bool turn = !many || is_ours(e->key) == (pass == 0);
                        if (!turn || is_brokers(e->key)) {
                                continue;
                        }
                        if (l->envelope.n_headers == ENVELOPE_HEADERS_MAX) {
                                l->envelope.n_dropped++;
                                continue;
                        }
                        if (!add_header(l, e, a)) {
                                return false;
                        }
                }
        }
        return true;
}

static bool read_texts(struct letter *l, const amqp_basic_properties_t *p, struct arena *a)
{
        struct envelope *e = &l->envelope;
        const struct {
                amqp_flags_t flag;
                const amqp_bytes_t *from;
                struct str *to;
        } texts[] = {
            {AMQP_BASIC_TYPE_FLAG, &p->type, &e->type},
            {AMQP_BASIC_MESSAGE_ID_FLAG, &p->message_id, &e->message_id},
            {AMQP_BASIC_CONTENT_TYPE_FLAG, &p->content_type, &e->content_type},
            {AMQP_BASIC_CONTENT_ENCODING_FLAG, &p->content_encoding, &e->content_encoding},
            {AMQP_BASIC_REPLY_TO_FLAG, &p->reply_to, &e->reply_to},
            {AMQP_BASIC_CORRELATION_ID_FLAG, &p->correlation_id, &e->correlation_id},
            {AMQP_BASIC_APP_ID_FLAG, &p->app_id, &e->app_id},
            {AMQP_BASIC_USER_ID_FLAG, &p->user_id, &e->user_id},
            {AMQP_BASIC_EXPIRATION_FLAG, &p->expiration, &e->expiration},
        };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (!(p->_flags & texts[i].flag)) {
                        continue;
                }
                struct str s = {texts[i].from->bytes, (uint32_t)texts[i].from->len};
                *texts[i].to = arena_str(a, s);
                if (!texts[i].to->p) {
                        return false;
                }
        }
        return true;
}

bool letter_read(struct letter *l, const amqp_basic_properties_t *p, struct arena *a)
{
        struct envelope *e = &l->envelope;
        e->headers = l->headers;
        e->priority = p->_flags & AMQP_BASIC_PRIORITY_FLAG ? p->priority : -1;
        bool timed = p->_flags & AMQP_BASIC_TIMESTAMP_FLAG && p->timestamp <= INT64_MAX;
        e->timestamp_s = timed ? (int64_t)p->timestamp : 0;
        return read_texts(l, p, a) &&
               (!(p->_flags & AMQP_BASIC_HEADERS_FLAG) || read_headers(l, &p->headers, a));
}
