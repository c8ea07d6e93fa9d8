/*
 * What a skepd that died left in its state directory: the pids of its workers in `workers`, which
 * only skepd writes, and their pages. Workers that still live are ended first, recognised by pid
 * and start time, so that nothing starts any more while their pages are read. After a reboot
 * nothing of it means anything.
 *
 * `workers`: records of 64 bytes, text, padded with blanks, ended by a newline. The first says the
 * boot, the following "pid start-time" of worker 0, 1, ...; "0 0": none.
 */
#include "plugins/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_N    36

static bool read_boot_id(char ret_id[static BOOT_ID_N + 1])
{
        int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, ret_id, BOOT_ID_N);
        if (fd >= 0) {
                close(fd);
        }
        ret_id[BOOT_ID_N] = 0;
        return n == BOOT_ID_N;
}

/* Field 22 of /proc/PID/stat, behind the name in parentheses, which may hold anything. 0: no such
 * process. */
static unsigned long long start_time(pid_t pid)
{
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0) {
                close(fd);
        }
        if (n <= 0) {
                return 0;
        }
        text[n] = 0;
        char *at = strrchr(text, ')');
        for (int field = 2; at && field < 22; field++) {
                at = strchr(at + 1, ' ');
        }
        return at ? strtoull(at + 1, NULL, 10) : 0;
}

static int write_record(int fd, uint32_t index, const char *text)
{
        char record[RECORD_BYTES + 1];
        snprintf(record, sizeof record, "%-*s\n", RECORD_BYTES - 1, text);
        return pwrite(fd, record, RECORD_BYTES, (off_t)index * RECORD_BYTES) == RECORD_BYTES ? 0
                                                                                             : -EIO;
}

int record_open(const char *state_dir)
{
        char path[4096], text[RECORD_BYTES], boot[BOOT_ID_N + 1];
        snprintf(path, sizeof path, "%s/workers", state_dir);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
                return -errno;
        }
        if (!read_boot_id(boot)) {
                snprintf(boot, sizeof boot, "unknown");
        }
        snprintf(text, sizeof text, "boot %s", boot);
        if (write_record(fd, 0, text) < 0) {
                close(fd);
                return -EIO;
        }
        return fd;
}

void record_worker(int fd, uint32_t number, pid_t pid)
{
        char text[RECORD_BYTES];
        snprintf(text, sizeof text, "%d %llu", (int)pid, pid ? start_time(pid) : 0);
        write_record(fd, number + 1, text);
}

/* --- reading ------------------------------------------------------------ */

static void end_worker(pid_t pid, unsigned long long started, struct former *f)
{
        int pidfd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (pidfd < 0) {
                return;
        }
        if (start_time(pid) == started) { /* read after the pidfd: it is this very process */
                struct pollfd p = {.fd = pidfd, .events = POLLIN};
                kill(-pid, SIGKILL);
                syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
                while (poll(&p, 1, 5000) < 0 && errno == EINTR) {}
                f->ended_workers++;
        }
        close(pidfd);
}

/* Ends who still lives; true: the records are of this boot, so the pages mean something. */
static bool end_workers(const char *state_dir, struct former *f)
{
        char path[4096], record[RECORD_BYTES + 1], boot[BOOT_ID_N + 1];
        snprintf(path, sizeof path, "%s/workers", state_dir);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
                return false;
        }
        bool same_boot = false;
        for (uint32_t i = 0; i <= WORKERS_MAX && read(fd, record, RECORD_BYTES) == RECORD_BYTES;
             i++) {
                int pid;
                unsigned long long started;
                record[RECORD_BYTES] = 0;
                if (i == 0) {
                        same_boot = read_boot_id(boot) && strncmp(record, "boot ", 5) == 0 &&
                                    strncmp(record + 5, boot, BOOT_ID_N) == 0;
                        if (!same_boot) {
                                break;
                        }
                } else if (sscanf(record, "%d %llu", &pid, &started) == 2 && started) {
                        end_worker(pid, started, f);
                }
        }
        close(fd);
        return same_boot;
}

static struct str keep(struct former *f, const char *p, uint32_t n)
{
        return n ? arena_str(&f->arena, (struct str){p, n}) : (struct str){0};
}

static bool ended_whole(const struct slot *s)
{
        return s->parts == 0 && s->verdict < VERDICT_KINDS && s->delay_ms >= 0 &&
               (uint32_t)s->text_n + s->type_n + s->result_n <= SLOT_TEXT &&
               s->ended_mono_ns >= s->started_mono_ns;
}

