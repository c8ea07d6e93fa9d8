/*
 * `skep doctor` and this machine: folders, file system, clock, limits. Each check stands alone and
 * says what it saw. Nothing is opened for writing. What skepd's user may do is judged by modes and
 * owners, since this program often runs as another one.
 */
#include "cli/doctor.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <unistd.h>

#define FILES_WANTED 1024
#define MIB          (UINT64_C(1) << 20)
#define DISK_LOW     (256 * MIB)
#define DISK_EMPTY   (32 * MIB)
#define ERROR_MAX_US 1000000 /* the kernel's own bound on how wrong its clock may be */

/* --- folders ---------------------------------------------------------------------------------- */

/* May somebody else than root and `owner` change what is at `path`, or put another one there? The
 * same question as plugins/trust.h asks, by paths. A text to be freed, or NULL. */
static char *find_stranger(const char *path, uid_t owner)
{
        CLEANUP(free_text)
        char *real = realpath(path, NULL);
        CLEANUP(free_text)
        char *at = text_copy(real ? real : path);
        for (bool above = false;; above = true) {
                struct stat st;
                if (stat(at, &st) != 0) {
                        return text_printf("%s: %s", at, strerror(errno));
                }
                if (st.st_uid != 0 && st.st_uid != owner) {
                        return text_printf("%s belongs to user %u", at, (unsigned)st.st_uid);
                }
                if ((st.st_mode & 022) && !(above && (st.st_mode & S_ISVTX))) {
                        return text_printf("%s can be written by others (mode %04o)", at,
                                           (unsigned)(st.st_mode & 07777));
                }
                if (strcmp(at, "/") == 0) {
                        return NULL;
                }
                char *parent = text_copy(dirname(at));
                free_text(&at);
                at = parent;
        }
}

/* Whose process skepd is, as far as can be told. */
static uid_t daemon_user(const struct doctor_places *p, int pid)
{
        struct stat st;
        CLEANUP(free_text)
        char *process = text_printf("/proc/%d", pid);
        if ((pid > 0 && stat(process, &st) == 0) || (p->state && stat(p->state, &st) == 0)) {
                return st.st_uid;
        }
        return geteuid();
}

static void check_handlers(json_t *checks, const char *path, uid_t owner)
{
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
                doctor_note(
                    checks, "handlers", STATUS_FAIL,
                    text_printf("%s: %s", path,
                                S_ISDIR(st.st_mode) || errno ? strerror(errno) : "not a folder"),
                    "make the folder, or name another one in handlers.dir");
                return;
        }
        char *stranger = find_stranger(path, owner);
        if (stranger) {
                doctor_note(checks, "handlers", STATUS_FAIL, stranger,
                            "skepd loads no plug-in from there: chown it to root and chmod go-w");
                return;
        }
        doctor_note(checks, "handlers", STATUS_OK, text_printf("%s is safe from other users", path),
                    NULL);
}

/* The nearest folder at or above `path` that is there; the caller frees it. */
static char *existing_folder(const char *path)
{
        char *at = text_copy(path);
        struct stat st;
        while (stat(at, &st) != 0 && strcmp(at, "/") != 0 && strcmp(at, ".") != 0) {
                char *parent = text_copy(dirname(at));
                free_text(&at);
                at = parent;
        }
        return at;
}

static const struct {
        long magic;
        const char *name;
        const char *status, *detail;
} file_systems[] = {
    {0xEF53, "ext4", STATUS_OK, NULL},
    {0x58465342, "XFS", STATUS_OK, NULL},
    {0x9123683E, "btrfs", STATUS_OK, NULL},
    {0x2FC12FC1, "ZFS", STATUS_OK, NULL},
    {0x794c7630, "overlay", STATUS_WARN, "in a container, it may be gone with it"},
    {0x01021994, "tmpfs", STATUS_WARN, "it is gone when the machine restarts"},
    {0x6969, "NFS", STATUS_FAIL, "locks and memory maps are not safe there"},
    {0xFF534D42, "CIFS", STATUS_FAIL, "locks and memory maps are not safe there"},
    {0xFE534D42, "SMB2", STATUS_FAIL, "locks and memory maps are not safe there"},
    {0x65735546, "FUSE", STATUS_WARN,
     "whether it keeps what it acknowledged, only its makers know"},
};

/* On what kind of file system `path` is, or would be made. */
static void judge_place(json_t *checks, const char *check, const char *path, const char *advice)
{
        CLEANUP(free_text)
        char *folder = existing_folder(path);
        struct statfs fs;
        if (statfs(folder, &fs) != 0) {
                doctor_note(checks, check, STATUS_FAIL,
                            text_printf("%s: %s", folder, strerror(errno)), NULL);
                return;
        }
        const char *name = "a file system unknown here", *status = STATUS_OK, *detail = NULL;
        for (size_t i = 0; i < ARRAY_LEN(file_systems); i++) {
                if ((uint32_t)file_systems[i].magic == (uint32_t)fs.f_type) {
                        name = file_systems[i].name;
                        status = file_systems[i].status;
                        detail = file_systems[i].detail;
                }
        }
        doctor_note(checks, check, status,
                    text_printf("%s%s is on %s%s%s", path,
                                access(path, F_OK) == 0 ? "" : " (not there yet)", name,
                                detail ? ": " : "", detail ? detail : ""),
                    detail ? advice : NULL);
}

