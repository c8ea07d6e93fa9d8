/*
 * One subscription takes all answers: the last word of an inbox is the number of its letter.
 */
#include "tests/conformance/nats_wire.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 5000
#define API_FIRST 1000000000 /* numbers of our own questions */

struct nats_wire {
        int fd;
        char *in, *body;
        size_t n, size;
        char inbox[64];
        uint32_t asked;
};

static int64_t now_ms(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static bool send_all(struct nats_wire *w, const char *p, size_t n)
{
        while (n) {
                ssize_t sent = send(w->fd, p, n, MSG_NOSIGNAL);
                if (sent <= 0) {
                        return false;
                }
                p += sent;
                n -= (size_t)sent;
        }
        return true;
}

static bool send_text(struct nats_wire *w, const char *text)
{
        return send_all(w, text, strlen(text));
}

static void make_room(struct nats_wire *w, size_t n)
{
        if (w->n + n + 1 > w->size) {
                w->size = (w->n + n + 1) * 2;
                w->in = realloc(w->in, w->size);
                if (!w->in) {
                        abort();
                }
        }
}

/* Reads until so many bytes are there. */
static bool fill(struct nats_wire *w, size_t n, int64_t until_ms)
{
        while (w->n < n) {
                int64_t left = until_ms - now_ms();
                struct pollfd fd = {.fd = w->fd, .events = POLLIN};
                if (poll(&fd, 1, left > 0 ? (int)left : 0) <= 0) {
                        return false;
                }
                make_room(w, 65536);
                ssize_t got = recv(w->fd, w->in + w->n, 65536, 0);
                if (got <= 0) {
                        return false;
                }
                w->n += (size_t)got;
                w->in[w->n] = 0;
        }
        return true;
}

static void take(struct nats_wire *w, size_t n)
{
        w->n -= n;
        memmove(w->in, w->in + n, w->n + 1);
}

/* Waits until a whole line is there; its length with its end, or 0. It stays. */
static size_t await_line(struct nats_wire *w, int64_t until_ms)
{
        const char *end;
        while (!(end = w->n ? memchr(w->in, '\n', w->n) : NULL)) {
                if (!fill(w, w->n + 1, until_ms)) {
                        return 0;
                }
        }
        return (size_t)(end + 1 - w->in);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* "MSG subject sid [reply] size", "HMSG subject sid [reply] header-size size" */
struct head {
        char subject[256], reply[256];
        size_t header, size;
};

static bool read_head(const char *text, size_t size, struct head *ret)
{
        char words[6][256], line[1024];
        snprintf(line, sizeof line, "%.*s", (int)size, text);
        int n = sscanf(line, "%255s %255s %255s %255s %255s %255s", words[0], words[1], words[2],
                       words[3], words[4], words[5]);
        bool headed = n > 0 && strcmp(words[0], "HMSG") == 0;
        int around = headed ? 5 : 4;
        if (n < around || !(headed || strcmp(words[0], "MSG") == 0)) {
                return false;
        }
        *ret = (struct head){.size = strtoul(words[n - 1], NULL, 10)};
        ret->header = headed ? strtoul(words[n - 2], NULL, 10) : 0;
        memcpy(ret->subject, words[1], sizeof ret->subject);
        if (n > around) {
                memcpy(ret->reply, words[3], sizeof ret->reply);
        }
        return true;
}

static void fill_answer(struct nats_wire *w, const struct head *h, size_t line,
                        struct nats_answer *ret)
{
        const char *word = strrchr(h->subject, '.');
        *ret = (struct nats_answer){.number = word ? (uint32_t)strtoul(word + 1, NULL, 10) : 0};
        memcpy(ret->reply, h->reply, sizeof ret->reply);
        if (h->header) {
                (void)sscanf(w->in + line, "NATS/1.0 %d", &ret->status);
        }
        free(w->body);
        w->body = malloc(h->size + 1);
        if (!w->body) {
                abort();
        }
        memcpy(w->body, w->in + line, h->size);
        w->body[h->size] = 0;
        ret->headers = (struct str){w->body, (uint32_t)h->header};
        ret->body = (struct str){w->body + h->header, (uint32_t)(h->size - h->header)};
}

/* Name, colon, one space, value. */
struct str nats_answer_header(const struct nats_answer *a, const char *name)
{
        char first[64];
        snprintf(first, sizeof first, "\r\n%s: ", name);
        const char *at = a->headers.n ? strstr(a->headers.p, first) : NULL;
        if (!at || at >= a->body.p) {
                return (struct str){0};
        }
        at += strlen(first);
        return (struct str){at, (uint32_t)strcspn(at, "\r\n")};
}

const char *nats_wire_inbox(const struct nats_wire *w)
{
        return w->inbox;
}

bool nats_wire_next(struct nats_wire *w, int timeout_ms, struct nats_answer *ret)
{
        int64_t until_ms = now_ms() + timeout_ms;
        for (;;) {
                struct head h;
                size_t line = await_line(w, until_ms);
                if (line == 0) {
                        return false;
                }
                if (read_head(w->in, line, &h)) {
                        if (!fill(w, line + h.size + 2, now_ms() + ANSWER_MS)) {
                                return false;
                        }
                        fill_answer(w, &h, line, ret);
                        take(w, line + h.size + 2);
                        return true;
                }
                if (strncmp(w->in, "PING", 4) == 0 && !send_text(w, "PONG\r\n")) {
                        return false;
                }
                if (strncmp(w->in, "-ERR", 4) == 0) {
                        fprintf(stderr, "nats: %.*s\n", (int)line - 2, w->in);
                        return false;
                }
                take(w, line);
        }
}

/* --- questions -------------------------------------------------------------------------------- */

static void print(char **at, const char *form, ...) __attribute__((format(printf, 2, 3)));
static void print(char **at, const char *form, ...)
{
        va_list va;
        va_start(va, form);
        *at += vsprintf(*at, form, va);
        va_end(va);
}

static size_t header_size(const struct nats_letter *l)
{
        size_t n = strlen("NATS/1.0\r\n\r\n");
        for (uint32_t i = 0; i < l->n_headers; i++) {
                n += l->headers[i].name.n + l->headers[i].value.n + strlen(": \r\n");
        }
        return l->n_headers ? n : 0;
}

static void print_str(char **at, struct str s)
{
        if (s.n) {
                memcpy(*at, s.p, s.n);
        }
        *at += s.n;
}

bool nats_wire_publish(struct nats_wire *w, const struct nats_letter *l)
{
        size_t header = header_size(l);
        char *text = malloc(header + l->body.n + strlen(l->subject) + 200), *at = text;
        if (!text) {
                abort();
        }
        print(&at, "%s %s ", header ? "HPUB" : "PUB", l->subject);
        if (l->answer) {
                print(&at, "%s.%u ", w->inbox, l->answer);
        }
        if (header) {
                print(&at, "%zu %zu\r\nNATS/1.0\r\n", header, header + l->body.n);
        } else {
                print(&at, "%u\r\n", l->body.n);
        }
        for (uint32_t i = 0; i < l->n_headers; i++) {
                print_str(&at, l->headers[i].name);
                print(&at, ": ");
                print_str(&at, l->headers[i].value);
                print(&at, "\r\n");
        }
        print(&at, "%s", header ? "\r\n" : "");
        print_str(&at, l->body);
        print(&at, "\r\n");
        bool sent = send_all(w, text, (size_t)(at - text));
        free(text);
        return sent;
}

json_t *nats_wire_api(struct nats_wire *w, const char *words, const char *body)
{
        char subject[256];
        struct nats_answer answer;
        uint32_t number = API_FIRST + ++w->asked;
        snprintf(subject, sizeof subject, "$JS.API.%s", words);
        struct nats_letter l = {.subject = subject, .answer = number, .body = str_of(body)};
        if (!nats_wire_publish(w, &l)) {
                return NULL;
        }
        while (nats_wire_next(w, ANSWER_MS, &answer)) {
                if (answer.number == number) {
                        return answer.status ? NULL : json_loads(answer.body.p, 0, NULL);
                }
        }
        return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

/* Then the subscription stands: what others publish from now on comes here. */
static bool await_pong(struct nats_wire *w)
{
        size_t line;
        while ((line = await_line(w, now_ms() + ANSWER_MS))) {
                bool pong = strncmp(w->in, "PONG", 4) == 0;
                bool ping = strncmp(w->in, "PING", 4) == 0;
                take(w, line);
                if (pong || (ping && !send_text(w, "PONG\r\n"))) {
                        return pong;
                }
        }
        return false;
}

static bool greet(struct nats_wire *w)
{
        char text[256];
        size_t line = await_line(w, now_ms() + ANSWER_MS);
        if (line == 0 || strncmp(w->in, "INFO ", 5) != 0) {
                return false;
        }
        take(w, line);
        snprintf(w->inbox, sizeof w->inbox, "_INBOX.conform.%ld.%d", (long)getpid(), w->fd);
        snprintf(text, sizeof text,
                 "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
                 "\"no_responders\":true}\r\nSUB %s.* 1\r\nPING\r\n",
                 w->inbox);
        return send_text(w, text) && await_pong(w);
}

struct nats_wire *nats_wire_new(int port)
{
        int one = 1;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        struct nats_wire *w = calloc(1, sizeof *w);
        if (!w) {
                abort();
        }
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        make_room(w, 0);
        w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&a, sizeof a) < 0 ||
            setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 || !greet(w)) {
                return nats_wire_free(w);
        }
        return w;
}

struct nats_wire *nats_wire_free(struct nats_wire *w)
{
        if (w) {
                if (w->fd >= 0) {
                        close(w->fd);
                }
                free(w->in);
                free(w->body);
                free(w);
        }
        return NULL;
}
