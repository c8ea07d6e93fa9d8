/*
 * How the server begins and ends, and what holds it up: sockets and token files, a ledger that does
 * not answer, clients that leave, too many that wait, a stop in the middle of all that.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/test-http-fake.h"

static void test_unavailable(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        for (int round = 0; round < 2; round++) {
                fake_set(&f, round ? &f.refuse : &f.unavailable, true);
                for (size_t i = 0; i < FAKE_ROUTES; i++) {
                        bool local = fake_routes[i].local;
                        client_ask_route(&f, false, i, "", &r);
                        CHECK_STATUS(r, local ? fake_routes[i].status : 503);
                        if (!local) {
                                CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Retry-After: 1\r\n"));
                        }
                        reply_free(&r);
                }
        }
        CU_ASSERT_EQUAL(fake_jobs(&f), 0);
        fake_stop(&f);
}

static void test_answers_at_once(void)
{
        struct fake f;
        struct reply r;
        fake_start(&f, false, 0, 0);
        fake_set(&f, &f.at_once, true);
        client_post(&f, "{\"type\":\"a\"}", &r);
        CHECK_STATUS(r, 201);
        reply_free(&r);
        fake_stop(&f);
}

static int send_wait(struct fake *f, const char *path)
{
        char text[256];
        int fd = client_connect(f, false);
        int n = snprintf(
            text, sizeof text,
            "GET %s HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\nConnection: close\r\n\r\n", path);
        client_send(fd, text, (size_t)n);
        return fd;
}

static void test_stops_while_requests_wait(void)
{
        struct fake f;
        struct reply r;
        int fds[40];
        fake_start(&f, false, 0, 0);
        fake_set(&f, &f.hold, true);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
                fds[i] = send_wait(&f, "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057");
        }
        int posting = client_connect(&f, false);
        const char post[] = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: "
                            "close\r\nContent-Type: application/json\r\n"
                            "Content-Length: 12\r\n\r\n{\"type\":\"a\"}";
        client_send(posting, post, sizeof post - 1);
        const char lines[] =
            "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            "Content-Length: 1000000\r\n\r\n{\"type\":\"a\"}\n";
        int streaming = client_connect(&f, false);
        client_send(streaming, lines, sizeof lines - 1);
        fake_await(&f, ARRAY_LEN(fds) + 1);
        fake_stop_http(&f);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
                client_receive(fds[i], &r);
                CHECK_STATUS(r, 503);
                CHECK_HAS(r, "skepd is stopping");
                reply_free(&r);
        }
        client_receive(posting, &r);
        CHECK_STATUS(r, 503);
        reply_free(&r);
        client_receive(streaming, &r);
        CU_ASSERT_EQUAL(r.status, 0);
        reply_free(&r);
        CU_ASSERT_EQUAL(client_connect(&f, false), -1);
        CU_ASSERT_EQUAL(access(f.socket, F_OK), -1);
        fake_stop(
            &f); /* the daemon answers its 41 requests now; the sanitizers watch that none leaks */
        CU_ASSERT_EQUAL(f.seen, ARRAY_LEN(fds) + 1);
}

