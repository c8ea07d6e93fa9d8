/*
 * What people and machines do wrong: each class of mistake is called by its name at its line, files
 * that cannot be read are told apart, and no sequence of bytes does more than be refused.
 */
#include "tests/unit/config-folder.h"

/* --- one file: every class of mistake ----------------------------------------------------------
 */

static const struct {
        const char *text, *error; /* the error begins behind the file's path */
} mistakes[] = {
    {"\nhandlers = { wrokers = 2; };",
     ":2: handlers.wrokers: unknown key; did you mean `handlers.workers`?"},
    {"workers = 2;", ":1: workers: unknown key; did you mean `handlers.workers`?"},
    {"handler = { workers = 2; };", ":1: handler: unknown section; did you mean `handlers`?"},
    {"queue = ();", ":1: queue: unknown section; did you mean `queues`?"},
    {"zebra = 1;", ":1: zebra: unknown key"},
    {"handlers = 3;", ":1: handlers: is a section: handlers = { ... };"},
    {"http = { socket = { a = 1; }; };",
     ":1: http.socket: takes a text in quotes, not a section { }"},
    {"\n\nhandlers = {\n workers = 300;\n};", ":4: handlers.workers: 300 is not allowed; 1 to 256"},
    {"handlers = { workers = -1; };", ":1: handlers.workers: -1 is not allowed; 1 to 256"},
    {"handlers = { workers = \"2\"; };",
     ":1: handlers.workers: takes a whole number without quotes, not a text"},
    {"handlers = { workers = true; };", ":1: handlers.workers: takes a whole number"},
    {"handlers = { workers = 2.0; };", "not a decimal number"},
    {"handlers = { workers = [ 2 ]; };", "not a list"},
    {"handlers = { workers = 4294967298; };",
     ":1: a whole number beyond 32 bits needs an L behind it"},
    {"# c\nhandlers = { workers = 0x1ffffffff; };", ":2: a whole number beyond 32 bits"},
    {"handlers = { workers = 99999999999999999999999999999999999; };",
     ":1: a whole number beyond 32 bits"},
    {"handlers = { workers = 4294967298L; };", ":1: handlers.workers: 4294967298 is not all"},
    {"handlers = { dir = 5; };", ":1: handlers.dir: takes a text in quotes"},
    {"handlers = { dir = \"\"; };", ":1: handlers.dir: an empty value is not allowed"},
    {"node = { beat = 5; };", ":1: node.beat: 5 is not a duration"},
    {"node = { beat = \"5\"; };", ":1: node.beat: 5 is not a duration"},
    {"node = { lease = \"2s\"; };", ":1: node.lease: 2s is not allowed with node.beat = 1s"},
    {"node = {\n beat = \"6s\"; };", ":2: node.lease: 15s is not allowed with node.beat = 6s"},
    {"jobs = { payload_max = \"1T\"; };", ":1: jobs.payload_max: 1T is not a size"},
    {"log = { level = \"loud\"; };",
     ":1: log.level: loud is not allowed; one of debug, info, warn, error"},
    {"handlers = { workers = 2;\n workers = 3; };", ":2: duplicate setting name"},
    {"handlers = {\n workers = ; };", ":2: syntax error"},
    {"handlers = {\n workers = 2;\n", ":3: syntax error"},
    {"\na = \"text;\nb = 1;\n", ":2: a text in quotes begins here and has no end"},
    {"a = \"\\\";", ":1: a text in quotes begins here"},
    {"\n/* a = 1;\n", ":2: a comment begins here and has no end"},
    {"a = [ 1, \"x\" ];", ":1: mismatched element type in array"},
    {"\n@include \"/tmp\"\n", ":2: @include is not supported; put the file into conf.d"},
    {"log = { level = \"a\\x00b\"; };", ":1: \\x00 is not allowed in a text"},
    {"queues = { };", ":1: queues: takes a list of sections, ( { name = \"email\"; } )"},
    {"queues = ( 5 );", ":1: queues: entry 1 is a whole number"},
    {"queues = (\n{ name = \"a\"; },\n{ concurrency = 2; } );", ":3: queues: entry 2 needs a name"},
    {"queues = ( { name = 5; } );", ":1: queues: entry 1 needs a name"},
    {"queues = ( { name = \"\"; } );", ":1: queues: name: an empty value is not allowed"},
    {"queues = ( { name = \"a b\"; } );", ":1: queues: the name a b is not allowed"},
    {"queues = (\n{ name = \"a\"; },\n{ name = \"a\"; } );",
     ":3: queues: a is there twice, see line 2"},
    {"queues = ( { name = \"a\";\n concurency = 2; } );",
     ":2: queue a: concurency: unknown key; did you mean `concurrency`?"},
    {"queues = ( { name = \"a\"; max_attempts = 2; } );",
     "queue a: max_attempts: unknown key; did you mean `retry.max_attempts`?"},
    {"queues = ( { name = \"a\"; retry = { base = \"1 s\"; }; } );",
     ":1: queue a: retry.base: 1 s is not a duration"},
    {"queues = ( { name = \"a\"; retry = { jitter = 1.5; }; } );",
     ":1: queue a: retry.jitter: 1.5 is not allowed; 0 to 1"},
    {"queues = ( { name = \"a\"; retyr = { base = \"1s\"; }; } );",
     ":1: queue a: retyr: unknown section; did you mean `retry`?"},
    {"queues = ( { name = \"a\"; types = \"x\"; } );",
     ":1: queue a: types: takes a list of texts, [ \"a\", \"b\" ], not a text"},
    {"queues = ( { name = \"a\"; types = [ 1 ]; } );",
     ":1: queue a: types: entry 1 is not a single text"},
    {"queues = ( { name = \"a\"; types = [ \"x\",\n\"y,z\" ]; } );",
     ":2: queue a: types: entry 2 is not a single text"},
    {"queues = ( { name = \"a\"; types = [ \"x..y\" ]; } );",
     ":1: queue a: types: x..y is not a pattern"},
    {"queues = ( { name = \"a\"; types = [ \"x.>\" ]; },\n"
     "{ name = \"b\"; types = [ \"x.>\" ]; } );",
     ":2: queues a and b: the patterns x.> and x.> match the same types equally well"},
    {"queues = ( { name = \"a\"; types = [ \"x.*\" ]; },\n"
     "{ name = \"b\"; types = [ \"*.x\" ]; } );",
     ":2: queues a and b: the patterns x.* and *.x match"},
    {"queues = ( { name = \"a\"; transport = \"rabbit\"; } );",
     ":1: queue a: there is no transport rabbit; define it under transports"},
    {"transports = { r = { url = \"kafka://h\"; }; };\n"
     "queues = ( { name = \"a\"; transport = \"r\"; } );",
     ":2: queue a: transport: r is kafka:, which this build cannot speak (it has amqp:, amqps:, "
     "nats:, tls:)"},
    {"transports = { r = { url = \"amqp://h\";\n stream = \"X\"; }; };",
     ":2: transport r: stream is a key of NATS (nats:, tls:), and the url's scheme is amqp:"},
    {"transports = { r = { url = \"amqps://h\";\n create = \"yes\"; }; };",
     ":2: transport r: create is a key of NATS (nats:, tls:), and the url's scheme is amqps:"},
    {"transports = { r = { url = \"tls://h\";\n exchange = \"jobs\"; }; };",
     ":2: transport r: exchange is a key of RabbitMQ (amqp:, amqps:), and the url's scheme is "
     "tls:; leave it out"},
    {"transports = { r = { url = \"nats://h\"; replicas = 9; }; };",
     ":1: transport r: replicas: 9 is not allowed; 1 to 5"},
    {"transports = { n = { url = \"nats://h\"; }; };\n"
     "queues = ( { name = \"a\"; transport = \"n\"; types = [ \"x.>\" ]; },\n"
     "{ name = \"b\"; transport = \"n\"; types = [ \"y\", \"x.*\" ]; } );",
     ":3: queues a and b: the patterns x.> and x.* overlap, and on NATS"},
    {"transports = { n = { url = \"tls://h\"; }; };\n"
     "queues = ( { name = \"a\"; transport = \"n\";\n types = [ \"x.*\", \"x.y\" ]; } );",
     ":3: queues a and a: the patterns x.* and x.y overlap"},
    {"transports = { n = { url = \"nats://h\"; }; };\n"
     "queues = ( { name = \"a\"; transport = \"n\"; types = [ \"b\" ]; },\n"
     "{ name = \"b\"; transport = \"n\"; } );",
     ":3: queues a and b: the patterns b and b overlap, and on NATS a message goes to one "
     "consumer: make them disjoint (a queue without types consumes its name)"},
    {"transports = { r = { }; };", ":1: transport r: it has no url"},
    {"transports = { r = 5; };", ":1: transports: r: takes a section"},
    {"transports = ( );", ":1: transports: takes a section of sections"},
    {"transports = { r = { url = \"x:\"; ulr = 1; }; };",
     ":1: transport r: ulr: unknown key; did you mean `url`?"},
    {"ledger = { url = \"mysql://u:hidden@h/d\"; };",
     ":1: ledger.url: mysql://u:***@h/d: this build has no such ledger; it has "
     "postgresql:, postgres:, sqlite:"},
    {"ledger = { url = \"/var/skep.db\"; };", ":1: ledger.url: /var/skep.db: this build has"},
    {"ledger = { url = \"sqlite:\"; };", ":1: ledger.url: sqlite: names no file"},
    {"ledger = { url_file = \"/nonexistent/x\"; };",
     ":1: ledger.url_file: /nonexistent/x does not exist"},
    {"ledger = { url = \"sqlite:/x\";\n url_file = \"/x\"; };",
     ":2: ledger.url: is given twice, see line 1"},
    {"http = { listen = \"127.0.0.1:1\"; };", ":1: http.listen: HTTP over TCP needs"},
    {"http = { listen = \"8290\"; };", ":1: http.listen: 8290 is not an address and port"},
    {"queues = ( { name = \"a\"; retention = { dead = \"never\"; }; } );",
     ":1: queue a: retention.dead: never is not a duration"},
    {"retention = { completed = \"0\"; };",
     ":1: retention.completed: 0 is not allowed; 1s to 3650d, or forever"},
    {"queues = ( { name = \"a\"; retry = {\n table = \"1s\"; }; } );",
     ":2: queue a: retry.table: takes a list of durations, [ \"1s\", \"10s\" ], not a text"},
    {"queues = ( { name = \"a\"; retry = {\n table = [ \"1\" ]; }; } );",
     ":2: queue a: retry.table: 1 is not a duration"},
    {"queues = ( { name = \"a\"; max_wating = 5; } );",
     ":1: queue a: max_wating: unknown key; did you mean `max_waiting`?"},
    {"schedule = ( );", ":1: schedule: unknown section; did you mean `schedules`?"},
    {"schedules = { };", ":1: schedules: takes a list of sections, ( { name = \"email\"; } )"},
    {"schedules = ( { cron = \"* * * * *\"; } );", ":1: schedules: entry 1 needs a name = "},
    {"schedules = ( { name = \"a\"; type = \"t\";\n cron = \"* * * * 8\"; } );",
     ":2: schedule a: cron: day of week, position 9: 8 is not allowed; 0 to 7"},
    {"schedules = (\n{ name = \"a\"; type = \"t\"; } );", ":2: schedule a: it has no cron"},
    {"schedules = ( { name = \"a\"; type = \"t\"; cron = \"@daily\";\n zone = \"Europe/Brelin\"; } "
     ");",
     ":2: schedule a: zone: /usr/share/zoneinfo/Europe/Brelin cannot be read: No such file"},
    {"schedules = ( { name = \"a\"; type = \"t\"; cron = \"@daily\";\n overlap = \"queue\"; } );",
     ":2: schedule a: overlap: queue is not allowed; one of allow, skip, buffer, cancel"},
    {"schedules = ( { name = \"a\"; type = \"t\"; cron = \"@daily\";\n catchup = \"all\"; } );",
     ":2: schedule a: catchup: unknown key; did you mean `catch_up`?"},
    {"schedules = ( { name = \"a\"; type = \"t\"; cron = \"@daily\";\n priority = \"first\"; } );",
     ":2: schedule a: priority: takes a whole number without quotes, not a text"},
    {"schedules = ( { name = \"a\"; type = \"t\"; cron = \"@daily\"; },\n{ name = \"a\"; } );",
     ":2: schedules: a is there twice, see line 1"},
    {"types = ( { pattern = \"a\";\n retry = \"sometimes\"; } );", ":2: type a: retry: "},
    {"types = ( { pattern = \"a\";\n timout = \"1s\"; } );",
     ":2: type a: timout: unknown key; did you mean `timeout`?"},
    {"types = ( { retry = \"fixed\"; } );", ":1: types: entry 1 needs a pattern = "},
    {"types = ( { pattern = \"a.>\"; },\n{ pattern = \"a.>\"; } );",
     ":2: types: a.> is there twice, see line 1"},
    {"types = ( { pattern = \"a.*\"; },\n{ pattern = \"*.a\"; } );",
     ":2: types: the patterns a.* and *.a match the same types equally well"},
    {"handlers = { options = { }; };", ":1: handlers.options: takes a list of sections"},
    {"handlers = { options = ( 1 ); };", ":1: handlers.options: an entry takes the form"},
    {"handlers = { options = (\n{ type = \"w\"; url = \"x\"; } ); };",
     ":2: handlers.options: an entry takes the form"},
    {"handlers = { options = ( { type = \"w\"; set = { a = [ 1 ]; }; } ); };",
     ":1: handlers.options: a: takes a text, a number, true or false, not a list"},
    {"handlers = { options = ( { type = \"w\"; set = { a = 1; }; },\n"
     "{ type = \"w\"; set = { a = 2; }; } ); };",
     ":2: handlers.options: a of w is given twice, see line 1"},
    {"handlers = { options = ( { type = \"a b\"; set = { a = 1; }; } ); };",
     ":1: handlers.options: type: a b is not a handler's type"},
};

