/*
 * Time zones from TZif bytes (RFC 8536, versions 1 to 4). What is kept is where the offset changes:
 * changes of an abbreviation alone are dropped. After the table the footer, a POSIX TZ text, tells
 * two changes a year; without one the last offset holds for ever.
 *
 * The bytes are a stranger's: every count is checked against what is there before it is used.
 * The C library's tzset() was discarded: it knows one zone per process and reads files.
 */
#include "core/zone.h"

#include <stdlib.h>

#define DAY_S        86400
#define OFFSET_MAX_S (26 * 3600) /* RFC 8536: no offset is as large */
#define DAYS_TO_1970 719468      /* from the first of March of year 0 */

enum date_form { DATE_JULIAN, DATE_DAY, DATE_WEEKDAY };

/* When in a year: Jn (1 to 365, never 29 February), n (0 to 365), or Mm.w.d. */
struct rule_date {
        enum date_form form;
        int32_t day; /* of the year, or the weekday */
        int32_t month, week;
        int32_t time_s; /* of that day, in the civil time that ends; may be negative */
};

/* What the footer says. */
struct rule {
        bool given, dst;
        int32_t offset, dst_offset;
        struct rule_date begin, end; /* of daylight saving time */
};

struct zone {
        struct str name;
        int32_t first; /* the offset before the first change */
        uint32_t n;
        const int64_t *at;      /* ascending */
        const int32_t *offsets; /* from at[i] on */
        bool table;             /* the file has changes at all, if only of abbreviations */
        int64_t rule_from;      /* with a table: the rule holds from here on */
        struct rule rule;
};

/* --- days ------------------------------------------------------------------------------------- */

/* March is the first month here, which puts the leap day at the end of the year. */
int64_t civil_days(int32_t year, unsigned month, unsigned day)
{
        int64_t y = month > 2 ? year : (int64_t)year - 1;
        int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
        int64_t m = month > 2 ? (int64_t)month - 3 : (int64_t)month + 9;
        return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (m * 153 + 2) / 5 + day -
               1 - DAYS_TO_1970;
}

void civil_of_days(int64_t days, struct civil *ret)
{
        int64_t since = days + DAYS_TO_1970;
        int64_t era = (since >= 0 ? since : since - 146096) / 146097;
        int64_t of_era = since - era * 146097;
        int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        int64_t of_year = of_era - (year * 365 + year / 4 - year / 100);
        int64_t m = (of_year * 5 + 2) / 153;
        int64_t month = m < 10 ? m + 3 : m - 9;
        *ret = (struct civil){
            .year = (int32_t)(year + era * 400 + (month <= 2)),
            .month = (uint8_t)month,
            .day = (uint8_t)(of_year - (m * 153 + 2) / 5 + 1),
            .weekday = (uint8_t)(((days % 7) + 7 + 4) % 7),
        };
}

static int64_t floor_days(int64_t seconds)
{
        return (seconds - ((seconds % DAY_S) + DAY_S) % DAY_S) / DAY_S;
}

