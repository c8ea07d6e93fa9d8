/*
 * Every way to log in to a NATS server, and what nats_check() says of what it finds there, against
 * nats-servers of its own. Passwords that need escaping log in; wrong ones, certificates of others
 * and of other hosts are refused with the reason.
 */
#include "tests/unit/nats-bed.h"
#include "tests/unit/nats-jwt.h"
#include "tests/unit/unit.h"
#include "transports/nats/settings.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SEED_A   "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
#define SEED_B   "SUAP777777777777777777777777777777777777777777777777775UUA"
#define PUBLIC_A "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"
#define NOTE_MAX 2048

static struct nats_bed bed;
static char note[NOTE_MAX];

static void start(const char *config)
{
        CU_ASSERT_TRUE_FATAL(bed_make(&bed));
        CU_ASSERT_TRUE_FATAL(bed_start(&bed, "127.0.0.1", config));
}

/* `before` stands before the host: "nats://u:p@127.0.0.1". */
static int check(struct transport_config *c, const char *before)
{
        static char url[512];
        struct nats_options o = {.config = c, .payload_max = 1 << 20};
        snprintf(url, sizeof url, "%s:%d", before, bed.port);
        c->url = str_of(url);
        *note = '\0';
        return nats_check(&o, note, sizeof note);
}

static void expect(struct transport_config *c, const char *before, bool in, const char *says)
{
        int r = check(c, before);
        CU_ASSERT_EQUAL(r == 0 || r == NATS_ODD, in);
        if (!strstr(note, says)) {
                printf("\n  %s: %s\n  has not: %s", before, note, says);
                CU_FAIL("another note");
        }
        CU_ASSERT_PTR_NULL(strstr(note, "hidden"));
        CU_ASSERT_PTR_NULL(strstr(note, "SUA"));
}

#define IN  true, "is not there yet, skepd makes it"
#define OUT false, "the server refused the login"

/* --- logins ----------------------------------------------------------------------------------- */

static void test_nobody(void)
{
        struct transport_config c = {0};
        start("");
        expect(&c, "nats://127.0.0.1", IN);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, ": NATS "));
        expect(&c, "nats://localhost:1,127.0.0.1", IN);
        expect(&c, "tls://localhost", false, "the server has no TLS at this port");
        bed_stop(&bed);
        expect(&c, "nats://127.0.0.1", false, "connection refused");
        bed_deinit(&bed);
}

static void test_ipv6(void)
{
        struct transport_config c = {0};
        CU_ASSERT_TRUE_FATAL(bed_make(&bed));
        CU_ASSERT_TRUE_FATAL(bed_start(&bed, "[::1]", ""));
        expect(&c, "nats://[::1]", IN);
        CU_ASSERT_PTR_NOT_NULL(strstr(note, ": NATS 2"));
        bed_deinit(&bed);
}

static void test_password(void)
{
        struct transport_config c = {0};
        start("authorization { users = [ { user: me, password: hidden1 },\n"
              "  { user: \"o'\\\"\\\\x\", password: \"hidden\\\"\\\\,@/?%é\" } ] }");
        expect(&c, "nats://me:hidden1@127.0.0.1", IN);
        expect(&c, "nats://me:hidden2@127.0.0.1", OUT);
        expect(&c, "nats://127.0.0.1", OUT);
        expect(&c, "nats://hidden1@127.0.0.1", OUT);
        expect(&c, "nats://o'%22%5cx:hidden%22%5C,%40%2f%3f%25%c3%a9@127.0.0.1", IN);
        bed_write(&bed, "password", "hidden1\n");
        c.password_file = str_of(bed_path(&bed, "password"));
        expect(&c, "nats://me@127.0.0.1", IN);
        expect(&c, "nats://me:hidden2@127.0.0.1", IN);
        bed_write(&bed, "password", "hidden2\n");
        expect(&c, "nats://me@127.0.0.1", OUT);
        bed_write(&bed, "password", "hidden\"\\,@/?%é");
        expect(&c, "nats://o'%22%5cx@127.0.0.1", IN);
        chmod(bed_path(&bed, "password"), 0644);
        expect(&c, "nats://o'%22%5cx@127.0.0.1", true, "can be read by everybody (mode 0644)");
        bed_deinit(&bed);
}