static void test_mistakes(void)
{
        open_folder();
        for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
                char want[1024];
                bool placed = mistakes[i].error[0] == ':';
                snprintf(want, sizeof want, "%s%s", placed ? in("skep.conf") : "",
                         mistakes[i].error);
                struct loaded l = load_text(mistakes[i].text);
                CU_ASSERT_EQUAL(l.report.n_errors, 1);
                expect_error(&l, want);
        }
        close_folder();
}

static void test_all_mistakes(void)
{
        char text[4096] = "handlers = { workers = 0; wrokers = 1; dir = 5; };\n"
                          "queues = ( { name = \"a\"; concurrency = 999;\n priority = 10; } );\n";
        open_folder();
        struct loaded l = load_text(text);
        CU_ASSERT_EQUAL(l.report.n_errors, 5);
        CU_ASSERT_TRUE(has_error(&l, "skep.conf:2: queue a: concurrency: 999"));
        CU_ASSERT_TRUE(has_error(&l, "skep.conf:3: queue a: priority: 10"));
        expect_error(&l, "skep.conf:1: handlers.dir");

        for (int i = 0; i < 60; i++) {
                snprintf(text + strlen(text), sizeof text - strlen(text), "x%d = 1;\n", i);
        }
        l = load_text(text);
        CU_ASSERT_EQUAL(l.report.n_errors, 65);
        expect_error(&l, "skep.conf:");
        close_folder();
}

