/*
 * The client: raw sockets, one request each, what comes back read to its end.
 */
#include "tests/unit/test-http-fake.h"

#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int client_connect(const struct fake *f, bool tcp)
{
        struct sockaddr_un u = {.sun_family = AF_UNIX};
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(f->port)};
        struct timeval patience = {.tv_sec = 120};
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        snprintf(u.sun_path, sizeof u.sun_path, "%s", f->socket);
        int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct sockaddr *a = tcp ? (struct sockaddr *)&in : (struct sockaddr *)&u;
        if (connect(fd, a, tcp ? sizeof in : sizeof u) != 0) {
                close(fd);
                return -1;
        }
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        return fd;
}

bool client_send(int fd, const void *p, size_t n)
{
        for (size_t at = 0; at < n;) {
                ssize_t k = send(fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
                if (k <= 0) {
                        return false;
                }
                at += (size_t)k;
        }
        return true;
}

/* In place; the chunks end with one of size 0. */
static size_t join_chunks(char *body, size_t n)
{
        size_t from = 0, to = 0;
        while (from < n) {
                char *end;
                size_t k = strtoul(body + from, &end, 16);
                from = (size_t)(end - body) + 2;
                if (k == 0 || from + k > n) {
                        break;
                }
                memmove(body + to, body + from, k);
                to += k;
                from += k + 2;
        }
        body[to] = 0;
        return to;
}

void client_receive(int fd, struct reply *ret)
{
        size_t n = 0, capacity = 1 << 16;
        char *text = malloc(capacity);
        *ret = (struct reply){0};
        for (;;) {
                if (n + 1 == capacity) {
                        capacity *= 2;
                        text = realloc(text, capacity);
                }
                ssize_t k = recv(fd, text + n, capacity - 1 - n, 0);
                if (k <= 0) {
                        break;
                }
                n += (size_t)k;
        }
        close(fd);
        text[n] = 0;
        char *end = strstr(text, "\r\n\r\n");
        while (end && strncmp(text, "HTTP/1.1 100", 12) == 0) {
                memmove(text, end + 4, n - (size_t)(end + 4 - text) + 1);
                n -= (size_t)(end + 4 - text);
                end = strstr(text, "\r\n\r\n");
        }
        if (end) {
                ret->status = atoi(text + 9);
                ret->n = n - (size_t)(end + 4 - text);
                ret->body = malloc(ret->n + 1);
                memcpy(ret->body, end + 4, ret->n + 1);
                end[2] = 0;
                if (strcasestr(text, "\r\ntransfer-encoding: chunked\r\n")) {
                        ret->n = join_chunks(ret->body, ret->n);
                }
        } else {
                ret->body = calloc(1, 1);
        }
        ret->head = text;
}

void reply_free(struct reply *r)
{
        free(r->head);
        free(r->body);
        *r = (struct reply){0};
}

void client_ask(const struct fake *f, bool tcp, const char *method, const char *path,
                const char *extra, const void *body, size_t n, struct reply *ret)
{
        char length[64] = "";
        char *head;
        if (body) {
                snprintf(length, sizeof length, "Content-Length: %zu\r\n", n);
        }
        int k =
            asprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s\r\n",
                     method, path, extra ? extra : "", length);
        int fd = client_connect(f, tcp);
        if (client_send(fd, head, (size_t)k) && n) {
                client_send(fd, body, n);
        }
        free(head);
        client_receive(fd, ret);
}

void client_post(const struct fake *f, const char *body, struct reply *ret)
{
        client_ask(f, false, "POST", "/v1/jobs", "Content-Type: application/json\r\n", body,
                   strlen(body), ret);
}

void client_get(const struct fake *f, const char *path, struct reply *ret)
{
        client_ask(f, false, "GET", path, NULL, NULL, 0, ret);
}

void client_send_json(const struct fake *f, const char *method, const char *path, const char *body,
                      struct reply *ret)
{
        client_ask(f, false, method, path, body ? "Content-Type: application/json\r\n" : NULL, body,
                   body ? strlen(body) : 0, ret);
}

