/*
 * Opens a message: is it one of ours or a letter, and what becomes of a letter. What each field
 * says is read in envelope_fields.c, what is kept as it came in envelope_headers.c.
 *
 * No message is ever refused or lost here: what cannot be read becomes a dead letter that says why.
 * That holds for our own headers too. A message that bears skep-bell but is no whole doorbell is a
 * letter like any other; otherwise a producer could hide a job by a header.
 */
#include "core/envelope_inner.h"

#include <errno.h>
#include <stdio.h>

/* --- texts ------------------------------------------------------------------------------------ */

bool text_has_nul(struct str s)
{
        return s.n && memchr(s.p, 0, s.n);
}

bool name_equal(struct str name, const char *lower)
{
        uint32_t i = 0;
        for (; i < name.n && lower[i]; i++) {
                char c = name.p[i];
                if ((c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c) != lower[i]) {
                        return false;
                }
        }
        return i == name.n && !lower[i];
}

/* What is shown of a value that cannot be read: its beginning, printable. */
#define SHOWN_MAX 64

static const char *show_value(struct str value, char ret_text[static SHOWN_MAX + 4])
{
        uint32_t n = value.n < SHOWN_MAX ? value.n : SHOWN_MAX;
        for (uint32_t i = 0; i < n; i++) {
                char c = value.p[i];
                ret_text[i] = c >= 0x20 && c < 0x7f ? c : '?';
        }
        memcpy(ret_text + n, value.n > n ? "..." : "", value.n > n ? 4 : 1);
        return ret_text;
}

void opening_complain_text(struct opening *o, const char *text)
{
        size_t room = sizeof o->note - o->note_n;
        int n = snprintf(o->note + o->note_n, room, "%s%s", o->note_n ? "; " : "", text);
        o->note_n += (uint32_t)((size_t)n < room ? (size_t)n : room - 1);
}

void opening_complain(struct opening *o, const char *name, struct str value, const char *allowed)
{
        char shown[SHOWN_MAX + 4], text[384];
        snprintf(text, sizeof text, "%s: \"%s\" is not allowed; write %s", name,
                 show_value(value, shown), allowed);
        opening_complain_text(o, text);
}

/* --- doorbells and marks ---------------------------------------------------------------------- */

static bool read_seq(struct str text, int64_t *ret_seq)
{
        int64_t seq = 0;
        for (uint32_t i = 0; i < text.n; i++) {
                char c = text.p[i];
                if (c < '0' || c > '9' || __builtin_mul_overflow(seq, 10, &seq) ||
                    __builtin_add_overflow(seq, c - '0', &seq)) {
                        return false;
                }
        }
        *ret_seq = seq;
        return text.n > 0;
}

/* False: a letter, whatever it calls itself. */
static bool read_bell(struct opening *o, struct arrival *ret)
{
        static const struct job_id none;
        const struct envelope_header *bell = o->known[KNOWN_BELL], *seq = o->known[KNOWN_SEQ];
        struct job_id id = none;
        int64_t n;
        if (!bell) {
                return false;
        }
        bool mark = str_eq(bell->value, STR(BELL_MARK));
        bool named = mark || (id_parse(bell->value, &id) && !job_id_eq(&id, &none));
        bool empty = o->in->body.n == 0 && !o->in->too_large;
        if (!named || !empty || !seq || !read_seq(seq->value, &n)) {
                opening_complain_text(o, BELL_HEADER
                                      ": this name is skep's own, and the message is none of "
                                      "skep's; leave the header out");
                return false;
        }
        ret->kind = mark ? ARRIVAL_MARK : ARRIVAL_DOORBELL;
        ret->seq = n;
        ret->row.id = id;
        return true;
}

/* --- letters ---------------------------------------------------------------------------------- */

static bool too_large(const struct opening *o)
{
        uint32_t max = o->defaults->payload_max;
        return o->in->too_large || (max && o->in->body.n > max);
}

