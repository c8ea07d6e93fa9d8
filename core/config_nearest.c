/*
 * "Did you mean": the optimal string alignment distance (changed, missing, added and swapped
 * letters), over the few dozen names that there are. A name too far away is not offered: a wrong
 * guess is worse than none.
 */
#include "core/config.h"

#define NAME_MAX_COMPARED 64

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
        uint32_t least = a < b ? a : b;
        return least < c ? least : c;
}

static char lower(char letter)
{
        return letter >= 'A' && letter <= 'Z' ? (char)(letter | 0x20) : letter;
}

uint32_t config_distance(struct str a, struct str b)
{
        uint32_t rows[3][NAME_MAX_COMPARED + 1];
        uint32_t an = a.n < NAME_MAX_COMPARED ? a.n : NAME_MAX_COMPARED;
        uint32_t bn = b.n < NAME_MAX_COMPARED ? b.n : NAME_MAX_COMPARED;
        for (uint32_t j = 0; j <= bn; j++) {
                rows[0][j] = j;
        }
        for (uint32_t i = 1; i <= an; i++) {
                uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *over = rows[(i + 1) % 3];
                row[0] = i;
                for (uint32_t j = 1; j <= bn; j++) {
                        bool same = lower(a.p[i - 1]) == lower(b.p[j - 1]);
                        row[j] = min3(row[j - 1] + 1, above[j] + 1, above[j - 1] + !same);
                        bool swapped = i > 1 && j > 1 && lower(a.p[i - 1]) == lower(b.p[j - 2]) &&
                                       lower(a.p[i - 2]) == lower(b.p[j - 1]);
                        if (swapped && over[j - 2] + 1 < row[j]) {
                                row[j] = over[j - 2] + 1;
                        }
                }
        }
        return rows[an % 3][bn];
}

const char *config_nearest(const struct config_key *keys, struct str written)
{
        const char *best = NULL;
        bool whole = written.n && memchr(written.p, '.', written.n);
        uint32_t best_distance = 1 + written.n / 4; /* further than this is another word */
        for (const struct config_key *k = keys; k->name; k++) {
                const char *dot = strrchr(k->name, '.');
                uint32_t distance = config_distance(written, str_of(k->name));
                if (!whole && dot) {
                        uint32_t last = config_distance(written, str_of(dot + 1));
                        distance = last < distance ? last : distance;
                }
                if (distance < best_distance || (!best && distance == best_distance)) {
                        best = k->name;
                        best_distance = distance;
                }
        }
        return best;
}
