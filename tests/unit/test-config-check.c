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
};
UNIT_MAIN("config-check")
