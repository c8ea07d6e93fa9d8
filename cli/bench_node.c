/*
 * The private skepd of `skep bench`: its folder, ledger and configuration are made and removed by
 * skep-scratch, which alone reads the configuration with its secrets; it serves one handler that
 * does nothing. The environment's settings for skepd do not reach it: what counts stands in its
 * file.
 */
#include "cli/bench.h"

#include "cli/command.h"
#include "cli/places.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS   30000
#define STOP_MS    40000
#define PAUSE_MS   20
#define WORDS_MAX  12
#define ANSWER_MAX 65536
#define COPY_BYTES 65536

/* --- programs --------------------------------------------------------------------------------- */

static void end_as(const char *const *words, int code)
{
        fprintf(stderr, "skep: %s: %s\n", words[0], strerror(errno));
        _exit(code);
}

/* Its output goes to `out`, its messages to ours unless `quiet`. */
static pid_t run_program(const char *const *words, int out, bool quiet)
{
        sigset_t none;
        fflush(stdout);
        pid_t parent = getpid(), pid = fork();
        if (pid != 0) {
                return pid;
        }
        sigemptyset(&none);
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        if (quiet) {
                dup2(out, STDERR_FILENO);
        }
        setpgid(0, 0); /* a Ctrl-C comes to us, and we end it */
        signal(SIGPIPE, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent) {
                execv(words[0], (char *const *)words);
        }
        end_as(words, EX_OSERR);
        return -1;
}

static int exit_code(int status)
{
        return WIFEXITED(status) ? WEXITSTATUS(status) : EX_OSERR;
}

/* What it printed is ret_answer. Its exit code. */
static int ask_scratch(const char *const *words, struct buf *ret_answer)
{
        char part[4096];
        int status = 0;
        FILE *out = tmpfile();
        pid_t pid = out ? run_program(words, fileno(out), false) : -1;
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
                say("%s cannot be run: %s", words[0], strerror(errno));
                status = -1;
        }
        if (out) {
                rewind(out);
                for (size_t n;
                     ret_answer->n < ANSWER_MAX && (n = fread(part, 1, sizeof part, out)) > 0;) {
                        buf_add(ret_answer, part, n);
                }
                fclose(out);
        }
        return status == -1 ? EXIT_SYSTEM : exit_code(status);
}

static int find_programs(struct bench *b)
{
        CLEANUP(free_text)
        char *handlers = place_handlers();
        b->skepd = place_program("skepd", "daemon/skepd");
        b->worker = place_program("skep-worker", "plugins/skep-worker");
        b->scratch = place_program("skep-scratch", "scratch/skep-scratch");
        b->noop = text_printf("%s/noop.so", handlers ? handlers : "");
        const char *missing = !b->skepd                    ? "skepd"
                              : !b->worker                 ? "skep-worker"
                              : !b->scratch                ? "skep-scratch"
                              : access(b->noop, R_OK) == 0 ? NULL
                                                           : "the handler noop.so";
        if (missing) {
                say("%s was not found beside this program, in " SKEP_DIR_LIBEXEC
                    " or on PATH; SKEP_LIBEXEC names the folder of the programs",
                    missing);
                return EX_UNAVAILABLE;
        }
        return 0;
}

/* --- making ----------------------------------------------------------------------------------- */

static int copy_handler(const struct bench *b)
{
        CLEANUP(free_text)
        char *folder = text_printf("%s/handlers", b->folder);
        CLEANUP(free_text)
        char *path = text_printf("%s/noop.so", folder);
        char *part = text_alloc(COPY_BYTES);
        bool good = mkdir(folder, 0700) == 0;
        FILE *from = fopen(b->noop, "re");
        FILE *to = good ? fopen(path, "wxe") : NULL;
        for (size_t n; from && to && (n = fread(part, 1, COPY_BYTES, from)) > 0;) {
                good = good && fwrite(part, 1, n, to) == n;
        }
        good = good && from && to && !ferror(from);
        if (from) {
                fclose(from);
        }
        if (to) {
                good = fclose(to) == 0 && chmod(path, 0700) == 0 && good;
        }
        free(part);
        if (!good) {
                say("%s cannot be copied to %s: %s", b->noop, folder, strerror(errno));
        }
        return good ? 0 : EX_CANTCREAT;
}

int bench_make(struct invocation *in, struct bench *b)
{
        static const char *const passed[][2] = {{"config", "--config"},
                                                {"dir", "--dir"},
                                                {"database", "--database"},
                                                {"transport", "--transport"}};
        const char *words[WORDS_MAX] = {0};
        CLEANUP(buf_deinit)
        struct buf answer = {0};
        size_t n = 0;
        int r = find_programs(b);
        if (r) {
                return r;
        }
        words[n++] = b->scratch;
        words[n++] = "make";
        for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
                if (invocation_has(in, passed[i][0])) {
                        words[n++] = passed[i][1];
                        words[n++] = invocation_get(in, passed[i][0]);
                }
        }
        r = ask_scratch(words, &answer);
        if (r) {
                return r;
        }
        b->made = json_loads(buf_z(&answer), 0, NULL);
        b->folder = json_string_value(json_object_get(b->made, "folder"));
        if (!b->folder) {
                say("%s: its answer is not understood; is it of another version?", b->scratch);
                return EXIT_SYSTEM;
        }
        return copy_handler(b);
}

