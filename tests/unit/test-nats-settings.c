/*
 * What the NATS transport reads of its configuration: URLs, names, files with credentials, and the
 * public key of an nkey seed. Nothing here connects; tests/unit/test-nats-login.c does.
 */
#include "tests/unit/unit.h"
#include "transports/nats/settings.h"

#include <stdlib.h>
#include <unistd.h>

#define NOTE_MAX 512

static int init(struct settings *s, const struct transport_config *c, char note[static NOTE_MAX])
{
        struct nats_options o = {.config = c, .payload_max = 1 << 20};
        *note = '\0';
        return settings_init(s, &o, note, NOTE_MAX);
}

/* --- URLs ------------------------------------------------------------------------------------- */

static void same(const char *is, const char *want)
{
        CU_ASSERT_EQUAL(is == NULL, want == NULL);
        if (is && want) {
                CU_ASSERT_STRING_EQUAL(is, want);
        }
}

static void test_urls(void)
{
        static const struct {
                const char *url, *place, *user, *password, *token;
                bool tls;
        } cases[] = {
            {"nats://localhost", "localhost:4222", NULL, NULL, NULL, false},
            {"NATS://127.0.0.1:1", "127.0.0.1:1", NULL, NULL, NULL, false},
            {"tls://mq.example.org", "mq.example.org:4222", NULL, NULL, NULL, true},
            {"tls://u:p@h:65535", "h:65535", "u", "p", NULL, true},
            {"tls://u:@h", "h:4222", "u", "", NULL, true},
            {"tls://t0ken@h", "h:4222", NULL, NULL, "t0ken", true},
            {"tls://u:p%40%2f%3F%25%22,:x@h", "h:4222", "u", "p@/?%\",:x", NULL, true},
            {"nats://[::1]:4223", "[::1]:4223", NULL, NULL, NULL, false},
            {"nats://[::1]", "[::1]:4222", NULL, NULL, NULL, false},
            {"tls://[fd00::2]:1,b", "[fd00::2]:1, b:4222", NULL, NULL, NULL, true},
            {"tls://u:p@a:1,b:2,c", "a:1, b:2, c:4222", "u", "p", NULL, true},
            {"tls://a:1,tls://b:2", "a:1, b:2", NULL, NULL, NULL, true},
            {"nats://h?plaintext=yes", "h:4222", NULL, NULL, NULL, false},
            {"nats://localhost/", "localhost:4222", NULL, NULL, NULL, false},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settings s;
                char note[NOTE_MAX];
                struct transport_config c = {.url = str_of(cases[i].url)};
                CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
                CU_ASSERT_STRING_EQUAL(s.place, cases[i].place);
                same(s.user, cases[i].user);
                same(s.password, cases[i].password);
                same(s.token, cases[i].token);
                CU_ASSERT_EQUAL(s.tls, cases[i].tls);
                settings_deinit(&s);
        }
}

static void test_servers(void)
{
        struct settings s;
        char note[NOTE_MAX];
        struct transport_config c = {.url = STR("tls://me:secret@a:1,[::1]:2,a")};
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        CU_ASSERT_EQUAL_FATAL(s.n_servers, 3);
        CU_ASSERT_STRING_EQUAL(s.servers[0], "nats://a:1");
        CU_ASSERT_STRING_EQUAL(s.servers[1], "nats://[::1]:2");
        CU_ASSERT_STRING_EQUAL(s.servers[2], "nats://a:4222");
        CU_ASSERT_PTR_NULL(s.tls_name);
        settings_deinit(&s);
        c.url = STR("tls://a:1,a:2");
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        same(s.tls_name, "a");
        settings_deinit(&s);
}

