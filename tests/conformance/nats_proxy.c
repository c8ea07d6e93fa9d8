/*
 * NATS passes in lines with their payload ("NATS protocol" at docs.nats.io: PUB, HPUB, MSG and HMSG
 * end in the size of what follows). A message of a consumer has the reply subject
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, and what
 * a client publishes there is its answer; `+WPI` alone is none, it asks for more time.
 */
#include "tests/conformance/nats_proxy.h"

#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 6
#define ACK       "$JS.ACK."
#define ACK_WORDS 9

/* Of the whole proxy. */
struct nats_proxy {
        char hold[256]; /* a subject: what is published there is kept back */
};

struct brought {
        uint64_t consumer; /* hash of "stream.consumer" */
        uint64_t seq;      /* 0: answered */
};

struct nats_link {
        uint64_t newest, deaf; /* subscriptions count upwards; up to `deaf` none is served */
        struct brought *brought;
        size_t first, n, size; /* those before first are answered */
};

/* --- units ------------------------------------------------------------------------------------ */

struct unit {
        const uint8_t *p;
        size_t n; /* all of it */
        struct str words[WORDS_MAX];
        uint32_t n_words;
        struct str payload;
};

static bool is(struct str word, const char *text)
{
        return str_eq(word, str_of(text));
}

static bool begins(struct str word, const char *text)
{
        size_t n = strlen(text);
        return word.n >= n && memcmp(word.p, text, n) == 0;
}

static uint64_t number(struct str digits)
{
        uint64_t v = 0;
        for (uint32_t i = 0; i < digits.n && digits.p[i] >= '0' && digits.p[i] <= '9'; i++) {
                v = v * 10 + (uint64_t)(digits.p[i] - '0');
        }
        return v;
}

/* Only as many words as any verb has before its payload; of INFO and CONNECT the rest is JSON. */
static void split(struct unit *u, struct str line)
{
        uint32_t at = 0;
        u->n_words = 0;
        while (at < line.n && u->n_words < WORDS_MAX) {
                uint32_t begin = at;
                while (at < line.n && line.p[at] != ' ' && line.p[at] != '\t') {
                        at++;
                }
                if (at > begin) {
                        u->words[u->n_words++] = (struct str){line.p + begin, at - begin};
                }
                at++;
        }
}

/* The first whole unit; false: not all of it is here. */
static bool next_unit(const struct proxy_bytes *b, struct unit *ret)
{
        const uint8_t *end = b->n ? memchr(b->p, '\n', b->n) : NULL;
        if (!end) {
                return false;
        }
        size_t line = (size_t)(end + 1 - b->p), more = 0;
        uint32_t text = (uint32_t)(line > 1 && end[-1] == '\r' ? line - 2 : line - 1);
        split(ret, (struct str){(const char *)b->p, text});
        struct str verb = ret->n_words ? ret->words[0] : (struct str){0};
        if (is(verb, "PUB") || is(verb, "HPUB") || is(verb, "MSG") || is(verb, "HMSG")) {
                more = number(ret->words[ret->n_words - 1]) + 2;
        }
        if (b->n < line + more) {
                return false;
        }
        ret->p = b->p;
        ret->n = line + more;
        ret->payload = (struct str){(const char *)b->p + line, more ? (uint32_t)more - 2 : 0};
        return true;
}

/* --- account ---------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, struct str s)
{
        for (uint32_t i = 0; i < s.n; i++) {
                h = (h ^ (uint8_t)s.p[i]) * UINT64_C(0x100000001b3);
        }
        return h;
}

static uint64_t hash_consumer(struct str stream, struct str consumer)
{
        return hash(hash(hash(UINT64_C(0xcbf29ce484222325), stream), STR(".")), consumer);
}

/* What a reply subject names; false: it is none of JetStream's. */
static bool read_reply(struct str reply, struct brought *ret, bool *ret_again)
{
        struct str words[ACK_WORDS];
        uint32_t n = 0, begin = 0;
        if (!begins(reply, ACK)) {
                return false;
        }
        for (uint32_t i = 0; i <= reply.n && n < ACK_WORDS; i++) {
                if (i == reply.n || reply.p[i] == '.') {
                        words[n++] = (struct str){reply.p + begin, i - begin};
                        begin = i + 1;
                }
        }
        if (n < ACK_WORDS) {
                fprintf(stderr, "nats: a reply subject of another form: %.*s\n", (int)reply.n,
                        reply.p);
                exit(1);
        }
        *ret = (struct brought){hash_consumer(words[2], words[3]), number(words[5])};
        *ret_again = number(words[4]) > 1;
        return true;
}

static struct brought *find(struct nats_link *l, const struct brought *b)
{
        for (size_t i = l->first; i < l->n; i++) {
                if (l->brought[i].seq == b->seq && l->brought[i].consumer == b->consumer) {
                        return &l->brought[i];
                }
        }
        return NULL;
}

