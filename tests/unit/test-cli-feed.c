/*
 * `skep enqueue -f` as a process: pages of NDJSON, lost answers, lines that are refused, and
 * 100,000 lines.
 */
#include "tests/unit/test-cli-fake.h"
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void answer_never(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        reply->end = FAKE_CUT_BEFORE;
}

/* Calls fn for each line of the body. */
static void each_line(const struct fake_request *rq,
                      void (*fn)(struct fake *, json_t *, struct buf *), struct fake *f,
                      struct buf *out)
{
        const char *p = buf_z(&rq->body), *end = p + rq->body.n;
        while (p < end) {
                const char *stop = memchr(p, '\n', (size_t)(end - p));
                stop = stop ? stop : end;
                json_t *o = json_loadb(p, (size_t)(stop - p), JSON_REJECT_DUPLICATES, NULL);
                fn(f, o, out);
                json_decref(o);
                p = stop + 1;
        }
}

static void judge_line(struct fake *f, json_t *o, struct buf *out)
{
        const char *key = json_string_value(json_object_get(o, "key"));
        const char *type = json_string_value(json_object_get(o, "type"));
        if (!key || !type || strcmp(type, "bad") == 0) {
                buf_text(out, "{\"line\":1,\"status\":422,\"error\":{\"detail\":\"type: "
                              "\\\"bad\\\" is not allowed\","
                              "\"field\":\"type\"}}\n");
                return;
        }
        buf_printf(&f->notes, "%s %s\n", type, key);
        bool known = strcmp(type, "known") == 0;
        buf_printf(out, "{\"line\":1,\"status\":201,\"id\":\"" ID "\",\"state\":\"pending\"%s}\n",
                   known ? ",\"existing\":true" : "");
}

static void answer_lines(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        reply->type = "application/x-ndjson";
        each_line(rq, judge_line, f, &reply->body);
}

static void test_feeds_lines(void)
{
        struct fake f;
        fake_start(&f, answer_lines);
        struct ran r = SKEP(&f,
                            "{\"type\":\"a\",\"payload\":1.50}\n"
                            "\n"
                            "not json\n"
                            "{\"type\":\"known\",\"key\":\"k1\"}\n"
                            "[1]\n"
                            "{\"type\":\"bad\"}\n"
                            "{\"type\":\"last\"}",
                            "enqueue", "-f", "-");
        CHECK_RAN(&r, 1, "2 created, 1 existing, 3 refused\n");
        CHECK_SAYS(r.err, "standard input: line 3: not a JSON object");
        CHECK_SAYS(r.err, "standard input: line 5: not a JSON object");
        CHECK_SAYS(r.err, "standard input: line 6: type: \"bad\" is not allowed\n");
        CU_ASSERT_EQUAL_FATAL(f.requests, 1);
        CHECK_SAYS(f.kept[0].body.p, "\"payload\":1.50}\n");
        CHECK_SAYS(f.notes.p, "known k1\n");
        ran_deinit(&r);
        r = SKEP(&f, "{\"type\":\"a\"}\n", "enqueue", "-f", "-", "-q", "x");
        CHECK_RAN(&r, 64, "");
        CHECK_SAYS(r.err, "--queue does not go with -f");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "enqueue", "-f", "/nonexistent/x.ndjson");
        CHECK_RAN(&r, 66, "");
        ran_deinit(&r);
        fake_stop(&f);
}

/* The first page is cut before, then within its answer; the second is not written at first. Repeats
 * are `existing`. */
static void mark_existing(struct fake *f, json_t *o, struct buf *out)
{
        (void)f;
        (void)o;
        buf_text(out,
                 "{\"status\":201,\"id\":\"" ID "\",\"state\":\"pending\",\"existing\":true}\n");
}

static void say_later(struct fake *f, json_t *o, struct buf *out)
{
        (void)f;
        (void)o;
        buf_text(out, "{\"status\":503,\"error\":{\"detail\":\"the ledger cannot be reached\"}}\n");
}

static void answer_cut_lines(struct fake *f, const struct fake_request *rq,
                             struct fake_reply *reply)
{
        reply->type = "application/x-ndjson";
        size_t n = f->number++;
        each_line(rq, n == 3 ? say_later : n == 2 ? mark_existing : judge_line, f, &reply->body);
        reply->end = n == 0 ? FAKE_CUT_BEFORE : n == 1 ? FAKE_CUT_WITHIN : FAKE_ANSWER;
}

