/*
 * From a file to a plug-in that may be loaded: opened and checked, copied into a sealed memfd a
 * megabyte at a time, its ELF header read there, then loaded once by a throw-away child that
 * reports what it offers. What the child does besides (crash, hang, exit, start processes) is the
 * reason for which the file is refused. Workers later load the very same sealed copy.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugins/trust.h"

#define COPY_STEP (1u << 20)

static void clear(struct probe *p)
{
        close_fds(&p->source, 1);
        close_fds(&p->memfd, 1);
        close_fds(&p->sock, 1);
        close_fds(&p->pidfd, 1);
        plugin_unref(p->plugin);
        free(p->manifest);
        free(p->no);
        free(p->crash);
        *p = (struct probe){.source = -1, .memfd = -1, .sock = -1, .pidfd = -1};
}

/* A child without a process group of its own yet is killed by its pidfd. */
static void kill_child(const struct probe *p)
{
        if (p->pidfd >= 0) {
                kill(-p->pid, SIGKILL);
                syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
        }
}

static void refuse(struct host *h, struct probe *p, const char *why)
{
        struct shelf_file *f = p->file;
        clear(p);
        shelf_refuse(h, f, why);
}

void probe_cancel(struct host *h, struct shelf_file *f)
{
        f->probe_wanted = false;
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                struct probe *p = &h->probes[i];
                if (p->file == f && p->stage != PROBE_FREE) {
                        if (p->pidfd >= 0) {
                                siginfo_t info;
                                kill_child(p);
                                waitid((idtype_t)P_PIDFD, (id_t)p->pidfd, &info, WEXITED);
                        }
                        clear(p);
                }
        }
}

bool probe_any(const struct host *h)
{
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                if (h->probes[i].stage != PROBE_FREE) {
                        return true;
                }
        }
        return false;
}

static struct plugin *new_plugin(const char *file)
{
        struct plugin *p = calloc(1, sizeof *p);
        if (!p || !(p->file = strdup(file))) {
                free(p);
                return NULL;
        }
        p->refs = 1;
        p->memfd = -1;
        return p;
}

static int open_source(struct host *h, struct shelf_file *f, char *note, size_t note_size)
{
        struct stat st;
        int dir = trust_open_directory(h->o.handlers_dir, note, note_size);
        if (dir < 0) {
                f->seen = (struct signature){
                    0}; /* the directory is at fault: look again when it changed */
                return dir;
        }
        int fd = trust_open_file(dir, f->name, &st, note, note_size);
        close(dir);
        if (fd >= 0) {
                f->seen = signature_of(&st);
                f->bytes = f->seen.size;
        }
        return fd;
}

bool probe_begin(struct host *h, struct shelf_file *f)
{
        struct probe *p = NULL;
        char note[512];
        for (uint32_t i = 0; i < PROBES_MAX && !p; i++) {
                p = h->probes[i].stage == PROBE_FREE ? &h->probes[i] : NULL;
        }
        if (!p) {
                return false;
        }
        p->source = open_source(h, f, note, sizeof note);
        if (p->source < 0) {
                clear(p);
                shelf_refuse(h, f, note);
                return true;
        }
        p->file = f;
        p->plugin = new_plugin(f->name);
        p->memfd = memfd_create(f->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        p->stage = PROBE_COPY;
        if (!p->plugin || p->memfd < 0) {
                refuse(h, p, "no memory or descriptor left to look at it");
        }
        return true;
}

/* --- the copy ------------------------------------------------------------ */

static bool copy_checks_out(struct probe *p, char *note, size_t note_size)
{
        uint64_t n = p->copied;
        void *bytes = n ? mmap(NULL, n, PROT_READ, MAP_SHARED, p->memfd, 0) : MAP_FAILED;
        if (bytes == MAP_FAILED) {
                snprintf(note, note_size, "it cannot be read: %s", strerrordesc_np(errno));
                return false;
        }
        bool fine = elf_check(bytes, n, note, note_size);
        if (fine) {
                elf_build_id(bytes, n, p->plugin->build);
                p->plugin->bytes = n;
        }
        munmap(bytes, n);
        return fine;
}

static void end_copy(struct host *h, struct probe *p)
{
        char note[512];
        struct stat st;
        struct signature now = {0};
        if (fstat(p->source, &st) == 0) {
                now = signature_of(&st);
        }
        if (now.size != p->file->seen.size || now.mtime_ns != p->file->seen.mtime_ns ||
            p->copied != now.size) {
                struct shelf_file *f = p->file; /* it grew or shrank meanwhile: from the start */
                clear(p);
                f->seen = (struct signature){0};
                f->probe_wanted = true;
                return;
        }
        close_fds(&p->source, 1);
        if (fcntl(p->memfd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
            0) {
                refuse(h, p, "its copy cannot be sealed");
        } else if (!copy_checks_out(p, note, sizeof note)) {
                refuse(h, p, note);
        } else {
                p->stage = PROBE_WAIT;
        }
}

static void copy_some(struct host *h, struct probe *p)
{
        ssize_t n = sendfile(p->memfd, p->source, NULL, COPY_STEP);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
                return;
        }
        if (n < 0) {
                char note[128];
                snprintf(note, sizeof note, "it cannot be read: %s", strerrordesc_np(errno));
                refuse(h, p, note);
                return;
        }
        p->copied += (uint64_t)n;
        if (n == 0 || p->copied >= p->file->seen.size) {
                end_copy(h, p);
        }
}

/* --- the child ------------------------------------------------------------ */

static void order_child(struct host *h, struct probe *p)
{
        int pair[2];
        uint32_t index = (uint32_t)(p - h->probes), ticket = ++h->tickets;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                refuse(h, p, "no descriptor left to probe it");
                return;
        }
        int fds[2] = {pair[1], p->memfd};
        int r = nursery_order(h, SPAWN_PROBE, ticket, fds, 2);
        close(pair[1]);
        if (r != 0) {
                close(pair[0]);
                p->deadline_ns = h->now_ns + 20 * NS_PER_MS; /* when to ask again */
                return;
        }
        p->sock = pair[0];
        p->ticket = ticket;
        p->stage = PROBE_ORDERED;
        host_watch_fd(h, p->sock, SOURCE_PROBE_SOCKET, index, EPOLLIN);
}

