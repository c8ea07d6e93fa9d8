/*
 * Loading from files, conf.d, credentials, environment and flags: which layer wins, how lists
 * merge, where secrets may stand. Everything happens below one temporary folder, so that the
 * machine's own configuration is never read.
 */
#include "tests/unit/config-folder.h"
/* --- layers ------------------------------------------------------------------------------------
 */

/* One key through all layers: each wins over those before it, and the origin says which. */
static void test_precedence(void)
{
        char credentials[512];
        static const struct config_flag flags[] = {
            {"--set", NULL, "ledger.url=sqlite:/flag"},
            {"--set", NULL, "handlers.workers=7"},
            {"--workers", "handlers.workers", "8"},
        };
        open_folder();
        snprintf(credentials, sizeof credentials, "CREDENTIALS_DIRECTORY=%s/cred", folder);
        const char *environment[] = {"SKEP_LEDGER__URL=sqlite:/environment", NULL};
        const char *only_credentials[] = {credentials, NULL};
        const char *both[] = {environment[0], credentials, NULL};
        static const struct {
                const char *url, *source;
                int line;
        } want[] = {
            {"sqlite:/var/lib/skep/skep.db", "", 0},
            {"sqlite:/file", "skep.conf", 2},
            {"sqlite:/dropin", "conf.d/10-a.conf", 1},
            {"sqlite:/credential", "credential ledger-url", 0},
            {"sqlite:/environment", "environment SKEP_LEDGER__URL", 0},
            {"sqlite:/flag", "flag --set", 0},
        };
        for (size_t i = 0; i < ARRAY_LEN(want); i++) {
                write_file("skep.conf", i >= 1 ? "\nledger = { url = \"sqlite:/file\"; };" : "");
                write_file("conf.d/10-a.conf",
                           i >= 2 ? "ledger = { url = \"sqlite:/dropin\"; };" : "");
                if (i >= 3) {
                        write_file("cred/ledger-url", "sqlite:/credential\n");
                }
                struct loaded l = load_with(in("skep.conf"),
                                            i == 3   ? only_credentials
                                            : i >= 4 ? both
                                                     : NULL,
                                            flags, i == 5 ? 3 : 0);
                expect_ok(&l);
                CU_ASSERT_STRING_EQUAL(l.config.ledger_url.p, want[i].url);
                struct config_origin o = l.config.origins[0];
                CU_ASSERT_EQUAL(o.line, want[i].line);
                CU_ASSERT_PTR_NOT_NULL(o.source.n ? strstr(o.source.p, want[i].source)
                                                  : want[i].source);
                CU_ASSERT_EQUAL(o.source.n == 0, want[i].source[0] == 0);
                CU_ASSERT_EQUAL(l.config.workers, i == 5 ? 8 : 2);
                CU_ASSERT_STRING_EQUAL(l.config.handlers_dir.p, "/opt/handlers");
                unload(&l);
        }
        close_folder();
}

static void test_ledger_follows_state_dir(void)
{
        static const struct config_flag flags[] = {{"--state-dir", "node.state_dir", "/srv/a"}};
        struct loaded l = load_with("", NULL, flags, 1);
        expect_ok(&l);
        CU_ASSERT_STRING_EQUAL(l.config.ledger_url.p, "sqlite:/srv/a/skep.db");
        CU_ASSERT_EQUAL(l.report.file.n, 0);
        unload(&l);
}

static void test_user_places(void)
{
        char home[300], config[300];
        open_folder();
        snprintf(home, sizeof home, "HOME=%s", folder);
        snprintf(config, sizeof config, "XDG_CONFIG_HOME=%s/xdg", folder);
        const char *environment[] = {home, config, NULL};
        struct config_sources s = {.environ = environment};
        write_file("xdg/skep/skep.conf", "handlers = { workers = 5; };");
        struct loaded l = {0};
        l.r = config_load(&s, &l.config, &l.report);
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.workers, 5);
        CU_ASSERT_STRING_EQUAL(l.report.file.p, in("xdg/skep/skep.conf"));
        CU_ASSERT_STRING_EQUAL(l.config.state_dir.p, in(".local/state/skep"));
        CU_ASSERT_STRING_EQUAL(l.config.http_socket.p, in(".local/state/skep/skep.sock"));
        unload(&l);
        /* conf.d alone is enough */
        unlink(in("xdg/skep/skep.conf"));
        write_file("xdg/skep/conf.d/a.conf", "handlers = { workers = 6; };");
        l.r = config_load(&s, &l.config, &l.report);
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.workers, 6);
        unload(&l);
        close_folder();
}