/* Each is refused with words that say why, and never with what may be a part of a password. */
static void test_refused_urls(void)
{
        static const struct {
                const char *url, *why;
        } cases[] = {
            {"", "does not begin with nats:// or tls://"},
            {"amqp://h", "does not begin with"},
            {"nats:/h", "does not begin with"},
            {"nats://", "server 1 of the URL has no valid host"},
            {"nats://u:hidden@", "no valid host"},
            {"nats://localhost,", "server 2 of the URL has no valid host"},
            {"nats://local host", "no valid host"},
            {"nats://::1:4222", "server 1 of the URL"},
            {"nats://[::1", "no valid host"},
            {"nats://[::1]4222", "no valid host"},
            {"nats://[localhost]", "no valid host"},
            {"nats://localhost:0", "port is not a number from 1 to 65535"},
            {"nats://localhost:65536", "port is not"},
            {"nats://localhost:4222x", "port is not"},
            {"nats://localhost:99999999999999999999", "port is not"},
            {"nats://u:hidden@mq.example.org", "nats:// to mq.example.org would send"},
            {"nats://localhost,mq.example.org", "nats:// to mq.example.org would send"},
            {"nats://127.evil.example.org", "would send"},
            {"nats://localhost/vhost", "has a path"},
            {"tls://a,nats://b", "has a path or another scheme"},
            {"tls://h?plaintext=no", "only parameter is ?plaintext=yes"},
            {"tls://h?x=hidden", "only parameter"},
            {"tls://@h", "an @ without a user"},
            {"tls://u:hid@den@h", "login is not clear"},
            {"tls://u:hid/den@h", "login is not clear"},
            {"tls://u:hid?den@h", "login is not clear"},
            {"tls://u:hidden@a,u:hidden@b", "login is not clear"},
            {"tls://u:hidden%@h", "percent sign"},
            {"tls://u:hidden%4@h", "percent sign"},
            {"tls://u:hidden%zz@h", "percent sign"},
            {"tls://u:hidden%00@h", "control character"},
            {"tls://u:hidden%0a@h", "control character"},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct settings s;
                char note[NOTE_MAX];
                struct transport_config c = {.url = str_of(cases[i].url)};
                CU_ASSERT_EQUAL(init(&s, &c, note), NATS_REFUSED);
                if (!strstr(note, cases[i].why)) {
                        printf("\n  %s: %s", cases[i].url, note);
                        CU_FAIL("another reason");
                }
                CU_ASSERT_PTR_NULL(strstr(note, "hid"));
                CU_ASSERT_PTR_NULL(strstr(note, "den@"));
                settings_deinit(&s);
        }
}

static void test_many_servers(void)
{
        struct settings s;
        char url[4096] = "nats://localhost", note[NOTE_MAX];
        for (int i = 1; i < 64; i++) {
                strcat(url, ",localhost");
        }
        struct transport_config c = {.url = str_of(url)};
        CU_ASSERT_EQUAL(init(&s, &c, note), 0);
        CU_ASSERT_EQUAL(s.n_servers, 64);
        settings_deinit(&s);
        strcat(url, ",localhost");
        c.url = str_of(url);
        CU_ASSERT_EQUAL(init(&s, &c, note), NATS_REFUSED);
        settings_deinit(&s);
}

/* --- other keys ------------------------------------------------------------------------------- */

static void test_defaults(void)
{
        struct settings s;
        char note[NOTE_MAX];
        struct transport_config c = {.url = STR("nats://localhost")};
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        CU_ASSERT_STRING_EQUAL(s.stream, "JOBS");
        CU_ASSERT_STRING_EQUAL(s.subject, "jobs");
        CU_ASSERT_STRING_EQUAL(s.refused_stream, "JOBS_REFUSED");
        CU_ASSERT_STRING_EQUAL(s.refused_subject, "jobs_refused");
        CU_ASSERT_STRING_EQUAL(s.application, "skep");
        CU_ASSERT_EQUAL(s.replicas, 1);
        CU_ASSERT_EQUAL(s.ping_ms, 10000);
        CU_ASSERT_EQUAL(s.prefetch_bytes, 8 << 20);
        CU_ASSERT_EQUAL(s.payload_max, 1 << 20);
        CU_ASSERT_TRUE(s.create);
        settings_deinit(&s);
        c.stream = STR("Work:1");
        c.subject = STR("app.jobs");
        c.create = CREATE_NOTHING;
        c.replicas = 3;
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        CU_ASSERT_STRING_EQUAL(s.refused_stream, "Work:1_REFUSED");
        CU_ASSERT_STRING_EQUAL(s.refused_subject, "app.jobs_refused");
        CU_ASSERT_FALSE(s.create);
        CU_ASSERT_EQUAL(s.replicas, 3);
        settings_deinit(&s);
}

