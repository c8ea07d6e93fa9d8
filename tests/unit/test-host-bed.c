/*
 * See test-host-bed.h. Keeps copies of all that the host lends, so that a late look finds it.
 */
#include "tests/unit/test-host-bed.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS (90 * NS_PER_S)

static void stop_test(const char *what)
{
        perror(what);
        exit(1);
}

int64_t bed_now(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_S + t.tv_nsec;
}

void bed_make(struct bed *b, bool bare)
{
        const char *tmp = getenv("TMPDIR");
        memset(b, 0, sizeof *b);
        umask(022);
        snprintf(b->dir, sizeof b->dir, "%s/skep-host-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(b->dir)) {
                stop_test(b->dir);
        }
        snprintf(b->handlers, sizeof b->handlers, "%s/handlers", b->dir);
        snprintf(b->state, sizeof b->state, "%s/state", b->dir);
        if (mkdir(b->state, 0700) < 0 || (!bare && mkdir(b->handlers, 0755) < 0)) {
                stop_test(b->dir);
        }
        b->seen = calloc(BED_SEEN_MAX, sizeof *b->seen);
        b->o = (struct host_options){
            .handlers_dir = b->handlers,
            .state_dir = b->state,
            .worker_program = WORKER,
            .probe_timeout_ms = 10000,
            .payload_max = 1 << 20,
        };
}

void bed_start(struct bed *b)
{
        char note[512] = "";
        if (host_start(&b->o, &b->h, note, sizeof note) < 0) {
                fprintf(stderr, "host_start: %s\n", note);
                exit(1);
        }
}

static void forget_seen(struct bed *b)
{
        for (uint32_t i = 0; i < b->n_seen; i++) {
                struct seen *s = &b->seen[i];
                free(s->text);
                free(s->plugin);
                free(s->result);
                free(s->result_type);
                submission_free(s->children);
        }
        b->n_seen = 0;
}

void bed_stop(struct bed *b)
{
        b->h = host_stop(b->h);
        b->roster = roster_unref(b->roster);
        forget_seen(b);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
        (void)st;
        (void)type;
        (void)at;
        return remove(path);
}

void bed_remove(struct bed *b)
{
        bed_stop(b);
        nftw(b->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
        free(b->seen);
}

/* --- files ------------------------------------------------------------ */

char *bed_load(const char *villain, size_t *ret_n)
{
        char path[1024];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s.so", VILLAINS, villain);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0) {
                stop_test(path);
        }
        char *bytes = malloc((size_t)st.st_size);
        if (!bytes || read(fd, bytes, (size_t)st.st_size) != st.st_size) {
                stop_test(path);
        }
        close(fd);
        *ret_n = (size_t)st.st_size;
        return bytes;
}

void bed_write(struct bed *b, const char *as, const void *bytes, size_t n)
{
        char path[700], part[720];
        snprintf(path, sizeof path, "%s/%s", b->handlers, as);
        snprintf(part, sizeof part, "%s.part", path);
        int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
        if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || close(fd) < 0 ||
            rename(part, path) < 0) {
                stop_test(path);
        }
}

void bed_install(struct bed *b, const char *villain, const char *as)
{
        size_t n;
        char *bytes = bed_load(villain, &n);
        bed_write(b, as, bytes, n);
        free(bytes);
}

/* --- playing the engine ------------------------------------------------------------ */

static char *copy(struct str s)
{
        char *z = malloc((size_t)s.n + 1);
        if (!z) {
                stop_test("malloc");
        }
        memcpy(z, s.p ? s.p : "", s.n);
        z[s.n] = 0;
        return z;
}

static struct seen *note_event(struct bed *b, const struct host_event *e)
{
        if (b->n_seen == BED_SEEN_MAX) {
                forget_seen(b); /* only floods come here */
        }
        struct seen *s = &b->seen[b->n_seen++];
        *s = (struct seen){
            .kind = e->kind,
            .worker = e->worker,
            .generation = e->generation,
            .position = e->first,
            .pid = e->pid,
            .gone = e->gone,
            .level = e->level,
            .text = copy(e->text),
            .plugin = copy(e->plugin),
            .event_number = b->events,
        };
        return s;
}

