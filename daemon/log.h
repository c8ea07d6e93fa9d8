/*
 * The log: one line per event, logfmt on a terminal, JSON else. Lines travel over ZeroMQ inproc to
 * a thread that writes them, so that a slow reader of stderr never holds up the engine; when 10,000
 * wait, further ones are dropped and counted. Any thread may log. Bytes that could forge a line or
 * move a cursor are escaped.
 */
#ifndef SKEP_DAEMON_LOG_H
#define SKEP_DAEMON_LOG_H

#include "core/base.h"

enum log_level { LOG_ERR_ = 3, LOG_WARN_ = 4, LOG_NOTICE_ = 5, LOG_INFO_ = 6, LOG_DEBUG_ = 7 };

struct log;

/* level: debug info warn error; format: auto logfmt json. zmq: a context. Before this, log_line()
 * with NULL writes straight to stderr. NULL when the thread cannot be started. */
struct log *log_start(void *zmq, struct str level, struct str format);
struct log *log_stop(struct log *l); /* writes what waits; NULL-safe, returns NULL */

/* `fields`: pairs of name, value, ending with NULL; a NULL value is left out. */
void log_line(struct log *l, int level, const char *const *fields, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define LOG(l, level, ...) log_line((l), (level), NULL, __VA_ARGS__)

#endif
