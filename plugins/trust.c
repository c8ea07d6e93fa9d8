/*
 * Who could have written this file? A directory that strangers may write to is as good as a file
 * they may write to.
 */
#include "plugins/trust.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define DEPTH_MAX 64

static bool owner_trusted(uid_t uid)
{
        return uid == 0 || uid == geteuid();
}

static bool directory_trusted(int fd, bool itself, const char *what, char *note, size_t note_size)
{
        struct stat st;
        if (fstat(fd, &st) < 0) {
                snprintf(note, note_size, "%s cannot be examined: %s", what,
                         strerrordesc_np(errno));
                return false;
        }
        if (!owner_trusted(st.st_uid)) {
                snprintf(
                    note, note_size,
                    "%s belongs to user %u, who could replace plug-ins: it must belong to root or "
                    "to the user of skepd (%u)",
                    what, (unsigned)st.st_uid, (unsigned)geteuid());
                return false;
        }
        if (st.st_mode & (S_IWGRP | S_IWOTH) && (itself || !(st.st_mode & S_ISVTX))) {
                snprintf(
                    note, note_size,
                    "%s may be written by others (mode %03o): chmod go-w it, since whoever writes "
                    "there runs code here",
                    what, (unsigned)st.st_mode & 0777);
                return false;
        }
        return true;
}

/* From the directory up to the root, by "..", so that no path is resolved twice. */
static bool ancestors_trusted(int directory, const char *path, char *note, size_t note_size)
{
        int fd = dup(directory);
        for (int depth = 1; fd >= 0 && depth <= DEPTH_MAX; depth++) {
                struct stat below, above;
                int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
                bool known = up >= 0 && fstat(fd, &below) == 0 && fstat(up, &above) == 0;
                close(fd);
                fd = up;
                if (!known) {
                        break;
                }
                if (below.st_dev == above.st_dev && below.st_ino == above.st_ino) {
                        close(fd);
                        return true; /* the root is its own parent */
                }
                char what[256];
                snprintf(what, sizeof what, "a directory above %.200s (%d up)", path, depth);
                if (!directory_trusted(fd, false, what, note, note_size)) {
                        close(fd);
                        return false;
                }
        }
        if (fd >= 0) {
                close(fd);
        }
        snprintf(note, note_size, "the directories above %.200s cannot be examined", path);
        return false;
}

int trust_open_directory(const char *path, char *note, size_t note_size)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                int e = errno;
                snprintf(note, note_size, "the directory %.200s cannot be opened: %s", path,
                         strerrordesc_np(e));
                return -e;
        }
        char what[256];
        snprintf(what, sizeof what, "the directory %.200s", path);
        if (!directory_trusted(fd, true, what, note, note_size) ||
            !ancestors_trusted(fd, path, note, note_size)) {
                close(fd);
                return -EPERM;
        }
        return fd;
}

static bool name_plain(const char *name)
{
        if (!isalnum((unsigned char)*name) || strlen(name) > 200) {
                return false;
        }
        for (; *name; name++) {
                if (!isalnum((unsigned char)*name) && !strchr("._+-", *name)) {
                        return false;
                }
        }
        return true;
}

static const char *file_type(mode_t mode)
{
        return S_ISDIR(mode)    ? "a directory"
               : S_ISFIFO(mode) ? "a FIFO"
               : S_ISSOCK(mode) ? "a socket"
               : S_ISLNK(mode)  ? "a symbolic link"
                                : "a device";
}

static bool file_trusted(const struct stat *st, char *note, size_t note_size)
{
        if (!S_ISREG(st->st_mode)) {
                snprintf(note, note_size, "it is %s, not a regular file", file_type(st->st_mode));
        } else if (!owner_trusted(st->st_uid)) {
                snprintf(
                    note, note_size,
                    "it belongs to user %u: it must belong to root or to the user of skepd (%u)",
                    (unsigned)st->st_uid, (unsigned)geteuid());
        } else if (st->st_mode & (S_IWGRP | S_IWOTH)) {
                snprintf(note, note_size, "it may be written by others (mode %03o): chmod go-w it",
                         (unsigned)st->st_mode & 0777);
        } else if (st->st_mode & (S_ISUID | S_ISGID)) {
                snprintf(note, note_size, "it is setuid or setgid, which a plug-in never is");
        } else if (st->st_size == 0) {
                snprintf(note, note_size, "it is empty");
        } else if ((uint64_t)st->st_size > PLUGIN_BYTES_MAX) {
                snprintf(note, note_size, "it is larger than 128 MiB");
        } else {
                return true;
        }
        return false;
}

int trust_open_file(int directory, const char *name, struct stat *ret_st, char *note,
                    size_t note_size)
{
        if (!name_plain(name)) {
                snprintf(note, note_size,
                         "its name has characters other than A-Z a-z 0-9 . _ + - or is too long");
                return -EINVAL;
        }
        int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
                int e = errno;
                snprintf(note, note_size, "%s",
                         e == ELOOP   ? "it is a symbolic link, not a regular file"
                         : e == ENXIO ? "it is a socket or a device, not a regular file"
                                      : strerrordesc_np(e));
                return -e;
        }
        struct stat st;
        if (fstat(fd, &st) < 0 || !file_trusted(&st, note, note_size)) {
                close(fd);
                return -EPERM;
        }
        *ret_st = st;
        return fd;
}