static void test_feed_repeats_with_the_same_keys(void)
{
        struct fake f;
        struct buf input = {0};
        for (int i = 0; i < 1100; i++) {
                buf_printf(&input, "{\"type\":\"a\",\"payload\":%d}\n", i);
        }
        fake_start(&f, answer_cut_lines);
        struct ran r = SKEP(&f, input.p, "enqueue", "-f", "-");
        CHECK_RAN(&r, 0, "1100 created, 0 existing, 0 refused\n");
        CU_ASSERT_EQUAL_FATAL(f.requests, 5);
        CU_ASSERT_STRING_EQUAL(f.kept[0].body.p, f.kept[1].body.p);
        CU_ASSERT_STRING_EQUAL(f.kept[0].body.p, f.kept[2].body.p);
        CU_ASSERT_STRING_EQUAL(f.kept[3].body.p, f.kept[4].body.p);
        CHECK_SAYS(f.kept[2].body.p, "\"payload\":999}");
        CHECK_SAYS(f.kept[3].body.p, "\"payload\":1099}");
        ran_deinit(&r);
        fake_stop(&f);
        buf_deinit(&input);
}

/* Says too much of it at once, as long as line 7 is in: the whole request is refused. */
static void answer_whole(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        if (strstr(buf_z(&rq->body), "\"poison\"")) {
                fake_problem(reply, 400, "\"detail\":\"poisoned\"");
        } else {
                answer_lines(f, rq, reply);
        }
}

static void test_feed_halves_a_refused_page(void)
{
        struct fake f;
        struct buf input = {0};
        for (int i = 1; i <= 20; i++) {
                buf_printf(&input, "{\"type\":\"%s\"}\n", i == 7 ? "poison" : "a");
        }
        fake_start(&f, answer_whole);
        struct ran r = SKEP(&f, input.p, "enqueue", "-f", "-", "-o", "json");
        CHECK_RAN(&r, 1, "{\"created\":19,\"existing\":0,\"refused\":1}\n");
        CHECK_SAYS(r.err, "line 7: poisoned");
        ran_deinit(&r);
        fake_stop(&f);
        buf_deinit(&input);
}

static void test_feed_says_where_it_stopped(void)
{
        struct fake f;
        fake_start(&f, answer_never);
        struct ran r =
            SKEP(&f, "\n{\"type\":\"a\"}\n", "enqueue", "-f", "-", "--retry-for", "200ms");
        CHECK_RAN(&r, 69, "0 created, 0 existing, 0 refused\n");
        CHECK_SAYS(r.err, "stopped at line 2, and it is not known");
        CHECK_SAYS(r.err, "tail -n +2 FILE | skep enqueue -f -");
        ran_deinit(&r);
        fake_stop(&f);
}

static void count_line(struct fake *f, json_t *o, struct buf *out)
{
        f->number += json_is_object(o);
        buf_text(out, "{\"status\":201,\"id\":\"" ID "\",\"state\":\"pending\"}\n");
}

static void answer_counted(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        reply->type = "application/x-ndjson";
        each_line(rq, count_line, f, &reply->body);
}

static void test_feeds_100000_lines_in_bounded_memory(void)
{
        struct fake f;
        char path[128];
        fake_start(&f, answer_counted);
        snprintf(path, sizeof path, "%s/jobs", f.dir);
        FILE *file = fopen(path, "w");
        for (int i = 0; i < 100000; i++) {
                fprintf(file, "{\"type\":\"a\",\"payload\":\"%0500d\"}\n", i);
        }
        fclose(file);
        struct ran r = SKEP(&f, NULL, "enqueue", "-f", path);
        CHECK_RAN(&r, 0, "100000 created, 0 existing, 0 refused\n");
        CU_ASSERT_EQUAL(f.number, 100000);
#ifndef __SANITIZE_ADDRESS__
        CU_ASSERT_TRUE(r.max_rss_kib < 40 * 1024); /* the file has 50 MiB */
#endif
        unlink(path);
        ran_deinit(&r);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"NDJSON lines are fed", test_feeds_lines},
    {"a cut page is fed again with the same keys", test_feed_repeats_with_the_same_keys},
    {"a refused page is halved", test_feed_halves_a_refused_page},
    {"a stopped feed says where", test_feed_says_where_it_stopped},
    {"100,000 lines in bounded memory", test_feeds_100000_lines_in_bounded_memory},
};
UNIT_MAIN("cli-feed")
