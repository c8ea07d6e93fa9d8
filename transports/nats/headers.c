/*
 * The headers of a delivered message, read from its raw block.
 *
 * nats.c 3.4.1 reads them wrongly: it takes the line end behind an empty value for space and
 * swallows the next header with it, or gives up on all of them; it cuts values at a NUL; it loses
 * their order. And a known header must never be ignored in favour of the default. So they are read
 * here. The library gives no access to the block, but puts it between the reply subject and the
 * data, with a NUL behind each; nothing is read before that is seen to be so. Its own functions for
 * headers are not to be called before, since they write into the block.
 *
 * A line without a colon, and one that goes on from the line before, is none that we know: counted.
 */
#include "transports/nats/internal.h"

#include <strings.h>

#define VERSION    "NATS/1.0"
#define MSG_ID     "Nats-Msg-Id"
#define OWN_PREFIX "Nats-"

static bool begins_with(struct str s, const char *prefix)
{
        size_t n = strlen(prefix);
        return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

/* Without its first line. {NULL, 0}: there is none. */
static struct str raw_block(natsMsg *msg)
{
        const char *reply = natsMsg_GetReply(msg), *data = natsMsg_GetData(msg);
        const char *block = reply + strlen(reply) + 1;
        if (block + sizeof VERSION >= data || memcmp(block, VERSION, sizeof VERSION - 1) != 0) {
                return (struct str){0};
        }
        const char *end = data - 1;
        const char *first = memchr(block, '\n', (size_t)(end - block));
        first = first ? first + 1 : end;
        return (struct str){first, (uint32_t)(end - first)};
}

/* Takes a line, without its end. False: no more; an empty one ends them. */
static bool next_line(struct str *rest, struct str *ret_line)
{
        const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
        uint32_t whole = end ? (uint32_t)(end - rest->p) + 1 : rest->n;
        uint32_t n = end ? whole - 1 : whole;
        *ret_line = (struct str){rest->p, n && rest->p[n - 1] == '\r' ? n - 1 : n};
        *rest = (struct str){rest->p + whole, rest->n - whole};
        return ret_line->n > 0;
}

static struct str trim(struct str s)
{
        while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
                s = (struct str){s.p + 1, s.n - 1};
        }
        while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
                s.n--;
        }
        return s;
}

/* False: it is no header. */
static bool split_line(struct str line, struct envelope_header *ret)
{
        const char *colon = memchr(line.p, ':', line.n);
        if (!colon || colon == line.p || line.p[0] == ' ' || line.p[0] == '\t') {
                return false;
        }
        uint32_t at = (uint32_t)(colon - line.p);
        ret->name = (struct str){line.p, at};
        ret->value = trim((struct str){colon + 1, line.n - at - 1});
        return true;
}

/* Those that core knows: they have room before all others. */
static bool is_known(const struct envelope_header *h)
{
        return begins_with(h->name, "job-") || begins_with(h->name, "skep-") ||
               begins_with(h->name, "trace") || begins_with(h->name, "baggage");
}

static void take_header(struct letter *l, const struct envelope_header *h)
{
        struct envelope *e = &l->envelope;
        if (h->name.n == sizeof MSG_ID - 1 && begins_with(h->name, MSG_ID)) {
                e->message_id = e->message_id.p ? e->message_id : h->value;
        } else if (begins_with(h->name, OWN_PREFIX)) {
                return; /* JetStream's own names are no business of a job */
        } else if (e->n_headers < ENVELOPE_HEADERS_MAX) {
                l->headers[e->n_headers++] = *h;
        } else {
                e->n_dropped++;
        }
}

enum which { ALL, KNOWN, OTHERS };

static void take_lines(struct letter *l, struct str block, enum which which)
{
        struct str line;
        struct envelope_header h;
        while (next_line(&block, &line)) {
                if (!split_line(line, &h)) {
                        l->envelope.n_dropped += which != OTHERS;
                } else if (which == ALL || is_known(&h) == (which == KNOWN)) {
                        take_header(l, &h);
                }
        }
}

static uint32_t count_lines(struct str block)
{
        struct str line;
        uint32_t n = 0;
        while (next_line(&block, &line)) {
                n++;
        }
        return n;
}

void headers_read(struct letter *l, natsMsg *msg)
{
        struct str block = raw_block(msg);
        if (count_lines(block) <= ENVELOPE_HEADERS_MAX) {
                take_lines(l, block, ALL);
        } else {
                take_lines(l, block, KNOWN);
                take_lines(l, block, OTHERS);
        }
}
