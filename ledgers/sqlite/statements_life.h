/*
 * The statements of a job's life, beside those of statements.h: none of them runs for a plain row.
 */
#ifndef SKEP_LEDGERS_SQLITE_STATEMENTS_LIFE_H
#define SKEP_LEDGERS_SQLITE_STATEMENTS_LIFE_H

/* What BULK and PRUNE look at, in the order of pick_read(). */
#define PICK_COLUMNS                                                                               \
        "j.seq, j.id, j.queue, j.type, j.state, j.reason, j.holder, j.priority, j.cancel_asked, "  \
        "j.created, j.finished, j.parked_at, j.tags, j.key, j.life"

#define SCHEDULE_COLUMNS                                                                           \
        "name, spec, zone, catch_up, overlap, catch_max, paused, from_config, created, next, "     \
        "last, buffered, last_job, revision, queue, type, priority, max_attempts, timeout_ms, "    \
        "heartbeat_ms, deadline, retry_until, content_type, headers, payload, tags, policy, "      \
        "unique_hash, unique_states, unique_replace, unique_for, unique_of_queue"

#define REPLY_COLUMNS                                                                              \
        "no, queue, address, correlation_id, content_type, body, job, state, reason, error_text, " \
        "headers"

#define SAVE_IN_ORDER "where saves.claim <> excluded.claim or saves.n <= excluded.n"

