/* UUIDv7 ids in rising order, and keys that keep or hash what producers wrote. */
#include "core/id.h"
#include "tests/unit/unit.h"

static void test_ids_rise(void)
{
        struct id_mint m = {.random = 42};
        struct job_id last = id_mint(&m, 1700000000000000);
        for (int i = 0; i < 20000; i++) {
                int64_t us = 1700000000000000 +
                             (i % 3 == 0 ? -5000 : i); /* the clock goes back now and then */
                struct job_id id = id_mint(&m, us);
                CU_ASSERT(memcmp(last.b, id.b, 16) < 0);
                CU_ASSERT(id.b[6] >> 4 == 7 && id.b[8] >> 6 == 2);
                last = id;
        }
}

static void test_the_time_is_in_it(void)
{
        struct id_mint m = {.random = 1};
        struct job_id id = id_mint(&m, INT64_C(0x0123456789ab) * 1000);
        CU_ASSERT(memcmp(id.b, "\x01\x23\x45\x67\x89\xab", 6) == 0);
}

static void test_text_goes_both_ways(void)
{
        struct id_mint m = {.random = 7};
        struct job_id id = id_mint(&m, 1700000000000000), back;
        char text[JOB_ID_TEXT];
        id_text(&id, text);
        CU_ASSERT(strlen(text) == 36 && id_parse(str_of(text), &back) && job_id_eq(&id, &back));
        CU_ASSERT(id_parse(STR("0123ABCD-89ab-7def-8123-456789ABCDEF"), &back));
        static const char *const bad[] = {"",
                                          "0123abcd89ab7def8123456789abcdef",
                                          "0123abcd-89ab-7def-8123-456789abcdeg",
                                          "0123abcd-89ab-7def-8123-456789abcde",
                                          "0123abcd-89ab-7def-8123_456789abcdef",
                                          "0123abcd-89ab-7def-8123-456789abcdef0"};
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                CU_ASSERT(!id_parse(str_of(bad[i]), &back));
        }
}

static void test_keys(void)
{
        struct job_key k = key_from_text(STR("01234567-89ab-4def-8123-456789abcdef"));
        CU_ASSERT(k.set &&
                  memcmp(k.b, "\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef",
                         16) == 0);
        struct job_key low =
            key_from_text(STR("01ARZ3NDEKTSV4RRFFQ69G5FAV")); /* the ULID specification's example */
        CU_ASSERT(memcmp(low.b, "\x01\x56\x3e\x3a\xb5\xd3\xd6\x76\x4c\x61\xef\xb9\x93\x02\xbd\x5b",
                         16) == 0);
        struct job_key same = key_from_text(STR("01arz3ndektsv4rrffq69g5fav"));
        CU_ASSERT(memcmp(low.b, same.b, 16) == 0);
        /* SHA-256("abc"), FIPS 180-4 */
        struct job_key text = key_from_text(STR("abc"));
        CU_ASSERT(memcmp(text.b, "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23",
                         16) == 0);
        CU_ASSERT(memcmp(key_from_text(STR("abd")).b, text.b, 16) != 0);
        /* a ULID's first digit is at most 7: beyond it is plain text */
        CU_ASSERT(key_from_text(STR("81ARZ3NDEKTSV4RRFFQ69G5FAV")).set);
}

UNIT_TESTS = {
    {"ids rise even when the clock goes back", test_ids_rise},
    {"the time is in the id", test_the_time_is_in_it},
    {"text goes both ways, bad text is refused", test_text_goes_both_ways},
    {"keys keep UUIDs and ULIDs and hash the rest", test_keys},
};
UNIT_MAIN("id")
