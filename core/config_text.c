/*
 * Keys and their text forms: reading a value into its field, writing it back. One reader and one
 * writer per type. Numbers are read here by hand: strtod() follows the locale and rounds, and a
 * share of 0.2 must be exactly 200 thousandths everywhere. A value that is refused is quoted in the
 * note, shortened, masked and without control characters.
 */
#include "core/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static_assert(offsetof(struct queue_config, n_types) ==
                  offsetof(struct queue_config, types) + sizeof(struct str *),
              "CONFIG_TEXTS is a list and then its count");

/* CONFIG_DELAYS, by its one user: the count, and behind it the list. */
#define DELAYS_AT (offsetof(struct retry_policy, table_ms) - offsetof(struct retry_policy, n_table))
#define DELAY_MAX (INT64_C(365) * 86400000)

/* --- what is allowed -------------------------------------------------------------------------- */

static void write_number(const struct config_key *k, int64_t value,
                         char ret_text[static DURATION_TEXT_MAX])
{
        switch (k->type) {
        case CONFIG_DURATION: duration_text(value, ret_text); break;
        case CONFIG_SIZE: size_text(value, ret_text); break;
        case CONFIG_RATIO: {
                int n = snprintf(ret_text, DURATION_TEXT_MAX, "%" PRId64 ".%03d", value / 1000,
                                 (int)(value % 1000));
                while (ret_text[n - 1] == '0') {
                        ret_text[--n] = 0;
                }
                if (ret_text[n - 1] == '.') {
                        ret_text[n - 1] = 0;
                }
                break;
        }
        default: snprintf(ret_text, DURATION_TEXT_MAX, "%" PRId64, value);
        }
}

/* Moves to the next word of a list of choices. */
static bool next_choice(const char **rest, struct str *ret)
{
        *rest += strspn(*rest, " ");
        *ret = (struct str){*rest, (uint32_t)strcspn(*rest, " ")};
        *rest += ret->n;
        return ret->n > 0;
}

static void list_choices(const struct config_key *k, char *ret_text, size_t size)
{
        const char *rest = k->choices;
        struct str word;
        size_t n = (size_t)snprintf(ret_text, size, "one of");
        while (n < size && next_choice(&rest, &word)) {
                const char *comma = word.p == k->choices ? "" : ",";
                n +=
                    (size_t)snprintf(ret_text + n, size - n, "%s %.*s", comma, (int)word.n, word.p);
        }
}

void config_allowed(const struct config_key *k, char *ret_text, size_t size)
{
        char low[DURATION_TEXT_MAX], high[DURATION_TEXT_MAX];
        write_number(k, k->min, low);
        write_number(k, k->max, high);
        switch (k->type) {
        case CONFIG_CHOICE: list_choices(k, ret_text, size); break;
        case CONFIG_TEXT: snprintf(ret_text, size, "%s to %s bytes", low, high); break;
        case CONFIG_TEXTS: snprintf(ret_text, size, "%s to %s texts", low, high); break;
        case CONFIG_DELAYS:
                snprintf(ret_text, size, "%s to %s durations of 365d at most", low, high);
                break;
        default:
                snprintf(ret_text, size, "%s to %s%s%s", low, high, k->word ? ", or " : "",
                         k->word ? k->word : "");
        }
}

/* --- reading ---------------------------------------------------------------------------------- */

#define SHOWN_MAX 64

