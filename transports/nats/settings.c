/*
 * Copies the options into one place that nothing changes any more, and refuses what would only turn
 * up later: two ways to log in, a stream's name that no server takes, half a certificate.
 *
 * The names of the stream and the subject become parts of subjects that requests are sent to, so
 * that nothing with a dot, a blank or a wildcard may get through here.
 */
#include "transports/nats/settings.h"

#include "core/pattern.h"

#include <errno.h>
#include <stdio.h>

#define PING_MS_DEFAULT        10000
#define PREFETCH_BYTES_DEFAULT (8u << 20)
#define STREAM_BYTES           200 /* the server allows 255; _REFUSED is appended */
#define SUBJECT_BYTES          100

static bool keep(struct settings *s, struct str from, const char **ret)
{
        *ret = from.n ? arena_str(&s->arena, from).p : NULL;
        return !from.n || *ret;
}

static bool copy_texts(struct settings *s, const struct nats_options *o)
{
        const struct transport_config *c = o->config;
        const struct {
                struct str from;
                const char **to;
        } texts[] = {
            {c->password_file, &s->password_file},
            {c->token_file, &s->token_file},
            {c->creds_file, &s->creds_file},
            {c->nkey_file, &s->nkey_file},
            {c->ca_file, &s->ca_file},
            {c->cert_file, &s->cert_file},
            {c->key_file, &s->key_file},
            {c->stream.n ? c->stream : STR("JOBS"), &s->stream},
            {c->subject.n ? c->subject : STR("jobs"), &s->subject},
            {str_of(o->application ? o->application : "skep"), &s->application},
        };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                if (!keep(s, texts[i].from, texts[i].to)) {
                        return false;
                }
        }
        s->refused_stream = arena_printf(&s->arena, "%s_REFUSED", s->stream).p;
        s->refused_subject = arena_printf(&s->arena, "%s_refused", s->subject).p;
        return s->refused_stream && s->refused_subject;
}

static void copy_numbers(struct settings *s, const struct nats_options *o)
{
        const struct transport_config *c = o->config;
        s->ping_ms = c->heartbeat_ms ? c->heartbeat_ms : PING_MS_DEFAULT;
        s->prefetch_bytes = c->prefetch_bytes ? c->prefetch_bytes : PREFETCH_BYTES_DEFAULT;
        s->replicas = c->replicas ? c->replicas : 1;
        s->create = c->create == CREATE_MISSING;
        s->payload_max = o->payload_max;
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool is_stream_name(const char *name)
{
        for (const char *p = name; *p; p++) {
                if (*p <= ' ' || *p > '~' || strchr(".*>/\\", *p)) {
                        return false;
                }
        }
        return *name && strlen(name) <= STREAM_BYTES;
}

static int check_names(const struct settings *s, char *note, size_t size)
{
        if (!is_stream_name(s->stream)) {
                snprintf(note, size,
                         "stream: not a name that NATS allows: 1 to %d printable characters "
                         "without blanks and . * > / \\",
                         STREAM_BYTES);
                return NATS_REFUSED;
        }
        if (!type_valid(str_of(s->subject)) || strlen(s->subject) > SUBJECT_BYTES) {
                snprintf(note, size,
                         "subject: not a prefix of subjects: tokens of letters, digits, _ and - "
                         "joined by dots, %d bytes at most, without wildcards",
                         SUBJECT_BYTES);
                return NATS_REFUSED;
        }
        if (!s->cert_file != !s->key_file) {
                snprintf(note, size,
                         "a client certificate needs both its certificate and its key file");
                return NATS_REFUSED;
        }
        return 0;
}

static int check_login(const struct settings *s, char *note, size_t size)
{
        const struct {
                bool there;
                const char *name;
        } ways[] = {{s->user || s->token, "a login in the URL"},
                    {s->token_file != NULL, "token_file"},
                    {s->creds_file != NULL, "creds_file"},
                    {s->nkey_file != NULL, "nkey_file"}};
        const char *first = NULL;
        for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
                if (ways[i].there && first) {
                        snprintf(note, size, "%s and %s: only one way to log in can be meant",
                                 first, ways[i].name);
                        return NATS_REFUSED;
                }
                first = ways[i].there ? ways[i].name : first;
        }
        if (s->password_file && !s->user) {
                snprintf(note, size, "password_file: the URL names no user: nats://user@host");
                return NATS_REFUSED;
        }
        return 0;
}

int settings_init(struct settings *s, const struct nats_options *o, char *note, size_t note_size)
{
        *s = (struct settings){0};
        copy_numbers(s, o);
        if (!copy_texts(s, o)) {
                snprintf(note, note_size, "out of memory");
                return -ENOMEM;
        }
        int r = check_names(s, note, note_size);
        if (r == 0) {
                r = settings_read_url(s, o->config->url, note, note_size);
        }
        return r == 0 ? check_login(s, note, note_size) : r;
}

void settings_deinit(struct settings *s)
{
        arena_deinit(&s->arena);
        *s = (struct settings){0};
}
