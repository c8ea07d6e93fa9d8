/*
 * A job as it is handed over, filled from a row of JOB_COLUMNS: by CLAIM and by doorbells when they
 * take it, by RECALL and HELD when they read it back. Texts are copied into the claim's arena.
 */
#include "ledgers/sqlite/life.h"

/* One cursor for all payloads of a claim: it steps from one to the next, and copies once. */
static int read_payload(struct db *db, struct arena *a, struct job *j)
{
        int rc = db->blob
                     ? sqlite3_blob_reopen(db->blob, j->ref)
                     : sqlite3_blob_open(db->sql, "main", "blobs", "payload", j->ref, 0, &db->blob);
        if (rc) {
                return rc;
        }
        int n = sqlite3_blob_bytes(db->blob);
        char *p = arena_alloc(a, (size_t)n + 1);
        if (!p) {
                return SQLITE_NOMEM;
        }
        j->payload = (struct str){p, (uint32_t)n};
        return sqlite3_blob_read(db->blob, p, n, 0);
}

void job_read_end(struct db *db)
{
        (void)sqlite3_blob_close(STEAL(db->blob)); /* NULL-safe */
}

/* Jobs of one claim mostly share their queue and type: one copy serves the next as well. */
static struct str share(struct arena *a, struct str last, sqlite3_stmt *s, int i)
{
        struct str v = column_str(s, i);
        return v.n && str_eq(v, last) ? last : column_copy(a, s, i);
}

static int read_life(struct db *db, struct arena *a, int bits, struct job *j)
{
        struct life life = {0};
        int rc = bits & LIFE_OWN ? life_read(db, a, j->ref, &life) : SQLITE_OK;
        j->policy = life.policy;
        j->retry_until_us = life.retry_until_us;
        j->heartbeat_ms = life.heartbeat_ms;
        j->left_work = (bits & LIFE_SAVED) != 0;
        return rc;
}

int job_read_books(struct db *db, struct arena *a, const struct job *last, sqlite3_stmt *s,
                   struct job *j)
{
        *j = (struct job){
            .id = column_id(s, JOB_ID),
            .ref = sqlite3_column_int64(s, JOB_SEQ),
            .claim = (uint32_t)sqlite3_column_int64(s, JOB_CLAIM),
            .token = (uint64_t)sqlite3_column_int64(s, JOB_TOKEN),
            .attempt = (uint16_t)sqlite3_column_int(s, JOB_ATTEMPT),
            .max_attempts = (uint16_t)sqlite3_column_int(s, JOB_MAX_ATTEMPTS),
            .snoozes = (uint16_t)sqlite3_column_int(s, JOB_SNOOZES),
            .strikes = (uint8_t)sqlite3_column_int(s, JOB_STRIKES),
            .priority = (uint8_t)sqlite3_column_int(s, JOB_PRIORITY),
            .generation = (uint32_t)sqlite3_column_int64(s, JOB_GENERATION),
            .timeout_ms = (uint32_t)sqlite3_column_int64(s, JOB_TIMEOUT_MS),
            .cancel_asked = sqlite3_column_int(s, JOB_CANCEL_ASKED) != 0,
            .created_us = sqlite3_column_int64(s, JOB_CREATED),
            .deadline_us = sqlite3_column_int64(s, JOB_DEADLINE),
            .queue = share(a, last->queue, s, JOB_QUEUE),
            .type = share(a, last->type, s, JOB_TYPE),
            .handler = -1,
        };
        if (!j->queue.p || !j->type.p) {
                return SQLITE_NOMEM;
        }
        int life = (int)(sqlite3_column_int64(s, JOB_LIFE) & LIFE_BITS);
        return life ? read_life(db, a, life, j) : SQLITE_OK;
}

static void set_late(struct job *j, sqlite3_stmt *s, int64_t claimed_us)
{
        int64_t due = sqlite3_column_int64(s, JOB_LIFE) >> LIFE_DUE_SHIFT;
        j->late_us = due && claimed_us > due ? claimed_us - due : 0;
}

static int read_job(struct db *db, struct claim *c, sqlite3_stmt *s)
{
        static const struct job none;
        struct job *j = &c->jobs[c->n];
        const struct job *last = c->n ? j - 1 : &none;
        int rc = job_read_books(db, &c->arena, last, s, j);
        if (rc) {
                return rc;
        }
        j->content_type = share(&c->arena, last->content_type, s, JOB_CONTENT_TYPE);
        j->headers = column_copy(&c->arena, s, JOB_HEADERS);
        j->payload = column_copy(&c->arena, s, JOB_PAYLOAD);
        if (!j->content_type.p || !j->headers.p || !j->payload.p) {
                return SQLITE_NOMEM;
        }
        if (!j->payload.n && sqlite3_column_int64(s, JOB_SIZE) > 0) {
                rc = read_payload(db, &c->arena, j);
        }
        if (!rc && j->left_work) {
                rc = save_read(db, &c->arena, j->ref, &j->checkpoint);
        }
        c->n += !rc;
        return rc;
}

int job_take(struct db *db, struct claim *c, sqlite3_stmt *s, int64_t now_us)
{
        int rc = read_job(db, c, s);
        if (!rc) {
                struct job *j = &c->jobs[c->n - 1];
                j->claim++;
                j->attempt++;
                j->token = c->token;
                set_late(j, s, now_us);
        }
        return rc;
}

int job_recall(struct db *db, struct claim *c, sqlite3_stmt *s)
{
        int rc = read_job(db, c, s);
        if (!rc) {
                set_late(&c->jobs[c->n - 1], s, sqlite3_column_int64(s, JOB_STARTED));
        }
        return rc;
}

int job_start_claim(struct claim *c, const struct commit_no *no, uint64_t token, uint64_t room)
{
        arena_reset(&c->arena);
        c->no = *no;
        c->token = token;
        c->n = c->open = 0;
        c->jobs = room ? arena_alloc(&c->arena, room * sizeof *c->jobs) : NULL;
        return room && !c->jobs ? SQLITE_NOMEM : SQLITE_OK;
}
