/*
 * What a row keeps of a message besides its fields, and the fingerprint of the whole.
 *
 * Kept are, each name once and in lower case: the properties without a column, then the headers as
 * they came, but for those with a column. There is room for HEADERS_MAX bytes. What does not fit,
 * what the format cannot hold (NUL) and what nobody but skep may write is left out and named, so
 * that a handler that misses something can find out why.
 */
#include "core/envelope_inner.h"

#include "core/rfc3339.h"

#include <endian.h>
#include <stdio.h>

#define DROPPED_HEADER "skep-dropped-headers"
#define DROPPED_TEXT   512 /* bytes of names, the rest is counted */
#define DROPPED_ROOM   (sizeof DROPPED_HEADER + DROPPED_TEXT + 32)
#define NAME_MAX_BYTES 255
#define NUMBER_TEXT    24

struct keeping {
        char *p;
        uint32_t n, limit, kept;
        uint32_t dropped, unnamed; /* how many; of them not in the text any more */
        uint32_t text_n;
        char text[DROPPED_TEXT];
};

bool header_of_broker(struct str name)
{
        static const char *const first[] = {"x-first-death-", "x-last-death-"};
        if (name.n < 7 || (name.p[0] | 0x20) != 'x' || name.p[1] != '-') {
                return false;
        }
        for (size_t i = 0; i < ARRAY_LEN(first); i++) {
                uint32_t n = (uint32_t)strlen(first[i]);
                if (name.n > n && name_equal((struct str){name.p, n}, first[i])) {
                        return true;
                }
        }
        return name_equal(name, "x-death") || name_equal(name, "x-delivery-count") ||
               name_equal(name, "x-acquired-count");
}

/* --- keeping ---------------------------------------------------------------------------------- */

static void drop(struct keeping *k, struct str name)
{
        uint32_t comma = k->dropped++ ? 2 : 0;
        if (k->unnamed || name.n == 0 || k->text_n + comma + name.n > sizeof k->text) {
                k->unnamed++;
                return;
        }
        memcpy(k->text + k->text_n, ", ", comma);
        k->text_n += comma;
        for (uint32_t i = 0; i < name.n; i++) {
                char c = name.p[i];
                k->text[k->text_n++] = c >= 0x20 && c < 0x7f && c != ',' ? c : '?';
        }
}

static bool there(const struct keeping *k, struct str name)
{
        for (uint32_t i = 0; i < k->n;) {
                if (name_equal(name, k->p + i)) {
                        return true;
                }
                i += (uint32_t)strlen(k->p + i) + 1;
                i += (uint32_t)strlen(k->p + i) + 1;
        }
        return false;
}

