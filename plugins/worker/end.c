/*
 * The end of a job: what it leaves goes into its slot, or ahead of it as messages when it is too
 * large; the word ENDED is written last, when all that belongs to the verdict is out of our hands.
 * Never the other way round: skepd believes what the slot says.
 */
#include "plugins/worker/worker.h"

#include <stdatomic.h>

static void send_part(struct live *l, uint32_t kind, struct str type, struct str bytes)
{
        static uint8_t message[(64u << 10) + 1024];
        struct wire_out o = {.p = message, .max = sizeof message};
        struct wire_part head = {kind, l->position};
        wire_put(&o, &head, sizeof head);
        if (kind == WIRE_RESULT) {
                wire_put_str(&o, type);
        }
        wire_put_str(&o, bytes);
        send_or_end(l->w, o.p, o.n, NULL, 0);
}

static uint16_t send_children(struct live *l, bool wanted)
{
        uint16_t sent = 0;
        for (struct live_child *c = l->children; c; c = c->next) {
                if (wanted) {
                        send_or_end(l->w, c->message, c->n, &c->fd, c->fd >= 0 ? 1 : 0);
                        sent++;
                }
                close_fds(&c->fd, 1);
        }
        return sent;
}

static uint16_t put_slot_text(char **at, struct str s)
{
        if (s.n) {
                memcpy(*at, s.p, s.n);
                *at += s.n;
        }
        return (uint16_t)s.n;
}

void live_end(struct live *l, struct slot *s, uint32_t epoch)
{
        bool done = l->verdict == SKEP_DONE;
        struct str result = done && l->has_result ? l->result : (struct str){0};
        struct str type = done && l->has_result ? l->result_type : (struct str){0};
        char *at = s->text;
        uint16_t parts = 0;
        s->text_n = s->type_n = s->result_n = 0;
        if (l->text.n > SLOT_TEXT) {
                send_part(l, WIRE_TEXT, (struct str){0}, l->text);
                parts++;
        } else {
                s->text_n = put_slot_text(&at, l->text);
        }
        if ((size_t)type.n + result.n > (size_t)(s->text + SLOT_TEXT - at)) {
                send_part(l, WIRE_RESULT, type, result);
                parts++;
        } else {
                s->type_n = put_slot_text(&at, type);
                s->result_n = put_slot_text(&at, result);
        }
        if (l->children) {
                parts += send_children(l, done);
        }
        s->parts = parts;
        s->verdict = (uint8_t)l->verdict;
        s->delay_ms = l->delay_ms;
        atomic_store_explicit(&s->word, SLOT_WORD(epoch, SLOT_ENDED), memory_order_release);
}
