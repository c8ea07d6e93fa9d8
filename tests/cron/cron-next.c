/*
 * What core/cron.c and core/zone.c answer, for tests that ask other programs the same:
 *
 *     next|EXPRESSION|ZONE|AFTER|N     N instants after AFTER (seconds since 1970), blanks between;
 * 0: none. Or "refused: " and the note offset|ZONE|INSTANT...           the offset at each instant,
 * in seconds
 *
 * A line of standard input for each line of standard output. ZONE is a name, or empty for UTC.
 */
#include "core/cron.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ZONES_MAX 1024
#define FILE_MAX  (256 * 1024)

static struct zone *zones[ZONES_MAX];

static void fail(const char *what, const char *of)
{
        fprintf(stderr, "cron-next: %s: %s\n", what, of);
        exit(1);
}

static struct zone *read_zone(const char *name)
{
        static char bytes[FILE_MAX];
        char path[256];
        if (!zone_name_valid(str_of(name))) {
                fail("no name of a time zone", name);
        }
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
        FILE *file = fopen(path, "rb");
        if (!file) {
                fail(strerror(errno), path);
        }
        size_t n = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        struct zone *z = zone_new(str_of(name), (struct str){bytes, (uint32_t)n});
        if (!z) {
                fail("no TZif", path);
        }
        return z;
}

static const struct zone *find_zone(const char *name)
{
        uint32_t i = 0;
        if (*name == 0) {
                return zone_utc();
        }
        while (i < ZONES_MAX && zones[i] && !str_eq(zone_name(zones[i]), str_of(name))) {
                i++;
        }
        if (i == ZONES_MAX) {
                fail("too many time zones", name);
        }
        if (!zones[i]) {
                zones[i] = read_zone(name);
        }
        return zones[i];
}

static const char *part(char **rest)
{
        const char *found = strsep(rest, "|");
        return found ? found : "";
}

static void answer_next(char *rest)
{
        const char *text = part(&rest), *name = part(&rest);
        int64_t at = strtoll(part(&rest), NULL, 10) * US_PER_S, origin = at;
        int n = atoi(part(&rest));
        struct cron c;
        char note[CRON_NOTE_MAX];
        if (cron_parse(str_of(text), &c, note, sizeof note) != 0) {
                printf("refused: %s\n", note);
                return;
        }
        for (int i = 0; i < n; i++) {
                at = cron_next(&c, find_zone(name), origin, at);
                printf("%s%" PRId64, i ? " " : "", at / US_PER_S);
                if (at == 0) {
                        break;
                }
        }
        printf("\n");
}

static void answer_offset(char *rest)
{
        const struct zone *z = find_zone(part(&rest));
        while (rest) {
                printf("%d ", zone_offset(z, strtoll(part(&rest), NULL, 10)));
        }
        printf("\n");
}

int main(void)
{
        char *line = NULL;
        size_t room = 0;
        while (getline(&line, &room, stdin) > 0) {
                char *rest = line;
                line[strcspn(line, "\n")] = 0;
                if (strcmp(part(&rest), "offset") == 0) {
                        answer_offset(rest);
                } else {
                        answer_next(rest);
                }
        }
        free(line);
        for (uint32_t i = 0; i < ZONES_MAX; i++) {
                zone_free(zones[i]);
        }
        return 0;
}
