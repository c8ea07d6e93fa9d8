/*
 * A reply as a message: to the default exchange, with its address as routing key, so that a queue's
 * name and RabbitMQ's direct reply-to both work. Not mandatory: the broker confirms what nobody
 * takes as well, and an address that nobody listens at is no error of ours.
 *
 * The address and the correlation id are a stranger's words. What does not fit a short string is
 * left out of the properties; the header of the same name has it whole.
 *
 * A direct reply-to that the broker did not make, or a node of it that is no more, ends the whole
 * connection (measured, RabbitMQ 3.10: 541 INTERNAL_ERROR). So of these one is under way at a time,
 * and what was under way when that happened is never published again.
 */
#include "transports/amqp/internal.h"

#include "core/ledger.h"

#define SHORT_MAX    255
#define REPLY_BYTES  1024 /* on the wire beside its texts: what the window counts */
#define HEADERS_MOST 5
#define CURSED_MOST  ARRAY_LEN(((struct publisher *)0)->direct.cursed)

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

/* --- direct reply-to -------------------------------------------------------------------------- */

static bool is_direct(struct str to)
{
        static const char prefix[] = "amq.rabbitmq.reply-to.";
        return to.n >= sizeof prefix - 1 && memcmp(to.p, prefix, sizeof prefix - 1) == 0;
}

static bool is_cursed(const struct publisher *p, struct str to)
{
        for (uint32_t i = 0; i < p->direct.n_cursed && i < CURSED_MOST; i++) {
                if (str_eq(to, str_of(p->direct.cursed[i]))) {
                        return true;
                }
        }
        return false;
}

void replies_lost(struct publisher *p)
{
        if (p->wire.code != AMQP_INTERNAL_ERROR || !window_waits(&p->window, p->direct.tag)) {
                return;
        }
        memcpy(p->direct.cursed[p->direct.n_cursed++ % CURSED_MOST], p->direct.address,
               sizeof p->direct.address);
        desk_note(&p->rabbit->desk, LEVEL_WARNING,
                  "the broker closed the connection over a reply to %s: such an address is "
                  "published to no more",
                  p->direct.address);
}

static void note_direct(struct publisher *p, struct str to)
{
        p->direct.tag = p->window.next;
        memcpy(p->direct.address, to.p, to.n);
        p->direct.address[to.n] = 0;
}

/* --- publishing ------------------------------------------------------------------------------- */

static bool may_go(struct publisher *p, const struct job_reply *r, uint32_t bytes)
{
        if (is_direct(r->to) && window_waits(&p->window, p->direct.tag)) {
                p->direct.waits = true;
                return false;
        }
        return window_room(&p->window, bytes);
}

bool replies_go_on(struct publisher *p)
{
        bool go_on = p->direct.waits && !window_waits(&p->window, p->direct.tag);
        p->direct.waits = p->direct.waits && !go_on;
        return go_on;
}

/* Publishes what the window takes. False: the connection is gone. */
bool replies_publish(struct publisher *p, struct flight *f)
{
        while (f->sent < f->replies->n) {
                const struct job_reply *r = &f->replies->items[f->sent];
                uint32_t bytes = REPLY_BYTES + r->body.n + r->error_text.n + r->correlation_id.n;
                bool possible = r->to.n <= SHORT_MAX && !is_cursed(p, r->to);
                if (possible && !may_go(p, r, bytes)) {
                        break;
                }
                f->sent++;
                if (possible && is_direct(r->to)) {
                        note_direct(p, r->to);
                }
                if (possible && !publish_reply(p, f, r, bytes)) {
                        return false;
                }
        }
        return true;
}
