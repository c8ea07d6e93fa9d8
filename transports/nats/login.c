/*
 * Options for one connection: servers, TLS, credentials. Files are read here, so that a changed
 * password is found by the next connection without a restart.
 *
 * nats.c 3.4.1 writes user, password, token and name between the quotes of a JSON text as they are:
 * a password with a quote could not log in, and would say things in our name. So they are given to
 * it in their JSON form. Verification of the server's certificate is never switched off; the host
 * is checked by the name told here, or, with servers of several names, by each one's own name,
 * which is the library's default.
 */
#include "transports/nats/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECRET_MAX 4096
#define CREDS_MAX  (64 << 10)

struct login {
        const struct settings *settings;
        natsOptions *options;
        char *note;
        size_t note_size;
};

static void options_destroy(natsOptions **o)
{
        natsOptions_Destroy(*o);
}

static int refuse_file(const struct login *l, const char *key, const char *path, const char *why)
{
        snprintf(l->note, l->note_size, "%s: %s %s: %s", l->settings->place, key, path, why);
        return NATS_DOWN;
}

/* Without the place in the library's source that it begins with: "(conn.c:733): ". */
static const char *last_error(natsStatus status)
{
        const char *last = nats_GetLastError(NULL);
        const char *end = last && *last == '(' ? strstr(last, "): ") : NULL;
        return end ? end + 3 : last && *last ? last : natsStatus_GetText(status);
}

/* What the library refused; its own words, which never have a password in them. */
static int refuse_status(const struct login *l, natsStatus status, const char *what)
{
        snprintf(l->note, l->note_size, "%s: %s: %s", l->settings->place, what, last_error(status));
        return status == NATS_NO_MEMORY ? -ENOMEM : NATS_DOWN;
}

/* --- files ------------------------------------------------------------------------------------ */

/* All of a file, with a NUL behind. 0 or -errno; -EFBIG when it does not fit. */
static int slurp(const char *path, char *ret_text, size_t size)
{
        size_t n = 0;
        ssize_t got = 1;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        int r = fd < 0 ? -errno : 0;
        while (r == 0 && got > 0 && n < size) {
                got = read(fd, ret_text + n, size - n);
                n += got > 0 ? (size_t)got : 0;
                r = got < 0 && errno != EINTR ? -errno : 0;
                got = got < 0 ? 1 : got;
        }
        if (fd >= 0) {
                close(fd);
        }
        if (r == 0 && n == size) {
                return -EFBIG;
        }
        ret_text[r == 0 ? n : 0] = '\0';
        return r;
}

/* The file's first line. 0 or NATS_DOWN, noted. */
static int read_secret(const struct login *l, const char *key, const char *path,
                       char ret_secret[static SECRET_MAX])
{
        int r = slurp(path, ret_secret, SECRET_MAX);
        if (r < 0) {
                return refuse_file(l, key, path, strerror(-r));
        }
        ret_secret[strcspn(ret_secret, "\r\n")] = '\0';
        return *ret_secret ? 0 : refuse_file(l, key, path, "its first line is empty");
}

/* --- credentials ------------------------------------------------------------------------------ */

/* A text as it stands between the quotes of JSON; forgotten with wipe(). */
struct escaped {
        char text[6 * SECRET_MAX];
};

/* False: it is too long. */
static bool json_escape(const char *text, struct escaped *ret)
{
        char *p = ret->text;
        if (strlen(text) >= SECRET_MAX) {
                return false;
        }
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;
                if (c < 0x20) {
                        p += sprintf(p, "\\u%04x", c);
                        continue;
                }
                if (c == '"' || c == '\\') {
                        *p++ = '\\';
                }
                *p++ = (char)c;
        }
        *p = '\0';
        return true;
}

static void wipe(struct escaped *e)
{
        explicit_bzero(e, sizeof *e);
}

