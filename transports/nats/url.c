/*
 * Reads nats:// and tls:// URLs with one or more servers. Refuses what cannot be meant: an unknown
 * parameter, a path, a login in two places, a password over an open wire to another host. Notes
 * never repeat what stands before a host or behind it: a password with a sign that should have been
 * percent-encoded is torn apart, and its pieces turn up anywhere.
 *
 * The library's own parser is not used: it decodes nothing, and reads a password with a colon or a
 * slash as something else.
 */
#include "core/host.h"
#include "transports/desk/parts.h"
#include "transports/nats/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define SERVERS_MAX  64
#define PORT_DEFAULT 4222
#define LOGIN_ADVICE                                                                               \
        "one user:password@ or token@ before the first server, with @ / ? in it written as "       \
        "%40 %2F %3F"

struct url {
        struct str who, hosts, query;
        bool has_who;
};

static bool starts(struct str s, struct str prefix)
{
        return s.n >= prefix.n && strncasecmp(s.p, prefix.p, prefix.n) == 0;
}

static int refuse(char *note, size_t size, const char *why)
{
        snprintf(note, size, "%s", why);
        return NATS_REFUSED;
}

/* --- its parts -------------------------------------------------------------------------------- */

static struct url split(struct str rest)
{
        struct url u = {0};
        uint32_t at = part_find(rest, '?');
        u.query = at < rest.n ? part_cut(rest, at + 1, rest.n) : (struct str){0};
        rest = part_cut(rest, 0, at);
        at = part_find_last(rest, '@');
        u.has_who = at < rest.n;
        u.who = u.has_who ? part_cut(rest, 0, at) : (struct str){0};
        u.hosts = u.has_who ? part_cut(rest, at + 1, rest.n) : rest;
        return u;
}

static int check_parts(const struct url *u, char *note, size_t size)
{
        if (part_find(u->who, '@') < u->who.n || part_find(u->who, '/') < u->who.n ||
            part_find(u->query, '@') < u->query.n) {
                return refuse(note, size, "the URL's login is not clear: " LOGIN_ADVICE);
        }
        if (u->has_who && u->who.n == 0) {
                return refuse(note, size, "the URL has an @ without a user or token before it");
        }
        if (u->query.n && !str_eq(u->query, STR("plaintext=yes"))) {
                return refuse(note, size, "the URL's only parameter is ?plaintext=yes");
        }
        return 0;
}

static int read_login(struct settings *s, const struct url *u, char *note, size_t size)
{
        uint32_t colon = part_find(u->who, ':');
        bool bad = false;
        if (!u->has_who) {
                return 0;
        }
        const char *first = part_decode(&s->arena, part_cut(u->who, 0, colon), &bad);
        const char *second =
            colon < u->who.n ? part_decode(&s->arena, part_cut(u->who, colon + 1, u->who.n), &bad)
                             : "";
        if (!first || !second) {
                return -ENOMEM;
        }
        if (bad) {
                return refuse(note, size,
                              "the URL's login has a percent sign that is not followed by two "
                              "hexadecimal digits, or a control character");
        }
        if (colon < u->who.n || s->password_file) {
                s->user = first;
                s->password = second;
        } else {
                s->token = first;
        }
        return 0;
}

/* --- servers ---------------------------------------------------------------------------------- */

struct server {
        struct str host, port, path;
        bool six;
};

static struct server split_server(struct str s)
{
        struct server v = {0};
        uint32_t slash = part_find(s, '/');
        v.path = slash < s.n ? part_cut(s, slash + 1, s.n) : (struct str){0};
        s = part_cut(s, 0, slash);
        uint32_t end = s.n && s.p[0] == '[' ? part_find(s, ']') : s.n;
        if (end < s.n) {
                v.six = true;
                v.host = part_cut(s, 1, end);
                s = part_cut(s, end + 1, s.n);
                v.port = s.n ? part_cut(s, 1, s.n) : s;
                if (s.n && s.p[0] != ':') {
                        v.host.n = 0; /* [::1]x */
                }
                return v;
        }
        uint32_t colon = part_find(s, ':');
        v.host = part_cut(s, 0, colon);
        v.port = colon < s.n ? part_cut(s, colon + 1, s.n) : (struct str){0};
        return v;
}

/* Letters, digits, dots, - and _, or within brackets an IPv6 address. What else comes is a piece of
 * something that was not percent-encoded, or an attempt. */
