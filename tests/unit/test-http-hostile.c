/*
 * Requests that say something wrong: bodies, fields, paths, queries, headers, sizes. Each is
 * answered with the status and the text that it deserves, nothing of it reaches the daemon, and
 * never is it a 500.
 */
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/test-http-fake.h"

struct vector {
        const char *body;
        int status;
        const char *detail; /* a part of it */
};

static const struct vector bodies[] = {
    /* not JSON */
    {"", 400, "the body is empty"},
    {"   \n ", 400, "line 2, column 2: the text is empty"},
    {"{", 400, "ends in the middle"},
    {"[", 400, "ends in the middle"},
    {"{\"type\"", 400, "ends in the middle"},
    {"{\"type\":", 400, "ends in the middle"},
    {"{\"type\":\"a", 400, "this string does not end"},
    {"{\"type\":\"a\"", 400, "ends in the middle"},
    {"{\"type\":\"a\",}", 400, "the name of a member"},
    {"{\"type\":\"a\"}}", 400, "something follows the value"},
    {"{\"type\":\"a\"} {}", 400, "something follows the value"},
    {"{\n \"type\": \"a\",\n \"payload\": tru\n}", 400, "line 3, column 13"},
    {"{'type':'a'}", 400, "in double quotes"},
    {"{type:\"a\"}", 400, "in double quotes"},
    {"{\"type\" \"a\"}", 400, "a colon must follow"},
    {"{\"type\":\"a\" \"key\":\"b\"}", 400, "a comma or } must follow"},
    {"{\"type\":\"a\",\"payload\":01}", 400, "leading zeros"},
    {"{\"type\":\"a\",\"payload\":+1}", 400, "a JSON value must begin here"},
    {"{\"type\":\"a\",\"payload\":1.}", 400, "digits must follow the decimal point"},
    {"{\"type\":\"a\",\"payload\":1e}", 400, "digits must follow the exponent"},
    {"{\"type\":\"a\",\"payload\":-}", 400, "a number is digits"},
    {"{\"type\":\"a\",\"payload\":NaN}", 400, "a JSON value must begin here"},
    {"{\"type\":\"a\",\"payload\":[1,]}", 400, "a JSON value must begin here"},
    {"{\"type\":\"a\",\"payload\":[1}", 400, "a comma or ] must follow"},
    {"{\"type\":\"a\",\"payload\":\"\\x\"}", 400, "unknown escape"},
    {"{\"type\":\"a\",\"payload\":\"\\u12g4\"}", 400, "four hexadecimal digits"},
    {"{\"type\":\"a\",\"payload\":\"\t\"}", 400, "raw control character"},
    {"{\"type\":\"a\",\"payload\":\"\xff\"}", 400, "not UTF-8"},
    {"{\"type\":\"a\",\"payload\":\"\xc0\x80\"}", 400, "not UTF-8"},
    {"{\"type\":\"a\",\"payload\":\"\xed\xa0\x80\"}", 400, "not UTF-8"},
    {"{\"type\":\"a\",\"payload\":\"\xf4\x90\x80\x80\"}", 400, "not UTF-8"},
    {"\xef\xbb\xbf{\"type\":\"a\"}", 400, "a job is an object"},
    {"nonsense", 400, "a job is an object"},
    {"\"type\"", 400, "a job is an object"},
    {"7", 400, "a job is an object"},
    {"[1]", 400, "a job is an object"},
    {"[[]]", 400, "a job is an object"},
    {"[{\"type\":\"a\"},null]", 400, "a job is an object"},
    {"[{\"type\":\"a\"}", 400, "ends in the middle"},
    {"[{\"type\":\"a\"},]", 400, "a JSON value must begin here"},
    /* given twice */
    {"{\"type\":\"a\",\"type\":\"b\"}", 400, "\"type\\\" is given twice"},
    {"{\"type\":\"a\",\"t\\u0079pe\":\"b\"}", 400, "is given twice"},
    {"{\"type\":\"a\",\"payload\":1,\"payload\":1}", 400, "is given twice"},
    {"{\"type\":\"a\",\"headers\":{\"x\":\"1\",\"x\":\"2\"}}", 400, "a name is given twice"},
    {"{\"type\":\"a\",\"headers\":{\"x\":\"1\",\"X\":\"2\"}}", 422,
     "is given twice; names are the same in upper"},
    /* NUL */
    {"{\"type\":\"a\\u0000\"}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"key\":\"\\u0000\"}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"tags\":[\"\\u0000\"]}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"headers\":{\"x\":\"\\u0000\"}}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"headers\":{\"\\u0000\":\"x\"}}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"\\u0000\":1}", 400, "not allowed in a field's name"},
    {"{\"type\":\"a\",\"payload_base64\":\"\\u0000\"}", 400, "allowed in the payload only"},
    {"{\"type\":\"a\",\"key\":\"\\ud800\"}", 400, "half a surrogate pair"},
    {"{\"type\":\"a\",\"nix\":\"\\u0000\"}", 422, "unknown field: \\\"nix\\\""},
    /* fields */
    {"{}", 422, "type: missing"},
    {"[]", 422, "the array has 0 jobs"},
    {"{\"type\":null}", 422, "type: null is not allowed"},
    {"{\"type\":5}", 422, "type: 5 is not allowed"},
    {"{\"type\":\"\"}", 422, "type: \\\"\\\" is not allowed"},
    {"{\"type\":\"a..b\"}", 422, "in words joined by dots"},
    {"{\"type\":\"a b\"}", 422, "is not allowed"},
    {"{\"type\":\"a.*\"}", 422, "is not allowed"},
    {"{\"type\":\"\xc3\xa4\"}", 422, "is not allowed"},
    {"{\"type\":\"a\",\"queue\":\"nope\"}", 422, "configured: default, email"},
    {"{\"type\":\"a\",\"queue\":[]}", 422, "queue: [] is not allowed"},
    {"{\"type\":\"a\",\"key\":\"\"}", 422, "key: \\\"\\\" is not allowed"},
    {"{\"type\":\"a\",\"key\":1}", 422, "1 to 255 bytes"},
    {"{\"type\":\"a\",\"priority\":10}", 422,
     "priority: 10 is not allowed; write an integer from 0"},
    {"{\"type\":\"a\",\"priority\":-1}", 422, "priority: -1"},
    {"{\"type\":\"a\",\"priority\":\"5\"}", 422, "priority: \\\"5\\\""},
    {"{\"type\":\"a\",\"priority\":1.5}", 422, "priority: 1.5"},
    {"{\"type\":\"a\",\"priority\":99999999999999999999999999}", 422, "priority: 99999"},
    {"{\"type\":\"a\",\"priority\":1e999}", 422, "priority: 1e999"},
    {"{\"type\":\"a\",\"run_at\":\"tomorrow\"}", 422, "an RFC 3339 time"},
    {"{\"type\":\"a\",\"run_at\":\"2024-02-30T00:00:00Z\"}", 422, "run_at: \\\"2024-02-30"},
    {"{\"type\":\"a\",\"run_at\":1700000000}", 422, "run_at: 1700000000"},
    {"{\"type\":\"a\",\"delay\":30}", 422, "delay: 30 is not allowed"},
    {"{\"type\":\"a\",\"delay\":\"30\"}", 422, "a duration"},
    {"{\"type\":\"a\",\"delay\":\"-5s\"}", 422, "a duration"},
    {"{\"type\":\"a\",\"delay\":\"99999d\"}", 422, "at most 3660d"},
    {"{\"type\":\"a\",\"delay\":\"1s\",\"run_at\":\"2999-01-01T00:00:00Z\"}", 422,
     "keep one of them"},
    {"{\"type\":\"a\",\"run_at\":\"2999-01-01T00:00:00Z\",\"deadline\":\"2998-01-01T00:00:00Z\"}",
     422, "before run_at"},
    {"{\"type\":\"a\",\"timeout\":\"0s\"}", 422, "1ms to 30d"},
    {"{\"type\":\"a\",\"timeout\":\"31d\"}", 422, "1ms to 30d"},
    {"{\"type\":\"a\",\"max_attempts\":0}", 422, "from 1 to 1000"},
    {"{\"type\":\"a\",\"max_attempts\":1001}", 422, "max_attempts: 1001"},
    {"{\"type\":\"a\",\"tags\":\"x\"}", 422, "an array of at most 32 strings"},
    {"{\"type\":\"a\",\"tags\":[1]}", 422, "an array of at most 32 strings"},
    {"{\"type\":\"a\",\"tags\":[\"a,b\"]}", 422, "without commas"},
    {"{\"type\":\"a\",\"tags\":[\"\"]}", 422, "1 to 64 bytes"},
    {"{\"type\":\"a\",\"headers\":[]}", 422, "an object of strings"},
    {"{\"type\":\"a\",\"headers\":{\"x\":1}}", 422, "an object of strings"},
    {"{\"type\":\"a\",\"headers\":{\"a b\":\"1\"}}", 422, "names are letters"},
    {"{\"type\":\"a\",\"headers\":{\"\":\"1\"}}", 422, "names are letters"},
    {"{\"type\":\"a\",\"payload_base64\":\"AAA\"}", 422, "a string of base64"},
    {"{\"type\":\"a\",\"payload_base64\":\"A A=\"}", 422, "a string of base64"},
    {"{\"type\":\"a\",\"payload_base64\":\"AAB=\"}", 422, "a string of base64"},
    {"{\"type\":\"a\",\"payload_base64\":7}", 422, "a string of base64"},
    {"{\"type\":\"a\",\"payload\":1,\"payload_base64\":\"AAAA\"}", 422, "keep one of them"},
    {"{\"type\":\"a\",\"content_type\":\"text\"}", 422, "a media type"},
    {"{\"type\":\"a\",\"content_type\":\"a/\xc3\xa4\"}", 422, "a media type"},
    {"{\"type\":\"a\",\"payload\":1,\"content_type\":\"image/png\"}", 422, "as payload_base64"},
    {"{\"type\":\"a\",\"prio\":1}", 422, "(did you mean \\\"priority\\\"?)"},
    {"{\"type\":\"a\",\"data\":1}", 422, "(did you mean \\\"payload\\\"?)"},
    {"{\"type\":\"a\",\"id\":1}", 422, "(did you mean \\\"key\\\"?)"},
    {"{\"type\":\"a\",\"paylod\":1,\"zzzzzzzz\":2,\"\xc3\xa4\":3}", 422,
     "\\\"paylod\\\" (did you mean \\\"payload\\\"?), "
     "\\\"zzzzzzzz\\\", \\\"\xc3\xa4\\\""},
    {"{\"a1\":1,\"b2\":1,\"c3\":1,\"d4\":1,\"e5\":1,\"f6\":1,\"g7\":1,\"h8\":1,\"i9\":1,\"j0\":1}",
     422, " and 2 more"},
    {"[{\"type\":\"a\"},{\"type\":\"b\",\"priority\":11}]", 422, "priority: 11"},
};

