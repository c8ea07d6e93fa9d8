/*
 * Every statement of the PostgreSQL ledger: name, the lanes that prepare it, text. Parameters stand
 * in the order in which the code puts them. What takes several steps is a function of the schema
 * (migrations/); what is here is single statements, and the two of the hot path.
 */
#ifndef SKEP_LEDGERS_POSTGRES_STATEMENTS_H
#define SKEP_LEDGERS_POSTGRES_STATEMENTS_H

#define ON_CLAIMS   (1u << LANE_CLAIMS)
#define ON_VERDICTS (1u << LANE_VERDICTS)
#define ON_BEAT     (1u << LANE_BEAT)
#define ON_READS    (1u << LANE_READS)
#define ON_WRITES   (ON_CLAIMS | ON_VERDICTS | ON_BEAT)

/* What a claim hands over, in the order of the type `handed`, but for the last. */
#define HANDED_COLUMNS                                                                             \
        "null::int, j.id, j.queue, j.type, j.content_type, j.headers, j.payload, j.created, "      \
        "j.deadline, j.token, j.timeout_ms, j.claim, j.generation, j.attempt, j.max_attempts, "    \
        "j.snoozes, j.strikes, j.priority, j.cancel_asked, j.policy, j.retry_until, "              \
        "j.heartbeat_ms, j.started - j.was_due"

enum {
        HANDED_NO,
        HANDED_ID,
        HANDED_QUEUE,
        HANDED_TYPE,
        HANDED_CONTENT_TYPE,
        HANDED_HEADERS,
        HANDED_PAYLOAD,
        HANDED_CREATED,
        HANDED_DEADLINE,
        HANDED_TOKEN,
        HANDED_TIMEOUT_MS,
        HANDED_CLAIM,
        HANDED_GENERATION,
        HANDED_ATTEMPT,
        HANDED_MAX_ATTEMPTS,
        HANDED_SNOOZES,
        HANDED_STRIKES,
        HANDED_PRIORITY,
        HANDED_CANCEL_ASKED,
        HANDED_POLICY,
        HANDED_RETRY_UNTIL,
        HANDED_HEARTBEAT_MS,
        HANDED_LATE,
        HANDED_WORK,
};

/* What people see, in the order of read_row(); the last failed try follows. */
#define ROW_COLUMNS                                                                                \
        "j.id, j.queue, j.type, coalesce(j.key_text, convert_to(j.key::text, 'UTF8')), j.tags, "   \
        "j.state, j.reason, coalesce(j.lane, 0), "                                                 \
        "j.priority, j.strikes, j.attempt, j.max_attempts, j.snoozes, j.generation, j.claim, "     \
        "j.timeout_ms, j.holder, j.cancel_asked, j.created, coalesce(j.due, 0), j.deadline, "      \
        "j.started, j.finished, j.policy, j.retry_until, j.heartbeat_ms, s.done, s.total, s.told"
#define ATTEMPT_COLUMNS                                                                            \
        "a.attempt, a.generation, a.claim, a.error, a.error_text, a.build, a.holder, a.worker, "   \
        "a.worker_pid, a.started, a.ended, a.fingerprint"
#define WHOLE_COLUMNS ", j.content_type, j.headers, j.payload, j.result, j.result_type"
#define LAST_ATTEMPT                                                                               \
        " left join lateral (select * from attempts where job = j.id order by claim desc "         \
        "limit 1) a on true left join saves s on s.job = j.id "
#define SCHEDULE_COLUMNS                                                                           \
        "s.name, s.spec, s.zone, s.catch_up, s.overlap, s.catch_max, s.paused, s.from_config, "    \
        "s.created, s.next, s.last, s.buffered, s.last_job, s.revision, j.state, s.job_queue, "    \
        "s.job_type, s.job_priority, s.job_max_attempts, s.job_timeout_ms, s.job_deadline, "       \
        "s.job_content_type, s.job_headers, s.job_payload, s.job_tags, (s.job_more).* "            \
        "from schedules s left join jobs j on j.id = s.last_job "

