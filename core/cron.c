/*
 * A cron expression becomes sets of bits, one per field; the next instant is searched day by day in
 * civil time within stretches of one offset from UTC, so that days of clock change are seams
 * between stretches and nothing else is special.
 *
 * Never looks further than 28 years, which is when the calendar repeats. Counting forward second by
 * second was discarded (a leap day is 10^8 of them away), and so was asking for the instants of
 * each civil time that fits: what comes twice would have to be put in order again.
 */
#include "core/cron.h"
#include "core/config.h"

#include <stdarg.h>
#include <stdio.h>

#define DAY_S        86400
#define YEARS_AHEAD  28
#define EVERY_MAX_MS (INT64_C(365) * DAY_S * 1000)

/* --- reading ---------------------------------------------------------------------------------- */

struct field {
        const char *name, *allowed, *example;
        uint8_t min, max;
        const char *names; /* of min and on, three letters each */
};

enum { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const struct field fields[FIELDS] = {
    {"second", "0 to 59", "*/10 * * * * *", 0, 59, ""},
    {"minute", "0 to 59", "*/15 * * * *", 0, 59, ""},
    {"hour", "0 to 23", "0 9-17 * * *", 0, 23, ""},
    {"day of month", "1 to 31, or L for the last one", "0 6 1,15 * *", 1, 31, ""},
    {"month", "1 to 12, or JAN to DEC", "0 6 1 JAN-JUN *", 1, 12,
     "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
    {"day of week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT", "0 6 * * MON-FRI", 0, 7,
     "SUNMONTUEWEDTHUFRISAT"},
};

struct reader {
        const struct field *field;
        const char *begin, *p, *end; /* of the text; where it is; of this field */
        char *note;
        size_t note_size;
};

static int refuse(char *note, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(char *note, size_t size, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        vsnprintf(note, size, fmt, args);
        va_end(args);
        return CRON_REFUSED;
}

/* What stands at `at`, up to the next sign, is not allowed in this field. */
static int refuse_at(const struct reader *r, const char *at, const char *why)
{
        char shown[24];
        uint32_t n = 0;
        while (at + n < r->end && n < sizeof shown - 1 && (n == 0 || !strchr(",-/", at[n]))) {
                unsigned char byte = (unsigned char)at[n];
                shown[n++] = byte < 0x20 || byte >= 0x7f ? '?' : (char)byte;
        }
        shown[n] = 0;
        return refuse(r->note, r->note_size, "%s, position %u: %s%s%s; %s, for example \"%s\"",
                      r->field->name, (unsigned)(at - r->begin) + 1, n ? shown : "a value",
                      n ? " " : " is missing", n ? why : "", r->field->allowed, r->field->example);
}

static bool blank(char c)
{
        return c == ' ' || c == '\t';
}

static char upper(char c)
{
        return c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c;
}

static bool sign_follows(const struct reader *r)
{
        return r->p == r->end || *r->p == ',' || *r->p == '-' || *r->p == '/';
}

/* A number of three digits at most; false: there is none. */
static bool read_digits(struct reader *r, uint32_t *ret)
{
        uint32_t value = 0, n = 0;
        for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && n < 3; r->p++, n++) {
                value = value * 10 + (uint32_t)(*r->p - '0');
        }
        *ret = value;
        return n > 0 && sign_follows(r);
}

static bool read_name(struct reader *r, uint32_t *ret)
{
        const char *names = r->field->names;
        for (uint32_t i = 0; names[i] && r->end - r->p >= 3; i += 3) {
                if (upper(r->p[0]) == names[i] && upper(r->p[1]) == names[i + 1] &&
                    upper(r->p[2]) == names[i + 2]) {
                        r->p += 3;
                        *ret = r->field->min + i / 3;
                        return sign_follows(r);
                }
        }
        return false;
}

static int read_value(struct reader *r, uint32_t *ret)
{
        const char *at = r->p;
        if (!read_name(r, ret)) {
                r->p = at;
                if (!read_digits(r, ret) || *ret < r->field->min || *ret > r->field->max) {
                        return refuse_at(r, at, "is not allowed");
                }
        }
        return 0;
}

/* "/n"; without one n is 1. */
static int read_step(struct reader *r, uint32_t *ret)
{
        char why[64];
        uint32_t most = (uint32_t)(r->field->max - r->field->min + (r->field->max != 7));
        *ret = 1;
        if (r->p == r->end || *r->p != '/') {
                return 0;
        }
        const char *at = ++r->p;
        if (!read_digits(r, ret) || *ret < 1 || *ret > most) {
                snprintf(why, sizeof why, "is not allowed as a step, which is 1 to %u", most);
                return refuse_at(r, at, why);
        }
        return 0;
}

/* The upper end of "a-b". */
static int read_end(struct reader *r, uint32_t low, uint32_t *ret)
{
        const char *at = ++r->p;
        uint32_t high;
        int refused = read_value(r, &high);
        if (refused == 0 && high == 0 && low > 0 && r->field->max == 7 && upper(*at) == 'S') {
                high = 7; /* FRI-SUN: Sunday ends the week there */
        }
        if (refused == 0 && high < low) {
                return refuse_at(r, at, "is less than what the range begins with");
        }
        *ret = high;
        return refused;
}

/* One part of a list, but for its step: *, a, a-b, or a before a step: from a on. */
static int read_ends(struct reader *r, uint32_t *ret_low, uint32_t *ret_high)
{
        *ret_low = r->field->min;
        *ret_high = r->field->max;
        if (r->p < r->end && *r->p == '*') {
                r->p++;
                return 0;
        }
        int refused = read_value(r, ret_low);
        if (refused != 0 || (r->p < r->end && *r->p == '/')) {
                return refused;
        }
        if (r->p < r->end && *r->p == '-') {
                return read_end(r, *ret_low, ret_high);
        }
        *ret_high = *ret_low;
        return 0;
}

static int read_range(struct reader *r, uint64_t *bits)
{
        uint32_t low, high, step;
        int refused = read_ends(r, &low, &high);
        if (refused == 0) {
                refused = read_step(r, &step);
        }
        for (uint32_t i = low; refused == 0 && i <= high; i += step) {
                *bits |= UINT64_C(1) << i;
        }
        return refused;
}

static int read_field(struct reader *r, uint64_t *ret_bits, bool *ret_last)
{
        uint64_t bits = 0;
        bool last = false;
        for (;;) {
                const char *at = r->p;
                int refused = 0;
                if (r->field == &fields[DAY] && at < r->end && upper(*at) == 'L') {
                        r->p++;
                        last = true;
                } else {
                        refused = read_range(r, &bits);
                }
                if (refused == 0 && r->p < r->end && *r->p != ',') {
                        refused = refuse_at(r, r->p, "is not allowed here");
                }
                if (refused != 0) {
                        return refused;
                }
                if (r->p == r->end) {
                        break;
                }
                r->p++;
        }
        *ret_bits = bits;
        *ret_last = last;
        return 0;
}

/* --- the whole expression --------------------------------------------------------------------- */

static const struct {
        const char *name, *fields;
} nicknames[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

static struct str trimmed(struct str text)
{
        while (text.n && blank(text.p[text.n - 1])) {
                text.n--;
        }
        while (text.n && blank(text.p[0])) {
                text = (struct str){text.p + 1, text.n - 1};
        }
        return text;
}

static bool same_word(struct str a, const char *b)
{
        uint32_t i = 0;
        while (i < a.n && b[i] && upper(a.p[i]) == upper(b[i])) {
                i++;
        }
        return i == a.n && b[i] == 0;
}

static int parse_every(struct str word, const char *begin, struct cron *ret, char *note,
                       size_t note_size)
{
        struct str text = trimmed((struct str){word.p + 6, word.n - 6});
        int64_t ms;
        if (!duration_parse(text, &ms) || ms < 1000 || ms > EVERY_MAX_MS) {
                return refuse(note, note_size,
                              "@every, position %u: %.*s is not allowed; a duration of 1s to 365d, "
                              "for example \"@every 90s\"",
                              (unsigned)(text.p - begin) + 1,
                              text.n ? (int)(text.n < 24 ? text.n : 24) : 7,
                              text.n ? text.p : "nothing");
        }
        *ret = (struct cron){.every_us = ms * 1000};
        return 0;
}

/* Where each field begins and ends; more than there may be are counted only. */
static uint32_t split(struct str text, struct str ret[static FIELDS])
{
        uint32_t n = 0;
        const char *p = text.p, *end = text.p + text.n;
        while (p < end) {
                const char *begin = p;
                while (p < end && !blank(*p)) {
                        p++;
                }
                if (n < FIELDS) {
                        ret[n] = (struct str){begin, (uint32_t)(p - begin)};
                }
                n++;
                while (p < end && blank(*p)) {
                        p++;
                }
        }
        return n;
}

static int parse_fields(struct str text, const char *begin, struct cron *ret, char *note,
                        size_t note_size)
{
        struct str parts[FIELDS + 1] = {{0}};
        uint64_t bits[FIELDS] = {1};
        bool last = false, ignored;
        uint32_t n = split(text, parts);
        if (n != FIELDS && n != FIELDS - 1) {
                uint32_t at = n > FIELDS
                                  ? (uint32_t)(parts[FIELDS - 1].p - begin) + parts[FIELDS - 1].n
                                  : (uint32_t)(text.p - begin) + text.n;
                return refuse(
                    note, note_size,
                    "position %u: %u field%s; 5 (minute, hour, day of month, month, day of "
                    "week) or 6 (second before them) are needed, for example \"30 4 * * 1\"",
                    at + (n > FIELDS ? 2 : 1), n, n == 1 ? "" : "s");
        }
        for (uint32_t i = 0; i < n; i++) {
                uint32_t which = i + FIELDS - n;
                struct reader r = {&fields[which],          begin, parts[i].p,
                                   parts[i].p + parts[i].n, note,  note_size};
                int refused = read_field(&r, &bits[which], which == DAY ? &last : &ignored);
                if (refused != 0) {
                        return refused;
                }
        }
        const struct str *f = parts + (n - (FIELDS - 1)) - MINUTE;
        *ret = (struct cron){
            .second = bits[SECOND],
            .minute = bits[MINUTE],
            .hour = (uint32_t)bits[HOUR],
            .day = (uint32_t)bits[DAY],
            .month = (uint32_t)bits[MONTH],
            .weekday = (uint32_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
            .hour_any = f[HOUR].p[0] == '*',
            .day_any = f[DAY].p[0] == '*',
            .weekday_any = f[WEEKDAY].p[0] == '*',
            .last_day = last,
        };
        return 0;
}

int cron_parse(struct str text, struct cron *ret, char *note, size_t note_size)
{
        struct str word = trimmed(text);
        if (text.n > CRON_TEXT_MAX) {
                return refuse(note, note_size,
                              "it has %u bytes; %u at most, for example \"30 4 * * 1\"", text.n,
                              CRON_TEXT_MAX);
        }
        if (word.n == 0 || word.p[0] != '@') {
                return parse_fields(word, text.p, ret, note, note_size);
        }
        struct str every = {word.p, 6};
        if (word.n >= 6 && same_word(every, "@every") && (word.n == 6 || blank(word.p[6]))) {
                return parse_every(word, text.p, ret, note, note_size);
        }
        for (size_t i = 0; i < ARRAY_LEN(nicknames); i++) {
                if (same_word(word, nicknames[i].name)) {
                        struct str meant = str_of(nicknames[i].fields);
                        return parse_fields(meant, meant.p, ret, note, note_size);
                }
        }
        return refuse(
            note, note_size,
            "position %u: %.*s is not known; @yearly, @monthly, @weekly, @daily, @hourly or "
            "@every with a duration, for example \"@every 15m\"",
            (unsigned)(word.p - text.p) + 1, (int)(word.n < 24 ? word.n : 24), word.p);
}

/* --- the next instant ------------------------------------------------------------------------- */

/* The lowest bit that is set from `from` on; 64: none. */
static uint32_t next_bit(uint64_t bits, uint32_t from)
{
        uint64_t rest = from < 64 ? bits >> from << from : 0;
        return rest ? (uint32_t)__builtin_ctzll(rest) : 64;
}

/* The first second of a day, from `from` on, at which it runs; DAY_S: none. */
static int64_t next_of_day(const struct cron *c, int64_t from)
{
        uint32_t hour = (uint32_t)(from / 3600), minute = (uint32_t)(from / 60 % 60);
        uint32_t second = (uint32_t)(from % 60);
        for (uint32_t h = next_bit(c->hour, hour); h < 24; h = next_bit(c->hour, h + 1)) {
                uint32_t first = h == hour ? minute : 0;
                for (uint32_t m = next_bit(c->minute, first); m < 60;
                     m = next_bit(c->minute, m + 1)) {
                        bool same = h == hour && m == minute;
                        uint32_t s = next_bit(c->second, same ? second : 0);
                        if (s < 60) {
                                return h * 3600 + m * 60 + s;
                        }
                }
        }
        return DAY_S;
}

static bool day_fits(const struct cron *c, const struct civil *d, int64_t days)
{
        struct civil tomorrow;
        civil_of_days(days + 1, &tomorrow);
        bool day = (c->day >> d->day & 1) || (c->last_day && tomorrow.day == 1);
        bool weekday = c->weekday >> d->weekday & 1;
        return c->day_any || c->weekday_any ? day && weekday : day || weekday;
}

static int64_t first_of_next_month(const struct civil *d)
{
        return d->month == 12 ? civil_days(d->year + 1, 1, 1)
                              : civil_days(d->year, d->month + 1u, 1);
}

/* The first civil time in [from, until) at which it runs, as seconds since 1970 as if in UTC;
 * `until`: none. */
static int64_t next_civil(const struct cron *c, int64_t from, int64_t until)
{
        int64_t days = from / DAY_S - (from % DAY_S < 0);
        int64_t of_day = from - days * DAY_S;
        while (days * DAY_S < until) {
                struct civil d;
                civil_of_days(days, &d);
                if (!(c->month >> d.month & 1)) {
                        days = first_of_next_month(&d);
                } else {
                        int64_t at = day_fits(c, &d, days) ? next_of_day(c, of_day) : DAY_S;
                        if (at < DAY_S) {
                                at += days * DAY_S;
                                return at < until ? at : until;
                        }
                        days++;
                }
                of_day = 0;
        }
        return until;
}

/* Did this civil time come before, earlier than at this instant? */
static bool came_before(const struct zone *z, int64_t at, int32_t offset)
{
        struct civil c;
        int64_t instants[2], local = at + offset, days = local / DAY_S - (local % DAY_S < 0);
        int32_t rest = (int32_t)(local - days * DAY_S);
        civil_of_days(days, &c);
        c.hour = (uint8_t)(rest / 3600);
        c.minute = (uint8_t)(rest / 60 % 60);
        c.second = (uint8_t)(rest % 60);
        return zone_instants(z, &c, instants) == 2 && instants[1] == at;
}

static int64_t next_every(const struct cron *c, int64_t origin_us, int64_t after_us)
{
        if (after_us < origin_us) {
                return origin_us + c->every_us;
        }
        return origin_us + ((after_us - origin_us) / c->every_us + 1) * c->every_us;
}

int64_t cron_next(const struct cron *c, const struct zone *z, int64_t origin_us, int64_t after_us)
{
        if (c->every_us > 0) {
                return next_every(c, origin_us, after_us);
        }
        int64_t at = after_us / US_PER_S + 1;
        struct civil begin;
        zone_civil(z, at, &begin);
        int64_t last = civil_days(begin.year + YEARS_AHEAD, begin.month, begin.day + 2u) * DAY_S;
        while (at < last) {
                int32_t offset = zone_offset(z, at), before = zone_offset(z, at - 1);
                if (!c->hour_any && offset > before &&
                    next_civil(c, at + before, at + offset) < at + offset) {
                        return at * US_PER_S;
                }
                int64_t until = zone_change(z, at);
                until = until < last ? until : last;
                int64_t from = at + offset;
                while ((from = next_civil(c, from, until + offset)) < until + offset) {
                        if (c->hour_any || !came_before(z, from - offset, offset)) {
                                return (from - offset) * US_PER_S;
                        }
                        from++;
                }
                at = until;
        }
        return 0;
}
