/*
 * Parameters in, columns out. Texts are borrowed from the batch while the statement runs, so
 * nothing is copied on the way in; on the way out they are copied into an arena, never left in
 * SQLite's hands.
 */
#include "ledgers/sqlite/internal.h"

struct binder bind_start(sqlite3_stmt *s)
{
        return (struct binder){s, 0, SQLITE_OK};
}

static void keep(struct binder *b, int rc)
{
        if (rc && !b->rc) {
                b->rc = rc;
        }
}

void bind_int(struct binder *b, int64_t v)
{
        keep(b, sqlite3_bind_int64(b->s, ++b->i, v));
}

void bind_u64(struct binder *b, uint64_t v)
{
        bind_int(b, (int64_t)v);
}

void bind_null(struct binder *b)
{
        keep(b, sqlite3_bind_null(b->s, ++b->i));
}

void bind_text(struct binder *b, struct str v)
{
        keep(b, sqlite3_bind_text64(b->s, ++b->i, v.n ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8));
}

void bind_bytes(struct binder *b, const void *p, size_t n)
{
        keep(b, sqlite3_bind_blob64(b->s, ++b->i, n ? p : "", n, SQLITE_STATIC));
}

void bind_blob(struct binder *b, struct str v)
{
        if (v.n) {
                bind_bytes(b, v.p, v.n);
        } else {
                bind_null(b);
        }
}

void bind_id(struct binder *b, const struct job_id *id)
{
        bind_bytes(b, id->b, sizeof id->b);
}

/* FNV-1a, and a last stir so that names which differ little come out far apart. */
static uint64_t name_hash(struct str name)
{
        uint64_t h = 0xcbf29ce484222325;
        for (uint32_t i = 0; i < name.n; i++) {
                h = (h ^ (uint8_t)name.p[i]) * 0x100000001b3;
        }
        h = (h ^ (h >> 31)) * 0x9fb21c651e98df25;
        return h ^ (h >> 29);
}

struct job_key key_within(struct str queue, const struct job_key *key)
{
        struct job_key k = *key;
        uint64_t h = name_hash(queue), tail;
        memcpy(&tail, k.b + sizeof k.b - sizeof tail, sizeof tail);
        tail ^= h;
        memcpy(k.b + sizeof k.b - sizeof tail, &tail, sizeof tail);
        return k;
}

void bind_key(struct binder *b, const struct job_key *key)
{
        if (key->set) {
                bind_bytes(b, key->b, sizeof key->b);
        } else {
                bind_null(b);
        }
}

int bind_run(struct binder *b)
{
        return b->rc ? b->rc : db_run(b->s);
}

struct job_id column_id(sqlite3_stmt *s, int i)
{
        struct job_id id = {{0}};
        const void *p = sqlite3_column_blob(s, i);
        if (p && sqlite3_column_bytes(s, i) == (int)sizeof id.b) {
                memcpy(id.b, p, sizeof id.b);
        }
        return id;
}

struct str column_str(sqlite3_stmt *s, int i)
{
        const void *p = sqlite3_column_blob(s, i); /* before its length, as SQLite asks */
        return (struct str){p, p ? (uint32_t)sqlite3_column_bytes(s, i) : 0};
}

struct str column_copy(struct arena *a, sqlite3_stmt *s, int i)
{
        struct str v = column_str(s, i);
        return v.n ? arena_str(a, v) : (struct str){"", 0};
}
