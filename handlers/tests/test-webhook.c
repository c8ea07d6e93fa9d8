/* webhook: its .so against a real HTTP server on loopback (handlers/tests/receiver). */
#include "handlers/tests/plugin.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct skep_test t;
static int port;

/* Runs a job whose header names `path` at the receiver. */
static int post_with(const char *path, const char *const *options, int why)
{
        static char url[512];
        static const char *headers[] = {"webhook-url", url, NULL};
        snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%d%s", port, path);
        skep_test_init(&t, "webhook", "{\"to\":\"x\"}", 10);
        t.job.content_type = (struct skep_str){"application/json", 16};
        t.job.attempt = 2;
        t.headers = headers;
        t.options = options;
        t.why = why;
        int verdict = skep_test_run(&t, plugin_handler("webhook"));
        CU_ASSERT_PTR_NULL(strstr(t.reason, "secret"));
        skep_test_deinit(&t);
        return verdict;
}

static int post_to(const char *path)
{
        return post_with(path, NULL, 0);
}

static void test_what_is_sent(void)
{
        CU_ASSERT_EQUAL(post_to("/status/200"), SKEP_DONE);
        CU_ASSERT_STRING_EQUAL(t.result_type, "application/json");
        static const char *const parts[] = {
            "\"method\": \"POST\"",
            "\"body\": \"{\\\"to\\\":\\\"x\\\"}\"",
            "\"content-type\": \"application/json\"",
            "\"webhook-id\": \"0190163d-8694-739b-aea5-966c26f8ad91\"",
            "\"idempotency-key\": \"0190163d-8694-739b-aea5-966c26f8ad91\"",
            "\"webhook-attempt\": \"2\"",
            "\"webhook-timestamp\": \"1",
            "\"user-agent\": \"skep-webhook/",
        };
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                CU_ASSERT_PTR_NOT_NULL(strstr(t.result, parts[i]));
        }
}

static void test_statuses(void)
{
        static const struct {
                int status, verdict;
        } rows[] = {
            {200, SKEP_DONE},  {201, SKEP_DONE},  {202, SKEP_DONE},    {204, SKEP_DONE},
            {400, SKEP_DEAD},  {401, SKEP_DEAD},  {404, SKEP_DEAD},    {422, SKEP_DEAD},
            {408, SKEP_RETRY}, {425, SKEP_RETRY}, {429, SKEP_RETRY},   {500, SKEP_RETRY},
            {502, SKEP_RETRY}, {503, SKEP_RETRY}, {410, SKEP_DISCARD},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                char path[32];
                snprintf(path, sizeof path, "/status/%d", rows[i].status);
                CU_ASSERT_EQUAL(post_to(path), rows[i].verdict);
                CU_ASSERT_EQUAL(t.delay_ms, 0);
        }
        post_to("/status/404?q=1");
        char expected[128];
        snprintf(expected, sizeof expected, "http://127.0.0.1:%d/status/404: status 404", port);
        CU_ASSERT_STRING_EQUAL(t.reason, expected);
}

static void test_retry_after(void)
{
        CU_ASSERT_EQUAL(post_to("/status/503?Retry-After=7"), SKEP_RETRY);
        CU_ASSERT_EQUAL(t.delay_ms, 7000);
        CU_ASSERT_EQUAL(post_to("/status/429?Retry-After=in+3000"), SKEP_RETRY);
        CU_ASSERT(t.delay_ms > 0 && t.delay_ms <= 3000000);
        CU_ASSERT_EQUAL(post_to("/status/429?Retry-After=in+-3000"), SKEP_RETRY);
        CU_ASSERT_EQUAL(t.delay_ms, 0);
        CU_ASSERT_EQUAL(post_to("/status/503?Retry-After=999999999"), SKEP_RETRY);
        CU_ASSERT_EQUAL(t.delay_ms, 86400000);
        CU_ASSERT_EQUAL(post_to("/status/503?Retry-After=soon"), SKEP_RETRY);
        CU_ASSERT_EQUAL(t.delay_ms, 0);
}

static void test_redirects(void)
{
        CU_ASSERT_EQUAL(post_to("/status/302?Location=http://u:secret@example.org/x?token=secret"),
                        SKEP_DEAD);
        CU_ASSERT_PTR_NOT_NULL(strstr(
            t.reason, "status 302 points to http://example.org/x; redirects are not followed"));
        CU_ASSERT_EQUAL(post_to("/status/304"), SKEP_DEAD);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "points to nowhere"));
}

static void test_no_answer(void)
{
        CU_ASSERT_EQUAL(post_to("/drop"), SKEP_RETRY);
        CU_ASSERT_EQUAL(post_to("/half"), SKEP_RETRY);
        static const char *const hasty[] = {"timeout", "50ms", NULL};
        CU_ASSERT_EQUAL(post_with("/slow", hasty, 0), SKEP_RETRY);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "timed out"));
}

