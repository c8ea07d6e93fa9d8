/*
 * A lane's connection: comes up by itself, polled, and tries again after a pause that grows and is
 * never the same twice, so that many nodes do not come back to a server at once.
 */
#include "ledgers/postgres/internal.h"

#include <poll.h>
#include <stdio.h>

#define PAUSE_FIRST_NS (50 * NS_PER_MS)
#define PAUSE_LAST_NS  (1 * NS_PER_S) /* longer, and others might take this node for dead */
#define ATTEMPT_NS     (10 * NS_PER_S)
#define LOOK_NS        (10 * NS_PER_MS)

/* One line, without libpq's preface about where: our own place stands there. */
void conn_note(struct lane *n, const char *why)
{
        const char *after = strstr(why, " failed: ");
        const char *text = after ? after + 9 : why;
        int length = (int)strcspn(text, "\n");
        static const char fatal[] = "FATAL:  ";
        if (strncmp(text, fatal, sizeof fatal - 1) == 0) {
                text += sizeof fatal - 1;
                length -= (int)sizeof fatal - 1;
        }
        snprintf(n->l->note, sizeof n->l->note, "%s: %.*s", n->l->url.place, length, text);
}

static uint64_t draw(struct pg_ledger *l)
{
        l->random ^= l->random << 13;
        l->random ^= l->random >> 7;
        l->random ^= l->random << 17;
        return l->random;
}

static void refuse_waiting(struct lane *n)
{
        for (struct work *w; (w = work_pop(&n->waiting));) {
                work_refuse(n->l, w, n->l->note);
        }
}

/* Closes; what waits is refused. `why` NULL: noted already. */
void conn_down(struct lane *n, const char *why)
{
        if (why) {
                conn_note(n, why);
        }
        PQfinish(STEAL(n->c));
        n->state = LANE_DOWN;
        n->drop = n->looking = false;
        if (n->which == LANE_BEAT) {
                n->l->schema_ready = false;
                n->l->notifying = false;
        }
        if (!n->retry_after_ns) {
                n->retry_after_ns = PAUSE_FIRST_NS;
        }
        int64_t half = n->retry_after_ns / 2;
        n->retry_ns = pg_now_ns() + half + (int64_t)(draw(n->l) % (uint64_t)(half + 1));
        n->retry_after_ns *= 2;
        if (n->retry_after_ns > PAUSE_LAST_NS) {
                n->retry_after_ns = PAUSE_LAST_NS;
        }
        refuse_waiting(n);
        for (int i = 0; i < LEDGER_LANES && n->which == LANE_BEAT; i++) {
                if (n->l->lanes[i].state == LANE_DOWN) {
                        refuse_waiting(&n->l->lanes[i]); /* they wait for the beat's lane */
                }
        }
}

/* An attempt is under way, or about to be: what is posted waits for it. */
bool conn_hopeful(const struct lane *n, int64_t now_ns)
{
        const struct lane *beat = &n->l->lanes[LANE_BEAT];
        if (n->state != LANE_DOWN || n->looking || beat->looking) {
                return true;
        }
        bool may =
            n == beat || n->l->schema_ready || beat->state != LANE_DOWN || now_ns >= beat->retry_ns;
        return may && now_ns >= n->retry_ns;
}

/* False: the names are being looked up, or there are none. */
static bool knows_addresses(struct lane *n, int64_t now_ns)
{
        char why[NOTE_SIZE] = "out of memory";
        struct names *names = &n->l->url.names;
        int r = names->needed ? names_ask(names, now_ns, why, sizeof why) : 1;
        if (r > 0) {
                return true;
        }
        if (!n->looking) {
                n->give_up_ns = now_ns + ATTEMPT_NS;
        }
        n->looking = r == 0 && now_ns < n->give_up_ns;
        if (n->looking) {
                n->retry_ns = now_ns + LOOK_NS;
        } else {
                conn_down(n, r == 0 ? "the name service does not answer" : why);
        }
        return false;
}

static void start(struct lane *n, int64_t now_ns)
{
        const char *words[URL_WORDS_MAX], *values[URL_WORDS_MAX];
        if (!knows_addresses(n, now_ns)) {
                return;
        }
        n->looking = false;
        url_words(&n->l->url, words, values);
        n->c = PQconnectStartParams(words, values, 0);
        if (!n->c) {
                conn_down(n, "out of memory");
                return;
        }
        if (PQstatus(n->c) == CONNECTION_BAD) {
                conn_down(n, PQerrorMessage(n->c));
                return;
        }
        n->state = LANE_CONNECTING;
        n->events = POLLOUT;
        n->give_up_ns = now_ns + ATTEMPT_NS;
}

/* libpq writes its notices to stderr unless told otherwise. */
static void ignore_notice(void *ctx, const PGresult *r)
{
        (void)ctx;
        (void)r;
}

static void connected(struct lane *n)
{
        PQsetNoticeReceiver(n->c, ignore_notice, NULL);
        if (PQsetnonblocking(n->c, 1) != 0 || setup_begin(n) < 0) {
                conn_down(n, PQerrorMessage(n->c));
                return;
        }
        n->state = LANE_SETUP;
        n->events = POLLIN;
}

static void poll_connect(struct lane *n)
{
        switch (PQconnectPoll(n->c)) {
        case PGRES_POLLING_OK: connected(n); break;
        case PGRES_POLLING_READING: n->events = POLLIN; break;
        case PGRES_POLLING_WRITING: n->events = POLLOUT; break;
        default: conn_down(n, PQerrorMessage(n->c)); break;
        }
}

static bool is_there(struct lane *n)
{
        struct pollfd fd = {.fd = PQsocket(n->c), .events = n->events};
        return fd.fd < 0 || poll(&fd, 1, 0) != 0;
}

static void poll_setup(struct lane *n)
{
        int r = setup_run(n);
        if (r < 0) {
                conn_down(n, NULL);
        } else if (r > 0) {
                n->state = LANE_READY;
                n->retry_after_ns = 0;
                n->landing = n->answered = false;
                n->serial = 0;
                if (n->which == LANE_BEAT) {
                        n->l->heard = true; /* what was told meanwhile was not heard */
                }
        }
}

void conn_run(struct lane *n, int64_t now_ns)
{
        if (n->state == LANE_DOWN) {
                bool may = n->which == LANE_BEAT || n->l->schema_ready;
                if (may && now_ns >= n->retry_ns) {
                        start(n, now_ns);
                }
        }
        if (n->state == LANE_CONNECTING && is_there(n)) {
                poll_connect(n);
        }
        if (n->state == LANE_SETUP) {
                poll_setup(n);
        }
        if ((n->state == LANE_CONNECTING || n->state == LANE_SETUP) && now_ns >= n->give_up_ns) {
                conn_down(n, "no answer in time");
        }
}