/* Arrays whose elements would all be the same are sent empty: unnest() and subscripts then give
 * nulls, and the parameter beside them says which. Numbers are taken by subscript, which costs less
 * than a column of unnest(); texts cannot be, since each subscript walks over all before it. */
#define LETTERS_TEXT                                                                               \
        "insert into jobs (id, key, created, started, state, claim, attempt, token, holder, "      \
        "queue, type, payload, headers, content_type, key_text, tags, priority, max_attempts, "    \
        "timeout_ms, deadline) select x.id, x.key, (select skep_now()), (select skep_now()), 2, "  \
        "1, 1, $3, $2, $1, coalesce(x.type, $4), x.payload, x.headers, "                           \
        "coalesce(x.content_type, $5), x.key_text, x.tags, coalesce(($17::smallint[])[x.no], $6)," \
        " coalesce(($18::int[])[x.no], $7), coalesce(($19::bigint[])[x.no], $8), "                 \
        "coalesce(($20::bigint[])[x.no], 0) from unnest($9::uuid[], $10::uuid[], $11::bytea[], "   \
        "$12::bytea[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bytea[]) with ordinality "   \
        "x (id, key, payload, type, headers, content_type, key_text, tags, no)"

/* Of letters that differ in nothing but id, key and payload: the first of those parameters. */
#define LETTERS_PLAIN 11
#define LETTERS_PLAIN_TEXT                                                                         \
        "insert into jobs (id, key, created, started, state, claim, attempt, token, holder, "      \
        "queue, type, payload, content_type, priority, max_attempts, timeout_ms) "                 \
        "select ($9::uuid[])[x.no], ($10::uuid[])[x.no], (select skep_now()), "                    \
        "(select skep_now()), 2, 1, 1, $3, $2, $1, $4, x.payload, $5, $6, $7, $8 "                 \
        "from unnest($11::bytea[]) with ordinality x (payload, no)"

/* A transaction has its xid before it draws a number: heads_move() counts on it. */
#define NEXT_SEQ "case when (select pg_current_xact_id()) is not null then nextval('jobs_seq') end"
/* As for letters. lane is what lane_base() gives, below 0 for what is scheduled; what waits has a
 * seq, drawn here once and put into its lane. */
#define SUBMIT_TEXT                                                                                \
        "insert into jobs (id, key, created, deadline, lane, due, seq, timeout_ms, "               \
        "max_attempts, state, reason, priority, queue, type, key_text, content_type, tags, "       \
        "headers, payload, policy, retry_until, heartbeat_ms) select id, key, "                    \
        "(select skep_now()), deadline, case when lane >= 0 then lane | (seq & case when lane >= " \
        "2::bigint << 61 then 137438953471 else 144115188075855871 end) end, case when lane < 0 "  \
        "then case when after <> 0 then (select skep_now()) + after else at end end, seq, "        \
        "timeout, max_attempts, case when lane < 0 then 0 else 1 end, reason, priority, queue, "   \
        "type, key_text, content_type, tags, headers, payload, policy, nullif(retry_until, 0), "   \
        "nullif(heartbeat, 0) from (select ($9::uuid[])[x.no] as id, ($10::uuid[])[x.no] as key, " \
        "coalesce(x.queue, $1) as queue, coalesce(x.type, $2) as type, x.payload, x.headers, "     \
        "coalesce(x.content_type, $3) as content_type, x.key_text, x.tags, x.policy, "             \
        "coalesce(($19::bigint[])[x.no], $4) as lane, coalesce(($20::smallint[])[x.no], $5) as "   \
        "reason, coalesce(($21::smallint[])[x.no], $6) as priority, "                              \
        "coalesce(($22::int[])[x.no], $7) as max_attempts, coalesce(($23::bigint[])[x.no], $8) "   \
        "as timeout, coalesce(($24::bigint[])[x.no], 0) as deadline, "                             \
        "coalesce(($25::bigint[])[x.no], 0) as at, coalesce(($26::bigint[])[x.no], 0) as after, "  \
        "($27::bigint[])[x.no] as retry_until, ($28::bigint[])[x.no] as heartbeat, "               \
        "case when coalesce(($19::bigint[])[x.no], $4) >= 0 then " NEXT_SEQ " end as seq "         \
        "from unnest($11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[], $15::bytea[], "       \
        "$16::bytea[], $17::bytea[], $18::bytea[]) with ordinality "                               \
        "x (queue, type, payload, headers, content_type, key_text, tags, policy, no)) y"
