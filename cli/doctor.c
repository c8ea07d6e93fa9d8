/*
 * `skep doctor`: what is wrong here, and what to do about it.
 *
 * skepd judges what only it can see (ledger, transports, clock against the ledger's) at
 * GET /v1/doctor; this program adds what can be seen from outside, and does that alone when nobody
 * answers. It changes nothing and never asks a question. Exit code 1 when any check fails; a
 * warning is no failure. To repair things was discarded: what a doctor mends silently breaks again
 * unseen.
 */
#include "cli/doctor.h"

#include "cli/submit.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void doctor_note(json_t *checks, const char *name, const char *status, char *detail,
                 const char *advice)
{
        CLEANUP(buf_deinit)
        struct buf safe = {0};
        text_escape(&safe, detail, strlen(detail), ESCAPE_LINE);
        json_array_append_new(checks,
                              json_pack("{ss ss ss ss}", "name", name, "status", status, "detail",
                                        buf_z(&safe), "advice", advice ? advice : ""));
        free_text(&detail);
}

void doctor_places_deinit(struct doctor_places *p)
{
        free_text(&p->state);
        free_text(&p->handlers);
        free_text(&p->socket);
        free_text(&p->ledger);
        *p = (struct doctor_places){0};
}

/* --- skepd ------------------------------------------------------------------------------------ */

/* The process that serves a Unix socket's URL; 0: not known; or -errno of the connection. */
static int serving_pid(const char *url)
{
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        const char *path = strncmp(url, "unix:", 5) == 0 ? url + 5 : "";
        if (!*path || strlen(path) >= sizeof to.sun_path) {
                return 0;
        }
        memcpy(to.sun_path, path, strlen(path));
        struct ucred who = {0};
        socklen_t n = sizeof who;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int pid = -errno;
        if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
                pid = -errno;
        } else if (fd >= 0) {
                pid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 ? who.pid : 0;
        }
        if (fd >= 0) {
                close(fd);
        }
        return pid;
}

/* Of what it answered, the rows that are rows. */
static void take_checks(json_t *checks, const json_t *answer)
{
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(answer, "checks"), i, row)
        {
                if (pick_text(row, "name") && pick_text(row, "status")) {
                        json_array_append(checks, row);
                }
        }
}

static void judge_answer(json_t *checks, const struct client *c, const struct response *answer)
{
        CLEANUP(json_cleanup)
        json_t *o =
            json_loadb(buf_z(&answer->body), answer->body.n, JSON_ALLOW_NUL, &(json_error_t){0});
        if (answer->status == 200 && json_is_array(json_object_get(o, "checks"))) {
                doctor_note(checks, "skepd", STATUS_OK, text_printf("answers at %s", client_url(c)),
                            NULL);
                take_checks(checks, o);
        } else if (answer->status == 404) {
                doctor_note(checks, "skepd", STATUS_WARN,
                            text_printf("answers at %s, but is older than this program: it cannot "
                                        "judge itself",
                                        client_url(c)),
                            "install the same version of skepd and skep, and restart skepd");
        } else {
                CLEANUP(free_text)
                char *why = client_problem_text(answer);
                doctor_note(checks, "skepd", STATUS_FAIL,
                            text_printf("answers at %s, but not to this: %s", client_url(c), why),
                            "is SKEP_URL (or --url) that of skepd, and the token its own?");
        }
}

static int ask_skepd(struct invocation *in, json_t *checks, int *ret_pid)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        int r = client_open(in, &c);
        if (r) {
                return r;
        }
        struct request rq = {.path = "/v1/doctor"};
        int pid = serving_pid(client_url(c));
        if (client_call(c, &rq, &answer) == 0) {
                judge_answer(checks, c, &answer);
        } else {
                doctor_note(checks, "skepd", STATUS_FAIL,
                            text_printf("does not answer at %s: %s; what follows was looked at "
                                        "without it",
                                        client_url(c),
                                        pid < 0 ? strerror(-pid) : client_failure(c)),
                            "start it (systemctl start skepd, or skep dev to try it out); if it "
                            "runs elsewhere, name it with --url or SKEP_URL");
        }
        *ret_pid = pid > 0 ? pid : 0;
        return 0;
}

/* --- the verb --------------------------------------------------------------------------------- */

static const struct column people_columns[] = {{"status", "status", CELL_TEXT},
                                               {"check", "name", CELL_TEXT},
                                               {"detail", "detail", CELL_TEXT, true},
                                               {NULL}};
static const struct column pipe_columns[] = {{"status", "status", CELL_TEXT},
                                             {"check", "name", CELL_TEXT},
                                             {"detail", "detail", CELL_TEXT},
                                             {"advice", "advice", CELL_TEXT},
                                             {NULL}};

/* A table cuts what is long; what a person has to act on is said in full below it. */
static void print_trouble(const json_t *checks)
{
        size_t i;
        json_t *row;
        json_array_foreach((json_t *)checks, i, row)
        {
                const char *status = pick_text(row, "status");
                const char *detail = pick_text(row, "detail"), *advice = pick_text(row, "advice");
                if (strcmp(status, STATUS_OK) == 0) {
                        continue;
                }
                CLEANUP(buf_deinit)
                struct buf text = {0}, safe = {0};
                buf_printf(&text, "\n%s: %s: %s\n", status, pick_text(row, "name"),
                           detail ? detail : "");
                if (advice && *advice) {
                        buf_printf(&text, "  -> %s\n", advice);
                }
                text_escape(&safe, buf_z(&text), text.n, ESCAPE_BLOCK);
                fputs(buf_z(&safe), stdout);
                buf_deinit(&safe);
        }
}

static void print_checks(struct invocation *in, const json_t *root)
{
        struct response none = {0};
        const json_t *checks = json_object_get(root, "checks");
        if (in->output == OUTPUT_JSON) {
                print_json(root, JSON_COMPACT);
                return;
        }
        print_list(in, &none, checks, people_columns, pipe_columns);
        if (in->output != OUTPUT_NDJSON && table_for_people(in->output)) {
                print_trouble(checks);
        }
}

static bool any_fails(const json_t *checks)
{
        size_t i;
        json_t *row;
        json_array_foreach((json_t *)checks, i, row)
        {
                if (strcmp(pick_text(row, "status"), STATUS_FAIL) == 0) {
                        return true;
                }
        }
        return false;
}

int doctor_run(struct invocation *in)
{
        CLEANUP(json_cleanup)
        json_t *root = json_pack("{s[]}", "checks");
        CLEANUP(doctor_places_deinit)
        struct doctor_places places = {0};
        json_t *checks = json_object_get(root, "checks");
        int pid = 0, r = ask_skepd(in, checks, &pid);
        if (r) {
                return r;
        }
        doctor_config(checks, invocation_get(in, "config"), pid, &places);
        doctor_local(checks, &places, pid);
        print_checks(in, root);
        return any_fails(checks) ? EXIT_REFUSED : 0;
}
