/*
 * The configuration model: each key of the tables at both ends of its range and beyond, what is
 * refused and how the note says it, the text forms there and back, names, passwords, places.
 */
#include "tests/unit/config-model.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct config_key *const tables[] = {
    config_keys, config_queue_keys, config_transport_keys, config_type_keys, config_schedule_keys};

/* Room for any struct that keys are set in. */
static union {
        struct config config;
        struct queue_config queue;
        struct transport_config transport;
        struct type_config type;
        struct schedule_config schedule;
} base;

static void number_text(const struct config_key *k, int64_t value, char text[64])
{
        switch (k->type) {
        case CONFIG_DURATION: snprintf(text, 64, "%" PRId64 "ms", value); break;
        case CONFIG_RATIO:
                snprintf(text, 64, "%" PRId64 ".%03" PRId64, value / 1000, value % 1000);
                break;
        default: snprintf(text, 64, "%" PRId64, value);
        }
}

static int64_t stored(const struct config_key *k)
{
        const void *field = (const char *)&base + k->offset;
        return k->size == 2   ? *(const uint16_t *)field
               : k->size == 4 ? *(const uint32_t *)field
                              : *(const int64_t *)field;
}

static void try_number(const struct config_key *k, int64_t value, bool allowed)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        char text[64], note[CONFIG_NOTE_MAX] = "";
        if (value < 0 && k->type != CONFIG_COUNT) {
                return; /* there is no such text */
        }
        memset(&base, 0x5a, sizeof base);
        int64_t before = stored(k);
        number_text(k, value, text);
        int r = config_set(&base, &a, k, str_of(text), note, sizeof note);
        if ((r == 0) != allowed || stored(k) != (allowed ? value : before)) {
                printf("\n%s = %s: %d %s\n", k->name, text, r, note);
                CU_FAIL("a range end");
        }
        if (!allowed) {
                CU_ASSERT_PTR_NOT_NULL(strstr(note, "is not allowed; "));
                CU_ASSERT_PTR_NOT_NULL(strstr(note, k->name));
        }
}

static void try_text(const struct config_key *k, int64_t n, bool allowed)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        char note[CONFIG_NOTE_MAX] = "", *text = malloc((size_t)n + 1);
        struct str *field = (void *)((char *)&base + k->offset);
        memset(text, 'x', (size_t)n);
        *field = STR("before");
        int r = config_set(&base, &a, k, (struct str){text, (uint32_t)n}, note, sizeof note);
        CU_ASSERT_EQUAL(r, allowed ? 0 : CONFIG_REFUSED);
        CU_ASSERT_EQUAL(field->n, allowed ? n : 6);
        free(text);
}

static void try_texts(const struct config_key *k, int64_t n, bool allowed)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        char note[CONFIG_NOTE_MAX] = "";
        struct str all = STR("");
        for (int64_t i = 0; i < n; i++) {
                all = arena_printf(&a, "%s%sx%d", all.p, i ? "," : "", (int)i);
        }
        int r = config_set(&base, &a, k, all, note, sizeof note);
        CU_ASSERT_EQUAL(r, allowed ? 0 : CONFIG_REFUSED);
}

static void try_delays(const struct config_key *k, int64_t n, bool allowed)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        char note[CONFIG_NOTE_MAX] = "";
        struct str all = STR("");
        for (int64_t i = 0; i < n; i++) {
                all = arena_printf(&a, "%s%s%ds", all.p, i ? "," : "", (int)i + 1);
        }
        int r = config_set(&base, &a, k, all, note, sizeof note);
        CU_ASSERT_EQUAL(r, allowed ? 0 : CONFIG_REFUSED);
        if (allowed) {
                CU_ASSERT_TRUE(str_eq(config_show(&base, &a, k), all));
        }
}