static void test_untouched_when_refused(void)
{
        struct config c = {.workers = 77};
        struct config_report report;
        open_folder();
        write_file("skep.conf", "handlers = { workers = 0; };");
        struct config_sources s = {.file = in("skep.conf")};
        CU_ASSERT_EQUAL(config_load(&s, &c, &report), CONFIG_LOAD_REFUSED);
        CU_ASSERT_EQUAL(c.workers, 77);
        CU_ASSERT_PTR_NULL(c.queues);
        config_report_deinit(&report);
        close_folder();
}

/* --- files that cannot be read -----------------------------------------------------------------
 */

static void test_unreadable(void)
{
        char *large = malloc(300 << 10);
        open_folder();
        struct loaded l = load_with(in("none.conf"), NULL, NULL, 0);
        expect_error(&l, "none.conf: does not exist");
        l = load_with(folder, NULL, NULL, 0);
        expect_error(&l, "is a directory, not a file");
        CU_ASSERT_EQUAL(mkfifo(in("fifo"), 0600), 0);
        l = load_with(in("fifo"), NULL, NULL, 0);
        expect_error(&l, "fifo: is a pipe or socket, not a file");
        memset(large, '#', 300 << 10);
        write_mode("large.conf", large, 300 << 10, 0600);
        l = load_with(in("large.conf"), NULL, NULL, 0);
        expect_error(&l, "large.conf: is larger than 256 KiB");
        write_mode("nul.conf", "a\n\0b", 4, 0600);
        l = load_with(in("nul.conf"), NULL, NULL, 0);
        expect_error(&l, "nul.conf:2: a NUL byte; this is not a text file");
        write_file("skep.conf", "");
        l = load_with(in("skep.conf/x"), NULL, NULL, 0);
        expect_error(&l, "skep.conf/x: cannot be read: Not a directory");
        if (geteuid() != 0) { /* root reads everything */
                write_mode("shut.conf", "", 0, 0);
                l = load_with(in("shut.conf"), NULL, NULL, 0);
                expect_error(&l, "shut.conf: cannot be read: Permission denied");
        }
        l = load_with("/dev/null", NULL, NULL, 0);
        expect_ok(&l);
        unload(&l);
        free(large);
        close_folder();
}