static void test_token(void)
{
        struct transport_config c = {0};
        start("authorization { token: \"hidden \\\"1\" }");
        expect(&c, "nats://hidden%20%221@127.0.0.1", IN);
        expect(&c, "nats://hidden1@127.0.0.1", OUT);
        bed_write(&bed, "token", "hidden \"1\r\n");
        c.token_file = str_of(bed_path(&bed, "token"));
        expect(&c, "nats://127.0.0.1", IN);
        bed_write(&bed, "token", "hidden 1\n");
        expect(&c, "nats://127.0.0.1", OUT);
        bed_deinit(&bed);
}

static void test_nkey(void)
{
        struct transport_config c = {0};
        start("authorization { users = [ { nkey: " PUBLIC_A " } ] }");
        bed_write(&bed, "a.nk", SEED_A "\n");
        bed_write(&bed, "b.nk", SEED_B "\n");
        c.nkey_file = str_of(bed_path(&bed, "a.nk"));
        expect(&c, "nats://127.0.0.1", IN);
        c.nkey_file = str_of(bed_path(&bed, "b.nk"));
        expect(&c, "nats://127.0.0.1", OUT);
        c.nkey_file = str_of(bed_path(&bed, "none.nk"));
        expect(&c, "nats://127.0.0.1", false, "none.nk: No such file");
        bed_deinit(&bed);
}

static void test_credentials(void)
{
        static char config[8192], creds[4096];
        struct transport_config c = {0};
        CU_ASSERT_TRUE_FATAL(bed_make(&bed));
        jwt_server_config(config, sizeof config);
        CU_ASSERT_TRUE_FATAL(bed_start(&bed, "127.0.0.1", config));
        jwt_credentials(SEED_A, SEED_A, creds, sizeof creds);
        bed_write(&bed, "a.creds", creds);
        c.creds_file = str_of(bed_path(&bed, "a.creds"));
        expect(&c, "nats://127.0.0.1", IN);
        jwt_credentials(SEED_A, SEED_B, creds, sizeof creds); /* a seed of somebody else */
        bed_write(&bed, "b.creds", creds);
        c.creds_file = str_of(bed_path(&bed, "b.creds"));
        expect(&c, "nats://127.0.0.1", OUT);
        bed_deinit(&bed);
}

static void test_account_without_jetstream(void)
{
        struct transport_config c = {0};
        start("accounts { A { jetstream: enabled, users: [ { user: a, password: hidden } ] },\n"
              "  B { users: [ { user: b, password: hidden } ] } }\n"
              "jetstream { store_dir: \"%s/js\" }");
        expect(&c, "nats://a:hidden@127.0.0.1", IN);
        expect(&c, "nats://b:hidden@127.0.0.1", false, "no JetStream for this account");
        bed_deinit(&bed);
        start("# no jetstream");
        expect(&c, "nats://127.0.0.1", false, "no JetStream");
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "jetstream {}"));
        bed_deinit(&bed);
}

/* --- TLS -------------------------------------------------------------------------------------- */

static void run_openssl(const char *const *rest)
{
        const char *argv[32] = {"openssl"};
        for (size_t i = 0; rest[i]; i++) {
                argv[i + 1] = rest[i];
        }
        CU_ASSERT_TRUE_FATAL(bed_run(&bed, argv));
}