/* What differs in nothing but id, key and payload, as most arrays do: an eighth cheaper. */
#define SUBMIT_ALIKE_TEXT                                                                          \
        "with counted as (insert into deltas (queue, state, n) values ($1, 1, $12)) "              \
        "insert into jobs (id, key, created, lane, seq, timeout_ms, max_attempts, state, reason, " \
        "priority, queue, type, content_type, payload) select ($9::uuid[])[no], "                  \
        "($10::uuid[])[no], (select skep_now()), $4 | (seq & case when $4 >= 2::bigint << 61 "     \
        "then 137438953471 else 144115188075855871 end), seq, $8, $7, 1, $5, $6, $1, $2, $3, "     \
        "payload from (select x.payload, x.no, " NEXT_SEQ " as seq "                               \
        "from unnest($11::bytea[]) with ordinality x (payload, no)) y"
#define SUBMIT_COUNTED                                                                             \
        "counted as (insert into deltas (queue, state, n) "                                        \
        "select * from unnest($29::bytea[], $30::smallint[], $31::bigint[]))"
#define SUBMIT_RING_TEXT                                                                           \
        "with " SUBMIT_COUNTED ", ins as (" SUBMIT_TEXT " returning id, queue, seq, lane) "        \
        "insert into outbox (at, queue, ids, seqs) select skep_now(), queue, "                     \
        "array_agg(id order by seq), array_agg(seq order by seq) from ins "                        \
        "where lane >= 1::bigint << 61 and lane < 2::bigint << 61 group by queue "                 \
        "returning no, queue, ids, seqs"

#define FINISH_DONE_TEXT                                                                           \
        "with hit as (update jobs j set state = 4, reason = $11, "                                 \
        "attempt = coalesce(($4::int[])[v.no], $12), "                                             \
        "snoozes = coalesce(($5::int[])[v.no], $13), "                                             \
        "strikes = coalesce(($6::int[])[v.no], $14), "                                             \
        "started = coalesce(nullif(($7::bigint[])[v.no], 0), j.started), "                         \
        "finished = coalesce(nullif(($8::bigint[])[v.no], 0), (select skep_now())), "              \
        "result = v.result, result_type = v.result_type "                                          \
        "from unnest($1::uuid[], $9::bytea[], $10::bytea[]) with ordinality "                      \
        "v (id, result, result_type, no) where j.id between v.id and v.id "                        \
        "and j.claim = coalesce(($2::int[])[v.no], $15) "                                          \
        "and j.token = coalesce(($3::bigint[])[v.no], $16) and j.state + 0 = 2 "                   \
        "returning j.queue, v.no), "                                                               \
        "per as (select queue, count(*) as n, array_agg(no::int) as nos from hit group by queue)," \
        " counted as (insert into deltas (queue, state, n) select queue, s, d * n from per "       \
        "cross join (values (2::smallint, -1), (4::smallint, 1)) x (s, d)) "                       \
        "select coalesce(sum(n), 0)::bigint, case when coalesce(sum(n), 0) < $17::bigint then "    \
        "(select array_agg(no) from per, unnest(nos) no) end from per"

