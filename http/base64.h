/*
 * Base64 (RFC 4648 section 4), strict: padded, nothing but the alphabet, no stray bits. Lenient
 * decoders give one payload several spellings, and then the same key has "another" payload.
 */
#ifndef SKEP_HTTP_BASE64_H
#define SKEP_HTTP_BASE64_H

#include "core/base.h"

static inline size_t base64_encoded(size_t n)
{
        return (n + 2) / 3 * 4;
}

/* Writes base64_encoded(s.n) characters, no NUL. */
void base64_encode(struct str s, char *ret_text);

/* Decodes into ret_bytes (room for text.n / 4 * 3; may be text.p itself). false: not base64. */
bool base64_decode(struct str text, char *ret_bytes, uint32_t *ret_n);

/* The URL-safe alphabet without padding (RFC 4648 section 5), for cursors: in place from and to the
 * above. */
void base64_to_url(char *text, size_t *n);
bool base64_from_url(struct str text, char *ret_text, size_t room, size_t *ret_n);

#endif
