/*
 * What no single key can tell: each way in which values do not fit together is found and named.
 */
#include "tests/unit/config-model.h"

static void break_names(struct config *c)
{
        add_queue(c, "default");
}

static void break_empty_name(struct config *c)
{
        add_queue(c, "")->name = STR("");
}

static void break_name(struct config *c)
{
        add_queue(c, "a b");
}

static void break_no_queues(struct config *c)
{
        c->n_queues = 0;
}

static void break_transport(struct config *c)
{
        set(c, &c->queues[0], "transport", "rabbit");
}

static void break_url(struct config *c)
{
        struct transport_config *t;
        CU_ASSERT_EQUAL(config_transport_add(c, STR("rabbit"), &t), 0);
}

static void break_ties(struct config *c)
{
        set(c, add_queue(c, "a"), "types", "email.>,x");
        set(c, add_queue(c, "b"), "types", "y,email.>");
}

static void break_pattern(struct config *c)
{
        set(c, &c->queues[0], "types", "a..b");
}

static void break_default_type(struct config *c)
{
        set(c, &c->queues[0], "default_type", "a.*");
}

static void break_lease(struct config *c)
{
        set(c, c, "node.lease", "2s");
}

static void break_tokens(struct config *c)
{
        set(c, c, "http.listen", "127.0.0.1:8290");
}

static void break_loopback(struct config *c)
{
        set(c, c, "http.listen", "0.0.0.0:8290");
        set(c, c, "http.token_file", "/t");
}

static void break_port(struct config *c)
{
        set(c, c, "http.listen", "127.0.0.1:65536");
        set(c, c, "http.token_file", "/t");
}

static void break_brackets(struct config *c)
{
        set(c, c, "http.listen", "::1:80");
        set(c, c, "http.token_file", "/t");
}

static void break_option(struct config *c)
{
        struct handler_option_config *o;
        CU_ASSERT_EQUAL_FATAL(config_option_add(c, &o), 0);
        *o = (struct handler_option_config){STR("a b"), STR("n"), STR("v"), {{0}, 0}};
}

static void break_table(struct config *c)
{
        set(c, &c->queues[0], "retry.table", "1s,2s");
}

static void break_no_table(struct config *c)
{
        set(c, &c->queues[0], "retry.backoff", "table");
}

static void break_long_table(struct config *c)
{
        set(c, &c->queues[0], "retry.backoff", "table");
        set(c, &c->queues[0], "retry.table", "1s,1h");
}

static struct type_config *add_type(struct config *c, const char *pattern)
{
        void *t = NULL;
        CU_ASSERT_EQUAL_FATAL(config_entry_add(c, &config_lists[LIST_TYPES], str_of(pattern), &t),
                              0);
        return t;
}

static void break_type(struct config *c)
{
        add_type(c, "a..b");
}

static void break_types_tie(struct config *c)
{
        add_type(c, "a.*");
        add_type(c, "*.b");
}

static void break_types_twice(struct config *c)
{
        add_type(c, "a");
        add_type(c, "a");
}

static void break_type_retry(struct config *c)
{
        set_in(c, config_type_keys, add_type(c, "a"), "retry", "sometimes");
}

/* A schedule that is right. */
static struct schedule_config *add_schedule(struct config *c)
{
        void *d = NULL;
        CU_ASSERT_EQUAL_FATAL(
            config_entry_add(c, &config_lists[LIST_SCHEDULES], STR("nightly"), &d), 0);
        set_in(c, config_schedule_keys, d, "cron", "30 4 * * *");
        set_in(c, config_schedule_keys, d, "type", "report");
        return d;
}

static void break_schedule_name(struct config *c)
{
        add_schedule(c)->name = STR("a b");
}

static void break_schedule_twice(struct config *c)
{
        add_schedule(c);
        add_schedule(c);
}

static void break_no_cron(struct config *c)
{
        add_schedule(c)->cron = STR("");
}

static void break_cron(struct config *c)
{
        add_schedule(c)->cron = STR("30 25 * * *");
}

static void break_zone(struct config *c)
{
        add_schedule(c)->zone = STR("../etc");
}

static void break_no_type(struct config *c)
{
        add_schedule(c)->type = STR("");
}

static void break_schedule_queue(struct config *c)
{
        add_schedule(c)->queue = STR("other");
}

static void break_unrouted(struct config *c)
{
        set(c, &c->queues[0], "name", "other");
        add_schedule(c);
}

static void break_schedule_retry(struct config *c)
{
        set_in(c, config_schedule_keys, add_schedule(c), "retry", "base=1 hour");
}