#define NO_JOB "/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057"
#define DAILY  "{\"cron\":\"0 4 * * *\",\"job\":{\"type\":\"a\"}}"

const struct fake_route fake_routes[] = {
    {"GET", "/v1/jobs", 200},
    {"POST", "/v1/jobs", 201, "{\"type\":\"a\"}"},
    {"POST", "/v1/jobs/cancel", 202, "{\"all\":true}"},
    {"GET", NO_JOB, 404},
    {"DELETE", NO_JOB, 404},
    {"POST", NO_JOB "/retry", 404},
    {"GET", NO_JOB "/explain", 404},
    {"GET", "/v1/jobs/key:none?queue=default", 404},
    {"GET", "/v1/queues", 200},
    {"GET", "/v1/queues/default", 200},
    {"PATCH", "/v1/queues/default", 200, "{\"global\":1}"},
    {"POST", "/v1/queues/default/pause", 200},
    {"POST", "/v1/queues/default/resume", 200},
    {"GET", "/v1/schedules", 200},
    {"POST", "/v1/schedules/preview", 200, "{\"cron\":\"* * * * *\"}", true},
    {"GET", "/v1/schedules/nightly", 200},
    {"PUT", "/v1/schedules/nightly?force=true", 200, DAILY},
    {"DELETE", "/v1/schedules/none", 404},
    {"POST", "/v1/schedules/none/run", 404},
    {"POST", "/v1/schedules/nightly/pause", 200},
    {"POST", "/v1/schedules/nightly/resume", 200},
    {"GET", "/v1/dead/groups", 200},
    {"POST", "/v1/dead/requeue", 202, "{\"all\":true}"},
    {"POST", "/v1/dead/purge", 202, "{\"all\":true}"},
    {"GET", "/v1/operations", 200},
    {"GET", "/v1/operations/99", 404},
    {"DELETE", "/v1/operations/99", 404},
    {"POST", "/v1/reconcile", 200},
    {"GET", "/v1/nodes", 200},
    {"GET", "/v1/handlers", 200},
    {"GET", "/v1/workers", 200},
    {"POST", "/v1/workers", 200, "{\"workers\":3}"},
    {"GET", "/v1/stats", 200},
    {"GET", "/livez", 200, NULL, true},
    {"GET", "/readyz", 200},
    {"GET", "/healthz", 200},
    {"GET", "/metrics", 200},
    {"GET", "/openapi.json", 200, NULL, true},
    {"GET", "/nothing/here", 404, NULL, true},
    {"PUT", "/v1/jobs", 405, NULL, true},
};

void client_ask_route(const struct fake *f, bool tcp, size_t i, const char *extra,
                      struct reply *ret)
{
        const struct fake_route *r = &fake_routes[i];
        char head[512];
        snprintf(head, sizeof head, "%s%s", r->body ? "Content-Type: application/json\r\n" : "",
                 extra);
        client_ask(f, tcp, r->method, r->path, head, r->body, r->body ? strlen(r->body) : 0, ret);
}

_Static_assert(ARRAY_LEN(fake_routes) == FAKE_ROUTES, "the header says how many");

void check_problem(const struct reply *r, int status, const char *detail, const char *about)
{
        json_t *v = json_loads(r->body, 0, NULL);
        const char *text = json_string_value(json_object_get(v, "detail"));
        bool fits = r->status == status && v && text && strstr(r->body, detail) &&
                    json_integer_value(json_object_get(v, "status")) == status &&
                    json_is_string(json_object_get(v, "title")) &&
                    json_is_string(json_object_get(v, "type")) &&
                    strstr(r->head, "Content-Type: application/problem+json\r\n");
        if (!fits) {
                fprintf(stderr, "  %.200s\n    wanted %d with %s, got %d: %.400s\n", about, status,
                        detail, r->status, r->body);
        }
        CU_ASSERT_TRUE(fits);
        json_decref(v);
}