/* --- nonsense ----------------------------------------------------------------------------------
 */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t random_below(uint32_t n)
{
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return (uint32_t)(random_state >> 32) % n;
}

static const char sample[] =
    "ledger = { url = \"sqlite:/x\"; };\nhandlers = { dir = \"/d\"; workers = 2;\n"
    "options = ( { type = \"w.*\"; set = { a = 1; b = 2.5; c = true; }; } ); };\n"
    "transports = { r = { url = \"amqp://u:p@h\"; }; };\n/* c */ # d\n// e\n"
    "queues = ( { name = \"a\"; types = [ \"a.>\", \"b\" ]; timeout = \"5m\";\n"
    "  retry = { max_attempts = 5; backoff = \"fixed\"; base = \"1s\"; jitter = 0.25; }; } );\n"
    "http = { listen = \"\"; }; jobs = { payload_max = 4096; };\n";

/* Pieces that bring the parser to unusual places. */
static const char *const pieces[] = {
    "{",  "}",     "(",    ")",    "[",    "]",      ";",        "\"", "\\x00",
    "\n", "@",     "/*",   "*/",   "=",    "queues", "0x1fffff", "-1", "1e400",
    ".5", "types", "name", "{{{{", "((((", "\xff",   "\\",       ":",  "99999999999L"};

