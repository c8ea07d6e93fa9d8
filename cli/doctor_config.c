/*
 * `skep doctor` and the configuration: skepd itself reads it, so that both cannot disagree. What it
 * prints of it (skepd --show-config) tells where things are; secrets are masked there already. A
 * skepd that runs as the same user is asked about with its own arguments, environment and
 * directory; those of other users are never followed, since they could name anything.
 */
#include "cli/doctor.h"

#include "cli/command.h"
#include "cli/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_MAX (1u << 20)

/* --- how skepd was started -------------------------------------------------------------------- */

#define WORDS_MAX 256

/* /proc/PID/NAME, as NUL-terminated texts one after the other. */
static void read_process(int pid, const char *name, struct buf *ret)
{
        CLEANUP(free_text)
        char *path = text_printf("/proc/%d/%s", pid, name);
        FILE *f = fopen(path, "re");
        char part[4096];
        for (size_t n; f && ret->n < SAID_MAX && (n = fread(part, 1, sizeof part, f)) > 0;) {
                buf_add(ret, part, n);
        }
        if (f) {
                fclose(f);
        }
}

static bool is_own_skepd(int pid, const struct buf *words)
{
        struct stat st;
        CLEANUP(free_text)
        char *path = text_printf("/proc/%d", pid);
        const char *slash = strrchr(buf_z(words), '/');
        return stat(path, &st) == 0 && st.st_uid == geteuid() &&
               strcmp(slash ? slash + 1 : buf_z(words), "skepd") == 0;
}

/* What decides upon its configuration. */
static bool is_telling(const char *variable)
{
        static const char *const names[] = {"HOME=",
                                            "XDG_CONFIG_HOME=",
                                            "XDG_STATE_HOME=",
                                            "XDG_RUNTIME_DIR=",
                                            "STATE_DIRECTORY=",
                                            "RUNTIME_DIRECTORY=",
                                            "CREDENTIALS_DIRECTORY="};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                if (strncmp(variable, names[i], strlen(names[i])) == 0) {
                        return true;
                }
        }
        return strncmp(variable, "SKEP_", 5) == 0 && strstr(variable, "__");
}

/* Takes its place as far as the configuration goes. `argv` begins with the program and has room. */
static void follow_process(int pid, const char **argv)
{
        static struct buf words, around; /* of a child that will become another program */
        read_process(pid, "cmdline", &words);
        if (!is_own_skepd(pid, &words)) {
                return;
        }
        size_t n = 1;
        for (const char *p = words.p + strlen(words.p) + 1; p < words.p + words.n && n < WORDS_MAX;
             p += strlen(p) + 1) {
                argv[n++] = p;
        }
        read_process(pid, "environ", &around);
        for (char *p = around.p; p && p < around.p + around.n; p += strlen(p) + 1) {
                if (is_telling(p)) {
                        putenv(p);
                }
        }
        CLEANUP(free_text)
        char *folder = text_printf("/proc/%d/cwd", pid);
        if (chdir(folder) != 0) {
                say("%s: %s", folder, strerror(errno));
        }
}

static void become_reader(const char *program, const char *file, int pid, const char *what, int out,
                          int err)
{
        const char *argv[WORDS_MAX + 8] = {program};
        size_t n = 1;
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        if (pid > 0 && !file) {
                follow_process(pid, argv);
        }
        for (; argv[n]; n++) {}
        if (file) {
                argv[n++] = "--config";
                argv[n++] = file;
        }
        argv[n] = what;
        execv(program, (char *const *)argv);
        fprintf(stderr, "%s: %s\n", program, strerror(errno));
        _exit(EX_OSERR);
}

/* --- what it says ----------------------------------------------------------------------------- */

/* A temporary file's bytes; files, not pipes, so that neither side waits for the other. */
static void take_file(FILE *f, struct buf *ret)
{
        char part[4096];
        rewind(f);
        for (size_t n; ret->n < SAID_MAX && (n = fread(part, 1, sizeof part, f)) > 0;) {
                buf_add(ret, part, n);
        }
}

