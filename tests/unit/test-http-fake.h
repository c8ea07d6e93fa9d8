/*
 * A daemon behind the HTTP server that keeps its jobs in memory and answers from a thread of its
 * own, and a client on raw sockets that can misbehave. For the tests of http/ alone.
 */
#ifndef SKEP_TESTS_HTTP_FAKE_H
#define SKEP_TESTS_HTTP_FAKE_H

#include <pthread.h>

#include "http/server.h"

#define FAKE_TOKEN "0123456789abcdef-right"

struct fake_job {
        struct submit_row row; /* texts in fake.arena */
        enum job_state state;
        uint32_t generation;
};

struct fake {
        char dir[64], socket[96], tokens[96];
        struct config config;
        struct http *http;
        bool http_stopped;
        uint16_t port;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct api_request *first, *last;
        struct arena arena;
        struct fake_job *jobs;
        uint32_t n, capacity;
        struct {
                struct job_key key;
                uint8_t hash[16];
                uint32_t from, n; /* jobs */
        } requests[64];
        uint32_t n_requests;
        /* how it behaves; under the lock */
        bool hold;        /* answers nothing meanwhile */
        bool unavailable; /* 503 for all */
        bool refuse;      /* post says that the daemon stops */
        bool at_once;     /* answers within post() */
        bool quit;
        uint32_t seen, submissions;       /* requests that reached it */
        uint32_t refuse_submissions_from; /* the n-th and later are refused; 0: none */
        bool full;                        /* queues are */
        bool busy;                        /* no operation begins, and none ends */
        uint32_t races; /* so many writes of schedules find that another was faster */
        /* what operators did, under the lock; texts in `arena` */
        struct schedule_row schedules[8];
        uint32_t n_schedules;
        uint64_t revision;
        struct queue_control controls[2]; /* as config.queues */
        struct bulk_request bulk;         /* the last one */
        struct bulk_view bulks[32];
        uint32_t n_bulks;
        uint32_t workers;
};

/* test-http-fake-operate.c: the schedule "nightly" of the configuration; and what a request of an
 * operator does. false: it is none of those. */
void fake_operate_start(struct fake *f);
bool fake_operate(struct fake *f, struct api_request *r);
#define FAKE_NOW INT64_C(1700000000123456)

/* max_waiting and head_timeout_ms as in struct http_options; tcp: listen there too. */
void fake_start(struct fake *f, bool tcp, uint32_t max_waiting, uint32_t head_timeout_ms);
void fake_stop(struct fake *f); /* the server (unless it was stopped before), then the daemon */
void fake_stop_http(struct fake *f); /* the server alone, while the daemon holds requests */
void fake_set(struct fake *f, bool *flag, bool value);
void fake_await(struct fake *f, uint32_t seen); /* until so many requests reached it */
uint32_t fake_jobs(struct fake *f);
struct job_id fake_job(struct fake *f, uint32_t i);
void fake_make_state(struct fake *f, uint32_t i, enum job_state s);

/* --- the client --- */

struct reply {
        int status; /* 0: no answer */
        char *head; /* with its NUL */
        char *body; /* chunks joined, with its NUL */
        size_t n;
};

int client_connect(const struct fake *f, bool tcp);
bool client_send(int fd, const void *p, size_t n); /* false: the server hung up */
void client_receive(int fd, struct reply *ret);    /* to its end; closes fd */
void reply_free(struct reply *r);

/* One request with Connection: close and a Host of localhost. extra: further header lines, each
 * with its CRLF; body NULL: none. */
void client_ask(const struct fake *f, bool tcp, const char *method, const char *path,
                const char *extra, const void *body, size_t n, struct reply *ret);

/* Over the Unix socket, JSON. */
void client_post(const struct fake *f, const char *body, struct reply *ret);
void client_get(const struct fake *f, const char *path, struct reply *ret);

/* With a JSON body (NULL: none). */
void client_send_json(const struct fake *f, const char *method, const char *path, const char *body,
                      struct reply *ret);

/* Asserts a problem document that is true to itself and says `detail`; about: for the report. */
void check_problem(const struct reply *r, int status, const char *detail, const char *about);

#define CHECK_STATUS(r, expected)                                                                  \
        do {                                                                                       \
                if ((r).status != (expected)) {                                                    \
                        fprintf(stderr, "  status %d, not %d: %s\n", (r).status, (expected),       \
                                (r).body);                                                         \
                }                                                                                  \
                CU_ASSERT_EQUAL((r).status, (expected));                                           \
        } while (0)
#define CHECK_HAS(r, text)                                                                         \
        do {                                                                                       \
                if (!strstr((r).body, (text))) {                                                   \
                        fprintf(stderr, "  no %s in %.400s\n", (text), (r).body);                  \
                }                                                                                  \
                CU_ASSERT_PTR_NOT_NULL(strstr((r).body, (text)));                                  \
        } while (0)

/* Every route once, for tests that go through all. */
struct fake_route {
        const char *method, *path;
        int status;       /* for whoever may */
        const char *body; /* NULL: none */
        bool local;       /* answered without the daemon */
};
extern const struct fake_route fake_routes[];
#define FAKE_ROUTES 40
void client_ask_route(const struct fake *f, bool tcp, size_t i, const char *extra,
                      struct reply *ret);

#endif
