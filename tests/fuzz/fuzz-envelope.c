/*
 * The envelope against any message. The input is a message in lines, so that a corpus can be read
 * and written by hand: a letter that names the field, a blank, the value; `h` is a header, `name:
 * value`. After an empty line comes the body.
 *
 *     a email.send
 *     h job-priority: 9
 *
 *     {"to":"x"}
 *
 * Replayed as an ordinary suite (replay.c); a search of its own is
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz-envelope.c
 * \ core/[a-z]*.c -lnettle && ./a.out tests/fuzz/corpus/envelope
 */
#include "core/envelope.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

#define NOW     INT64_C(1900000000000000)
#define HEADERS 300 /* more than are kept */

static struct str next_line(struct str *rest)
{
        const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
        uint32_t n = end ? (uint32_t)(end - rest->p) : rest->n;
        struct str line = {rest->p, n};
        *rest = (struct str){rest->p + n + (end != NULL), rest->n - n - (end != NULL)};
        return line;
}

static int64_t number_of(struct str s)
{
        int64_t n = 0;
        for (uint32_t i = 0; i < s.n && i < 18; i++) {
                n = n * 10 + (uint8_t)(s.p[i] - '0') % 10;
        }
        return n;
}

static void read_header(struct envelope *e, struct envelope_header *h, struct str s)
{
        const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
        uint32_t n = colon ? (uint32_t)(colon - s.p) : s.n;
        uint32_t skip = colon ? 1 + (n + 1 < s.n && colon[1] == ' ') : 0;
        if (e->n_headers < HEADERS) {
                h[e->n_headers].name = (struct str){s.p, n};
                h[e->n_headers++].value = (struct str){s.p + n + skip, s.n - n - skip};
        }
}

static void read_line(struct envelope *e, struct envelope_header *h, struct str line)
{
        struct str s = line.n > 2 ? (struct str){line.p + 2, line.n - 2} : (struct str){line.p, 0};
        switch (line.p[0]) {
        case 'a': e->address = s; break;
        case 't': e->type = s; break;
        case 'i': e->message_id = s; break;
        case 'c': e->content_type = s; break;
        case 'e': e->content_encoding = s; break;
        case 'r': e->reply_to = s; break;
        case 'o': e->correlation_id = s; break;
        case 'p': e->app_id = s; break;
        case 'u': e->user_id = s; break;
        case 'x': e->expiration = s; break;
        case 'P': e->priority = (int)(number_of(s) % 300); break;
        case 'T': e->timestamp_s = number_of(s); break;
        case 'L':
                e->too_large = true;
                e->body_size = (uint64_t)number_of(s);
                break;
        case 'R': e->redelivered = true; break;
        case 'h': read_header(e, h, s); break;
        default: break;
        }
}

/* name NUL value NUL ..., names in lower case, each once, within the limit. */
static void check_headers(struct str h)
{
        assert(h.n <= HEADERS_MAX);
        assert(h.n == 0 || h.p[h.n - 1] == 0);
        for (uint32_t i = 0; i < h.n;) {
                const char *name = h.p + i;
                uint32_t at = i + (uint32_t)strlen(name) + 1;
                assert(name[0] && at < h.n);
                for (const char *c = name; *c; c++) {
                        assert(*c < 'A' || *c > 'Z');
                }
                for (uint32_t k = 0; k < i;) {
                        assert(strcmp(h.p + k, name) != 0);
                        k += (uint32_t)strlen(h.p + k) + 1;
                        k += (uint32_t)strlen(h.p + k) + 1;
                }
                i = at + (uint32_t)strlen(h.p + at) + 1;
        }
}

static void check_letter(const struct envelope *e, const struct arrival *a)
{
        const struct submit_row *row = &a->row;
        bool dead = row->state == STATE_DEAD, later = row->state == STATE_SCHEDULED;
        assert(dead || later || row->state == STATE_PENDING);
        assert(dead == (row->reason != REASON_NONE) && dead == (row->error_text.n > 0));
        assert(later == (row->at_us > NOW || row->after_us > 0));
        assert(row->key.set == (a->fingerprint == 0));
        assert(!row->key.set || (row->key_text.n >= 1 && row->key_text.n <= KEY_TEXT_MAX));
        assert(row->type.n >= 1 && row->type.n <= 255 && !memchr(row->type.p, 0, row->type.n));
        assert(row->priority <= PRIORITY_MAX);
        assert(row->max_attempts <= 1000 && row->deadline_us >= 0);
        assert(row->tags.n == 0 || (row->tags.p[0] == ',' && row->tags.p[row->tags.n - 1] == ','));
        if (row->reason == REASON_TOO_LARGE) {
                assert(row->payload.n == 0);
        } else {
                assert(str_eq(row->payload, e->body));
        }
        check_headers(row->headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct envelope_defaults defaults = {
            .queue = {"email", 5}, .priority = 5, .payload_max = 4096};
        struct envelope_header headers[HEADERS];
        struct envelope e = {.priority = -1, .headers = headers};
        struct str rest = {(const char *)data, (uint32_t)size}, line;
        struct arena arena = {0};
        struct arrival a, again;
        while (rest.n && (line = next_line(&rest)).n) {
                read_line(&e, headers, line);
        }
        e.body = rest;
        assert(envelope_open(&e, &defaults, NOW, &arena, &a) == 0);
        assert(envelope_open(&e, &defaults, NOW, &arena, &again) == 0);
        assert(a.fingerprint == again.fingerprint && a.redelivered == e.redelivered);
        if (a.kind == ARRIVAL_LETTER) {
                check_letter(&e, &a);
        } else {
                assert(e.body.n == 0 && a.seq >= 0);
        }
        arena_deinit(&arena);
        return 0;
}
