/*
 * The belt: a ring of bytes in a memfd. Positions only rise; where one lies is its rest by the
 * belt's size. Must not block and must not touch the memory itself.
 */
#include "plugins/belt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define GRAIN 64u /* a line of the cache: no payload shares one with another */

/* Its pages are there from now on, so that writing to them cannot fail; its size is fixed, so that
 * nobody can take them from under a reader. */
static int fix_size(int fd)
{
        int r = posix_fallocate(fd, 0, BELT_BYTES);
        if (r != 0) {
                return -r;
        }
        return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0 ? -errno : 0;
}

/* The same memory, opened anew so that it cannot be mapped for writing. */
static int open_for_reading(int fd)
{
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int reader = open(path, O_RDONLY | O_CLOEXEC);
        return reader < 0 ? -errno : reader;
}

int belt_make(struct belt *b, int *ret_fd)
{
        int fd = memfd_create("skep-belt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0) {
                return -errno;
        }
        int r = fix_size(fd);
        int reader = r < 0 ? r : open_for_reading(fd);
        if (reader < 0) {
                close(fd);
                return reader;
        }
        *b = (struct belt){.fd = fd};
        *ret_fd = reader;
        return 0;
}

void belt_drop(struct belt *b)
{
        if (b->fd >= 0) {
                close(b->fd);
        }
        b->fd = -1;
}

bool belt_ready(const struct belt *b)
{
        return b->n_parts + 2 <= BELT_PARTS;
}

/* Parts that are written with one call follow each other: at the end of the belt there is a cut. */
bool belt_put(struct belt *b, struct str bytes, uint32_t *ret_at)
{
        static const char nul[GRAIN];
        uint64_t size = ((uint64_t)bytes.n + 1 + GRAIN - 1) & ~(uint64_t)(GRAIN - 1);
        uint64_t left = BELT_BYTES - b->put % BELT_BYTES;
        uint64_t at = left < size ? b->put + left : b->put;
        if (at + size - b->done > BELT_BYTES) {
                return false;
        }
        if (at != b->put && belt_flush(b) < 0) {
                return false;
        }
        if (b->n_parts == 0) {
                b->parts_at = at % BELT_BYTES;
        }
        b->parts[b->n_parts++] = (struct iovec){(void *)bytes.p, bytes.n};
        b->parts[b->n_parts++] = (struct iovec){(void *)nul, size - bytes.n};
        b->put = at + size;
        *ret_at = (uint32_t)(at % BELT_BYTES);
        return true;
}

/* What was written of the parts goes. */
static void advance(struct iovec **parts, uint32_t *n, size_t written)
{
        while (*n && written >= (*parts)->iov_len) {
                written -= (*parts)->iov_len;
                ++*parts;
                --*n;
        }
        if (*n) {
                (*parts)->iov_base = (char *)(*parts)->iov_base + written;
                (*parts)->iov_len -= written;
        }
}

int belt_flush(struct belt *b)
{
        struct iovec *parts = b->parts;
        uint32_t n = b->n_parts;
        uint64_t at = b->parts_at;
        while (n && b->failed == 0) {
                ssize_t written = pwritev(b->fd, parts, (int)n, (off_t)at);
                if (written < 0 && errno == EINTR) {
                        continue;
                }
                if (written <= 0) {
                        b->failed = written < 0 ? -errno : -EIO; /* the parts say no more where */
                        break;
                }
                at += (uint64_t)written;
                advance(&parts, &n, (size_t)written);
        }
        b->n_parts = 0;
        return b->failed;
}