static void note_verdicts(struct bed *b, const struct host_event *e)
{
        for (uint32_t i = 0; i < e->n_verdicts; i++) {
                const struct verdict *v = &e->verdicts[i];
                struct seen *s = note_event(b, e);
                s->position = e->first + i;
                s->verdict = v->kind;
                s->delay_ms = v->delay_ms;
                s->run_ns = v->run_ns;
                s->started_wall_us = v->started_wall_us;
                free(s->text);
                s->text = copy(v->text);
                s->result = copy(v->result);
                s->result_n = v->result.n;
                s->result_type = copy(v->result_type);
                s->children = v->children;
        }
}

static void obey(struct bed *b, const struct host_event *e)
{
        b->events++;
        if (e->kind == HOST_VERDICTS) {
                note_verdicts(b, e);
                return;
        }
        if (e->kind == HOST_ROSTER) {
                roster_unref(b->roster);
                b->roster = e->roster;
        }
        struct seen *s = note_event(b, e);
        if (e->kind == HOST_CHECKPOINT) {
                free(s->text);
                s->text = copy(e->bytes);
                host_checkpoint_saved(b->h, e->worker, e->first, !b->refuse_checkpoints);
        }
}

static void play_once(struct bed *b, int64_t until)
{
        struct pollfd fds[4];
        uint32_t n = host_pollfds(b->h, fds, 4);
        int64_t now = bed_now(), at = host_deadline_ns(b->h);
        at = at < until ? at : until;
        int ms = at <= now ? 0 : (int)((at - now) / NS_PER_MS) + 1;
        poll(fds, n, ms);
        for (;;) {
                struct host_event e;
                host_next(b->h, bed_now(), &e);
                if (e.kind == HOST_NONE) {
                        return;
                }
                obey(b, &e);
        }
}

void bed_play(struct bed *b, int ms)
{
        int64_t until = bed_now() + ms * NS_PER_MS;
        while (bed_now() < until) {
                play_once(b, until);
        }
}

struct seen *bed_find(struct bed *b, enum host_event_kind kind, int worker)
{
        for (uint32_t i = 0; i < b->n_seen; i++) {
                struct seen *s = &b->seen[i];
                if (!s->used && s->kind == kind && (worker < 0 || s->worker == (uint32_t)worker)) {
                        s->used = true;
                        return s;
                }
        }
        return NULL;
}

static void complain(struct bed *b, const char *what)
{
        fprintf(stderr, "waited in vain for %s; came so far:\n", what);
        for (uint32_t i = 0; i < b->n_seen && i < 40; i++) {
                const struct seen *s = &b->seen[i];
                fprintf(stderr, "  kind %d worker %u position %u %s %.200s\n", (int)s->kind,
                        s->worker, s->position, s->plugin, s->text);
        }
}

struct seen *bed_wait(struct bed *b, enum host_event_kind kind, int worker)
{
        int64_t until = bed_now() + PATIENCE_NS;
        struct seen *s;
        while (!(s = bed_find(b, kind, worker)) && bed_now() < until) {
                play_once(b, until);
        }
        if (!s) {
                complain(b, "an event");
        }
        return s;
}

static struct seen *find_verdict(struct bed *b, int worker, uint32_t position)
{
        for (uint32_t i = 0; i < b->n_seen; i++) {
                struct seen *s = &b->seen[i];
                if (!s->used && s->kind == HOST_VERDICTS && s->worker == (uint32_t)worker &&
                    s->position == position) {
                        s->used = true;
                        return s;
                }
        }
        return NULL;
}

struct seen *bed_wait_verdict(struct bed *b, int worker, uint32_t position)
{
        int64_t until = bed_now() + PATIENCE_NS;
        struct seen *s;
        while (!(s = find_verdict(b, worker, position)) && bed_now() < until) {
                play_once(b, until);
        }
        if (!s) {
                complain(b, "a verdict");
        }
        return s;
}