static void try_choices(const struct config_key *k)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        char note[CONFIG_NOTE_MAX], choices[256], *rest = NULL;
        snprintf(choices, sizeof choices, "%s", k->choices);
        for (char *c = strtok_r(choices, " ", &rest); c; c = strtok_r(NULL, " ", &rest)) {
                CU_ASSERT_EQUAL(config_set(&base, &a, k, str_of(c), note, sizeof note), 0);
                struct str shown = config_show(&base, &a, k);
                CU_ASSERT_TRUE(str_eq(shown, str_of(c)));
        }
        CU_ASSERT_EQUAL(config_set(&base, &a, k, STR("x"), note, sizeof note), CONFIG_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "one of "));
        CU_ASSERT_EQUAL(config_set(&base, &a, k, STR(""), note, sizeof note), CONFIG_REFUSED);
}

static void try_range(const struct config_key *k)
{
        switch (k->type) {
        case CONFIG_CHOICE: try_choices(k); break;
        case CONFIG_TEXT:
                try_text(k, k->min, true);
                try_text(k, k->max, true);
                try_text(k, k->max + 1, false);
                if (k->min > 0) {
                        try_text(k, k->min - 1, false);
                }
                break;
        case CONFIG_TEXTS:
                try_texts(k, k->min, true);
                try_texts(k, k->max, true);
                try_texts(k, k->max + 1, false);
                break;
        case CONFIG_DELAYS:
                try_delays(k, k->min, true);
                try_delays(k, k->max, true);
                try_delays(k, k->max + 1, false);
                break;
        default:
                try_number(k, k->min, true);
                try_number(k, k->max, true);
                try_number(k, k->min - 1, false);
                try_number(k, k->max + 1, false);
        }
}

static void test_ranges(void)
{
        for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
                for (const struct config_key *k = tables[t]; k->name; k++) {
                        try_range(k);
                        CU_ASSERT_PTR_NOT_NULL(k->help);
                        CU_ASSERT_TRUE(tables[t] != config_keys || strchr(k->name, '.') != NULL);
                }
        }
}

static void test_defaults(void)
{
        struct config c;
        char note[CONFIG_NOTE_MAX];
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        CU_ASSERT_TRUE(str_eq(c.ledger_url, STR("sqlite:/var/lib/skep/skep.db")));
        CU_ASSERT_EQUAL(c.workers, 2);
        CU_ASSERT_EQUAL(c.beat_ms, 1000);
        CU_ASSERT_EQUAL(c.lease_ms, 15000);
        CU_ASSERT_EQUAL(c.cancel_grace_ms, 5000);
        CU_ASSERT_EQUAL(c.shutdown_grace_ms, 30000);
        CU_ASSERT_EQUAL(c.payload_max, 1 << 20);
        CU_ASSERT_EQUAL_FATAL(c.n_queues, 1);
        CU_ASSERT_TRUE(str_eq(c.queues[0].name, STR("default")));
        CU_ASSERT_EQUAL(c.queues[0].transport.n, 0);
        struct retry_policy want = RETRY_POLICY_DEFAULT;
        const struct retry_policy *got = &c.queues[0].retry;
        CU_ASSERT_EQUAL(got->max_attempts, want.max_attempts);
        CU_ASSERT_EQUAL(got->backoff, want.backoff);
        CU_ASSERT_EQUAL(got->base_ms, want.base_ms);
        CU_ASSERT_EQUAL(got->cap_ms, want.cap_ms);
        CU_ASSERT_EQUAL(got->jitter_permille, want.jitter_permille);
        CU_ASSERT_EQUAL(config_check(&c, note, sizeof note), 0);
        config_deinit(&c);
}

