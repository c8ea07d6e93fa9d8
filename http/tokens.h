/*
 * Who may speak over TCP: a file of tokens, one a line. Only their SHA-256 is kept, so that no
 * dump, log or answer can show one; comparing takes the same time whatever is presented.
 */
#ifndef SKEP_HTTP_TOKENS_H
#define SKEP_HTTP_TOKENS_H

#include "core/base.h"

#define TOKENS_REFUSED 1
#define TOKEN_MIN      16 /* characters; a shorter one can be guessed */
#define TOKEN_MAX      1024

struct tokens;

/* TOKENS_REFUSED with a note: missing, readable by others, no token in it, a line that is too
 * short. */
int tokens_load(struct str path, struct tokens **ret, char *note, size_t note_size);
struct tokens *tokens_free(struct tokens *t); /* NULL-safe, returns NULL */

/* The value of an Authorization header, or NULL. */
bool tokens_accept(const struct tokens *t, const char *authorization);

#endif
