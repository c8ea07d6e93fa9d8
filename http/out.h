/*
 * A growing byte buffer that knows how to write JSON.
 *
 * Failure is sticky: after memory ran out every further write does nothing and `failed` stays set,
 * so that callers look once, at the end. Nothing that came from a producer leaves it unescaped:
 * out_string() replaces what is not UTF-8 and escapes all control characters, those of terminals
 * (DEL, C1) included.
 */
#ifndef SKEP_HTTP_OUT_H
#define SKEP_HTTP_OUT_H

#include "core/base.h"
#include "core/id.h"

struct out {
        char *p;
        size_t n, capacity;
        bool failed;
};

void out_deinit(struct out *o);
void out_put(struct out *o, const void *bytes, size_t n);
void out_text(struct out *o, const char *z);
void out_printf(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* JSON. A name or a value in an array writes the comma before itself where one is due. */
void out_comma(struct out *o);
void out_name(struct out *o, const char *name);
void out_string(struct out *o, struct str s); /* quoted */
void out_base64(struct out *o, struct str s); /* quoted */

/* name and value */
void out_member(struct out *o, const char *name, struct str s);
void out_number(struct out *o, const char *name, int64_t value);
void out_real(struct out *o, const char *name, double value); /* not finite: null */
void out_bool(struct out *o, const char *name, bool value);
void out_id(struct out *o, const char *name, const struct job_id *id);
void out_time(struct out *o, const char *name, int64_t wall_us);
void out_duration(struct out *o, const char *name, int64_t ms);
void out_fingerprint(struct out *o, uint64_t fingerprint); /* of an error; 0: nothing is written */

#endif
