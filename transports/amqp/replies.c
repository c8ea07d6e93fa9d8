/*
 * A reply as a message: to the default exchange, with its address as routing key, so that a queue's
 * name and RabbitMQ's direct reply-to both work. Not mandatory: the broker confirms what nobody
 * takes as well, and an address that nobody listens at is no error of ours.
 *
 * The address and the correlation id are a stranger's words. What does not fit a short string is
 * left out of the properties; the header of the same name has it whole.
 */
#include "transports/amqp/internal.h"

#include "core/ledger.h"

#define SHORT_MAX    255
#define REPLY_BYTES  1024 /* on the wire beside its texts: what the window counts */
#define HEADERS_MOST 5

static amqp_bytes_t bytes_of_str(struct str s)
{
        return (amqp_bytes_t){s.n, (void *)s.p};
}

struct sheet {
        amqp_table_entry_t headers[HEADERS_MOST];
        int n;
        amqp_basic_properties_t p;
};

static void put_header(struct sheet *s, const char *name, struct str value)
{
        if (value.n) {
                s->headers[s->n++] = (amqp_table_entry_t){
                    bytes_of(name),
                    {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of_str(value)}};
        }
}

static void put_property(struct sheet *s, amqp_flags_t flag, amqp_bytes_t *property,
                         struct str value)
{
        if (value.n && value.n <= SHORT_MAX) {
                s->p._flags |= flag;
                *property = bytes_of_str(value);
        }
}

/* `id` must live as long as the sheet. */
static void fill_sheet(struct sheet *s, const struct job_reply *r, char id[static JOB_ID_TEXT])
{
        id_text(&r->job, id);
        *s = (struct sheet){.p = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG,
                                  .delivery_mode = AMQP_DELIVERY_PERSISTENT}};
        put_header(s, "job-id", str_of(id));
        put_header(s, "job-state", str_of(state_name(r->state)));
        if (r->reason != REASON_NONE) {
                put_header(s, "job-reason", str_of(reason_name(r->reason)));
        }
        put_header(s, "job-error", r->error_text);
        put_header(s, "correlation-id", r->correlation_id);
        put_property(s, AMQP_BASIC_CORRELATION_ID_FLAG, &s->p.correlation_id, r->correlation_id);
        put_property(s, AMQP_BASIC_CONTENT_TYPE_FLAG, &s->p.content_type, r->content_type);
        put_property(s, AMQP_BASIC_MESSAGE_ID_FLAG, &s->p.message_id, str_of(id));
        s->p.headers = (amqp_table_t){s->n, s->headers};
}

static bool publish_reply(struct publisher *p, struct flight *f, const struct job_reply *r,
                          uint32_t bytes)
{
        struct sheet sheet;
        char id[JOB_ID_TEXT];
        fill_sheet(&sheet, r, id);
        window_sent(&p->window, f, bytes);
        int status = amqp_basic_publish(p->wire.state, 1, amqp_empty_bytes, bytes_of_str(r->to), 0,
                                        0, &sheet.p, bytes_of_str(r->body));
        if (status != AMQP_STATUS_OK) {
                wire_fail(&p->wire, status, "publishing a reply");
        }
        return status == AMQP_STATUS_OK;
}

/* Publishes what the window takes. False: the connection is gone. */
bool replies_publish(struct publisher *p, struct flight *f)
{
        while (f->sent < f->replies->n) {
                const struct job_reply *r = &f->replies->items[f->sent];
                uint32_t bytes = REPLY_BYTES + r->body.n + r->error_text.n + r->correlation_id.n;
                if (!window_room(&p->window, bytes)) {
                        break;
                }
                f->sent++;
                if (r->to.n <= SHORT_MAX && !publish_reply(p, f, r, bytes)) {
                        return false;
                }
        }
        return true;
}
