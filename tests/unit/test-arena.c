/* The bump allocator: alignment, growth, reset, texts. */
#include "core/arena.h"
#include "tests/unit/unit.h"

static void test_pieces_do_not_overlap(void)
{
        struct arena a = {0};
        char *last = NULL;
        for (int i = 1; i < 3000; i++) {
                char *p = arena_alloc(&a, (size_t)i);
                CU_ASSERT_PTR_NOT_NULL_FATAL(p);
                CU_ASSERT((uintptr_t)p % 16 == 0);
                memset(p, i & 0xff, (size_t)i);
                if (last) {
                        CU_ASSERT(last[0] == (char)((i - 1) & 0xff) &&
                                  last[i - 2] == (char)((i - 1) & 0xff));
                }
                last = p;
        }
        arena_deinit(&a);
        CU_ASSERT(a.bytes == 0);
}

static void test_reset_keeps_one_chunk(void)
{
        struct arena a = {0};
        for (int i = 0; i < 1000; i++) {
                arena_alloc(&a, 100);
        }
        size_t before = a.bytes;
        arena_reset(&a);
        CU_ASSERT(a.bytes < before && a.bytes > 0);
        size_t kept = a.bytes;
        arena_alloc(&a, 100);
        CU_ASSERT(a.bytes == kept);
        arena_deinit(&a);
}

static void test_large_piece_leaves_the_chunk(void)
{
        struct arena a = {0};
        char *before = arena_alloc(&a, 16);
        char *large = arena_alloc(&a, 100000);
        CU_ASSERT_PTR_NOT_NULL_FATAL(large);
        memset(large, 1, 100000);
        CU_ASSERT(arena_alloc(&a, 16) == before + 16);
        CU_ASSERT(a.bytes < 100000 + 5000);
        arena_deinit(&a);
}

static void test_last_piece_shrinks(void)
{
        struct arena a = {0};
        char *first = arena_alloc(&a, 500);
        arena_shrink(&a, first, 17);
        CU_ASSERT(arena_alloc(&a, 1) == first + 32);
        char *large = arena_alloc(&a, 100000);
        arena_shrink(&a, large, 1); /* it stays */
        CU_ASSERT(arena_alloc(&a, 1) == first + 48);
        struct arena empty = {0};
        arena_shrink(&empty, NULL, 0);
        CU_ASSERT(empty.bytes == 0);
        arena_deinit(&a);
}

static void test_texts_end_with_nul(void)
{
        struct arena a = {0};
        struct str s = arena_str(&a, STR("a\0b"));
        CU_ASSERT(s.n == 3 && memcmp(s.p, "a\0b", 4) == 0);
        struct str f = arena_printf(&a, "%s-%d", "x", 42);
        CU_ASSERT(str_eq(f, STR("x-42")) && f.p[f.n] == 0);
        CU_ASSERT_PTR_NULL(arena_alloc(&a, SIZE_MAX / 2));
        arena_deinit(&a);
}

static void count_end(void *what)
{
        ++*(int *)what;
}

static void test_guests_end_with_it(void)
{
        int ended[3] = {0, 0, 0};
        struct arena a = {0};
        CU_ASSERT_TRUE(arena_adopt(&a, &ended[0], count_end));
        CU_ASSERT_PTR_NOT_NULL(arena_alloc(&a, 100000));
        CU_ASSERT_TRUE(arena_adopt(&a, &ended[1], count_end));
        CU_ASSERT_EQUAL(ended[0] + ended[1], 0);
        arena_reset(&a);
        CU_ASSERT(ended[0] == 1 && ended[1] == 1);
        CU_ASSERT_TRUE(arena_adopt(&a, &ended[2], count_end));
        arena_deinit(&a);
        CU_ASSERT(ended[0] == 1 && ended[1] == 1 && ended[2] == 1);
}

UNIT_TESTS = {
    {"pieces are aligned and do not overlap", test_pieces_do_not_overlap},
    {"reset keeps one chunk", test_reset_keeps_one_chunk},
    {"a large piece leaves the chunk being filled", test_large_piece_leaves_the_chunk},
    {"the last piece shrinks", test_last_piece_shrinks},
    {"guests end with it, once", test_guests_end_with_it},
    {"texts end with a NUL, sizes out of reach are refused", test_texts_end_with_nul},
};
UNIT_MAIN("arena")