static struct seen *find_plugin(struct bed *b, enum host_event_kind kind, const char *plugin)
{
        for (uint32_t i = 0; i < b->n_seen; i++) {
                struct seen *s = &b->seen[i];
                if (!s->used && s->kind == kind && strcmp(s->plugin, plugin) == 0) {
                        s->used = true;
                        return s;
                }
        }
        return NULL;
}

struct seen *bed_wait_plugin(struct bed *b, enum host_event_kind kind, const char *plugin)
{
        int64_t until = bed_now() + PATIENCE_NS;
        struct seen *s;
        while (!(s = find_plugin(b, kind, plugin)) && bed_now() < until) {
                play_once(b, until);
        }
        if (!s) {
                complain(b, plugin);
        }
        return s;
}

static bool serves(struct bed *b, const char *type)
{
        return b->roster && roster_find(b->roster, str_of(type)) >= 0;
}

void bed_serve(struct bed *b, const char *type)
{
        int64_t until = bed_now() + PATIENCE_NS;
        while (!serves(b, type) && bed_now() < until) {
                play_once(b, until);
        }
        if (!serves(b, type)) {
                complain(b, type);
                exit(1);
        }
}

void bed_until_unserved(struct bed *b, const char *type)
{
        int64_t until = bed_now() + PATIENCE_NS;
        while (serves(b, type) && bed_now() < until) {
                play_once(b, until);
        }
        if (serves(b, type)) {
                complain(b, type);
                exit(1);
        }
}

struct seen *bed_worker(struct bed *b, uint32_t worker)
{
        int r = host_worker_spawn(b->h, worker);
        if (r < 0) {
                fprintf(stderr, "host_worker_spawn: %s\n", strerrordesc_np(-r));
                exit(1);
        }
        return bed_wait(b, HOST_WORKER_UP, (int)worker);
}

struct job bed_job(struct bed *b, const char *type, const char *payload)
{
        struct job j = {
            .claim = 3,
            .token = ++b->tokens,
            .attempt = 2,
            .max_attempts = 5,
            .generation = 1,
            .priority = 5,
            .queue = STR("default"),
            .type = str_of(type),
            .content_type = STR("text/plain"),
            .headers = {"x-colour\0red\0traceparent\0"
                        "00-aa-bb-01\0",
                        38},
            .payload = str_of(payload),
            .handler = b->roster ? roster_find(b->roster, str_of(type)) : -1,
        };
        memcpy(j.id.b + 8, &j.token, sizeof j.token);
        return j;
}

int bed_give(struct bed *b, uint32_t worker, const char *type, const char *payload)
{
        struct job j = bed_job(b, type, payload);
        struct job *one[] = {&j};
        return host_worker_give(b->h, worker, one, 1);
}

static const char *const installed[] = {
    "good", "null",     "exit0", "abort", "overflow", "close-all", "scribble",  "forge",
    "loop", "stubborn", "flood", "leak",  "orphan",   "slow-init", "fail-init", "polite",
};

void bed_begin(struct bed *b)
{
        char as[64];
        bed_make(b, false);
        for (size_t i = 0; i < ARRAY_LEN(installed); i++) {
                snprintf(as, sizeof as, "%s.so", installed[i]);
                bed_install(b, installed[i], as);
        }
        bed_start(b);
        for (size_t i = 0; i < ARRAY_LEN(installed); i++) {
                snprintf(as, sizeof as, "%s.so", installed[i]);
                if (!bed_wait_plugin(b, HOST_ACCEPTED, as)) {
                        exit(1);
                }
        }
        while (!b->roster || b->roster->generation < 1 || !serves(b, "test.polite") ||
               !serves(b, "test.noop") || !serves(b, "villain.stubborn")) {
                bed_play(b, 10);
        }
        if (!bed_worker(b, 0)) {
                exit(1);
        }
}

struct seen *bed_run(struct bed *b, uint32_t worker, uint32_t position, const char *type,
                     const char *payload)
{
        int r = bed_give(b, worker, type, payload);
        struct seen *s = r < 0 ? NULL : bed_wait_verdict(b, (int)worker, position);
        if (!s) {
                fprintf(stderr, "%s: no verdict (%d)\n", type, r);
                exit(1);
        }
        return s;
}