static void add(struct nats_link *l, const struct brought *b, bool again)
{
        if (again && find(l, b)) {
                return;
        }
        if (l->first > l->n / 2) {
                memmove(l->brought, l->brought + l->first, (l->n - l->first) * sizeof *b);
                l->n -= l->first;
                l->first = 0;
        }
        if (l->n == l->size) {
                l->size = l->size ? l->size * 2 : 1024;
                l->brought = realloc(l->brought, l->size * sizeof *b);
                if (!l->brought) {
                        abort();
                }
        }
        l->brought[l->n++] = *b;
}

/* Mostly the oldest ones leave. */
static void drop_answered(struct nats_link *l)
{
        while (l->first < l->n && l->brought[l->first].seq == 0) {
                l->first++;
        }
}

static void answer(struct nats_link *l, const struct brought *b)
{
        struct brought *at = find(l, b);
        if (at) {
                at->seq = 0;
                drop_answered(l);
        }
}

/* --- what passes ------------------------------------------------------------------------------ */

static void from_client(const struct nats_proxy *p, struct proxy_link *l, const struct unit *u)
{
        struct nats_link *n = l->state;
        struct brought b;
        bool again;
        if (l->lost) {
                return;
        }
        bool publishes = u->n_words >= 3 && (is(u->words[0], "PUB") || is(u->words[0], "HPUB"));
        if (publishes && read_reply(u->words[1], &b, &again) && !begins(u->payload, "+WPI")) {
                answer(n, &b);
        }
        if (u->n_words >= 3 && is(u->words[0], "SUB")) {
                uint64_t sid = number(u->words[u->n_words - 1]);
                n->newest = sid > n->newest ? sid : n->newest;
        }
        bool held = publishes && p->hold[0] && is(u->words[1], p->hold);
        proxy_append(held ? &l->waiting : &l->out[PROXY_BROKER], u->p, u->n);
}

static void from_broker(struct proxy_link *l, const struct unit *u)
{
        struct nats_link *n = l->state;
        struct brought b;
        bool again;
        bool delivers = u->n_words >= 5 && (is(u->words[0], "MSG") || is(u->words[0], "HMSG"));
        if (delivers && read_reply(u->words[3], &b, &again)) {
                if (number(u->words[2]) <= n->deaf) {
                        return;
                }
                add(n, &b, again);
        }
        proxy_append(&l->out[PROXY_CLIENT], u->p, u->n);
}

static void pass_units(void *state, struct proxy_link *l, int side)
{
        struct unit u;
        while (next_unit(&l->in[side], &u)) {
                if (side == PROXY_CLIENT) {
                        from_client(state, l, &u);
                } else {
                        from_broker(l, &u);
                }
                proxy_consume(&l->in[side], u.n);
        }
}

static void end_link(struct proxy_link *l)
{
        free(((struct nats_link *)l->state)->brought);
}

/* --- what it can do --------------------------------------------------------------------------- */

struct proxy *nats_proxy_new(int broker_port)
{
        static const struct proxy_protocol nats = {
            .size = sizeof(struct nats_proxy),
            .link_size = sizeof(struct nats_link),
            .pass = pass_units,
            .end = end_link,
        };
        return proxy_new(broker_port, &nats);
}

static void deafen_link(struct proxy_link *l, void *ctx)
{
        struct nats_link *n = l->state;
        (void)ctx;
        n->deaf = n->newest;
}

static void release_link(struct proxy_link *l, void *ctx)
{
        (void)ctx;
        proxy_append(&l->out[PROXY_BROKER], l->waiting.p, l->waiting.n);
        l->waiting.n = 0;
}

void nats_proxy_deafen(struct proxy *p)
{
        proxy_lock(p);
        proxy_each(p, deafen_link, NULL);
        proxy_unlock(p);
}

void nats_proxy_hold(struct proxy *p, struct str subject)
{
        struct nats_proxy *n = proxy_lock(p);
        snprintf(n->hold, sizeof n->hold, "%.*s", (int)subject.n, subject.n ? subject.p : "");
        if (subject.n == 0) {
                proxy_each(p, release_link, NULL);
        }
        proxy_unlock(p);
}

struct count {
        uint64_t consumer;
        uint32_t n;
        bool forget;
};

static void count_link(struct proxy_link *l, void *ctx)
{
        struct nats_link *n = l->state;
        struct count *c = ctx;
        for (size_t i = n->first; i < n->n && !l->dead; i++) {
                if (n->brought[i].seq && n->brought[i].consumer == c->consumer) {
                        c->n++;
                        n->brought[i].seq = c->forget ? 0 : n->brought[i].seq;
                }
        }
        drop_answered(n);
}

static uint32_t count(struct proxy *p, struct str stream, struct str consumer, bool forget)
{
        struct count c = {.consumer = hash_consumer(stream, consumer), .forget = forget};
        proxy_lock(p);
        proxy_each(p, count_link, &c);
        proxy_unlock(p);
        return c.n;
}

uint32_t nats_proxy_unanswered(struct proxy *p, struct str stream, struct str consumer)
{
        return count(p, stream, consumer, false);
}

void nats_proxy_forget(struct proxy *p, struct str stream, struct str consumer)
{
        (void)count(p, stream, consumer, true);
}
