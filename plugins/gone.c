/*
 * The death of a worker: reaped, its socket emptied, its page read to the end, and only then told.
 * What ran is put down to the job that the page shows as running; what had ended has been told
 * before; the rest never started.
 */
#include "plugins/inner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_NO_SOCKET 70 /* as in worker/worker.h */

/* How often the kernel's out-of-memory killer struck on this machine, memory cgroups included; 0
 * when it does not say. */
uint64_t read_oom_kills(void)
{
        char text[16384];
        int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0) {
                close(fd);
        }
        text[n > 0 ? n : 0] = 0;
        const char *at = strstr(text, "\noom_kill ");
        return at ? strtoull(at + 10, NULL, 10) : 0;
}

static bool killed_by_oom(struct host *h, const struct crew *w)
{
        if (w->signal != SIGKILL || w->killed) {
                return false;
        }
        uint64_t now = read_oom_kills();
        bool rose = now > h->oom_kills;
        h->oom_kills = now;
        return rose;
}

/* It started and its verdict is not whole: as far as the page can be believed. */
static bool was_running(const struct crew *w)
{
        if (w->told == w->sent) {
                return false;
        }
        if (w->nonsense) {
                return true; /* in order, so it is the first that was not told */
        }
        uint32_t state = SLOT_STATE(
            atomic_load_explicit(&page_slot(w->page, w->told)->word, memory_order_acquire));
        return state == SLOT_RUNNING || state == SLOT_ENDED;
}

/* The jobs that ran with the first untold one. Which are of its batch is known without the page. */
static uint32_t count_running(const struct crew *w)
{
        uint32_t group = w->given[w->told % RING_SLOTS].group, n = 1;
        for (uint32_t at = w->told + 1; group && at != w->sent; at++, n++) {
                uint32_t state = SLOT_STATE(
                    atomic_load_explicit(&page_slot(w->page, at)->word, memory_order_acquire));
                bool ran = w->nonsense || state == SLOT_RUNNING || state == SLOT_ENDED;
                if (w->given[at % RING_SLOTS].group != group || !ran) {
                        break;
                }
        }
        return n;
}

static char *page_text(const struct crew *w)
{
        uint32_t n = atomic_load_explicit(&w->page->crash_n, memory_order_acquire);
        return n > 0 && n <= CRASH_TEXT ? strndup(w->page->crash_text, n) : NULL;
}

static char *describe_end(const struct crew *w, bool running, enum error_class how)
{
        if (w->doomed) {
                return strdup(w->doomed);
        }
        if (w->signal) {
                char *left = how == ERROR_OOM || w->killed ? NULL : page_text(w);
                const char *name = sigabbrev_np(w->signal);
                return left               ? left
                       : how == ERROR_OOM ? strdup("SIGKILL by the kernel's out-of-memory killer")
                                          : text_of("SIG%s", name ? name : "?");
        }
        if (w->exit_code == EXIT_NO_SOCKET) {
                char *left = page_text(w);
                if (left) {
                        return left;
                }
        }
        return text_of("exit(%d) called %s", w->exit_code,
                       running ? "by the handler"
                               : "between jobs, by a thread or library of a handler");
}

static void tell_gone(struct host *h, struct crew *w)
{
        bool running = was_running(w);
        bool fine = w->retiring && !w->doomed && !running && w->signal == 0 && w->exit_code == 0;
        enum error_class how = fine ? ERROR_NONE : killed_by_oom(h, w) ? ERROR_OOM : ERROR_CRASHED;
        char *text = fine ? NULL : describe_end(w, running, how);
        int64_t started = running ? page_slot(w->page, w->told)->started_wall_us : 0;
        struct host_event *e = host_tell(h, HOST_WORKER_GONE, NULL, "%s", text ? text : "");
        free(text);
        e->worker = w->number;
        e->pid = w->pid;
        e->generation = w->lineup ? w->lineup->roster->generation : 0;
        e->gone = (struct worker_gone){
            .how = how,
            .signal = w->signal,
            .exit_code = w->exit_code,
            .running = running,
            .position = running ? w->told : 0,
            .n_running = running ? count_running(w) : 0,
            .started_wall_us = started > 0 && started <= wall_us() ? started : 0,
            .text = e->text,
        };
}

static void forget(struct host *h, struct crew *w)
{
        h->crew[w->number] = crew_free(h, w);
        while (h->crew_end && !h->crew[h->crew_end - 1]) {
                h->crew_end--;
        }
}

void crew_failed(struct host *h, struct crew *w, const char *why)
{
        struct host_event *e = host_tell(h, HOST_WORKER_GONE, NULL, "%s", why);
        e->worker = w->number;
        e->gone = (struct worker_gone){.how = ERROR_CRASHED, .text = e->text};
        forget(h, w);
}

/* The group first, while the unreaped leader still keeps its number: nothing that a handler forked
 * lives on. */
static bool reap(struct crew *w)
{
        siginfo_t info = {0};
        kill(-w->pid, SIGKILL);
        int r = waitid((idtype_t)P_PIDFD, (id_t)w->pidfd, &info, WEXITED | WNOHANG);
        if (r == 0 && info.si_pid == 0) {
                return false;
        }
        if (r < 0) { /* somebody else in this process reaped it: how it ended is not known */
                info.si_code = CLD_KILLED;
                info.si_status = SIGKILL;
        }
        w->reaped = true;
        w->state = CREW_ENDED;
        w->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
        w->exit_code = info.si_code == CLD_EXITED ? info.si_status : 0;
        return true;
}

/* Called again and again while the pidfd is readable: first each message that is left, then the
 * rest of the page. */
bool crew_died(struct host *h, struct crew *w, struct host_event *ret)
{
        if (!w->reaped && !reap(w)) {
                return false;
        }
        for (;;) {
                enum heard heard = crew_hear(h, w, ret);
                if (heard == HEARD_EVENT) {
                        return true;
                }
                if (heard == HEARD_NOTHING) {
                        break;
                }
        }
        if (crew_tell(h, w, ret)) {
                return true;
        }
        w->log_since_ns = INT64_MIN / 2; /* what was dropped is told now */
        crew_tell_dropped(h, w);
        tell_gone(h, w);
        forget(h, w);
        return false;
}