/* What a key shows is what it reads. */
static void test_round_trip(void)
{
        struct config c;
        char note[CONFIG_NOTE_MAX];
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        for (const struct config_key *k = config_keys; k->name; k++) {
                struct str shown = config_show(&c, &c.arena, k);
                CU_ASSERT_TRUE(str_eq(shown, str_of(k->fallback)));
                CU_ASSERT_EQUAL(config_set(&c, &c.arena, k, shown, note, sizeof note), 0);
        }
        for (const struct config_key *k = config_queue_keys; k->name; k++) {
                struct str shown = config_show(&c.queues[0], &c.arena, k);
                CU_ASSERT_TRUE(str_eq(shown, str_of(k->fallback)));
                CU_ASSERT_EQUAL(config_set(&c.queues[0], &c.arena, k, shown, note, sizeof note), 0);
        }
        config_deinit(&c);
}

static void test_refused_values(void)
{
        static const struct {
                const char *key, *value, *note;
        } cases[] = {
            {"handlers.workers", "300", "handlers.workers: 300 is not allowed; 1 to 256"},
            {"handlers.workers", "0", "handlers.workers: 0 is not allowed; 1 to 256"},
            {"handlers.workers", "-1", "handlers.workers: -1 is not allowed; 1 to 256"},
            {"handlers.workers", "two", "handlers.workers: two is not a whole number; 1 to 256"},
            {"handlers.workers", "2.5", "handlers.workers: 2.5 is not a whole number; 1 to 256"},
            {"handlers.workers", "1k", "handlers.workers: 1k is not a whole number; 1 to 256"},
            {"handlers.workers", "",
             "handlers.workers: an empty value is not a whole number; 1 to 256"},
            {"handlers.workers", "99999999999999999999999",
             "handlers.workers: 99999999999999999999999 is not a whole number; 1 to 256"},
            {"node.beat", "30",
             "node.beat: 30 is not a duration such as 250ms, 30s, 5m, 2h, 7d; 50ms to 10s"},
            {"node.beat", "1h", "node.beat: 1h is not allowed; 50ms to 10s"},
            {"jobs.payload_max", "1MB",
             "jobs.payload_max: 1MB is not a size such as 512, 64k, 1M; 1k to 64M"},
            {"jobs.payload_max", "2G", "jobs.payload_max: 2G is not allowed; 1k to 64M"},
            {"retry.jitter", "1.1", "retry.jitter: 1.1 is not allowed; 0 to 1"},
            {"retry.jitter", "0.0001",
             "retry.jitter: 0.0001 is not a number with at most three decimals; 0 to 1"},
            {"retry.jitter", "1e-1",
             "retry.jitter: 1e-1 is not a number with at most three decimals; 0 to 1"},
            {"retry.jitter", ".",
             "retry.jitter: . is not a number with at most three decimals; 0 to 1"},
            {"retry.backoff", "linea",
             "retry.backoff: linea is not allowed; one of exponential, linear, fixed, table"},
            {"retry.table", "1s,10",
             "retry.table: 10 is not a duration such as 250ms, 30s, 5m, 2h, "
             "7d; 0 to 16 durations of 365d at most"},
            {"retry.table", "1s,,2s",
             "retry.table: an empty value is not a duration such as 250ms, 30s, 5m, 2h, 7d; 0 to "
             "16 "
             "durations of 365d at most"},
            {"retry.table", "366d",
             "retry.table: 366d is not a duration such as 250ms, 30s, 5m, 2h, 7d; 0 to 16 "
             "durations "
             "of 365d at most"},
            {"retention.completed", "never",
             "retention.completed: never is not a duration such as 250ms, 30s, 5m, 2h, 7d; 1s to "
             "3650d, or forever"},
            {"retention.completed", "0",
             "retention.completed: 0 is not allowed; 1s to 3650d, or forever"},
            {"log.level", "loud",
             "log.level: loud is not allowed; one of debug, info, warn, error"},
            {"log.level", "http://u:hidden@h",
             "log.level: http://u:***@h is not allowed; one of debug, info, warn, error"},
            {"handlers.dir", "", "handlers.dir: an empty value is not allowed; 1 to 4095 bytes"},
            {"handlers.dir", "a\nb", "handlers.dir: a?b holds control characters; 1 to 4095 bytes"},
            {"types", "a,,b", "types: a,,b has an empty or unreadable entry; 0 to 256 texts"},
            {"types", ",", "types: , has an empty or unreadable entry; 0 to 256 texts"},
        };
        struct arena CLEANUP(arena_deinit) a = {0};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char note[CONFIG_NOTE_MAX] = "";
                const struct config_key *k = key_of(cases[i].key);
                int r = config_set(&base, &a, k, str_of(cases[i].value), note, sizeof note);
                CU_ASSERT_EQUAL(r, CONFIG_REFUSED);
                if (strcmp(note, cases[i].note) != 0) {
                        printf("\n%s\n%s\n", note, cases[i].note);
                        CU_FAIL("a note");
                }
        }
}

