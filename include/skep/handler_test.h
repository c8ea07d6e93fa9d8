/*
 * skep/handler_test.h: a stand-in for the worker, to test a handler in its author's own build.
 * Header only, no process, no server; include it in one file of the test program.
 *
 *     struct skep_test t;
 *     skep_test_init(&t, "email.send", "{\"to\":\"x\"}", 10);
 *     assert(skep_test_run(&t, &my_handler) == SKEP_DONE);
 *     assert(strcmp(t.result, "sent") == 0);
 *     skep_test_deinit(&t);
 *
 * Set t.why before the run to be asked to stop, t.headers and t.options (name, value, ..., NULL) to
 * be given some, t.checkpoint for what an earlier attempt saved, t.save_fails (-EIO) to have the
 * ledger refuse one. A batch: skep_test_run_batch(). It does not isolate: a handler that crashes
 * takes the test with it, which is what a debugger wants.
 */
#ifndef SKEP_HANDLER_TEST_H
#define SKEP_HANDLER_TEST_H

#include <skep/handler.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKEP_TEST_PIECES 256

struct skep_test {
        struct skep_job job; /* first: services get the test from the job */
        const struct skep_handler *handler;
        /* set before the run */
        int why;
        const char *const *headers, *const *options;
        const char *checkpoint;
        size_t checkpoint_size;
        int save_fails; /* what checkpoint_save() returns; 0: it saves */
        /* what the handler did */
        int verdict;
        int64_t delay_ms;
        char reason[4096];
        char result[65537], result_type[128];
        size_t result_size;
        char log[4096]; /* the last line */
        unsigned n_logs, n_children;
        char child_type[256]; /* of the last child */
        double done, total;
        unsigned n_saves; /* checkpoints that it saved; the last one is in `checkpoint` */
        /* memory of the job */
        void *pieces[SKEP_TEST_PIECES];
        unsigned n_pieces;
};

static inline const char *skep_test_find(const char *const *pairs, const char *name, int any_case)
{
        for (; pairs && pairs[0] && pairs[1]; pairs += 2) {
                const char *a = pairs[0], *b = name;
                while (*a && *b && (*a == *b || (any_case && (*a | 32) == (*b | 32)))) {
                        a++;
                        b++;
                }
                if (!*a && !*b) {
                        return pairs[1];
                }
        }
        return NULL;
}

static inline const char *skep_test_header(const struct skep_job *job, const char *name)
{
        return skep_test_find(((const struct skep_test *)(const void *)job)->headers, name, 1);
}

static inline int skep_test_cancelled(const struct skep_job *job)
{
        return ((const struct skep_test *)(const void *)job)->why;
}

static inline int skep_test_cancel_fd(const struct skep_job *job)
{
        (void)job;
        return -1;
}

static inline void skep_test_progress(struct skep_job *job, double done, double total)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        t->done = done;
        t->total = total;
}

static inline int skep_test_result(struct skep_job *job, const char *type, const void *p, size_t n)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        if (n >= sizeof t->result) {
                return -E2BIG;
        }
        if (n) {
                memcpy(t->result, p, n);
        }
        t->result[n] = 0;
        t->result_size = n;
        snprintf(t->result_type, sizeof t->result_type, "%s", type ? type : "");
        return 0;
}

static inline void skep_test_log(struct skep_job *job, int level, const char *fmt, ...)
    SKEP_PRINTF(3, 4);
static inline void skep_test_log(struct skep_job *job, int level, const char *fmt, ...)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        va_list ap;
        (void)level;
        va_start(ap, fmt);
        vsnprintf(t->log, sizeof t->log, fmt, ap);
        va_end(ap);
        t->n_logs++;
}

static inline void *skep_test_alloc(struct skep_job *job, size_t n)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        void *p = t->n_pieces < SKEP_TEST_PIECES ? calloc(1, n ? n : 1) : NULL;
        if (p) {
                t->pieces[t->n_pieces++] = p;
        }
        return p;
}

static inline int skep_test_save(struct skep_job *job, const void *p, size_t n)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        if (t->save_fails) {
                return t->save_fails;
        }
        char *copy = n <= 65536 ? (char *)skep_test_alloc(job, n + 1) : NULL;
        if (!copy) {
                return n > 65536 ? -E2BIG : -ENOMEM;
        }
        if (n) {
                memcpy(copy, p, n);
        }
        t->checkpoint = copy;
        t->checkpoint_size = n;
        t->n_saves++;
        return 0;
}

static inline struct skep_str skep_test_load(const struct skep_job *job)
{
        const struct skep_test *t = (const struct skep_test *)(const void *)job;
        struct skep_str s = {t->checkpoint_size ? t->checkpoint : NULL, t->checkpoint_size};
        return s;
}

static inline int skep_test_enqueue(struct skep_job *job, const struct skep_child *child)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        if (!child || !child->type || !*child->type) {
                return -EINVAL;
        }
        if (t->n_children >= 1000) {
                return -ENOSPC;
        }
        snprintf(t->child_type, sizeof t->child_type, "%s", child->type);
        t->n_children++;
        return 0;
}

static inline const char *skep_test_default(const struct skep_handler *h, const char *name)
{
        for (uint32_t i = 0; h && i < h->n_options; i++) {
                if (strcmp(h->options[i].name, name) == 0) {
                        return h->options[i].value;
                }
        }
        return NULL;
}

