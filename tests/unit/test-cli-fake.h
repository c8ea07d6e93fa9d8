/*
 * A tiny HTTP server on a Unix socket for tests of `skep`: each request is given to the test's own
 * function, which answers, or cuts the connection before or in the midst of an answer. One thread,
 * one connection at a time. And a way to run the real executable against it.
 */
#ifndef SKEP_TESTS_CLI_FAKE_H
#define SKEP_TESTS_CLI_FAKE_H

#include "cli/text.h"

#include <pthread.h>

struct fake_request {
        char method[16], path[1024];
        struct buf head, body;
};

enum fake_end {
        FAKE_ANSWER,
        FAKE_CUT_BEFORE, /* took the request, says nothing */
        FAKE_CUT_WITHIN, /* half of the answer's body */
};

struct fake_reply {
        int status;
        const char *type;   /* NULL: application/json */
        const char *header; /* "Name: value\r\n"..., or NULL */
        struct buf body;
        enum fake_end end;
};

#define FAKE_KEPT 64

struct fake {
        char dir[64], socket[108], url[124];
        int listener, connection; /* connection: the one being served, -1: none */
        pthread_t thread;
        pthread_mutex_t
            lock; /* held while a request is answered; taken before and after skep runs */
        void (*answer)(struct fake *f, const struct fake_request *rq, struct fake_reply *reply);
        /* how many there were, and the first of them; read after fake_stop() or between runs of
         * skep */
        size_t requests;
        struct fake_request kept[FAKE_KEPT];
        size_t number; /* for the test's own counting */
        struct buf notes;
};

void fake_start(struct fake *f,
                void (*answer)(struct fake *, const struct fake_request *, struct fake_reply *));
/* The same on a socket of the caller's. */
void fake_start_at(struct fake *f, const char *path,
                   void (*answer)(struct fake *, const struct fake_request *, struct fake_reply *));
void fake_stop(struct fake *f); /* also forgets what was kept */

/* Sets f->number before skep runs. */
void fake_count_from(struct fake *f, size_t number);

/* An answer that is a problem document; `members` are JSON: "\"detail\":\"...\"". */
void fake_problem(struct fake_reply *reply, int status, const char *members);

/* Value of a header of a request; the caller frees it; NULL: not there. */
char *fake_header(const struct fake_request *rq, const char *name);

struct ran {
        int code; /* exit code; 128 + signal */
        char *out, *err;
        long max_rss_kib;
};

#define ID "0190f1c2-0000-7000-8000-000000000001"

#define SKEP(f, input, ...) run_skep(f, input, (const char *const[]){__VA_ARGS__, NULL})
#define CHECK_RAN(r, expected_code, expected_out)                                                  \
        CU_ASSERT_TRUE(check_ran(__LINE__, r, expected_code, expected_out))
#define CHECK_SAYS(text, expected) CU_ASSERT_TRUE(check_says(__LINE__, text, expected))

/* Say on stdout what differs; `out` may be NULL: anything. */
bool check_ran(int line, const struct ran *r, int code, const char *out);
bool check_says(int line, const char *text, const char *expected);

/* Runs the executable that SKEP_PROGRAM names. words end with NULL and begin after "skep"; `input`
 * may be NULL. */
struct ran run_skep(const struct fake *f, const char *input, const char *const *words);
void ran_deinit(struct ran *r);

/* The same with its output on a pseudo-terminal of 100 columns; stderr goes there too. */
struct ran run_skep_on_terminal(const struct fake *f, const char *env, const char *const *words);

#endif
