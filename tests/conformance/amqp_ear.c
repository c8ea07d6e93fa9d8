/*
 * The address of a direct reply-to is known to the broker alone: a message to a queue of our own
 * that asks for a reply brings it back.
 */
#include "tests/conformance/amqp_ear.h"

#include "core/arena.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>

#define CHANNEL 1
#define DIRECT  "amq.rabbitmq.reply-to"

struct amqp_ear {
        amqp_connection_state_t c;
        char address[256];
        bool direct;
        struct arena arena; /* of the reply that was told last */
};

static void fail(const char *doing, const char *why)
{
        fprintf(stderr, "amqp: listening: %s: %s\n", doing, why);
        exit(1);
}

static void must(amqp_rpc_reply_t r, const char *doing)
{
        if (r.reply_type != AMQP_RESPONSE_NORMAL) {
                fail(doing, "refused");
        }
}

static void connect_ear(struct amqp_ear *e, const char *url)
{
        char text[512];
        struct amqp_connection_info info;
        snprintf(text, sizeof text, "%s", url);
        e->c = amqp_new_connection();
        amqp_socket_t *socket = amqp_tcp_socket_new(e->c);
        if (amqp_parse_url(text, &info) != AMQP_STATUS_OK || !socket ||
            amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) {
                fail(url, "no answer");
        }
        must(amqp_login(e->c, info.vhost, 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
                        info.user, info.password),
             "login");
        amqp_channel_open(e->c, CHANNEL);
        must(amqp_get_rpc_reply(e->c), "a channel");
}

static void learn_address(struct amqp_ear *e)
{
        amqp_message_t m;
        amqp_basic_properties_t p = {._flags = AMQP_BASIC_REPLY_TO_FLAG,
                                     .reply_to = amqp_cstring_bytes(DIRECT)};
        amqp_queue_declare_ok_t *ok =
            amqp_queue_declare(e->c, CHANNEL, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
        must(amqp_get_rpc_reply(e->c), "a queue");
        amqp_bytes_t queue = amqp_bytes_malloc_dup(ok->queue);
        amqp_basic_publish(e->c, CHANNEL, amqp_empty_bytes, queue, 0, 0, &p, amqp_empty_bytes);
        must(amqp_basic_get(e->c, CHANNEL, queue, 1), "a message of our own");
        must(amqp_read_message(e->c, CHANNEL, &m, 0), "a message of our own");
        snprintf(e->address, sizeof e->address, "%.*s", (int)m.properties.reply_to.len,
                 (const char *)m.properties.reply_to.bytes);
        amqp_destroy_message(&m);
        amqp_bytes_free(queue);
}

struct amqp_ear *amqp_ear_new(const char *url, const char *queue)
{
        struct amqp_ear *e = calloc(1, sizeof *e);
        if (!e) {
                fail("an ear", "out of memory");
        }
        e->direct = !queue;
        connect_ear(e, url);
        if (queue) {
                snprintf(e->address, sizeof e->address, "%s", queue);
                amqp_queue_declare(e->c, CHANNEL, amqp_cstring_bytes(queue), 0, 1, 0, 0,
                                   amqp_empty_table);
                must(amqp_get_rpc_reply(e->c), "a queue");
        }
        amqp_basic_consume(e->c, CHANNEL, amqp_cstring_bytes(queue ? queue : DIRECT),
                           amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
        must(amqp_get_rpc_reply(e->c), "consuming");
        if (!queue) {
                learn_address(e);
        }
        return e;
}

struct amqp_ear *amqp_ear_free(struct amqp_ear *e)
{
        if (e) {
                if (!e->direct) {
                        amqp_queue_delete(e->c, CHANNEL, amqp_cstring_bytes(e->address), 0, 0);
                }
                amqp_destroy_connection(e->c);
                arena_deinit(&e->arena);
                free(e);
        }
        return NULL;
}

struct str amqp_ear_address(const struct amqp_ear *e)
{
        return str_of(e->address);
}

static struct str keep(struct amqp_ear *e, amqp_bytes_t bytes)
{
        return bytes.len ? arena_str(&e->arena, (struct str){bytes.bytes, (uint32_t)bytes.len})
                         : (struct str){0};
}

static struct str header(struct amqp_ear *e, const amqp_table_t *t, const char *name)
{
        for (int i = 0; i < t->num_entries; i++) {
                const amqp_table_entry_t *h = &t->entries[i];
                if (h->key.len == strlen(name) && memcmp(h->key.bytes, name, h->key.len) == 0) {
                        return keep(e, h->value.value.bytes);
                }
        }
        return (struct str){0};
}

bool amqp_ear_next(struct amqp_ear *e, int timeout_ms, struct fixture_reply *ret)
{
        amqp_envelope_t m;
        struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
        amqp_maybe_release_buffers(e->c);
        amqp_rpc_reply_t r = amqp_consume_message(e->c, &m, &limit, 0);
        if (r.reply_type != AMQP_RESPONSE_NORMAL) {
                return false;
        }
        const amqp_basic_properties_t *p = &m.message.properties;
        bool of = p->_flags & AMQP_BASIC_CORRELATION_ID_FLAG;
        bool typed = p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG;
        arena_reset(&e->arena);
        *ret = (struct fixture_reply){
            .correlation_id = of ? keep(e, p->correlation_id) : (struct str){0},
            .content_type = typed ? keep(e, p->content_type) : (struct str){0},
            .body = keep(e, m.message.body),
            .id = header(e, &p->headers, "job-id"),
            .state = header(e, &p->headers, "job-state"),
            .reason = header(e, &p->headers, "job-reason"),
            .error = header(e, &p->headers, "job-error"),
        };
        amqp_destroy_envelope(&m);
        return true;
}