#define STATEMENTS(X)                                                                              \
        X(FOLLOW, ON_WRITES, "select follow($1, $2)")                                              \
        X(NUMBER, ON_WRITES, "insert into commits (holder, writer, n) values ($1, $2, $3)")        \
        X(TRIM, ON_WRITES,                                                                         \
          "delete from commits where holder = $1 and writer = $2 and n > $3 "                      \
          "and n <= $4 and token is null and not void")                                            \
        X(ALIVE, ON_WRITES, "select alive($1)")                                                    \
        X(NOTIFY, ON_BEAT, "select pg_notify('skep', '')")                                         \
                                                                                                   \
        X(REGISTER, ON_BEAT,                                                                       \
          "insert into nodes (holder, beat, host, pid, version, registered, "                      \
          "beat_at) values ($1, 1, $2, $3, $4, skep_now(), skep_now())")                           \
        X(BEAT, ON_BEAT, "select beat($1, $2, $3)")                                                \
        X(NODES, ON_BEAT,                                                                          \
          "select holder, beat, dead, host, pid from nodes "                                       \
          "order by registered, holder")                                                           \
        X(CANCELS, ON_BEAT,                                                                        \
          "select j.id from (select c.job from nodes n join cancels c on c.holder = n.holder "     \
          "where n.holder = $1 and n.beat_no = $2 offset 0) c cross join lateral (select id "      \
          "from jobs where id = c.job and holder = $1 and state + 0 = 2 and cancel_asked "         \
          "offset 0) j")                                                                           \
        X(STANDING, ON_BEAT,                                                                       \
          "select exists (select from inbox), schedules_number(), "                                \
          "exists (select from old_keys), c.queue, c.paused, coalesce(c.concurrency, -1), "        \
          "coalesce(c.global, -1) from (select) x left join controls c on true")                   \
        X(TELLS, ON_BEAT,                                                                          \
          "insert into node_tells (holder, serves, queues, workers) values ($1, $2, $3, $4) "      \
          "on conflict (holder) do update set serves = excluded.serves, "                          \
          "queues = excluded.queues, workers = excluded.workers")                                  \
        X(BURY, ON_BEAT, "select bury($1, $2, $3, $4, $5, $6, $7)")                                \
        X(VOID, ON_BEAT,                                                                           \
          "insert into commits (holder, writer, n, void) values ($1, $2, $3, true)"                \
          " on conflict do nothing")                                                               \
        X(FATE, ON_BEAT,                                                                           \
          "select void, exists (select from nodes where holder = $1) from commits "                \
          "where holder = $1 and writer = $2 and n = $3")                                          \
                                                                                                   \
        X(SUBMIT, ON_CLAIMS,                                                                       \
          "select * from put_units($2, $3, $4, $5, $6, $7, $8, null, $1, $9, null)")               \
        X(SUBMIT_QUICK, ON_CLAIMS, "with " SUBMIT_COUNTED " " SUBMIT_TEXT)                         \
        X(SUBMIT_ALIKE, ON_CLAIMS, SUBMIT_ALIKE_TEXT)                                              \
        X(SUBMIT_RING, ON_CLAIMS, SUBMIT_RING_TEXT)                                                \
        X(SUBMIT_SLOW, ON_CLAIMS,                                                                  \
          "select * from put_units($2, $3, $4, $5, $6, $7, $8, null, $1, $9, "                     \
          "array(select (q, m, d)::bound from unnest($10::bytea[], $11::int[], $12::boolean[]) "   \
          "b (q, m, d)), $13)")                                                                    \
        X(ALIVE_QUICK, ON_CLAIMS, "select alive_quick($1)")                                        \
        X(ALIVE_KEYED, ON_CLAIMS, "select alive_keyed($1, $2)")                                    \
        X(CLAIM_NUMBER, ON_CLAIMS,                                                                 \
          "insert into commits (holder, writer, n, token, first_id, "                              \
          "last_id, ids) values ($1, $2, $3, $4, $5, $6, $7)")                                     \
        X(LETTERS, ON_CLAIMS, LETTERS_TEXT)                                                        \
        X(LETTERS_PLAIN, ON_CLAIMS, LETTERS_PLAIN_TEXT)                                            \
        X(LETTERS_COUNT, ON_CLAIMS, "insert into deltas (queue, state, n) values ($1, 2, $2)")     \
        X(LETTERS_CARE, ON_CLAIMS, "select * from arrive_letters($1, $2, $3, $4, $5, $6, $7)")     \
        X(JOURNAL, ON_CLAIMS,                                                                      \
          "insert into journal (holder, writer, n, at, queue, prints, jobs) "                      \
          "values ($1, $2, $3, skep_now(), $4, $5, $6)")                                           \
        X(JOURNAL_DONE, ON_CLAIMS,                                                                 \
          "delete from journal j using unnest($1::bigint[], "                                      \
          "$2::smallint[], $3::bigint[]) x (h, w, n) "                                             \
          "where j.holder = x.h and j.writer = x.w and j.n = x.n")                                 \
        X(JOURNAL_OVER, ON_CLAIMS,                                                                 \
          "update journal j set over = true from unnest($1::bigint[], "                            \
          "$2::smallint[], $3::bigint[]) x (h, w, n) "                                             \
          "where j.holder = x.h and j.writer = x.w and j.n = x.n")                                 \
        X(BELLS, ON_CLAIMS, "select * from arrive_bells($1, $2, $3, $4, $5)")                      \
        X(ARRIVE_END, ON_CLAIMS, "select arrive_end($1, $2, $3, $4)")                              \
        X(CLAIM, ON_CLAIMS, "select * from claim($1, $2, $3, $4, $5, $6, $7, $8, $9)")             \
        X(CLAIM_GLOBAL, ON_CLAIMS,                                                                 \
          "select * from claim_global($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")                   \
                                                                                                   \
        X(FINISH_PLAIN, ON_VERDICTS,                                                               \
          "select finish_plain($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")                          \
        X(FINISH_DONE, ON_VERDICTS, FINISH_DONE_TEXT)                                              \
        X(FINISH, ON_VERDICTS,                                                                     \
          "select * from finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")          \
        X(RETIRE, ON_VERDICTS,                                                                     \
          "delete from commits c using unnest($1::bigint[], "                                      \
          "$2::smallint[], $3::bigint[]) x (h, w, n) "                                             \
          "where c.holder = x.h and c.writer = x.w and c.n = x.n")                                 \
        X(CANCEL, ON_VERDICTS, "select * from cancel($1, $2, $3, $4)")                             \
        X(REQUEUE, ON_VERDICTS, "select requeue($1, $2, $3, $4)")                                  \
        X(CONTROL, ON_VERDICTS, "select * from control($1, $2, $3, $4, $5, $6, $7, $8)")           \
        X(SAVE, ON_VERDICTS, "select save_work($1, $2, $3, $4, $5, $6, $7, $8)")                   \
        X(SCHEDULE_PUT, ON_VERDICTS,                                                               \
          "select * from schedule_put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "    \
          "$14, $15, $16, $17)")                                                                   \
        X(SCHEDULE_DROP, ON_VERDICTS, "select * from schedule_drop($1, $2, $3, $4, $5)")           \
        X(SCHEDULE_ONE, ON_VERDICTS | ON_READS, "select " SCHEDULE_COLUMNS "where s.name = $1")    \
        X(BULK, ON_VERDICTS,                                                                       \
          "select * from bulk($1, $2, $3, $14, ($4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"       \
          "::job_filter, $15, $16, $17)")                                                          \
                                                                                                   \
        X(DUE, ON_BEAT, "select * from due($1, $2, $3, $4)")                                       \
        X(UNPARK, ON_BEAT, "select unpark($1, $2, $3, $4, $5, $6)")                                \
        X(FOLD, ON_BEAT, "select fold($1, $2, $3)")                                                \
        X(RELAY, ON_BEAT, "select * from relay($1, $2, $3, $4, $5, $6)")                           \
        X(RUNG, ON_BEAT, "delete from outbox where no = any($1::bigint[])")                        \
        X(REPLIED, ON_BEAT, "delete from replies where no = any($1::bigint[])")                    \
        X(TICK, ON_BEAT,                                                                           \
          "select * from tick($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "  \
          "$16, $17)")                                                                             \
        X(PRUNE, ON_BEAT, "select * from prune($1, $2, $3, $4, $5, $6, $7, $8)")                   \
        X(TIDE, ON_BEAT, "select * from tide($1, $2, $3, $4, $5, $6, $7)")                         \
        X(FLOOR, ON_BEAT, "select floor_raise($1, $2)")                                            \
                                                                                                   \
        X(RECALL, ON_READS,                                                                        \
          "select " HANDED_COLUMNS ", work_of(j.id) from commits c, "                              \
          "held_by($1, $4, c.first_id, c.last_id, "                                                \
          "c.ids) j where c.holder = $1 and c.writer = $2 and c.n = $3 and c.token is not null")   \
        X(HELD, ON_READS,                                                                          \
          "select c.n, j.token, j.id, j.claim, j.attempt, j.max_attempts, j.snoozes, j.strikes, "  \
          "j.cancel_asked, j.queue, j.type, j.created, j.retry_until, j.policy, j.headers, "       \
          "exists (select from saves where job = j.id) from (select * from commits where holder "  \
          "= $1 "                                                                                  \
          "and writer = $2 and n > $3 and token is not null order by n limit $4) c "               \
          "left join lateral held_by($1, c.token, c.first_id, c.last_id, c.ids) j on true "        \
          "order by c.n")                                                                          \
        X(INBOX, ON_READS,                                                                         \
          "select no, queue, type, key, content_type, headers, payload, priority, max_attempts, "  \
          "timeout_ms, at, deadline from inbox order by no limit $1")                              \
        X(SHOW_ID, ON_READS,                                                                       \
          "select " ROW_COLUMNS ", " ATTEMPT_COLUMNS WHOLE_COLUMNS                                 \
          ", octet_length(s.checkpoint), rows_ahead(j.queue, j.lane) from jobs j" LAST_ATTEMPT     \
          "where j.id = $1")                                                                       \
        X(SHOW_KEY, ON_READS,                                                                      \
          "select " ROW_COLUMNS ", " ATTEMPT_COLUMNS WHOLE_COLUMNS                                 \
          ", octet_length(s.checkpoint), rows_ahead(j.queue, j.lane) from jobs j" LAST_ATTEMPT     \
          "where j.queue = $1 and j.key = $2")                                                     \
        X(ATTEMPTS_ID, ON_READS,                                                                   \
          "select " ATTEMPT_COLUMNS " from attempts a where a.job = $1 "                           \
          "and not a.ended_job order by a.claim")                                                  \
        X(ATTEMPTS_KEY, ON_READS,                                                                  \
          "select " ATTEMPT_COLUMNS " from attempts a where a.job = "                              \
          "(select id from jobs where queue = $1 and key = $2) "                                   \
          "and not a.ended_job order by a.claim")                                                  \
        X(LIST, ON_READS,                                                                          \
          "select " ROW_COLUMNS ", " ATTEMPT_COLUMNS " from "                                      \
          "list($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) j" LAST_ATTEMPT "order by j.id desc")     \
        X(LIST_WHOLE, ON_READS,                                                                    \
          "select " ROW_COLUMNS ", " ATTEMPT_COLUMNS WHOLE_COLUMNS " from "                        \
          "list($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) j" LAST_ATTEMPT "order by j.id desc")     \
        X(SCHEDULES_NUMBER, ON_READS, "select schedules_number()")                                 \
        X(SCHEDULES_PAGE, ON_READS,                                                                \
          "select " SCHEDULE_COLUMNS "where s.name > $1 order by s.name limit $2")                 \
        X(GROUPS, ON_READS,                                                                        \
          "select * from groups(($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)::job_filter, $11, $12)") \
        X(ALL_NODES, ON_READS,                                                                     \
          "select n.holder, n.host, n.version, n.pid, n.dead, n.registered, n.beat_at, t.serves, " \
          "t.queues, t.workers from nodes n left join node_tells t on t.holder = n.holder "        \
          "order by n.registered, n.holder")                                                       \
        X(STATS, ON_READS, "select * from stats()")

enum statement {
#define X(name, lanes, sql) ST_##name,
        STATEMENTS(X)
#undef X
            STATEMENTS_N,
};

struct statement_info {
        const char *name;
        unsigned lanes;
        const char *sql;
};
extern const struct statement_info statements[STATEMENTS_N];

#endif
