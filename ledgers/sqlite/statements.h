/*
 * Every statement of the SQLite ledger, by name. Prepared once per connection, on first use.
 * Numbered parameters stand in the order in which the code binds them.
 *
 * OR FAIL on the statements that run per job: it spares SQLite the journal per statement that it
 * would need to take half a statement back; one row is never left half written.
 */
#ifndef SKEP_LEDGERS_SQLITE_STATEMENTS_H
#define SKEP_LEDGERS_SQLITE_STATEMENTS_H

#include "ledgers/sqlite/statements_life.h"

/* What a claim hands over, in the order of read_job(). */
#define JOB_COLUMNS                                                                                \
        "j.seq, j.id, j.type, j.deadline, j.size, j.claim, j.token, j.attempt, j.max_attempts, "   \
        "j.snoozes, j.strikes, j.priority, j.generation, j.timeout_ms, j.cancel_asked, "           \
        "j.created, "                                                                              \
        "j.content_type, j.headers, j.payload, j.queue, j.lane, j.life"

/* Columns of JOB_COLUMNS. */
enum {
        JOB_SEQ,
        JOB_ID,
        JOB_TYPE,
        JOB_DEADLINE,
        JOB_SIZE,
        JOB_CLAIM,
        JOB_TOKEN,
        JOB_ATTEMPT,
        JOB_MAX_ATTEMPTS,
        JOB_SNOOZES,
        JOB_STRIKES,
        JOB_PRIORITY,
        JOB_GENERATION,
        JOB_TIMEOUT_MS,
        JOB_CANCEL_ASKED,
        JOB_CREATED,
        JOB_CONTENT_TYPE,
        JOB_HEADERS,
        JOB_PAYLOAD,
        JOB_QUEUE,
        JOB_LANE,
        JOB_LIFE,
        JOB_STARTED, /* of RUN_JOBS alone */
};

/* What people see, in the order of read_row(). */
#define ROW_COLUMNS                                                                                \
        "j.seq, j.id, j.queue, j.type, j.key_text, j.tags, j.state, j.reason, j.lane, "            \
        "j.priority, "                                                                             \
        "j.strikes, j.attempt, j.max_attempts, j.snoozes, j.generation, j.claim, j.timeout_ms, "   \
        "j.holder, j.cancel_asked, j.created, j.due, j.deadline, j.started, j.finished, "          \
        "j.life"

/* Stands in a running job's `room`, and gives way to `finished`: as many bytes as a time of today.
 * A row whose length stays is overwritten in place; one that grows splits its page. */
#define FINISH_ROOM "......"

#define ATTEMPT_COLUMNS                                                                            \
        "attempt, generation, claim, error, error_text, build, holder, worker, worker_pid, "       \
        "started, ended, fingerprint"

