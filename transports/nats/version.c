/*
 * The server's version, which nats.c 3.4.1 reads and does not tell. A server introduces itself
 * before anything else, in the clear even where TLS follows:
 * https://docs.nats.io/reference/reference-protocols/nats-protocol#info. So a connection of its own
 * reads that line and goes away. Unverified, and only ever shown to people. A server that begins
 * with TLS (handshake_first) says nothing: then the version stays unknown.
 */
#include "transports/nats/check.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS  1000
#define INFO_MAX 4096

static bool wait_for(int fd, short events)
{
        struct pollfd p = {fd, events, 0};
        return poll(&p, 1, WAIT_MS) == 1;
}

/* A connected socket or -1. */
static int connect_one(const struct addrinfo *a)
{
        int error = 0;
        socklen_t n = sizeof error;
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        bool begun =
            fd >= 0 && (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS);
        if (begun && wait_for(fd, POLLOUT) &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0) {
                return fd;
        }
        if (fd >= 0) {
                close(fd);
        }
        return -1;
}

/* "nats://host:port" → its two parts; an IPv6 host without brackets. */
static bool split(const char *url, char host[static 256], char port[static 8])
{
        const char *from = strstr(url, "://");
        from = from ? from + 3 : url;
        const char *colon = strrchr(from, ':'), *end = colon;
        if (!colon) {
                return false;
        }
        if (*from == '[' && colon[-1] == ']') {
                from++;
                end--;
        }
        snprintf(host, 256, "%.*s", (int)(end - from), from);
        snprintf(port, 8, "%.7s", colon + 1);
        return true;
}

static int connect_url(const char *url)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
        char host[256], port[8];
        int fd = -1;
        if (!split(url, host, port) || getaddrinfo(host, port, &hints, &all) != 0) {
                return -1;
        }
        for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
                fd = connect_one(a);
        }
        freeaddrinfo(all);
        return fd;
}

/* The text of the first "version":"…", of characters that versions have. */
static void find_version(const char *info, char *ret_version, size_t size)
{
        const char *key = strstr(info, "\"version\":\"");
        size_t n = 0;
        if (strncmp(info, "INFO ", 5) == 0 && key) {
                key += strlen("\"version\":\"");
                n = strspn(key, "0123456789.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");
                n = n < size ? n : size - 1;
                memcpy(ret_version, key, n);
        }
        ret_version[n] = '\0';
}

void server_version(const char *url, char *ret_version, size_t size)
{
        char info[INFO_MAX + 1];
        size_t n = 0;
        int fd = connect_url(url);
        while (fd >= 0 && n < INFO_MAX && !memchr(info, '\n', n) && wait_for(fd, POLLIN)) {
                ssize_t got = read(fd, info + n, INFO_MAX - n);
                if (got <= 0) {
                        break;
                }
                n += (size_t)got;
        }
        if (fd >= 0) {
                close(fd);
        }
        info[n] = '\0';
        find_version(info, ret_version, size);
}
