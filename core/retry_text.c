/*
 * A retry policy's text form. One word is one part of the policy; what stands wrong in it is told
 * with its place, itself and what may stand there. Nothing is guessed: a word that is not known is
 * never skipped, since a policy that was half understood would show only when a job fails.
 */
#include "core/retry.h"

#include <stdio.h>

#include "core/config.h"

#define DAY_MS      INT64_C(86400000)
#define DELAY_MAX   (365 * DAY_MS)
#define BUDGET_MAX  (3660 * DAY_MS)
#define DURATION    "a duration such as 250ms, 30s, 5m, 2h or 7d"
#define SHOWN_BYTES 48

enum part { PART_BACKOFF, PART_BASE, PART_CAP, PART_JITTER, PART_ATTEMPTS, PART_FOR, PART_COUNT };

/* The text being read, and the policy as far as it was read. */
struct reading {
        struct str text;
        struct retry_policy policy;
        unsigned seen; /* bit per enum part */
        char *note;
        size_t note_size;
};

/* --- complaints ------------------------------------------------------------------------------- */

static int refuse(struct reading *r, struct str word, const char *allowed)
{
        char shown[SHOWN_BYTES + 4];
        uint32_t n = word.n < SHOWN_BYTES ? word.n : SHOWN_BYTES;
        for (uint32_t i = 0; i < n; i++) {
                shown[i] = word.p[i] >= 0x20 && word.p[i] < 0x7f ? word.p[i] : '?';
        }
        memcpy(shown + n, word.n > n ? "..." : "", word.n > n ? 4 : 1);
        snprintf(r->note, r->note_size, "at byte %u: \"%s\" is not allowed; write %s",
                 (unsigned)(word.p - r->text.p) + 1, shown, allowed);
        return RETRY_REFUSED;
}

static int refuse_whole(struct reading *r, const char *text)
{
        snprintf(r->note, r->note_size, "%s", text);
        return RETRY_REFUSED;
}

/* --- values ----------------------------------------------------------------------------------- */

static bool take_duration(struct str value, int64_t least, int64_t most, int64_t *ret_ms)
{
        int64_t ms;
        if (!duration_parse(value, &ms) || ms < least || ms > most) {
                return false;
        }
        *ret_ms = ms;
        return true;
}

static bool take_table(struct retry_policy *p, struct str value)
{
        uint32_t n = 0;
        while (n < RETRY_TABLE_MAX) {
                const char *comma = value.n ? memchr(value.p, ',', value.n) : NULL;
                struct str entry = {value.p, comma ? (uint32_t)(comma - value.p) : value.n};
                if (!take_duration(entry, 0, DELAY_MAX, &p->table_ms[n])) {
                        return false;
                }
                n++;
                if (!comma) {
                        p->backoff = BACKOFF_TABLE;
                        p->n_table = n;
                        return true;
                }
                value = (struct str){comma + 1, value.n - entry.n - 1};
        }
        return false;
}

/* 0, 1, 0.2, 0.125: thousandths. */
static bool take_share(struct str value, uint16_t *ret_permille)
{
        static const uint16_t places[] = {1000, 100, 10, 1};
        uint32_t sum = 0;
        if (value.n == 0 || value.n > 5 || value.n == 2 || (value.n > 1 && value.p[1] != '.')) {
                return false;
        }
        for (uint32_t i = 0, place = 0; i < value.n; i++) {
                if (i == 1) {
                        continue;
                }
                if (value.p[i] < '0' || value.p[i] > '9') {
                        return false;
                }
                sum += (uint32_t)(value.p[i] - '0') * places[place++];
        }
        *ret_permille = (uint16_t)sum;
        return sum <= 1000;
}

static bool take_count(struct str value, uint16_t *ret)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < value.n && n <= RETRY_ATTEMPTS_MAX; i++) {
                if (value.p[i] < '0' || value.p[i] > '9') {
                        return false;
                }
                n = n * 10 + (uint32_t)(value.p[i] - '0');
        }
        *ret = (uint16_t)n;
        return n >= 1 && n <= RETRY_ATTEMPTS_MAX;
}

/* --- words ------------------------------------------------------------------------------------ */

#define WORDS                                                                                      \
        "one of exponential, linear, fixed, table=1s,10s,2m, base=1s, cap=10m, jitter=0.2, "       \
        "attempts=5, for=2h"

