/*
 * What is done once on each new connection, step by step, without waiting: the session's settings
 * and what the server must promise; the schema; the statements.
 *
 * Only the beat's lane migrates, under an advisory lock, so that ten nodes that start at once apply
 * each migration once; the other lanes begin when it is done. A schema newer than this program is
 * used if its meta('oldest_program') says that this program may.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define MIGRATE_NS (180 * NS_PER_S)

/* Plans are pinned: one made on an empty table, or a guess about LIMIT $1, costs twenty times. The
 * server notices a client that is gone, so that its locks go with it. */
const char postgres_session[] =
    "set search_path = skep, pg_temp; set enable_seqscan = off; set enable_hashjoin = off;"
    "set enable_mergejoin = off; set enable_bitmapscan = off; set jit = off;"
    "set plan_cache_mode = force_generic_plan; set client_min_messages = warning;"
    "set default_transaction_isolation = 'read committed'; set statement_timeout = '30s';"
    "set idle_in_transaction_session_timeout = '10s'; set tcp_keepalives_idle = 10;"
    "set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set tcp_user_timeout = 20000;";

static const char checks[] =
    "select pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on',"
    " current_setting('fsync') = 'off', current_setting('full_page_writes') = 'off',"
    " current_setting('synchronous_commit'), current_setting('server_version_num')::int,"
    " to_regclass('skep.schema_migrations') is not null;";

static int newest_known(void)
{
        return postgres_migrations[postgres_migrations_n - 1].number;
}

static int ask(struct lane *n, enum setup_step step, const char *sql)
{
        n->step = step;
        n->setup_failed = false;
        if (!PQsendQuery(n->c, sql)) {
                conn_note(n, PQerrorMessage(n->c));
                return -EIO;
        }
        return 0;
}

static int refuse(struct lane *n, const char *why)
{
        conn_note(n, why);
        n->retry_after_ns = 5 * NS_PER_S; /* nothing that passes by itself at once */
        return -EPROTO;
}

/* What waits for a lock on the beat's lane (RESOLVE for a transaction that hangs, BURY for one of
 * its victim) keeps a beat waiting behind it: it is refused soon, and posted again. */
static int lock_patience_ms(const struct lane *n)
{
        int usual = n->which == LANE_BEAT ? 1000 : 10000;
        return n->l->hooks.lock_timeout_ms ? n->l->hooks.lock_timeout_ms : usual;
}

int setup_begin(struct lane *n)
{
        char sql[2048];
        snprintf(sql, sizeof sql, "%s %s set lock_timeout = %d", checks, postgres_session,
                 lock_patience_ms(n));
        return ask(n, SETUP_SESSION, sql);
}

/* --- what the server must promise ------------------------------------------------------------- */

static bool is_true(const PGresult *r, int column)
{
        return PQgetvalue(r, 0, column)[0] == 't';
}

static const char *careless(const PGresult *r)
{
        if (is_true(r, 1)) {
                return "the server has fsync = off: it may lose what it said was committed; turn "
                       "it on, "
                       "or say that the ledger may be unsafe";
        }
        if (is_true(r, 2)) {
                return "the server has full_page_writes = off: a power cut may destroy its pages; "
                       "turn it "
                       "on, or say that the ledger may be unsafe";
        }
        if (strcmp(PQgetvalue(r, 0, 3), "off") == 0) {
                return "the server has synchronous_commit = off for this user or database; turn it "
                       "on, or "
                       "say that the ledger may be unsafe";
        }
        return NULL;
}

static int judge_server(struct lane *n, const PGresult *r)
{
        const char *fault = n->l->unsafe ? NULL : careless(r);
        n->newest = is_true(r, 5) ? 0 : -1;
        if (is_true(r, 0)) {
                return refuse(n, "the server is a replica or read-only: it cannot be written to");
        }
        if (atoi(PQgetvalue(r, 0, 4)) < 140000) {
                return refuse(n, "the server is older than PostgreSQL 14");
        }
        return fault ? refuse(n, fault) : 0;
}

/* --- schema ----------------------------------------------------------------------------------- */

static int ask_schema(struct lane *n)
{
        /* A commit waits for the disk, and for replicas if they were asked for more than this. */
        return ask(
            n, SETUP_SCHEMA,
            "select set_config('synchronous_commit', 'on', false) where "
            "current_setting('synchronous_commit') <> 'remote_apply';"
            "select coalesce(max(number), 0), coalesce((select value from skep.meta "
            "where name = 'oldest_program'), 0), to_regtype('skep.new_row')::oid, "
            "to_regtype('skep.verdict')::oid, (select name from skep.schema_migrations order by "
            "number desc limit 1), to_regtype('skep.extra')::oid, to_regtype('skep.reply')::oid "
            "from skep.schema_migrations");
}

/* Waits for whoever migrates now. */
static int ask_lock(struct lane *n)
{
        n->give_up_ns = pg_now_ns() + MIGRATE_NS;
        return ask(
            n, SETUP_LOCK,
            "begin; set local lock_timeout = 0; set local statement_timeout = 0;"
            "select pg_advisory_xact_lock(1936418160, 0);"
            "do $$ begin if to_regnamespace('skep') is null then create schema skep; "
            "end if; end $$;"
            "create table if not exists skep.schema_migrations (number int primary key, "
            "name text not null, applied_us bigint not null);"
            "create table if not exists skep.meta (name text primary key, value bigint not null);"
            "select coalesce(max(number), 0) from skep.schema_migrations");
}