void probe_spawned(struct host *h, uint32_t ticket, int32_t pid)
{
        uint32_t index = 0;
        while (index < PROBES_MAX &&
               (h->probes[index].stage != PROBE_ORDERED || h->probes[index].ticket != ticket)) {
                index++;
        }
        if (index == PROBES_MAX) {
                /* cancelled meanwhile: its socket is closed, it ends by itself; it still has to be
                 * reaped */
                if (pid > 0) {
                        kill(pid, SIGKILL);
                        waitpid(pid, NULL, 0);
                }
                return;
        }
        struct probe *p = &h->probes[index];
        p->pid = pid;
        p->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (p->pidfd < 0) {
                refuse(h, p, "a process to probe it cannot be started");
                return;
        }
        p->stage = PROBE_RUN;
        p->deadline_ns = h->now_ns + h->o.probe_timeout_ms * NS_PER_MS;
        host_watch_fd(h, p->pidfd, SOURCE_PROBE_PID, index, EPOLLIN);
}

void probe_lost_zygote(struct host *h)
{
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                struct probe *p = &h->probes[i];
                if (p->stage == PROBE_ORDERED) {
                        close_fds(&p->sock, 1);
                        p->stage = PROBE_WAIT;
                        p->deadline_ns = 0;
                }
        }
}

static void keep_text(char **at, const uint8_t *p, size_t n)
{
        free(*at);
        *at = strndup((const char *)p, n);
}

static bool hear(struct host *h, struct probe *p)
{
        uint32_t kind, no_fds;
        ssize_t n = wire_recv(p->sock, h->in, WIRE_MAX, NULL, 0, &no_fds, MSG_DONTWAIT);
        if (n < (ssize_t)sizeof kind) {
                if (n == 0 || (n < 0 && n != -EAGAIN)) {
                        epoll_ctl(h->ep, EPOLL_CTL_DEL, p->sock, NULL);
                }
                return false;
        }
        memcpy(&kind, h->in, sizeof kind);
        if (kind == WIRE_MANIFEST && !p->manifest) {
                p->manifest = malloc((size_t)n);
                if (p->manifest) {
                        memcpy(p->manifest, h->in, (size_t)n);
                        p->manifest_n = (size_t)n;
                }
        } else if (kind == WIRE_NO) {
                struct wire_in in = {h->in, (size_t)n, sizeof kind, false};
                struct str s = wire_get_str(&in);
                keep_text(&p->no, (const uint8_t *)s.p, s.n < 900 ? s.n : 900);
        } else if (kind == WIRE_CRASH) {
                keep_text(&p->crash, h->in + sizeof kind,
                          (size_t)n - sizeof kind < CRASH_TEXT ? (size_t)n - sizeof kind
                                                               : CRASH_TEXT);
        }
        return true;
}

void probe_readable(struct host *h, uint32_t index)
{
        struct probe *p = &h->probes[index];
        if (p->stage == PROBE_ORDERED || p->stage == PROBE_RUN) {
                hear(h, p);
        }
}

