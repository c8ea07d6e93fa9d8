/*
 * The pages that come from the table of keys: docs/configuration.md and etc/skep.conf are what the
 * table prints, the example loads as it is and with every key uncommented, and what is printed can
 * be loaded again. With SKEP_WRITE_PAGES=1 the pages are written first.
 */
#include "daemon/config_load.h"
#include "daemon/config_print.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

struct text {
        char *p;
        size_t n;
};

static void free_text(struct text *t)
{
        free(t->p);
}

static struct text print(int (*page)(FILE *out))
{
        struct text t = {0};
        FILE *out = open_memstream(&t.p, &t.n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        CU_ASSERT_EQUAL(page(out), 0);
        fclose(out);
        return t;
}

static struct text print_config(const struct config *c, bool origin)
{
        struct text t = {0};
        FILE *out = open_memstream(&t.p, &t.n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        CU_ASSERT_EQUAL(config_print(out, c, origin), 0);
        fclose(out);
        return t;
}

/* A committed page, good until the next call; empty when it is not there. */
static char *read_page(const char *path)
{
        static char page[64 << 10];
        size_t n = 0;
        FILE *in = fopen(path, "r");
        if (in) {
                n = fread(page, 1, sizeof page - 1, in);
                fclose(in);
        }
        page[n] = 0;
        return page;
}

static void compare_page(const char *path, int (*page)(FILE *out))
{
        struct text now CLEANUP(free_text) = print(page);
        if (getenv("SKEP_WRITE_PAGES")) {
                FILE *out = fopen(path, "w");
                CU_ASSERT_PTR_NOT_NULL_FATAL(out);
                fwrite(now.p, 1, now.n, out);
                fclose(out);
        }
        if (strcmp(now.p, read_page(path)) != 0) {
                printf("\n  %s differs from the table of keys; run this test with "
                       "SKEP_WRITE_PAGES=1 and commit it",
                       path);
                CU_FAIL("a page");
        }
}

static void test_pages(void)
{
        compare_page(SOURCE_ROOT "/docs/configuration.md", config_print_reference);
        compare_page(SOURCE_ROOT "/etc/skep.conf", config_print_example);
}

/* Loads text as a file; its own temporary file is gone afterwards. */
static int load(const char *text, struct config *ret, struct config_report *ret_report)
{
        char path[256];
        const char *tmp = getenv("TMPDIR");
        snprintf(path, sizeof path, "%.200s/skep-print-XXXXXX", tmp ? tmp : "/tmp");
        int fd = mkstemp(path);
        CU_ASSERT_TRUE_FATAL(fd >= 0);
        CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
        struct config_sources s = {.file = path, .root = true};
        int r = config_load(&s, ret, ret_report);
        for (uint32_t i = 0; i < config_lines(ret_report->n_errors); i++) {
                printf("\n  %s", ret_report->errors[i].p);
        }
        unlink(path);
        return r;
}

/* Does text load to exactly the defaults? */
static void expect_defaults(const char *text)
{
        struct config c, defaults;
        struct config_report report;
        CU_ASSERT_EQUAL_FATAL(load(text, &c, &report), 0);
        config_report_deinit(&report);
        CU_ASSERT_EQUAL_FATAL(config_init(&defaults), 0);
        struct text a CLEANUP(free_text) = print_config(&c, false);
        struct text b CLEANUP(free_text) = print_config(&defaults, false);
        CU_ASSERT_STRING_EQUAL(a.p, b.p);
        config_deinit(&c);
        config_deinit(&defaults);
}

/* Takes the # away where no blank follows it; returns from how many lines. */
static int uncomment(char *text)
{
        int n = 0;
        for (char *line = text; line && *line; line = strchr(line, '\n')) {
                line += strspn(line, "\n");
                char *hash = line + strspn(line, " ");
                if (hash[0] == '#' && hash[1] != ' ' && hash[1] != '\n') {
                        *hash = ' ';
                        n++;
                }
        }
        return n;
}

static void test_example(void)
{
        char *example = read_page(SOURCE_ROOT "/etc/skep.conf");
        int keys = -1; /* the queue's name is no comment */
        for (const struct config_key *k = config_keys; k->name; k++) {
                keys++;
        }
        for (const struct config_key *k = config_queue_keys; k->name; k++) {
                keys++;
        }
        expect_defaults(example);
        CU_ASSERT_EQUAL(uncomment(example), keys);
        expect_defaults(example);
}

static const char full[] =
    "ledger = { url = \"sqlite:/a\\\"b\\\\c\"; };\n"
    "handlers = { workers = 7; options = ( { type = \"w\"; set = { a = 1; url = "
    "\"http://u:hidden@h\";"
    " api_key = \"hidden\"; }; },\n { type = \"v\"; set = { b = \"x\"; }; } ); };\n"
    "transports = { r = { url = \"amqp://h\"; }; s = { url = \"amqp://u:hidden@h\"; };\n"
    "n = { url = \"tls://u:hidden@h\"; stream = \"WORK\"; create = \"no\"; }; };\n"
    "queues = ( { name = \"a\"; types = [ \"a.>\", \"b\" ]; timeout = \"90s\";\n"
    "             retry = { backoff = \"linear\"; jitter = 0.125; };\n"
    "             retention = { dead = \"forever\"; }; }, { name = \"b\";\n"
    "             retry = { backoff = \"table\"; table = [ \"1s\", \"2m\" ]; }; } );\n"
    "types = ( { pattern = \"a.>\"; retry = \"fixed\"; } );\n"
    "schedules = ( { name = \"n\"; cron = \"0 4 * * *\"; type = \"a.n\"; queue = \"a\";\n"
    "                payload = \"{\\\"x\\\":1}\"; } );\n";

static void test_print_again(void)
{
        struct config c, again;
        struct config_report report;
        CU_ASSERT_EQUAL_FATAL(load(full, &c, &report), 0);
        config_report_deinit(&report);
        struct text first CLEANUP(free_text) = print_config(&c, true);
        struct text plain CLEANUP(free_text) = print_config(&c, false);
        CU_ASSERT_PTR_NULL(strstr(first.p, "hidden"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "url = \"amqp://u:***@h\";"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "{ api_key = \"***\"; }"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "\"sqlite:/a\\\"b\\\\c\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "jitter = 0.125; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "types = [\"a.>\", \"b\"]; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "create = \"no\"; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "table = [\"1s\", \"2m\"]; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "dead = \"forever\"; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "priority = \"queue\"; # default"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "payload = \"{\\\"x\\\":1}\"; # /"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, ":5\n"));
        CU_ASSERT_PTR_NOT_NULL(strstr(first.p, "concurrency = 0; # default\n"));
        CU_ASSERT_EQUAL_FATAL(load(first.p, &again, &report), 0);
        config_report_deinit(&report);
        struct text second CLEANUP(free_text) = print_config(&again, false);
        CU_ASSERT_STRING_EQUAL(plain.p, second.p);
        config_deinit(&c);
        config_deinit(&again);
}

UNIT_TESTS = {
    {"the committed pages are the table's", test_pages},
    {"the example loads, as it is and uncommented", test_example},
    {"what is printed loads again", test_print_again},
};
UNIT_MAIN("config-print")