static struct str keep(struct opening *o, struct str s)
{
        struct str kept = arena_str(o->arena, s);
        o->out_of_memory |= !kept.p;
        return kept;
}

static void bury(struct opening *o, enum job_reason reason)
{
        o->row->state = STATE_DEAD;
        o->row->reason = reason;
        o->row->error_text = keep(o, (struct str){o->note, o->note_n});
}

/* The id of a letter that cannot be read stays free: the corrected one will bear it, and must not
 * find this one. The broker's own name of the message, where it has one, stands in for the id: it
 * names this very message, so that it is known when it comes again, dead or not. */
static void choose_key(struct opening *o)
{
        struct submit_row *row = o->row;
        bool unreadable = row->state == STATE_DEAD && row->reason != REASON_EXPIRED;
        if (unreadable || !row->key.set) {
                row->key = o->in->origin;
        }
}

static void note_size(struct opening *o)
{
        uint64_t size = o->in->body_size > o->in->body.n ? o->in->body_size : o->in->body.n;
        char text[160];
        snprintf(text, sizeof text,
                 "payload: %llu bytes are more than the limit of %u; keep large data elsewhere and "
                 "send a reference, or raise payload_max",
                 (unsigned long long)size, o->defaults->payload_max);
        opening_complain_text(o, text);
}

static void decide_state(struct opening *o)
{
        struct submit_row *row = o->row;
        if (too_large(o)) {
                note_size(o);
                bury(o, REASON_TOO_LARGE);
        } else if (o->note_n) {
                bury(o, REASON_MALFORMED);
        } else if (row->deadline_us && row->deadline_us <= o->wall_us) {
                opening_complain_text(o, "the deadline had passed when it arrived");
                bury(o, REASON_EXPIRED);
        } else {
                bool later = row->after_us > 0 || row->at_us > o->wall_us;
                row->state = later ? STATE_SCHEDULED : STATE_PENDING;
        }
        if (row->state != STATE_SCHEDULED) {
                row->at_us = row->after_us = 0;
        }
}

static void open_letter(struct opening *o, struct arrival *ret)
{
        struct submit_row *row = o->row;
        row->queue = keep(o, o->defaults->queue);
        row->priority = o->defaults->priority;
        row->content_type = STR("application/octet-stream");
        opening_read_fields(o);
        opening_keep_headers(o);
        row->payload = too_large(o) ? STR("") : keep(o, o->in->body);
        decide_state(o);
        choose_key(o);
        if (opening_unique(o) && row->state != STATE_DEAD) {
                unique_key_of(&o->unique, row->type, row->queue, row->payload, &row->unique);
        }
        ret->fingerprint = row->key.set ? 0 : opening_fingerprint(o);
}

static void find_known(struct opening *o)
{
        memset(o->known, 0, sizeof o->known);
        for (uint32_t i = 0; i < o->in->n_headers; i++) {
                enum known_header k = known_find(o->in->headers[i].name);
                if (k != KNOWN_COUNT && !o->known[k]) {
                        o->known[k] = &o->in->headers[i];
                }
        }
}

int envelope_open(const struct envelope *in, const struct envelope_defaults *d, int64_t wall_us,
                  struct arena *a, struct arrival *ret)
{
        struct arrival arrival = {.kind = ARRIVAL_LETTER, .redelivered = in->redelivered};
        struct opening o; /* its note needs no zeroing */
        o.in = in;
        o.defaults = d;
        o.wall_us = wall_us;
        o.arena = a;
        o.row = &arrival.row;
        o.unique = (struct unique_wish){0};
        o.type_from_address = o.out_of_memory = false;
        o.note_n = 0;
        find_known(&o);
        if (!read_bell(&o, &arrival)) {
                open_letter(&o, &arrival);
        }
        if (o.out_of_memory) {
                return -ENOMEM;
        }
        *ret = arrival;
        return 0;
}
