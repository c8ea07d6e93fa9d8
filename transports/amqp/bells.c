/*
 * A doorbell as a message: two headers, no body, persistent, straight to its queue through the
 * default exchange. Mandatory: a queue that is gone sends it back.
 */
#include "transports/amqp/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define BELL_BYTES 256 /* on the wire, with room to spare: what the window counts */

static bool is_mark(const struct doorbell *b)
{
        static const struct job_id none;
        return job_id_eq(&b->id, &none);
}

static bool publish_bell(struct publisher *p, struct flight *f, const struct doorbell *b,
                         const char *queue)
{
        char id[JOB_ID_TEXT] = BELL_MARK, seq[24];
        if (!is_mark(b)) {
                id_text(&b->id, id);
        }
        snprintf(seq, sizeof seq, "%" PRId64, b->seq);
        amqp_table_entry_t headers[] = {
            {bytes_of(BELL_HEADER), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(id)}},
            {bytes_of(BELL_SEQ_HEADER),
             {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(seq)}},
        };
        amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG |
                                                        AMQP_BASIC_HEADERS_FLAG,
                                              .delivery_mode = AMQP_DELIVERY_PERSISTENT,
                                              .headers = {ARRAY_LEN(headers), headers}};
        window_sent(&p->window, f, BELL_BYTES);
        int status = amqp_basic_publish(p->wire.state, 1, amqp_empty_bytes, bytes_of(queue), 1, 0,
                                        &properties, amqp_empty_bytes);
        if (status != AMQP_STATUS_OK) {
                wire_fail(&p->wire, status, "publishing");
        }
        return status == AMQP_STATUS_OK;
}

/* Publishes what the window takes. False: the connection is gone. */
bool bells_publish(struct publisher *p, struct flight *f, const char *queue)
{
        while (f->sent < f->bells->n && window_room(&p->window, BELL_BYTES)) {
                if (!publish_bell(p, f, &f->bells->items[f->sent++], queue)) {
                        return false;
                }
        }
        return true;
}
