/*
 * A date-time is read by its shape alone, digit by digit: each part stands at a fixed place, so the
 * parser is a walk over a picture of it and a range check per number. A day is one that there was
 * if its number of days since 1970 leads back to it. gmtime and timegm were discarded: they take
 * what is no date (the 31st of February) for another date.
 */
#include "core/rfc3339.h"

#include <stdio.h>

#include "core/zone.h"

#define DAY_S 86400

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

/* Year, month, day; hour, minute, second. */
static bool read_days(const int64_t part[static 6], int64_t *ret_days)
{
        struct civil c;
        if (part[0] < 1970 || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31 ||
            part[3] > 23 || part[4] > 59 || part[5] > 60) {
                return false;
        }
        *ret_days = civil_days((int32_t)part[0], (unsigned)part[1], (unsigned)part[2]);
        civil_of_days(*ret_days, &c);
        return c.day == part[2];
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
        int64_t part[6] = {0}, days, us, offset_s;
        if (!read_picture(&text, "####-##-##T##:##:##", part)) {
                return false;
        }
        if (!read_days(part, &days) || !read_fraction(&text, &us) ||
            !read_offset(&text, &offset_s)) {
                return false;
        }
        int64_t seconds = days * DAY_S + part[3] * 3600 + part[4] * 60 + part[5] - offset_s;
        int64_t wall_us = seconds * US_PER_S + us;
        if (wall_us < 0 || wall_us > RFC3339_LAST_US) {
                return false;
        }
        *ret_wall_us = wall_us;
        return true;
}

void rfc3339_text(int64_t wall_us, char ret_text[static RFC3339_TEXT])
{
        struct civil c;
        wall_us = wall_us < 0 ? 0 : wall_us > RFC3339_LAST_US ? RFC3339_LAST_US : wall_us;
        int64_t seconds = wall_us / US_PER_S;
        unsigned of_day = (unsigned)(seconds % DAY_S);
        civil_of_days(seconds / DAY_S, &c);
        snprintf(ret_text, RFC3339_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
                 (unsigned)c.year % 10000u, c.month % 100u, c.day % 100u, of_day / 3600,
                 of_day / 60 % 60, of_day % 60, (unsigned)(wall_us % US_PER_S));
}
