/*
 * Durations and sizes as people write them: a whole number and a unit. One form only: no fractions,
 * no sums ("1h30m"), no sign, no blanks, so that every program that reads one reads all of them.
 * A number that does not fit 64 bits is nonsense like any other.
 */
#include "core/config.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
        const char *suffix;
        int64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL},
};
static const struct unit size_units[] = {
    {"G", INT64_C(1) << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL},
};

/* The digits at the start of text, moved past; false: none, or too many. */
static bool take_number(struct str *text, int64_t *ret)
{
        int64_t value = 0;
        uint32_t i = 0;
        for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, text->p[i] - '0', &value)) {
                        return false;
                }
        }
        if (i == 0) {
                return false;
        }
        *text = (struct str){text->p + i, text->n - i};
        *ret = value;
        return true;
}

bool duration_parse(struct str text, int64_t *ret_ms)
{
        int64_t value, ms;
        if (!take_number(&text, &value)) {
                return false;
        }
        if (text.n == 0 && value == 0) {
                *ret_ms = 0;
                return true;
        }
        for (const struct unit *u = duration_units; u->suffix; u++) {
                if (str_eq(text, str_of(u->suffix))) {
                        if (__builtin_mul_overflow(value, u->factor, &ms)) {
                                return false;
                        }
                        *ret_ms = ms;
                        return true;
                }
        }
        return false;
}

bool size_parse(struct str text, int64_t *ret_bytes)
{
        int64_t value, bytes;
        if (!take_number(&text, &value) || text.n > 1) {
                return false;
        }
        char suffix = text.n ? (char)(text.p[0] | 0x20) : 0;
        for (const struct unit *u = size_units; u->suffix; u++) {
                if (suffix == (u->suffix[0] ? (u->suffix[0] | 0x20) : 0)) {
                        if (__builtin_mul_overflow(value, u->factor, &bytes)) {
                                return false;
                        }
                        *ret_bytes = bytes;
                        return true;
                }
        }
        return false;
}

static void write_unit(const struct unit *units, int64_t value, char *ret_text)
{
        const struct unit *u = units;
        while (u[1].suffix && value % u->factor != 0) {
                u++;
        }
        snprintf(ret_text, DURATION_TEXT_MAX, "%" PRId64 "%s", value / u->factor, u->suffix);
}

void duration_text(int64_t ms, char ret_text[static DURATION_TEXT_MAX])
{
        if (ms == 0) {
                snprintf(ret_text, DURATION_TEXT_MAX, "0");
                return;
        }
        write_unit(duration_units, ms, ret_text);
}

void size_text(int64_t bytes, char ret_text[static DURATION_TEXT_MAX])
{
        if (bytes == 0) {
                snprintf(ret_text, DURATION_TEXT_MAX, "0");
                return;
        }
        write_unit(size_units, bytes, ret_text);
}
