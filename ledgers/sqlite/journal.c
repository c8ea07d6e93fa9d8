/*
 * The journal of letters without a key: which job each became, until the broker surely has the
 * acknowledgement. One row per batch, read as a whole and only when the broker brings something
 * again; so a batch that comes for the first time pays for one insert.
 *
 * Whether a batch must wait is found before anything is written: what it acknowledges and what it
 * gives up count already. An entry answers at most one letter of a batch, and moves to it.
 */
#include "ledgers/sqlite/internal.h"

#include <stdlib.h>

/* As `journal.entries` keeps them. */
struct journal_entry {
        uint64_t fingerprint;
        struct job_id id;
};

struct journal_page {
        int64_t no;
        bool over, touched;
};

struct journal_old {
        struct journal_entry entry;
        uint32_t page;
        bool moved;
};

/* --- reading ---------------------------------------------------------------------------------- */

static int compare_old(const void *a, const void *b)
{
        const struct journal_old *x = a, *y = b;
        return (x->entry.fingerprint > y->entry.fingerprint) -
               (x->entry.fingerprint < y->entry.fingerprint);
}

static bool is_among(const struct commit_no *list, uint32_t n, const struct commit_no *no)
{
        for (uint32_t i = 0; i < n; i++) {
                if (list[i].n == no->n && list[i].writer == no->writer &&
                    list[i].holder == no->holder) {
                        return true;
                }
        }
        return false;
}

static void read_page(struct journal *j, sqlite3_stmt *s)
{
        struct commit_no no = {(uint64_t)sqlite3_column_int64(s, 2),
                               (uint32_t)sqlite3_column_int64(s, 3),
                               (uint64_t)sqlite3_column_int64(s, 4)};
        if (is_among(j->b->acknowledged, j->b->n_acknowledged, &no)) {
                return;
        }
        struct str entries = column_str(s, 1);
        struct journal_page *page = &j->pages[j->n_pages];
        *page = (struct journal_page){
            .no = sqlite3_column_int64(s, 0),
            .over = sqlite3_column_int(s, 5) || is_among(j->b->lost, j->b->n_lost, &no),
        };
        for (uint32_t at = 0; at + sizeof(struct journal_entry) <= entries.n;
             at += sizeof(struct journal_entry)) {
                struct journal_old *old = &j->old[j->n_old++];
                *old = (struct journal_old){.page = j->n_pages};
                memcpy(&old->entry, entries.p + at, sizeof old->entry);
        }
        j->n_pages++;
}

static int make_room(struct journal *j)
{
        struct binder q = bind_start(db_get(j->t->db, ST_JOURNAL_SIZE));
        bind_text(&q, j->b->queue);
        int rc = sqlite3_step(q.s);
        uint64_t pages = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q.s, 0) : 0;
        uint64_t bytes = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q.s, 1) : 0;
        (void)sqlite3_reset(q.s);
        if (rc != SQLITE_ROW) {
                return rc;
        }
        uint64_t n = bytes / sizeof(struct journal_entry);
        j->pages = arena_alloc(&j->t->scratch, (pages + 1) * sizeof *j->pages);
        j->old = arena_alloc(&j->t->scratch, (n + 1) * sizeof *j->old);
        return j->pages && j->old ? SQLITE_OK : SQLITE_NOMEM;
}

static int read_journal(struct journal *j)
{
        int rc = make_room(j);
        if (rc) {
                return rc;
        }
        struct binder q = bind_start(db_get(j->t->db, ST_JOURNAL));
        bind_text(&q, j->b->queue);
        while ((rc = sqlite3_step(q.s)) == SQLITE_ROW) {
                read_page(j, q.s);
        }
        (void)sqlite3_reset(q.s);
        if (j->n_old) {
                qsort(j->old, j->n_old, sizeof *j->old, compare_old);
        }
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int for_each(struct tx *t, enum statement which, const struct commit_no *list, uint32_t n)
{
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < n && !rc; i++) {
                struct binder b = bind_start(db_get(t->db, which));
                bind_u64(&b, list[i].holder);
                bind_int(&b, list[i].writer);
                bind_u64(&b, list[i].n);
                rc = bind_run(&b);
        }
        return rc;
}

/* The first with that fingerprint, or where it would stand. */
static uint32_t lower_bound(const struct journal *j, uint64_t fingerprint)
{
        uint32_t low = 0, high = j->n_old;
        while (low < high) {
                uint32_t mid = low + (high - low) / 2;
                if (j->old[mid].entry.fingerprint < fingerprint) {
                        low = mid + 1;
                } else {
                        high = mid;
                }
        }
        return low;
}