static void expect_refused(const struct transport_config *c, const char *why)
{
        struct settings s;
        char note[NOTE_MAX];
        CU_ASSERT_EQUAL(init(&s, c, note), NATS_REFUSED);
        if (!strstr(note, why)) {
                printf("\n  %s: not %s", note, why);
                CU_FAIL("another reason");
        }
        settings_deinit(&s);
}

static void test_names(void)
{
        static const char *const streams[] = {"a b", "a.b",  "a*",   "a>",
                                              "a/b", "a\\b", "a\tb", "\xc3"};
        static const char *const subjects[] = {"a b", "a..b", "a.",      ".a",
                                               "a.*", "a.>",  "$JS.API", ">"};
        for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
                struct transport_config c = {.url = STR("nats://localhost"),
                                             .stream = str_of(streams[i])};
                expect_refused(&c, "stream: not a name");
        }
        for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
                struct transport_config c = {.url = STR("nats://localhost"),
                                             .subject = str_of(subjects[i])};
                expect_refused(&c, "subject: not a prefix");
        }
}

static void test_one_way_to_log_in(void)
{
        struct transport_config c = {.url = STR("nats://t@localhost"), .token_file = STR("/x")};
        expect_refused(&c, "a login in the URL and token_file: only one");
        c = (struct transport_config){
            .url = STR("nats://localhost"), .creds_file = STR("/x"), .nkey_file = STR("/y")};
        expect_refused(&c, "creds_file and nkey_file: only one");
        c = (struct transport_config){.url = STR("nats://localhost"), .password_file = STR("/x")};
        expect_refused(&c, "password_file: the URL names no user");
        c = (struct transport_config){.url = STR("nats://localhost"), .cert_file = STR("/x")};
        expect_refused(&c, "both its certificate and its key file");

        struct settings s;
        char note[NOTE_MAX];
        c = (struct transport_config){.url = STR("nats://me@localhost"),
                                      .password_file = STR("/x")};
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        same(s.user, "me");
        same(s.token, NULL);
        settings_deinit(&s);
}

/* --- files ------------------------------------------------------------------------------------ */

static char path[64];

static void write_file(const char *text)
{
        snprintf(path, sizeof path, "/tmp/skep-nats-settings-XXXXXX");
        int fd = mkstemp(path);
        CU_ASSERT_TRUE_FATAL(fd >= 0);
        CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
}

/* Logs in with a file of that text; want: in the note, NULL: accepted. */
static void try_file(struct transport_config *c, struct str *key, const char *text,
                     const char *want)
{
        struct settings s;
        natsOptions *options = NULL;
        char note[NOTE_MAX];
        write_file(text);
        *key = str_of(path);
        CU_ASSERT_EQUAL_FATAL(init(&s, c, note), 0);
        int r = settings_login(&s, &options, note, sizeof note);
        CU_ASSERT_EQUAL(r, want ? NATS_DOWN : 0);
        CU_ASSERT_EQUAL(options == NULL, want != NULL);
        if (want && (!strstr(note, want) || !strstr(note, path) || strstr(note, "SUAA"))) {
                printf("\n  %s: not %s", note, want);
                CU_FAIL("another reason");
        }
        natsOptions_Destroy(options);
        settings_deinit(&s);
        unlink(path);
}

#define SEED_A "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
#define SEED_B "SUAP777777777777777777777777777777777777777777777777775UUA"