static void test_bodies(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
                client_post(&f, bodies[i].body, &r);
                check_problem(&r, bodies[i].status, bodies[i].detail, bodies[i].body);
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(fake_jobs(&f), 0);
        CU_ASSERT_EQUAL(f.seen, 0);
        fake_stop(&f);
}

static void test_raw_nul_in_body(void)
{
        static const char *const prefixes[] = {
            "", "{", "{\"type\":\"a", "{\"type\":\"a\",\"payload\":\"", "[{\"type\":\"a\"},"};
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
                char text[64];
                size_t n = strlen(prefixes[i]);
                static const char tail[4] = {0, '"', '}', ']'};
                memcpy(text, prefixes[i], n + 1);
                memcpy(text + n, tail, sizeof tail);
                client_ask(&f, false, "POST", "/v1/jobs", "Content-Type: application/json\r\n",
                           text, n + 4, &r);
                check_problem(&r, 400, "column", prefixes[i]);
                reply_free(&r);
        }
        fake_stop(&f);
}

static const struct {
        const char *method, *path, *extra, *body;
        int status;
        const char *detail;
} requests[] = {
    {"GET", "/", "", NULL, 404, "nothing is at /; the routes are listed"},
    {"GET", "/v1/jobs/", "", NULL, 404, "nothing is at"},
    {"GET", "/v1/jobs/x", "", NULL, 404, "is not a job's id"},
    {"GET", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057x", "", NULL, 404, "is not a job's id"},
    {"GET", "/v1/jobs/../../etc/passwd", "", NULL, 404, "nothing is at"},
    {"GET", "/v1/%6aobs", "", NULL, 404, "nothing is at"},
    {"GET", "/livez/", "", NULL, 404, "nothing is at"},
    {"GET", "//livez", "", NULL, 404, "nothing is at"},
    {"GET", "/v1/jobs/key:", "", NULL, 422, "has 0 bytes"},
    {"GET", "/v1/jobs/key:%00?queue=default", "", NULL, 400, "percent-encoded"},
    {"GET", "/v1/jobs/key:%zz?queue=default", "", NULL, 400, "percent-encoded"},
    {"GET", "/v1/jobs/key:%4?queue=default", "", NULL, 400, "percent-encoded"},
    {"GET", "/v1/jobs/key:x", "", NULL, 422, "queue: missing in the query"},
    {"GET", "/v1/jobs/key:x?queue=default&limit=1", "", NULL, 422,
     "unknown query parameter \\\"limit\\\""},
    {"GET", "/v1/jobs?limit=0", "", NULL, 422, "a number from 1 to 1000"},
    {"GET", "/v1/jobs?limit=1001", "", NULL, 422, "a number from 1 to 1000"},
    {"GET", "/v1/jobs?limit=", "", NULL, 422, "a number from 1 to 1000"},
    {"GET", "/v1/jobs?limit=1x", "", NULL, 422, "a number from 1 to 1000"},
    {"GET", "/v1/jobs?limit=99999999999999999999", "", NULL, 422, "a number from 1 to 1000"},
    {"GET", "/v1/jobs?state=done", "", NULL, 422, "scheduled, pending, running"},
    {"GET", "/v1/jobs?type=a..b", "", NULL, 422, "a job type, or a pattern"},
    {"GET", "/v1/jobs?since=yesterday", "", NULL, 422, "an RFC 3339 time"},
    {"GET", "/v1/jobs?tag=a,b", "", NULL, 422, "one tag, without commas"},
    {"GET", "/v1/jobs?tag=", "", NULL, 422, "one tag, without commas"},
    {"GET", "/v1/jobs?cursor=x", "", NULL, 422, "the cursor of an earlier answer"},
    {"GET", "/v1/jobs?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", NULL, 422,
     "does not belong to this query"},
    {"GET", "/v1/jobs?stat=dead", "", NULL, 422, "(did you mean \\\"state\\\"?)"},
    {"GET", "/v1/jobs?limit=1&limit=2", "", NULL, 422, "given twice"},
    {"GET", "/v1/jobs?type=%00", "", NULL, 400, "percent-encoded"},
    {"GET", "/v1/stats?x=1", "", NULL, 422, "this route takes none"},
    {"PUT", "/v1/jobs", "", "x", 405, "it knows GET, HEAD, POST"},
    {"DELETE", "/v1/jobs", "", NULL, 405, "it knows GET, HEAD, POST"},
    {"POST", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057", "", "", 405,
     "it knows GET, HEAD, DELETE"},
    {"GET", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/retry", "", NULL, 405, "it knows POST"},
    {"BREW", "/livez", "", NULL, 405, "it knows GET, HEAD"},
    {"GET", "/v1/stats", "", "{}", 400, "takes no body"},
    {"POST", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/retry", "", "{}", 400, "takes no body"},
    {"POST", "/v1/jobs", "Content-Type: application/x-www-form-urlencoded\r\n", "{}", 415,
     "send application/json"},
    {"POST", "/v1/jobs", "Content-Type: application/jsonx\r\n", "{}", 415, "is not understood"},
    {"POST", "/v1/jobs", "Content-Encoding: gzip\r\n", "{}", 415, "send the body uncompressed"},
    {"POST", "/v1/jobs", "Idempotency-Key: \"\"\r\n", "{\"type\":\"a\"}", 422,
     "Idempotency-Key: 0 bytes"},
    {"POST", "/v1/jobs", "Content-Type: application/json\r\nContent-Type: text/plain\r\n", "{}",
     400, "Content-Type is given twice"},
    {"POST", "/v1/jobs", "Host: other\r\n", "{}", 400, "Host is given twice"},
    {"POST", "/v1/jobs", "Content-Length: 1\r\n", "{}", 400, "Content-Length is given twice"},
    {"POST", "/v1/jobs", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 400, "send one of them"},
};

static void test_requests(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
                client_ask(&f, false, requests[i].method, requests[i].path, requests[i].extra,
                           requests[i].body, requests[i].body ? strlen(requests[i].body) : 0, &r);
                check_problem(&r, requests[i].status, requests[i].detail, requests[i].path);
                CU_ASSERT_EQUAL(r.status == 405, strstr(r.head, "\r\nAllow: ") != NULL);
                reply_free(&r);
        }
        CU_ASSERT_EQUAL(f.seen, 0);
        fake_stop(&f);
}

/* --- sizes ------------------------------------------------------------------------------- */

static void post_large(struct fake *f, const char *before, char fill, size_t n, const char *after,
                       const char *extra, struct reply *ret)
{
        size_t a = strlen(before), b = strlen(after);
        char *text = malloc(a + n + b + 1);
        memcpy(text, before, a + 1);
        memset(text + a, fill, n);
        memcpy(text + a + n, after, b + 1);
        client_ask(f, false, "POST", "/v1/jobs", extra, text, a + n + b, ret);
        free(text);
}

static void test_sizes(void)
{
        struct fake f;
        struct reply r;
        const size_t max = 1 << 20;
        fake_start(&f, false, 0, 0);
        post_large(&f, "{\"type\":\"a\",\"payload\":\"", 'x', max - 2, "\"}", "", &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"payload\":\"", 'x', max - 1, "\"}", "", &r);
        check_problem(&r, 413, "1048577 bytes are more than the limit of 1048576", "payload + 1");
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"payload_base64\":\"", 'A', max / 3 * 4, "AA==\"}", "",
                   &r); /* max bytes */
        CHECK_STATUS(r, 201);
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"payload_base64\":\"", 'A', max / 3 * 4, "AAA=\"}", "",
                   &r);
        check_problem(&r, 413, "more than the limit", "base64 + 1");
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"payload\":\"", 'x', 2 * max, "\"}", "", &r);
        check_problem(&r, 413, "the limit for one object", "body of one object");
        reply_free(&r);
        post_large(&f, "\n {\"type\":\"a\",\"payload\":\"", 'x', 2 * max, "\"}",
                   "Expect: 100-continue\r\n", &r);
        check_problem(&r, 413, "the limit for one object", "body of one object");
        reply_free(&r);
        post_large(&f, "[{\"type\":\"a\",\"payload\":\"", 'x', 17 * max, "\"}]", "", &r);
        check_problem(&r, 413, "Send many jobs as application/x-ndjson",
                      "Content-Length over all bounds");
        reply_free(&r);
        CU_ASSERT_EQUAL(fake_jobs(&f), 2);
        post_large(&f, "{\"type\":\"", 'x', 256, "\"}", "", &r);
        check_problem(&r, 422, "1 to 255 bytes", "long type");
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"key\":\"", 'k', 256, "\"}", "", &r);
        check_problem(&r, 422, "1 to 255 bytes", "long key");
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"headers\":{\"x\":\"", 'k', 8192, "\"}}", "", &r);
        check_problem(&r, 422, "at most 8 KiB", "long header");
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"headers\":{\"x\":\"", 'k', 8188, "\"}}", "", &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        post_large(&f, "{\"type\":\"a\",\"", 'n', 100000, "\":1}", "", &r);
        check_problem(&r, 422, "unknown field", "long name");
        CU_ASSERT_TRUE(r.n < 1500);
        reply_free(&r);
        fake_stop(&f);
}