static int login_as_user(const struct login *l, const char *password)
{
        struct escaped user CLEANUP(wipe), secret CLEANUP(wipe);
        natsStatus status = NATS_INVALID_ARG;
        if (json_escape(l->settings->user, &user) && json_escape(password, &secret)) {
                status = natsOptions_SetUserInfo(l->options, user.text, secret.text);
        }
        return status == NATS_OK ? 0 : refuse_status(l, status, "user and password");
}

static int login_by_token(const struct login *l, const char *token)
{
        struct escaped secret CLEANUP(wipe);
        natsStatus status = NATS_INVALID_ARG;
        if (json_escape(token, &secret)) {
                status = natsOptions_SetToken(l->options, secret.text);
        }
        return status == NATS_OK ? 0 : refuse_status(l, status, "token");
}

/* The password or token is in a file. */
static int login_by_file(const struct login *l)
{
        const struct settings *s = l->settings;
        char secret[SECRET_MAX];
        int r = s->token_file ? read_secret(l, "token_file", s->token_file, secret)
                              : read_secret(l, "password_file", s->password_file, secret);
        if (r == 0) {
                r = s->token_file ? login_by_token(l, secret) : login_as_user(l, secret);
        }
        explicit_bzero(secret, sizeof secret);
        return r;
}

/* The first line that begins with a user's seed, as the library will find it again. */
static struct str find_seed(const char *text)
{
        while (*text) {
                text += strspn(text, " \t");
                uint32_t n = (uint32_t)strcspn(text, "\n");
                if (n > 1 && text[0] == 'S' && text[1] == 'U') {
                        return (struct str){text, n};
                }
                text += n + (text[n] == '\n');
        }
        return (struct str){0};
}

static int login_by_nkey(const struct login *l)
{
        const char *path = l->settings->nkey_file;
        char text[SECRET_MAX], key[NKEY_PUBLIC_CHARS + 1];
        int r = slurp(path, text, sizeof text);
        if (r < 0) {
                return refuse_file(l, "nkey_file", path, strerror(-r));
        }
        struct str seed = find_seed(text);
        bool valid = nkey_public(seed, key);
        bool blank =
            !valid && seed.n > NKEY_SEED_CHARS && strchr(" \t\r", seed.p[NKEY_SEED_CHARS]) != NULL;
        explicit_bzero(text, sizeof text);
        if (!valid) {
                return refuse_file(l, "nkey_file", path,
                                   !seed.n ? "it has no line with a user's seed (SU...)"
                                   : blank ? "its seed is followed by a blank or a carriage return"
                                           : "its seed (SU...) is not a user's, or mistyped");
        }
        natsStatus status = natsOptions_SetNKeyFromSeed(l->options, key, path);
        return status == NATS_OK ? 0 : refuse_status(l, status, "nkey_file");
}

static int login_by_creds(const struct login *l)
{
        const char *path = l->settings->creds_file;
        char text[CREDS_MAX];
        int r = slurp(path, text, sizeof text);
        if (r < 0) {
                return refuse_file(l, "creds_file", path, strerror(-r));
        }
        bool whole = strstr(text, "BEGIN NATS USER JWT") && strstr(text, "BEGIN USER NKEY SEED");
        explicit_bzero(text, sizeof text);
        if (!whole) {
                return refuse_file(l, "creds_file", path,
                                   "it has not both a NATS USER JWT and a USER NKEY SEED");
        }
        natsStatus status = natsOptions_SetUserCredentialsFromFiles(l->options, path, NULL);
        return status == NATS_OK ? 0 : refuse_status(l, status, "creds_file");
}

static int set_login(const struct login *l)
{
        const struct settings *s = l->settings;
        if (s->creds_file) {
                return login_by_creds(l);
        }
        if (s->nkey_file) {
                return login_by_nkey(l);
        }
        if (s->token_file || s->password_file) {
                return login_by_file(l);
        }
        if (s->token) {
                return login_by_token(l, s->token);
        }
        return s->user ? login_as_user(l, s->password) : 0;
}

