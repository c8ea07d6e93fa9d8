/*
 * A tiny HTTP server for tests of `skep`, and a way to run it. See test-cli-fake.h. It understands
 * just what libcurl sends; libmicrohttpd was not used because a cut in the midst of an answer is
 * what is wanted here.
 */
#include "tests/unit/test-cli-fake.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

char *fake_header(const struct fake_request *rq, const char *name)
{
        size_t n = strlen(name);
        for (const char *p = strstr(buf_z(&rq->head), "\r\n"); p; p = strstr(p, "\r\n")) {
                p += 2;
                if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
                        p += n + 1;
                        p += strspn(p, " ");
                        return text_printf("%.*s", (int)strcspn(p, "\r"), p);
                }
        }
        return NULL;
}

/* --- the server ------------------------------------------------------------------------------- */

/* Reads until the header's end; what follows of the body goes to rq->body. false: the peer left. */
static bool read_head(int fd, struct fake_request *rq)
{
        char piece[65536];
        for (;;) {
                ssize_t n = read(fd, piece, sizeof piece);
                if (n <= 0) {
                        return false;
                }
                buf_add(&rq->head, piece, (size_t)n);
                char *end = memmem(rq->head.p, rq->head.n, "\r\n\r\n", 4);
                if (end) {
                        size_t head_n = (size_t)(end + 4 - rq->head.p);
                        buf_add(&rq->body, rq->head.p + head_n, rq->head.n - head_n);
                        rq->head.n = head_n;
                        rq->head.p[head_n] = 0;
                        return sscanf(rq->head.p, "%15s %1023s", rq->method, rq->path) == 2;
                }
        }
}

static bool read_request(int fd, struct fake_request *rq)
{
        char piece[65536];
        if (!read_head(fd, rq)) {
                return false;
        }
        CLEANUP(free_text)
        char *length = fake_header(rq, "content-length");
        size_t wanted = length ? strtoul(length, NULL, 10) : 0;
        while (rq->body.n < wanted) {
                ssize_t n = read(fd, piece, sizeof piece);
                if (n <= 0) {
                        return false;
                }
                buf_add(&rq->body, piece, (size_t)n);
        }
        return true;
}

static void write_all(int fd, const char *p, size_t n)
{
        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
                if (k <= 0) {
                        return;
                }
                p += k;
                n -= (size_t)k;
        }
}

static bool send_reply(int fd, const struct fake_reply *reply)
{
        if (reply->end == FAKE_CUT_BEFORE) {
                return false;
        }
        CLEANUP(buf_deinit)
        struct buf head = {0};
        buf_printf(&head, "HTTP/1.1 %d Said\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
                   reply->status, reply->type ? reply->type : "application/json", reply->body.n,
                   reply->header ? reply->header : "");
        write_all(fd, head.p, head.n);
        bool whole = reply->end == FAKE_ANSWER;
        write_all(fd, buf_z(&reply->body), whole ? reply->body.n : reply->body.n / 2);
        return whole;
}

static void request_deinit(struct fake_request *rq)
{
        buf_deinit(&rq->head);
        buf_deinit(&rq->body);
}

static void serve(struct fake *f, int fd)
{
        for (bool on = true; on;) {
                struct fake_request rq = {0};
                struct fake_reply reply = {.status = 200};
                if (!read_request(fd, &rq)) {
                        request_deinit(&rq);
                        return;
                }
                pthread_mutex_lock(&f->lock);
                f->answer(f, &rq, &reply);
                if (f->requests < FAKE_KEPT) {
                        f->kept[f->requests] = rq;
                } else {
                        request_deinit(&rq);
                }
                f->requests++; /* before the answer: skep may end at once when it has it */
                pthread_mutex_unlock(&f->lock);
                on = send_reply(fd, &reply);
                buf_deinit(&reply.body);
        }
}

static void keep_connection(struct fake *f, int fd)
{
        pthread_mutex_lock(&f->lock);
        f->connection = fd;
        pthread_mutex_unlock(&f->lock);
}

static void *run_server(void *ctx)
{
        struct fake *f = ctx;
        for (int fd; (fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
                keep_connection(f, fd);
                serve(f, fd);
                keep_connection(f, -1);
                close(fd);
        }
        return NULL;
}

void fake_start_at(struct fake *f, const char *path,
                   void (*answer)(struct fake *, const struct fake_request *, struct fake_reply *))
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        f->answer = answer;
        f->connection = -1;
        snprintf(f->socket, sizeof f->socket, "%s", path);
        snprintf(f->url, sizeof f->url, "unix:%s", f->socket);
        memcpy(at.sun_path, f->socket, strlen(f->socket) + 1);
        f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(f->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
            listen(f->listener, 16) != 0 || pthread_create(&f->thread, NULL, run_server, f) != 0) {
                abort();
        }
}

void fake_start(struct fake *f,
                void (*answer)(struct fake *, const struct fake_request *, struct fake_reply *))
{
        *f = (struct fake){.dir = "/tmp/test-cli-XXXXXX"};
        if (!mkdtemp(f->dir)) {
                abort();
        }
        CLEANUP(free_text)
        char *path = text_printf("%s/s", f->dir);
        fake_start_at(f, path, answer);
}

