/*
 * `skep dev`: a skepd of one's own, from nothing.
 *
 * It keeps all in one folder and binds no port, so it disturbs nothing. skepd runs as a child in a
 * process group of its own: a Ctrl-C of the terminal comes here alone and becomes one SIGTERM,
 * which drains and gives back. It dies with this program (PDEATHSIG). A double fork to leave it
 * running in the background was discarded: that is what the service unit is for.
 */
#include "cli/dev.h"

#include "cli/places.h"
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 30000

static void dev_deinit(struct dev *d)
{
        client_free(d->client);
        free(d->state);
        free(d->socket);
        free(d->url);
        free(d->skepd);
        free(d->worker);
        free(d->handlers);
        if (d->pid_fd > 0) {
                close(d->pid_fd);
        }
        if (d->signal_fd > 0) {
                close(d->signal_fd);
        }
        *d = (struct dev){0};
}

/* --- places ----------------------------------------------------------------------------------- */

/* mkdir -p, private to the user. */
static int make_folders(const char *path)
{
        CLEANUP(free_text)
        char *part = text_copy(path);
        for (char *p = part + 1;; p++) {
                if (*p != '/' && *p) {
                        continue;
                }
                char c = *p;
                *p = 0;
                if (mkdir(part, 0700) != 0 && errno != EEXIST) {
                        return -errno;
                }
                *p = c;
                if (!c) {
                        return 0;
                }
        }
}

static int choose_state(struct invocation *in, struct dev *d)
{
        const char *given = invocation_get(in, "state");
        CLEANUP(free_text)
        char *path = given ? text_copy(given) : place_dev();
        if (!path || !*path) {
                return say_usage(in, "HOME is not set: name a folder with --state DIR");
        }
        int r = make_folders(path);
        if (r) {
                say("%s: cannot be made: %s; name another folder with --state DIR", path,
                    strerror(-r));
                return EX_CANTCREAT;
        }
        d->state = realpath(path, NULL);
        if (!d->state) {
                say("%s: %s; name another folder with --state DIR", path, strerror(errno));
                return EX_CANTCREAT;
        }
        d->socket = text_printf("%s/skep.sock", d->state);
        d->url = text_printf("unix:%s", d->socket);
        if (strlen(d->socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
                say("%s: the path is too long for a socket (at most %zu bytes); choose a shorter "
                    "--state DIR",
                    d->socket, sizeof((struct sockaddr_un *)0)->sun_path - 1);
                return EX_CANTCREAT;
        }
        return 0;
}

static int choose_programs(struct invocation *in, struct dev *d)
{
        const char *handlers = invocation_get(in, "handlers");
        d->skepd = place_program("skepd", "daemon/skepd");
        d->worker = place_program("skep-worker", "plugins/skep-worker");
        d->handlers = handlers ? realpath(handlers, NULL) : place_handlers();
        if (handlers && !d->handlers) {
                say("%s: %s", handlers, strerror(errno));
                return EXIT_NO_INPUT;
        }
        const char *missing = !d->skepd ? "skepd" : !d->worker ? "skep-worker" : NULL;
        if (missing) {
                say("%s was not found beside this program, in " SKEP_DIR_LIBEXEC
                    " or on PATH; SKEP_LIBEXEC names the folder of both",
                    missing);
                return EX_UNAVAILABLE;
        }
        if (!d->handlers) {
                say("no folder of handlers was found; name one with --handlers DIR");
                return EX_UNAVAILABLE;
        }
        return 0;
}

/* --- the process ------------------------------------------------------------------------------ */

static void add_setting(char **argv, size_t *n, char *setting /* takes setting */)
{
        argv[(*n)++] = text_copy("--set");
        argv[(*n)++] = setting;
}

/* The whole argument vector; every string is its own allocation. */
static char **make_argv(struct invocation *in, const struct dev *d)
{
        char **argv = text_alloc((in->n_given * 2 + 32) * sizeof *argv);
        size_t n = 0, at = 0;
        argv[n++] = text_copy(d->skepd);
        argv[n++] = text_copy("--worker");
        argv[n++] = text_copy(d->worker);
        add_setting(argv, &n, text_printf("node.state_dir=%s", d->state));
        add_setting(argv, &n, text_printf("ledger.url=sqlite:%s/skep.db", d->state));
        add_setting(argv, &n, text_printf("handlers.dir=%s", d->handlers));
        add_setting(argv, &n, text_printf("http.socket=%s", d->socket));
        add_setting(argv, &n, text_copy("log.format=logfmt"));
        if (invocation_has(in, "demo")) {
                add_setting(argv, &n, text_copy("queues.default.retry.base=200ms"));
        }
        for (const char *s; (s = invocation_next(in, "set", &at));) {
                add_setting(argv, &n, text_copy(s));
        }
        return argv;
}

static void free_argv(char ***argv)
{
        for (char **p = *argv; p && *p; p++) {
                free(*p);
        }
        free(*argv);
}

static void become_skepd(char **argv, pid_t parent, const sigset_t *mask)
{
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null >= 0) {
                dup2(null, STDIN_FILENO);
        }
        setpgid(0, 0);
        signal(SIGPIPE, SIG_DFL);
        sigprocmask(SIG_SETMASK, mask, NULL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent) {
                execv(argv[0], argv);
                say("%s: %s", argv[0], strerror(errno));
        }
        _exit(EX_OSERR);
}

