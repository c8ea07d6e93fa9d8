/*
 * A date-time is read by its shape alone, digit by digit: each part stands at a fixed place, so the
 * parser is a walk over a picture of it and a range check per number. Days are counted with March
 * as the first month, which puts the leap day at the end of the year. gmtime and timegm were
 * discarded: they take what is no date (the 31st of February) for another date.
 */
#include "core/rfc3339.h"

#include <stdio.h>

#define DAY_S        86400
#define DAYS_TO_1970 719468 /* from the first of March of year 0 */

struct calendar {
        int64_t year, month, day, hour, minute, second;
};

static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
        int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
        return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - DAYS_TO_1970;
}

static int64_t month_days(int64_t year, int64_t month)
{
        bool last = month == 12;
        return days_since_1970(year + last, last ? 1 : month + 1, 1) -
               days_since_1970(year, month, 1);
}

/* Reads what the picture shows, in which # is a digit and all else stands for itself, letters in
 * any case; the numbers go to values in order. */
static bool read_picture(struct str *text, const char *picture, int64_t *values)
{
        bool within = false;
        for (; *picture; picture++, text->p++, text->n--) {
                if (text->n == 0) {
                        return false;
                }
                char c = text->p[0];
                if (*picture == '#') {
                        if (c < '0' || c > '9') {
                                return false;
                        }
                        *values = (within ? *values * 10 : 0) + (c - '0');
                        within = true;
                } else {
                        char upper = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
                        if (upper != *picture) {
                                return false;
                        }
                        values += within;
                        within = false;
                }
        }
        return true;
}

static bool in_range(const struct calendar *c)
{
        return c->year >= 1970 && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
               c->day <= month_days(c->year, c->month) && c->hour <= 23 && c->minute <= 59 &&
               c->second <= 60;
}

/* ".25"; nothing is 0. */
static bool read_fraction(struct str *text, int64_t *ret_us)
{
        int64_t us = 0, unit = US_PER_S / 10;
        uint32_t i = 1;
        *ret_us = 0;
        if (text->n == 0 || text->p[0] != '.') {
                return true;
        }
        for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++, unit /= 10) {
                us += (text->p[i] - '0') * unit;
        }
        *text = (struct str){text->p + i, text->n - i};
        *ret_us = us;
        return i > 1;
}

static bool read_offset(struct str *text, int64_t *ret_s)
{
        int64_t part[2] = {0};
        bool east = text->n && text->p[0] == '+';
        if (read_picture(&(struct str){text->p, text->n}, "Z", part)) {
                *ret_s = 0;
                return text->n == 1;
        }
        if (!read_picture(text, east ? "+##:##" : "-##:##", part) || part[0] > 23 || part[1] > 59) {
                return false;
        }
        *ret_s = (part[0] * 60 + part[1]) * (east ? 60 : -60);
        return text->n == 0;
}

bool rfc3339_parse(struct str text, int64_t *ret_wall_us)
{
        int64_t part[6] = {0}, us, offset_s;
        if (!read_picture(&text, "####-##-##T##:##:##", part)) {
                return false;
        }
        struct calendar c = {part[0], part[1], part[2], part[3], part[4], part[5]};
        if (!in_range(&c) || !read_fraction(&text, &us) || !read_offset(&text, &offset_s)) {
                return false;
        }
        int64_t seconds = days_since_1970(c.year, c.month, c.day) * DAY_S + c.hour * 3600 +
                          c.minute * 60 + c.second - offset_s;
        int64_t wall_us = seconds * US_PER_S + us;
        if (wall_us < 0 || wall_us > RFC3339_LAST_US) {
                return false;
        }
        *ret_wall_us = wall_us;
        return true;
}

/* The year by its mean length, which is one off at most; then the month by counting. */
static void calendar_of(int64_t days, struct calendar *ret)
{
        int64_t year = 1970 + days * 400 / 146097, month = 1;
        while (days_since_1970(year, 1, 1) > days) {
                year--;
        }
        while (days_since_1970(year + 1, 1, 1) <= days) {
                year++;
        }
        while (month < 12 && days_since_1970(year, month + 1, 1) <= days) {
                month++;
        }
        ret->year = year;
        ret->month = month;
        ret->day = days - days_since_1970(year, month, 1) + 1;
}

void rfc3339_text(int64_t wall_us, char ret_text[static RFC3339_TEXT])
{
        struct calendar c;
        wall_us = wall_us < 0 ? 0 : wall_us > RFC3339_LAST_US ? RFC3339_LAST_US : wall_us;
        int64_t seconds = wall_us / US_PER_S;
        unsigned of_day = (unsigned)(seconds % DAY_S);
        calendar_of(seconds / DAY_S, &c);
        snprintf(ret_text, RFC3339_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
                 (unsigned)c.year % 10000u, (unsigned)c.month % 100u, (unsigned)c.day % 100u,
                 of_day / 3600, of_day / 60 % 60, of_day % 60, (unsigned)(wall_us % US_PER_S));
}
