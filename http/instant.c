/*
 * RFC 3339 without the C library: strptime and timegm depend on locale and accept what the RFC does
 * not. The calendar is the proleptic Gregorian one, counted in days from 1970-01-01 by eras of 400
 * years.
 */
#include "http/instant.h"

#include <stdio.h>

#define WALL_US_MAX INT64_C(253402300799999999) /* the last microsecond of 9999 */

static int64_t days_from_date(int64_t y, int64_t m, int64_t d)
{
        y -= m <= 2;
        int64_t era = y / 400;
        int64_t year_of_era = y - era * 400;
        int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
        return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
               day_of_year - 719468;
}

static void date_from_days(int64_t days, int *ret_y, int *ret_m, int *ret_d)
{
        days += 719468;
        int64_t era = days / 146097;
        int64_t doe = days - era * 146097;
        int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
        int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        int64_t mp = (5 * doy + 2) / 153;
        int month = (int)(mp < 10 ? mp + 3 : mp - 9);
        *ret_y = (int)(yoe + era * 400) + (month <= 2);
        *ret_m = month;
        *ret_d = (int)(doy - (153 * mp + 2) / 5 + 1);
}

static int days_of_month(int y, int m)
{
        static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        return days[m - 1] + (m == 2 && leap);
}

/* n digits from *at on. */
static bool read_digits(struct str s, uint32_t *at, uint32_t n, int *ret)
{
        int v = 0;
        if (s.n - *at < n) {
                return false;
        }
        for (uint32_t i = 0; i < n; i++) {
                char c = s.p[*at + i];
                if (c < '0' || c > '9') {
                        return false;
                }
                v = v * 10 + (c - '0');
        }
        *at += n;
        *ret = v;
        return true;
}

static bool read_char(struct str s, uint32_t *at, const char *allowed)
{
        if (*at >= s.n || s.p[*at] == 0 || !strchr(allowed, s.p[*at])) {
                return false;
        }
        (*at)++;
        return true;
}

/* ".123456789" to microseconds; none is 0. */
static bool read_fraction(struct str s, uint32_t *at, int64_t *ret_us)
{
        int64_t us = 0, scale = 100000;
        if (*at < s.n && s.p[*at] == '.') {
                uint32_t from = ++*at;
                for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++) {
                        us += scale * (s.p[*at] - '0');
                        scale /= 10;
                }
                if (*at == from) {
                        return false;
                }
        }
        *ret_us = us;
        return true;
}

static bool read_offset(struct str s, uint32_t *at, int64_t *ret_seconds)
{
        int hours, minutes;
        if (read_char(s, at, "Zz")) {
                *ret_seconds = 0;
                return true;
        }
        bool west = *at < s.n && s.p[*at] == '-';
        if (!read_char(s, at, "+-") || !read_digits(s, at, 2, &hours) || !read_char(s, at, ":") ||
            !read_digits(s, at, 2, &minutes) || hours > 23 || minutes > 59) {
                return false;
        }
        *ret_seconds = (hours * 60 + minutes) * (west ? -60 : 60);
        return true;
}

struct date_time {
        int y, mo, d, h, mi, s;
};

static bool read_date(struct str s, uint32_t *at, struct date_time *t)
{
        return read_digits(s, at, 4, &t->y) && read_char(s, at, "-") &&
               read_digits(s, at, 2, &t->mo) && read_char(s, at, "-") &&
               read_digits(s, at, 2, &t->d) && t->y >= 1970 && t->mo >= 1 && t->mo <= 12 &&
               t->d >= 1 && t->d <= days_of_month(t->y, t->mo);
}

/* :60 is a leap second; it becomes the next one. */
static bool read_time(struct str s, uint32_t *at, struct date_time *t)
{
        return read_digits(s, at, 2, &t->h) && read_char(s, at, ":") &&
               read_digits(s, at, 2, &t->mi) && read_char(s, at, ":") &&
               read_digits(s, at, 2, &t->s) && t->h <= 23 && t->mi <= 59 && t->s <= 60;
}

bool instant_parse(struct str s, int64_t *ret_wall_us)
{
        uint32_t at = 0;
        struct date_time t;
        int64_t us, offset;
        if (!read_date(s, &at, &t) || !read_char(s, &at, "Tt") || !read_time(s, &at, &t) ||
            !read_fraction(s, &at, &us) || !read_offset(s, &at, &offset) || at != s.n) {
                return false;
        }
        int64_t wall =
            ((days_from_date(t.y, t.mo, t.d) * 24 + t.h) * 60 + t.mi) * 60 + t.s - offset;
        wall = wall * US_PER_S + us;
        if (wall < 0 || wall > WALL_US_MAX) {
                return false;
        }
        *ret_wall_us = wall;
        return true;
}

void instant_text(int64_t wall_us, char ret_text[static INSTANT_TEXT])
{
        wall_us = wall_us < 0 ? 0 : wall_us > WALL_US_MAX ? WALL_US_MAX : wall_us;
        int64_t seconds = wall_us / US_PER_S;
        unsigned us = (unsigned)(wall_us % US_PER_S), of_day = (unsigned)(seconds % 86400);
        int y, m, d;
        date_from_days(seconds / 86400, &y, &m, &d);
        snprintf(ret_text, INSTANT_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
                 (unsigned)y % 10000u, (unsigned)m % 100u, (unsigned)d % 100u, of_day / 3600,
                 of_day / 60 % 60, of_day % 60, us);
}
