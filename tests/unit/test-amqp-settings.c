/*
 * What the AMQP transport reads of its configuration: URLs of one broker or several, and in which
 * order several are tried. The brokers here are ports of the loopback that nobody listens on.
 */
#include "tests/unit/unit.h"
#include "transports/amqp/internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTE_MAX 256

static int init(struct settings *s, const char *url, char note[static NOTE_MAX])
{
        struct transport_config c = {.url = str_of(url)};
        struct amqp_options o = {.config = &c, .payload_max = 1 << 20};
        *note = '\0';
        return settings_init(s, &o, note, NOTE_MAX);
}

static void test_urls(void)
{
        static const struct {
                const char *url, *place, *user, *password, *vhost;
                bool tls;
        } cases[] = {
            {"amqp://localhost", "localhost:5672", "guest", "guest", "/", false},
            {"AMQP://127.0.0.1:1/", "127.0.0.1:1", "guest", "guest", "/", false},
            {"amqp://[::1]", "[::1]:5672", "guest", "guest", "/", false},
            {"amqp://[::1]:7/v", "[::1]:7", "guest", "guest", "v", false},
            {"amqps://h", "h:5671", "guest", "guest", "/", true},
            {"amqps://u@h:65535/a%2Fb", "h:65535", "u", "", "a/b", true},
            {"amqps://u:p%40%2f:x@h", "h:5671", "u", "p@/:x", "/", true},
            {"amqp://h?plaintext=yes", "h:5672", "guest", "guest", "/", false},
            {"amqp://h/v?plaintext=yes", "h:5672", "guest", "guest", "v", false},
            {"amqps://h/a,b", "h:5671", "guest", "guest", "a,b", true},
            {"amqps://u:a,b@h", "h:5671", "u", "a,b", "/", true},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settings s;
                char note[NOTE_MAX];
                CU_ASSERT_EQUAL_FATAL(init(&s, cases[i].url, note), 0);
                CU_ASSERT_EQUAL_FATAL(s.n_places, 1);
                CU_ASSERT_STRING_EQUAL(s.places[0].text, cases[i].place);
                CU_ASSERT_STRING_EQUAL(s.user, cases[i].user);
                CU_ASSERT_STRING_EQUAL(s.password, cases[i].password);
                CU_ASSERT_STRING_EQUAL(s.vhost, cases[i].vhost);
                CU_ASSERT_EQUAL(s.tls, cases[i].tls);
                arena_deinit(&s.arena);
        }
}

static void test_several(void)
{
        struct settings s;
        char note[NOTE_MAX];
        CU_ASSERT_EQUAL_FATAL(init(&s, "amqps://u:p@a:1,[fd00::2]:2,b,[fd00::3]/v", note), 0);
        CU_ASSERT_EQUAL_FATAL(s.n_places, 4);
        CU_ASSERT_STRING_EQUAL(s.places[0].text, "a:1");
        CU_ASSERT_STRING_EQUAL(s.places[1].text, "[fd00::2]:2");
        CU_ASSERT_STRING_EQUAL(s.places[1].host, "fd00::2");
        CU_ASSERT_EQUAL(s.places[1].port, 2);
        CU_ASSERT_STRING_EQUAL(s.places[2].text, "b:5671");
        CU_ASSERT_STRING_EQUAL(s.places[3].text, "[fd00::3]:5671");
        CU_ASSERT_STRING_EQUAL(s.vhost, "v");
        arena_deinit(&s.arena);
}

