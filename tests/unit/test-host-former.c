/*
 * What a skepd that was killed leaves behind, read by the next one.
 */
#include "tests/unit/test-host-bed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct bed bed;

struct left {
        int worker_pid;
        uint64_t tokens;
};

static struct job job_of(uint64_t token, const char *type, const char *payload)
{
        struct job j = bed_job(&bed, type, payload);
        j.token = token;
        memset(j.id.b, (int)token, sizeof j.id.b);
        return j;
}

/* Plays a skepd with one worker in which job 1 has ended, 2 has ended with children (told by
 * message), 3 runs, 4 waits, 5 was taken back; then dies of SIGKILL. */
static _Noreturn void play_former(int report)
{
        static const char *const types[] = {"test.echo", "test.breed", "test.polite", "test.noop",
                                            "test.noop"};
        struct job jobs[5];
        struct job *all[5];
        bed_start(&bed);
        bed_serve(&bed, "test.noop");
        bed_serve(&bed, "test.polite");
        struct left left = {.worker_pid = bed_worker(&bed, 3)->pid};
        for (uint64_t i = 0; i < 5; i++) {
                jobs[i] = job_of(i + 1, types[i], i == 1 ? "1" : "word");
                all[i] = &jobs[i];
        }
        if (host_worker_give(bed.h, 3, all, 5) < 0 || !bed_wait(&bed, HOST_LOG, 3) ||
            host_worker_recall(bed.h, 3, 4) != 4) {
                _exit(1);
        }
        if (write(report, &left, sizeof left) != sizeof left) {
                _exit(1);
        }
        kill(getpid(), SIGKILL);
        _exit(1);
}

static struct left leave(void)
{
        struct left left = {0};
        int report[2], status;
        bed_make(&bed, false);
        bed_install(&bed, "good", "good.so");
        bed_install(&bed, "polite", "polite.so");
        CU_ASSERT_EQUAL_FATAL(pipe(report), 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                play_former(report[1]);
        }
        close(report[1]);
        CU_ASSERT_EQUAL_FATAL(read(report[0], &left, sizeof left), sizeof left);
        close(report[0]);
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return left;
}

static const struct former_slot *slot_of(const struct former *f, uint64_t token)
{
        for (uint32_t i = 0; i < f->n; i++) {
                if (f->slots[i].token == token) {
                        return &f->slots[i];
                }
        }
        return NULL;
}

static bool gone(int pid)
{
        char path[64], text[512] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f) {
                fclose(f);
        }
        const char *state = n ? strrchr(text, ')') : NULL;
        return !state || state[2] == 'Z' || state[2] == 'X';
}

static void test_reads_what_was_left(void)
{
        struct former f;
        char note[256];
        struct left left = leave();
        CU_ASSERT_EQUAL_FATAL(former_read(bed.state, &f, note, sizeof note), 0);
        for (int i = 0; i < 6000 && !gone(left.worker_pid); i++) {
                usleep(10000);
        }
        CU_ASSERT_TRUE(gone(left.worker_pid));
        CU_ASSERT_EQUAL(f.n, 5);
        const struct former_slot *s = slot_of(&f, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT(s->started && s->ended && s->claim == 3);
        CU_ASSERT_EQUAL(s->id.b[5], 1);
        CU_ASSERT_EQUAL(s->verdict.kind, VERDICT_DONE);
        CU_ASSERT(str_eq(s->verdict.result, STR("word")));
        s = slot_of(&f, 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT(s->started && !s->ended); /* its child went by message */
        s = slot_of(&f, 3);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT(s->started && !s->ended && s->verdict.started_wall_us > 0);
        for (uint64_t t = 4; t <= 5; t++) {
                s = slot_of(&f, t);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT(!s->started && !s->ended);
        }
        former_deinit(&f);
        bed_start(&bed); /* the next one takes the directory over */
        bed_serve(&bed, "test.noop");
        CU_ASSERT_PTR_NOT_NULL(bed_worker(&bed, 3));
        bed_remove(&bed);
}

static void state_file(const char *name, char *path, size_t n)
{
        snprintf(path, n, "%s/%s", bed.state, name);
}

static void test_trusts_no_page_of_another_boot(void)
{
        struct former f;
        char note[256], path[700];
        leave();
        state_file("workers", path, sizeof path);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        CU_ASSERT_EQUAL(pwrite(fd, "boot 00000000", 13, 0), 13);
        close(fd);
        CU_ASSERT_EQUAL_FATAL(former_read(bed.state, &f, note, sizeof note), 0);
        CU_ASSERT_EQUAL(f.n, 0);
        former_deinit(&f);
        bed_remove(&bed);
}

static void test_skips_damaged_pages(void)
{
        struct former f;
        char note[256], path[700];
        leave();
        state_file("pages/3", path, sizeof path);
        CU_ASSERT_EQUAL(truncate(path, 5000), 0);
        CU_ASSERT_EQUAL_FATAL(former_read(bed.state, &f, note, sizeof note), 0);
        CU_ASSERT_EQUAL(f.n, 0);
        former_deinit(&f);
        bed_remove(&bed);
}

static void test_finds_nothing_at_first(void)
{
        struct former f;
        char note[256];
        bed_make(&bed, false);
        CU_ASSERT_EQUAL_FATAL(former_read(bed.state, &f, note, sizeof note), 0);
        CU_ASSERT_EQUAL(f.n, 0);
        former_deinit(&f);
        bed_remove(&bed);
}

/* A process that was recorded and is none of the former's children any more: only its start time
 * tells. */
static void test_ends_only_its_own(void)
{
        struct former f;
        char note[256], path[700], record[65];
        leave();
        pid_t stranger = fork();
        if (stranger == 0) {
                pause();
                _exit(0);
        }
        snprintf(record, sizeof record, "%-63s\n", "");
        int n = snprintf(record, sizeof record, "%d 1", (int)stranger); /* another start time */
        record[n] = ' ';
        state_file("workers", path, sizeof path);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        CU_ASSERT_EQUAL(pwrite(fd, record, 64, 64), 64);
        close(fd);
        CU_ASSERT_EQUAL_FATAL(former_read(bed.state, &f, note, sizeof note), 0);
        int status;
        CU_ASSERT_EQUAL(waitpid(stranger, &status, WNOHANG), 0); /* lives */
        former_deinit(&f);
        kill(stranger, SIGKILL);
        waitpid(stranger, &status, 0);
        bed_remove(&bed);
}

UNIT_TESTS = {
    {"reads what was left", test_reads_what_was_left},
    {"trusts no page of another boot", test_trusts_no_page_of_another_boot},
    {"skips damaged pages", test_skips_damaged_pages},
    {"finds nothing at first", test_finds_nothing_at_first},
    {"ends only its own", test_ends_only_its_own},
};
UNIT_MAIN("host-former")
