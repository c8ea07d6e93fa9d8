/*
 * Where the ledger is: the URL, judged before anything is connected.
 */
#ifndef SKEP_LEDGERS_POSTGRES_URL_H
#define SKEP_LEDGERS_POSTGRES_URL_H

#include "ledgers/postgres/names.h"

#include <stdbool.h>
#include <stddef.h>

#define URL_WORDS_MAX 64

struct url {
        /* for PQconnectStartParams(), ended by NULLs; own memory */
        char *words[URL_WORDS_MAX], *values[URL_WORDS_MAX];
        int n;
        struct names names;
        char place[100]; /* "host:port/database", for notes; no password */
};

/* 0, POSTGRES_REFUSED (noted, without the password), -ENOMEM. */
int url_read(struct url *u, const char *text, bool unsafe, const char *application, char *note,
             size_t note_size);
void url_deinit(struct url *u);

/* What libpq is to be told, with the names looked up: lists ended by NULLs, of the URL's own texts.
 */
void url_words(const struct url *u, const char *ret_words[static URL_WORDS_MAX],
               const char *ret_values[static URL_WORDS_MAX]);

#endif
