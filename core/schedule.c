/*
 * The words of schedules, there and back.
 */
#include "core/schedule.h"

static const char *const catch_ups[] = {
#define X(name, text) [CATCH_##name] = text,
    CATCH_UPS(X)
#undef X
};

static const char *const overlaps[] = {
#define X(name, text) [OVERLAP_##name] = text,
    OVERLAPS(X)
#undef X
};

static int find(const char *const *list, unsigned n, struct str name)
{
        for (unsigned i = 0; i < n; i++) {
                if (str_eq(name, str_of(list[i]))) {
                        return (int)i;
                }
        }
        return -1;
}

const char *catch_up_name(enum catch_up c)
{
        return (unsigned)c < ARRAY_LEN(catch_ups) ? catch_ups[c] : "?";
}

const char *overlap_name(enum overlap o)
{
        return (unsigned)o < ARRAY_LEN(overlaps) ? overlaps[o] : "?";
}

bool catch_up_parse(struct str name, enum catch_up *ret)
{
        int found = find(catch_ups, ARRAY_LEN(catch_ups), name);
        if (found >= 0) {
                *ret = (enum catch_up)found;
        }
        return found >= 0;
}

bool overlap_parse(struct str name, enum overlap *ret)
{
        int found = find(overlaps, ARRAY_LEN(overlaps), name);
        if (found >= 0) {
                *ret = (enum overlap)found;
        }
        return found >= 0;
}

bool schedule_name_valid(struct str name)
{
        for (uint32_t i = 0; i < name.n; i++) {
                char c = name.p[i], lower = (char)(c | 0x20);
                bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_';
                if (!plain && (i == 0 || (c != '.' && c != '-'))) {
                        return false;
                }
        }
        return name.n > 0 && name.n <= SCHEDULE_NAME_MAX;
}