static inline const char *skep_test_option(const struct skep_job *job, const char *name)
{
        const struct skep_test *t = (const struct skep_test *)(const void *)job;
        const char *set = skep_test_find(t->options, name, 0);
        return set ? set : skep_test_default(t->handler, name);
}

static inline int skep_test_verdict(struct skep_job *job, int verdict, int64_t delay_ms,
                                    const char *fmt, ...) SKEP_PRINTF(4, 5);
static inline int skep_test_verdict(struct skep_job *job, int verdict, int64_t delay_ms,
                                    const char *fmt, ...)
{
        struct skep_test *t = (struct skep_test *)(void *)job;
        va_list ap;
        t->verdict = verdict;
        t->delay_ms = delay_ms;
        va_start(ap, fmt);
        if (fmt) {
                vsnprintf(t->reason, sizeof t->reason, fmt, ap);
        } else {
                t->reason[0] = 0;
        }
        va_end(ap);
        return verdict;
}

/* A first attempt at a job with this type and payload. The payload must outlive the test. */
static inline void skep_test_init(struct skep_test *t, const char *type, const char *payload,
                                  size_t payload_size)
{
        static const struct skep_services services = {
            sizeof(struct skep_services),
            skep_test_header,
            skep_test_cancelled,
            skep_test_cancel_fd,
            skep_test_progress,
            skep_test_result,
            skep_test_log,
            skep_test_save,
            skep_test_load,
            skep_test_enqueue,
            skep_test_alloc,
            skep_test_option,
            skep_test_verdict,
        };
        memset(t, 0, sizeof *t);
        t->job.size = (uint32_t)sizeof t->job;
        t->job.services = &services;
        t->job.id.p = "0190163d-8694-739b-aea5-966c26f8ad91";
        t->job.id.n = 36;
        t->job.type.p = type;
        t->job.type.n = strlen(type);
        t->job.queue.p = "default";
        t->job.queue.n = 7;
        t->job.payload.p = payload;
        t->job.payload.n = payload_size;
        t->job.content_type.p = t->job.headers.p = "";
        t->job.traceparent.p = t->job.tracestate.p = t->job.baggage.p = "";
        t->job.generation = t->job.claim = t->job.attempt = 1;
        t->job.max_attempts = 3;
        t->job.priority = 5;
        t->verdict = -1;
}

struct skep_test_setup {
        struct skep_setup base; /* first: option() gets the test from the setup */
        struct skep_test *test;
};

static inline const char *skep_test_setup_option(const struct skep_setup *setup, const char *name)
{
        const struct skep_test_setup *s = (const struct skep_test_setup *)(const void *)setup;
        return skep_test_option(&s->test->job, name);
}

static inline int skep_test_begin(struct skep_test *t, const struct skep_handler *h, void **state)
{
        struct skep_test_setup setup;
        memset(&setup, 0, sizeof setup);
        setup.base.size = (uint32_t)sizeof setup.base;
        setup.base.type = h->type;
        setup.base.option = skep_test_setup_option;
        setup.base.reason = t->reason;
        setup.base.reason_size = sizeof t->reason;
        setup.test = t;
        t->handler = h;
        return h->init ? h->init(&setup.base, state) : 0;
}

/* init (its failure is SKEP_RETRY with the reason, for each of them), run_batch, fini. Each of the
 * n tests is a job, made by skep_test_init(); its verdict is in there, SKEP_RETRY for one that was
 * forgotten. Returns how many are SKEP_DONE; -ENOMEM. */
static inline int skep_test_run_batch(struct skep_test *const *tests, size_t n,
                                      const struct skep_handler *h)
{
        void *state = NULL;
        int done = 0;
        struct skep_job **jobs = (struct skep_job **)calloc(n ? n : 1, sizeof *jobs);
        if (!jobs || n == 0) {
                free(jobs);
                return jobs ? 0 : -ENOMEM;
        }
        int failed = skep_test_begin(tests[0], h, &state);
        for (size_t i = 0; i < n; i++) {
                jobs[i] = &tests[i]->job;
                tests[i]->handler = h;
                tests[i]->verdict = SKEP_RETRY;
                if (i || !failed) {
                        snprintf(tests[i]->reason, sizeof tests[i]->reason, "%s",
                                 failed ? tests[0]->reason : "run_batch() gave no verdict");
                }
        }
        if (!failed) {
                h->run_batch(jobs, n, state);
                if (h->fini) {
                        h->fini(state);
                }
        }
        for (size_t i = 0; i < n; i++) {
                done += tests[i]->verdict == SKEP_DONE;
        }
        free(jobs);
        return done;
}

/* The same for one job, through run() where there is one. Returns the verdict. */
static inline int skep_test_run(struct skep_test *t, const struct skep_handler *h)
{
        void *state = NULL;
        if (!h->run) {
                struct skep_test *one[1];
                one[0] = t;
                (void)skep_test_run_batch(one, 1, h);
                return t->verdict;
        }
        if (skep_test_begin(t, h, &state) != 0) {
                return t->verdict = SKEP_RETRY;
        }
        t->verdict = h->run(&t->job, state);
        if (h->fini) {
                h->fini(state);
        }
        return t->verdict;
}

static inline void skep_test_deinit(struct skep_test *t)
{
        while (t->n_pieces) {
                free(t->pieces[--t->n_pieces]);
        }
}

#ifdef __cplusplus
}
#endif

#endif