static int start_skepd(struct invocation *in, struct dev *d)
{
        CLEANUP(free_argv)
        char **argv = make_argv(in, d);
        sigset_t stop, before;
        sigemptyset(&stop);
        sigaddset(&stop, SIGINT);
        sigaddset(&stop, SIGTERM);
        sigaddset(&stop, SIGHUP);
        sigprocmask(SIG_BLOCK, &stop, &before);
        d->signal_fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
        fflush(stdout);
        pid_t parent = getpid(), pid = fork();
        if (pid == 0) {
                become_skepd(argv, parent, &before);
        }
        if (pid < 0 || d->signal_fd < 0) {
                say("cannot start skepd: %s", strerror(errno));
                return EXIT_SYSTEM;
        }
        d->pid = pid;
        d->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (d->pid_fd < 0) {
                say("cannot watch skepd: %s", strerror(errno));
                return EXIT_SYSTEM;
        }
        return 0;
}

int dev_watch(struct dev *d, int timeout_ms)
{
        struct pollfd fds[2] = {{d->pid_fd, POLLIN, 0}, {d->signal_fd, POLLIN, 0}};
        int n = poll(fds, 2, timeout_ms);
        if (n > 0 && (fds[0].revents & POLLIN)) {
                if (waitpid(d->pid, &d->status, 0) == d->pid) {
                        d->pid = 0;
                }
                return DEV_ENDED;
        }
        if (n > 0 && (fds[1].revents & POLLIN)) {
                struct signalfd_siginfo info;
                return read(d->signal_fd, &info, sizeof info) == sizeof info ? DEV_SIGNAL : 0;
        }
        return 0;
}

static void say_ended(const struct dev *d, const char *when)
{
        if (WIFSIGNALED(d->status)) {
                say("skepd was killed by signal %d (%s) %s", WTERMSIG(d->status),
                    strsignal(WTERMSIG(d->status)), when);
        } else {
                say("skepd ended with exit code %d %s", WEXITSTATUS(d->status), when);
        }
}

/* Asks it to drain and end, and waits; a second signal from the terminal ends it at once. 0 when it
 * ended cleanly. */
static int stop_skepd(struct dev *d)
{
        if (d->pid == 0) {
                return EXIT_UNREACHABLE;
        }
        kill(d->pid, SIGTERM);
        for (int r; (r = dev_watch(d, -1)) != DEV_ENDED;) {
                if (r == DEV_SIGNAL) {
                        say("asked again: skepd is killed; its jobs are given back at its next "
                            "start");
                        kill(d->pid, SIGKILL);
                }
        }
        if (!WIFEXITED(d->status) || WEXITSTATUS(d->status) != 0) {
                say_ended(d, "when it was stopped");
                return EXIT_SYSTEM;
        }
        return 0;
}

/* 0, or DEV_ENDED, DEV_SIGNAL; -1: it does not become ready. */
static int await_ready(struct dev *d)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        struct request rq = {.path = "/readyz", .timeout_ms = 2000};
        for (int64_t until = clock_ms() + READY_MS; clock_ms() < until;) {
                int r = dev_watch(d, 20);
                if (r) {
                        return r;
                }
                r = client_call(d->client, &rq, &answer);
                if (r == 0 && answer.status == 200) {
                        return 0;
                }
        }
        CLEANUP(free_text)
        char *why =
            answer.status ? client_problem_text(&answer) : text_copy(client_failure(d->client));
        say("skepd did not become ready within %d s: %s", READY_MS / 1000, why);
        return -1;
}

/* --- the verb --------------------------------------------------------------------------------- */

static void print_welcome(const struct dev *d)
{
        CLEANUP(free_text)
        char *on_path = place_on_path("skep"), *self = place_self();
        const char *skep = on_path ? "skep" : self;
        printf("skepd runs (pid %d): state in %s, handlers from %s\n\n"
               "send it jobs from another terminal:\n\n"
               "    export SKEP_URL=%s\n"
               "    %s enqueue echo '{\"hello\":\"world\"}' --wait\n"
               "    %s jobs ls\n\n"
               "Ctrl-C stops it.\n",
               (int)d->pid, d->state, d->handlers, d->url, skep, skep);
        fflush(stdout);
}

static void watch_until_end(struct dev *d)
{
        while (dev_watch(d, -1) == 0) {}
}

static int run_ready(struct invocation *in, struct dev *d)
{
        bool once = invocation_has(in, "once");
        int code = 0;
        if (!once) {
                print_welcome(d);
        }
        if (invocation_has(in, "demo")) {
                code = demo_run(in, d);
        }
        if (!once && code == 0) {
                watch_until_end(d);
        }
        if (d->pid == 0) {
                say_ended(d, "by itself");
                return EXIT_UNREACHABLE;
        }
        int stopped = stop_skepd(d);
        return code ? code : stopped;
}

static int run_skepd(struct invocation *in, struct dev *d)
{
        int r = await_ready(d);
        if (r == 0) {
                return run_ready(in, d);
        }
        if (r == DEV_ENDED) {
                bool says = WIFEXITED(d->status) && WEXITSTATUS(d->status) != 0;
                say_ended(d, "before it was ready");
                return says ? WEXITSTATUS(d->status) : EXIT_UNREACHABLE;
        }
        int stopped = stop_skepd(d);
        return r == DEV_SIGNAL ? stopped : EXIT_UNREACHABLE;
}

int dev_run(struct invocation *in)
{
        CLEANUP(dev_deinit)
        struct dev d = {0};
        if (invocation_has(in, "once") && !invocation_has(in, "demo")) {
                return say_usage(in, "--once goes with --demo: it stops when the demo is over");
        }
        if (invocation_has(in, "url") || invocation_has(in, "token-file")) {
                return say_usage(
                    in,
                    "--url and --token-file have no meaning here: skep dev talks to its own skepd");
        }
        int r = choose_state(in, &d);
        r = r ? r : choose_programs(in, &d);
        r = r ? r : client_new(d.url, NULL, &d.client);
        r = r ? r : start_skepd(in, &d);
        return r ? r : run_skepd(in, &d);
}
