/*
 * By glibc's getaddrinfo_a(), which waits on a thread of its own and touches nothing of ours but
 * the request. A request that cannot be cancelled at the end is left to it.
 */
#include "ledgers/postgres/names.h"

#include "core/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define HOSTS_MAX     8
#define ADDRESSES_MAX 4 /* of one host */
#define KEPT_NS       (2 * NS_PER_S)

struct lookup {
        struct gaicb requests[HOSTS_MAX], *list[HOSTS_MAX];
        struct addrinfo hints;
        char names[HOSTS_MAX][256], ports[HOSTS_MAX][16];
        bool asked[HOSTS_MAX];
        int n;
};

/* The i-th of a list with commas; false: it has fewer. */
static bool item(const char *list, int i, char *to, size_t size)
{
        for (; i > 0; i--) {
                list = strchr(list, ',');
                if (!list) {
                        return false;
                }
                list++;
        }
        snprintf(to, size, "%.*s", (int)strcspn(list, ","), list);
        return true;
}

static bool is_name(const char *host)
{
        uint8_t address[16];
        return *host && *host != '/' && *host != '@' && strcmp(host, "localhost") != 0 &&
               inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1;
}

void names_init(struct names *s, const char *host, const char *port, bool has_address)
{
        char one[256];
        *s = (struct names){0};
        snprintf(s->hosts, sizeof s->hosts, "%s", host ? host : "");
        snprintf(s->ports, sizeof s->ports, "%s", port ? port : "");
        for (int i = 0; !has_address && item(s->hosts, i, one, sizeof one); i++) {
                s->needed |= is_name(one);
        }
}

/* --- asking ----------------------------------------------------------------------------------- */

static int start(struct names *s)
{
        struct lookup *l = calloc(1, sizeof *l);
        int asked = 0;
        if (!l) {
                return -ENOMEM;
        }
        l->hints = (struct addrinfo){.ai_socktype = SOCK_STREAM};
        for (; l->n < HOSTS_MAX && item(s->hosts, l->n, l->names[l->n], sizeof l->names[0]);
             l->n++) {
                bool own = item(s->ports, l->n, l->ports[l->n], sizeof l->ports[0]);
                if (!own) { /* one port for all */
                        (void)item(s->ports, 0, l->ports[l->n], sizeof l->ports[0]);
                }
                l->asked[l->n] = is_name(l->names[l->n]);
                l->requests[l->n] =
                    (struct gaicb){.ar_name = l->names[l->n], .ar_request = &l->hints};
                if (l->asked[l->n]) {
                        l->list[asked++] = &l->requests[l->n];
                }
        }
        if (getaddrinfo_a(GAI_NOWAIT, l->list, asked, NULL) != 0) {
                free(l);
                return -ENOMEM;
        }
        s->lookup = l;
        return 0;
}

static bool is_done(const struct lookup *l)
{
        bool done = true;
        for (int i = 0; i < l->n; i++) {
                done &=
                    !l->asked[i] || gai_error(&((struct lookup *)l)->requests[i]) != EAI_INPROGRESS;
        }
        return done;
}

static struct lookup *lookup_free(struct lookup *l)
{
        for (int i = 0; l && i < l->n; i++) {
                if (l->asked[i] && gai_cancel(&l->requests[i]) == EAI_NOTCANCELED) {
                        return NULL; /* still written to: left */
                }
        }
        for (int i = 0; l && i < l->n; i++) {
                if (l->requests[i].ar_result) {
                        freeaddrinfo(l->requests[i].ar_result);
                }
        }
        free(l);
        return NULL;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void append(char *list, const char *text, bool first)
{
        size_t n = strlen(list);
        snprintf(list + n, NAMES_TEXT - n, "%s%s", first ? "" : ",", text);
}

static void add_host(struct names *s, const struct lookup *l, int i, const char *address,
                     int *count)
{
        append(s->host, l->names[i], *count == 0);
        append(s->hostaddr, address, *count == 0);
        append(s->port, l->ports[i], *count == 0);
        (*count)++;
}

static void add_addresses(struct names *s, const struct lookup *l, int i, int *count)
{
        int left = ADDRESSES_MAX;
        for (const struct addrinfo *a = l->requests[i].ar_result; a && left;
             a = a->ai_next, left--) {
                char text[64];
                if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0,
                                NI_NUMERICHOST) == 0) {
                        add_host(s, l, i, text, count);
                }
        }
}

/* Hosts that are not found are left out, as long as there are others. */
static int take(struct names *s, char *note, size_t note_size)
{
        const struct lookup *l = s->lookup;
        int count = 0;
        s->host[0] = s->hostaddr[0] = s->port[0] = 0;
        for (int i = 0; i < l->n; i++) {
                int error = l->asked[i] ? gai_error(&((struct lookup *)l)->requests[i]) : 0;
                if (error) {
                        snprintf(note, note_size, "%s: %s", l->names[i], gai_strerror(error));
                } else if (l->asked[i]) {
                        add_addresses(s, l, i, &count);
                } else {
                        add_host(s, l, i, "", &count);
                }
        }
        return count ? 1 : -ENOENT;
}

int names_ask(struct names *s, int64_t now_ns, char *note, size_t note_size)
{
        if (!s->lookup && s->found_ns && now_ns - s->found_ns < KEPT_NS) {
                return 1;
        }
        int r = s->lookup ? 0 : start(s);
        if (r < 0 || !is_done(s->lookup)) {
                return r;
        }
        r = take(s, note, note_size);
        s->lookup = lookup_free(s->lookup);
        s->found_ns = r > 0 ? now_ns : 0;
        return r;
}

void names_deinit(struct names *s)
{
        s->lookup = lookup_free(s->lookup);
}
