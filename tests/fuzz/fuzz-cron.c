/*
 * Cron expressions and time zones against any bytes. The first line is an expression, what follows
 * is a TZif; with none, or one that is refused, the expression runs in UTC.
 *
 * What is taken must have instants that rise, lie behind the one asked for, and fit the
 * expression's own second; what is refused must say where and give an example.
 */
#include "core/cron.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

#define NEXTS 5

static void check_next(const struct cron *c, const struct zone *z, int64_t after_us)
{
        int64_t origin_us = after_us;
        for (int i = 0; i < NEXTS; i++) {
                int64_t at = cron_next(c, z, origin_us, after_us);
                if (at == 0) {
                        return;
                }
                assert(at > after_us);
                assert(c->every_us > 0 || at % US_PER_S == 0);
                after_us = at;
        }
}

static void check_zone(const struct zone *z, int64_t unix_s)
{
        struct civil c;
        int64_t instants[2];
        zone_civil(z, unix_s, &c);
        assert(c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= 31 && c.hour <= 23);
        zone_instants(z, &c, instants);
        assert(zone_change(z, unix_s) > unix_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *)data;
        const char *end = size ? memchr(text, '\n', size) : NULL;
        size_t n = end ? (size_t)(end - text) : size;
        struct str file = {end ? end + 1 : text + n, (uint32_t)(size - n - (end != NULL))};
        struct zone *z = zone_new(STR("x"), file);
        const struct zone *in = z ? z : zone_utc();
        char note[CRON_NOTE_MAX] = "";
        struct cron c;
        check_zone(in, 0);
        check_zone(in, 1900000000);
        if (cron_parse((struct str){text, (uint32_t)n}, &c, note, sizeof note) == 0) {
                check_next(&c, in, INT64_C(1900000000) * US_PER_S + 7);
        } else {
                assert(strstr(note, "for example"));
        }
        zone_free(z);
        return 0;
}