static void test_dropins(void)
{
        open_folder();
        write_file("skep.conf", "handlers = { workers = 3; options = ( { type = \"w\"; set = "
                                "{ a = 1; b = \"x\"; }; } ); };\n"
                                "queues = ( { name = \"a\"; concurrency = 1; priority = 1; "
                                "types = [ \"a.>\" ]; },\n"
                                "           { name = \"b\"; concurrency = 2; } );\n"
                                "transports = { r = { url = \"amqp://first\"; }; };");
        write_file("conf.d/20.conf", "queues = ( { name = \"c\"; }, { name = \"a\"; "
                                     "concurrency = 9; } );\n handlers = { workers = 20; };");
        write_file("conf.d/10.conf", "queues = ( { name = \"c\"; priority = 7; }, { name = \"a\"; "
                                     "concurrency = 8; retry = { base = \"2s\"; }; } );\n"
                                     "handlers = { workers = 10; options = ( { type = \"w\"; set = "
                                     "{ a = true; c = 1.5; }; } ); };\n"
                                     "transports = { r = { url = \"amqp://second\"; }; "
                                     "s = { url = \"x:\"; }; };");
        write_file("conf.d/.30.conf", "handlers = { workers = 99; };");
        write_file("conf.d/30.conf~", "handlers = { workers = 99; };");
        write_file("conf.d/README", "no");
        struct loaded l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_ok(&l);
        const struct config *c = &l.config;
        CU_ASSERT_EQUAL(c->workers, 20);
        CU_ASSERT_EQUAL_FATAL(c->n_queues, 3);
        CU_ASSERT_STRING_EQUAL(c->queues[0].name.p, "a");
        CU_ASSERT_EQUAL(c->queues[0].concurrency, 9);
        CU_ASSERT_EQUAL(c->queues[0].priority, 1);
        CU_ASSERT_EQUAL(c->queues[0].n_types, 1);
        CU_ASSERT_EQUAL(c->queues[0].retry.base_ms, 2000);
        CU_ASSERT_EQUAL(c->queues[1].concurrency, 2);
        CU_ASSERT_STRING_EQUAL(c->queues[2].name.p, "c");
        CU_ASSERT_EQUAL(c->queues[2].priority, 7);
        CU_ASSERT_EQUAL_FATAL(c->n_transports, 2);
        CU_ASSERT_STRING_EQUAL(c->transports[0].url.p, "amqp://second");
        CU_ASSERT_EQUAL_FATAL(c->n_handler_options, 3);
        CU_ASSERT_STRING_EQUAL(c->handler_options[0].value.p, "true");
        CU_ASSERT_STRING_EQUAL(c->handler_options[1].value.p, "x");
        CU_ASSERT_STRING_EQUAL(c->handler_options[2].value.p, "1.5");
        unload(&l);
        /* a mistake in a drop-in names the drop-in */
        write_file("conf.d/30.conf", "\nhandlers = { workers = 0; };");
        l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_error(&l, "conf.d/30.conf:2: handlers.workers: 0 is not allowed");
        unlink(in("conf.d/30.conf"));
        CU_ASSERT_EQUAL(symlink("/nonexistent", in("conf.d/30.conf")), 0);
        l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_error(&l, "conf.d/30.conf: does not exist");
        close_folder();
}

static void test_default_queue(void)
{
        open_folder();
        struct loaded l = load_text("");
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.n_queues, 1);
        CU_ASSERT_STRING_EQUAL(l.config.queues[0].name.p, "default");
        unload(&l);
        l = load_text("queues = ( { name = \"only\"; } );");
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.n_queues, 1);
        CU_ASSERT_STRING_EQUAL(l.config.queues[0].name.p, "only");
        unload(&l);
        close_folder();
}

/* --- environment and flags ---------------------------------------------------------------------
 */

static const char queues_text[] = "queues = ( { name = \"email\"; }, { name = \"e-mail.high\"; }, "
                                  "{ name = \"e\"; } );\n"
                                  "transports = { rabbit = { url = \"amqp://h\"; }; };";

