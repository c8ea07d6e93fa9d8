/*
 * What the parts of nats_check() tell each other.
 */
#ifndef SKEP_TRANSPORTS_NATS_CHECK_H
#define SKEP_TRANSPORTS_NATS_CHECK_H

#include "transports/nats/settings.h"

/* Of the server at "nats://host:port"; empty: it did not say. May block some seconds. version.c. */
void server_version(const char *url, char *ret_version, size_t size);

/* A note that grows sentence by sentence; what does not fit is left out. */
struct findings {
        char *note;
        size_t size;
        bool odd; /* something is not as it should be */
};

void find_good(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void find_odd(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What of a stream differs from what would have been made. True: it can be used. check_stream.c. */
bool judge_stream(struct findings *f, const struct settings *s, const jsStreamConfig *c);

/* Subjects below ours that hold messages and that no consumer asks for. */
void judge_subjects(struct findings *f, const jsStreamState *state, const jsConsumerInfoList *list);

#endif
