/*
 * Datagrams and their variable parts. Linked into skepd and into the worker program; must not log,
 * must not exit, and must survive anything that the other side sends.
 */
#include "plugins/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void wire_put(struct wire_out *o, const void *bytes, size_t n)
{
        if (o->full || n > o->max - o->n) {
                o->full = true;
                return;
        }
        if (n) {
                memcpy(o->p + o->n, bytes, n);
        }
        o->n += n;
}

void wire_put_u32(struct wire_out *o, uint32_t v)
{
        wire_put(o, &v, sizeof v);
}

void wire_put_str(struct wire_out *o, struct str s)
{
        wire_put_u32(o, s.n);
        wire_put(o, s.p, s.n);
        wire_put(o, "", 1);
}

bool wire_get(struct wire_in *in, void *ret, size_t n)
{
        if (in->bad || n > in->n - in->at) {
                in->bad = true;
                memset(ret, 0, n);
                return false;
        }
        memcpy(ret, in->p + in->at, n);
        in->at += n;
        return true;
}

uint32_t wire_get_u32(struct wire_in *in)
{
        uint32_t v;
        wire_get(in, &v, sizeof v);
        return v;
}

struct str wire_get_str(struct wire_in *in)
{
        uint32_t n = wire_get_u32(in);
        if (in->bad || n >= in->n - in->at || in->p[in->at + n] != 0) {
                in->bad = true;
                return (struct str){"", 0};
        }
        struct str s = {(const char *)in->p + in->at, n};
        in->at += (size_t)n + 1;
        return s;
}

int wire_frame_send(int sock, const void *bytes, size_t n, const int *fds, uint32_t n_fds,
                    int flags)
{
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(WIRE_FDS * sizeof(int))];
        struct iovec iov = {(void *)bytes, n};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
        if (n_fds > WIRE_FDS) {
                return -EINVAL;
        }
        if (n_fds) {
                m.msg_control = control;
                m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                memset(control, 0, m.msg_controllen);
                struct cmsghdr *c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
        }
        ssize_t sent;
        do {
                sent = sendmsg(sock, &m, flags | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : 0;
}

/* What SCM_RIGHTS brought; all of it goes to the caller. */
static uint32_t take_fds(struct msghdr *m, int *fds, uint32_t max)
{
        uint32_t n = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
                        continue;
                }
                size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < got; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                        if (n < max) {
                                fds[n++] = fd;
                        } else {
                                close(fd);
                        }
                }
        }
        return n;
}

ssize_t wire_recv(int sock, void *bytes, size_t max, int *ret_fds, uint32_t max_fds,
                  uint32_t *ret_n_fds, int flags)
{
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(WIRE_FDS * sizeof(int))];
        struct iovec iov = {bytes, max};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
        m.msg_controllen = CMSG_SPACE((max_fds > WIRE_FDS ? WIRE_FDS : max_fds) * sizeof(int));
        if (max_fds == 0) {
                m.msg_control = NULL;
                m.msg_controllen = 0;
        }
        ssize_t got;
        do {
                got = recvmsg(sock, &m, flags | MSG_CMSG_CLOEXEC);
        } while (got < 0 && errno == EINTR);
        if (got < 0) {
                return -errno;
        }
        uint32_t n = max_fds ? take_fds(&m, ret_fds, max_fds) : 0;
        if (m.msg_flags & MSG_TRUNC) {
                close_fds(ret_fds, n);
                return -EMSGSIZE;
        }
        *ret_n_fds = n;
        return got;
}

void close_fds(int *fds, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                if (fds[i] >= 0) {
                        close(fds[i]);
                        fds[i] = -1;
                }
        }
}

/* The bytes and a NUL, in one call unless it is interrupted. */
static int write_ended(int fd, const char *p, size_t n)
{
        char nul = 0;
        struct iovec parts[] = {{(void *)p, n}, {&nul, 1}};
        while (parts[0].iov_len + parts[1].iov_len) {
                ssize_t put = writev(fd, parts, ARRAY_LEN(parts));
                if (put < 0 && errno == EINTR) {
                        continue;
                }
                if (put <= 0) {
                        return put < 0 ? -errno : -EIO;
                }
                size_t first = (size_t)put < parts[0].iov_len ? (size_t)put : parts[0].iov_len;
                parts[0].iov_base = (char *)parts[0].iov_base + first;
                parts[0].iov_len -= first;
                parts[1].iov_len -= (size_t)put - first;
        }
        return 0;
}

int memfd_of(const char *name, const void *bytes, size_t n)
{
        int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0) {
                return -errno;
        }
        int r = write_ended(fd, bytes, n);
        if (r == 0 &&
            fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
                r = -errno;
        }
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}
