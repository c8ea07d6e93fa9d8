/*
 * The belt alone: what is put on it is there for its reader, nothing is written over before its
 * time, and its reader can neither write nor cut it.
 */
#include "plugins/belt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct belt belt;
static const char *seen;
static int reader;

static void begin(void)
{
        belt.fd = -1;
        CU_ASSERT_EQUAL_FATAL(belt_make(&belt, &reader), 0);
        seen = mmap(NULL, BELT_BYTES, PROT_READ, MAP_SHARED, reader, 0);
        CU_ASSERT_FATAL(seen != MAP_FAILED);
}

static void end(void)
{
        munmap((void *)seen, BELT_BYTES);
        close(reader);
        belt_drop(&belt);
        belt_drop(&belt);
        CU_ASSERT_EQUAL(belt.fd, -1);
}

/* Each byte says which payload it is of. */
static struct str payload_of(uint32_t number, uint32_t n)
{
        char *p = malloc((size_t)n + 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        memset(p, (int)('a' + number % 26), n);
        return (struct str){p, n};
}

static bool stands_at(uint32_t at, uint32_t number, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                if (seen[at + i] != (char)('a' + number % 26)) {
                        return false;
                }
        }
        return seen[at + n] == 0;
}

static void test_reader_sees_what_was_put(void)
{
        begin();
        uint32_t at[3], sizes[3] = {0, 100, BELT_PAYLOAD_MAX};
        struct str p[3];
        for (uint32_t i = 0; i < 3; i++) {
                p[i] = payload_of(i, sizes[i]);
                CU_ASSERT_TRUE(belt_put(&belt, p[i], &at[i]));
                CU_ASSERT_EQUAL(at[i] % 16, 0);
        }
        CU_ASSERT_EQUAL(belt_flush(&belt), 0);
        for (uint32_t i = 0; i < 3; i++) {
                CU_ASSERT_TRUE(stands_at(at[i], i, sizes[i]));
                free((char *)p[i].p);
        }
        CU_ASSERT_EQUAL(belt_flush(&belt), 0); /* nothing is left to write */
        end();
}

/* A thousand payloads of changing size through a belt that holds a few of them: each stands there
 * untouched until it is done with. */
static void test_nothing_is_written_over_before_its_time(void)
{
        enum { ROUNDS = 1000, OPEN = 64 };
        struct {
                uint32_t at, n, number;
                uint64_t end;
        } open[OPEN];
        uint32_t first = 0, next = 0, refused = 0, spoiled = 0;
        begin();
        while (next < ROUNDS) {
                struct str p = payload_of(next, next * 7919 % BELT_PAYLOAD_MAX);
                uint32_t at;
                if (next - first < OPEN && belt_put(&belt, p, &at)) {
                        open[next % OPEN].at = at;
                        open[next % OPEN].n = p.n;
                        open[next % OPEN].number = next;
                        open[next % OPEN].end = belt.put;
                        next++;
                        CU_ASSERT_EQUAL(belt_flush(&belt), 0);
                } else {
                        refused++;
                        CU_ASSERT_FATAL(first != next);
                        spoiled += !stands_at(open[first % OPEN].at, open[first % OPEN].number,
                                              open[first % OPEN].n);
                        belt.done = open[first++ % OPEN].end;
                }
                free((char *)p.p);
        }
        CU_ASSERT_EQUAL(spoiled, 0);
        CU_ASSERT(refused > 0);
        end();
}

static void test_what_nobody_will_read_makes_room(void)
{
        uint32_t at, n = 0;
        struct str p = payload_of(1, BELT_PAYLOAD_MAX);
        begin();
        CU_ASSERT_TRUE(belt_put(&belt, (struct str){"aaaaaaaaaa", 10}, &at));
        uint64_t from = belt.put;
        while (belt_put(&belt, p, &at)) {
                n++;
        }
        CU_ASSERT(n >= 3);
        CU_ASSERT_EQUAL(belt_flush(&belt), 0);
        belt.put = from;
        CU_ASSERT_TRUE(belt_put(&belt, p, &at));
        CU_ASSERT_EQUAL(belt_flush(&belt), 0);
        CU_ASSERT_TRUE(stands_at(0, 0, 10));
        CU_ASSERT_TRUE(stands_at(at, 1, BELT_PAYLOAD_MAX));
        free((char *)p.p);
        end();
}

static void test_many_parts_want_a_flush(void)
{
        uint32_t at, n = 0;
        struct str p = payload_of(2, 40);
        begin();
        while (belt_ready(&belt) && n < 1000) {
                CU_ASSERT_TRUE(belt_put(&belt, p, &at));
                n++;
        }
        CU_ASSERT_EQUAL(n, BELT_PARTS / 2);
        CU_ASSERT_EQUAL(belt_flush(&belt), 0);
        CU_ASSERT_TRUE(belt_ready(&belt));
        CU_ASSERT_TRUE(stands_at(at, 2, 40));
        free((char *)p.p);
        end();
}

/* In the middle of the second payload. What was not written then is not written elsewhere later. */
static void test_a_flush_that_failed_was_the_last(void)
{
        enum { SIZE = 1000, ROOM = 1500 };
        struct rlimit usual, small;
        uint32_t at[2];
        struct str p[] = {payload_of(0, SIZE), payload_of(1, SIZE)};
        begin();
        CU_ASSERT_TRUE(belt_put(&belt, p[0], &at[0]));
        CU_ASSERT_TRUE(belt_put(&belt, p[1], &at[1]));
        signal(SIGXFSZ, SIG_IGN);
        CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &usual), 0);
        small = usual;
        small.rlim_cur = ROOM;
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
        int r = belt_flush(&belt);
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &usual), 0);
        CU_ASSERT_EQUAL(r, -EFBIG);
        CU_ASSERT_EQUAL(seen[ROOM - 1], 'b');
        CU_ASSERT_EQUAL(seen[ROOM], 0);
        CU_ASSERT_EQUAL(belt_flush(&belt), -EFBIG);
        CU_ASSERT_EQUAL(seen[ROOM], 0);
        CU_ASSERT_TRUE(stands_at(at[0], 0, SIZE));
        if (belt_put(&belt, p[0], &at[0])) {
                CU_ASSERT_EQUAL(belt_flush(&belt), -EFBIG);
        }
        free((char *)p[0].p);
        free((char *)p[1].p);
        end();
}

static void test_reader_can_neither_write_nor_cut(void)
{
        begin();
        CU_ASSERT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED);
        CU_ASSERT_EQUAL(errno, EACCES);
        CU_ASSERT(pwrite(reader, "x", 1, 0) < 0);
        CU_ASSERT(ftruncate(belt.fd, 0) < 0); /* by nobody */
        CU_ASSERT(ftruncate(belt.fd, 2 * BELT_BYTES) < 0);
        CU_ASSERT(fcntl(reader, F_ADD_SEALS, F_SEAL_WRITE) < 0);
        end();
}

UNIT_TESTS = {
    {"its reader sees what was put", test_reader_sees_what_was_put},
    {"nothing is written over before its time", test_nothing_is_written_over_before_its_time},
    {"what nobody will read makes room", test_what_nobody_will_read_makes_room},
    {"many parts want a flush", test_many_parts_want_a_flush},
    {"a flush that failed was the last", test_a_flush_that_failed_was_the_last},
    {"its reader can neither write nor cut", test_reader_can_neither_write_nor_cut},
};
UNIT_MAIN("belt")