/* --- options ---------------------------------------------------------------------------------- */

static int set_tls(const struct login *l)
{
        const struct settings *s = l->settings;
        if (!s->tls) {
                return 0;
        }
        natsStatus status = natsOptions_SetSecure(l->options, true);
        if (status != NATS_OK) {
                return refuse_status(l, status, "TLS");
        }
        if (s->tls_name) {
                status = natsOptions_SetExpectedHostname(l->options, s->tls_name);
        }
        if (status != NATS_OK) {
                return refuse_status(l, status, "TLS");
        }
        if (s->ca_file) {
                status = natsOptions_LoadCATrustedCertificates(l->options, s->ca_file);
        }
        if (status != NATS_OK) {
                return refuse_status(l, status, "ca_file");
        }
        if (s->cert_file) {
                status = natsOptions_LoadCertificatesChain(l->options, s->cert_file, s->key_file);
        }
        return status == NATS_OK ? 0 : refuse_status(l, status, "cert_file and key_file");
}

static int set_servers(const struct login *l)
{
        const struct settings *s = l->settings;
        natsStatus status = natsOptions_SetServers(l->options, s->servers, s->n_servers);
        struct escaped name;
        if (status == NATS_OK && json_escape(s->application, &name)) {
                status = natsOptions_SetName(l->options, name.text);
        }
        return status == NATS_OK ? 0 : refuse_status(l, status, "servers");
}

int settings_login(const struct settings *s, natsOptions **ret, char *note, size_t note_size)
{
        natsOptions *options CLEANUP(options_destroy)
        = NULL;
        struct login l = {s, NULL, note, note_size};
        natsStatus status = natsOptions_Create(&options);
        l.options = options;
        int r = status == NATS_OK ? set_servers(&l) : refuse_status(&l, status, "NATS");
        if (r == 0) {
                r = set_tls(&l);
        }
        if (r == 0) {
                r = set_login(&l);
        }
        if (r == 0) {
                *ret = STEAL(options);
        }
        return r;
}

/* --- what went wrong -------------------------------------------------------------------------- */

static void tls_reason(const struct settings *s, const char *text, char *note, size_t size)
{
        if (strstr(text, "hostname mismatch") || strstr(text, "IP address mismatch")) {
                snprintf(note, size, "%s: the server's certificate is for another host: %s",
                         s->place, text);
        } else {
                snprintf(note, size, "%s: TLS failed: %s%s", s->place, text,
                         s->tls       ? ""
                         : s->ca_file ? "; ca_file counts with tls:// only"
                                      : "; the server wants TLS, write tls://");
        }
}

/* Who it was, without any secret. */
static void name_login(const struct settings *s, char *note, size_t size)
{
        const char *file = s->nkey_file ? s->nkey_file : s->creds_file;
        if (file) {
                snprintf(note, size, "with %s", file);
        } else if (s->user) {
                snprintf(note, size, "of user %s", s->user);
        } else {
                snprintf(note, size, s->token || s->token_file ? "by token" : "without a user");
        }
}

void login_reason(const struct settings *s, natsStatus status, char *note, size_t size)
{
        const char *text = last_error(status);
        char who[160];
        switch (status) {
        case NATS_SSL_ERROR: tls_reason(s, text, note, size); break;
        case NATS_SECURE_CONNECTION_WANTED:
                snprintf(note, size, "%s: the server has no TLS at this port", s->place);
                break;
        case NATS_CONNECTION_AUTH_FAILED:
                name_login(s, who, sizeof who);
                snprintf(note, size, "%s: the server refused the login %s (%s)", s->place, who,
                         text);
                break;
        case NATS_NO_SERVER:
                snprintf(note, size, "%s: connection refused, or the host cannot be reached",
                         s->place);
                break;
        case NATS_TIMEOUT: snprintf(note, size, "%s: no answer in time", s->place); break;
        default: snprintf(note, size, "%s: %s", s->place, text); break;
        }
}