/* NAME.pem and NAME.key; by: the authority's name, NULL: an authority itself. */
static void make_certificate(const char *name, const char *by, const char *extension)
{
        char subject[64], cert[256], key[256], request[256], ca[256], ca_key[256], ext[256];
        snprintf(subject, sizeof subject, "/CN=%s", name);
        snprintf(cert, sizeof cert, "%s/%s.pem", bed.folder, name);
        snprintf(key, sizeof key, "%s/%s.key", bed.folder, name);
        if (!by) {
                run_openssl((const char *[]){"req", "-x509", "-newkey", "ec", "-pkeyopt",
                                             "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                                             "-subj", subject, "-keyout", key, "-out", cert, NULL});
                return;
        }
        snprintf(request, sizeof request, "%s/%s.csr", bed.folder, name);
        snprintf(ca, sizeof ca, "%s/%s.pem", bed.folder, by);
        snprintf(ca_key, sizeof ca_key, "%s/%s.key", bed.folder, by);
        snprintf(ext, sizeof ext, "%s/%s.ext", bed.folder, name);
        bed_write(&bed, strrchr(ext, '/') + 1, extension);
        run_openssl((const char *[]){"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                                     "-nodes", "-subj", subject, "-keyout", key, "-out", request,
                                     NULL});
        run_openssl((const char *[]){"x509", "-req", "-days", "2", "-in", request, "-CA", ca,
                                     "-CAkey", ca_key, "-CAcreateserial", "-extfile", ext, "-out",
                                     cert, NULL});
}

static void make_certificates(void)
{
        CU_ASSERT_TRUE_FATAL(bed_make(&bed));
        make_certificate("ca", NULL, NULL);
        make_certificate("stranger", NULL, NULL);
        make_certificate("server", "ca", "subjectAltName=DNS:localhost");
        make_certificate("address", "ca", "subjectAltName=IP:127.0.0.1");
        make_certificate("client", "ca", "extendedKeyUsage=clientAuth");
        make_certificate("intruder", "stranger", "extendedKeyUsage=clientAuth");
}

static void test_tls(void)
{
        struct transport_config c = {0};
        make_certificates();
        CU_ASSERT_TRUE_FATAL(bed_start(&bed, "127.0.0.1",
                                       "tls { cert_file: \"%s/server.pem\"\n"
                                       "  key_file: \"%s/server.key\" }"));
        c.ca_file = str_of(bed_path(&bed, "ca.pem"));
        expect(&c, "tls://localhost", IN);
        expect(&c, "tls://127.0.0.1", false, "the server's certificate is for another host");
        /* several names: each server's own is looked for, though none was told to the library */
        expect(&c, "tls://127.0.0.1:1,localhost", IN);
        expect(&c, "tls://localhost:1,127.0.0.1", false, "localhost:1, 127.0.0.1:");
        expect(&c, "nats://localhost", false, "ca_file counts with tls:// only");
        c.ca_file = str_of(bed_path(&bed, "stranger.pem"));
        expect(&c, "tls://localhost", false, "TLS failed");
        c.ca_file = STR("");
        expect(&c, "tls://localhost", false, "TLS failed");
        expect(&c, "nats://localhost", false, "the server wants TLS, write tls://");
        c.ca_file = str_of(bed_path(&bed, "none.pem"));
        expect(&c, "tls://localhost", false, "ca_file");
        bed_deinit(&bed);
}

static void test_tls_by_address(void)
{
        struct transport_config c = {0};
        make_certificates();
        CU_ASSERT_TRUE_FATAL(bed_start(&bed, "127.0.0.1",
                                       "tls { cert_file: \"%s/address.pem\"\n"
                                       "  key_file: \"%s/address.key\" }"));
        c.ca_file = str_of(bed_path(&bed, "ca.pem"));
        expect(&c, "tls://127.0.0.1", IN);
        expect(&c, "tls://localhost", false, "the server's certificate is for another host");
        bed_deinit(&bed);
}

static void test_client_certificates(void)
{
        struct transport_config c = {0};
        make_certificates();
        CU_ASSERT_TRUE_FATAL(
            bed_start(&bed, "127.0.0.1",
                      "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\"\n"
                      "  ca_file: \"%s/ca.pem\", verify: true }"));
        char cert[256], key[256], ca[256];
        snprintf(ca, sizeof ca, "%s/ca.pem", bed.folder);
        snprintf(cert, sizeof cert, "%s/client.pem", bed.folder);
        snprintf(key, sizeof key, "%s/client.key", bed.folder);
        c.ca_file = str_of(ca);
        CU_ASSERT_EQUAL(check(&c, "tls://localhost"), NATS_DOWN);
        c.cert_file = str_of(cert);
        c.key_file = str_of(key);
        expect(&c, "tls://localhost", IN);
        snprintf(cert, sizeof cert, "%s/intruder.pem", bed.folder);
        snprintf(key, sizeof key, "%s/intruder.key", bed.folder);
        c.cert_file = str_of(cert);
        c.key_file = str_of(key);
        CU_ASSERT_EQUAL(check(&c, "tls://localhost"), NATS_DOWN);
        snprintf(key, sizeof key, "%s/client.key", bed.folder);
        expect(&c, "tls://localhost", false, "cert_file and key_file");
        bed_deinit(&bed);
}

/* --- what is there ---------------------------------------------------------------------------- */

static jsCtx *open_jetstream(natsConnection **ret_nc)
{
        char url[64];
        jsCtx *js = NULL;
        snprintf(url, sizeof url, "nats://127.0.0.1:%d", bed.port);
        CU_ASSERT_EQUAL_FATAL(natsConnection_ConnectTo(ret_nc, url), NATS_OK);
        CU_ASSERT_EQUAL_FATAL(natsConnection_JetStream(&js, *ret_nc, NULL), NATS_OK);
        return js;
}

static void test_streams(void)
{
        struct transport_config c = {0};
        natsConnection *nc = NULL;
        start("");
        jsCtx *js = open_jetstream(&nc);
        const char *subjects[] = {"*.email.>", "other"};
        jsStreamConfig sc;
        jsStreamConfig_Init(&sc);
        sc.Name = "JOBS";
        sc.Subjects = subjects;
        sc.SubjectsLen = 2;
        CU_ASSERT_EQUAL_FATAL(js_AddStream(NULL, js, &sc, NULL, NULL), NATS_OK);
        expect(&c, "nats://127.0.0.1", true,
               "stream JOBS takes *.email.>, other and not jobs.>: skepd cannot use it");
        c.subject = STR("jobs.email");
        expect(&c, "nats://127.0.0.1", true, "stream JOBS on jobs.email.>, retention limits");
        c.subject = STR("");
        CU_ASSERT_EQUAL_FATAL(js_DeleteStream(js, "JOBS", NULL, NULL), NATS_OK);

        subjects[0] = "jobs.>";
        sc.SubjectsLen = 1;
        sc.Storage = js_MemoryStorage;
        sc.Retention = js_InterestPolicy;
        sc.MaxMsgs = 10;
        sc.MaxAge = 60 * INT64_C(1000000000);
        CU_ASSERT_EQUAL_FATAL(js_AddStream(NULL, js, &sc, NULL, NULL), NATS_OK);
        c.replicas = 3;
        expect(&c, "nats://127.0.0.1", true, "retention interest");
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "storage is memory, not file"));
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "max_msgs is 10 with discard old"));
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "max_age is 60s"));
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "replicas is 1, not 3"));
        c.create = CREATE_NOTHING;
        c.stream = STR("OTHER");
        expect(&c, "nats://127.0.0.1", true, "stream OTHER is not there, and create is no");
        jsCtx_Destroy(js);
        natsConnection_Destroy(nc);
        bed_deinit(&bed);
}

