/*
 * A bed for tests of the plug-in host: a directory of its own under TMPDIR, a real host with real
 * workers, a loop that plays the engine and writes down what it was told.
 */
#ifndef SKEP_TESTS_HOST_BED_H
#define SKEP_TESTS_HOST_BED_H

#include "core/ledger.h"
#include "plugins/host.h"

#define BED_SEEN_MAX 16384
#define BED_TEXT_MAX 6000

/* One event as it was told; HOST_VERDICTS becomes one of these per verdict. */
struct seen {
        enum host_event_kind kind;
        bool used; /* a test asked for it */
        uint32_t worker, generation, position;
        int32_t pid;
        struct worker_gone gone; /* its text is in `text` */
        char *text, *plugin;
        int level;
        /* a verdict */
        enum verdict_kind verdict;
        int64_t delay_ms, run_ns, started_wall_us;
        char *result, *result_type;
        uint32_t result_n;
        struct submission *children;
        unsigned event_number; /* verdicts told together share it */
};

struct bed {
        char dir[256], handlers[300], state[300];
        struct host *h;
        struct roster *roster;
        struct seen *seen;
        uint32_t n_seen;
        unsigned events;
        bool refuse_checkpoints;
        uint64_t tokens;
        struct host_options o;
};

/* Makes the directories; handlers/ is there unless `bare`. */
void bed_make(struct bed *b, bool bare);
void bed_start(struct bed *b);
/* All of it with every plug-in that loads installed and worker 0 up. */
void bed_begin(struct bed *b);
void bed_stop(struct bed *b);   /* the host */
void bed_remove(struct bed *b); /* all of it */

int64_t bed_now(void);
void bed_install(struct bed *b, const char *villain, const char *as); /* as "x.so", by rename */
void bed_write(struct bed *b, const char *as, const void *bytes, size_t n);
char *bed_load(const char *villain, size_t *ret_n); /* the file's bytes */

/* Plays the engine until an event of this kind (worker >= 0: from it) that no test asked for yet is
 * there; NULL after half a minute, with what came instead on stderr. */
struct seen *bed_wait(struct bed *b, enum host_event_kind kind, int worker);
struct seen *bed_wait_verdict(struct bed *b, int worker, uint32_t position);
struct seen *bed_wait_plugin(struct bed *b, enum host_event_kind kind, const char *plugin);
struct seen *bed_find(struct bed *b, enum host_event_kind kind, int worker); /* does not play */
void bed_play(struct bed *b, int ms);
void bed_serve(struct bed *b, const char *type); /* until the roster serves the type */
void bed_until_unserved(struct bed *b, const char *type);

/* A worker, up. */
struct seen *bed_worker(struct bed *b, uint32_t worker);

struct job bed_job(struct bed *b, const char *type, const char *payload);
/* Gives one job and waits for its verdict; the test program ends when there is none. */
struct seen *bed_run(struct bed *b, uint32_t worker, uint32_t position, const char *type,
                     const char *payload);
int bed_give(struct bed *b, uint32_t worker, const char *type, const char *payload);

#endif
