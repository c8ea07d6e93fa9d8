/*
 * Where the bytes of a JSON value begin and end (RFC 8259), without building it.
 *
 * A payload is opaque: it is kept as its exact bytes, so a parser that returns values is the wrong
 * tool (it would also refuse integers above 64 bits and forget the order of members). This one only
 * validates and gives spans. It is iterative, its memory is a fixed bit stack, and it looks at each
 * byte a fixed number of times.
 */
#ifndef SKEP_HTTP_JSON_H
#define SKEP_HTTP_JSON_H

#include "core/base.h"

#define JSON_DEPTH_MAX 512

/* > 0 of the functions below */
#define JSON_END 1 /* no further item */
#define JSON_BAD 2 /* not JSON: the fault says where and why */

struct json_fault {
        size_t at;        /* byte offset in the text */
        const char *what; /* "a string must not contain a raw control character" */
};

/* What a span contains that some places refuse. */
#define JSON_HAS_NUL    1u /* \u0000 */
#define JSON_HAS_LONE   2u /* half of a surrogate pair */
#define JSON_HAS_ESCAPE 4u

struct json_item {
        struct str name;  /* of an object's member: between the quotes, escapes as written */
        struct str value; /* from its first to its last byte */
        unsigned name_has, value_has;
};

/* Is the text one JSON value, alone but for white space? 0 or JSON_BAD. */
int json_check(struct str text, struct json_fault *ret_fault);

struct json_walk {
        struct str text;
        size_t at;
        bool object, first;
        bool within; /* something may follow it in the text */
};

/* Begins at the object or array that fills the text. JSON_BAD when it is neither (`what` says so).
 */
int json_walk_begin(struct json_walk *w, struct str text, struct json_fault *ret_fault);

/* The next member or element; JSON_END after the last, when nothing but white space follows. */
int json_walk_next(struct json_walk *w, struct json_item *ret_item, struct json_fault *ret_fault);

/* As json_walk_next(), for an element that is walked itself, so that its bytes are looked at once:
 * to its JSON_END with `ret_inner`, whose offsets are those of the whole text; then w goes on
 * behind it. Not `object`: it is no object, and not to be walked. */
int json_walk_enter(struct json_walk *w, struct json_walk *ret_inner, struct json_fault *ret_fault);
void json_walk_leave(struct json_walk *w, const struct json_walk *inner);

/* The characters that a validated string means, without its quotes. `to` has room for raw.n bytes
 * and may be raw.p. A lone surrogate becomes U+FFFD. Returns how many bytes. */
uint32_t json_unescape(struct str raw, char *to);

/* Does this content type say that the bytes are JSON? application/json, or anything with +json. */
bool json_media_type(struct str content_type);

/* Line and column (in characters), both from 1. */
void json_place(struct str text, size_t at, uint32_t *ret_line, uint32_t *ret_column);

/* Bytes of the UTF-8 character that begins the text; 0: none does (overlong, surrogate, beyond
 * U+10FFFF, cut). */
size_t utf8_length(const char *text, size_t n);

#endif