static int ask_migrate(struct lane *n)
{
        char *sql = NULL;
        size_t size;
        FILE *f = open_memstream(&sql, &size);
        if (!f) {
                return refuse(n, "out of memory");
        }
        fprintf(f, "set local search_path = skep, pg_temp;\n");
        for (int i = 0; i < postgres_migrations_n; i++) {
                const struct migration *m = &postgres_migrations[i];
                if (m->number > n->newest) {
                        fprintf(f,
                                "%s\n;insert into schema_migrations values (%d, '%s', skep_now());"
                                "insert into meta values ('oldest_program', %d) on conflict do "
                                "nothing;",
                                m->sql, m->number, m->name, m->number);
                }
        }
        fprintf(f, "commit");
        int r = fclose(f) ? refuse(n, "out of memory") : ask(n, SETUP_MIGRATE, sql);
        free(sql);
        return r;
}

static int prepare(struct lane *n);

static int judge_schema(struct lane *n, const PGresult *r)
{
        int known = newest_known();
        n->newest = atoi(PQgetvalue(r, 0, 0));
        if (n->newest > known && atoi(PQgetvalue(r, 0, 1)) > known) {
                char why[NOTE_SIZE];
                snprintf(why, sizeof why,
                         "schema %03d-%s is newer than this program (it knows %03d); upgrade skep",
                         n->newest, PQgetvalue(r, 0, 4), known);
                return refuse(n, why);
        }
        n->l->oid_new_row = (uint32_t)strtoul(PQgetvalue(r, 0, 2), NULL, 10);
        n->l->oid_verdict = (uint32_t)strtoul(PQgetvalue(r, 0, 3), NULL, 10);
        n->l->oid_extra = (uint32_t)strtoul(PQgetvalue(r, 0, 5), NULL, 10);
        n->l->oid_reply = (uint32_t)strtoul(PQgetvalue(r, 0, 6), NULL, 10);
        return 0;
}

static int go_on_from_schema(struct lane *n)
{
        if (n->newest >= newest_known()) {
                return prepare(n);
        }
        if (n->which != LANE_BEAT) {
                n->l->schema_ready = false;
                return refuse(n, "the schema is gone");
        }
        return ask_lock(n);
}

/* --- statements ------------------------------------------------------------------------------- */

static int prepare(struct lane *n)
{
        n->step = SETUP_PREPARE;
        bool well = PQenterPipelineMode(n->c);
        for (int i = 0; i < STATEMENTS_N && well; i++) {
                if (statements[i].lanes & (1u << n->which)) {
                        well = PQsendPrepare(n->c, statements[i].name, statements[i].sql, 0, NULL);
                }
        }
        if (n->which == LANE_BEAT && well) {
                well = PQsendQueryParams(n->c, "listen skep", 0, NULL, NULL, NULL, NULL, 0);
        }
        well = well && PQpipelineSync(n->c) && PQflush(n->c) >= 0;
        if (!well) {
                conn_note(n, PQerrorMessage(n->c));
        }
        return well ? 0 : -EIO;
}

/* --- step by step ----------------------------------------------------------------------------- */

static int take_result(struct lane *n, const PGresult *r)
{
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_FATAL_ERROR) {
                if (!n->setup_failed) {
                        conn_note(n, PQresultErrorMessage(r));
                }
                n->setup_failed = true;
                return 0;
        }
        if (status != PGRES_TUPLES_OK || PQntuples(r) != 1) {
                return 0;
        }
        switch (n->step) {
        case SETUP_SESSION: return PQnfields(r) > 1 ? judge_server(n, r) : 0;
        case SETUP_SCHEMA: return PQnfields(r) > 1 ? judge_schema(n, r) : 0;
        case SETUP_LOCK: n->newest = atoi(PQgetvalue(r, 0, 0)); return 0;
        default: return 0;
        }
}

static int next_step(struct lane *n)
{
        if (n->setup_failed) {
                return -EPROTO;
        }
        switch (n->step) {
        case SETUP_SESSION:
                return n->newest < 0 && n->which == LANE_BEAT ? ask_lock(n) : ask_schema(n);
        case SETUP_SCHEMA: return go_on_from_schema(n);
        case SETUP_LOCK: return ask_migrate(n);
        case SETUP_MIGRATE: return ask_schema(n);
        default: n->step = SETUP_DONE; return 0;
        }
}

/* In pipeline mode a NULL ends each statement, and the sync ends all. */
static bool step_ended(struct lane *n, const PGresult *r, bool *ret_again)
{
        bool pipeline = n->step == SETUP_PREPARE;
        *ret_again = pipeline && !r;
        return pipeline ? PQresultStatus(r) == PGRES_PIPELINE_SYNC : !r;
}

static int read_step(struct lane *n)
{
        while (!PQisBusy(n->c)) {
                bool again;
                PGresult *r = PQgetResult(n->c);
                bool ended = step_ended(n, r, &again);
                int rc = r ? take_result(n, r) : 0;
                PQclear(r);
                if (rc < 0 || (r == NULL && PQstatus(n->c) == CONNECTION_BAD)) {
                        return rc < 0 ? rc : -EIO;
                }
                rc = ended ? next_step(n) : 0;
                if (rc < 0 || n->step == SETUP_DONE) {
                        return rc;
                }
        }
        return 0;
}

int setup_run(struct lane *n)
{
        int flushed = PQflush(n->c);
        if (flushed < 0 || !PQconsumeInput(n->c)) {
                conn_note(n, PQerrorMessage(n->c));
                return -EIO;
        }
        n->events = (short)(POLLIN | (flushed > 0 ? POLLOUT : 0));
        int r = read_step(n);
        if (r == 0 && n->step == SETUP_DONE) {
                n->l->schema_ready |= n->which == LANE_BEAT;
                return 1;
        }
        return r;
}