static void load_bytes(const char *text, size_t n)
{
        write_mode("skep.conf", text, n, 0600);
        struct loaded l = load_with(in("skep.conf"), NULL, NULL, 0);
        CU_ASSERT_TRUE(l.r == 0 || l.r == CONFIG_LOAD_REFUSED);
        CU_ASSERT_EQUAL(l.r == 0, l.report.n_errors == 0);
        unload(&l);
}

static void test_random_bytes(void)
{
        char text[1024];
        open_folder();
        for (int round = 0; round < 1500; round++) {
                size_t n = random_below(sizeof text);
                for (size_t i = 0; i < n; i++) {
                        text[i] = (char)random_below(round % 2 ? 256 : 128);
                }
                load_bytes(text, n);
        }
        close_folder();
}

static void test_spoiled_files(void)
{
        char text[4096];
        open_folder();
        for (int round = 0; round < 3000; round++) {
                size_t n = sizeof sample - 1;
                memcpy(text, sample, n);
                for (uint32_t k = 1 + random_below(3); k > 0; k--) {
                        const char *piece = pieces[random_below(ARRAY_LEN(pieces))];
                        size_t at = random_below((uint32_t)n), length = strlen(piece);
                        size_t cut = random_below(8);
                        cut = cut < n - at ? cut : n - at;
                        memmove(text + at + length, text + at + cut, n - at - cut);
                        for (size_t i = 0; i < length; i++) {
                                text[at + i] = piece[i];
                        }
                        n = n - cut + length;
                }
                load_bytes(text, n);
        }
        for (size_t n = 0; n < sizeof sample; n++) {
                load_bytes(sample, n);
        }
        close_folder();
}

static void test_deep_nesting(void)
{
        static char text[60000];
        open_folder();
        text[0] = 'a';
        text[1] = '=';
        memset(text + 2, '(', sizeof text - 2);
        load_bytes(text, sizeof text);
        memset(text + 2, '(', 2000);
        memset(text + 2002, ')', 2000);
        write_mode("skep.conf", text, 4002, 0600);
        struct loaded l = load_with(in("skep.conf"), NULL, NULL, 0);
        expect_error(&l, "skep.conf:1: sections are nested too deeply");
        close_folder();
}

UNIT_TESTS = {
    {"every class of mistake has its line", test_mistakes},
    {"all mistakes of a file are told", test_all_mistakes},
    {"a refused load leaves the old configuration", test_untouched_when_refused},
    {"files that cannot be read", test_unreadable},
    {"random bytes", test_random_bytes},
    {"spoiled files", test_spoiled_files},
    {"deep nesting", test_deep_nesting},
};
UNIT_MAIN("config-mistakes")
