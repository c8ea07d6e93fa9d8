/*
 * What the configuration says of a NATS server, read once; and how to log in with it.
 */
#ifndef SKEP_TRANSPORTS_NATS_SETTINGS_H
#define SKEP_TRANSPORTS_NATS_SETTINGS_H

#include "core/arena.h"
#include "transports/nats/nats.h"

#include <nats/nats.h>

/* Never changed after settings_init(). */
struct settings {
        struct arena arena; /* all texts, with a NUL behind */
        bool tls;
        const char **servers; /* "nats://host:port" without credentials */
        int n_servers;
        const char *tls_name;                /* the host of all servers; NULL: they differ */
        const char *user, *password, *token; /* NULL: none */
        const char *place;                   /* "host:port[, ...]", for people */
        const char *password_file, *token_file, *creds_file, *nkey_file; /* NULL: none */
        const char *ca_file, *cert_file, *key_file;
        const char *stream, *subject, *refused_stream,
            *refused_subject; /* the last without queue */
        const char *application;
        uint32_t replicas, ping_ms;
        uint32_t prefetch_bytes, payload_max;
        bool create;
};

/* The labels keep these apart from the functions of the same names of the AMQP transport, in one
 * program.
 *
 * 0, -ENOMEM or NATS_REFUSED, noted. After a failure too settings_deinit() is due. */
int settings_init(struct settings *s, const struct nats_options *o, char *note,
                  size_t note_size) __asm__("skep_nats_settings_init");
void settings_deinit(struct settings *s);

/* Servers, TLS, user, password and token of a URL; the files were copied before. url.c. */
int settings_read_url(struct settings *s, struct str url, char *note,
                      size_t note_size) __asm__("skep_nats_settings_read_url");

/* Options with servers, TLS and credentials (files are read now), for one connection; the caller
 * adds its callbacks and limits, and frees them. 0, -ENOMEM or NATS_DOWN, noted.
 *
 * nats.c reads creds_file and nkey_file again at each reconnect, but keeps passwords and tokens:
 * after two refusals by the same server it closes the connection, and the next one has to log in
 * anew. */
int settings_login(const struct settings *s, natsOptions **ret, char *note, size_t note_size);

/* Why natsConnection_Connect() did not work, of the calling thread's last error: in words that say
 * what to look at, without credentials. */
void login_reason(const struct settings *s, natsStatus status, char *note, size_t note_size);

/* --- nkey.c ----------------------------------------------------------------------------------- */

#define NKEY_SEED_CHARS   58 /* "SU..." */
#define NKEY_PUBLIC_CHARS 56 /* "U..." */

/* The public key that belongs to a user's seed, as the server's configuration names it. False: not
 * a user's seed, or a mistyped one. */
bool nkey_public(struct str seed, char ret_key[static NKEY_PUBLIC_CHARS + 1]);

#endif