static void test_refused(void)
{
        static const struct {
                const char *url, *why;
        } cases[] = {
            {"", "does not begin with"},
            {"nats://h", "does not begin with"},
            {"amqp://", "names no host"},
            {"amqp:///v", "names no host"},
            {"amqp://u:hidden@", "names no host"},
            {"amqp://localhost,", "names no host"},
            {"amqp://localhost,,localhost", "names no host"},
            {"amqp://localhost, localhost", "names no host"},
            {"amqp://localhost:0", "port is not"},
            {"amqp://localhost:1,localhost:65536", "port is not"},
            {"amqp://localhost:5672x", "port is not"},
            {"amqp://u:hidden@mq.example.org", "amqp:// to mq.example.org would send"},
            {"amqp://u:hidden@localhost,mq.example.org", "amqp:// to mq.example.org would send"},
            {"amqp://127.evil.example.org", "would send"},
            {"amqp://a,b?plaintext=no", "only parameter"},
            {"amqps://u:hidden%zz@h", "percent sign"},
            {"amqps://a,amqps://b", "port is not"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settings s;
                char note[NOTE_MAX];
                CU_ASSERT_EQUAL(init(&s, cases[i].url, note), AMQP_REFUSED);
                if (!strstr(note, cases[i].why)) {
                        printf("\n  %s: %s", cases[i].url, note);
                        CU_FAIL("another reason");
                }
                CU_ASSERT_PTR_NULL(strstr(note, "hidden"));
                arena_deinit(&s.arena);
        }
}

static void test_many(void)
{
        struct settings s;
        char url[4096] = "amqp://localhost", note[NOTE_MAX];
        for (int i = 1; i < 64; i++) {
                strcat(url, ",localhost");
        }
        CU_ASSERT_EQUAL(init(&s, url, note), 0);
        CU_ASSERT_EQUAL(s.n_places, 64);
        arena_deinit(&s.arena);
        strcat(url, ",localhost");
        CU_ASSERT_EQUAL(init(&s, url, note), AMQP_REFUSED);
        arena_deinit(&s.arena);
}

/* --- in turn ---------------------------------------------------------------------------------- */

/* A port that is taken, and at which nobody listens. */
static int deaf_port(int *ret_fd)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT_FATAL(*ret_fd >= 0);
        CU_ASSERT_EQUAL_FATAL(bind(*ret_fd, (struct sockaddr *)&a, n), 0);
        CU_ASSERT_EQUAL_FATAL(getsockname(*ret_fd, (struct sockaddr *)&a, &n), 0);
        return ntohs(a.sin_port);
}

/* Each round visits every broker once, wherever it begins, and its note names all of them. */
static void test_rounds(void)
{
        struct settings s;
        struct wire w = {0};
        char url[200], note[NOTE_MAX];
        int fds[3], ports[3];
        for (int i = 0; i < 3; i++) {
                ports[i] = deaf_port(&fds[i]);
        }
        snprintf(url, sizeof url, "amqp://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", ports[0],
                 ports[1], ports[2]);
        CU_ASSERT_EQUAL_FATAL(init(&s, url, note), 0);
        for (int round = 0; round < 20; round++) {
                unsigned seen = 0, tries = 0;
                do {
                        const struct place *before = w.place;
                        CU_ASSERT_EQUAL(wire_open(&w, &s, "test", note, sizeof note), WIRE_DOWN);
                        CU_ASSERT_PTR_NOT_EQUAL(w.place, before);
                        seen |= 1u << (w.place - s.places);
                        tries++;
                } while (wire_more(&w, &s) && tries < 9);
                CU_ASSERT_EQUAL(seen, 7);
                CU_ASSERT_EQUAL(tries, 3);
                for (int i = 0; i < 3; i++) {
                        CU_ASSERT_PTR_NOT_NULL(strstr(note, s.places[i].text));
                }
        }
        arena_deinit(&s.arena);
        for (int i = 0; i < 3; i++) {
                close(fds[i]);
        }
}

static void test_one_alone(void)
{
        struct settings s;
        struct wire w = {0};
        char url[100], note[NOTE_MAX];
        int fd, port = deaf_port(&fd);
        snprintf(url, sizeof url, "amqp://127.0.0.1:%d", port);
        CU_ASSERT_EQUAL_FATAL(init(&s, url, note), 0);
        for (int i = 0; i < 3; i++) {
                CU_ASSERT_EQUAL(wire_open(&w, &s, "test", note, sizeof note), WIRE_DOWN);
                CU_ASSERT_FALSE(wire_more(&w, &s));
                CU_ASSERT_PTR_EQUAL(strstr(note, s.places[0].text), note);
                CU_ASSERT_PTR_NULL(strchr(note, ';'));
        }
        arena_deinit(&s.arena);
        close(fd);
}

UNIT_TESTS = {
    {"URLs", test_urls},
    {"several brokers", test_several},
    {"URLs that are refused", test_refused},
    {"at most 64 brokers", test_many},
    {"each round visits all of several brokers", test_rounds},
    {"one broker alone", test_one_alone},
};
UNIT_MAIN("amqp-settings")
