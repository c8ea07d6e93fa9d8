/*
 * `skep doctor` as a process: what skepd says and what is seen here stand side by side, with and
 * without a skepd. The configuration is told by a script in skepd's place.
 */
#include "tests/unit/test-cli-fake.h"
#include "tests/unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a place for it --------------------------------------------------------------------------- */

struct place {
        char root[64], handlers[80], state[80];
};

static void write_program(const struct place *p, const char *name, const char *text)
{
        char path[128];
        snprintf(path, sizeof path, "%s/%s", p->root, name);
        FILE *f = fopen(path, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        fprintf(f, "#!/bin/sh\n%s", text);
        fclose(f);
        CU_ASSERT_EQUAL_FATAL(chmod(path, 0755), 0);
}

static void write_script(const struct place *p, const char *text)
{
        write_program(p, "skepd", text);
}

static void place_init(struct place *p)
{
        snprintf(p->root, sizeof p->root, "/tmp/skep-doctor-XXXXXX");
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->root));
        snprintf(p->handlers, sizeof p->handlers, "%s/handlers", p->root);
        snprintf(p->state, sizeof p->state, "%s/state", p->root);
        mkdir(p->handlers, 0755);
        mkdir(p->state, 0700);
        char text[1024];
        snprintf(text, sizeof text,
                 "if [ \"$1\" = --check-transports ]; then\n"
                 "printf 'noise\\njs\\twarn\\tNATS 1\\tread\\nx\\tbad\\ty\\tz\\n'; exit; fi\n"
                 "cat <<'END'\n"
                 "node = {\n        state_dir = \"%s\"; # default\n};\n"
                 "other = {\n        dir = \"/nowhere\"; # default\n};\n"
                 "handlers = {\n        dir = \"%s\"; # x.conf:3\n        workers = 2;\n};\nEND\n",
                 p->state, p->handlers);
        write_script(p, text);
        setenv("SKEP_LIBEXEC", p->root, 1);
}

static void place_deinit(struct place *p)
{
        char path[128];
        snprintf(path, sizeof path, "%s/skepd", p->root);
        unlink(path);
        snprintf(path, sizeof path, "%s/skep-scratch", p->root);
        unlink(path);
        rmdir(p->handlers);
        rmdir(p->state);
        CU_ASSERT_EQUAL(rmdir(p->root), 0);
}

/* The row of that check, borrowed from `root`; NULL: there is none. */
static const json_t *row_of(const json_t *root, const char *name)
{
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(root, "checks"), i, row)
        {
                if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
                        return row;
                }
        }
        return NULL;
}

static void check_row(const json_t *root, const char *name, const char *status, const char *detail)
{
        const json_t *row = row_of(root, name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(row, "status")), status);
        CHECK_SAYS(json_string_value(json_object_get(row, "detail")), detail);
}