static void check_state(json_t *checks, const char *path, uid_t owner)
{
        struct stat st;
        if (stat(path, &st) == 0 && st.st_uid != owner) {
                doctor_note(checks, "state", STATUS_FAIL,
                            text_printf("%s belongs to user %u, skepd runs as %u", path,
                                        (unsigned)st.st_uid, (unsigned)owner),
                            "chown it to skepd's user");
                return;
        }
        judge_place(checks, "state", path, "put node.state_dir on a local disk");
}

static void check_ledger_file(json_t *checks, const char *url)
{
        const char *path = strncmp(url, "sqlite:", 7) == 0 ? url + 7 : "";
        if (*path == '/') {
                judge_place(checks, "ledger file", path,
                            "put the ledger on a local disk, or into PostgreSQL");
        }
}

static void check_disk(json_t *checks, const char *path)
{
        CLEANUP(free_text)
        char *folder = existing_folder(path);
        struct statfs fs;
        if (statfs(folder, &fs) != 0) {
                return; /* check_state said so */
        }
        uint64_t free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
        uint64_t all = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
        bool no_files = fs.f_files > 0 && fs.f_ffree < 1000;
        bool low = free_bytes < DISK_LOW || (all > 0 && free_bytes < all / 20) || no_files;
        const char *status = free_bytes < DISK_EMPTY ? STATUS_FAIL : low ? STATUS_WARN : STATUS_OK;
        doctor_note(checks, "disk", status,
                    text_printf("%llu MiB of %llu are free%s in %s",
                                (unsigned long long)(free_bytes / MIB),
                                (unsigned long long)(all / MIB),
                                no_files ? " and hardly any inode" : "", folder),
                    low ? "make room before the ledger or the run pages cannot grow" : NULL);
}

/* --- clock and limits ------------------------------------------------------------------------- */

static void check_clock(json_t *checks)
{
        struct timex t = {0};
        int r = adjtimex(&t);
        if (r < 0) {
                doctor_note(checks, "clock", STATUS_WARN,
                            text_printf("the kernel does not tell: %s", strerror(errno)), NULL);
                return;
        }
        bool adrift = r == TIME_ERROR || (t.status & STA_UNSYNC);
        bool vague = t.maxerror > ERROR_MAX_US;
        doctor_note(checks, "clock", adrift || vague ? STATUS_WARN : STATUS_OK,
                    adrift ? text_copy("not synchronised, says the kernel")
                           : text_printf("synchronised, at most %ld ms off", t.maxerror / 1000),
                    adrift || vague ? "run systemd-timesyncd or chrony: schedules and deadlines go "
                                      "by the ledger's clock, log lines by this one"
                                    : NULL);
}

/* `Max open files            1024                 524288               files` */
static bool read_limit(int pid, uint64_t *ret)
{
        CLEANUP(free_text)
        char *path = text_printf("/proc/%d/limits", pid);
        FILE *f = fopen(path, "re");
        char line[256];
        unsigned long long n;
        bool found = false;
        while (f && !found && fgets(line, sizeof line, f)) {
                found = sscanf(line, "Max open files %llu", &n) == 1;
        }
        if (f) {
                fclose(f);
        }
        if (found) {
                *ret = n;
        }
        return found;
}

static void check_files(json_t *checks, int pid)
{
        struct rlimit own;
        uint64_t limit;
        bool of_skepd = pid > 0 && read_limit(pid, &limit);
        if (!of_skepd) {
                limit = getrlimit(RLIMIT_NOFILE, &own) == 0 ? own.rlim_cur : 0;
        }
        bool few = limit < FILES_WANTED;
        doctor_note(checks, "open files", few ? STATUS_WARN : STATUS_OK,
                    text_printf("%s may open %llu%s", of_skepd ? "skepd" : "this shell",
                                (unsigned long long)limit,
                                few ? ", which is few for many connections and workers" : ""),
                    few ? "raise LimitNOFILE= of the unit, or ulimit -n" : NULL);
}

/* Nothing is said of a socket that is not there while skepd does not run. */
static void check_socket(json_t *checks, const char *path, int pid)
{
        struct stat st;
        if (stat(path, &st) != 0) {
                if (pid) {
                        doctor_note(checks, "socket", STATUS_WARN,
                                    text_printf("%s: %s", path, strerror(errno)),
                                    "the skepd that was asked uses another configuration; name its "
                                    "with --config");
                }
        } else if (!S_ISSOCK(st.st_mode)) {
                doctor_note(checks, "socket", STATUS_FAIL, text_printf("%s is no socket", path),
                            "remove it: skepd cannot listen there");
        } else {
                doctor_note(checks, "socket", STATUS_OK,
                            text_printf("%s, mode %04o", path, (unsigned)(st.st_mode & 07777)),
                            NULL);
        }
}

void doctor_local(json_t *checks, const struct doctor_places *p, int pid)
{
        uid_t owner = daemon_user(p, pid);
        if (p->socket) {
                check_socket(checks, p->socket, pid);
        }
        if (p->handlers) {
                check_handlers(checks, p->handlers, owner);
        }
        if (p->state) {
                check_state(checks, p->state, owner);
                check_disk(checks, p->state);
        }
        if (p->ledger) {
                check_ledger_file(checks, p->ledger);
        }
        check_clock(checks);
        check_files(checks, pid);
}