static void test_texts(void)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        struct queue_config q = {0};
        char note[CONFIG_NOTE_MAX];
        const struct config_key *k = key_of("types");
        CU_ASSERT_EQUAL(config_set(&q, &a, k, STR("a.> , b.*,c"), note, sizeof note), 0);
        CU_ASSERT_EQUAL_FATAL(q.n_types, 3);
        CU_ASSERT_TRUE(str_eq(q.types[0], STR("a.>")));
        CU_ASSERT_TRUE(str_eq(q.types[1], STR("b.*")));
        struct str shown = config_show(&q, &a, k);
        CU_ASSERT_TRUE(str_eq(shown, STR("a.>,b.*,c")));
        CU_ASSERT_STRING_EQUAL(config_literal(&a, k, shown).p, "[\"a.>\", \"b.*\", \"c\"]");
        CU_ASSERT_EQUAL(config_set(&q, &a, k, STR(""), note, sizeof note), 0);
        CU_ASSERT_EQUAL(q.n_types, 0);
        CU_ASSERT_STRING_EQUAL(config_literal(&a, k, STR("")).p, "[]");
        CU_ASSERT_STRING_EQUAL(config_literal(&a, key_of("handlers.dir"), STR("a\"b\\")).p,
                               "\"a\\\"b\\\\\"");
        CU_ASSERT_STRING_EQUAL(config_literal(&a, key_of("node.beat"), STR("1s")).p, "\"1s\"");
        CU_ASSERT_STRING_EQUAL(config_literal(&a, key_of("retry.jitter"), STR("0.2")).p, "0.2");
}