/* Runs skepd with the flag `what`. The exit code, or -1. */
static int ask_program(const char *program, const char *file, int skepd, const char *what,
                       struct buf *ret_out, struct buf *ret_err)
{
        FILE *out = tmpfile(), *err = tmpfile();
        int status = -1;
        pid_t pid = out && err ? fork() : -1;
        if (pid == 0) {
                become_reader(program, file, skepd, what, fileno(out), fileno(err));
        }
        if (pid > 0 && waitpid(pid, &status, 0) == pid) {
                take_file(out, ret_out);
                take_file(err, ret_err);
        }
        if (out) {
                fclose(out);
        }
        if (err) {
                fclose(err);
        }
        return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* `        url = "sqlite:/x"; # default` → the text between the quotes; NULL when it is no text. */
static char *quoted(const char *line)
{
        const char *from = strchr(line, '"');
        if (!from) {
                return NULL;
        }
        CLEANUP(buf_deinit)
        struct buf text = {0};
        for (const char *p = from + 1; *p && *p != '"' && *p != '\n'; p++) {
                p += *p == '\\' && p[1];
                buf_add(&text, p, 1);
        }
        return buf_take(&text);
}

/* The value of `key` in the top-level group `section`. */
static char *find_value(const char *text, const char *section, const char *key)
{
        bool inside = false;
        for (const char *line = text; line && *line;
             line = strchr(line, '\n'), line += line != NULL) {
                size_t indent = strspn(line, " \t"), n = strcspn(line + indent, " =\n");
                const char *word = line + indent;
                if (indent == 0) {
                        inside = n == strlen(section) && memcmp(word, section, n) == 0;
                } else if (inside && indent <= 8 && n == strlen(key) && memcmp(word, key, n) == 0) {
                        return quoted(word);
                }
        }
        return NULL;
}

/* --- brokers ---------------------------------------------------------------------------------- */

/* `NAME\tSTATUS\tDETAIL\tADVICE`; anything else is passed over. `what` goes before the name. */
static void take_line(json_t *checks, const char *what, char *line)
{
        static const char *const known[] = {STATUS_OK, STATUS_WARN, STATUS_FAIL};
        char *status = strchr(line, '\t');
        char *detail = status ? strchr(status + 1, '\t') : NULL;
        char *advice = detail ? strchr(detail + 1, '\t') : NULL;
        if (!advice) {
                return;
        }
        *status++ = *detail++ = *advice++ = '\0';
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
                if (strcmp(status, known[i]) == 0) {
                        CLEANUP(free_text)
                        char *name = text_printf("%s%s", what, line);
                        doctor_note(checks, name, known[i], text_copy(detail), advice);
                }
        }
}

static void take_lines(json_t *checks, const char *what, struct buf *out)
{
        char *rest = NULL;
        for (char *line = out->n ? strtok_r(out->p, "\n", &rest) : NULL; line;
             line = strtok_r(NULL, "\n", &rest)) {
                take_line(checks, what, line);
        }
}

/* skepd looks at them itself, in a run of its own: it alone knows how to log in. */
static void check_brokers(json_t *checks, const char *program, const char *file, int pid)
{
        CLEANUP(buf_deinit)
        struct buf out = {0};
        CLEANUP(buf_deinit)
        struct buf err = {0};
        if (ask_program(program, file, pid, "--check-transports", &out, &err) != 0) {
                doctor_note(checks, "brokers", STATUS_WARN,
                            text_printf("not looked at: %s --check-transports failed", program),
                            "install the same version of skepd and skep");
                return;
        }
        take_lines(checks, "broker ", &out);
}

/* --- the ledger's server ---------------------------------------------------------------------- */

/* skep-scratch asks it: this program may not know the password, and skepd has no time for it. */
static void check_server(json_t *checks, const char *ledger, const char *file, int pid)
{
        CLEANUP(free_text)
        char *program = place_program("skep-scratch", "scratch/skep-scratch");
        CLEANUP(buf_deinit)
        struct buf out = {0};
        CLEANUP(buf_deinit)
        struct buf err = {0};
        if (!ledger || strncmp(ledger, "postgres", 8) != 0) {
                return;
        }
        if (program && ask_program(program, file, pid, "look", &out, &err) == 0) {
                take_lines(checks, "", &out);
                return;
        }
        size_t n = err.n;
        for (; n > 0 && err.p[n - 1] == '\n'; n--) {}
        doctor_note(checks, "ledger keys", STATUS_WARN,
                    program ? text_printf("not looked at: %.*s", (int)n, buf_z(&err))
                            : text_copy("not looked at: skep-scratch was not found"),
                    "install the same version of skepd and skep, and see that the server can be "
                    "reached");
}

void doctor_config(json_t *checks, const char *file, int pid, struct doctor_places *ret)
{
        CLEANUP(free_text)
        char *program = place_program("skepd", "daemon/skepd");
        CLEANUP(buf_deinit)
        struct buf out = {0};
        CLEANUP(buf_deinit)
        struct buf err = {0};
        if (!program) {
                doctor_note(checks, "configuration", STATUS_WARN,
                            text_copy("not looked at: skepd was not found beside this program"),
                            "name the folder of skepd in SKEP_LIBEXEC");
                return;
        }
        int code = ask_program(program, file, pid, "--show-config", &out, &err);
        if (code != 0) {
                size_t n = err.n;
                for (; n > 0 && err.p[n - 1] == '\n'; n--) {}
                doctor_note(checks, "configuration", STATUS_FAIL,
                            n ? text_printf("%.*s", (int)n, err.p)
                              : text_printf("%s --show-config ended with %d", program, code),
                            "mend it, then check with skepd -t; a running skepd keeps what it has");
                return;
        }
        doctor_note(checks, "configuration", STATUS_OK,
                    text_printf("skepd reads %s without complaint",
                                file      ? file
                                : pid > 0 ? "what the running one was started with"
                                          : "the default one"),
                    NULL);
        ret->state = find_value(buf_z(&out), "node", "state_dir");
        ret->handlers = find_value(buf_z(&out), "handlers", "dir");
        ret->socket = find_value(buf_z(&out), "http", "socket");
        ret->ledger = find_value(buf_z(&out), "ledger", "url");
        check_brokers(checks, program, file, pid);
        check_server(checks, ret->ledger, file, pid);
}