static int64_t civil_seconds(const struct civil *c)
{
        return civil_days(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 +
               c->second;
}

/* --- the footer's rule ------------------------------------------------------------------------ */

static bool take(struct str *text, char c)
{
        if (text->n == 0 || text->p[0] != c) {
                return false;
        }
        *text = (struct str){text->p + 1, text->n - 1};
        return true;
}

static bool take_number(struct str *text, int32_t max, int32_t *ret)
{
        int32_t value = 0;
        uint32_t i = 0;
        for (; i < text->n && i < 4 && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
                value = value * 10 + (text->p[i] - '0');
        }
        *text = (struct str){text->p + i, text->n - i};
        *ret = value;
        return i > 0 && value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct str *text, int32_t max_hours, int32_t *ret_s)
{
        int32_t hour, minute = 0, second = 0;
        bool negative = take(text, '-');
        if (!negative) {
                take(text, '+');
        }
        if (!take_number(text, max_hours, &hour) ||
            (take(text, ':') && (!take_number(text, 59, &minute) ||
                                 (take(text, ':') && !take_number(text, 59, &second))))) {
                return false;
        }
        *ret_s = (hour * 3600 + minute * 60 + second) * (negative ? -1 : 1);
        return true;
}

/* "CET" or "<+03>" */
static bool take_abbreviation(struct str *text)
{
        uint32_t i = 0;
        bool quoted = take(text, '<');
        for (; i < text->n; i++) {
                char c = text->p[i], lower = (char)(c | 0x20);
                bool letter = lower >= 'a' && lower <= 'z';
                if (!letter && !(quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'))) {
                        break;
                }
        }
        *text = (struct str){text->p + i, text->n - i};
        return i >= 3 && (!quoted || take(text, '>'));
}

static bool take_date(struct str *text, struct rule_date *ret)
{
        struct rule_date d = {.form = DATE_DAY, .time_s = 2 * 3600};
        bool ok;
        if (take(text, 'M')) {
                d.form = DATE_WEEKDAY;
                ok = take_number(text, 12, &d.month) && d.month > 0 && take(text, '.') &&
                     take_number(text, 5, &d.week) && d.week > 0 && take(text, '.') &&
                     take_number(text, 6, &d.day);
        } else if (take(text, 'J')) {
                d.form = DATE_JULIAN;
                ok = take_number(text, 365, &d.day) && d.day > 0;
        } else {
                ok = take_number(text, 365, &d.day);
        }
        if (!ok || (take(text, '/') && !take_time(text, 167, &d.time_s))) {
                return false;
        }
        *ret = d;
        return true;
}

/* POSIX counts offsets westwards. An empty text is no rule, which is allowed. */
static bool parse_rule(struct str text, struct rule *ret)
{
        struct rule r = {.given = text.n > 0};
        int32_t west;
        if (!r.given) {
                *ret = r;
                return true;
        }
        if (!take_abbreviation(&text) || !take_time(&text, 24, &west)) {
                return false;
        }
        r.offset = -west;
        if (text.n > 0) {
                r.dst = true;
                r.dst_offset = r.offset + 3600;
                if (!take_abbreviation(&text)) {
                        return false;
                }
                if (text.n > 0 && text.p[0] != ',') {
                        if (!take_time(&text, 24, &west)) {
                                return false;
                        }
                        r.dst_offset = -west;
                }
                if (!take(&text, ',') || !take_date(&text, &r.begin) || !take(&text, ',') ||
                    !take_date(&text, &r.end)) {
                        return false;
                }
        }
        *ret = r;
        return text.n == 0;
}

static bool leap_year(int32_t year)
{
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t date_days(const struct rule_date *d, int32_t year)
{
        int64_t january = civil_days(year, 1, 1);
        if (d->form == DATE_JULIAN) {
                return january + d->day - 1 + (leap_year(year) && d->day >= 60);
        }
        if (d->form == DATE_DAY) {
                return january + d->day;
        }
        struct civil first;
        int64_t days = civil_days(year, (unsigned)d->month, 1);
        int64_t next = d->month == 12 ? civil_days(year + 1, 1, 1)
                                      : civil_days(year, (unsigned)d->month + 1, 1);
        civil_of_days(days, &first);
        days += (d->day - first.weekday + 7) % 7 + (d->week - 1) * 7;
        return days < next ? days : days - 7;
}

struct change {
        int64_t at;
        int32_t offset;
};

#define RULE_CHANGES 6

/* The changes of the years around `year`, ascending. Where an end and a begin fall together (summer
 * all year) the begin comes later, so that it counts. */
static void rule_changes(const struct rule *r, int32_t year, struct change ret[static RULE_CHANGES])
{
        uint32_t n = 0;
        for (int32_t y = year - 1; y <= year + 1; y++) {
                int64_t begin = date_days(&r->begin, y) * DAY_S + r->begin.time_s - r->offset;
                int64_t end = date_days(&r->end, y) * DAY_S + r->end.time_s - r->dst_offset;
                ret[n++] = (struct change){end, r->offset};
                ret[n++] = (struct change){begin, r->dst_offset};
        }
        for (uint32_t i = 1; i < n; i++) {
                for (uint32_t j = i; j > 0 && ret[j].at < ret[j - 1].at; j--) {
                        struct change swapped = ret[j];
                        ret[j] = ret[j - 1];
                        ret[j - 1] = swapped;
                }
        }
}

static int32_t year_of(int64_t unix_s)
{
        struct civil c;
        civil_of_days(floor_days(unix_s), &c);
        return c.year;
}

static int32_t rule_offset(const struct rule *r, int64_t unix_s)
{
        struct change changes[RULE_CHANGES] = {{0}};
        int32_t offset = r->offset;
        if (!r->dst) {
                return offset;
        }
        rule_changes(r, year_of(unix_s), changes);
        for (uint32_t i = 0; i < RULE_CHANGES && changes[i].at <= unix_s; i++) {
                offset = changes[i].offset;
        }
        return offset;
}

static int64_t rule_change(const struct rule *r, int64_t unix_s)
{
        struct change changes[RULE_CHANGES] = {{0}};
        if (!r->dst) {
                return INT64_MAX;
        }
        rule_changes(r, year_of(unix_s), changes);
        for (uint32_t i = 0; i < RULE_CHANGES; i++) {
                int64_t at = changes[i].at;
                if (at > unix_s && rule_offset(r, at) != rule_offset(r, at - 1)) {
                        return at;
                }
        }
        return INT64_MAX;
}

/* --- the file --------------------------------------------------------------------------------- */

struct header {
        uint8_t version;
        uint32_t isut, isstd, leap, time, type, chars;
};

#define HEADER_BYTES 44

static uint64_t big_endian(const char *p, uint32_t bytes)
{
        uint64_t value = 0;
        for (uint32_t i = 0; i < bytes; i++) {
                value = value << 8 | (unsigned char)p[i];
        }
        return value;
}

static bool read_header(struct str bytes, struct header *ret)
{
        if (bytes.n < HEADER_BYTES || memcmp(bytes.p, "TZif", 4) != 0) {
                return false;
        }
        uint32_t counts[6];
        for (uint32_t i = 0; i < ARRAY_LEN(counts); i++) {
                counts[i] = (uint32_t)big_endian(bytes.p + 20 + i * 4, 4);
                if (counts[i] > UINT16_MAX) {
                        return false;
                }
        }
        *ret = (struct header){(uint8_t)bytes.p[4], counts[0], counts[1], counts[2],
                               counts[3],           counts[4], counts[5]};
        return counts[4] > 0 && (ret->version == 0 || (ret->version >= '2' && ret->version <= '4'));
}

/* Of the block behind a header whose times have `size` bytes. */
static uint64_t block_bytes(const struct header *h, uint32_t size)
{
        return (uint64_t)h->time * size + h->time + (uint64_t)h->type * 6 + h->chars +
               (uint64_t)h->leap * (size + 4) + h->isstd + h->isut;
}

/* The block that counts: the second one, with times of 8 bytes, where there is one. */
struct block {
        struct header h;
        uint32_t size; /* of a time */
        struct str data, footer;
};

static bool find_block(struct str bytes, struct block *ret)
{
        struct block b = {.size = 4};
        if (!read_header(bytes, &b.h) || block_bytes(&b.h, 4) > bytes.n - HEADER_BYTES) {
                return false;
        }
        if (b.h.version != 0) {
                uint32_t passed = HEADER_BYTES + (uint32_t)block_bytes(&b.h, 4);
                bytes = (struct str){bytes.p + passed, bytes.n - passed};
                b.size = 8;
                if (!read_header(bytes, &b.h) || block_bytes(&b.h, 8) > bytes.n - HEADER_BYTES) {
                        return false;
                }
        }
        uint32_t n = (uint32_t)block_bytes(&b.h, b.size);
        b.data = (struct str){bytes.p + HEADER_BYTES, n};
        b.footer = (struct str){b.data.p + n, bytes.n - HEADER_BYTES - n};
        if (b.h.version != 0) {
                const char *end;
                if (!take(&b.footer, '\n') || !(end = memchr(b.footer.p, '\n', b.footer.n))) {
                        return false;
                }
                b.footer.n = (uint32_t)(end - b.footer.p);
        } else {
                b.footer = STR("");
        }
        *ret = b;
        return b.h.leap == 0;
}

static bool read_offset(const struct block *b, uint32_t type, int32_t *ret)
{
        const char *types = b->data.p + (size_t)b->h.time * (b->size + 1);
        if (type >= b->h.type) {
                return false;
        }
        *ret = (int32_t)big_endian(types + (size_t)type * 6, 4);
        return *ret > -OFFSET_MAX_S && *ret < OFFSET_MAX_S;
}

static int64_t read_time(const struct block *b, uint32_t i)
{
        uint64_t raw = big_endian(b->data.p + (size_t)i * b->size, b->size);
        return b->size == 4 ? (int32_t)(uint32_t)raw : (int64_t)raw;
}

/* Keeps the changes of the offset alone. */
static bool read_changes(const struct block *b, struct zone *z, int64_t *at, int32_t *offsets)
{
        int32_t now;
        int64_t passed = INT64_MIN;
        if (!read_offset(b, 0, &z->first)) {
                return false;
        }
        now = z->first;
        for (uint32_t i = 0; i < b->h.time; i++) {
                int64_t time = read_time(b, i);
                int32_t offset;
                unsigned char type = (unsigned char)b->data.p[(size_t)b->h.time * b->size + i];
                if (!read_offset(b, type, &offset) || (i > 0 && time <= passed)) {
                        return false;
                }
                passed = time;
                if (offset != now) {
                        at[z->n] = time;
                        offsets[z->n++] = offset;
                        now = offset;
                }
        }
        z->table = b->h.time > 0;
        z->rule_from = passed;
        return true;
}

struct zone *zone_free(struct zone *z)
{
        free(z);
        return NULL;
}

static void zone_freep(struct zone **z)
{
        zone_free(*z);
}

/* One piece of memory: the zone, its changes, its name. */
struct zone *zone_new(struct str name, struct str tzif)
{
        struct block b;
        struct rule rule;
        if (!find_block(tzif, &b) || !parse_rule(b.footer, &rule)) {
                return NULL;
        }
        struct zone CLEANUP(zone_freep) *z =
            calloc(1, sizeof *z + b.h.time * (sizeof *z->at + sizeof *z->offsets) + name.n + 1);
        if (!z) {
                return NULL;
        }
        int64_t *at = (int64_t *)(z + 1);
        int32_t *offsets = (int32_t *)(at + b.h.time);
        char *text = (char *)(offsets + b.h.time);
        if (name.n) {
                memcpy(text, name.p, name.n);
        }
        z->name = (struct str){text, name.n};
        z->at = at;
        z->offsets = offsets;
        z->rule = rule;
        return read_changes(&b, z, at, offsets) ? STEAL(z) : NULL;
}

const struct zone *zone_utc(void)
{
        static const struct zone utc = {.name = {"UTC", 3}};
        return &utc;
}

struct str zone_name(const struct zone *z)
{
        return z->name;
}

bool zone_name_valid(struct str name)
{
        bool start = true; /* of a part */
        if (name.n == 0 || name.n > 64) {
                return false;
        }
        for (uint32_t i = 0; i < name.n; i++) {
                char c = name.p[i], lower = (char)(c | 0x20);
                bool letter = lower >= 'a' && lower <= 'z';
                bool other = (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-';
                if (start ? !letter : !letter && !other && c != '/') {
                        return false;
                }
                start = c == '/';
        }
        return !start;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* How many of the table's changes are at or before an instant. */
static uint32_t changes_before(const struct zone *z, int64_t unix_s)
{
        uint32_t low = 0, high = z->n;
        while (low < high) {
                uint32_t middle = low + (high - low) / 2;
                if (z->at[middle] <= unix_s) {
                        low = middle + 1;
                } else {
                        high = middle;
                }
        }
        return low;
}

static bool by_rule(const struct zone *z, int64_t unix_s)
{
        return z->rule.given && (!z->table || unix_s >= z->rule_from);
}

int32_t zone_offset(const struct zone *z, int64_t unix_s)
{
        if (by_rule(z, unix_s)) {
                return rule_offset(&z->rule, unix_s);
        }
        uint32_t n = changes_before(z, unix_s);
        return n > 0 ? z->offsets[n - 1] : z->first;
}

int64_t zone_change(const struct zone *z, int64_t unix_s)
{
        uint32_t n = changes_before(z, unix_s);
        if (n < z->n) {
                return z->at[n];
        }
        if (!z->rule.given) {
                return INT64_MAX;
        }
        int64_t from = z->table && unix_s < z->rule_from ? z->rule_from : unix_s;
        return rule_change(&z->rule, from);
}

void zone_civil(const struct zone *z, int64_t unix_s, struct civil *ret)
{
        int64_t local = unix_s + zone_offset(z, unix_s), days = floor_days(local);
        int32_t rest = (int32_t)(local - days * DAY_S);
        civil_of_days(days, ret);
        ret->hour = (uint8_t)(rest / 3600);
        ret->minute = (uint8_t)(rest / 60 % 60);
        ret->second = (uint8_t)(rest % 60);
}

/* Walks the stretches of one offset within which the civil time can lie. */
uint32_t zone_instants(const struct zone *z, const struct civil *c, int64_t ret[static 2])
{
        int64_t local = civil_seconds(c), from = local - OFFSET_MAX_S, skipped = 0;
        uint32_t n = 0;
        while (from <= local + OFFSET_MAX_S) {
                int32_t offset = zone_offset(z, from);
                int64_t until = zone_change(z, from), at = local - offset;
                if (at >= from && at < until && n < 2) {
                        ret[n++] = at;
                }
                if (until == INT64_MAX) {
                        break;
                }
                if (local >= until + offset && local < until + zone_offset(z, until)) {
                        skipped = until;
                }
                from = until;
        }
        if (n == 0) {
                ret[0] = skipped;
        }
        return n;
}