static void put(struct keeping *k, struct str name, struct str value)
{
        char *p = k->p + k->n;
        for (uint32_t i = 0; i < name.n; i++) {
                char c = name.p[i];
                *p++ = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        *p++ = 0;
        memcpy(p, value.n ? value.p : "", value.n);
        p[value.n] = 0;
        k->n += name.n + value.n + 2;
        k->kept++;
}

static void keep(struct keeping *k, struct str name, struct str value)
{
        bool fits = k->kept < ENVELOPE_HEADERS_MAX && name.n >= 1 && name.n <= NAME_MAX_BYTES &&
                    value.n <= k->limit && k->n + name.n + value.n + 2 <= k->limit;
        if (!fits || text_has_nul(name) || text_has_nul(value)) {
                drop(k, name);
        } else if (!there(k, name)) {
                put(k, name, value);
        }
}

/* --- properties ------------------------------------------------------------------------------- */

struct property {
        const char *name;
        struct str value;
};

#define PROPERTIES 7

/* An RFC 3339 time; what is none (some producers write milliseconds) stays the number it is. */
static struct str timestamp_text(int64_t s, char ret_text[static RFC3339_TEXT])
{
        if (s > 0 && s <= RFC3339_LAST_US / US_PER_S) {
                rfc3339_text(s * US_PER_S, ret_text);
        } else {
                snprintf(ret_text, RFC3339_TEXT, "%lld", (long long)s);
        }
        return s ? str_of(ret_text) : (struct str){0};
}

/* Absent and empty ones have n == 0. */
static void list_properties(const struct opening *o, char time_text[static RFC3339_TEXT],
                            struct property ret[static PROPERTIES])
{
        const struct envelope *in = o->in;
        struct str routing_key = o->type_from_address ? (struct str){0} : in->address;
        const struct property all[PROPERTIES] = {
            {"reply-to", in->reply_to},
            {"correlation-id", in->correlation_id},
            {"app-id", in->app_id},
            {"user-id", in->user_id},
            {"timestamp", timestamp_text(in->timestamp_s, time_text)},
            {"content-encoding", in->content_encoding},
            {"routing-key", routing_key},
        };
        memcpy(ret, all, sizeof all);
}

/* --- all of them ------------------------------------------------------------------------------ */

/* Names under which a producer could pass for skep, or for a user that the broker has checked. */
static bool reserved(struct str name)
{
        return (name.n >= 5 && name_equal((struct str){name.p, 5}, "skep-")) ||
               name_equal(name, "user-id");
}

static void keep_header(struct keeping *k, const struct opening *o, const struct envelope_header *h)
{
        enum known_header known = known_find(h->name);
        bool second = known != KNOWN_COUNT && o->known[known] != h;
        if (known < KNOWN_KEPT_FIRST || second || header_of_broker(h->name)) {
                return;
        }
        if (reserved(h->name)) {
                drop(k, h->name);
        } else {
                keep(k, h->name, h->value);
        }
}

static void keep_all(struct keeping *k, const struct opening *o, const struct property *properties,
                     uint32_t limit)
{
        k->limit = limit;
        k->n = k->kept = k->text_n = 0;
        k->dropped = k->unnamed = o->in->n_dropped;
        for (uint32_t i = 0; i < PROPERTIES; i++) {
                if (properties[i].value.n) {
                        keep(k, str_of(properties[i].name), properties[i].value);
                }
        }
        for (uint32_t i = 0; i < o->in->n_headers; i++) {
                keep_header(k, o, &o->in->headers[i]);
        }
}

static void put_dropped(struct keeping *k)
{
        char text[DROPPED_TEXT + 32];
        int n = snprintf(text, sizeof text, "%.*s", (int)k->text_n, k->text);
        if (k->unnamed) {
                n += snprintf(text + n, sizeof text - (size_t)n, "%s%u more", n ? ", and " : "",
                              k->unnamed);
        }
        put(k, STR(DROPPED_HEADER), (struct str){text, (uint32_t)n});
}

static uint32_t room_for(const struct opening *o, const struct property *properties)
{
        uint64_t room = DROPPED_ROOM;
        for (uint32_t i = 0; i < PROPERTIES; i++) {
                room += properties[i].value.n ? strlen(properties[i].name) : 0;
                room += properties[i].value.n + 2u;
        }
        for (uint32_t i = 0; i < o->in->n_headers; i++) {
                room += (uint64_t)o->in->headers[i].name.n + o->in->headers[i].value.n + 2;
        }
        return room < HEADERS_MAX ? (uint32_t)room : HEADERS_MAX;
}

void opening_keep_headers(struct opening *o)
{
        char time_text[RFC3339_TEXT];
        struct property properties[PROPERTIES];
        struct keeping k;
        list_properties(o, time_text, properties);
        uint32_t room = room_for(o, properties);
        k.p = arena_alloc(o->arena, room);
        if (!k.p) {
                o->out_of_memory = true;
                return;
        }
        keep_all(&k, o, properties, room);
        if (k.dropped) {
                keep_all(&k, o, properties, room - (uint32_t)DROPPED_ROOM);
                put_dropped(&k);
        }
        arena_shrink(o->arena, k.p, k.n);
        o->row->headers = k.n ? (struct str){k.p, k.n} : (struct str){0};
}

/* --- the fingerprint -------------------------------------------------------------------------- */

/* A multiplication and a fold for each 8 bytes: a letter of 256 B costs some tens of ns. It tells
 * different letters apart, not those that somebody made to look alike: who can write to the queue
 * can only confuse letters of the same connection with each other. */
static uint64_t mix(uint64_t h, uint64_t v)
{
        unsigned __int128 product = (unsigned __int128)(h ^ v) * UINT64_C(0xd6e8feb86659fd93);
        return (uint64_t)product ^ (uint64_t)(product >> 64) ^ UINT64_C(0xa5a5b1c93d7e4f27);
}

static uint64_t mix_text(uint64_t h, struct str s)
{
        uint64_t v;
        uint32_t i = 0;
        h = mix(h, (uint64_t)s.n + 1);
        for (; s.n - i >= 8; i += 8) {
                memcpy(&v, s.p + i, 8);
                h = mix(h, le64toh(v));
        }
        v = 0;
        for (uint32_t shift = 0; i < s.n; i++, shift += 8) {
                v |= (uint64_t)(uint8_t)s.p[i] << shift;
        }
        return mix(h, v);
}

uint64_t opening_fingerprint(const struct opening *o)
{
        const struct envelope *in = o->in;
        const struct str texts[] = {
            in->body,         in->address,          in->type,       in->message_id,
            in->content_type, in->content_encoding, in->reply_to,   in->correlation_id,
            in->app_id,       in->user_id,          in->expiration,
        };
        uint64_t h = mix(mix(0, in->body_size), (uint64_t)in->timestamp_s), headers = 0;
        h = mix(h, (uint64_t)(int64_t)in->priority);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                h = mix_text(h, texts[i]);
        }
        /* Added up, since a broker that writes its own header at a redelivery may sort the others.
         */
        for (uint32_t i = 0; i < in->n_headers; i++) {
                const struct envelope_header *e = &in->headers[i];
                if (!header_of_broker(e->name)) {
                        headers += mix_text(mix_text(1, e->name), e->value);
                }
        }
        h = mix(h, headers);
        return h ? h : 1;
}
