/*
 * Zones made on the spot, so that no unit test depends on the machine's time zone files: a TZif
 * with a few changes of its own and a footer.
 */
#ifndef SKEP_TESTS_TEST_ZONE_H
#define SKEP_TESTS_TEST_ZONE_H

#include "core/zone.h"

#include <stdio.h>

#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define LORD_HOWE "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"
#define SAO_PAULO "<-03>3<-02>,M11.1.0/0,M2.3.0/0" /* as it was in 2018 */
#define KOLKATA   "IST-5:30"

struct tzif_change {
        int64_t at;
        int32_t offset;
};

static inline void tzif_number(char **p, int64_t value, int bytes)
{
        for (int i = bytes - 1; i >= 0; i--) {
                *(*p)++ = (char)((uint64_t)value >> (8 * i));
        }
}

static inline void tzif_header(char **p, char version, uint32_t times, uint32_t types)
{
        const uint32_t counts[] = {0, 0, 0, times, types, 4};
        memcpy(*p, "TZif", 4);
        (*p)[4] = version;
        memset(*p + 5, 0, 15);
        *p += 20;
        for (int i = 0; i < 6; i++) {
                tzif_number(p, counts[i], 4);
        }
}

static inline void tzif_block(char **p, int size, int32_t first, const struct tzif_change *list,
                              uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                tzif_number(p, list[i].at, size);
        }
        for (uint32_t i = 0; i < n; i++) {
                tzif_number(p, i + 1, 1);
        }
        for (uint32_t i = 0; i <= n; i++) {
                tzif_number(p, i ? list[i - 1].offset : first, 4);
                tzif_number(p, 0, 2);
        }
        memcpy(*p, "ZZZ", 4);
        *p += 4;
}

/* At most a dozen changes; bytes as version 2 writes them, an empty first block and all. */
static inline struct str tzif_make(char buffer[static 1024], int32_t first,
                                   const struct tzif_change *list, uint32_t n, const char *footer)
{
        char *p = buffer;
        tzif_header(&p, '2', 0, 1);
        tzif_block(&p, 4, first, NULL, 0);
        tzif_header(&p, '2', n, n + 1);
        tzif_block(&p, 8, first, list, n);
        p += sprintf(p, "\n%s\n", footer);
        return (struct str){buffer, (uint32_t)(p - buffer)};
}

/* One that its footer alone tells. */
static inline struct zone *zone_of_rule(const char *footer)
{
        char buffer[1024];
        return zone_new(str_of(footer), tzif_make(buffer, 0, NULL, 0, footer));
}

#endif
