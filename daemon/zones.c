/*
 * Reads files of the zone database as they are asked for. A name comes from people and becomes a
 * path, so nothing is opened that zone_name_valid() does not let through. A zone that was found is
 * never read again or freed while skepd lives, since schedules hold on to it: a new release of the
 * database is taken in with a restart. What was not found is looked for again: it may be installed
 * meanwhile.
 */
#include "daemon/zones.h"

#include <stdio.h>
#include <stdlib.h>

#define ZONES_DIR "/usr/share/zoneinfo"
#define BYTES_MAX (256u << 10) /* the largest has 4 KiB */

struct zone_book {
        struct zone_book *next;
        struct zone *zone; /* NULL: not found so far */
        bool asked;
        struct str name;
        char text[];
};

static struct zone_book *find(struct zone_book *book, struct str name)
{
        while (book && !str_eq(book->name, name)) {
                book = book->next;
        }
        return book;
}

static struct zone_book *find_or_add(struct zone_book **book, struct str name)
{
        struct zone_book *z = find(*book, name);
        if (z || !(z = calloc(1, sizeof *z + name.n + 1))) {
                return z;
        }
        memcpy(z->text, name.p ? name.p : "", name.n);
        z->name = (struct str){z->text, name.n};
        z->next = *book;
        *book = z;
        return z;
}

static void close_file(FILE **f)
{
        if (*f) {
                fclose(*f);
        }
}

static void free_bytes(char **p)
{
        free(*p);
}

static struct zone *read_zone(const struct zone_book *z)
{
        char path[sizeof ZONES_DIR + 72];
        if (!zone_name_valid(z->name) ||
            snprintf(path, sizeof path, ZONES_DIR "/%s", z->text) >= (int)sizeof path) {
                return NULL;
        }
        CLEANUP(close_file)
        FILE *f = fopen(path, "rbe");
        CLEANUP(free_bytes)
        char *bytes = f ? malloc(BYTES_MAX) : NULL;
        size_t n = bytes ? fread(bytes, 1, BYTES_MAX, f) : 0;
        return n && n < BYTES_MAX ? zone_new(z->name, (struct str){bytes, (uint32_t)n}) : NULL;
}

static const struct zone *look(struct zone_book *z)
{
        if (z && !z->zone) {
                z->zone = read_zone(z);
        }
        return z ? z->zone : NULL;
}

const struct zone *zones_find(struct zone_book **book, struct str name)
{
        return look(find_or_add(book, name));
}

void zones_ask(struct zone_book **book, struct str name)
{
        struct zone_book *z = find_or_add(book, name);
        if (z) {
                z->asked = true;
        }
}

bool zones_next(struct zone_book **book, struct str *ret_name, const struct zone **ret_zone)
{
        struct zone_book *z = *book;
        while (z && !z->asked) {
                z = z->next;
        }
        if (!z) {
                return false;
        }
        z->asked = false;
        *ret_name = z->name;
        *ret_zone = look(z);
        return true;
}

struct zone_book *zones_free(struct zone_book *book)
{
        while (book) {
                struct zone_book *next = book->next;
                zone_free(book->zone);
                free(book);
                book = next;
        }
        return NULL;
}