static void test_clients_that_leave(void)
{
        struct fake f;
        struct reply r;
        int fds[31];
        const char post[] =
            "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Content-Length: 12\r\n\r\n{\"type\":\"a\"}";
        fake_start(&f, false, 0, 0);
        fake_set(&f, &f.hold, true);
        for (int i = 0; i < 30; i++) {
                fds[i] = send_wait(&f, "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057");
        }
        fds[30] = client_connect(&f, false);
        client_send(fds[30], post, sizeof post - 1);
        fake_await(&f, 31); /* all have reached the daemon; now nobody listens any more */
        for (int i = 0; i < 31; i++) {
                close(fds[i]);
        }
        client_get(&f, "/livez", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        fake_set(&f, &f.hold, false);
        client_get(&f, "/v1/stats", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        CU_ASSERT_EQUAL(fake_jobs(&f), 1);
        fake_stop(&f);
}

static void test_too_many_wait(void)
{
        struct fake f;
        struct reply r;
        int fds[4];
        fake_start(&f, false, 4, 0);
        fake_set(&f, &f.hold, true);
        for (int i = 0; i < 2; i++) {
                fds[i] = send_wait(&f, "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057");
        }
        fake_await(&f, 2);
        client_ask(&f, false, "GET", "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057",
                   "Prefer: wait=1\r\n", NULL, 0, &r);
        CHECK_STATUS(r, 429);
        CHECK_HAS(r, "Prefer: wait");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.head, "Retry-After: 1\r\n"));
        reply_free(&r);
        for (int i = 2; i < 4; i++) {
                const char text[] =
                    "GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                fds[i] = client_connect(&f, false);
                client_send(fds[i], text, sizeof text - 1);
        }
        fake_await(&f, 4);
        client_get(&f, "/v1/stats", &r);
        CHECK_STATUS(r, 429);
        reply_free(&r);
        client_get(&f, "/livez", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        fake_set(&f, &f.hold, false);
        for (int i = 0; i < 4; i++) {
                client_receive(fds[i], &r);
                CHECK_STATUS(r, i < 2 ? 404 : 200);
                reply_free(&r);
        }
        client_get(&f, "/v1/stats", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        fake_stop(&f);
}

/* --- starting ---------------------------------------------------------------------------- */

static int try_start(struct fake *f, const char *socket_path, const char *listen_at,
                     const char *tokens, char *note)
{
        struct http *h = NULL;
        struct http_options o = {.socket = str_of(socket_path),
                                 .listen = str_of(listen_at),
                                 .token_file = str_of(tokens),
                                 .post = NULL,
                                 .config = &f->config};
        note[0] = 0;
        int r = http_start(&o, &h, note, 512);
        http_stop(h);
        return r;
}

static void test_socket_files(void)
{
        struct fake f;
        struct reply r;
        struct stat st;
        char note[512], path[100];
        mode_t old = umask(0777);
        fake_start(&f, false, 0, 0);
        umask(old);
        CU_ASSERT_EQUAL(stat(f.socket, &st), 0);
        CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
        CU_ASSERT_EQUAL(try_start(&f, f.socket, "", "", note), HTTP_IN_USE);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "another skepd listens there"));
        client_get(&f, "/livez", &r);
        CHECK_STATUS(r, 200);
        reply_free(&r);
        CU_ASSERT_EQUAL(try_start(&f, f.tokens, "", "", note), HTTP_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "is no socket"));
        snprintf(path, sizeof path, "%s/no/such/s", f.dir);
        CU_ASSERT_EQUAL(try_start(&f, path, "", "", note), HTTP_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "directory"));
        char longest[200] = "";
        memset(longest, 'x', sizeof longest - 1);
        CU_ASSERT_EQUAL(try_start(&f, longest, "", "", note), HTTP_REFUSED);
        /* stale: bound, never listened on again */
        snprintf(path, sizeof path, "%s/stale", f.dir);
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
        close(fd);
        old = umask(0);
        CU_ASSERT_EQUAL(try_start(&f, path, "", "", note), 0);
        umask(old);
        CU_ASSERT_EQUAL(access(path, F_OK), -1);
        fake_stop(&f);
}

static void test_tcp_options(void)
{
        struct fake f;
        char note[512], path[128], used[32];
        fake_start(&f, true, 0, 0);
        snprintf(path, sizeof path, "%s/t", f.dir);
        snprintf(used, sizeof used, "127.0.0.1:%u", f.port);
        CU_ASSERT_EQUAL(try_start(&f, path, used, f.tokens, note), HTTP_IN_USE);
        CU_ASSERT_EQUAL(access(path, F_OK), -1);
        CU_ASSERT_EQUAL(try_start(&f, path, "127.0.0.1:0", "", note), HTTP_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "http.token_file is not"));
        static const char *const bad[] = {"0.0.0.0:0", "10.0.0.1:80",  "[::]:1",
                                          "localhost", "127.0.0.1:",   "127.0.0.1:70000",
                                          ":80",       "127.0.0.1:+1", "evil.example:80"};
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                CU_ASSERT_EQUAL(try_start(&f, path, bad[i], f.tokens, note), HTTP_REFUSED);
                CU_ASSERT_PTR_NOT_NULL(strstr(note, "only loopback"));
        }
        static const mode_t modes[] = {0640, 0604, 0660, 0620};
        for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
                chmod(f.tokens, modes[i]);
                CU_ASSERT_EQUAL(try_start(&f, path, "127.0.0.1:0", f.tokens, note), HTTP_REFUSED);
                CU_ASSERT_PTR_NOT_NULL(strstr(note, "chmod 600"));
        }
        chmod(f.tokens, 0600);
        static const char *const contents[] = {"", "# only this\n", "short\n",
                                               "one token and another one\n"};
        for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
                int fd = open(f.tokens, O_WRONLY | O_TRUNC);
                CU_ASSERT_EQUAL(write(fd, contents[i], strlen(contents[i])),
                                (ssize_t)strlen(contents[i]));
                close(fd);
                CU_ASSERT_EQUAL(try_start(&f, path, "127.0.0.1:0", f.tokens, note), HTTP_REFUSED);
                CU_ASSERT_PTR_NULL(strstr(note, "short"));
        }
        CU_ASSERT_EQUAL(try_start(&f, path, "127.0.0.1:0", "/nonexistent/tokens", note),
                        HTTP_REFUSED);
        CU_ASSERT_PTR_NULL(http_stop(NULL));
        fake_stop(&f);
}

UNIT_TESTS = {
    {"unavailable", test_unavailable},
    {"answers at once", test_answers_at_once},
    {"stops while requests wait", test_stops_while_requests_wait},
    {"clients that leave", test_clients_that_leave},
    {"too many wait", test_too_many_wait},
    {"socket files", test_socket_files},
    {"TCP options", test_tcp_options},
};
UNIT_MAIN("http life")
