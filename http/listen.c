/*
 * Binding by our own hand, because libmicrohttpd knows nothing of stale sockets and modes. The mode
 * is set on the socket before bind(), so that there is no moment in which others could connect,
 * whatever the umask.
 */
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/server.h"

#define SOCKET_MODE 0660
#define BACKLOG     511

static void close_fd(int *fd)
{
        if (*fd >= 0) {
                close(*fd);
        }
}

static int steal_fd(int *fd)
{
        int stolen = *fd;
        *fd = -1;
        return stolen;
}

static int refuse(char *note, size_t size, int r, const char *where, const char *why)
{
        snprintf(note, size, "%s: %s", where, why);
        return r;
}

/* 0: the path is free, or held a stale socket that is gone now. */
static int clear_path(const struct sockaddr_un *a, char *note, size_t size)
{
        struct stat st;
        if (lstat(a->sun_path, &st) < 0) {
                if (errno == ENOENT) {
                        return 0;
                }
                return refuse(note, size, HTTP_REFUSED, a->sun_path, strerror(errno));
        }
        if (!S_ISSOCK(st.st_mode)) {
                return refuse(
                    note, size, HTTP_REFUSED, a->sun_path,
                    "is there and is no socket; remove it or set http.socket to another path");
        }
        CLEANUP(close_fd)
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                return -errno;
        }
        if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN) {
                return refuse(
                    note, size, HTTP_IN_USE, a->sun_path,
                    "another skepd listens there; stop it or set http.socket to another path");
        }
        if (errno != ECONNREFUSED) {
                return refuse(note, size, HTTP_REFUSED, a->sun_path, strerror(errno));
        }
        if (unlink(a->sun_path) < 0 && errno != ENOENT) {
                return refuse(note, size, HTTP_REFUSED, a->sun_path,
                              "is stale and cannot be removed; remove it");
        }
        return 0;
}

int listen_unix(struct str path, int *ret_fd, struct stat *ret_file, char *note, size_t note_size)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        char why[160];
        if (path.n == 0 || path.n >= sizeof a.sun_path || memchr(path.p, 0, path.n)) {
                snprintf(note, note_size,
                         "http.socket: a path of 1 to %zu bytes is needed, this one has %u",
                         sizeof a.sun_path - 1, path.n);
                return HTTP_REFUSED;
        }
        memcpy(a.sun_path, path.p, path.n);
        int r = clear_path(&a, note, note_size);
        if (r) {
                return r;
        }
        CLEANUP(close_fd)
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || fchmod(fd, SOCKET_MODE) < 0) {
                return -errno;
        }
        if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
                snprintf(why, sizeof why,
                         "cannot bind: %s; the directory must exist and be writable for skepd",
                         strerror(errno));
                return refuse(note, note_size, errno == EADDRINUSE ? HTTP_IN_USE : HTTP_REFUSED,
                              a.sun_path, why);
        }
        /* The umask took bits away; giving back what is missing of 0660 opens nothing that was not
         * meant. */
        if (chmod(a.sun_path, SOCKET_MODE) < 0 || listen(fd, BACKLOG) < 0 ||
            lstat(a.sun_path, ret_file) < 0) {
                r = -errno;
                unlink(a.sun_path);
                return r;
        }
        *ret_fd = steal_fd(&fd);
        return 0;
}

void unlisten_unix(struct str path, const struct stat *file)
{
        char name[sizeof(((struct sockaddr_un *)0)->sun_path)];
        struct stat st;
        snprintf(name, sizeof name, "%.*s", (int)path.n, path.p);
        if (lstat(name, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino) {
                unlink(name);
        }
}

union address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
};

/* Splits "host:port"; only loopback is understood. */
static bool parse_address(const char *text, union address *ret, socklen_t *ret_n)
{
        char host[64];
        char *colon = strrchr(text, ':'), *end;
        if (!colon || colon == text || (size_t)(colon - text) >= sizeof host || !colon[1]) {
                return false;
        }
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (*end || colon[1] < '0' || colon[1] > '9' || port > 65535) {
                return false;
        }
        memcpy(host, text, (size_t)(colon - text));
        host[colon - text] = 0;
        *ret = (union address){0};
        if (strcmp(host, "[::1]") == 0) {
                ret->v6.sin6_family = AF_INET6;
                ret->v6.sin6_addr = in6addr_loopback;
                ret->v6.sin6_port = htons((uint16_t)port);
                *ret_n = sizeof ret->v6;
                return true;
        }
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons((uint16_t)port);
        *ret_n = sizeof ret->v4;
        if (strcmp(host, "localhost") == 0) {
                ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                return true;
        }
        return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 &&
               (ntohl(ret->v4.sin_addr.s_addr) >> 24) == 127;
}

int listen_tcp(struct str address, int *ret_fd, uint16_t *ret_port, char *note, size_t note_size)
{
        union address a;
        socklen_t n;
        char text[128], why[160];
        snprintf(text, sizeof text, "%.*s", (int)address.n, address.p);
        if (address.n >= sizeof text || !parse_address(text, &a, &n)) {
                return refuse(note, note_size, HTTP_REFUSED, "http.listen",
                              "only loopback is served, as \"127.0.0.1:8290\" or \"[::1]:8290\"; "
                              "beyond this machine put "
                              "a proxy with TLS in front");
        }
        CLEANUP(close_fd)
        int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                return refuse(note, note_size, HTTP_REFUSED, text, strerror(errno));
        }
        int one = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, &a.any, n) < 0 || listen(fd, BACKLOG) < 0) {
                bool used = errno == EADDRINUSE;
                snprintf(why, sizeof why, "cannot listen: %s%s", strerror(errno),
                         used ? "; stop who does or set http.listen to another port" : "");
                return refuse(note, note_size, used ? HTTP_IN_USE : HTTP_REFUSED, text, why);
        }
        if (getsockname(fd, &a.any, &n) < 0) {
                return -errno;
        }
        *ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
        *ret_fd = steal_fd(&fd);
        return 0;
}