static void test_nobody_listens(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound, never listening */
        CU_ASSERT_EQUAL_FATAL(bind(bound, (struct sockaddr *)&a, sizeof a), 0);
        CU_ASSERT_EQUAL_FATAL(getsockname(bound, (struct sockaddr *)&a, &n), 0);
        int receiver_port = port;
        port = ntohs(a.sin_port);
        CU_ASSERT_EQUAL(post_to("/"), SKEP_RETRY);
        port = receiver_port;
        close(bound);
}

static void test_large_answer(void)
{
        CU_ASSERT_EQUAL(post_to("/big"), SKEP_DONE);
        CU_ASSERT_EQUAL(t.result_size, 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.log, "over 64 KiB"));
}

static void test_cancel(void)
{
        CU_ASSERT_EQUAL(post_with("/slow", NULL, SKEP_WHY_CANCEL), SKEP_CANCELLED);
        CU_ASSERT_EQUAL(post_with("/status/200", NULL, SKEP_WHY_SHUTDOWN), SKEP_DONE);
}

static int post_url(const char *header, const char *option)
{
        const char *headers[] = {"Webhook-URL", header, NULL};
        const char *options[] = {"url", option, NULL};
        skep_test_init(&t, "webhook", "x", 1);
        t.headers = header ? headers : NULL;
        t.options = option ? options : NULL;
        int verdict = skep_test_run(&t, plugin_handler("webhook"));
        skep_test_deinit(&t);
        return verdict;
}

static void test_urls(void)
{
        CU_ASSERT_EQUAL(post_url(NULL, NULL), SKEP_DEAD);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "no URL"));
        static const char *const bad[] = {"ftp://127.0.0.1/", "file:///etc/passwd",
                                          "gopher://x",       "http://127.0.0.1:x",
                                          "http://",          "nonsense:"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                CU_ASSERT_EQUAL(post_url(bad[i], NULL), SKEP_DEAD);
                CU_ASSERT_STRING_EQUAL(
                    t.reason, "header webhook-url: neither an http:// nor an https:// URL");
        }
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%d/status/200", port);
        CU_ASSERT_EQUAL(post_url(NULL, url), SKEP_DONE);
        CU_ASSERT_EQUAL(post_url(url, url), SKEP_DONE);
        CU_ASSERT_EQUAL(post_url("http://example.org/", url), SKEP_DEAD);
        CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "option url alone"));
}

static void test_bad_headers(void)
{
        char url[64];
        snprintf(url, sizeof url, "http://127.0.0.1:%d/status/200", port);
        const char *headers[] = {"webhook-url", url, NULL};
        skep_test_init(&t, "webhook", "x", 1);
        t.headers = headers;
        t.job.content_type = (struct skep_str){"text/plain\r\nx-evil: 1", 21};
        CU_ASSERT_EQUAL(skep_test_run(&t, plugin_handler("webhook")), SKEP_DEAD);
        skep_test_deinit(&t);
}

static void test_bad_options(void)
{
        static const char *const bad[] = {"", "x", "0s", "-1s", "25h", "1y"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                const char *options[] = {"timeout", bad[i], NULL};
                CU_ASSERT_EQUAL(post_with("/status/200", options, 0), SKEP_RETRY);
                CU_ASSERT_PTR_NOT_NULL(strstr(t.reason, "1ms to 24h"));
        }
}

/* Starts the receiver; its stdin is a pipe from here, so that it ends with this program. */
static pid_t start_receiver(void)
{
        int in[2], out[2];
        const char *program = getenv("WEBHOOK_RECEIVER");
        if (!program || pipe(in) || pipe(out)) {
                return -1;
        }
        pid_t pid = fork();
        if (pid == 0) {
                dup2(in[0], 0);
                dup2(out[1], 1);
                close(in[1]);
                close(out[0]);
                execl(program, program, (char *)NULL);
                _exit(127);
        }
        close(in[0]);
        close(out[1]);
        char text[16] = {0};
        for (size_t n = 0; !strchr(text, '\n'); n++) {
                if (pid < 0 || n == sizeof text - 1 || read(out[0], text + n, 1) != 1) {
                        return -1;
                }
        }
        close(out[0]);
        port = atoi(text);
        return pid;
}

UNIT_TESTS = {
    {"what is sent", test_what_is_sent},
    {"each status has its verdict", test_statuses},
    {"Retry-After in seconds and as a date", test_retry_after},
    {"a redirect is dead and names its place, without secrets", test_redirects},
    {"no answer, half an answer, a late answer: retry", test_no_answer},
    {"nobody listens: retry", test_nobody_listens},
    {"an answer too large to keep is still done", test_large_answer},
    {"a cancel ends it, a shutdown lets it end", test_cancel},
    {"which URL, and which are refused", test_urls},
    {"a header cannot be smuggled in", test_bad_headers},
    {"a bad time-out is named", test_bad_options},
};

int main(void)
{
        pid_t receiver = start_receiver();
        if (receiver < 0) {
                fprintf(stderr, "the receiver of webhooks cannot be started: $WEBHOOK_RECEIVER\n");
                return 1;
        }
        int status = unit_run("webhook", unit_tests, sizeof unit_tests / sizeof *unit_tests);
        kill(receiver, SIGTERM);
        waitpid(receiver, NULL, 0);
        return status;
}