static void test_environment(void)
{
        static const char *const environment[] = {
            "SKEP_URL=unix:/x",
            "SKEP_WORKERS=nonsense",
            "SKEPX__Y=1",
            "PATH=/a__b",
            "SKEP_X=a__b",
            "SKEP_HANDLERS__WORKERS=4",
            "SKEP_HTTP__TOKEN_FILE=/t",
            "SKEP_HTTP__LISTEN=127.0.0.1:8290",
            "SKEP_QUEUES__EMAIL__CONCURRENCY=3",
            "SKEP_QUEUES__EMAIL__RETRY__MAX_ATTEMPTS=9",
            "SKEP_QUEUES__E_MAIL_HIGH__TYPES=a.>, b",
            "SKEP_TRANSPORTS__RABBIT__URL=amqp://other",
            NULL,
        };
        open_folder();
        write_file("skep.conf", queues_text);
        struct loaded l = load_with(in("skep.conf"), environment, NULL, 0);
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.workers, 4);
        CU_ASSERT_STRING_EQUAL(l.config.http_token_file.p, "/t");
        CU_ASSERT_EQUAL(l.config.queues[0].concurrency, 3);
        CU_ASSERT_EQUAL(l.config.queues[0].retry.max_attempts, 9);
        CU_ASSERT_EQUAL_FATAL(l.config.queues[1].n_types, 2);
        CU_ASSERT_STRING_EQUAL(l.config.queues[1].types[1].p, "b");
        CU_ASSERT_STRING_EQUAL(l.config.transports[0].url.p, "amqp://other");
        unload(&l);
        close_folder();
}

static void test_environment_mistakes(void)
{
        static const struct {
                const char *variable, *error;
        } cases[] = {
            {"SKEP_HANDLERS__WROKERS=4", "environment SKEP_HANDLERS__WROKERS: unknown key; did you "
                                         "mean `SKEP_HANDLERS__WORKERS`?"},
            {"SKEP__LEDGER__URL=x", "did you mean `SKEP_LEDGER__URL`?"},
            {"SKEP_ZEBRA__X=1", "environment SKEP_ZEBRA__X: unknown key"},
            {"SKEP_HANDLERS__WORKERS=0",
             "environment SKEP_HANDLERS__WORKERS: handlers.workers: 0 is "
             "not allowed; 1 to 256"},
            {"SKEP_QUEUES__EMIAL__CONCURRENCY=3",
             "there is no such queue; there are: email, e-mail.high, e"},
            {"SKEP_QUEUES__EMAIL__CONCURENCY=3",
             "environment SKEP_QUEUES__EMAIL__CONCURENCY: unknown "
             "key; did you mean "
             "`SKEP_QUEUES__EMAIL__CONCURRENCY`?"},
            {"SKEP_QUEUES__EMAIL__NAME=x", "a queue's name is set in a file alone"},
            {"SKEP_QUEUES__EMAIL=x", "there is no such queue"},
            {"SKEP_TRANSPORTS__JS__URL=x", "there is no such transport; there are: rabbit"},
            {"SKEP_LEDGER__URL=mysql://u:hidden@h/d", "mysql://u:***@h/d"},
            {"SKEP_\x1b[31m__X=1", "environment SKEP_?[31m__X: unknown key"},
        };
        open_folder();
        write_file("skep.conf", queues_text);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                const char *environment[] = {cases[i].variable, NULL};
                struct loaded l = load_with(in("skep.conf"), environment, NULL, 0);
                CU_ASSERT_FALSE(has_error(&l, "hidden"));
                expect_error(&l, cases[i].error);
        }
        write_file("skep.conf", "queues = ( { name = \"a-b\"; }, { name = \"a.b\"; } );");
        const char *environment[] = {"SKEP_QUEUES__A_B__PRIORITY=1", NULL};
        struct loaded l = load_with(in("skep.conf"), environment, NULL, 0);
        expect_error(&l, "environment SKEP_QUEUES__A_B__PRIORITY: fits two queues");
        close_folder();
}

