/*
 * How often a second this disk makes a write durable: what bounds a ledger that lives on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "scratch/scratch.h"

#define PAGE_BYTES 4096
#define FILE_PAGES 256 /* written over and over, as a WAL is */

static int write_pages(int fd, double seconds, struct probe *ret)
{
        static char page[PAGE_BYTES];
        for (probe_begin(ret); probe_goes_on(ret, seconds); probe_mark(ret)) {
                memset(page, (int)ret->n, sizeof page);
                if (pwrite(fd, page, sizeof page, ret->n % FILE_PAGES * PAGE_BYTES) !=
                        sizeof page ||
                    fdatasync(fd) != 0) {
                        return -errno;
                }
        }
        return 0;
}

int disk_probe(const char *folder, double seconds, struct probe *ret)
{
        char path[4200];
        snprintf(path, sizeof path, "%s/probe", folder);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : posix_fallocate(fd, 0, FILE_PAGES * PAGE_BYTES) ? -ENOSPC : 0;
        r = r ? r : write_pages(fd, seconds, ret);
        if (fd >= 0) {
                close(fd);
                unlink(path);
        }
        return r ? refuse(EX_IOERR, "%s: %s", path, strerror(-r)) : 0;
}