static void test_right(void)
{
        struct config c;
        char note[CONFIG_NOTE_MAX] = "";
        CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
        struct schedule_config *d = add_schedule(&c);
        set_in(&c, config_schedule_keys, d, "zone", "Europe/Berlin");
        set_in(&c, config_schedule_keys, d, "retry", "linear attempts=5");
        CU_ASSERT_EQUAL(d->catch_up, CATCH_LAST);
        CU_ASSERT_EQUAL(d->overlap, OVERLAP_ALLOW);
        CU_ASSERT_EQUAL(d->priority, UINT32_MAX);
        set_in(&c, config_type_keys, add_type(&c, "a.>"), "retry", "table=1s,5m for=2h");
        add_type(&c, "a.b");
        set(&c, &c.queues[0], "retry.backoff", "table");
        set(&c, &c.queues[0], "retry.table", "1s,10s,10m");
        CU_ASSERT_EQUAL(config_check(&c, note, sizeof note), 0);
        CU_ASSERT_STRING_EQUAL(note, "");
        config_deinit(&c);
}

static void test_checks(void)
{
        static const struct {
                void (*spoil)(struct config *c);
                const char *note;
        } cases[] = {
            {break_names, "there are two queues named default"},
            {break_empty_name, "entry 2 has no name"},
            {break_name, "the name a b is not allowed"},
            {break_no_queues, "queues: there is none"},
            {break_transport, "queue default: there is no transport rabbit"},
            {break_url, "transport rabbit: it has no url"},
            {break_ties, "queues a and b: the patterns email.> and email.> match the same types"},
            {break_pattern, "queue default: types: a..b is not a pattern"},
            {break_default_type, "queue default: default_type: a.* is not a job type"},
            {break_lease,
             "node.lease: 2s is not allowed with node.beat = 1s; at least three beats"},
            {break_tokens, "HTTP over TCP needs http.token_file"},
            {break_loopback, "0.0.0.0:8290 is not a loopback address"},
            {break_port, "127.0.0.1:65536 is not an address and port"},
            {break_brackets, "::1:80 is not an address and port"},
            {break_option, "a b is not a handler's type or pattern"},
            {break_table,
             "queue default: retry.table needs retry.backoff = \"table\"; it is \"exponential\""},
            {break_no_table, "queue default: retry.backoff = \"table\" needs retry.table, such as"},
            {break_long_table, "queue default: retry.table: 1h is above retry.cap, which is 10m"},
            {break_type, "types: a..b is not a pattern"},
            {break_types_tie, "types: the patterns a.* and *.b match the same types equally well"},
            {break_types_twice, "types: there are two of a"},
            {break_type_retry, "type a: retry: "},
            {break_schedule_name, "schedules: the name a b is not allowed; letters, digits"},
            {break_schedule_twice, "schedules: there are two named nightly"},
            {break_no_cron, "schedule nightly: it has no cron, for example cron = "},
            {break_cron,
             "schedule nightly: cron: hour, position 4: 25 is not allowed; 0 to 23, for "
             "example "},
            {break_zone, "schedule nightly: zone: ../etc is not the name of a time zone"},
            {break_no_type, "schedule nightly: type: nothing is not a job type"},
            {break_schedule_queue, "schedule nightly: queue: there is no queue other"},
            {break_unrouted, "schedule nightly: no queue takes jobs of type report"},
            {break_schedule_retry, "schedule nightly: retry: "},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct config c;
                char note[CONFIG_NOTE_MAX] = "";
                CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
                cases[i].spoil(&c);
                CU_ASSERT_EQUAL(config_check(&c, note, sizeof note), CONFIG_REFUSED);
                if (!strstr(note, cases[i].note)) {
                        printf("\n%s\n%s\n", note, cases[i].note);
                        CU_FAIL("a check");
                }
                config_deinit(&c);
        }
}

static void test_allowed_addresses(void)
{
        static const char *const addresses[] = {"127.0.0.1:8290", "[::1]:1", "localhost:65535"};
        for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
                struct config c;
                char note[CONFIG_NOTE_MAX] = "";
                CU_ASSERT_EQUAL_FATAL(config_init(&c), 0);
                set(&c, &c, "http.listen", addresses[i]);
                set(&c, &c, "http.token_file", "/t");
                CU_ASSERT_EQUAL(config_check(&c, note, sizeof note), 0);
                config_deinit(&c);
        }
}

UNIT_TESTS = {
    {"values that do not fit together", test_checks},
    {"addresses on loopback", test_allowed_addresses},
    {"types and schedules that are right", test_right},
};
UNIT_MAIN("config-check")
