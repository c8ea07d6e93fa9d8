/*
 * Times and spans as people and the API write them. Part of table.h.
 */
#include "cli/table.h"

#include "core/rfc3339.h"

#include <stdlib.h>
#include <time.h>

int64_t wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

bool time_parse(const char *text, int64_t *ret_us)
{
        return rfc3339_parse(str_of(text), ret_us);
}

void time_format(struct buf *out, int64_t us)
{
        time_t s = us / US_PER_S;
        struct tm tm;
        char text[32];
        gmtime_r(&s, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        buf_printf(out, "%s.%03dZ", text, (int)(us % US_PER_S / 1000));
}

void time_local(struct buf *out, int64_t us)
{
        time_t s = us / US_PER_S;
        struct tm tm;
        char text[48], zone[16];
        localtime_r(&s, &tm);
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
        strftime(zone, sizeof zone, "%Z", &tm);
        buf_printf(out, "%s.%03d %s", text, (int)(us % US_PER_S / 1000), zone);
}

void span_format(struct buf *out, int64_t us)
{
        static const struct {
                int64_t us;
                const char *unit;
        } units[] = {
            {86400 * US_PER_S, "d"}, {3600 * US_PER_S, "h"}, {60 * US_PER_S, "m"}, {US_PER_S, "s"}};
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
                if (us >= units[i].us) {
                        if (us < 10 * units[i].us && i == 3) {
                                buf_printf(out, "%.1fs", (double)us / (double)US_PER_S);
                        } else {
                                buf_printf(out, "%lld%s", (long long)(us / units[i].us),
                                           units[i].unit);
                        }
                        return;
                }
        }
        if (us >= 1000) {
                buf_printf(out, "%lldms", (long long)(us / 1000));
        } else {
                buf_printf(out, "%lldµs", (long long)us);
        }
}

void age_format(struct buf *out, int64_t then_us, int64_t now_us)
{
        if (then_us > now_us) {
                buf_text(out, "in ");
                span_format(out, then_us - now_us);
        } else if (now_us - then_us < US_PER_S) {
                buf_text(out, "now");
        } else {
                span_format(out, now_us - then_us);
                buf_text(out, " ago");
        }
}
