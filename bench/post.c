/*
 * The producer that speaks HTTP: jobs by POST /v1/jobs over skepd's Unix socket, on connections
 * that are kept. It writes what it has prepared and reads no more of an answer than its length, so
 * that what is measured is skepd; curl in a loop would measure itself.
 *
 *     bench-post SOCKET pace N RATE [BATCH]      N POSTs at RATE a second, each when it is due or
 * as soon as one of the connections is free bench-post SOCKET fill N [BATCH] [FLIGHT]  N jobs as
 * fast as they are answered, FLIGHT (4) POSTs under way
 *
 * BATCH jobs (1) are one array. Before SOCKET may stand `--payload BYTES`. Prints one JSON line:
 * the times are from when a POST was due to when its answer was there, so that a pause counts for
 * all that it held up. An answer other than 201 ends the program.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bench/kit.h"

#define CONNECTIONS 16
#define JOBS_MAX    100000000
#define HEAD_MAX    512
#define TYPE        "{\"type\":\"noop\",\"payload\":"

struct connection {
        int fd;
        bool busy;
        double due_s;
        char *out, *in; /* the request; the answer so far */
        size_t out_n, out_at, in_n, in_room;
};

struct producer {
        struct connection connections[CONNECTIONS];
        long n_connections, jobs, batch; /* jobs: of one run in all */
        double rate;                     /* POSTs a second; 0: as fast as they are answered */
        long sent, answered;             /* POSTs */
        double begin_s, *took;
};

/* --- requests --------------------------------------------------------------------------------- */

static void open_connection(struct connection *c, const char *path, long batch)
{
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof to.sun_path) {
                die("%s: too long for a socket", path);
        }
        memcpy(to.sun_path, path, strlen(path));
        c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
                die("%s: %s", path, strerror(errno));
        }
        c->in_room = 4096;
        c->in = malloc(c->in_room);
        c->out = malloc(HEAD_MAX + (size_t)batch * (sizeof TYPE + (size_t)payload_size + 2));
        if (!c->in || !c->out) {
                die("no memory");
        }
}

/* The payload is a JSON text: what begins it takes the place of a leading zero. */
static char *add_job(char *p, long number)
{
        memcpy(p, TYPE, sizeof TYPE - 1);
        p += sizeof TYPE - 1;
        make_payload(wall_us(), number, p);
        p[0] = p[payload_size - 1] = '"';
        p[payload_size] = '}';
        return p + payload_size + 1;
}

static void make_request(struct producer *p, struct connection *c)
{
        long first = p->sent * p->batch, left = p->jobs - first;
        long n = left < p->batch ? left : p->batch;
        size_t one = sizeof TYPE - 1 + (size_t)payload_size + 1;
        size_t length = p->batch == 1 ? one : (one + 1) * (size_t)n + 1;
        int head = snprintf(c->out, HEAD_MAX,
                            "POST /v1/jobs HTTP/1.1\r\nHost: skep\r\nContent-Type: application/json"
                            "\r\nContent-Length: %zu\r\n\r\n",
                            length);
        char *to = c->out + head;
        for (long i = 0; i < n; i++) {
                if (p->batch > 1) {
                        *to++ = i ? ',' : '[';
                }
                to = add_job(to, first + i);
        }
        if (p->batch > 1) {
                *to++ = ']';
        }
        c->out_n = (size_t)(to - c->out);
        c->out_at = c->in_n = 0;
}

static void send_some(struct connection *c)
{
        while (c->out_at < c->out_n) {
                ssize_t r = send(c->fd, c->out + c->out_at, c->out_n - c->out_at,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
                if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
                        return;
                }
                if (r < 0) {
                        die("send: %s", strerror(errno));
                }
                c->out_at += (size_t)r;
        }
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Is the whole answer there? */
static bool is_whole(const struct connection *c)
{
        const char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
        if (!end) {
                return false;
        }
        const char *length = memmem(c->in, (size_t)(end - c->in), "Content-Length: ", 16);
        if (!length) {
                die("the answer has no length");
        }
        return c->in_n >= (size_t)(end + 4 - c->in) + strtoul(length + 16, NULL, 10);
}

static bool receive(struct connection *c)
{
        if (c->in_room - c->in_n < 65536) {
                c->in_room = 2 * c->in_room + 65536;
                c->in = realloc(c->in, c->in_room);
                if (!c->in) {
                        die("no memory");
                }
        }
        ssize_t r = recv(c->fd, c->in + c->in_n, c->in_room - c->in_n - 1, MSG_DONTWAIT);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
                return false;
        }
        if (r <= 0) {
                die("skepd went away: %s", r ? strerror(errno) : "end of file");
        }
        c->in_n += (size_t)r;
        c->in[c->in_n] = 0;
        return is_whole(c);
}