/* Numbers that may be a word. */
static void test_words(void)
{
        struct config c;
        struct schedule_config d = {0};
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        const struct config_key *dead = key_of("retention.dead"), *priority = NULL;
        for (const struct config_key *k = config_schedule_keys; k->name; k++) {
                priority = k->word ? k : priority;
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(priority);
        CU_ASSERT_EQUAL(c.retention.dead_ms, CONFIG_WORD);
        CU_ASSERT_EQUAL(c.retention.completed_ms, 7 * INT64_C(86400000));
        CU_ASSERT_EQUAL(c.queues[0].retention.dead_ms, 0);
        CU_ASSERT_TRUE(str_eq(config_show(&c, &c.arena, dead), STR("forever")));
        set(&c, &c, "retention.dead", "90d");
        CU_ASSERT_EQUAL(c.retention.dead_ms, 90 * INT64_C(86400000));
        set(&c, &c, "retention.dead", "forever");
        CU_ASSERT_EQUAL(c.retention.dead_ms, CONFIG_WORD);
        set_in(&c, config_schedule_keys, &d, "priority", "queue");
        CU_ASSERT_EQUAL(d.priority, UINT32_MAX);
        CU_ASSERT_TRUE(str_eq(config_show(&d, &c.arena, priority), STR("queue")));
        CU_ASSERT_STRING_EQUAL(config_literal(&c.arena, priority, STR("queue")).p, "\"queue\"");
        CU_ASSERT_STRING_EQUAL(config_literal(&c.arena, priority, STR("3")).p, "3");
        config_deinit(&c);
}

/* Entries of each list, and what the configuration says of a type. */
static void test_entries(void)
{
        struct config c;
        void *entry;
        static const char *const patterns[] = {"email.>", "email.send", "*.send", ">"};
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        CU_ASSERT_PTR_NULL(config_type_for(&c, STR("email.send")));
        for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
                CU_ASSERT_EQUAL_FATAL(
                    config_entry_add(&c, &config_lists[LIST_TYPES], str_of(patterns[i]), &entry),
                    0);
                ((struct type_config *)entry)->timeout_ms = (uint32_t)i + 1;
        }
        CU_ASSERT_EQUAL(c.n_types, 4);
        CU_ASSERT_EQUAL(config_type_for(&c, STR("email.send"))->timeout_ms, 2);
        CU_ASSERT_EQUAL(config_type_for(&c, STR("email.x.y"))->timeout_ms, 1);
        CU_ASSERT_EQUAL(config_type_for(&c, STR("sms.send"))->timeout_ms, 3);
        CU_ASSERT_EQUAL(config_type_for(&c, STR("other"))->timeout_ms, 4);
        for (size_t i = 0; i < CONFIG_LISTS; i++) {
                const struct config_list *l = &config_lists[i];
                uint32_t n = config_entries(&c, l);
                CU_ASSERT_EQUAL_FATAL(config_entry_add(&c, l, STR("new"), &entry), 0);
                CU_ASSERT_EQUAL(config_entries(&c, l), n + 1);
                CU_ASSERT_PTR_EQUAL(config_entry(&c, l, n), entry);
                CU_ASSERT_EQUAL(config_entry_named(&c, l, STR("new")), (int)n);
                CU_ASSERT_EQUAL(config_entry_named(&c, l, STR("nope")), -1);
                while (config_entries(&c, l) < l->max) {
                        CU_ASSERT_EQUAL_FATAL(config_entry_add(&c, l, STR("x"), &entry), 0);
                }
                CU_ASSERT_EQUAL(config_entry_add(&c, l, STR("x"), &entry), CONFIG_FULL);
        }
        config_deinit(&c);
}

static void test_nearest(void)
{
        static const struct {
                const struct config_key *keys;
                const char *written, *near;
        } cases[] = {
            {config_keys, "handlers.wrokers", "handlers.workers"},
            {config_keys, "handlers.worker", "handlers.workers"},
            {config_keys, "handler.workers", "handlers.workers"},
            {config_keys, "workers", "handlers.workers"},
            {config_keys, "HTTP.Sokcet", "http.socket"},
            {config_keys, "ledger.uri", "ledger.url"},
            {config_keys, "http.tokenfile", "http.token_file"},
            {config_queue_keys, "concurency", "concurrency"},
            {config_queue_keys, "max_attempt", "retry.max_attempts"},
            {config_queue_keys, "retry.bakcoff", "retry.backoff"},
            {config_queue_keys, "colour", NULL},
            {config_keys, "zzz.qqq", NULL},
            {config_keys, "", NULL},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                const char *near = config_nearest(cases[i].keys, str_of(cases[i].written));
                bool same = near && cases[i].near ? strcmp(near, cases[i].near) == 0
                                                  : near == cases[i].near;
                if (!same) {
                        printf("\n%s: %s\n", cases[i].written, near ? near : "none");
                        CU_FAIL("did you mean");
                }
        }
        CU_ASSERT_EQUAL(config_distance(STR("ab"), STR("ba")), 1);
        CU_ASSERT_EQUAL(config_distance(STR("kitten"), STR("sitting")), 3);
        CU_ASSERT_EQUAL(config_distance(STR(""), STR("abc")), 3);
}

