/*
 * What the tests of the envelope share: a plain letter, how it is opened, what is asked of the
 * result.
 */
#ifndef SKEP_TESTS_UNIT_TEST_ENVELOPE_H
#define SKEP_TESTS_UNIT_TEST_ENVELOPE_H

#include "core/envelope.h"
#include "tests/unit/unit.h"

#define NOW     INT64_C(1900000000000000) /* 2030-03-17T17:46:40Z */
#define PAST    "2020-01-01T00:00:00Z"
#define LATE    "2031-05-04T13:00:00Z"
#define LATE_US INT64_C(1935666000000000)
#define UUID    "0190d2f4-5b6c-7abc-8def-0123456789ab"

static const struct envelope_defaults defaults = {
    .queue = {"email", 5},
    .default_type = {"email.default", 13},
    .priority = 4,
    .payload_max = 1000,
};

static struct arena arena;

static inline struct envelope plain(void)
{
        return (struct envelope){
            .address = STR("email.send"), .body = STR("{\"to\":\"x\"}"), .priority = -1};
}

static inline struct arrival open_with(const struct envelope *in, const struct envelope_defaults *d)
{
        struct arrival a;
        memset(&a, 0x5a, sizeof a);
        CU_ASSERT_FATAL(envelope_open(in, d, NOW, &arena, &a) == 0);
        return a;
}

static inline struct arrival open_plain(const struct envelope *in)
{
        return open_with(in, &defaults);
}

/* `name: value` pairs, ended by NULL; a letter to email.send with these. */
static inline struct arrival open_headers(const char *const *pairs)
{
        struct envelope_header h[16];
        struct envelope in = plain();
        for (; pairs[in.n_headers * 2]; in.n_headers++) {
                CU_ASSERT_FATAL(in.n_headers < ARRAY_LEN(h));
                h[in.n_headers] = (struct envelope_header){str_of(pairs[in.n_headers * 2]),
                                                           str_of(pairs[in.n_headers * 2 + 1])};
        }
        in.headers = h;
        return open_plain(&in);
}

#define HEADERS(...) open_headers((const char *const[]){__VA_ARGS__, NULL, NULL})

static inline bool text_is(struct str s, const char *z)
{
        return str_eq(s, str_of(z));
}

static inline bool says(const struct arrival *a, const char *part)
{
        return memmem(a->row.error_text.p, a->row.error_text.n, part, strlen(part)) != NULL;
}

static inline bool dead(const struct arrival *a, enum job_reason reason)
{
        return a->kind == ARRIVAL_LETTER && a->row.state == STATE_DEAD && a->row.reason == reason;
}

static inline bool well(const struct arrival *a)
{
        return a->kind == ARRIVAL_LETTER && a->row.state == STATE_PENDING &&
               a->row.reason == REASON_NONE && a->row.error_text.n == 0;
}

/* The value of a kept header, NULL: not there. */
static inline const char *kept(const struct arrival *a, const char *name)
{
        struct str h = a->row.headers;
        for (uint32_t i = 0; i < h.n;) {
                const char *at = h.p + i, *value = at + strlen(at) + 1;
                if (strcmp(at, name) == 0) {
                        return value;
                }
                i = (uint32_t)(value + strlen(value) + 1 - h.p);
        }
        return NULL;
}

static inline bool kept_is(const struct arrival *a, const char *name, const char *value)
{
        const char *there = kept(a, name);
        return there && strcmp(there, value) == 0;
}

#endif
