#include "daemon/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEIRS_TRIES   500 /* how often a lock is asked for whose owner is gone */
#define HEIRS_WAIT_NS 10000000

static int make_directories(const char *path)
{
        char part[256];
        snprintf(part, sizeof part, "%s", path);
        for (char *p = part + 1; *p; p++) {
                if (*p == '/') {
                        *p = 0;
                        if (mkdir(part, 0755) < 0 && errno != EEXIST) {
                                return -errno;
                        }
                        *p = '/';
                }
        }
        return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static void read_owner(int fd, char *ret_text, size_t size)
{
        ssize_t n = pread(fd, ret_text, size - 1, 0);
        ret_text[n > 0 ? n : 0] = 0;
        ret_text[strcspn(ret_text, "\n")] = 0;
}

/* A skepd that was killed as it started a process may leave the lock to that child, which lets it
 * go when it executes its own program or follows its parent: soon, not at once. */
static bool take_lock(int fd, char *ret_owner, size_t size)
{
        for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
                read_owner(fd, ret_owner, size);
                long pid = strtol(ret_owner, NULL, 10);
                if (i == HEIRS_TRIES || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) {
                        return false;
                }
                nanosleep(&(struct timespec){.tv_nsec = HEIRS_WAIT_NS}, NULL);
        }
        return true;
}

static int lock_directory(struct state_dir *d, char *note, size_t note_size)
{
        char path[300], owner[32];
        snprintf(path, sizeof path, "%s/lock", d->path);
        d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (d->lock_fd < 0) {
                int r = -errno;
                snprintf(
                    note, note_size,
                    "%s: cannot be written: %s; make it writable for this user or set state_dir",
                    path, strerror(-r));
                return r;
        }
        if (!take_lock(d->lock_fd, owner, sizeof owner)) {
                snprintf(note, note_size,
                         "%s: in use by another skepd (pid %s); stop it, or give this one a "
                         "state_dir of its own",
                         d->path, owner[0] ? owner : "unknown");
                close(d->lock_fd);
                d->lock_fd = -1;
                return STATE_DIR_IN_USE;
        }
        int n = snprintf(owner, sizeof owner, "%d\n", (int)getpid());
        if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, owner, (size_t)n, 0) != n) {
                int r = errno ? -errno : -EIO;
                snprintf(note, note_size, "%s: cannot be written: %s; free some space", path,
                         strerror(-r));
                close(d->lock_fd);
                d->lock_fd = -1;
                return r;
        }
        return 0;
}

int state_dir_open(struct str path, struct state_dir *ret, char *note, size_t note_size)
{
        struct state_dir d = {.lock_fd = -1};
        if (path.n == 0 || path.n >= sizeof d.path) {
                snprintf(note, note_size, "state_dir: a path of 1 to %zu bytes is needed",
                         sizeof d.path - 1);
                return -ENAMETOOLONG;
        }
        snprintf(d.path, sizeof d.path, "%.*s", (int)path.n, path.p);
        int r = make_directories(d.path);
        if (r < 0) {
                snprintf(note, note_size,
                         "%s: cannot be made: %s; set state_dir to a writable place", d.path,
                         strerror(-r));
                return r;
        }
        r = lock_directory(&d, note, note_size);
        if (r == 0) {
                *ret = d;
        }
        return r;
}

void state_dir_close(struct state_dir *d)
{
        if (d->lock_fd >= 0) {
                close(d->lock_fd);
                d->lock_fd = -1;
        }
}

uint64_t state_dir_former(const struct state_dir *d)
{
        char path[300];
        uint64_t holder = 0;
        snprintf(path, sizeof path, "%s/node", d->path);
        FILE *f = fopen(path, "re");
        if (f) {
                if (fscanf(f, "%16" SCNx64, &holder) != 1) {
                        holder = 0;
                }
                fclose(f);
        }
        return holder;
}

static int sync_directory(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                return -errno;
        }
        int r = fsync(fd) < 0 ? -errno : 0;
        close(fd);
        return r;
}

static int write_node(const char *path, uint64_t holder)
{
        char text[32];
        int n = snprintf(text, sizeof text, "%016" PRIx64 "\n", holder);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0) {
                return -errno;
        }
        errno = 0;
        int r = write(fd, text, (size_t)n) != n || fsync(fd) < 0 ? (errno ? -errno : -EIO) : 0;
        close(fd);
        return r;
}

int state_dir_remember(const struct state_dir *d, uint64_t holder)
{
        char path[300], fresh[310];
        snprintf(path, sizeof path, "%s/node", d->path);
        snprintf(fresh, sizeof fresh, "%s.new", path);
        if (holder == 0) {
                return unlink(path) < 0 && errno != ENOENT ? -errno : sync_directory(d->path);
        }
        int r = write_node(fresh, holder);
        if (r < 0) {
                return r;
        }
        if (rename(fresh, path) < 0) {
                return -errno;
        }
        return sync_directory(d->path);
}