static void test_masked(void)
{
        static const struct {
                const char *text, *masked;
        } cases[] = {
            {"postgresql://skep@localhost/skep", "postgresql://skep@localhost/skep"},
            {"postgresql://u:pw@h/d", "postgresql://u:***@h/d"},
            {"postgresql://u:p@w:x/y@h/d", "postgresql://u:***@h/d"},
            {"postgresql://u:p/w@h/d?a=1", "postgresql://u:***@h/d?a=1"},
            {"postgresql://:pw@h", "postgresql://:***@h"},
            {"postgresql://h:5432/d", "postgresql://h:5432/d"},
            {"postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"},
            {"postgresql://h/d?sslpassword=a&password=b",
             "postgresql://h/d?sslpassword=***&password=***"},
            {"http://h/?Token=abc", "http://h/?Token=***"},
            {"sqlite:/var/lib/a:b@c", "sqlite:/var/lib/a:b@c"},
            {"", ""},
        };
        struct arena CLEANUP(arena_deinit) a = {0};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct str text = str_of(cases[i].text);
                struct str masked = config_mask(&a, text);
                CU_ASSERT_STRING_EQUAL(masked.p, cases[i].masked);
                CU_ASSERT_EQUAL(config_has_password(text),
                                strcmp(cases[i].text, cases[i].masked) != 0);
        }
        struct config c = {.ledger_url = STR("postgresql://u:hidden@h/d")};
        struct config_key secret = *key_of("ledger.url");
        CU_ASSERT_STRING_EQUAL(config_show(&c, &a, &secret).p, "postgresql://u:***@h/d");
        secret.secret = true;
        CU_ASSERT_STRING_EQUAL(config_show(&c, &a, &secret).p, "***");
        char note[CONFIG_NOTE_MAX];
        secret.max = 3;
        CU_ASSERT_EQUAL(config_set(&c, &a, &secret, STR("hidden"), note, sizeof note), 1);
        CU_ASSERT_PTR_NULL(strstr(note, "hidden"));
}

static void test_queue_for(void)
{
        struct config c;
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        set(&c, add_queue(&c, "all"), "types", ">");
        set(&c, add_queue(&c, "email"), "types", "email.>");
        set(&c, add_queue(&c, "send"), "types", "sms,email.send");
        set(&c, add_queue(&c, "late"), "types", "*.send");
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("email.send")), 3);
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("sms.send")), 4);
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("email.drop.x")), 2);
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("other")), 1);
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("sms")), 3);
        CU_ASSERT_EQUAL(config_queue_named(&c, STR("email")), 2);
        CU_ASSERT_EQUAL(config_queue_named(&c, STR("emai")), -1);
        c.queues[1].n_types = 0;
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("other")), 0);
        c.queues[0].name = STR("first");
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("other")), -1);
        config_deinit(&c);
}

static void test_bounded_lists(void)
{
        struct config c;
        struct queue_config *q;
        struct transport_config *t;
        struct handler_option_config *o;
        int r = 0;
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        while ((r = config_queue_add(&c, STR("q"), &q)) == 0) {}
        CU_ASSERT_EQUAL(r, CONFIG_FULL);
        CU_ASSERT_EQUAL(c.n_queues, CONFIG_QUEUES_MAX);
        while ((r = config_transport_add(&c, STR("t"), &t)) == 0) {}
        CU_ASSERT_EQUAL(r, CONFIG_FULL);
        while ((r = config_option_add(&c, &o)) == 0) {}
        CU_ASSERT_EQUAL(r, CONFIG_FULL);
        config_deinit(&c);
}

