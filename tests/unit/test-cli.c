/*
 * The parts of `skep` that need no server: taking arguments apart, telling what a body is,
 * escaping, rows for pipes, lines of NDJSON, times, progress.
 */
#include "cli/command.h"
#include "cli/feed.h"
#include "cli/progress.h"
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK_TEXT(actual, expected) check_text(__LINE__, actual, expected)

static void check_text(int line, const char *actual, const char *expected)
{
        if (strcmp(actual, expected) != 0) {
                printf("\n    line %d: got \"%s\", wanted \"%s\" ", line, actual, expected);
        }
        CU_ASSERT_STRING_EQUAL(actual, expected);
}

/* --- catching what is printed ----------------------------------------------------------------- */

struct capture {
        int fd, saved, file;
};

static struct capture capture_begin(int fd)
{
        char path[] = "/tmp/test-cli-XXXXXX";
        struct capture c = {.fd = fd, .saved = dup(fd), .file = mkstemp(path)};
        unlink(path);
        fflush(NULL);
        dup2(c.file, fd);
        return c;
}

static char *capture_end(struct capture *c)
{
        fflush(NULL);
        dup2(c->saved, c->fd);
        close(c->saved);
        off_t n = lseek(c->file, 0, SEEK_END);
        char *text = text_alloc((size_t)n + 1);
        CU_ASSERT_EQUAL(pread(c->file, text, (size_t)n, 0), n);
        close(c->file);
        return text;
}

/* Parses "skep" and the words; what goes to stderr is returned in *ret_said. */
static int parse(struct invocation *in, char **ret_said, const char *const *words)
{
        int argc = 0;
        while (words[argc]) {
                argc++;
        }
        struct capture c = capture_begin(STDERR_FILENO);
        int r = invocation_parse(argc, (char **)words, in);
        *ret_said = capture_end(&c);
        return r;
}

#define PARSE(in, said, ...) parse(in, said, (const char *const[]){"skep", __VA_ARGS__, NULL})

/* --- arguments -------------------------------------------------------------------------------- */

static void test_takes_flags_anywhere(void)
{
        struct invocation in = {0};
        char *said = NULL;
        CU_ASSERT_EQUAL(PARSE(&in, &said, "--url", "unix:/x", "jobs", "-n5", "ls", "--state=dead",
                              "--all", "-o", "ndjson"),
                        0);
        CHECK_TEXT(in.command->noun, "jobs");
        CHECK_TEXT(in.command->verb, "ls");
        CHECK_TEXT(invocation_get(&in, "url"), "unix:/x");
        CHECK_TEXT(invocation_get(&in, "limit"), "5");
        CHECK_TEXT(invocation_get(&in, "state"), "dead");
        CU_ASSERT_TRUE(invocation_has(&in, "all"));
        CU_ASSERT_FALSE(invocation_has(&in, "queue"));
        CU_ASSERT_EQUAL(in.output, OUTPUT_NDJSON);
        invocation_deinit(&in);
        free(said);
}

static void test_optional_value_needs_equals(void)
{
        struct invocation in = {0};
        char *said = NULL;
        CU_ASSERT_EQUAL(
            PARSE(&in, &said, "enqueue", "--wait", "echo", "{}", "-t", "a", "--tag", "b"), 0);
        CU_ASSERT_EQUAL(in.n_args, 2);
        CHECK_TEXT(in.args[0], "echo");
        CU_ASSERT_TRUE(invocation_has(&in, "wait"));
        CU_ASSERT_PTR_NULL(invocation_get(&in, "wait"));
        size_t at = 0;
        CHECK_TEXT(invocation_next(&in, "tag", &at), "a");
        CHECK_TEXT(invocation_next(&in, "tag", &at), "b");
        CU_ASSERT_PTR_NULL(invocation_next(&in, "tag", &at));
        invocation_deinit(&in);
        free(said);
        CU_ASSERT_EQUAL(PARSE(&in, &said, "enqueue", "echo", "--wait=7"), 0);
        CHECK_TEXT(invocation_get(&in, "wait"), "7");
        invocation_deinit(&in);
        free(said);
}

