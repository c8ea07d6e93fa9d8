/*
 * Delays in integer milliseconds. Saturating: an attempt number or base that would overflow meets
 * the cap first.
 */
#include "core/retry.h"

static const char *const names[] = {
#define X(name, text) [BACKOFF_##name] = text,
    BACKOFFS(X)
#undef X
};

static int64_t capped_product(int64_t base, int64_t factor, int64_t cap)
{
        if (base <= 0 || cap <= 0) {
                return 0;
        }
        return factor > cap / base ? cap : base * factor;
}

static int64_t table_delay(const struct retry_policy *p, uint32_t steps)
{
        uint32_t n = p->n_table < RETRY_TABLE_MAX ? p->n_table : RETRY_TABLE_MAX;
        return n ? p->table_ms[steps < n ? steps : n - 1] : p->cap_ms;
}

static int64_t plain_delay(const struct retry_policy *p, uint32_t attempt)
{
        uint32_t steps = attempt ? attempt - 1 : 0;
        switch (p->backoff) {
        case BACKOFF_EXPONENTIAL:
                return capped_product(p->base_ms, INT64_C(1) << (steps > 61 ? 61 : steps),
                                      p->cap_ms);
        case BACKOFF_LINEAR: return capped_product(p->base_ms, (int64_t)steps + 1, p->cap_ms);
        case BACKOFF_FIXED: return capped_product(p->base_ms, 1, p->cap_ms);
        case BACKOFF_TABLE: return table_delay(p, steps);
        }
        return p->cap_ms;
}

int64_t retry_delay_ms(const struct retry_policy *p, uint32_t attempt, uint64_t u)
{
        int64_t delay = plain_delay(p, attempt);
        delay = delay > p->cap_ms ? p->cap_ms : delay;
        /* u as a fixed-point number in [-1, 1): 21 bits, so that a year of milliseconds times it
         * fits */
        int64_t fraction = (int64_t)(u >> 43) - (INT64_C(1) << 20);
        int64_t spread = delay * p->jitter_permille / 1000;
        return delay + spread * fraction / (INT64_C(1) << 20);
}

const char *backoff_name(enum backoff b)
{
        return (unsigned)b < ARRAY_LEN(names) ? names[b] : "?";
}

bool backoff_parse(struct str name, enum backoff *ret)
{
        for (unsigned b = 0; b < ARRAY_LEN(names); b++) {
                if (str_eq(name, str_of(names[b]))) {
                        *ret = (enum backoff)b;
                        return true;
                }
        }
        return false;
}