#define STATEMENTS(X)                                                                              \
        X(BEGIN, "begin immediate")                                                                \
        X(COMMIT, "commit")                                                                        \
        X(ROLLBACK, "rollback")                                                                    \
        X(SAVE, "savepoint one")                                                                   \
        X(UNDO, "rollback to one")                                                                 \
        X(RELEASE, "release one")                                                                  \
        X(DATA_VERSION, "pragma data_version")                                                     \
        X(CHECKPOINT, "pragma wal_checkpoint(passive)")                                            \
                                                                                                   \
        X(NUMBER, "insert into commits (holder, writer, n, token, runs) values (?, ?, ?, ?, ?) "   \
                  "on conflict do nothing")                                                        \
        X(NUMBER_TAKEN, "select 1 from commits where holder = ? and writer = ? and n = ?")         \
        X(NUMBER_VOID, "select runs is null and token is not null from commits "                   \
                       "where holder = ? and writer = ? and n = ?")                                \
        X(NUMBER_TRIM, "delete from commits where holder = ? and writer = ? and n > ? "            \
                       "and n <= ? and runs is null")                                              \
        X(NUMBER_RETIRE, "delete from commits where holder = ? and writer = ? and n = ?")          \
        X(DELTA, "insert into deltas (queue, state, n) values (?, ?, ?)")                          \
        X(SEQ_LAST, "select max(coalesce((select max(seq) from jobs), 0), "                        \
                    "(select value from meta where name = 'seq_floor')), "                         \
                    "exists (select 1 from keys where kind = 3)")                                  \
                                                                                                   \
        X(NODE_INSERT,                                                                             \
          "insert into nodes (holder, beat, host, pid, version, registered, beat_at) "             \
          "values (?, 1, ?, ?, ?, ?, ?)")                                                          \
        X(NODE_ALIVE, "select 1 from nodes where holder = ? and dead = 0")                         \
        X(NODE_BEAT,                                                                               \
          "update nodes set beat = beat + 1, beat_at = ? where holder = ? and dead = 0")           \
        X(NODE_LIST,                                                                               \
          "select holder, beat, dead, host, pid from nodes order by registered, holder")           \
        X(NODE_SHOW, "select beat, dead from nodes where holder = ?")                              \
        X(NODE_BURY, "update nodes set dead = 1 where holder = ?")                                 \
        X(NODE_DELETE, "delete from nodes where holder = ?")                                       \
        X(COMMITS_FORGET, "delete from commits where holder = ?")                                  \
        X(CANCELS_FORGET, "delete from cancels where holder = ?")                                  \
        X(CANCELS_LIST,                                                                            \
          "select j.id from cancels c join jobs j on j.seq = c.seq "                               \
          "where c.holder = ?1 and j.holder = ?1 and j.state = 2 and j.cancel_asked <> 0")         \
        X(CANCEL_NOTE,                                                                             \
          "insert into cancels (holder, seq) values (?, ?) on conflict do update set told = 0")    \
        X(CANCELS_KNOWN, "delete from cancels where holder = ? and told > 0 and told <= ?")        \
        X(CANCELS_TOLD, "update cancels set told = ? where holder = ? and told = 0")               \
                                                                                                   \
        X(INSERT,                                                                                  \
          "insert or fail into jobs (seq, id, queue, type, state, reason, lane, due, "             \
          "parked_at, max_attempts, priority, timeout_ms, created, finished, deadline, "           \
          "key, key_text, content_type, tags, headers, size, payload, claim, attempt, token, "     \
          "holder, started, room, life) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "  \
          "?, ?, ?, ?, ?, ?, ?23, ?23, ?, ?, ?, ?, ?) on conflict do nothing")                     \
        X(INCOMING,                                                                                \
          "insert or fail into jobs (seq, id, queue, type, state, reason, lane, due, "             \
          "max_attempts, priority, timeout_ms, created, deadline, key, key_text, content_type, "   \
          "tags, headers, size, payload, claim, attempt, token, holder, started, room) "           \
          "select seq, id, ?1, ?2, ?3, ?4, lane, due, ?5, ?6, ?7, ?8, ?9, key, key_text, ?10, "    \
          "?11, headers, size, payload, ?12, ?12, ?13, ?14, ?15, ?16 from incoming")               \
        X(INCOMING_BLOBS, "insert into blobs (seq, payload) select seq, apart from incoming "      \
                          "where apart is not null")                                               \
        X(BLOB_INSERT, "insert or fail into blobs (seq, payload) values (?, ?)")                   \
        X(BLOB_DELETE, "delete from blobs where seq = ?")                                          \
        X(BLOB_SHOW, "select payload from blobs where seq = ?")                                    \
        X(BY_ID,                                                                                   \
          "select seq, state, holder, priority, cancel_asked, queue from jobs where id = ?")       \
        X(BY_KEY, "select j.id, j.state, j.reason, coalesce(j.payload, b.payload), l.came_with "   \
                  "from jobs j left join blobs b on b.seq = j.seq "                                \
                  "left join lives l on l.seq = j.seq where j.key = ?")                            \
        X(REQUEST_SHOW, "select request_hash, ids from keys where kind = 1 and hash = ? "          \
                        "and until > ?")                                                           \
        X(REQUEST_INSERT, "insert or replace into keys (kind, hash, request_hash, ids, until) "    \
                          "values (1, ?, ?, ?, ?)")                                                \
                                                                                                   \
        X(OFFERED, "select " JOB_COLUMNS " from jobs j indexed by jobs_lane "                      \
                   "where j.queue = ? and j.lane between ? and ? order by j.lane")                 \
        X(CLAIM,                                                                                   \
          "update or fail jobs indexed by jobs_lane set state = 2, reason = 0, lane = null, "      \
          "claim = claim + 1, attempt = attempt + 1, token = ?1, holder = ?2, started = ?3, "      \
          "room = '" FINISH_ROOM "' where queue = ?4 and lane between ?5 and ?6")                  \
        X(DOORBELL, "select " JOB_COLUMNS " from jobs j where j.id = ?")                           \
        X(JOURNAL_SIZE,                                                                            \
          "select count(*), coalesce(sum(length(entries)), 0) from journal where queue = ?")       \
        X(JOURNAL,                                                                                 \
          "select no, entries, holder, writer, n, over or not exists (select 1 from nodes "        \
          "where holder = journal.holder and dead = 0) from journal where queue = ?")              \
        X(JOURNAL_OVER, "update journal set over = 1 where holder = ? and writer = ? and n = ?")   \
        X(JOURNAL_INSERT,                                                                          \
          "insert into journal (queue, at, holder, writer, n, entries) values (?, ?, ?, ?, ?, ?)") \
        X(JOURNAL_SHRINK, "update journal set entries = ? where no = ?")                           \
        X(JOURNAL_DELETE, "delete from journal where no = ?")                                      \
        X(JOURNAL_FORGET, "delete from journal where holder = ? and writer = ? and n = ?")         \
        X(JOURNAL_OLDEST, "select at from journal order by no limit 1")                            \
        X(JOURNAL_EXPIRE, "delete from journal where at <= ?")                                     \
                                                                                                   \
        X(OUTBOX_INSERT, "insert into outbox (no, queue, at, bells) values (?, ?, ?, ?)")          \
        X(OUTBOX_OLD, "select no, queue, bells from outbox where at <= ? order by at, no limit ?") \
        X(OUTBOX_PUT_OFF, "update outbox set at = ? where no = ?")                                 \
        X(OUTBOX_DELETE, "delete from outbox where no = ?")                                        \
        X(BROKER, "select seq, priority, created from jobs indexed by jobs_lane where queue = ? "  \
                  "and lane between ? and ? order by lane")                                        \
        X(FLOOR, "select floor from floors where history = ?")                                     \
        X(FLOOR_RAISE, "insert into floors (history, floor) values (?, ?) on conflict do update "  \
                       "set floor = excluded.floor where excluded.floor > floor")                  \
                                                                                                   \
        X(PARK, "update or fail jobs set reason = 1, lane = ? where seq = ?")                      \
        X(EXPIRE, "update or fail jobs set state = 5, reason = 6, lane = null, parked_at = ?1, "   \
                  "finished = ?1 where seq = ?2")                                                  \
        X(COMMIT_RUNS,                                                                             \
          "select token, runs from commits where holder = ? and writer = ? and n = ?")             \
        X(RUN_JOBS, "select " JOB_COLUMNS ", j.started from jobs j where j.seq between ? and ? "   \
                    "and j.token = ? and j.holder = ? and j.state = 2")                            \
        X(RUN_OPEN, "select 1 from jobs where seq between ? and ? and token = ? and holder = ? "   \
                    "and state = 2 limit 1")                                                       \
        X(HELD_COMMITS, "select n, token, runs from commits where holder = ? and writer = ? "      \
                        "and n > ? and runs is not null order by n limit ?")                       \
                                                                                                   \
        X(FINISH_DONE,                                                                             \
          "update or fail jobs set state = 4, reason = ?, attempt = ?, snoozes = ?, "              \
          "strikes = ?, started = case ?5 when 0 then started else ?5 end, finished = ?, "         \
          "room = null, result = ?, result_type = ? where seq = ? and id = ? and claim = ? "       \
          "and token = ? and state = 2 and queue = ?")                                             \
        X(FINISH_NEIGHBOURS,                                                                       \
          "update or fail jobs set state = 4, reason = ?, attempt = ?, snoozes = ?, "              \
          "strikes = ?, started = verdict_started(seq), finished = verdict_ended(seq), "           \
          "room = null, result = null, result_type = null where seq between ? and ? "              \
          "and claim = ? and token = ? and state = 2 and queue = ?")                               \
        X(FINISH,                                                                                  \
          "update or fail jobs set state = ?, reason = case when ?2 = 12 and reason = 19 "         \
          "then 19 else ?2 end, lane = ?, due = ?, parked_at = ?, "                                \
          "attempt = ?, snoozes = ?, strikes = ?, "                                                \
          "started = coalesce(nullif(?, 0), started), finished = ?, result = ?, "                  \
          "result_type = ?, room = null where seq = ? and id = ? and claim = ? and token = ? "     \
          "and state = 2")                                                                         \
        X(FENCE, "select queue, priority, generation, holder from jobs where seq = ? and id = ? "  \
                 "and claim = ? and token = ? and state = 2")                                      \
        X(QUEUE_OF, "select queue from jobs where seq = ? and id = ?")                             \
        X(ATTEMPT_INSERT, "insert or replace into attempts (seq, claim, ended_job, attempt, "      \
                          "generation, error, error_text, build, holder, worker, worker_pid, "     \
                          "started, ended, fingerprint) "                                          \
                          "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                     \
                                                                                                   \
        X(CANCEL, "update jobs set state = 6, reason = ?3, lane = null, due = null, "              \
                  "parked_at = ?1, finished = ?1 where seq = ?2")                                  \
        X(CANCEL_ASK, "update jobs set cancel_asked = 1, reason = ? where seq = ?")                \
        X(REQUEUE, "update jobs set state = 1, reason = 14, lane = ?, parked_at = null, "          \
                   "finished = 0, attempt = 0, strikes = 0, snoozes = 0, cancel_asked = 0, "       \
                   "life = life & 3, generation = generation + 1 where seq = ?")                   \
        X(TO_PENDING, "update or fail jobs set state = 1, reason = ?, lane = ?, "                  \
                      "life = case ? when 1 then due * 4 | coalesce(life & 3, 0) "                 \
                      "else life & 3 end, due = null where seq = ?")                               \
        X(DUE, "select seq, priority, queue, state from jobs where due <= ? order by due limit ?") \
        X(DUE_NEXT, "select due from jobs where due is not null order by due limit 1")             \
        X(NEXT_QUEUE, "select queue from jobs indexed by jobs_lane where lane is not null "        \
                      "and queue > ? order by queue limit 1")                                      \
        X(PARKED, "select seq, priority, type from jobs indexed by jobs_lane where queue = ? "     \
                  "and lane between ? and ? and reason = 1 order by lane")                         \
        X(OFFER, "update or fail jobs set reason = 0, lane = ? where seq = ?")                     \
        X(FOLD_ANY, "select 1 from deltas limit 1")                                                \
        X(FOLD, "insert into counters (queue, state, n) select queue, state, sum(n) from deltas "  \
                "where true group by queue, state on conflict do update set n = n + excluded.n")   \
        X(FOLD_CLEAR, "delete from deltas")                                                        \
                                                                                                   \
        X(SHOW_ID, "select " ROW_COLUMNS ", j.content_type, j.headers, j.payload, j.result, "      \
                   "j.result_type from jobs j where j.id = ?")                                     \
        X(SHOW_KEY, "select " ROW_COLUMNS ", j.content_type, j.headers, j.payload, j.result, "     \
                    "j.result_type from jobs j where j.key = ?")                                   \
        X(ATTEMPTS, "select " ATTEMPT_COLUMNS " from attempts where seq = ? and ended_job = 0 "    \
                    "order by claim")                                                              \
        X(ATTEMPT_LAST, "select " ATTEMPT_COLUMNS " from attempts where seq = ? "                  \
                        "order by claim desc limit 1")                                             \
        X(LIST, "select " ROW_COLUMNS " from jobs j where j.id < ?1 and (?2 < 0 or j.state = ?2) " \
                "and (?3 is null or j.queue = ?3) and (?4 is null or j.type = ?4) "                \
                "and (?5 is null or instr(j.tags, ?5) > 0) and j.created >= ?6 "                   \
                "order by j.id desc")                                                              \
        X(LIST_WAITING, "select " ROW_COLUMNS " from jobs j indexed by jobs_lane "                 \
                        "where j.lane is not null and j.id < ?1 and j.state = ?2 "                 \
                        "and (?3 is null or j.queue = ?3) and (?4 is null or j.type = ?4) "        \
                        "and (?5 is null or instr(j.tags, ?5) > 0) and j.created >= ?6 "           \
                        "order by j.id desc")                                                      \
        X(LIST_DUE, "select " ROW_COLUMNS " from jobs j indexed by jobs_due "                      \
                    "where j.due is not null and j.id < ?1 and j.state = ?2 "                      \
                    "and (?3 is null or j.queue = ?3) and (?4 is null or j.type = ?4) "            \
                    "and (?5 is null or instr(j.tags, ?5) > 0) and j.created >= ?6 "               \
                    "order by j.id desc")                                                          \
        X(LIST_PARKED, "select " ROW_COLUMNS " from jobs j indexed by jobs_parked "                \
                       "where j.parked_at is not null and j.id < ?1 and j.state = ?2 "             \
                       "and (?3 is null or j.queue = ?3) and (?4 is null or j.type = ?4) "         \
                       "and (?5 is null or instr(j.tags, ?5) > 0) and j.created >= ?6 "            \
                       "order by j.id desc")                                                       \
        X(STATE_FEW, "select (select coalesce(sum(n), 0) from counters where state = ?1) "         \
                     "+ (select coalesce(sum(n), 0) from deltas where state = ?1)")                \
        X(STATS, "select queue, state, sum(n) from (select queue, state, n from counters "         \
                 "union all select queue, state, n from deltas) group by queue, state "            \
                 "order by queue")                                                                 \
        X(LANE_COUNT, "select count(*), coalesce(min(seq), 0) from jobs indexed by jobs_lane "     \
                      "where queue = ? and lane between ? and ?")                                  \
        X(LANE_FIRST, "select seq from jobs indexed by jobs_lane where queue = ? "                 \
                      "and lane between ? and ? order by lane limit 1")                            \
        X(CREATED, "select created from jobs where seq = ?")

enum statement {
#define X(name, sql) ST_##name,
        STATEMENTS(X) STATEMENTS_LIFE(X)
#undef X
            STATEMENTS_N,
};

#endif