void fake_stop(struct fake *f)
{
        shutdown(f->listener, SHUT_RDWR);
        pthread_mutex_lock(&f->lock);
        if (f->connection >= 0) {
                shutdown(f->connection,
                         SHUT_RDWR); /* a peer that keeps it open would hold the thread */
        }
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
        close(f->listener);
        unlink(f->socket);
        if (f->dir[0]) {
                rmdir(f->dir);
        }
        for (size_t i = 0; i < f->requests && i < FAKE_KEPT; i++) {
                request_deinit(&f->kept[i]);
        }
        buf_deinit(&f->notes);
}

/* --- running skep ----------------------------------------------------------------------------- */

static void become_skep(const struct fake *f, const char *env, const char *const *words)
{
        const char *argv[64] = {"skep"};
        const char *program = getenv("SKEP_PROGRAM");
        for (int i = 0; words[i] && i < 62; i++) {
                argv[i + 1] = words[i];
        }
        unsetenv("NO_COLOR");
        unsetenv("SKEP_TOKEN_FILE");
        setenv("TERM", "xterm", 1);
        setenv("SKEP_URL", f->url, 1);
        if (env) {
                putenv((char *)env);
        }
        execv(program ? program : "skep", (char **)argv);
        fprintf(stderr, "cannot run %s: %s\n", program ? program : "skep (SKEP_PROGRAM is not set)",
                strerror(errno));
        _exit(127);
}

/* Puts what the test reads and the server's thread writes in order: before skep runs and after. */
static void meet_server(const struct fake *f)
{
        pthread_mutex_t *lock = (pthread_mutex_t *)&f->lock;
        pthread_mutex_lock(lock);
        pthread_mutex_unlock(lock);
}

static int exit_code(int status)
{
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_back(int fd)
{
        struct buf b = {0};
        char piece[65536];
        off_t at = 0;
        for (ssize_t n; (n = pread(fd, piece, sizeof piece, at)) > 0; at += n) {
                buf_add(&b, piece, (size_t)n);
        }
        close(fd);
        return buf_take(&b);
}

struct ran run_skep(const struct fake *f, const char *input, const char *const *words)
{
        struct ran r = {0};
        struct rusage used;
        int status = 0;
        int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC),
            err = memfd_create("err", MFD_CLOEXEC);
        assert(in >= 0 && out >= 0 && err >= 0);
        if (input) {
                size_t n = strlen(input);
                assert(write(in, input, n) == (ssize_t)n);
                lseek(in, 0, SEEK_SET);
        }
        meet_server(f);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                dup2(in, 0);
                dup2(out, 1);
                dup2(err, 2);
                become_skep(f, NULL, words);
        }
        while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {}
        close(in);
        meet_server(f);
        r.code = exit_code(status);
        r.out = read_back(out);
        r.err = read_back(err);
        r.max_rss_kib = used.ru_maxrss;
        return r;
}

struct ran run_skep_on_terminal(const struct fake *f, const char *env, const char *const *words)
{
        struct ran r = {0};
        struct winsize size = {.ws_row = 40, .ws_col = 100};
        int master, status = 0;
        meet_server(f);
        fflush(NULL);
        pid_t pid = forkpty(&master, NULL, NULL, &size);
        if (pid == 0) {
                become_skep(f, env, words);
        }
        struct buf b = {0};
        char piece[4096];
        for (ssize_t n; (n = read(master, piece, sizeof piece)) > 0;) {
                buf_add(&b, piece, (size_t)n);
        }
        waitpid(pid, &status, 0);
        close(master);
        meet_server(f);
        r.code = exit_code(status);
        r.out = buf_take(&b);
        r.err = text_copy("");
        return r;
}

void ran_deinit(struct ran *r)
{
        free(r->out);
        free(r->err);
        *r = (struct ran){0};
}

/* --- judging ---------------------------------------------------------------------------------- */

void fake_count_from(struct fake *f, size_t number)
{
        pthread_mutex_lock(&f->lock);
        f->number = number;
        pthread_mutex_unlock(&f->lock);
}

void fake_problem(struct fake_reply *reply, int status, const char *members)
{
        reply->status = status;
        reply->type = "application/problem+json";
        buf_printf(&reply->body,
                   "{\"type\":\"urn:skep:problem:x\",\"title\":\"T\",\"status\":%d,%s}", status,
                   members);
}

bool check_ran(int line, const struct ran *r, int code, const char *out)
{
        bool good = r->code == code && (!out || strcmp(r->out, out) == 0);
        if (!good) {
                printf("\n    line %d: exit %d, out \"%s\", err \"%s\" ", line, r->code, r->out,
                       r->err);
        }
        return good;
}

bool check_says(int line, const char *text, const char *expected)
{
        bool good = strstr(text, expected) != NULL;
        if (!good) {
                printf("\n    line %d: \"%s\" does not say \"%s\" ", line, text, expected);
        }
        return good;
}