static void test_unconsumed(void)
{
        struct transport_config c = {0};
        natsConnection *nc = NULL;
        start("");
        jsCtx *js = open_jetstream(&nc);
        const char *subjects[] = {"jobs.>"};
        jsStreamConfig sc;
        jsConsumerConfig cc;
        jsStreamConfig_Init(&sc);
        sc.Name = "JOBS";
        sc.Subjects = subjects;
        sc.SubjectsLen = 1;
        sc.Retention = js_WorkQueuePolicy;
        CU_ASSERT_EQUAL_FATAL(js_AddStream(NULL, js, &sc, NULL, NULL), NATS_OK);
        jsConsumerConfig_Init(&cc);
        cc.Durable = "skep-email-all";
        cc.FilterSubject = "jobs.email.>";
        cc.AckPolicy = js_AckExplicit;
        CU_ASSERT_EQUAL_FATAL(js_AddConsumer(NULL, js, "JOBS", &cc, NULL, NULL), NATS_OK);
        static const char *const jobs[] = {"jobs.email.send", "jobs.sms", "jobs.sms", "jobs.fax.x"};
        for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
                CU_ASSERT_EQUAL(js_Publish(NULL, js, jobs[i], "x", 1, NULL, NULL), NATS_OK);
        }
        expect(&c, "nats://127.0.0.1", true, "2 subjects with messages that no consumer asks for");
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "jobs.sms (2)"));
        CU_ASSERT_PTR_NOT_NULL(strstr(note, "jobs.fax.x (1)"));
        CU_ASSERT_PTR_NULL(strstr(note, "jobs.email.send"));
        jsCtx_Destroy(js);
        natsConnection_Destroy(nc);
        bed_deinit(&bed);
}

UNIT_TESTS = {
    {"without login", test_nobody},
    {"over IPv6", test_ipv6},
    {"user and password", test_password},
    {"token", test_token},
    {"nkey", test_nkey},
    {"credentials file", test_credentials},
    {"no JetStream", test_account_without_jetstream},
    {"TLS", test_tls},
    {"TLS by address", test_tls_by_address},
    {"client certificates", test_client_certificates},
    {"streams of others", test_streams},
    {"what nobody consumes", test_unconsumed},
};
int main(void)
{
        signal(SIGPIPE, SIG_IGN); /* nats.c writes to a TLS connection that the other side closed */
        return unit_run("nats-login", unit_tests, ARRAY_LEN(unit_tests));
}