static void take_answer(struct producer *p, struct connection *c)
{
        if (memcmp(c->in, "HTTP/1.1 201", 12) != 0) {
                die("skepd answers %.300s", c->in);
        }
        p->took[p->answered++] = monotonic_s() - c->due_s;
        c->busy = false;
}

/* --- the run ---------------------------------------------------------------------------------- */

static double due_s(const struct producer *p)
{
        return p->rate ? p->begin_s + (double)p->sent / p->rate : monotonic_s();
}

static void start_what_is_due(struct producer *p, long posts)
{
        for (long i = 0; i < p->n_connections && p->sent < posts; i++) {
                struct connection *c = &p->connections[i];
                if (!c->busy && due_s(p) <= monotonic_s()) {
                        c->due_s = due_s(p);
                        make_request(p, c);
                        c->busy = true;
                        p->sent++;
                        send_some(c);
                }
        }
}

/* Until an answer comes, or a connection is free and the next POST is due. */
static void wait_for_some(struct producer *p, long posts)
{
        struct pollfd fds[CONNECTIONS];
        bool spare = false;
        for (long i = 0; i < p->n_connections; i++) {
                const struct connection *c = &p->connections[i];
                spare |= !c->busy;
                fds[i] = (struct pollfd){c->fd, POLLIN, 0};
                fds[i].events |= c->out_at < c->out_n ? POLLOUT : 0;
        }
        double left = spare && p->sent < posts ? due_s(p) - monotonic_s() : 60;
        left = left > 0 ? left : 0;
        struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        if (ppoll(fds, (nfds_t)p->n_connections, &t, NULL) == 0 && left == 60) {
                die("no answer within 60 s");
        }
}

static void run(struct producer *p)
{
        long posts = (p->jobs + p->batch - 1) / p->batch;
        p->took = calloc((size_t)posts, sizeof *p->took);
        if (!p->took) {
                die("no memory");
        }
        p->begin_s = monotonic_s();
        while (p->answered < posts) {
                start_what_is_due(p, posts);
                wait_for_some(p, posts);
                for (long i = 0; i < p->n_connections; i++) {
                        struct connection *c = &p->connections[i];
                        send_some(c);
                        if (c->busy && receive(c)) {
                                take_answer(p, c);
                        }
                }
        }
        double seconds = monotonic_s() - p->begin_s;
        sort_times(p->took, posts);
        printf("{\"posts\":%ld,\"jobs\":%ld,\"seconds\":%.4f,\"rate\":%.1f,\"cpu_per_10k\":%.4f,"
               "\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
               posts, p->jobs, seconds, (double)p->jobs / seconds,
               cpu_seconds() * 1e4 / (double)p->jobs, p->took[posts / 2] * 1e3,
               p->took[posts * 99 / 100] * 1e3);
}

static long optional(char **argv, int argc, int at, long most, long otherwise)
{
        return argc > at ? number_of(argv[at], 1, most) : otherwise;
}

int main(int argc, char **argv)
{
        take_payload_size(&argc, &argv);
        struct producer p = {.n_connections = CONNECTIONS};
        if (argc > 4 && strcmp(argv[2], "pace") == 0) {
                p.rate = (double)number_of(argv[4], 1, 1000000);
                p.batch = optional(argv, argc, 5, BATCH_MAX, 1);
                p.jobs = number_of(argv[3], 1, JOBS_MAX) * p.batch;
        } else if (argc > 3 && strcmp(argv[2], "fill") == 0) {
                p.batch = optional(argv, argc, 4, BATCH_MAX, 1);
                p.n_connections = optional(argv, argc, 5, CONNECTIONS, 4);
                p.jobs = number_of(argv[3], 1, JOBS_MAX);
        } else {
                fputs("usage: bench-post [--payload BYTES] SOCKET pace N RATE [BATCH] |"
                      " fill N [BATCH] [FLIGHT]\n",
                      stderr);
                return 64;
        }
        for (long i = 0; i < p.n_connections; i++) {
                open_connection(&p.connections[i], argv[1], p.batch);
        }
        run(&p);
        for (long i = 0; i < p.n_connections; i++) {
                close(p.connections[i].fd);
                free(p.connections[i].in);
                free(p.connections[i].out);
        }
        free(p.took);
        return 0;
}
