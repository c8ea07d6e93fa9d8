/*
 * Host names, looked up without waiting: libpq would do it within PQconnectPoll(), and a name
 * service that is silent would then hold up the engine.
 */
#ifndef SKEP_LEDGERS_POSTGRES_NAMES_H
#define SKEP_LEDGERS_POSTGRES_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_TEXT 1024

struct lookup;

/* What is to be given to libpq instead of the URL's own words: lists of equal length. */
struct names {
        bool needed;                               /* a host is neither an address nor a socket */
        char hosts[NAMES_TEXT], ports[NAMES_TEXT]; /* as the URL has them */
        char host[NAMES_TEXT], hostaddr[NAMES_TEXT], port[NAMES_TEXT];
        struct lookup *lookup; /* under way */
        int64_t found_ns;      /* 0: nothing was found yet */
};

/* host, port: the URL's lists, NULL: none. */
void names_init(struct names *s, const char *host, const char *port, bool has_address);

/* 1: host, hostaddr and port are there (found a moment ago at most), 0: under way, < 0: there is no
 * such name, noted, or -ENOMEM. */
int names_ask(struct names *s, int64_t now_ns, char *note, size_t note_size);
void names_deinit(struct names *s);

#endif