/* A refused value as the note quotes it. */
static void quote(const struct config_key *k, struct str value, char ret_text[static SHOWN_MAX + 8])
{
        struct arena CLEANUP(arena_deinit) a = {0};
        struct str masked = k->secret ? STR("***") : config_mask(&a, value);
        if (!masked.p) {
                masked = STR("the value");
        }
        uint32_t n = masked.n < SHOWN_MAX ? masked.n : SHOWN_MAX;
        for (uint32_t i = 0; i < n; i++) {
                unsigned char byte = (unsigned char)masked.p[i];
                ret_text[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
        }
        memcpy(ret_text + n, masked.n > n ? "..." : "", masked.n > n ? 4 : 1);
}

static int refuse(const struct config_key *k, struct str value, const char *fault, char *note,
                  size_t note_size)
{
        char shown[SHOWN_MAX + 8], allowed[160];
        quote(k, value, shown);
        config_allowed(k, allowed, sizeof allowed);
        snprintf(note, note_size, "%s: %s %s; %s", k->name, value.n ? shown : "an empty value",
                 fault, allowed);
        return CONFIG_REFUSED;
}

static bool parse_count(struct str text, int64_t *ret)
{
        /* A size without its suffix has the same form. */
        return text.p && text.n > 0 && text.p[text.n - 1] >= '0' && text.p[text.n - 1] <= '9' &&
               size_parse(text, ret);
}

/* "0.25" to thousandths: digits, at most three more that count. */
static bool parse_ratio(struct str text, int64_t *ret)
{
        int64_t whole = 0, part = 0;
        const char *dot = text.p ? memchr(text.p, '.', text.n) : NULL;
        struct str head = {text.p, dot ? (uint32_t)(dot - text.p) : text.n};
        if (!parse_count(head, &whole) || whole > INT32_MAX) {
                return false;
        }
        struct str tail = dot ? (struct str){dot + 1, text.n - head.n - 1} : STR("0");
        if (tail.n == 0) {
                return false;
        }
        for (uint32_t i = 0, weight = 100; i < tail.n; i++, weight /= 10) {
                if (tail.p[i] < '0' || tail.p[i] > '9' || (weight == 0 && tail.p[i] != '0')) {
                        return false;
                }
                part += (tail.p[i] - '0') * (int64_t)weight;
        }
        *ret = whole * 1000 + part;
        return true;
}

static void store_number(void *field, size_t size, int64_t value)
{
        switch (size) {
        case 2: *(uint16_t *)field = (uint16_t)value; break;
        case 4: *(uint32_t *)field = (uint32_t)value; break;
        case 8: *(int64_t *)field = value; break;
        default: assert(!"a number's field has 2, 4 or 8 bytes");
        }
}

static int64_t load_number(const void *field, size_t size)
{
        switch (size) {
        case 2: return *(const uint16_t *)field;
        case 4: return *(const uint32_t *)field;
        default: assert(size == 8); return *(const int64_t *)field;
        }
}

static int set_number(void *field, const struct config_key *k, struct str value, char *note,
                      size_t note_size)
{
        int64_t number = 0;
        bool ok;
        const char *fault;
        switch (k->type) {
        case CONFIG_DURATION:
                ok = duration_parse(value, &number);
                fault = "is not a duration such as 250ms, 30s, 5m, 2h, 7d";
                break;
        case CONFIG_SIZE:
                ok = size_parse(value, &number);
                fault = "is not a size such as 512, 64k, 1M";
                break;
        case CONFIG_RATIO:
                ok = parse_ratio(value, &number);
                fault = "is not a number with at most three decimals";
                break;
        default: ok = parse_count(value, &number); fault = "is not a whole number";
        }
        bool negative = value.n > 1 && value.p[0] == '-';
        if (k->word && str_eq(value, str_of(k->word))) {
                store_number(field, k->size, CONFIG_WORD);
                return 0;
        }
        if (negative || (ok && (number < k->min || number > k->max))) {
                ok = false;
                fault = "is not allowed";
        }
        if (!ok) {
                return refuse(k, value, fault, note, note_size);
        }
        store_number(field, k->size, number);
        return 0;
}

static bool printable(struct str text)
{
        for (uint32_t i = 0; i < text.n; i++) {
                unsigned char byte = (unsigned char)text.p[i];
                if (byte < 0x20 || byte == 0x7f) {
                        return false;
                }
        }
        return true;
}

static int set_text(struct str *field, struct arena *a, const struct config_key *k,
                    struct str value, char *note, size_t note_size)
{
        if (value.n < k->min || value.n > k->max) {
                const char *fault = value.n < k->min ? "is not allowed" : "is too long";
                return refuse(k, value, fault, note, note_size);
        }
        if (!printable(value)) {
                return refuse(k, value, "holds control characters", note, note_size);
        }
        struct str copy = arena_str(a, value);
        if (!copy.p) {
                return -ENOMEM;
        }
        *field = copy;
        return 0;
}

static int set_choice(void *field, struct arena *a, const struct config_key *k, struct str value,
                      char *note, size_t note_size)
{
        const char *rest = k->choices;
        struct str word;
        for (int64_t i = 0; next_choice(&rest, &word); i++) {
                if (!str_eq(word, value)) {
                        continue;
                }
                if (k->size != sizeof(struct str)) {
                        store_number(field, k->size, i);
                        return 0;
                }
                struct str copy = arena_str(a, value);
                if (!copy.p) {
                        return -ENOMEM;
                }
                *(struct str *)field = copy;
                return 0;
        }
        return refuse(k, value, "is not allowed", note, note_size);
}

/* The next text of a list with commas, without blanks around it. */
static bool next_text(struct str *rest, struct str *ret)
{
        if (!rest->p) {
                return false;
        }
        const char *comma = rest->p ? memchr(rest->p, ',', rest->n) : NULL;
        struct str item = {rest->p, comma ? (uint32_t)(comma - rest->p) : rest->n};
        *rest = comma ? (struct str){comma + 1, rest->n - item.n - 1} : (struct str){0};
        while (item.n && item.p[0] == ' ') {
                item = (struct str){item.p + 1, item.n - 1};
        }
        while (item.n && item.p[item.n - 1] == ' ') {
                item.n--;
        }
        *ret = item;
        return true;
}

static int set_texts(struct str **field, struct arena *a, const struct config_key *k,
                     struct str value, char *note, size_t note_size)
{
        struct str rest = value, item, *list = NULL;
        uint32_t n = 0;
        while (value.n && next_text(&rest, &item)) {
                if (item.n == 0 || !printable(item)) {
                        return refuse(k, value, "has an empty or unreadable entry", note,
                                      note_size);
                }
                n++;
        }
        if (n < k->min || n > k->max) {
                return refuse(k, value, "is not allowed", note, note_size);
        }
        list = arena_alloc(a, (n ? n : 1) * sizeof *list);
        rest = value;
        for (uint32_t i = 0; list && i < n; i++) {
                next_text(&rest, &item);
                list[i] = arena_str(a, item);
                if (!list[i].p) {
                        list = NULL;
                }
        }
        if (!list) {
                return -ENOMEM;
        }
        *field = n ? list : NULL;
        *(uint32_t *)(field + 1) = n;
        return 0;
}

static int set_delays(void *field, const struct config_key *k, struct str value, char *note,
                      size_t note_size)
{
        int64_t list[RETRY_TABLE_MAX];
        struct str rest = value, item;
        uint32_t n = 0;
        while (value.n && next_text(&rest, &item)) {
                if (n == k->max || n == RETRY_TABLE_MAX) {
                        return refuse(k, value, "has too many entries", note, note_size);
                }
                if (!duration_parse(item, &list[n]) || list[n] > DELAY_MAX) {
                        return refuse(k, item, "is not a duration such as 250ms, 30s, 5m, 2h, 7d",
                                      note, note_size);
                }
                n++;
        }
        if (n < k->min) {
                return refuse(k, value, "is not allowed", note, note_size);
        }
        memcpy((char *)field + DELAYS_AT, list, n * sizeof *list);
        *(uint32_t *)field = n;
        return 0;
}

int config_set(void *base, struct arena *a, const struct config_key *k, struct str value,
               char *note, size_t note_size)
{
        void *field = (char *)base + k->offset;
        switch (k->type) {
        case CONFIG_TEXT: return set_text(field, a, k, value, note, note_size);
        case CONFIG_TEXTS: return set_texts(field, a, k, value, note, note_size);
        case CONFIG_CHOICE: return set_choice(field, a, k, value, note, note_size);
        case CONFIG_DELAYS: return set_delays(field, k, value, note, note_size);
        default: return set_number(field, k, value, note, note_size);
        }
}

/* --- writing ---------------------------------------------------------------------------------- */

static struct str show_texts(struct arena *a, const struct str *list, uint32_t n)
{
        struct str all = STR("");
        for (uint32_t i = 0; i < n && all.p; i++) {
                all = arena_printf(a, "%.*s%s%.*s", (int)all.n, all.p, i ? "," : "", (int)list[i].n,
                                   list[i].p);
        }
        return all;
}

static struct str show_delays(struct arena *a, const void *field)
{
        struct str all = STR("");
        const int64_t *list = (const void *)((const char *)field + DELAYS_AT);
        for (uint32_t i = 0; i < *(const uint32_t *)field && all.p; i++) {
                char text[DURATION_TEXT_MAX];
                duration_text(list[i], text);
                all = arena_printf(a, "%s%s%s", all.p, i ? "," : "", text);
        }
        return all;
}

static bool is_word(const void *field, const struct config_key *k)
{
        int64_t number = load_number(field, k->size);
        return k->word && (number == CONFIG_WORD || (k->size == 4 && number == UINT32_MAX));
}

static struct str show_choice(const void *field, const struct config_key *k)
{
        const char *rest = k->choices;
        struct str word = STR("");
        for (int64_t i = load_number(field, k->size); i >= 0; i--) {
                next_choice(&rest, &word);
        }
        return word;
}

struct str config_show(const void *base, struct arena *a, const struct config_key *k)
{
        const void *field = (const char *)base + k->offset;
        char number[DURATION_TEXT_MAX];
        const struct str *text = field;
        bool is_text =
            k->type == CONFIG_TEXT || (k->type == CONFIG_CHOICE && k->size == sizeof(struct str));
        if (is_text && k->secret && text->n > 0) {
                return STR("***");
        }
        if (is_text) {
                return text->n ? config_mask(a, *text) : STR("");
        }
        if (k->type == CONFIG_TEXTS) {
                struct str *const *list = field;
                return show_texts(a, *list, *(const uint32_t *)(list + 1));
        }
        if (k->type == CONFIG_CHOICE) {
                return show_choice(field, k);
        }
        if (k->type == CONFIG_DELAYS) {
                return show_delays(a, field);
        }
        if (is_word(field, k)) {
                return str_of(k->word);
        }
        write_number(k, load_number(field, k->size), number);
        return arena_str(a, str_of(number));
}

static struct str quote_literal(struct arena *a, struct str text)
{
        char *out = arena_alloc(a, 2 * (size_t)text.n + 3);
        uint32_t n = 0;
        if (!out) {
                return (struct str){0};
        }
        out[n++] = '"';
        for (uint32_t i = 0; i < text.n; i++) {
                if (text.p[i] == '"' || text.p[i] == '\\') {
                        out[n++] = '\\';
                }
                out[n++] = text.p[i];
        }
        out[n++] = '"';
        out[n] = 0;
        return (struct str){out, n};
}

static struct str list_literal(struct arena *a, struct str text)
{
        struct str rest = text, item, all = STR("[");
        while (text.n && all.p && next_text(&rest, &item)) {
                struct str quoted = quote_literal(a, item);
                all = quoted.p ? arena_printf(a, "%.*s%s%s", (int)all.n, all.p,
                                              all.n > 1 ? ", " : "", quoted.p)
                               : (struct str){0};
        }
        return all.p ? arena_printf(a, "%.*s]", (int)all.n, all.p) : all;
}

struct str config_literal(struct arena *a, const struct config_key *k, struct str text)
{
        bool word = k->word && str_eq(text, str_of(k->word));
        switch (k->type) {
        case CONFIG_COUNT:
        case CONFIG_RATIO: return word ? quote_literal(a, text) : text;
        case CONFIG_TEXTS:
        case CONFIG_DELAYS: return list_literal(a, text);
        default: return quote_literal(a, text);
        }
}
