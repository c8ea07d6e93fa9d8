/*
 * The zygote: a small, single-threaded, clean image from which workers and probes are forked.
 * clone3 with CLONE_PARENT makes them skepd's own children, so that skepd reaps them and their
 * death signal follows skepd's thread. It parses nothing but fixed structs from skepd and ends when
 * skepd's end of the socket closes.
 *
 * clone3 goes past the C library, whose cached thread id would stay the zygote's:
 * CLONE_CHILD_SETTID writes the new one into the very place, which PR_GET_TID_ADDRESS names.
 * Discarded: fork() twice with skepd as subreaper (skepd would adopt strangers' orphans too, and
 * the death signal would follow the wrong process).
 */
#include "plugins/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *tid_address;

static pid_t fork_for_parent(void)
{
        struct clone_args a = {.flags = CLONE_PARENT};
        if (tid_address && !SANITIZED) {
                a.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
                a.child_tid = (uintptr_t)tid_address;
        }
        return (pid_t)syscall(SYS_clone3, &a, sizeof a);
}

/* Puts the descriptors in their places, by way of high numbers so that none covers another. */
static int place_fds(const int *fds, uint32_t n)
{
        int high[3] = {-1, -1, -1};
        for (uint32_t i = 0; i < n; i++) {
                high[i] = fcntl(fds[i], F_DUPFD, 20);
                if (high[i] < 0) {
                        return -errno;
                }
        }
        for (uint32_t i = 0; i < n; i++) {
                if (dup2(high[i], FD_SOCKET + (int)i) < 0) {
                        return -errno;
                }
        }
        return close_range(FD_SOCKET + n, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void become(const struct wire_spawn *order, const int *fds, uint32_t n)
{
        if (place_fds(fds, n) < 0) {
                _exit(EXIT_NO_SOCKET);
        }
#if SANITIZED
        char parent[16];
        const char *argv[] = {"skep-worker", order->mode == SPAWN_PROBE ? "--probe" : "--worker",
                              parent, NULL};
        char *env[] = {NULL};
        snprintf(parent, sizeof parent, "%d", (int)order->parent);
        syscall(SYS_execve, "/proc/self/exe", argv, env);
        _exit(EXIT_NO_SOCKET);
#else
        if (order->mode == SPAWN_PROBE) {
                probe_main(order->parent);
        }
        worker_main(order->parent);
#endif
}

static void obey(const struct wire_spawn *order, const int *fds, uint32_t n)
{
        struct wire_spawned answer = {
            .kind = WIRE_SPAWNED, .mode = order->mode, .number = order->number};
        pid_t pid = fork_for_parent();
        if (pid == 0) {
                become(order, fds, n);
        }
        answer.pid = pid < 0 ? -errno : pid;
        if (wire_frame_send(FD_SOCKET, &answer, sizeof answer, NULL, 0, 0) < 0) {
                _exit(0);
        }
}

/* skepd may block or ignore signals; what is forked from here starts with none of that. */
static void reset_signals(void)
{
        sigset_t none;
        sigemptyset(&none);
        for (int s = 1; s < NSIG; s++) {
                signal(s, SIG_DFL);
        }
        sigprocmask(SIG_SETMASK, &none, NULL);
}

void zygote_main(void)
{
        struct rlimit no_core = {0, 0};
        struct wire_spawn order;
        int fds[3];
        uint32_t n_fds;
        reset_signals();
        setrlimit(RLIMIT_CORE, &no_core);
        prctl(PR_SET_NAME, "skep-zygote");
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || chdir("/") < 0) {
                _exit(EXIT_NO_SOCKET);
        }
        prctl(PR_GET_TID_ADDRESS, &tid_address);
        crash_warm_up();
        for (;;) {
                ssize_t got = wire_recv(FD_SOCKET, &order, sizeof order, fds, 3, &n_fds, 0);
                if (got <= 0) {
                        _exit(0);
                }
                bool sane = got == sizeof order && order.kind == WIRE_SPAWN &&
                            n_fds == (order.mode == SPAWN_PROBE ? 2u : 3u);
                if (sane) {
                        obey(&order, fds, n_fds);
                }
                close_fds(fds, n_fds);
        }
}