/* Is there an entry whose acknowledgement may yet turn out to be sure? */
static bool must_wait(const struct journal *j, uint64_t fingerprint)
{
        bool waits = false;
        for (uint32_t i = lower_bound(j, fingerprint);
             i < j->n_old && j->old[i].entry.fingerprint == fingerprint; i++) {
                waits = waits || !j->pages[j->old[i].page].over;
        }
        return waits;
}

static bool any_must_wait(const struct journal *j)
{
        bool waits = false;
        for (const struct arrivals *l = j->b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n && !waits; i++) {
                        const struct arrival *a = &l->items[i];
                        waits = a->redelivered && a->fingerprint && must_wait(j, a->fingerprint);
                }
        }
        return waits;
}

int journal_open(struct journal *j, struct tx *t, const struct ledger_arrive *b)
{
        uint32_t room = 0, again = 0;
        for (const struct arrivals *l = b->list; l; l = l->next) {
                for (uint32_t i = 0; i < l->n; i++) {
                        bool marked = l->items[i].fingerprint != 0;
                        room += marked;
                        again += marked && l->items[i].redelivered;
                }
        }
        *j = (struct journal){.t = t, .b = b};
        j->own = room ? arena_alloc(&t->scratch, room * sizeof *j->own) : NULL;
        if (room && !j->own) {
                return SQLITE_NOMEM;
        }
        int rc = again ? read_journal(j) : SQLITE_OK;
        if (!rc && any_must_wait(j)) {
                return TX_REFUSED;
        }
        rc = rc ? rc : for_each(t, ST_JOURNAL_FORGET, b->acknowledged, b->n_acknowledged);
        return rc ? rc : for_each(t, ST_JOURNAL_OVER, b->lost, b->n_lost);
}

/* --- asking, noting --------------------------------------------------------------------------- */

void journal_note(struct journal *j, uint64_t fingerprint, const struct job_id *id)
{
        if (fingerprint) {
                j->own[j->n_own++] = (struct journal_entry){fingerprint, *id};
        }
}

bool journal_find(struct journal *j, uint64_t fingerprint, struct job_id *ret_id)
{
        struct journal_old *one = NULL;
        uint32_t n = 0;
        for (uint32_t i = lower_bound(j, fingerprint);
             i < j->n_old && j->old[i].entry.fingerprint == fingerprint; i++) {
                if (!j->old[i].moved) {
                        one = &j->old[i];
                        n++;
                }
        }
        j->ambiguous += n > 1;
        if (n != 1) {
                return false;
        }
        one->moved = true;
        j->pages[one->page].touched = true;
        *ret_id = one->entry.id;
        journal_note(j, fingerprint, ret_id);
        return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What is left of a row of which entries moved. */
static int write_page(struct journal *j, uint32_t page)
{
        struct journal_entry *left = arena_alloc(&j->t->scratch, (j->n_old + 1) * sizeof *left);
        uint32_t n = 0;
        if (!left) {
                return SQLITE_NOMEM;
        }
        for (uint32_t i = 0; i < j->n_old; i++) {
                if (j->old[i].page == page && !j->old[i].moved) {
                        left[n++] = j->old[i].entry;
                }
        }
        struct binder b = bind_start(db_get(j->t->db, n ? ST_JOURNAL_SHRINK : ST_JOURNAL_DELETE));
        if (n) {
                bind_bytes(&b, left, n * sizeof *left);
        }
        bind_int(&b, j->pages[page].no);
        return bind_run(&b);
}

int journal_close(struct journal *j)
{
        int rc = SQLITE_OK;
        for (uint32_t i = 0; i < j->n_pages && !rc; i++) {
                rc = j->pages[i].touched ? write_page(j, i) : SQLITE_OK;
        }
        if (rc || !j->n_own) {
                return rc;
        }
        struct binder b = bind_start(db_get(j->t->db, ST_JOURNAL_INSERT));
        bind_text(&b, j->b->queue);
        bind_int(&b, j->t->now_us);
        bind_u64(&b, j->b->base.no.holder);
        bind_int(&b, j->b->base.no.writer);
        bind_u64(&b, j->b->base.no.n);
        bind_bytes(&b, j->own, j->n_own * sizeof *j->own);
        return bind_run(&b);
}

/* --- FOLD's part ------------------------------------------------------------------------------ */

int journal_is_old(struct tx *t, bool *ret_old)
{
        sqlite3_stmt *s = db_get(t->db, ST_JOURNAL_OLDEST);
        int rc = sqlite3_step(s);
        *ret_old = rc == SQLITE_ROW && sqlite3_column_int64(s, 0) <= t->now_us - JOURNAL_LIFE_US;
        (void)sqlite3_reset(s);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int journal_expire(struct tx *t)
{
        struct binder b = bind_start(db_get(t->db, ST_JOURNAL_EXPIRE));
        bind_int(&b, t->now_us - JOURNAL_LIFE_US);
        return bind_run(&b);
}
