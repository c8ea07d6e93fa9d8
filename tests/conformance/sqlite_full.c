/*
 * A full disk under a running ledger: what is refused says so, what was committed stays, and when
 * there is room again the ledger goes on. Needs the right to mount a small tmpfs; the mount is a
 * child's own.
 */
#include "core/ledger.h"
#include "ledgers/sqlite/sqlite.h"
#include "tests/conformance/sqlite_open.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_ALLOWED 77

static void wait_for(struct ledger *l, struct ledger_batch *b)
{
        l->ops->post(l, b);
        while (!l->ops->dispatch(l, 0)) {
                struct pollfd fd;
                (void)poll(&fd, l->ops->pollfds(l, &fd, 1), 1000);
        }
}

/* One job of 16 KiB. */
static enum ledger_outcome submit(struct ledger *l, struct id_mint *mint, char *note, size_t size)
{
        static char bytes[16 << 10];
        static uint64_t n;
        struct submit_row row = {
            .id = id_mint(mint, US_PER_S),
            .queue = STR("q"),
            .type = STR("noop"),
            .state = STATE_PENDING,
            .max_attempts = 1,
            .payload = {bytes, sizeof bytes},
        };
        struct submission s = {.rows = &row, .n = 1};
        struct ledger_submit *b = LEDGER_AS(submit, SUBMIT, ledger_batch_new(LEDGER_SUBMIT));
        b->base.no = (struct commit_no){7, LANE_CLAIMS, ++n};
        b->list = &s;
        b->rows = 1;
        wait_for(l, &b->base);
        enum ledger_outcome outcome = b->base.outcome;
        snprintf(note, size, "%s", b->base.note);
        ledger_batch_free(&b->base);
        return outcome;
}

static uint64_t count_pending(struct ledger *l)
{
        struct ledger_stats *b = LEDGER_AS(stats, STATS, ledger_batch_new(LEDGER_STATS));
        wait_for(l, &b->base);
        uint64_t n = b->n == 1 ? b->queues[0].jobs[STATE_PENDING] : 0;
        ledger_batch_free(&b->base);
        return n;
}

static enum ledger_outcome join(struct ledger *l)
{
        struct ledger_batch *b = ledger_batch_new(LEDGER_REGISTER);
        b->no = (struct commit_no){7, LANE_BEAT, 1};
        wait_for(l, b);
        enum ledger_outcome outcome = b->outcome;
        ledger_batch_free(b);
        return outcome;
}

static bool fill_up(struct ledger *l, const char *dir)
{
        struct id_mint mint = {.random = 1};
        char note[160] = "";
        uint64_t written = 0;
        enum ledger_outcome outcome = join(l);
        if (!expect(outcome == LEDGER_COMMITTED, "a node registers", note)) {
                return false;
        }
        while ((outcome = submit(l, &mint, note, sizeof note)) == LEDGER_COMMITTED) {
                written++;
        }
        bool well = expect(outcome == LEDGER_REFUSED, "a full disk refuses", note) &&
                    expect(strstr(note, "disk full") != NULL, "and says so", note) &&
                    expect(written > 0 && count_pending(l) == written, "nothing is lost", note);
        char ballast[300];
        snprintf(ballast, sizeof ballast, "%s/ballast", dir);
        (void)unlink(ballast);
        outcome = submit(l, &mint, note, sizeof note);
        return well && expect(outcome == LEDGER_COMMITTED, "goes on when there is room", note) &&
               expect(count_pending(l) == written + 1, "with all that was there", note);
}

static bool run_on(const char *dir)
{
        char path[300], note[200] = "";
        snprintf(path, sizeof path, "%s/ballast", dir);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        bool reserved = fd >= 0 && posix_fallocate(fd, 0, 1 << 20) == 0;
        if (fd >= 0) {
                close(fd);
        }
        snprintf(path, sizeof path, "%s/skep.db", dir);
        struct ledger_sqlite_options o = {.path = path};
        struct ledger *l = NULL;
        bool opened = reserved && ledger_sqlite_open(&o, &l, note, sizeof note) == 0;
        if (!expect(opened, "opens", note) || !l) {
                return false;
        }
        bool well = fill_up(l, dir);
        l->ops->close(l);
        return well;
}

enum verdict test_full_disk(const char *dir)
{
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                if (unshare(CLONE_NEWNS) < 0 ||
                    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                    mount("none", dir, "tmpfs", 0, "size=4m") < 0) {
                        _exit(NOT_ALLOWED);
                }
                bool well = run_on(dir);
                fflush(NULL);
                _exit(well ? 0 : 1);
        }
        int status = 0;
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) {
                return FAILED;
        }
        return WEXITSTATUS(status) == NOT_ALLOWED ? SKIPPED
               : WEXITSTATUS(status) == 0         ? PASSED
                                                  : FAILED;
}
