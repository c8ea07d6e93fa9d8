/*
 * Parsed by libpq itself, so that all that it knows is understood: several hosts, options, the
 * environment's defaults. Its words for a URL that it cannot read are never passed on: they quote
 * it, password and all.
 */
#include "ledgers/postgres/url.h"

#include "core/host.h"
#include "ledgers/postgres/postgres.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

static void free_options(PQconninfoOption **o)
{
        PQconninfoFree(*o);
}

static const char *value_of(const PQconninfoOption *o, const char *word)
{
        for (; o && o->keyword; o++) {
                if (strcmp(o->keyword, word) == 0) {
                        return o->val && *o->val ? o->val : NULL;
                }
        }
        return NULL;
}

/* What the URL says, or else the environment. */
static const char *either(const PQconninfoOption *url, const PQconninfoOption *env,
                          const char *word)
{
        const char *v = value_of(url, word);
        return v ? v : value_of(env, word);
}

/* --- which hosts ------------------------------------------------------------------------------ */

static bool is_local(struct str host)
{
        return host.n == 0 || host.p[0] == '/' || host.p[0] == '@' || host_is_loopback(host);
}

static bool all_local(const char *list)
{
        const char *at = list ? list : "";
        for (;;) {
                const char *comma = strchr(at, ',');
                uint32_t n = (uint32_t)(comma ? (size_t)(comma - at) : strlen(at));
                if (!is_local((struct str){at, n})) {
                        return false;
                }
                if (!comma) {
                        return true;
                }
                at = comma + 1;
        }
}

/* A host's address decides when it is given: its name is then only what the certificate must say.
 */
static bool encrypted_or_local(const PQconninfoOption *url, const PQconninfoOption *env)
{
        const char *mode = either(url, env, "sslmode");
        const char *address = either(url, env, "hostaddr");
        bool local = all_local(address ? address : either(url, env, "host"));
        return local || (mode && strcmp(mode, "verify-full") == 0);
}

/* --- words for libpq -------------------------------------------------------------------------- */

static int add_word(struct url *u, const char *word, const char *value)
{
        if (u->n == URL_WORDS_MAX - 4) { /* three more words, and the end */
                return -ENOMEM;
        }
        u->words[u->n] = strdup(word);
        u->values[u->n] = strdup(value);
        u->n++;
        return u->words[u->n - 1] && u->values[u->n - 1] ? 0 : -ENOMEM;
}

/* A peer that is gone is noticed within half a minute, whatever the kernel's own patience. */
static int add_words(struct url *u, const PQconninfoOption *url, const char *application)
{
        static const char *const ours[][2] = {
            {"connect_timeout", "10"},    {"keepalives", "1"},       {"keepalives_idle", "10"},
            {"keepalives_interval", "5"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "20000"},
            {"client_encoding", "UTF8"},
        };
        int r = 0;
        for (const PQconninfoOption *o = url; o->keyword && !r; o++) {
                if (o->val && *o->val && strcmp(o->keyword, "client_encoding") != 0) {
                        r = add_word(u, o->keyword, o->val);
                }
        }
        for (size_t i = 0; i < ARRAY_LEN(ours) && !r; i++) {
                bool said = strcmp(ours[i][0], "client_encoding") != 0 && value_of(url, ours[i][0]);
                r = said ? 0 : add_word(u, ours[i][0], ours[i][1]);
        }
        if (!r && !value_of(url, "application_name")) {
                r = add_word(u, "application_name", application ? application : "skep");
        }
        return r;
}

static void name_place(struct url *u, const PQconninfoOption *url, const PQconninfoOption *env)
{
        const char *host = either(url, env, "host"), *port = either(url, env, "port");
        const char *name = either(url, env, "dbname"), *user = either(url, env, "user");
        host = host ? host : either(url, env, "hostaddr");
        snprintf(u->place, sizeof u->place, "%.48s:%.6s/%.40s", host ? host : "local socket",
                 port ? port : "5432",
                 name   ? name
                 : user ? user
                        : "");
}

static bool has_scheme(const char *text)
{
        return strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0;
}

int url_read(struct url *u, const char *text, bool unsafe, const char *application, char *note,
             size_t note_size)
{
        CLEANUP(free_options)
        PQconninfoOption *url = NULL;
        CLEANUP(free_options)
        PQconninfoOption *env = PQconndefaults();
        char *error = NULL;
        *u = (struct url){0};
        url = has_scheme(text) ? PQconninfoParse(text, &error) : NULL;
        bool out_of_memory = !env || (!url && !error && has_scheme(text));
        PQfreemem(error);
        if (out_of_memory) {
                return -ENOMEM;
        }
        if (!url) {
                snprintf(note, note_size,
                         "the ledger's URL cannot be read; it should be "
                         "postgresql://user@host:port/database?sslmode=verify-full, with special "
                         "characters as %%XX");
                return POSTGRES_REFUSED;
        }
        name_place(u, url, env);
        if (!unsafe && !encrypted_or_local(url, env)) {
                snprintf(note, note_size,
                         "%s: the connection leaves this host and must be encrypted: "
                         "add sslmode=verify-full (and sslrootcert=FILE) to the URL",
                         u->place);
                return POSTGRES_REFUSED;
        }
        names_init(&u->names, either(url, env, "host"), either(url, env, "port"),
                   either(url, env, "hostaddr") != NULL);
        return add_words(u, url, application);
}

void url_words(const struct url *u, const char *ret_words[static URL_WORDS_MAX],
               const char *ret_values[static URL_WORDS_MAX])
{
        const char *ours[][2] = {
            {"host", u->names.host}, {"hostaddr", u->names.hostaddr}, {"port", u->names.port}};
        int n = 0;
        for (int i = 0; i < u->n; i++) {
                bool named = false;
                for (size_t k = 0; k < ARRAY_LEN(ours) && u->names.needed; k++) {
                        named |= strcmp(u->words[i], ours[k][0]) == 0;
                }
                if (!named) {
                        ret_words[n] = u->words[i];
                        ret_values[n++] = u->values[i];
                }
        }
        for (size_t k = 0; k < ARRAY_LEN(ours) && u->names.needed; k++) {
                ret_words[n] = ours[k][0];
                ret_values[n++] = ours[k][1];
        }
        ret_words[n] = ret_values[n] = NULL;
}

void url_deinit(struct url *u)
{
        names_deinit(&u->names);
        for (int i = 0; i < u->n; i++) {
                free(u->words[i]);
                if (u->values[i]) {
                        explicit_bzero(u->values[i], strlen(u->values[i]));
                }
                free(u->values[i]);
        }
        *u = (struct url){0};
}