static void test_files(void)
{
        char large[5000];
        memset(large, 'x', sizeof large - 1);
        large[sizeof large - 1] = '\0';
        struct transport_config c = {.url = STR("nats://me@localhost")};
        try_file(&c, &c.password_file, "secret\n", NULL);
        try_file(&c, &c.password_file, "", "its first line is empty");
        try_file(&c, &c.password_file, "\nsecret\n", "its first line is empty");
        try_file(&c, &c.password_file, large, "File too large");
        c = (struct transport_config){.url = STR("nats://localhost")};
        try_file(&c, &c.token_file, "t\r\n", NULL);
        try_file(&c, &c.token_file, "\r\n", "its first line is empty");
        c = (struct transport_config){.url = STR("nats://localhost")};
        try_file(&c, &c.nkey_file, SEED_A, NULL);
        try_file(&c, &c.nkey_file, "# mine\n  " SEED_A "\n", NULL);
        try_file(&c, &c.nkey_file, "hello\n", "no line with a user's seed");
        try_file(&c, &c.nkey_file, SEED_A "\r\n", "followed by a blank or a carriage return");
        try_file(&c, &c.nkey_file, SEED_A "Y\n", "mistyped");
        c = (struct transport_config){.url = STR("nats://localhost")};
        try_file(&c, &c.creds_file, SEED_A, "not both");
        c.creds_file = STR("/nonexistent/x");
        struct settings s;
        natsOptions *options = NULL;
        char note[NOTE_MAX];
        CU_ASSERT_EQUAL_FATAL(init(&s, &c, note), 0);
        CU_ASSERT_EQUAL(settings_login(&s, &options, note, sizeof note), NATS_DOWN);
        CU_ASSERT_STRING_EQUAL(
            note, "localhost:4222: creds_file /nonexistent/x: No such file or directory");
        settings_deinit(&s);
}

/* --- nkeys ------------------------------------------------------------------------------------ */

/* The keys of 32 bytes 0 to 31 and of 32 bytes 255, with public halves that another implementation
 * of Ed25519 made. */
static void test_nkeys(void)
{
        char key[NKEY_PUBLIC_CHARS + 1] = "";
        CU_ASSERT_TRUE(nkey_public(STR(SEED_A), key));
        CU_ASSERT_STRING_EQUAL(key, "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK");
        CU_ASSERT_TRUE(nkey_public(STR(SEED_B), key));
        CU_ASSERT_STRING_EQUAL(key, "UB3KCWJAISTOJ5IREZN4U45GATMQWBJJ2HPWAK7DBIM2SJLWMDI7LRYD");
}

static void test_bad_nkeys(void)
{
        char key[NKEY_PUBLIC_CHARS + 1], seed[] = SEED_A;
        CU_ASSERT_FALSE(nkey_public((struct str){0}, key));
        CU_ASSERT_FALSE(nkey_public(STR(SEED_A "A"), key));
        CU_ASSERT_FALSE(nkey_public((struct str){SEED_A, NKEY_SEED_CHARS - 1}, key));
        /* an account's */
        CU_ASSERT_FALSE(
            nkey_public(STR("SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI"), key));
        CU_ASSERT_FALSE(
            nkey_public(STR("UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"), key));
        for (size_t i = 0; i < sizeof seed - 1; i++) { /* a checksum finds each single mistake */
                static const char others[] = "AB7a0-\xff";
                for (const char *o = others; *o; o++) {
                        char was = seed[i];
                        bool last = i == sizeof seed - 2; /* two bits of it stand for nothing */
                        seed[i] = *o;
                        if (*o != was && !last) {
                                CU_ASSERT_FALSE(nkey_public(str_of(seed), key));
                        }
                        seed[i] = was;
                }
        }
}

UNIT_TESTS = {
    {"URLs", test_urls},
    {"several servers", test_servers},
    {"URLs that are refused", test_refused_urls},
    {"at most 64 servers", test_many_servers},
    {"defaults and other keys", test_defaults},
    {"names of streams and subjects", test_names},
    {"one way to log in", test_one_way_to_log_in},
    {"files with credentials", test_files},
    {"public keys of nkey seeds", test_nkeys},
    {"seeds that are none", test_bad_nkeys},
};
UNIT_MAIN("nats-settings")
