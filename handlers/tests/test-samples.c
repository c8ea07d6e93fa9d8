/* echo, noop and sleep: each as its .so, through the stand-in for the worker. */
#include "handlers/tests/plugin.h"
#include "tests/unit/unit.h"

static struct skep_test t;

static int run_with(const char *name, const char *payload, size_t n)
{
        skep_test_init(&t, name, payload, n);
        return skep_test_run(&t, plugin_handler(name));
}

static int run_sleep(const char *payload)
{
        return run_with("sleep", payload, strlen(payload));
}

static void test_echo(void)
{
        skep_test_init(&t, "echo", "a\0b", 3);
        t.job.content_type = (struct skep_str){"text/plain", 10};
        CU_ASSERT_EQUAL(skep_test_run(&t, plugin_handler("echo")), SKEP_DONE);
        CU_ASSERT_EQUAL(t.result_size, 3);
        CU_ASSERT_EQUAL(memcmp(t.result, "a\0b", 4), 0);
        CU_ASSERT_STRING_EQUAL(t.result_type, "text/plain");
        skep_test_deinit(&t);
}

static void test_echo_too_large(void)
{
        char *big = calloc(1, 65538);
        CU_ASSERT_PTR_NOT_NULL_FATAL(big);
        CU_ASSERT_EQUAL(run_with("echo", big, 65537), SKEP_DEAD);
        CU_ASSERT_STRING_EQUAL(t.reason, "65537 bytes are too many for a result");
        skep_test_deinit(&t);
        free(big);
}

static void test_noop(void)
{
        CU_ASSERT_EQUAL(run_with("noop", "x", 1), SKEP_DONE);
        CU_ASSERT_EQUAL(t.result_size, 0);
        skep_test_deinit(&t);
}

static void test_sleep_result(void)
{
        CU_ASSERT_EQUAL(run_sleep("{\"ms\":20}"), SKEP_DONE);
        CU_ASSERT_STRING_EQUAL(t.result, "{\"slept_ms\":20,\"attempt\":1}");
        CU_ASSERT_EQUAL(run_sleep(""), SKEP_DONE);
        CU_ASSERT_STRING_EQUAL(t.result, "{\"slept_ms\":0,\"attempt\":1}");
        skep_test_deinit(&t);
}

static void test_sleep_fails_as_asked(void)
{
        static const char payload[] = "{\"fail_attempts\":2,\"retry_ms\":70}";
        for (uint32_t attempt = 1; attempt <= 3; attempt++) {
                skep_test_init(&t, "sleep", payload, sizeof payload - 1);
                t.job.attempt = attempt;
                int verdict = skep_test_run(&t, plugin_handler("sleep"));
                CU_ASSERT_EQUAL(verdict, attempt <= 2 ? SKEP_RETRY : SKEP_DONE);
                CU_ASSERT_EQUAL(t.delay_ms, attempt <= 2 ? 70 : 0);
                skep_test_deinit(&t);
        }
}

static void test_sleep_cancelled(void)
{
        static const char patient[] = "{\"ms\":86400000}";
        static const char deaf[] = "{\"ms\":5,\"ignore_cancel\":true}";
        skep_test_init(&t, "sleep", patient, sizeof patient - 1);
        t.why = SKEP_WHY_CANCEL;
        CU_ASSERT_EQUAL(skep_test_run(&t, plugin_handler("sleep")), SKEP_CANCELLED);
        skep_test_init(&t, "sleep", deaf, sizeof deaf - 1);
        t.why = SKEP_WHY_CANCEL;
        CU_ASSERT_EQUAL(skep_test_run(&t, plugin_handler("sleep")), SKEP_DONE);
        skep_test_deinit(&t);
}

static void test_sleep_ignores_other_members(void)
{
        static const char *const good[] = {
            "{}",
            " { } ",
            "{\"n\":-1.5e3,\"ms\":1}",
            "{\"a\":{\"b\":[1,{\"c\":\"\\\"}\"},null]},\"ms\":0,\"z\":[]}",
            "{\"text\":\"\\\\\",\"flag\":true}",
        };
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
                CU_ASSERT_EQUAL(run_sleep(good[i]), SKEP_DONE);
        }
        skep_test_deinit(&t);
}

static void test_sleep_refuses_the_rest(void)
{
        static const struct {
                const char *payload, *reason;
        } bad[] = {
            {"[1]", "payload, byte 0: expected an object such as {\"ms\":50}"},
            {"{\"ms\":\"5\"}", "payload, byte 6: expected a whole number"},
            {"{\"ms\":1.5}", "payload, byte 6: expected a whole number"},
            {"{\"ms\":-1}", "payload, byte 6: expected a whole number"},
            {"{\"ms\":99999999999999999999999}", "payload, byte 6: expected a smaller number"},
            {"{\"ignore_cancel\":1}", "payload, byte 17: expected true or false"},
            {"{\"ms\" 5}", "payload, byte 6: expected a colon"},
            {"{\"ms\":5", "payload, byte 7: expected a comma or a closing brace"},
            {"{\"ms\":5}x", "payload, byte 8: expected the end"},
            {"{\"ms", "payload, byte 4: expected a closing quote"},
            {"{\"x\":", "payload, byte 5: expected a value"},
            {"{\"x\":[[", "payload, byte 7: expected a value"},
            {"{ms:5}", "payload, byte 1: expected a string"},
        };
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                CU_ASSERT_EQUAL(run_sleep(bad[i].payload), SKEP_DEAD);
                CU_ASSERT_STRING_EQUAL(t.reason, bad[i].reason);
        }
        CU_ASSERT_EQUAL(run_with("sleep", "{}\0{}", 5), SKEP_DEAD);
        char deep[200];
        memset(deep, '[', sizeof deep);
        memcpy(deep, "{\"x\":", 5);
        deep[sizeof deep - 1] = 0;
        CU_ASSERT_EQUAL(run_sleep(deep), SKEP_DEAD);
        skep_test_deinit(&t);
}

UNIT_TESTS = {
    {"echo: the payload is the result, NUL included", test_echo},
    {"echo: what is too large for a result is dead", test_echo_too_large},
    {"noop: done, no result", test_noop},
    {"sleep: tells what it did", test_sleep_result},
    {"sleep: fails as often as asked, after the delay asked for", test_sleep_fails_as_asked},
    {"sleep: stops when asked, unless told to be deaf", test_sleep_cancelled},
    {"sleep: steps over members of others", test_sleep_ignores_other_members},
    {"sleep: a malformed payload is dead and names the place", test_sleep_refuses_the_rest},
};

UNIT_MAIN("samples")
