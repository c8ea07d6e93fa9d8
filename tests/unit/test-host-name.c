/*
 * core/host.h: which hosts are this machine.
 */
#include "core/host.h"
#include "tests/unit/unit.h"

static void test_takes_the_loopback(void)
{
        static const char *const ours[] = {"localhost", "LocalHost", "127.0.0.1", "127.255.1.2",
                                           "::1"};
        for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
                CU_ASSERT(host_is_loopback(str_of(ours[i])));
        }
}

static void test_refuses_what_only_looks_so(void)
{
        static const char *const others[] = {
            "",           "127.example.org", "127.1",   "127.0.0.1.example.org",
            "128.0.0.1",  "[::1]",           "::2",     "localhost.example.org",
            " localhost", "127.0.0.1 ",      "0.0.0.0", "::ffff:127.0.0.1x"};
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
                CU_ASSERT(!host_is_loopback(str_of(others[i])));
        }
        CU_ASSERT(!host_is_loopback((struct str){"localhost\0x", 11}));
}

UNIT_TESTS = {{"takes the loopback", test_takes_the_loopback},
              {"refuses what only looks so", test_refuses_what_only_looks_so}};
UNIT_MAIN("host-name")