static void test_places(void)
{
        static const struct {
                struct config_surroundings around;
                const char *state, *socket, *files[2];
        } cases[] = {
            {{.root = true, .home = "/root", .xdg_state_home = "/s"},
             "/var/lib/skep",
             "/run/skep/skep.sock",
             {"/etc/skep/skep.conf"}},
            {{.home = "/h"},
             "/h/.local/state/skep",
             "/h/.local/state/skep/skep.sock",
             {"/h/.config/skep/skep.conf", "/etc/skep/skep.conf"}},
            {{.home = "/h",
              .xdg_state_home = "/s",
              .xdg_config_home = "/c",
              .xdg_runtime_dir = "/r"},
             "/s/skep",
             "/r/skep/skep.sock",
             {"/c/skep/skep.conf", "/etc/skep/skep.conf"}},
            {{.home = "/h", .xdg_state_home = "s", .xdg_config_home = "c", .xdg_runtime_dir = ""},
             "/h/.local/state/skep",
             "/h/.local/state/skep/skep.sock",
             {"/h/.config/skep/skep.conf", "/etc/skep/skep.conf"}},
            {{.home = "/h", .state_directory = "/a:/b", .runtime_directory = "/run/x"},
             "/a",
             "/run/x/skep.sock",
             {"/h/.config/skep/skep.conf", "/etc/skep/skep.conf"}},
            {{0}, "/var/lib/skep", "/run/skep/skep.sock", {"/etc/skep/skep.conf"}},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arena CLEANUP(arena_deinit) a = {0};
                struct config_places p;
                CU_ASSERT_EQUAL_FATAL(config_places(&cases[i].around, &a, &p), 0);
                CU_ASSERT_STRING_EQUAL(p.state_dir.p, cases[i].state);
                CU_ASSERT_STRING_EQUAL(p.http_socket.p, cases[i].socket);
                for (size_t f = 0; f < 2; f++) {
                        CU_ASSERT_TRUE(str_eq(p.files[f], str_of(cases[i].files[f])));
                }
        }
}

/* What config_index() makes finds what the search finds. */
static void test_the_index_finds_the_same(void)
{
        static const char *const patterns[] = {"a.>", "a.*", "a.b", ">", "c"};
        static const char *const asked[] = {"a.b", "a.c", "a.b.c", "c", "d.e", "default", ""};
        struct str of_first[] = {STR("a.>"), STR("c")}, of_second[] = {STR("a.b"), STR("*.e")};
        struct config c;
        struct queue_config *q;
        void *entry;
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
                CU_ASSERT_EQUAL_FATAL(
                    config_entry_add(&c, &config_lists[LIST_TYPES], str_of(patterns[i]), &entry),
                    0);
        }
        CU_ASSERT_EQUAL_FATAL(config_queue_add(&c, STR("one"), &q), 0);
        q->types = of_first;
        q->n_types = 2;
        CU_ASSERT_EQUAL_FATAL(config_queue_add(&c, STR("two"), &q), 0);
        q->types = of_second;
        q->n_types = 2;
        struct config searched = c;
        CU_ASSERT_EQUAL_FATAL(config_index(&c), 0);
        CU_ASSERT_PTR_NOT_NULL(c.index);
        for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
                struct str type = str_of(asked[i]);
                CU_ASSERT_EQUAL(config_queue_for(&c, type), config_queue_for(&searched, type));
                CU_ASSERT_PTR_EQUAL(config_type_for(&c, type), config_type_for(&searched, type));
        }
        CU_ASSERT_EQUAL(config_queue_for(&c, STR("a.b")), 2);
        CU_ASSERT_PTR_EQUAL(config_type_for(&c, STR("a.b")), &c.types[2]);
        config_deinit(&c);
}

UNIT_TESTS = {
    {"every key at both ends of its range", test_ranges},
    {"defaults", test_defaults},
    {"what is shown is what is read", test_round_trip},
    {"refused values say what is allowed", test_refused_values},
    {"lists and literals", test_texts},
    {"did you mean", test_nearest},
    {"passwords are masked", test_masked},
    {"the queue for a type", test_queue_for},
    {"lists are bounded", test_bounded_lists},
    {"places of files", test_places},
    {"numbers that may be a word", test_words},
    {"entries of lists", test_entries},
    {"the index finds the same", test_the_index_finds_the_same},
};
UNIT_MAIN("config")