/* A body without a length is bounded too. */
static void test_chunked(void)
{
        struct fake f;
        struct reply r;
        const char head[] = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: "
                            "close\r\nTransfer-Encoding: chunked\r\n\r\n";
        fake_start(&f, false, 0, 0);
        int fd = client_connect(&f, false);
        client_send(fd, head, sizeof head - 1);
        const char small[] = "5\r\n{\"typ\r\n7\r\ne\":\"a\"}\r\n0\r\n\r\n";
        client_send(fd, small, sizeof small - 1);
        client_receive(fd, &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        fd = client_connect(&f, false);
        client_send(fd, head, sizeof head - 1);
        char chunk[65536 + 9] = "10000\r\n";
        memset(chunk + 7, ' ', 65536);
        chunk[7 + 65536] = '\r';
        chunk[7 + 65537] = '\n';
        for (int i = 0; i < 40; i++) {
                chunk[7] = i ? ' ' : '{';
                client_send(fd, chunk, sizeof chunk);
        }
        client_send(fd, "0\r\n\r\n", 5);
        client_receive(fd, &r);
        check_problem(&r, 413, "the body is larger than", "2.5 MiB in chunks");
        reply_free(&r);
        fd = client_connect(&f, false);
        client_send(fd, head, sizeof head - 1);
        int sent = 0;
        while (sent < 4000 &&
               client_send(fd, chunk, sizeof chunk)) { /* 250 MiB: it must hang up before */
                sent++;
        }
        CU_ASSERT_TRUE(sent < 1000);
        close(fd);
        fake_stop(&f);
}

static void test_depth_and_many_keys(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        post_large(&f, "{\"type\":\"a\",\"payload\":", '[', 1000000, "}", "", &r);
        check_problem(&r, 400, "nested deeper than 512", "depth");
        reply_free(&r);
        char deep[1200] = "{\"type\":\"a\",\"payload\":";
        size_t n = strlen(deep);
        memset(deep + n, '[', 512);
        memset(deep + n + 512, ']', 512);
        memcpy(deep + n + 1024, "}", 2);
        client_post(&f, deep, &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        size_t room = 100000 * 12 + 32, at = 0;
        char *keys = malloc(room);
        at += (size_t)sprintf(keys, "{");
        for (int i = 0; i < 90000; i++) {
                at += (size_t)sprintf(keys + at, "\"k%d\":0,", i);
        }
        sprintf(keys + at, "\"type\":\"a\"}");
        client_post(&f, keys, &r);
        check_problem(&r, 422, " and 89992 more", "many keys");
        reply_free(&r);
        free(keys);
        post_large(&f, "[", ' ', 1, "{\"type\":\"a\"}]", "", &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        char *rows = malloc(10001 * 13 + 2);
        at = (size_t)sprintf(rows, "[{\"type\":\"a\"}");
        for (int i = 0; i < 10000; i++) {
                at += (size_t)sprintf(rows + at, ",{\"type\":\"a\"}");
        }
        sprintf(rows + at, "]");
        client_post(&f, rows, &r);
        check_problem(&r, 413, "the array has 10001 jobs", "many rows");
        reply_free(&r);
        free(rows);
        fake_stop(&f);
}

UNIT_TESTS = {
    {"bodies", test_bodies},          {"raw NUL in a body", test_raw_nul_in_body},
    {"requests", test_requests},      {"sizes", test_sizes},
    {"chunked bodies", test_chunked}, {"depth, many keys, many rows", test_depth_and_many_keys},
};
UNIT_MAIN("http hostile")
