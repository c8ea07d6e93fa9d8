/*
 * Reads amqp:// URLs with one or more brokers, and copies the options. Refuses what cannot be
 * meant: an unknown parameter, a password over an open wire to another host. Notes never repeat the
 * user's part of the URL.
 *
 * The library's own parser is not used: it writes into its input, knows no parameters, and reads
 * "amqp://host/" as the virtual host "".
 */
#include "core/host.h"
#include "transports/amqp/internal.h"
#include "transports/desk/parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define HEARTBEAT_MS_DEFAULT   10000
#define PREFETCH_BYTES_DEFAULT (8u << 20)
#define NAME_BYTES             200 /* of an exchange: 255 less what is appended to it */
#define PLACES_MAX             64

struct url {
        struct str user, password, hosts, vhost, query;
        bool has_user, has_password;
};

static bool starts(struct str s, const char *prefix)
{
        size_t n = strlen(prefix);
        return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

static struct url split(struct str rest)
{
        struct url u = {0};
        uint32_t at = part_find(rest, '?');
        u.query = at < rest.n ? part_cut(rest, at + 1, rest.n) : (struct str){0};
        rest = part_cut(rest, 0, at);
        at = part_find(rest, '/');
        u.vhost = at < rest.n ? part_cut(rest, at + 1, rest.n) : (struct str){0};
        rest = part_cut(rest, 0, at);
        at = part_find_last(rest, '@');
        if (at < rest.n) {
                struct str who = part_cut(rest, 0, at);
                uint32_t colon = part_find(who, ':');
                u.has_user = true;
                u.has_password = colon < who.n;
                u.user = part_cut(who, 0, colon);
                u.password = u.has_password ? part_cut(who, colon + 1, who.n) : (struct str){0};
                rest = part_cut(rest, at + 1, rest.n);
        }
        u.hosts = rest;
        return u;
}

static int refuse(char *note, size_t size, const char *why)
{
        snprintf(note, size, "%s", why);
        return AMQP_REFUSED;
}

/* --- its brokers ------------------------------------------------------------------------------ */

/* 0: not a port. {NULL, 0}: the usual one. */
static int read_port(struct str s, int fallback)
{
        int port = 0;
        for (uint32_t i = 0; i < s.n; i++) {
                if (s.p[i] < '0' || s.p[i] > '9' || port > 65535) {
                        return 0;
                }
                port = port * 10 + (s.p[i] - '0');
        }
        return !s.p ? fallback : port > 65535 ? 0 : port;
}

/* The port, or {NULL, 0}; what is left of s is the host. */
static struct str split_port(struct str *s)
{
        uint32_t end = s->n && s->p[0] == '[' ? part_find(*s, ']') : 0;
        struct str rest = end && end < s->n ? part_cut(*s, end + 1, s->n) : *s;
        uint32_t colon = part_find_last(rest, ':');
        struct str port = colon < rest.n ? part_cut(rest, colon + 1, rest.n) : (struct str){0};
        *s = end && end < s->n ? part_cut(*s, 1, end) : part_cut(rest, 0, colon);
        return port;
}

static int read_place(struct settings *s, struct str text, struct place *ret, char *note,
                      size_t size)
{
        bool bad = false;
        struct str port = split_port(&text);
        ret->host = part_decode(&s->arena, text, &bad);
        ret->port = read_port(port, s->tls ? 5671 : 5672);
        if (!ret->host) {
                return -ENOMEM;
        }
        if (bad || !ret->host[0] || strpbrk(ret->host, "@/ ")) {
                return refuse(note, size,
                              "the URL names no host, or one that cannot be: "
                              "amqp://host:port,host:port/vhost");
        }
        if (ret->port == 0) {
                return refuse(note, size, "the URL's port is not a number from 1 to 65535");
        }
        bool six = strchr(ret->host, ':') != NULL;
        ret->text = arena_printf(&s->arena, six ? "[%s]:%d" : "%s:%d", ret->host, ret->port).p;
        return ret->text ? 0 : -ENOMEM;
}

static int read_places(struct settings *s, struct str hosts, char *note, size_t size)
{
        uint32_t n = 1;
        for (uint32_t i = 0; i < hosts.n; i++) {
                n += hosts.p[i] == ',';
        }
        if (n > PLACES_MAX) {
                snprintf(note, size, "the URL names more than %d hosts", PLACES_MAX);
                return AMQP_REFUSED;
        }
        s->places = arena_alloc(&s->arena, n * sizeof *s->places);
        if (!s->places) {
                return -ENOMEM;
        }
        for (s->n_places = 0; s->n_places < n; s->n_places++) {
                uint32_t comma = part_find(hosts, ',');
                int r =
                    read_place(s, part_cut(hosts, 0, comma), &s->places[s->n_places], note, size);
                if (r) {
                        return r;
                }
                hosts = comma < hosts.n ? part_cut(hosts, comma + 1, hosts.n) : (struct str){0};
        }
        return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int check_url(const struct settings *s, const struct url *u, bool bad, char *note,
                     size_t size)
{
        bool plaintext = str_eq(u->query, STR("plaintext=yes"));
        if (bad) {
                return refuse(note, size,
                              "the URL has a percent sign that is not followed by two "
                              "hexadecimal digits, or a control character");
        }
        if (u->query.n && !plaintext) {
                snprintf(note, size, "the URL's only parameter is plaintext=yes; %.*s is not known",
                         (int)(u->query.n > 60 ? 60 : u->query.n), u->query.p);
                return AMQP_REFUSED;
        }
        for (uint32_t i = 0; i < s->n_places && !s->tls && !plaintext; i++) {
                if (!host_is_loopback(str_of(s->places[i].host))) {
                        snprintf(note, size,
                                 "amqp:// to %s would send password and jobs readable by others: "
                                 "use amqps://, or say ?plaintext=yes",
                                 s->places[i].host);
                        return AMQP_REFUSED;
                }
        }
        return 0;
}

int settings_read_url(struct settings *s, struct str url, char *note, size_t note_size)
{
        bool bad = false;
        s->tls = starts(url, "amqps://");
        if (!s->tls && !starts(url, "amqp://")) {
                snprintf(note, note_size, "the URL does not begin with amqp:// or amqps://");
                return AMQP_REFUSED;
        }
        struct url u = split(part_cut(url, s->tls ? 8 : 7, url.n));
        s->user = part_decode(&s->arena, u.has_user ? u.user : STR("guest"), &bad);
        s->password =
            part_decode(&s->arena, u.has_password || u.has_user ? u.password : STR("guest"), &bad);
        s->vhost = part_decode(&s->arena, u.vhost.n ? u.vhost : STR("/"), &bad);
        if (!s->user || !s->password || !s->vhost) {
                return -ENOMEM;
        }
        int r = read_places(s, u.hosts, note, note_size);
        return r ? r : check_url(s, &u, bad, note, note_size);
}

/* --- options ---------------------------------------------------------------------------------- */

static bool keep(struct settings *s, struct str from, const char **ret)
{
        *ret = from.n ? arena_str(&s->arena, from).p : NULL;
        return !from.n || *ret;
}

static bool copy_texts(struct settings *s, const struct amqp_options *o)
{
        const struct transport_config *c = o->config;
        const struct {
                struct str from;
                const char **to;
        } texts[] = {
            {c->password_file, &s->password_file},
            {c->ca_file, &s->ca_file},
            {c->cert_file, &s->cert_file},
            {c->key_file, &s->key_file},
            {c->exchange.n ? c->exchange : STR("jobs"), &s->exchange},
            {str_of(o->spool_dir ? o->spool_dir : "/tmp"), &s->spool_dir},
            {str_of(o->application ? o->application : "skep"), &s->application},
        };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (!keep(s, texts[i].from, texts[i].to)) {
                        return false;
                }
        }
        s->unrouted = arena_printf(&s->arena, "%s.unrouted", s->exchange).p;
        s->refused = arena_printf(&s->arena, "%s.refused", s->exchange).p;
        return s->unrouted && s->refused;
}

static void copy_numbers(struct settings *s, const struct amqp_options *o)
{
        const struct transport_config *c = o->config;
        uint32_t ms = c->heartbeat_ms ? c->heartbeat_ms : HEARTBEAT_MS_DEFAULT;
        s->heartbeat_s = ms < 1000 ? 1 : (int)(ms / 1000);
        s->prefetch_bytes = c->prefetch_bytes ? c->prefetch_bytes : PREFETCH_BYTES_DEFAULT;
        s->payload_max = o->payload_max;
}

int settings_init(struct settings *s, const struct amqp_options *o, char *note, size_t note_size)
{
        *s = (struct settings){0};
        copy_numbers(s, o);
        if (!copy_texts(s, o)) {
                snprintf(note, note_size, "out of memory");
                return -ENOMEM;
        }
        if (strlen(s->exchange) > NAME_BYTES) {
                snprintf(note, note_size, "the exchange's name is longer than %d bytes",
                         NAME_BYTES);
                return AMQP_REFUSED;
        }
        if (!s->cert_file != !s->key_file) {
                snprintf(note, note_size,
                         "a client certificate needs both its certificate and its key file");
                return AMQP_REFUSED;
        }
        return settings_read_url(s, o->config->url, note, note_size);
}