/* --- the judgement ------------------------------------------------------------ */

static char *types_of(const struct manifest *m)
{
        size_t n = 1;
        for (uint32_t i = 0; i < m->n; i++) {
                n += m->handlers[i].type.n + 1;
        }
        char *text = calloc(1, n), *at = text;
        for (uint32_t i = 0; text && i < m->n; i++) {
                if (i) {
                        *at++ = ',';
                }
                memcpy(at, m->handlers[i].type.p, m->handlers[i].type.n);
                at += m->handlers[i].type.n;
        }
        return text;
}

static void read_manifest(struct host *h, struct probe *p)
{
        char note[512];
        struct plugin *plugin = p->plugin;
        struct shelf_file *f = p->file;
        if (manifest_read(p->manifest, p->manifest_n, &plugin->manifest, note, sizeof note) < 0) {
                refuse(h, p, note);
                return;
        }
        plugin->json = manifest_json(&plugin->manifest, plugin->file, plugin->build);
        plugin->types = types_of(&plugin->manifest);
        if (!plugin->json || !plugin->types) {
                refuse(h, p, "no memory left to describe it");
                return;
        }
        plugin->memfd = p->memfd;
        p->memfd = -1;
        p->plugin = NULL;
        clear(p);
        shelf_accept(h, f, plugin);
}

static void judge_signal(struct host *h, struct probe *p, int signo)
{
        char note[CRASH_TEXT + 128];
        const char *name = sigabbrev_np(signo);
        if (p->timed_out) {
                snprintf(note, sizeof note,
                         "it did not finish loading within %u ms: does a constructor wait for "
                         "something?",
                         h->o.probe_timeout_ms);
        } else if (signo == SIGSYS) {
                snprintf(
                    note, sizeof note,
                    "it tried to start a process while it was loaded, which a plug-in must not do");
        } else if (p->crash) {
                snprintf(note, sizeof note, "it crashed while it was loaded: %s", p->crash);
        } else {
                snprintf(note, sizeof note, "it was killed by SIG%s while it was loaded",
                         name ? name : "?");
        }
        refuse(h, p, note);
}

static void judge(struct host *h, struct probe *p, const siginfo_t *info)
{
        char note[128];
        if (info->si_code != CLD_EXITED) {
                judge_signal(h, p, info->si_status);
        } else if (info->si_status == 0 && p->no) {
                char *why = STEAL(p->no);
                refuse(h, p, why);
                free(why);
        } else if (info->si_status == 0 && p->manifest) {
                read_manifest(h, p);
        } else {
                snprintf(note, sizeof note, "it called exit(%d) while it was loaded",
                         info->si_status);
                refuse(h, p, note);
        }
}

void probe_died(struct host *h, uint32_t index)
{
        struct probe *p = &h->probes[index];
        siginfo_t info = {0};
        if (p->stage != PROBE_RUN) {
                return;
        }
        kill(-p->pid, SIGKILL); /* while the unreaped leader keeps the group's number */
        int r = waitid((idtype_t)P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
        if (r == 0 && info.si_pid == 0) {
                return;
        }
        if (r < 0) {
                refuse(h, p, "how its probe ended is not known: somebody else reaped it");
                return;
        }
        while (hear(h, p)) {}
        judge(h, p, &info);
}

/* --- time ------------------------------------------------------------ */

void probe_step(struct host *h)
{
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                struct probe *p = &h->probes[i];
                if (p->stage == PROBE_COPY) {
                        copy_some(h, p);
                }
                if (p->stage == PROBE_WAIT && p->deadline_ns <= h->now_ns) {
                        order_child(h, p);
                }
                if (p->stage == PROBE_RUN && p->deadline_ns <= h->now_ns) {
                        p->timed_out = true;
                        p->deadline_ns = INT64_MAX; /* its death is told by the pidfd */
                        kill_child(p);
                }
        }
}

int64_t probe_deadline_ns(const struct host *h)
{
        int64_t at = INT64_MAX;
        for (uint32_t i = 0; i < PROBES_MAX; i++) {
                const struct probe *p = &h->probes[i];
                int64_t mine = p->stage == PROBE_COPY                            ? 0
                               : p->stage == PROBE_WAIT || p->stage == PROBE_RUN ? p->deadline_ns
                                                                                 : INT64_MAX;
                at = mine < at ? mine : at;
        }
        for (const struct shelf_file *f = h->shelf.files; f && at; f = f->next) {
                if (f->probe_wanted && !probe_any(h)) {
                        at = 0;
                }
        }
        return at;
}