static void test_flags(void)
{
        static const struct config_flag good[] = {
            {"--set", NULL, "queues.email.concurrency=3"},
            {"--set", NULL, "queues.e-mail.high.retry.base=5s"},
            {"--set", NULL, "queues.e.types=x,y.>"},
            {"--set", NULL, "transports.rabbit.url=amqp://h=1"},
            {"--socket", "http.socket", "/s"},
        };
        static const struct {
                const char *flag, *error;
        } bad[] = {
            {"handlers.worker=2",
             "flag --set: handlers.worker: unknown key; did you mean `handlers.workers`?"},
            {"handlers.workers", "flag --set: write it as key=value"},
            {"=2", "flag --set: write it as key=value"},
            {"handlers.workers=", "handlers.workers: an empty value is not a whole number"},
            {"queues.email.concurency=2", "did you mean `queues.email.concurrency`?"},
            {"queues.nope.concurrency=2", "queues.nope.concurrency: there is no such queue"},
            {"queues.email.name=x", "a queue's name is set in a file alone"},
            {"ledger.url=postgresql://u:hidden@h/d",
             "flag --set: ledger.url: a password on the command line can be read by every user"},
            {"transports.rabbit.url=amqp://u:hidden@h", "a password on the command line"},
        };
        open_folder();
        write_file("skep.conf", queues_text);
        struct loaded l = load_with(in("skep.conf"), NULL, good, ARRAY_LEN(good));
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.config.queues[0].concurrency, 3);
        CU_ASSERT_EQUAL(l.config.queues[1].retry.base_ms, 5000);
        CU_ASSERT_EQUAL(l.config.queues[2].n_types, 2);
        CU_ASSERT_STRING_EQUAL(l.config.transports[0].url.p, "amqp://h=1");
        CU_ASSERT_STRING_EQUAL(l.config.http_socket.p, "/s");
        unload(&l);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                struct config_flag flag = {"--set", NULL, bad[i].flag};
                l = load_with(in("skep.conf"), NULL, &flag, 1);
                CU_ASSERT_FALSE(has_error(&l, "hidden"));
                expect_error(&l, bad[i].error);
        }
        close_folder();
}

/* --- secrets -----------------------------------------------------------------------------------
 */

static void test_secret_files(void)
{
        char text[1024], flag[600], credentials[600];
        open_folder();
        write_mode("url", "sqlite:/from-file\r\n\n", 20, 0600);
        snprintf(text, sizeof text, "ledger = { url_file = \"%s\"; };", in("url"));
        struct loaded l = load_text(text);
        expect_ok(&l);
        CU_ASSERT_STRING_EQUAL(l.config.ledger_url.p, "sqlite:/from-file");
        CU_ASSERT_EQUAL(l.report.n_warnings, 0);
        unload(&l);

        chmod(in("url"), 0644);
        snprintf(flag, sizeof flag, "ledger.url_file=%s", in("url"));
        struct config_flag set = {"--set", NULL, flag};
        l = load_with("", NULL, &set, 1);
        expect_ok(&l);
        CU_ASSERT_STRING_EQUAL(l.config.ledger_url.p, "sqlite:/from-file");
        CU_ASSERT_EQUAL_FATAL(l.report.n_warnings, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(l.report.warnings[0].p, "is open to every user"));
        unload(&l);

        write_file("cred/transports-rabbit-url", "amqp://u:hidden@h");
        snprintf(credentials, sizeof credentials, "CREDENTIALS_DIRECTORY=%s/cred", folder);
        const char *environment[] = {credentials, NULL};
        write_file("skep.conf", "transports = { rabbit = { }; };");
        l = load_with(in("skep.conf"), environment, NULL, 0);
        expect_ok(&l);
        CU_ASSERT_STRING_EQUAL(l.config.transports[0].url.p, "amqp://u:hidden@h");
        unload(&l);

        write_file("cred/ledger-url", "");
        l = load_with(in("skep.conf"), environment, NULL, 0);
        expect_error(&l, "credential ledger-url: ledger.url: an empty value is not allowed");
        close_folder();
}

static void test_readable_password(void)
{
        static const char text[] = "transports = { r = { url = \"amqp://u:hidden@h\"; }; };";
        open_folder();
        write_mode("skep.conf", text, sizeof text - 1, 0644);
        struct loaded l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_ok(&l);
        CU_ASSERT_EQUAL_FATAL(l.report.n_warnings, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(l.report.warnings[0].p, "holds a password"));
        CU_ASSERT_PTR_NULL(strstr(l.report.warnings[0].p, "hidden"));
        unload(&l);
        chmod(in("skep.conf"), 0640);
        l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_ok(&l);
        CU_ASSERT_EQUAL(l.report.n_warnings, 0);
        unload(&l);
        close_folder();
}

static void test_odd_retry(void)
{
        open_folder();
        struct loaded l =
            load_text("\nqueues = ( { name = \"a\"; retry = { base = \"1h\"; }; } );");
        expect_ok(&l);
        CU_ASSERT_EQUAL_FATAL(l.report.n_warnings, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(l.report.warnings[0].p, ":2: queue a: retry.base is above"));
        unload(&l);
        close_folder();
}