#define STATEMENTS_LIFE(X)                                                                         \
        X(LIFE_PUT, "insert or replace into lives (seq, policy, retry_until, heartbeat_ms, "       \
                    "unique_key) values (?, ?, ?, ?, ?)")                                          \
        X(LIFE_SHOW, "select policy, retry_until, heartbeat_ms, unique_key from lives "            \
                     "where seq = ?")                                                              \
        X(LIFE_TIMELESS, "update lives set retry_until = 0 where seq = ?")                         \
        X(SAVE_FENCE,                                                                              \
          "update or fail jobs set life = coalesce(life, 0) | 2 where seq = ? and id = ? "         \
          "and claim = ? and token = ? and state = 2")                                             \
        X(SAVE_CHECKPOINT, "insert into saves (seq, claim, n, checkpoint) values (?, ?, ?, ?) "    \
                           "on conflict do update set claim = excluded.claim, n = excluded.n, "    \
                           "checkpoint = excluded.checkpoint " SAVE_IN_ORDER)                      \
        X(SAVE_PROGRESS, "insert into saves (seq, claim, n, done, total, told) "                   \
                         "values (?, ?, ?, ?, ?, ?) on conflict do update set "                    \
                         "claim = excluded.claim, n = excluded.n, done = excluded.done, "          \
                         "total = excluded.total, told = excluded.told " SAVE_IN_ORDER)            \
        X(SAVE_SHOW, "select checkpoint, done, total, told, length(checkpoint) from saves "        \
                     "where seq = ?")                                                              \
        X(SAVE_DELETE, "delete from saves where seq = ?")                                          \
                                                                                                   \
        X(UNIQUE_SHOW, "select ids, states, until from keys where kind = 2 and hash = ?")          \
        X(UNIQUE_TAKE, "insert or replace into keys (kind, hash, ids, until, states) "             \
                       "values (2, ?, ?, ?, ?)")                                                   \
        X(UNIQUE_LEAVE, "delete from keys where kind = 2 and hash = ? and ids = ? "                \
                        "and until <= ?")                                                          \
        X(REPLACE_PAYLOAD, "update or fail jobs set payload = ?, size = ?, content_type = ?, "     \
                           "headers = ? where seq = ?")                                            \
        X(BLOB_PUT, "insert or replace into blobs (seq, payload) values (?, ?)")                   \
        X(REPLACE_TO_SCHEDULED, "update or fail jobs set state = 0, reason = 20, lane = null, "    \
                                "due = ? where seq = ?")                                           \
        X(REPLACE_DUE, "update or fail jobs set due = ? where seq = ?")                            \
        X(KEPT_SHOW, "select ids, request_hash from keys where kind = 3 and hash = ? "             \
                     "and until > ?")                                                              \
        X(KEPT_PUT, "insert or replace into keys (kind, hash, request_hash, ids, until) "          \
                    "values (3, ?, ?, ?, ?)")                                                      \
        X(LIFE_CAME_WITH, "update lives set came_with = ? where seq = ?")                          \
        X(PAYLOAD_OF, "select coalesce(j.payload, b.payload), l.came_with from jobs j "            \
                      "left join blobs b on b.seq = j.seq left join lives l on l.seq = j.seq "     \
                      "where j.seq = ?")                                                           \
                                                                                                   \
        X(COUNTED, "select (select coalesce(sum(n), 0) from counters where queue = ?1 "            \
                   "and state = ?2) + (select coalesce(sum(n), 0) from deltas where queue = ?1 "   \
                   "and state = ?2)")                                                              \
        X(LANE_OLDEST, "select min(seq) from jobs indexed by jobs_lane where queue = ? "           \
                       "and lane between ? and ?")                                                 \
        X(DROP, "update or fail jobs set state = 6, reason = 18, lane = null, parked_at = ?1, "    \
                "finished = ?1 where seq = ?2")                                                    \
        X(CONTROL_SHOW, "select paused, concurrency, global from controls where queue = ?")        \
        X(CONTROL_PUT, "insert or replace into controls (queue, paused, concurrency, global) "     \
                       "values (?, ?, ?, ?)")                                                      \
        X(CONTROL_DELETE, "delete from controls where queue = ?")                                  \
        X(CONTROL_LIST, "select queue, paused, concurrency, global from controls order by queue")  \
        X(NODE_TELL, "update nodes set serves = ?, queues = ?, workers = ? where holder = ?")      \
        X(NODES_ALL, "select holder, host, version, serves, queues, pid, workers, dead, "          \
                     "registered, beat_at from nodes order by registered, holder")                 \
                                                                                                   \
        X(SCHEDULES_REVISION, "select value from meta where name = 'schedules' "                   \
                              "and exists (select 1 from schedules)")                              \
        X(SCHEDULES_NEXT, "update meta set value = value + 1 where name = 'schedules' "            \
                          "returning value")                                                       \
        X(SCHEDULE_SHOW, "select " SCHEDULE_COLUMNS " from schedules where name = ?")              \
        X(SCHEDULE_LIST, "select " SCHEDULE_COLUMNS " from schedules where name > ? "              \
                         "order by name limit ?")                                                  \
        X(SCHEDULE_PUT, "insert or replace into schedules (" SCHEDULE_COLUMNS ") values (?, ?, "   \
                        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "    \
                        "?, ?, ?, ?, ?, ?, ?)")                                                    \
        X(SCHEDULE_DELETE, "delete from schedules where name = ?")                                 \
        X(SCHEDULE_TICK, "update schedules set next = ?, last = case ?2 when 0 then last "         \
                         "else ?2 end, buffered = ?, last_job = coalesce(?, last_job), "           \
                         "revision = ? where name = ?")                                            \
        X(STATE_OF, "select state from jobs where id = ?")                                         \
                                                                                                   \
        X(LAST_ERROR, "select error, fingerprint, error_text from attempts where seq = ? "         \
                      "order by claim desc limit 1")                                               \
        X(PICK, "select " PICK_COLUMNS " from jobs j where j.id > ? order by j.id limit ?")        \
        X(PICK_WAITING, "select " PICK_COLUMNS " from jobs j indexed by jobs_lane "                \
                        "where j.lane is not null and j.id > ? order by j.id limit ?")             \
        X(PICK_DUE, "select " PICK_COLUMNS " from jobs j indexed by jobs_due "                     \
                    "where j.due is not null and j.id > ? order by j.id limit ?")                  \
        X(PICK_PARKED, "select " PICK_COLUMNS " from jobs j indexed by jobs_parked "               \
                       "where j.parked_at is not null and j.id > ? order by j.id limit ?")         \
        X(PICK_SINCE, "select " PICK_COLUMNS " from jobs j indexed by jobs_parked "                \
                      "where j.queue = ? and j.parked_at >= ? and j.state = 5 "                    \
                      "and j.generation > 0 order by j.parked_at")                                 \
        X(PARKED_QUEUE, "select queue from jobs indexed by jobs_parked "                           \
                        "where parked_at is not null and queue > ? order by queue limit 1")        \
        X(PICK_DEAD, "select " PICK_COLUMNS " from jobs j indexed by jobs_parked "                 \
                     "where j.parked_at is not null and j.state = 5 "                              \
                     "and (?1 is null or j.queue = ?1) order by j.parked_at desc, j.id desc "      \
                     "limit ?2")                                                                   \
        X(DELETE_JOB, "delete from jobs where seq = ?")                                            \
        X(DUTY_SHOW, "select holder, until from duties where name = 'prune'")                      \
        X(DUTY_TAKE, "insert or replace into duties (name, holder, until) values ('prune', ?, ?)") \
        X(DUTY_LEAVE, "delete from duties where name = 'prune'")                                   \
        X(KEYS_OLD, "select kind, hash, kind = 2 and exists (select 1 from jobs "                  \
                    "where id = keys.ids) from keys where until > 0 and until <= ? limit ?")       \
        X(KEY_DELETE, "delete from keys where kind = ? and hash = ?")                              \
        X(KEY_TIMELESS, "update keys set until = 0 where kind = ? and hash = ?")                   \
                                                                                                   \
        X(REPLY_INSERT, "insert into replies (queue, at, address, correlation_id, content_type, "  \
                        "body, job, state, reason, error_text) values (?, ?, ?, ?, ?, ?, ?, ?, "   \
                        "?, ?)")                                                                   \
        X(REPLY_OWE, "insert into replies (queue, at, address, job, state, reason, error_text, "   \
                     "headers) values (?, 0, x'', ?, ?, ?, ?, ?)")                                 \
        X(OWED_ANY, "select 1 from owed limit 1")                                                  \
        X(OWED_MOVE, "insert into replies (queue, at, address, job, state, reason, headers) "      \
                     "select queue, 0, x'', job, state, reason, headers from owed order by rowid") \
        X(OWED_CLEAR, "delete from owed")                                                          \
        X(REPLY_OLD, "select " REPLY_COLUMNS " from replies where at <= ?1 "                       \
                     "and (not ?2 or address = x'') order by at, no limit ?3")                     \
        X(REPLY_PUT_OFF, "update replies set at = ? where no = ?")                                 \
        X(REPLY_DELETE, "delete from replies where no = ?")                                        \
                                                                                                   \
        X(WHOLE, "select content_type, headers, payload, result, result_type from jobs "           \
                 "where seq = ?")                                                                  \
        X(AHEAD, "select count(*) from (select 1 from jobs indexed by jobs_lane "                  \
                 "where queue = ? and lane >= ? and lane < ? limit 10000)")

#endif
