/*
 * For `skep doctor`: connects like the transport would, and looks at what is there. Declares
 * nothing: what is missing will be made by the node itself.
 */
#include "transports/amqp/internal.h"

#include <errno.h>
#include <stdio.h>

static void version_text(struct wire *w, char *text, size_t size)
{
        const amqp_table_t *t = amqp_get_server_properties(w->state);
        char product[40] = "an unknown broker", version[40] = "";
        for (int i = 0; t && i < t->num_entries; i++) {
                const amqp_table_entry_t *e = &t->entries[i];
                bool text_kind = e->value.kind == AMQP_FIELD_KIND_UTF8;
                if (text_kind && e->key.len == 7 && memcmp(e->key.bytes, "product", 7) == 0) {
                        text_copy(e->value.value.bytes, product, sizeof product);
                } else if (text_kind && e->key.len == 7 &&
                           memcmp(e->key.bytes, "version", 7) == 0) {
                        text_copy(e->value.value.bytes, version, sizeof version);
                }
        }
        snprintf(text, size, "%s %s", product, version);
}

static bool open_channel(struct wire *w)
{
        amqp_channel_open(w->state, 1);
        return amqp_get_rpc_reply(w->state).reply_type == AMQP_RESPONSE_NORMAL;
}

/* 0: there and as expected, 404: missing, else what the broker said. */
static int look_at_exchange(struct wire *w, const struct settings *s, char *said, size_t size)
{
        amqp_table_entry_t alternate = {
            bytes_of("alternate-exchange"),
            {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(s->unrouted)}};
        amqp_table_t arguments = {1, &alternate};
        for (int passive = 1; passive >= 0; passive--) {
                if (!open_channel(w)) {
                        return AMQP_CHANNEL_ERROR;
                }
                amqp_exchange_declare(w->state, 1, bytes_of(s->exchange), bytes_of("topic"),
                                      passive, 1, 0, 0, passive ? amqp_empty_table : arguments);
                amqp_rpc_reply_t reply = amqp_get_rpc_reply(w->state);
                if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
                        reply_text(reply, said, size);
                        return reply_code(reply) ? reply_code(reply) : AMQP_CHANNEL_ERROR;
                }
                (void)amqp_channel_close(w->state, 1, AMQP_REPLY_SUCCESS);
        }
        return 0;
}

static int look(struct wire *w, const struct settings *s, char *note, size_t size)
{
        char version[90], said[200] = "no channel";
        version_text(w, version, sizeof version);
        int code = look_at_exchange(w, s, said, sizeof said);
        if (code == 0) {
                snprintf(note, size, "%s: %s, virtual host %s", w->place->text, version, s->vhost);
                return 0;
        }
        if (code == AMQP_NOT_FOUND) {
                snprintf(
                    note, size,
                    "%s: %s, virtual host %s; the exchange %s is not there yet, skepd makes it",
                    w->place->text, version, s->vhost, s->exchange);
                return 0;
        }
        snprintf(note, size, "%s: %s, virtual host %s; the exchange %s is not as expected: %s",
                 w->place->text, version, s->vhost, s->exchange, said);
        return AMQP_ODD;
}

/* Of several brokers each is visited; one that cannot be reached is told behind what another said.
 */
static int look_at_all(const struct settings *s, char *note, size_t size)
{
        char down[1024] = "", text[256];
        int r = AMQP_DOWN;
        for (uint32_t i = 0; i < s->n_places; i++) {
                struct settings one = *s;
                one.places = &s->places[i];
                one.n_places = 1;
                struct wire w = {0};
                if (wire_open(&w, &one, "doctor", text, sizeof text)) {
                        size_t at = strlen(down);
                        snprintf(down + at, sizeof down - at, "%s%s", at ? "; " : "", text);
                        continue;
                }
                int said = look(&w, &one, text, sizeof text);
                wire_close(&w, true);
                if (r == AMQP_DOWN || said == AMQP_ODD) {
                        snprintf(note, size, "%s", text);
                        r = said;
                }
        }
        if (r == AMQP_DOWN) {
                snprintf(note, size, "%s", down);
        } else if (down[0]) {
                size_t at = strlen(note);
                snprintf(note + at, size - at, "; not reached: %s", down);
                r = AMQP_ODD;
        }
        return r;
}

int amqp_check(const struct amqp_options *o, char *note, size_t note_size)
{
        struct settings s;
        int r = settings_init(&s, o, note, note_size);
        r = r ? r : look_at_all(&s, note, note_size);
        arena_deinit(&s.arena);
        return r;
}