/* How much a slot knows: of two about the same claim the one that knows more counts. */
static int rank(const struct former_slot *s)
{
        return s->ended ? 2 : s->started ? 1 : 0;
}

static void add_slot(struct former *f, const struct slot *s)
{
        uint32_t state = SLOT_STATE(atomic_load_explicit(&s->word, memory_order_relaxed));
        if (state == SLOT_EMPTY || state > SLOT_RECALLED) {
                return;
        }
        struct former_slot n = {.claim = s->claim, .token = s->token};
        memcpy(n.id.b, s->id, sizeof n.id.b);
        n.started = state == SLOT_RUNNING || state == SLOT_ENDED;
        n.ended = state == SLOT_ENDED && ended_whole(s);
        if (n.started) {
                n.verdict.started_wall_us = s->started_wall_us;
        }
        if (n.ended) {
                n.verdict.kind = (enum verdict_kind)s->verdict;
                n.verdict.delay_ms = s->delay_ms;
                n.verdict.run_ns = s->ended_mono_ns - s->started_mono_ns;
                n.verdict.text = keep(f, s->text, s->text_n);
                n.verdict.result_type = keep(f, s->text + s->text_n, s->type_n);
                n.verdict.result = keep(f, s->text + s->text_n + s->type_n, s->result_n);
        }
        f->slots[f->n++] = n;
}

static bool page_sane(const struct page *p)
{
        return p->magic == PAGE_MAGIC && p->version == PAGE_VERSION && p->n_slots == RING_SLOTS &&
               p->slot_size == sizeof(struct slot);
}

static int read_page(const char *state_dir, uint32_t number, struct former *f)
{
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/pages/%u", state_dir, number);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
                return 0;
        }
        struct page *p = malloc(sizeof *p);
        bool whole = p && fstat(fd, &st) == 0 && st.st_size == sizeof *p &&
                     pread(fd, p, sizeof *p, 0) == sizeof *p && page_sane(p);
        close(fd);
        if (!p) {
                return -ENOMEM;
        }
        struct former_slot *grown =
            whole ? realloc(f->slots, (f->n + RING_SLOTS) * sizeof *grown) : NULL;
        if (whole && !grown) {
                free(p);
                return -ENOMEM;
        }
        if (whole) {
                f->slots = grown;
                for (uint32_t i = 0; i < RING_SLOTS; i++) {
                        add_slot(f, &p->slots[i]);
                }
        }
        free(p);
        return 0;
}

static int compare_slots(const void *a, const void *b)
{
        const struct former_slot *x = a, *y = b;
        int c = memcmp(x->id.b, y->id.b, sizeof x->id.b);
        if (c == 0) {
                c = x->claim < y->claim ? -1 : x->claim > y->claim;
        }
        if (c == 0) {
                c = x->token < y->token ? -1 : x->token > y->token;
        }
        return c ? c : rank(y) - rank(x);
}

/* A job that was taken back from one worker and given to another stands in two pages. */
static void merge_slots(struct former *f)
{
        uint32_t kept = 0;
        if (f->n) {
                qsort(f->slots, f->n, sizeof *f->slots, compare_slots);
        }
        for (uint32_t i = 0; i < f->n; i++) {
                const struct former_slot *last = kept ? &f->slots[kept - 1] : NULL;
                if (last && job_id_eq(&last->id, &f->slots[i].id) &&
                    last->claim == f->slots[i].claim && last->token == f->slots[i].token) {
                        continue;
                }
                f->slots[kept++] = f->slots[i];
        }
        f->n = kept;
}

int former_read(const char *state_dir, struct former *ret_former, char *note, size_t note_size)
{
        struct former f = {0};
        int r = 0;
        if (end_workers(state_dir, &f)) {
                for (uint32_t i = 0; i < WORKERS_MAX && r == 0; i++) {
                        r = read_page(state_dir, i, &f);
                }
        }
        if (r < 0) {
                snprintf(note, note_size, "no memory left to read the pages of former workers");
                former_deinit(&f);
                return r;
        }
        merge_slots(&f);
        *ret_former = f;
        return 0;
}

void former_deinit(struct former *f)
{
        free(f->slots);
        arena_deinit(&f->arena);
        *f = (struct former){0};
}
