/*
 * The zygote as skepd sees it: started once before skepd grows, started anew with patience if it
 * dies, given orders and asked for pids. Orders never wait: what its socket does not take is asked
 * for again by whoever wants it.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEP_STDERR 1 /* sanitizers report there */
#else
#define KEEP_STDERR 0
#endif

/* In the forked child, of a process that may have threads: system calls only. Descriptors of the
 * new program: 0 to 2 on /dev/null, 3 the socket; 4 tells skepd why exec failed and closes when it
 * does not. */
static _Noreturn void become_zygote(const char *program, pid_t parent, int sock, int report)
{
        const char *argv[] = {"skep-worker", "--zygote", NULL};
        char *env[] = {NULL};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
                _exit(0);
        }
        setsid();
        int null = open("/dev/null", O_RDWR);
        int high_sock = fcntl(sock, F_DUPFD, 20), high_report = fcntl(report, F_DUPFD, 20);
        dup2(null, 0);
        dup2(null, 1);
        if (!KEEP_STDERR) {
                dup2(null, 2);
        }
        if (null >= 0 && high_sock >= 0 && high_report >= 0 && dup2(high_sock, 3) == 3 &&
            dup3(high_report, 4, O_CLOEXEC) == 4 && close_range(5, ~0u, 0) == 0) {
                execve(program, (char *const *)argv, env);
        }
        int e = errno;
        ssize_t ignored = write(4, &e, sizeof e);
        (void)ignored;
        _exit(127);
}

/* Waits for exec to succeed or say why not: a moment, even when skepd is large. */
static int fork_zygote(struct nursery *z, const char *program, int child_sock)
{
        int report[2], e = 0;
        pid_t parent = getpid();
        if (pipe2(report, O_CLOEXEC) < 0) {
                return -errno;
        }
        pid_t pid = fork();
        if (pid == 0) {
                become_zygote(program, parent, child_sock, report[1]);
        }
        e = pid < 0 ? errno : 0;
        close(report[1]);
        if (pid > 0) {
                ssize_t got;
                do {
                        got = read(report[0], &e, sizeof e);
                } while (got < 0 && errno == EINTR);
                e = got == sizeof e ? e : 0;
        }
        close(report[0]);
        if (e == 0) {
                z->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
                e = z->pidfd < 0 ? errno : 0;
        }
        if (e != 0) {
                if (pid > 0) {
                        kill(pid, SIGKILL);
                        waitpid(pid, NULL, 0);
                }
                return -e;
        }
        z->pid = pid;
        return 0;
}

int nursery_start(struct host *h, char *note, size_t note_size)
{
        struct nursery *z = &h->nursery;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                snprintf(note, note_size, "socketpair: %s", strerrordesc_np(errno));
                return -errno;
        }
        int r = fork_zygote(z, h->o.worker_program, pair[1]);
        close(pair[1]);
        if (r < 0) {
                close(pair[0]);
                snprintf(note, note_size, "the worker program %.200s cannot be started: %s",
                         h->o.worker_program, strerrordesc_np(-r));
                return r;
        }
        z->sock = pair[0];
        z->again_ns = 0;
        host_watch_fd(h, z->sock, SOURCE_ZYGOTE_SOCKET, 0, EPOLLIN);
        host_watch_fd(h, z->pidfd, SOURCE_ZYGOTE_PID, 0, EPOLLIN);
        return 0;
}

void nursery_stop(struct host *h)
{
        struct nursery *z = &h->nursery;
        if (z->pidfd >= 0) {
                siginfo_t info;
                syscall(SYS_pidfd_send_signal, z->pidfd, SIGKILL, NULL, 0);
                waitid((idtype_t)P_PIDFD, (id_t)z->pidfd, &info, WEXITED);
        }
        close_fds(&z->pidfd, 1);
        close_fds(&z->sock, 1);
}

void nursery_readable(struct host *h)
{
        struct wire_spawned a;
        uint32_t no_fds;
        ssize_t got = wire_recv(h->nursery.sock, &a, sizeof a, NULL, 0, &no_fds, MSG_DONTWAIT);
        if (got <= 0 && got != -EAGAIN) {
                /* its death is told by the pidfd; do not spin until then */
                epoll_ctl(h->ep, EPOLL_CTL_DEL, h->nursery.sock, NULL);
                return;
        }
        if (got != sizeof a || a.kind != WIRE_SPAWNED) {
                return;
        }
        h->nursery.failures = 0;
        if (a.mode == SPAWN_PROBE) {
                probe_spawned(h, a.number, a.pid);
        } else {
                crew_spawned(h, a.number, a.pid);
        }
}

static int64_t patience_ns(uint32_t failures)
{
        uint32_t doublings = failures < 6 ? failures : 6;
        return (INT64_C(100) << doublings) * NS_PER_MS;
}

/* Workers that run do not need it. Those just ordered may or may not have been forked: their
 * sockets are closed, so that a child nobody knows of ends by itself. */
void nursery_died(struct host *h)
{
        struct nursery *z = &h->nursery;
        siginfo_t info = {0};
        if (z->pidfd < 0) {
                return;
        }
        nursery_readable(h);
        waitid((idtype_t)P_PIDFD, (id_t)z->pidfd, &info, WEXITED | WNOHANG);
        close_fds(&z->pidfd, 1);
        close_fds(&z->sock, 1);
        z->again_ns = h->now_ns + patience_ns(z->failures++);
        host_tell(h, HOST_FAILED, NULL, "the worker program ended (%s %d); it is started again",
                  info.si_code == CLD_EXITED ? "exit code" : "signal", info.si_status);
        crew_lost_zygote(h);
        probe_lost_zygote(h);
}

void nursery_step(struct host *h)
{
        struct nursery *z = &h->nursery;
        char note[400];
        if (!z->again_ns || z->again_ns > h->now_ns) {
                return;
        }
        if (nursery_start(h, note, sizeof note) < 0) {
                z->again_ns = h->now_ns + patience_ns(z->failures++);
                host_tell(h, HOST_FAILED, NULL, "%s; it is tried again", note);
        }
}

int nursery_order(struct host *h, enum spawn_mode mode, uint32_t number, const int *fds, uint32_t n)
{
        struct wire_spawn order = {WIRE_SPAWN, mode, number, getpid()};
        if (h->nursery.sock < 0) {
                return 1;
        }
        int r = wire_frame_send(h->nursery.sock, &order, sizeof order, fds, n, MSG_DONTWAIT);
        return r < 0 ? 1 : 0; /* full, or dying: either passes */
}