static json_t *diagnose(const struct fake *f, int code)
{
        struct ran r = SKEP(f, NULL, "doctor", "-o", "json");
        CHECK_RAN(&r, code, NULL);
        json_t *root = json_loads(r.out, 0, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(root);
        ran_deinit(&r);
        return root;
}

/* --- cases ------------------------------------------------------------------------------------ */

static void answer_sick(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        buf_text(&reply->body,
                 "{\"checks\":[{\"name\":\"ledger\",\"status\":\"ok\",\"detail\":\"fine\"},"
                 "{\"name\":\"transport\",\"status\":\"fail\",\"detail\":\"gone\\u001b\","
                 "\"advice\":\"start it\"},{\"name\":7},{}]}");
}

static void test_asks_skepd_and_looks_itself(void)
{
        struct place p;
        struct fake f;
        place_init(&p);
        fake_start(&f, answer_sick);
        json_t *root = diagnose(&f, 1);
        CU_ASSERT_STRING_EQUAL(f.kept[0].path, "/v1/doctor");
        check_row(root, "skepd", "ok", "answers at unix:");
        check_row(root, "ledger", "ok", "fine");
        check_row(root, "transport", "fail", "gone");
        check_row(root, "configuration", "ok", "");
        check_row(root, "handlers", "ok", p.handlers);
        check_row(root, "broker js", "warn", "NATS 1");
        CU_ASSERT_PTR_NULL(row_of(root, "broker x"));
        CU_ASSERT_PTR_NOT_NULL(row_of(root, "clock"));
        CU_ASSERT_PTR_NOT_NULL(row_of(root, "open files"));
        CU_ASSERT_PTR_NOT_NULL(row_of(root, "disk"));
        check_row(root, "state",
                  json_string_value(json_object_get(row_of(root, "state"), "status")), p.state);
        json_decref(root);
        struct ran r = SKEP(&f, NULL, "doctor");
        CHECK_RAN(&r, 1, NULL);
        CHECK_SAYS(r.out, "fail\ttransport\tgone\\u001b\tstart it\n");
        ran_deinit(&r);
        r = SKEP(&f, NULL, "doctor", "-o", "table");
        CHECK_RAN(&r, 1, NULL);
        CHECK_SAYS(r.out, "fail: transport: gone\\u001b\n  -> start it\n");
        ran_deinit(&r);
        fake_stop(&f);
        place_deinit(&p);
}

static void answer_old(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        (void)f;
        (void)rq;
        fake_problem(reply, 404, "\"detail\":\"there is no such path\"");
}

static void test_sees_what_others_may_write(void)
{
        struct place p;
        struct fake f;
        place_init(&p);
        fake_start(&f, answer_old);
        CU_ASSERT_EQUAL_FATAL(chmod(p.handlers, 0777), 0);
        json_t *root = diagnose(&f, 1);
        check_row(root, "skepd", "warn", "older than this program");
        check_row(root, "handlers", "fail", "can be written by others (mode 0777)");
        json_decref(root);
        fake_stop(&f);
        place_deinit(&p);
}

static void test_looks_alone(void)
{
        struct place p;
        struct fake f;
        place_init(&p);
        fake_start(&f, answer_old);
        fake_stop(&f);
        write_script(&p, "echo 'skepd: x.conf:2: unknown key' >&2; exit 78\n");
        json_t *root = diagnose(&f, 1);
        check_row(root, "skepd", "fail", "does not answer at unix:");
        check_row(root, "configuration", "fail", "skepd: x.conf:2: unknown key");
        CU_ASSERT_PTR_NULL(row_of(root, "handlers"));
        CU_ASSERT_PTR_NOT_NULL(row_of(root, "clock"));
        json_decref(root);
        place_deinit(&p);
}

/* skep-scratch looks at the server, with the flags that skepd's configuration is found by. */
static void test_has_the_ledgers_server_looked_at(void)
{
        struct place p;
        struct fake f;
        place_init(&p);
        fake_start(&f, answer_old);
        fake_stop(&f);
        write_script(&p, "[ \"$1\" = --show-config ] || exit 0\n"
                         "printf 'ledger = {\\n        url = \"postgresql://h/d\"; # x\\n};\\n'\n");
        write_program(&p, "skep-scratch",
                      "[ \"$1\" = look ] && printf 'ledger keys\\twarn\\tscattered\\tmore\\n'\n");
        json_t *root = diagnose(&f, 1);
        check_row(root, "ledger keys", "warn", "scattered");
        json_decref(root);
        write_program(&p, "skep-scratch", "echo 'skep-scratch: h: away' >&2; exit 69\n");
        root = diagnose(&f, 1);
        check_row(root, "ledger keys", "warn", "not looked at: skep-scratch: h: away");
        json_decref(root);
        place_deinit(&p);
}

UNIT_TESTS = {
    {"the ledger's server", test_has_the_ledgers_server_looked_at},
    {"skepd's rows and this machine's", test_asks_skepd_and_looks_itself},
    {"handlers that others may replace", test_sees_what_others_may_write},
    {"without a skepd", test_looks_alone},
};
UNIT_MAIN("cli-doctor")