static const char *const allowed[] = {
    [PART_BACKOFF] = "table= with 1 to 16 durations of at most 365d, joined by commas",
    [PART_BASE] = "base= and " DURATION ", at most 365d",
    [PART_CAP] = "cap= and " DURATION ", at most 365d",
    [PART_JITTER] = "jitter= and a share from 0 to 1 with at most three decimals, as in 0.2",
    [PART_ATTEMPTS] = "attempts= and an integer from 1 to 1000, the first attempt included",
    [PART_FOR] = "for= and " DURATION ", from 1ms to 3660d",
};

static bool take_value(struct retry_policy *p, enum part part, struct str value)
{
        switch (part) {
        case PART_BACKOFF: return take_table(p, value);
        case PART_BASE: return take_duration(value, 0, DELAY_MAX, &p->base_ms);
        case PART_CAP: return take_duration(value, 0, DELAY_MAX, &p->cap_ms);
        case PART_JITTER: return take_share(value, &p->jitter_permille);
        case PART_ATTEMPTS: return take_count(value, &p->max_attempts);
        case PART_FOR: return take_duration(value, 1, BUDGET_MAX, &p->for_ms);
        default: return false;
        }
}

/* PART_COUNT: no such word. */
static enum part find_part(struct str name)
{
        static const char *const parts[] = {"table", "base", "cap", "jitter", "attempts", "for"};
        for (enum part i = 0; i < PART_COUNT; i++) {
                if (str_eq(name, str_of(parts[i]))) {
                        return i;
                }
        }
        return PART_COUNT;
}

static int take_word(struct reading *r, struct str word)
{
        const char *equal = memchr(word.p, '=', word.n);
        struct str name = {word.p, equal ? (uint32_t)(equal - word.p) : word.n};
        enum part part = find_part(name);
        enum backoff b;
        bool bare = !equal && backoff_parse(word, &b) && b != BACKOFF_TABLE;
        part = bare ? PART_BACKOFF : part;
        if (part == PART_COUNT) {
                return refuse(r, word, WORDS);
        }
        if (r->seen & 1u << part) {
                return refuse(r, word,
                              part == PART_BACKOFF
                                  ? "one of exponential, linear, fixed and table= alone"
                                  : "each word once");
        }
        r->seen |= 1u << part;
        if (bare) {
                r->policy.backoff = b;
                r->policy.n_table = 0;
                return 0;
        }
        struct str value = {word.p + name.n + 1, equal ? word.n - name.n - 1 : 0};
        return equal && take_value(&r->policy, part, value) ? 0 : refuse(r, word, allowed[part]);
}

/* A cap that the text does not name makes room for what it does: "fixed base=1h" means an hour. */
static int fit_cap(struct reading *r)
{
        struct retry_policy *p = &r->policy;
        bool table = p->backoff == BACKOFF_TABLE;
        bool named = r->seen & (table ? 1u << PART_BACKOFF : 1u << PART_BASE);
        int64_t most = table ? 0 : p->base_ms;
        for (uint32_t i = 0; table && i < p->n_table; i++) {
                most = p->table_ms[i] > most ? p->table_ms[i] : most;
        }
        if (!named || most <= p->cap_ms) {
                return 0;
        }
        if (r->seen & 1u << PART_CAP) {
                return refuse_whole(r, table ? "cap is shorter than an entry of table; write a "
                                               "longer cap or leave it out"
                                             : "cap is shorter than base; write a longer cap or "
                                               "leave it out");
        }
        p->cap_ms = most;
        return 0;
}

int retry_parse(struct str text, struct retry_policy *policy, char *note, size_t note_size)
{
        struct reading r = {text, *policy, 0, note, note_size};
        if (text.n > RETRY_TEXT_MAX) {
                return refuse_whole(&r, "it has more than 512 bytes");
        }
        for (uint32_t i = 0; i < text.n;) {
                if (text.p[i] == ' ' || text.p[i] == '\t') {
                        i++;
                        continue;
                }
                uint32_t from = i;
                while (i < text.n && text.p[i] != ' ' && text.p[i] != '\t') {
                        i++;
                }
                int bad = take_word(&r, (struct str){text.p + from, i - from});
                if (bad) {
                        return bad;
                }
        }
        int bad = fit_cap(&r);
        if (bad == 0) {
                *policy = r.policy;
        }
        return bad;
}
