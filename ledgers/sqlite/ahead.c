/*
 * Reading ahead. SQLite reads its file page by page, which for a payload of 64 KiB are seventeen
 * system calls; the pages of a large payload, and those of the next one, mostly follow each other.
 * Between SQLite and its file this keeps the bytes behind a read that follows the one before it,
 * and serves the next reads from them.
 *
 * What was read ahead is as good as a page in SQLite's own cache: within one transaction nobody
 * changes those pages of the file that it may still ask for (what a checkpoint moves there
 * meanwhile it finds in the log). So all is forgotten with each lock that is taken or left, and
 * with each write. It must never be kept across either.
 *
 * Discarded: PRAGMA mmap_size, which makes an I/O error a SIGBUS and counts the file as our memory;
 * larger pages, of which small jobs would write more.
 */
#include "ledgers/sqlite/internal.h"

#include <pthread.h>
#include <stdlib.h>

#define AHEAD_FIRST (16 << 10)
#define AHEAD_LAST  (64 << 10)

struct ahead_file {
        sqlite3_file base; /* first */
        sqlite3_file *real;
        int64_t from, end; /* of what is kept */
        int64_t next,
            stray; /* where the reads that follow each other go on; the last other one's end */
        int step;
        int64_t size; /* of the file, as this transaction met it; < 0: not asked for yet */
        char *bytes;  /* AHEAD_LAST, from the first time on; not in here: SQLite makes room for more
                         files than it opens in this way */
};

static struct ahead_file *ahead_of(sqlite3_file *f)
{
        return (struct ahead_file *)(void *)f;
}

static void forget_ahead(struct ahead_file *a)
{
        a->from = a->end = 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_kept(const struct ahead_file *a, void *to, int n, int64_t at)
{
        bool kept = at >= a->from && at + n <= a->end;
        if (kept) {
                memcpy(to, a->bytes + (at - a->from), (size_t)n);
        }
        return kept;
}

/* A step, or what the file has left. */
static int64_t reach_of(struct ahead_file *a, int64_t at)
{
        sqlite3_int64 size;
        if (a->size < 0 && a->real->pMethods->xFileSize(a->real, &size) == SQLITE_OK) {
                a->size = size;
        }
        return a->size - at < a->step ? a->size - at : a->step;
}

/* False: near the end of the file, or it cannot be read; asked for alone the answer is exact. */
static bool fill_ahead(struct ahead_file *a, int n, int64_t at)
{
        int64_t reach = reach_of(a, at);
        forget_ahead(a);
        a->bytes = a->bytes ? a->bytes : malloc(AHEAD_LAST);
        if (n > reach || !a->bytes ||
            a->real->pMethods->xRead(a->real, a->bytes, (int)reach, at) != SQLITE_OK) {
                return false;
        }
        a->from = at;
        a->end = at + reach;
        return true;
}

/* A read between others of another place does not disturb those that follow each other. */
static int read_file(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
        struct ahead_file *a = ahead_of(f);
        bool goes_on = at == a->next, begins = !goes_on && at == a->stray;
        if (goes_on || begins) {
                a->next = at + n;
        } else {
                a->stray = at + n;
        }
        if (read_kept(a, to, n, at)) {
                return SQLITE_OK;
        }
        if (goes_on || begins) {
                a->step = begins                     ? AHEAD_FIRST
                          : a->step * 2 < AHEAD_LAST ? a->step * 2
                                                     : AHEAD_LAST;
                if (fill_ahead(a, n, at) && read_kept(a, to, n, at)) {
                        return SQLITE_OK;
                }
        }
        return a->real->pMethods->xRead(a->real, to, n, at);
}

/* --- what makes it forget --------------------------------------------------------------------- */

static sqlite3_file *real_anew(sqlite3_file *f)
{
        forget_ahead(ahead_of(f));
        ahead_of(f)->size = -1;
        return ahead_of(f)->real;
}

static int write_file(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xWrite(r, from, n, at);
}

static int cut_file(sqlite3_file *f, sqlite3_int64 size)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xTruncate(r, size);
}

static int sync_file(sqlite3_file *f, int flags)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xSync(r, flags);
}

static int lock_file(sqlite3_file *f, int how)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xLock(r, how);
}

static int unlock_file(sqlite3_file *f, int how)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xUnlock(r, how);
}

static int lock_index(sqlite3_file *f, int offset, int n, int flags)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xShmLock(r, offset, n, flags);
}

static int control_file(sqlite3_file *f, int op, void *arg)
{
        sqlite3_file *r = real_anew(f);
        return r->pMethods->xFileControl(r, op, arg);
}

/* --- what it does not meddle with ------------------------------------------------------------- */

static int close_file(sqlite3_file *f)
{
        sqlite3_file *r = real_anew(f);
        free(ahead_of(f)->bytes);
        ahead_of(f)->bytes = NULL;
        return r->pMethods->xClose(r);
}

static int size_file(sqlite3_file *f, sqlite3_int64 *ret)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xFileSize(r, ret);
}

static int look_for_lock(sqlite3_file *f, int *ret)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xCheckReservedLock(r, ret);
}

static int sector_size(sqlite3_file *f)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xSectorSize(r);
}

static int tell_device(sqlite3_file *f)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xDeviceCharacteristics(r);
}

static int map_index(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xShmMap(r, page, size, extend, ret);
}

static void order_index(sqlite3_file *f)
{
        sqlite3_file *r = ahead_of(f)->real;
        r->pMethods->xShmBarrier(r);
}

static int unmap_index(sqlite3_file *f, int and_delete)
{
        sqlite3_file *r = ahead_of(f)->real;
        return r->pMethods->xShmUnmap(r, and_delete);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Version 2: no pages of a mapped file (3), which are not used here. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = cut_file,
    .xSync = sync_file,
    .xFileSize = size_file,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = look_for_lock,
    .xFileControl = control_file,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = tell_device,
    .xShmMap = map_index,
    .xShmLock = lock_index,
    .xShmBarrier = order_index,
    .xShmUnmap = unmap_index,
};

static sqlite3_vfs *usual, ahead;

/* Logs and the like are read in another way, and as they are. */
static int open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
        (void)v;
        if (!(flags & SQLITE_OPEN_MAIN_DB)) {
                return usual->xOpen(usual, name, f, flags, ret_flags);
        }
        struct ahead_file *a = ahead_of(f);
        *a = (struct ahead_file){
            .real = (sqlite3_file *)(void *)(a + 1), .next = -1, .stray = -1, .size = -1};
        int rc = usual->xOpen(usual, name, a->real, flags, ret_flags);
        if (a->real->pMethods) {
                a->base.pMethods = &methods;
        }
        return rc;
}

static void register_ahead(void)
{
        usual = sqlite3_vfs_find(NULL);
        if (usual) {
                ahead = *usual;
                ahead.zName = "skep";
                ahead.pNext = NULL;
                ahead.szOsFile += (int)sizeof(struct ahead_file);
                ahead.xOpen = open_file;
                if (sqlite3_vfs_register(&ahead, 0) != SQLITE_OK) {
                        usual = NULL;
                }
        }
}

const char *ahead_vfs(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, register_ahead);
        return usual ? ahead.zName : NULL;
}
