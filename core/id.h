/*
 * Ids are ours, keys are theirs.
 *
 * A job id is a UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then a counter that keeps
 * ids of one millisecond in order, then random bits. It inserts at the right edge of every index.
 *
 * A key is what a producer calls its job: a UUID or ULID keeps its own 16 bytes (so that
 * time-ordered keys stay ordered), any other text is its SHA-256, cut to 16 bytes.
 */
#ifndef SKEP_CORE_ID_H
#define SKEP_CORE_ID_H

#include "core/base.h"

/* Mints ids in strictly rising order. Zero it, then seed `random` (any nonzero value). One owner.
 */
struct id_mint {
        uint64_t random;  /* xorshift state */
        uint64_t last_ms; /* of the last id */
        uint32_t counter; /* within last_ms; when spent, last_ms is moved one ahead */
};

struct job_id id_mint(struct id_mint *m, int64_t wall_us);

#define JOB_ID_TEXT 37 /* 36 characters and a NUL */
void id_text(const struct job_id *id, char ret_text[static JOB_ID_TEXT]);
bool id_parse(struct str text, struct job_id *ret_id); /* 36-character form, any case */

struct job_key {
        bool set;
        uint8_t b[16];
};

#define KEY_TEXT_MAX 255 /* bytes of a producer's key; longer is refused */

/* text must have 1 to KEY_TEXT_MAX bytes. */
struct job_key key_from_text(struct str text);

/* SHA-256 of the bytes, the first 16 of it: request hashes, keys. */
void hash16(struct str bytes, uint8_t ret_hash[static 16]);

#endif
