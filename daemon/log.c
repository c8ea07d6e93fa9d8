/*
 * A PUSH socket per calling thread would need set-up everywhere; one PUSH behind a mutex is enough
 * for events that are never per job.
 */
#include "daemon/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define WAITING_MAX 10000
#define LINE_MAX_   4096

struct log {
        pthread_mutex_t lock;
        pthread_t thread;
        void *push, *pull;
        int level;
        bool json;
        unsigned dropped;
};

struct line {
        char text[LINE_MAX_];
        size_t n;
};

static void put_char(struct line *l, char c)
{
        if (l->n < sizeof l->text - 2) {
                l->text[l->n++] = c;
        }
}

static void put_text(struct line *l, const char *s)
{
        while (*s) {
                put_char(l, *s++);
        }
}

/* Quotes are always written: a value's own quotes, backslashes, control bytes and non-ASCII are
 * escaped. */
static void put_quoted(struct line *l, const char *s, bool json)
{
        put_char(l, '"');
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;
                char code[8];
                if (c == '"' || c == '\\') {
                        put_char(l, '\\');
                        put_char(l, (char)c);
                } else if (c == '\n') {
                        put_text(l, "\\n");
                } else if (c < 0x20 || c >= 0x7f) {
                        snprintf(code, sizeof code, json ? "\\u%04x" : "\\x%02x", c);
                        put_text(l, code);
                } else {
                        put_char(l, (char)c);
                }
        }
        put_char(l, '"');
}

static bool plain(const char *s)
{
        if (!*s) {
                return false;
        }
        for (; *s; s++) {
                if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || strchr("\"\\=", *s)) {
                        return false;
                }
        }
        return true;
}

static void put_field(struct line *l, const char *name, const char *value, bool json)
{
        if (json) {
                put_text(l, l->n > 1 ? ",\"" : "\"");
                put_text(l, name);
                put_text(l, "\":");
                put_quoted(l, value, true);
                return;
        }
        if (l->n) {
                put_char(l, ' ');
        }
        put_text(l, name);
        put_char(l, '=');
        if (plain(value)) {
                put_text(l, value);
        } else {
                put_quoted(l, value, false);
        }
}

static const char *level_name(int level)
{
        static const char *const names[] = {"error", "error", "error", "error",
                                            "warn",  "info",  "info",  "debug"};
        return names[level & 7];
}

static void format_line(struct line *l, bool json, int level, const char *const *fields,
                        const char *text)
{
        struct timespec now;
        struct tm tm;
        char when[40], stamp[64];
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(stamp, sizeof stamp, "%s.%03dZ", when, (int)(now.tv_nsec / 1000000));
        if (json) {
                put_char(l, '{');
        }
        put_field(l, "time", stamp, json);
        put_field(l, "level", level_name(level), json);
        put_field(l, "msg", text, json);
        for (; fields && fields[0]; fields += 2) {
                if (fields[1]) {
                        put_field(l, fields[0], fields[1], json);
                }
        }
        if (json) {
                put_char(l, '}');
        }
        l->text[l->n++] = '\n';
}

static void write_out(const char *p, size_t n)
{
        while (n > 0) {
                ssize_t written = write(STDERR_FILENO, p, n);
                if (written <= 0) {
                        return; /* nobody reads: a log must not stop the work */
                }
                p += written;
                n -= (size_t)written;
        }
}

static void *writer(void *arg)
{
        struct log *l = arg;
        char text[LINE_MAX_];
        for (;;) {
                int n = zmq_recv(l->pull, text, sizeof text, 0);
                if (n == 0 || (n < 0 && zmq_errno() == ETERM)) {
                        return NULL;
                }
                if (n > 0) {
                        write_out(text, (size_t)n);
                }
        }
}

static int parse_level(struct str s)
{
        return str_eq(s, STR("debug"))   ? LOG_DEBUG_
               : str_eq(s, STR("warn"))  ? LOG_WARN_
               : str_eq(s, STR("error")) ? LOG_ERR_
                                         : LOG_INFO_;
}

struct log *log_start(void *zmq, struct str level, struct str format)
{
        struct log *l = calloc(1, sizeof *l);
        if (!l) {
                return NULL;
        }
        int most = WAITING_MAX;
        l->level = parse_level(level);
        l->json = str_eq(format, STR("json")) ||
                  (!str_eq(format, STR("logfmt")) && !isatty(STDERR_FILENO));
        pthread_mutex_init(&l->lock, NULL);
        l->pull = zmq_socket(zmq, ZMQ_PULL);
        l->push = zmq_socket(zmq, ZMQ_PUSH);
        if (l->pull && l->push) {
                zmq_setsockopt(l->push, ZMQ_SNDHWM, &most, sizeof most);
                if (zmq_bind(l->pull, "inproc://log") == 0 &&
                    zmq_connect(l->push, "inproc://log") == 0 &&
                    pthread_create(&l->thread, NULL, writer, l) == 0) {
                        return l;
                }
        }
        zmq_close(l->push);
        zmq_close(l->pull);
        free(l);
        return NULL;
}

struct log *log_stop(struct log *l)
{
        if (l) {
                zmq_send(l->push, "", 0, 0);
                pthread_join(l->thread, NULL);
                zmq_close(l->push);
                zmq_close(l->pull);
                pthread_mutex_destroy(&l->lock);
                free(l);
        }
        return NULL;
}

static void send_line(struct log *l, const struct line *line)
{
        pthread_mutex_lock(&l->lock);
        if (l->dropped) {
                struct line note = {.n = 0};
                char text[80];
                snprintf(text, sizeof text, "%u log lines were dropped: stderr is not read",
                         l->dropped);
                format_line(&note, l->json, LOG_WARN_, NULL, text);
                if (zmq_send(l->push, note.text, note.n, ZMQ_DONTWAIT) >= 0) {
                        l->dropped = 0;
                }
        }
        if (zmq_send(l->push, line->text, line->n, ZMQ_DONTWAIT) < 0) {
                l->dropped++;
        }
        pthread_mutex_unlock(&l->lock);
}

void log_line(struct log *l, int level, const char *const *fields, const char *fmt, ...)
{
        if (level > (l ? l->level : LOG_INFO_)) {
                return;
        }
        char text[2048];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        struct line line = {.n = 0};
        format_line(&line, l ? l->json : !isatty(STDERR_FILENO), level, fields, text);
        if (l) {
                send_line(l, &line);
        } else {
                write_out(line.text, line.n);
        }
}