int bench_remove(struct bench *b)
{
        CLEANUP(buf_deinit)
        struct buf answer = {0};
        if (!b->folder) {
                return 0;
        }
        int r = ask_scratch((const char *const[]){b->scratch, "remove", b->folder, NULL}, &answer);
        if (r) {
                say("not all could be removed; when it can be, say: %s remove %s", b->scratch,
                    b->folder);
        }
        return r;
}

/* --- running ---------------------------------------------------------------------------------- */

bool bench_asked(void)
{
        static bool asked;
        sigset_t stop;
        sigemptyset(&stop);
        sigaddset(&stop, SIGINT);
        sigaddset(&stop, SIGTERM);
        sigaddset(&stop, SIGHUP);
        asked = asked || sigtimedwait(&stop, NULL, &(struct timespec){0}) > 0;
        return asked;
}

static void forget_settings(void)
{
        CLEANUP(buf_deinit)
        struct buf name = {0};
        for (char **e = environ; *e;) {
                size_t n = strcspn(*e, "=");
                const char *twice = strstr(*e, "__");
                buf_reset(&name);
                buf_add(&name, *e, n);
                if ((strncmp(*e, "SKEP_", 5) == 0 && twice && twice < *e + n) ||
                    strcmp(buf_z(&name), "CREDENTIALS_DIRECTORY") == 0 ||
                    strcmp(buf_z(&name), "NOTIFY_SOCKET") == 0) {
                        unsetenv(buf_z(&name));
                        e = environ;
                } else {
                        e++;
                }
        }
}

/* The last line of its log; the caller frees it. */
static char *last_words(const struct bench *b)
{
        CLEANUP(free_text)
        char *path = text_printf("%s/log", b->folder);
        char line[1024] = "", last[1024] = "nothing";
        FILE *f = fopen(path, "re");
        while (f && fgets(line, sizeof line, f)) {
                line[strcspn(line, "\n")] = 0;
                memcpy(last, line, sizeof last);
        }
        if (f) {
                fclose(f);
        }
        return text_copy(last);
}

/* 0, or an exit code after a message when it has ended or somebody asked to stop. */
static int look_after(struct bench *b)
{
        int status;
        if (b->pid > 0 && waitpid(b->pid, &status, WNOHANG) == b->pid) {
                CLEANUP(free_text)
                char *last = last_words(b);
                b->pid = 0;
                say("the private skepd ended with exit code %d; it said: %s", exit_code(status),
                    last);
                return EXIT_UNREACHABLE;
        }
        if (bench_asked()) {
                say("asked to stop; nothing is left behind");
                return EXIT_LATER;
        }
        return 0;
}

static int await_ready(struct bench *b)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        struct request rq = {.path = "/readyz", .timeout_ms = 2000};
        for (int64_t until = clock_ms() + READY_MS; clock_ms() < until; sleep_ms(PAUSE_MS)) {
                int r = look_after(b);
                if (r) {
                        return r;
                }
                if (client_call(b->client, &rq, &answer) == 0 && answer.status == 200) {
                        return 0;
                }
        }
        CLEANUP(free_text)
        char *last = last_words(b);
        say("the private skepd did not become ready within %d s; it said: %s", READY_MS / 1000,
            last);
        return EXIT_UNREACHABLE;
}

int bench_start(struct bench *b)
{
        CLEANUP(free_text)
        char *config = text_printf("%s/skep.conf", b->folder);
        CLEANUP(free_text)
        char *log = text_printf("%s/log", b->folder);
        CLEANUP(free_text)
        char *url = text_printf("unix:%s/s", b->folder);
        const char *const words[] = {b->skepd, "--config", config, "--worker", b->worker, NULL};
        int r = client_new(url, NULL, &b->client);
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        forget_settings();
        b->pid = r || out < 0 ? -1 : run_program(words, out, true);
        if (out >= 0) {
                close(out);
        }
        if (b->pid < 0) {
                b->pid = 0;
                say("skepd cannot be started: %s", strerror(errno));
                return r ? r : EXIT_SYSTEM;
        }
        return await_ready(b);
}

int bench_stop(struct bench *b)
{
        int status = 0;
        if (b->pid == 0) {
                return 0;
        }
        kill(b->pid, SIGTERM);
        for (int64_t until = clock_ms() + STOP_MS; clock_ms() < until; sleep_ms(PAUSE_MS)) {
                if (waitpid(b->pid, &status, WNOHANG) == b->pid) {
                        b->pid = 0;
                        return 0;
                }
        }
        kill(b->pid, SIGKILL);
        waitpid(b->pid, &status, 0);
        b->pid = 0;
        say("the private skepd did not stop within %d s and was killed", STOP_MS / 1000);
        return EXIT_SYSTEM;
}