/* Types and schedules merge by name as queues do, and flags and environment reach them. */
static void test_types_and_schedules(void)
{
        static const struct config_flag flags[] = {
            {"--set", NULL, "schedules.nightly.priority=2"},
            {"--set", NULL, "types.email.>.timeout=7s"},
        };
        static const char *environment[] = {"SKEP_SCHEDULES__NIGHTLY__CATCH_UP=all",
                                            "SKEP_TYPES__EMAIL_SEND__RETRY=fixed base=3s", NULL};
        open_folder();
        write_file(
            "skep.conf",
            "types = ( { pattern = \"email.>\"; retry = \"linear\"; heartbeat = \"9s\"; },\n"
            "          { pattern = \"email.send\"; } );\n"
            "retention = { dead = \"30d\"; };\n"
            "queues = ( { name = \"default\"; retention = { dead = \"forever\"; };\n"
            "   retry = { backoff = \"table\"; table = [ \"1s\", \"5s\" ]; for = \"1h\"; };\n"
            "   global = 3; max_waiting = 10; when_full = \"drop_oldest\"; heartbeat = \"8s\"; } "
            ");\n"
            "schedules = ( { name = \"nightly\"; cron = \"@daily\"; type = \"report\"; },\n"
            "   { name = \"b\"; cron = \"@hourly\"; type = \"b\"; priority = \"queue\"; } );\n");
        write_file("conf.d/a.conf",
                   "schedules = ( { name = \"nightly\"; cron = \"0 3 * * *\"; } );\n"
                   "types = ( { pattern = \"email.>\"; heartbeat = \"5s\"; } );");
        struct loaded l = load_with(in("skep.conf"), environment, flags, ARRAY_LEN(flags));
        expect_ok(&l);
        const struct config *c = &l.config;
        CU_ASSERT_EQUAL_FATAL(c->n_schedules, 2);
        CU_ASSERT_STRING_EQUAL(c->schedules[0].cron.p, "0 3 * * *");
        CU_ASSERT_STRING_EQUAL(c->schedules[0].type.p, "report");
        CU_ASSERT_EQUAL(c->schedules[0].catch_up, CATCH_ALL);
        CU_ASSERT_EQUAL(c->schedules[0].priority, 2);
        CU_ASSERT_EQUAL(c->schedules[1].priority, UINT32_MAX);
        CU_ASSERT_EQUAL_FATAL(c->n_types, 2);
        CU_ASSERT_STRING_EQUAL(c->types[0].retry.p, "linear");
        CU_ASSERT_EQUAL(c->types[0].heartbeat_ms, 5000);
        CU_ASSERT_EQUAL(c->types[0].timeout_ms, 7000);
        CU_ASSERT_STRING_EQUAL(c->types[1].retry.p, "fixed base=3s");
        CU_ASSERT_EQUAL(c->retention.dead_ms, 30 * INT64_C(86400000));
        const struct queue_config *q = &c->queues[0];
        CU_ASSERT_EQUAL(q->retention.dead_ms, CONFIG_WORD);
        CU_ASSERT_EQUAL(q->retry.backoff, BACKOFF_TABLE);
        CU_ASSERT_EQUAL(q->retry.n_table, 2);
        CU_ASSERT_EQUAL(q->retry.table_ms[1], 5000);
        CU_ASSERT_EQUAL(q->retry.for_ms, 3600000);
        CU_ASSERT_EQUAL(q->global, 3);
        CU_ASSERT_EQUAL(q->max_waiting, 10);
        CU_ASSERT_EQUAL(q->when_full, FULL_DROP_OLDEST);
        CU_ASSERT_EQUAL(q->heartbeat_ms, 8000);
        unload(&l);
        close_folder();
}

UNIT_TESTS = {
    {"each layer wins over those before it", test_precedence},
    {"the ledger follows the state directory", test_ledger_follows_state_dir},
    {"a user's own places", test_user_places},
    {"conf.d merges in the order of names", test_dropins},
    {"the default queue", test_default_queue},
    {"environment", test_environment},
    {"mistakes in the environment", test_environment_mistakes},
    {"flags", test_flags},
    {"secrets from files and credentials", test_secret_files},
    {"a password in a readable file is told", test_readable_password},
    {"a base above the cap is told", test_odd_retry},
    {"types and schedules merge by name", test_types_and_schedules},
};
UNIT_MAIN("config-load")
