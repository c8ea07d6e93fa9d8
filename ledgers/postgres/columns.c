/*
 * Many rows as one array for each column, for the statements that insert them without looking at
 * each. What all rows have in common is sent once, beside an empty array: that is what makes a
 * batch of equal jobs cheap, and it is decided here, column by column, never by the caller.
 */
#include "ledgers/postgres/internal.h"

static struct str text_of(const struct submit_row *r, enum text_column which)
{
        switch (which) {
        case TEXT_QUEUE: return r->queue;
        case TEXT_TYPE: return r->type;
        case TEXT_HEADERS: return r->headers;
        case TEXT_CONTENT_TYPE: return r->content_type;
        case TEXT_TAGS: return r->tags;
        default: return r->policy;
        }
}

static int64_t number_of(const struct submit_row *r, enum number_column which)
{
        switch (which) {
        case NUMBER_PRIORITY: return r->priority;
        case NUMBER_REASON: return r->reason;
        case NUMBER_LANE: return lane_base(r);
        case NUMBER_MAX_ATTEMPTS: return r->max_attempts;
        case NUMBER_TIMEOUT: return r->timeout_ms;
        case NUMBER_DEADLINE: return r->deadline_us;
        case NUMBER_AT: return r->at_us;
        case NUMBER_AFTER: return r->after_us;
        case NUMBER_RETRY_UNTIL: return r->retry_until_us;
        default: return r->heartbeat_ms;
        }
}

/* Offered ones: lane_fresh() of the schema. */
int64_t lane_base(const struct submit_row *r)
{
        if (r->state != STATE_PENDING) {
                return -1;
        }
        int64_t fresh = r->band == BAND_OFFERED ? INT64_C(1) << 56 : 0;
        return r->band == BAND_PARKED ? lane_parked(r->type, 0)
                                      : lane_value(r->band, r->priority, 0) | fresh;
}

/* Empty is null, unless the column must have a text or says with an empty one that it has none. */
void put_text_column(struct params *p, const struct columns *k, enum text_column which,
                     struct str common)
{
        bool same = true, nullable = which != TEXT_QUEUE && which != TEXT_TYPE && !common.n;
        for (uint32_t i = 0; i < k->n && same; i++) {
                same = str_eq(text_of(k->rows[i], which), common);
        }
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < k->n && !same; i++) {
                struct str v = text_of(k->rows[i], which);
                if (nullable) {
                        put_blob(p, v);
                } else {
                        put_bytes(p, v);
                }
        }
        array_end(p);
}

void put_number_column(struct params *p, const struct columns *k, enum number_column which,
                       int64_t common, uint32_t oid)
{
        bool same = true;
        for (uint32_t i = 0; i < k->n && same; i++) {
                same = number_of(k->rows[i], which) == common;
        }
        array_begin(p, oid);
        for (uint32_t i = 0; i < k->n && !same; i++) {
                int64_t v = number_of(k->rows[i], which);
                if (oid == OID_INT2) {
                        put_i16(p, (int16_t)v);
                } else if (oid == OID_INT4) {
                        put_i32(p, (int32_t)v);
                } else {
                        put_i64(p, v);
                }
        }
        array_end(p);
}

void put_id_columns(struct params *p, const struct columns *k)
{
        bool keys = false;
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n; i++) {
                put_id(p, &k->rows[i]->id);
                keys |= k->rows[i]->key.set;
        }
        array_end(p);
        array_begin(p, OID_UUID);
        for (uint32_t i = 0; i < k->n && keys; i++) {
                put_uuid(p, k->rows[i]->key.set, k->rows[i]->key.b);
        }
        array_end(p);
}

void put_key_text_column(struct params *p, const struct columns *k)
{
        bool any = false;
        for (uint32_t i = 0; i < k->n && !any; i++) {
                const struct submit_row *r = k->rows[i];
                any = r->key.set ? !key_tells_text(r) : r->key_text.n > 0;
        }
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < k->n && any; i++) {
                put_key_text(p, k->rows[i]);
        }
        array_end(p);
}

/* A null is no payload: never left out. */
void put_payload_column(struct params *p, const struct columns *k)
{
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; i < k->n; i++) {
                put_bytes(p, k->rows[i]->payload);
        }
        array_end(p);
}