static void test_dashes_end_flags(void)
{
        struct invocation in = {0};
        char *said = NULL;
        CU_ASSERT_EQUAL(PARSE(&in, &said, "enqueue", "--", "echo", "--wait"), 0);
        CU_ASSERT_EQUAL(in.n_args, 2);
        CHECK_TEXT(in.args[1], "--wait");
        CU_ASSERT_FALSE(invocation_has(&in, "wait"));
        invocation_deinit(&in);
        free(said);
}

static void test_usage_errors_help(void)
{
        static const struct {
                const char *words[8];
                const char *says;
        } cases[] = {
            {{"skep", "enqeue", "x"}, "did you mean `enqueue`"},
            {{"skep", "jobs", "lst"}, "did you mean `ls`"},
            {{"skep", "jobs"}, "jobs needs a verb: ls, show, retry, cancel"},
            {{"skep", "jobs", "ls", "--sate", "dead"}, "did you mean --state"},
            {{"skep", "jobs", "ls", "--sta=dead"}, "did you mean --state"},
            {{"skep", "jobs", "ls", "--zzzzzz"}, "unknown flag --zzzzzz\nusage: skep jobs ls"},
            {{"skep", "jobs", "ls", "-Z"}, "unknown flag -Z"},
            {{"skep", "jobs", "ls", "--state"}, "--state needs a value: STATE"},
            {{"skep", "jobs", "ls", "-s"}, "-s needs a value: STATE"},
            {{"skep", "jobs", "ls", "--all=1"}, "--all takes no value"},
            {{"skep", "jobs", "ls", "-o", "yaml"}, "one of table tsv json ndjson id"},
            {{"skep", "jobs", "ls", "more"}, "one argument too many: more"},
            {{"skep", "jobs", "show"}, "an argument is missing: ID..."},
            {{"skep", "help", "-o", "json"}, "-o has no meaning here"},
            {{"skep", "jobs", "l\033[31ms"}, "\\u001b[31m"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct invocation in = {0};
                char *said = NULL;
                CU_ASSERT_EQUAL(parse(&in, &said, cases[i].words), 64);
                if (!strstr(said, cases[i].says)) {
                        printf("\n    \"%s\" does not say \"%s\" ", said, cases[i].says);
                        CU_FAIL("message");
                }
                CU_ASSERT_PTR_NOT_NULL(strstr(said, "usage: skep"));
                CU_ASSERT_PTR_NULL(strchr(said, '\033'));
                invocation_deinit(&in);
                free(said);
        }
}

static void test_numbers_are_ranged(void)
{
        static const struct {
                const char *text;
                int code;
                long value;
        } cases[] = {{"0", 0, 0},   {"9", 0, 9}, {"10", 64, 0}, {"-1", 64, 0},
                     {"3x", 64, 0}, {"", 64, 0}, {" 3", 64, 0}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct invocation in = {0};
                char *said = NULL;
                long value = 0;
                CU_ASSERT_EQUAL(PARSE(&in, &said, "enqueue", "echo", "-p", cases[i].text), 0);
                free(said);
                struct capture c = capture_begin(STDERR_FILENO);
                CU_ASSERT_EQUAL(invocation_number(&in, "priority", 0, 9, 5, &value), cases[i].code);
                free(capture_end(&c));
                CU_ASSERT_EQUAL(value, cases[i].value);
                invocation_deinit(&in);
        }
}

static void test_table_is_sound(void)
{
        for (const struct command *c = commands; c->noun; c++) {
                CU_ASSERT_PTR_NOT_NULL(c->summary);
                CU_ASSERT_PTR_NOT_NULL(c->run);
                CU_ASSERT_TRUE(c->max_args == 0 || c->arguments != NULL);
                for (const struct flag *f = c->flags; f && f->name; f++) {
                        CU_ASSERT_PTR_NOT_NULL(f->help);
                        CU_ASSERT_EQUAL(f->kind == FLAG_SWITCH, f->value == NULL);
                        for (const struct flag *g = global_flags; g->name; g++) {
                                CU_ASSERT_STRING_NOT_EQUAL(f->name, g->name);
                                CU_ASSERT_TRUE(!f->letter || f->letter != g->letter);
                        }
                        for (const struct flag *g = c->flags; g != f; g++) {
                                CU_ASSERT_STRING_NOT_EQUAL(f->name, g->name);
                                CU_ASSERT_TRUE(!f->letter || f->letter != g->letter);
                        }
                }
        }
}

/* --- bodies ----------------------------------------------------------------------------------- */

static void test_classifies_bodies(void)
{
        static const struct {
                const char *body;
                size_t n;
                enum body_kind kind;
                const char *members;
        } cases[] = {
            {"{\"a\": 1}", 8, BODY_JSON, ",\"payload\":{\"a\": 1}"},
            {" [1,\n2] ", 8, BODY_JSON, ",\"payload\": [1,\n2] "},
            {"1e999", 5, BODY_JSON, ",\"payload\":1e999"},
            {"123456789012345678901234567890", 30, BODY_JSON,
             ",\"payload\":123456789012345678901234567890"},
            {"\"\\u0000\"", 8, BODY_JSON, ",\"payload\":\"\\u0000\""},
            {"null", 4, BODY_JSON, ",\"payload\":null"},
            {"hello", 5, BODY_TEXT,
             ",\"content_type\":\"text/plain\",\"payload_base64\":\"aGVsbG8=\""},
            {"{'a':1}", 7, BODY_TEXT,
             ",\"content_type\":\"text/plain\",\"payload_base64\":\"eydhJzoxfQ==\""},
            {"{} {}", 5, BODY_TEXT,
             ",\"content_type\":\"text/plain\",\"payload_base64\":\"e30ge30=\""},
            {"", 0, BODY_TEXT, ",\"content_type\":\"text/plain\",\"payload_base64\":\"\""},
            {"\xc3\xa9", 2, BODY_TEXT,
             ",\"content_type\":\"text/plain\",\"payload_base64\":\"w6k=\""},
            {"\xff\xfe", 2, BODY_BYTES,
             ",\"content_type\":\"application/octet-stream\",\"payload_base64\":\"//4=\""},
            {"a\0b", 3, BODY_BYTES,
             ",\"content_type\":\"application/octet-stream\",\"payload_base64\":\"YQBi\""},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct str body = {cases[i].body, (uint32_t)cases[i].n};
                struct buf out = {0};
                CU_ASSERT_EQUAL(body_classify(body), cases[i].kind);
                body_add(&out, body);
                CHECK_TEXT(buf_z(&out), cases[i].members);
                buf_deinit(&out);
        }
}

static void test_builds_job_objects(void)
{
        struct invocation in = {0};
        char *said = NULL;
        struct buf json = {0};
        CU_ASSERT_EQUAL(PARSE(&in, &said, "enqueue", "email.send", "{\"to\" : \"x\"}", "-q", "slow",
                              "-p", "9", "--in", "30s", "--timeout", "5m", "--max-attempts", "4",
                              "-t", "a", "-t", "b\"c", "-H", "X-Y:  z: w"),
                        0);
        CU_ASSERT_EQUAL(job_object(&in, in.args[0], in.n_args > 1 ? in.args[1] : NULL, "K", &json),
                        0);
        CHECK_TEXT(buf_z(&json), "{\"type\":\"email.send\",\"key\":\"K\",\"queue\":\"slow\","
                                 "\"priority\":9,\"max_attempts\":4,"
                                 "\"delay\":\"30s\",\"timeout\":\"5m\",\"tags\":[\"a\",\"b\\\"c\"],"
                                 "\"headers\":{\"X-Y\":\"z: w\"},"
                                 "\"payload\":{\"to\" : \"x\"}}");
        buf_deinit(&json);
        invocation_deinit(&in);
        free(said);
}

static void test_refuses_bad_values(void)
{
        static const char *const cases[][3] = {
            {"--in", "soon", "not a duration"},       {"--at", "later", "not a time"},
            {"--timeout", "5 min", "not a duration"}, {"-H", "nocolon", "not a header"},
            {"-p", "10", "not a number from 0 to 9"}, {"-t", "\xff", "not UTF-8"},
            {"--max-attempts", "0", "not a number"}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct invocation in = {0};
                struct buf json = {0};
                char *said = NULL;
                CU_ASSERT_EQUAL(PARSE(&in, &said, "enqueue", "x", cases[i][0], cases[i][1]), 0);
                free(said);
                struct capture c = capture_begin(STDERR_FILENO);
                CU_ASSERT_EQUAL(
                    job_object(&in, in.args[0], in.n_args > 1 ? in.args[1] : NULL, "K", &json), 64);
                said = capture_end(&c);
                CU_ASSERT_PTR_NOT_NULL(strstr(said, cases[i][2]));
                free(said);
                buf_deinit(&json);
                invocation_deinit(&in);
        }
}

static void test_mints_distinct_keys(void)
{
        char a[JOB_ID_TEXT], b[JOB_ID_TEXT];
        struct job_id id;
        key_mint(a);
        key_mint(b);
        CU_ASSERT_TRUE(strcmp(a, b) < 0);
        CU_ASSERT_TRUE(id_parse(str_of(a), &id));
        CU_ASSERT_EQUAL(id.b[6] >> 4, 7);
}

/* --- NDJSON lines ----------------------------------------------------------------------------- */

static void test_prepares_lines(void)
{
        static const struct {
                const char *line, *out; /* out NULL: refused */
                bool minted;
        } cases[] = {
            {"{\"type\":\"a\"}", "{\"key\":\"K\",\"type\":\"a\"}\n", true},
            {"  {} ", "{\"key\":\"K\"} \n", true},
            {"{\"key\":\"mine\", \"n\":1.50}", "{\"key\":\"mine\", \"n\":1.50}\n", false},
            {"{\"a\":{\"key\":1}}", "{\"key\":\"K\",\"a\":{\"key\":1}}\n", true},
            {"[1]", NULL, false},
            {"{\"a\":1} {}", NULL, false},
            {"{\"a\":", NULL, false},
            {"text", NULL, false},
            {"\"{}\"", NULL, false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct buf page = {0}, reason = {0};
                bool minted = false;
                int r = line_prepare(&page, str_of(cases[i].line), "K", &minted, &reason);
                CU_ASSERT_EQUAL(r, cases[i].out ? 0 : LINE_REFUSED);
                CHECK_TEXT(buf_z(&page), cases[i].out ? cases[i].out : "");
                CU_ASSERT_EQUAL(minted, cases[i].minted);
                CU_ASSERT_EQUAL(reason.n > 0, cases[i].out == NULL);
                buf_deinit(&page);
                buf_deinit(&reason);
        }
}

/* --- escaping --------------------------------------------------------------------------------- */

static void test_escapes(void)
{
        static const struct {
                const char *in;
                enum escape_style style;
                const char *out;
        } cases[] = {
            {"plain \xc3\xa9 \\", ESCAPE_LINE, "plain \xc3\xa9 \\"},
            {"a\tb\nc\rd\\e", ESCAPE_FIELD, "a\\tb\\nc\\rd\\\\e"},
            {"a\tb\nc\rd\\e", ESCAPE_BLOCK, "a\tb\nc\\rd\\e"},
            {"\033]0;owned\a\177", ESCAPE_BLOCK, "\\u001b]0;owned\\u0007\\u007f"},
            {"\xc2\x9b"
             "31m",
             ESCAPE_LINE, "\\u009b31m"}, /* C1 CSI */
            {"\xe2\x80\xae"
             "x",
             ESCAPE_LINE, "\\u202ex"}, /* right-to-left override */
            {"\xff\xc0\xaf\xed\xa0\x80", ESCAPE_LINE, "\\xff\\xc0\\xaf\\xed\\xa0\\x80"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct buf out = {0};
                text_escape(&out, cases[i].in, strlen(cases[i].in), cases[i].style);
                CHECK_TEXT(buf_z(&out), cases[i].out);
                buf_deinit(&out);
        }
}

/* --- rows ------------------------------------------------------------------------------------- */

static void test_prints_rows_for_pipes(void)
{
        static const struct column columns[] = {{"id", "id", CELL_TEXT},
                                                {"state", "state", CELL_STATE},
                                                {"made", "created_at|made", CELL_TIME},
                                                {"tags", "tags", CELL_TEXT},
                                                {"error", "error.text", CELL_TEXT},
                                                {"busy", "busy", CELL_YES_NO},
                                                {"size", "bytes", CELL_SIZE},
                                                {NULL}};
        json_t *a =
            json_loads("{\"id\":\"1\",\"state\":\"dead\",\"made\":\"2026-01-31T14:30:00Z\","
                       "\"tags\":[\"x\",\"y\"],\"error\":{\"text\":\"a\\tb\\n\\u001b[31m\\\\\"},"
                       "\"busy\":true,\"bytes\":2048}",
                       0, NULL);
        json_t *b = json_loads("{\"id\":7,\"tags\":[],\"state\":null}", 0, NULL);
        struct capture c = capture_begin(STDOUT_FILENO);
        struct table *t = table_new(columns, false);
        table_add(t, a);
        table_add(t, b);
        table_free(t);
        table_free(table_new(columns, false));
        char *said = capture_end(&c);
        CHECK_TEXT(said, "id\tstate\tmade\ttags\terror\tbusy\tsize\n"
                         "1\tdead\t2026-01-31T14:30:00Z\tx,y\ta\\tb\\n\\u001b[31m\\\\\tyes\t2048\n"
                         "7\t\t\t\t\t\t\n"
                         "id\tstate\tmade\ttags\terror\tbusy\tsize\n");
        free(said);
        json_decref(a);
        json_decref(b);
}

static void test_formats_spans_and_ages(void)
{
        static const struct {
                int64_t us;
                const char *text;
        } cases[] = {{12, "12µs"},
                     {1500, "1ms"},
                     {1500000, "1.5s"},
                     {59 * US_PER_S, "59s"},
                     {60 * US_PER_S, "1m"},
                     {7200 * US_PER_S, "2h"},
                     {86400 * 3 * US_PER_S, "3d"}};
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct buf out = {0};
                span_format(&out, cases[i].us);
                CHECK_TEXT(buf_z(&out), cases[i].text);
                buf_deinit(&out);
        }
        struct buf out = {0};
        age_format(&out, 100 * US_PER_S, 40 * US_PER_S);
        buf_text(&out, ", ");
        age_format(&out, 40 * US_PER_S, 100 * US_PER_S);
        CHECK_TEXT(buf_z(&out), "in 1m, 1m ago");
        buf_deinit(&out);
}

static void test_draws_progress(void)
{
        struct progress p = {.what = "jobs", .total = 1000, .started_ms = 1000};
        struct buf out = {0};
        progress_line(&out, &p, 1234, 500, 3000);
        CHECK_TEXT(buf_z(&out), "[############            ]  50%  1,234 jobs  617/s  2.0s left");
        buf_reset(&out);
        p.total = 0;
        progress_line(&out, &p, 1000000, 500, 3000);
        CHECK_TEXT(buf_z(&out), "1,000,000 jobs  500,000/s");
        buf_deinit(&out);
}

UNIT_TESTS = {
    {"flags stand anywhere", test_takes_flags_anywhere},
    {"an optional value needs =", test_optional_value_needs_equals},
    {"-- ends flags", test_dashes_end_flags},
    {"usage errors name the nearest word", test_usage_errors_help},
    {"numbers have ranges", test_numbers_are_ranged},
    {"the command table is sound", test_table_is_sound},
    {"bodies are classified and kept", test_classifies_bodies},
    {"flags become a job object", test_builds_job_objects},
    {"bad values are refused before sending", test_refuses_bad_values},
    {"minted keys differ and rise", test_mints_distinct_keys},
    {"NDJSON lines get a key and stay as they are", test_prepares_lines},
    {"control characters are escaped", test_escapes},
    {"rows for pipes", test_prints_rows_for_pipes},
    {"spans and ages", test_formats_spans_and_ages},
    {"progress", test_draws_progress},
};
UNIT_MAIN("cli")