static bool is_host(const char *host, bool six)
{
        struct in6_addr address;
        size_t n = strlen(host);
        if (six) {
                return inet_pton(AF_INET6, host, &address) == 1;
        }
        return n > 0 && n < 254 &&
               strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") ==
                   n;
}

/* 0: not a port. */
static int read_port(struct str s)
{
        int port = 0;
        for (uint32_t i = 0; i < s.n; i++) {
                if (s.p[i] < '0' || s.p[i] > '9' || port > 65535) {
                        return 0;
                }
                port = port * 10 + (s.p[i] - '0');
        }
        return s.n == 0 ? PORT_DEFAULT : port > 65535 ? 0 : port;
}

static int check_server(const struct settings *s, const struct server *v, const char *host,
                        int port, bool plaintext, char *note, size_t size)
{
        if (!is_host(host, v->six)) {
                snprintf(note, size,
                         "server %d of the URL has no valid host: nats://host:port, an IPv6 "
                         "address in brackets",
                         s->n_servers + 1);
                return NATS_REFUSED;
        }
        if (v->path.n) {
                snprintf(note, size,
                         "server %d of the URL has a path or another scheme; NATS knows no path: "
                         "nats://host:port,host:port",
                         s->n_servers + 1);
                return NATS_REFUSED;
        }
        if (port == 0) {
                snprintf(note, size,
                         "server %d of the URL: its port is not a number from 1 to 65535",
                         s->n_servers + 1);
                return NATS_REFUSED;
        }
        if (!s->tls && !plaintext && !host_is_loopback(str_of(host))) {
                snprintf(note, size,
                         "nats:// to %s would send password and jobs readable by others: use "
                         "tls://, or say ?plaintext=yes",
                         host);
                return NATS_REFUSED;
        }
        return 0;
}

static int keep_server(struct settings *s, const char *host, int port, bool six)
{
        struct str place = arena_printf(&s->arena, six ? "[%s]:%d" : "%s:%d", host, port);
        struct str url = place.p ? arena_printf(&s->arena, "nats://%s", place.p) : place;
        struct str all =
            url.p && s->place ? arena_printf(&s->arena, "%s, %s", s->place, place.p) : place;
        if (!url.p || !all.p) {
                return -ENOMEM;
        }
        bool same = s->n_servers == 0 || (s->tls_name && strcmp(s->tls_name, host) == 0);
        s->tls_name = same ? host : NULL;
        s->place = all.p;
        s->servers[s->n_servers++] = url.p;
        return 0;
}

/* The scheme may stand before each of them, as other clients write it. */
static int add_server(struct settings *s, struct str text, bool plaintext, char *note, size_t size)
{
        struct str scheme = s->tls ? STR("tls://") : STR("nats://");
        text = s->n_servers && starts(text, scheme) ? part_cut(text, scheme.n, text.n) : text;
        struct server v = split_server(text);
        int port = read_port(v.port);
        struct str host = arena_str(&s->arena, v.host);
        int r = host.p ? check_server(s, &v, host.p, port, plaintext, note, size) : -ENOMEM;
        return r == 0 ? keep_server(s, host.p, port, v.six) : r;
}

static int read_servers(struct settings *s, struct str rest, bool plaintext, char *note,
                        size_t size)
{
        s->servers = arena_zalloc(&s->arena, SERVERS_MAX * sizeof *s->servers);
        if (!s->servers) {
                return -ENOMEM;
        }
        for (bool more = true; more;) {
                uint32_t comma = part_find(rest, ',');
                if (s->n_servers == SERVERS_MAX) {
                        return refuse(note, size, "the URL names more than 64 servers");
                }
                int r = add_server(s, part_cut(rest, 0, comma), plaintext, note, size);
                if (r != 0) {
                        return r;
                }
                more = comma < rest.n;
                rest = more ? part_cut(rest, comma + 1, rest.n) : rest;
        }
        return 0;
}

int settings_read_url(struct settings *s, struct str url, char *note, size_t note_size)
{
        struct str scheme = starts(url, STR("tls://")) ? STR("tls://") : STR("nats://");
        if (!starts(url, scheme)) {
                return refuse(note, note_size, "the URL does not begin with nats:// or tls://");
        }
        s->tls = scheme.n == 6;
        struct url u = split(part_cut(url, scheme.n, url.n));
        int r = check_parts(&u, note, note_size);
        if (r == 0) {
                r = read_login(s, &u, note, note_size);
        }
        if (r == 0) {
                r = read_servers(s, u.hosts, u.query.n > 0, note, note_size);
        }
        return r;
}
