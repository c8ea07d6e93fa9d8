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
        const char *user, *password, *token; /* NULL: none */
        const char *place;                   /* "host:port[, ...]", for people */
        const char *password_file, *token_file, *creds_file, *nkey_file; /* NULL: none */
        const char *ca_file, *cert_file, *key_file;
        const char *stream, *subject, *refused_stream, *refused_subject; /* the last without queue */
        const char *application;
        uint32_t replicas, ping_ms;
        uint32_t prefetch_bytes, payload_max;
        bool create;
};

/* 0, -ENOMEM or NATS_REFUSED, noted. */
int settings_init(struct settings *s, const struct nats_options *o, char *note, size_t note_size);
void settings_deinit(struct settings *s);

/* Options with servers, TLS and credentials (files are read now), for one connection; the caller adds
 * its callbacks and limits. 0, -ENOMEM, NATS_REFUSED or NATS_DOWN, noted. */
int settings_login(const struct settings *s, natsOptions **ret, char *note, size_t note_size);

#endif
