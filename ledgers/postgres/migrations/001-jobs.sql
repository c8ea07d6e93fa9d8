-- The tables, in the PostgreSQL schema `skep`. Frozen once released: a change is a new file with
-- the next number, and only adds, so that the program before it runs on. A function whose meaning
-- changes gets a new name.
--
-- What decides the speed: a finish must be a HOT update. So half of each page of `jobs` is left free,
-- and no index column or predicate names state, holder or claim, or anything else that the happy path
-- changes. A running job stands in no index but those of its id and its key. The three waiting columns
-- (lane, due, parked_at) say where a row waits; the CHECKs tie them to the state.
--
-- A join that looks up rows by their key says `j.id between x.id and x.id`. With `=` the planner may turn it
-- about: of a table that was empty when it was last analyzed (pruned overnight, or new) it expects one row, and
-- then it walks the whole index for every statement, until the next ANALYZE. A range it can only look up.
--
-- Times are wall microseconds by skep_now(), 0: none. What producers wrote is bytea: any byte is legal
-- in it. Unsigned 64-bit numbers (token, holder, n) are stored as the bigint of the same bits.
--
-- Producers need no right on these tables. A role for them:
--     create role skep_producer login;
--     revoke execute on function public.skep_enqueue(text, bytea, text, text, int, timestamptz, text,
--         jsonb, int) from public;    -- those with a payload of jsonb or text call it
--     grant execute on function public.skep_enqueue(...) to skep_producer;

-- The ledger's own clock; tests put another in its place.
create function skep_now() returns bigint language sql volatile as
$$ select (date_part('epoch', clock_timestamp()) * 1000000)::bigint $$;

-- Order among pending rows, and of what a tide has passed; drawn when a row becomes pending first.
create sequence jobs_seq;

-- What few jobs have: a policy, an end of retries, a heartbeat, a unique key. null: none.
create type extra as (
        policy bytea, retry_until bigint, heartbeat_ms bigint,
        hash uuid, states smallint, replaces boolean, period bigint, of_queue boolean
);

-- The order of columns counts: an update compares each that an index names with the old one, and what has no
-- null and no text before it is found at a known place.
create table jobs (
        id           uuid primary key,
        key          uuid,
        created      bigint not null,
        started      bigint not null default 0,
        finished     bigint not null default 0,
        deadline     bigint not null default 0,
        token        bigint not null default 0,
        holder       bigint not null default 0,
        timeout_ms   bigint not null default 0,
        claim        int not null default 0,
        generation   int not null default 0,
        attempt      int not null default 0,
        max_attempts int not null,
        snoozes      int not null default 0,
        state        smallint not null,
        reason       smallint not null default 0,
        priority     smallint not null,
        strikes      smallint not null default 0,
        queue        bytea not null,
        type         bytea not null,
        cancel_asked boolean not null default false,
        payload      bytea not null default '',
        lane         bigint,
        due          bigint,
        parked_at    bigint,
        seq          bigint,
        key_text     bytea, -- null: it is the key itself, as text; empty: there is none
        content_type bytea,
        tags         bytea,
        headers      bytea,
        result       bytea,
        result_type  bytea,
        policy       bytea,  -- its own retry policy, as it was written
        retry_until  bigint, -- no attempt is made after it
        heartbeat_ms bigint,
        was_due      bigint, -- of a row that DUE made pending
        came_with    uuid,   -- hash of the payload that its key stands for, once that was replaced
        -- In one, since each of its own would cost every row of the happy path something, and by state for the
        -- same reason: what the claim of a row has checked, its finish does not write. No job begins as
        -- retrying or completed: those come after a claim.
        constraint jobs_are_sane check (case
                when state = 4 then lane is null and due is null and parked_at is null
                        and claim > 0 and holder <> 0
                        and (result is null or octet_length(result) <= 65536)
                when state = 2 then lane is null and due is null and parked_at is null
                        and priority between 0 and 9 and max_attempts >= 1
                        and octet_length(queue) <= 255 and octet_length(type) <= 255
                else state between 0 and 6
                        and (lane is not null) = (state = 1)
                        and (due is not null) = (state in (0, 3))
                        and (parked_at is not null) = (state in (5, 6))
                        and (lane is null or seq is not null)
                        and (state <> 3 or (claim > 0 and holder <> 0))
                        and priority between 0 and 9 and max_attempts >= 1
                        and octet_length(queue) <= 255 and octet_length(type) <= 255
                        and (result is null or octet_length(result) <= 65536) end)
) with (fillfactor = 50);
alter table jobs alter payload set storage external;

-- The key first: it alone decides nearly always, and compares faster than the name.
create unique index jobs_key on jobs (key, queue) where key is not null;
create index jobs_lane on jobs (queue, lane) where lane is not null;
create index jobs_due on jobs (due) where due is not null;
create index jobs_parked on jobs (queue, parked_at) where parked_at is not null;
-- Dead and cancelled ones in order of their ids. An expression, so that no plan takes the primary key for it.
create index jobs_ended on jobs (uuid_send(id)) where parked_at is not null;

-- Where claims begin in the fresh lanes of a queue and priority (heads_move() in 006). Without a row: at the first.
create table heads (
        queue    bytea not null,
        priority smallint not null,
        lane     bigint not null,
        next     bigint not null,
        xid      xid8 not null default '0',
        drawn    bigint not null default 0,
        looked   bigint not null default 0,
        primary key (queue, priority)
) with (fillfactor = 50);

-- The edges of core/state.h, as the bit 8 * from + to of a mask. AFTER, with WHEN: it costs nothing
-- while it does not fire (a BEFORE trigger does).
create function refuse_edge() returns trigger language plpgsql as $$
begin
        raise exception 'no such edge between the states of a job: % to %', old.state, new.state
                using errcode = 'check_violation';
end $$;
create trigger jobs_edge after update of state on jobs for each row
when (((1::bigint << 1) + (1::bigint << 5) + (1::bigint << 6)          -- scheduled
        + (1::bigint << 8) + (1::bigint << 10) + (1::bigint << 13) + (1::bigint << 14) -- pending
        + (1::bigint << 16) + (1::bigint << 17) + (1::bigint << 19) + (1::bigint << 20)
        + (1::bigint << 21) + (1::bigint << 22)                        -- running
        + (1::bigint << 25) + (1::bigint << 29) + (1::bigint << 30)    -- retrying
        + (1::bigint << 41) + (1::bigint << 49)                        -- dead, cancelled
      ) >> (old.state * 8 + new.state) & 1 = 0
      or (old.state >= 5 and new.generation <> old.generation + 1))
execute function refuse_edge();

-- Tries that failed. ended_job: this one ended the job (the others are its history).
create table attempts (
        job        uuid not null,
        claim      int not null,
        ended_job  boolean not null,
        attempt    int not null,
        generation int not null,
        error      smallint not null,
        error_text bytea,
        build      bytea,
        holder     bigint not null,
        worker     int not null,
        worker_pid int not null,
        started    bigint not null,
        ended      bigint not null,
        fingerprint bigint, -- of the error
        primary key (job, claim)
);

-- What running jobs leave behind: while they run and retry. Deleted when the job completes.
-- claim, n: of the save that wrote last; one of the same claim with a smaller n comes too late.
create table saves (
        job        uuid primary key,
        claim      int not null,
        n          bigint not null,
        checkpoint bytea check (octet_length(checkpoint) <= 65536),
        done       float8,
        total      float8,
        told       bigint not null default 0 -- when the progress was told last
) with (fillfactor = 50);
alter table saves alter checkpoint set storage external;

create table nodes (
        holder     bigint primary key,
        beat       bigint not null,
        beat_no    bigint not null default 0, -- the greatest number of a beat that committed
        dead       boolean not null default false,
        host       bytea,
        pid        int not null,
        version    bytea,
        registered bigint not null,
        beat_at    bigint not null
) with (fillfactor = 20);

-- What a node tells of itself: seldom, and long, so apart from the row that each beat writes anew.
create table node_tells (
        holder  bigint primary key,
        serves  bytea,
        queues  bytea,
        workers bigint not null
);

-- One row per numbered transaction whose fate may still be asked for. Those of claims have a token and
-- say where their jobs are, until all of them ended: letters in a range of ids, others in a list (both
-- may name more than were taken; the token decides). void: put there so that it can never happen.
create table commits (
        holder   bigint not null,
        writer   smallint not null,
        n        bigint not null,
        token    bigint,
        void     boolean not null default false,
        first_id uuid,
        last_id  uuid,
        ids      uuid[],
        primary key (holder, writer, n)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- told: the number of the holder's beat that gave it out first; 0: none yet.
create table cancels (
        holder bigint not null,
        job    uuid not null,
        told   bigint not null default 0,
        primary key (holder, job)
);

-- Names that outlive or stand above a job: whole requests (kind 1), unique keys (kind 2): its holder, the
-- states that block, and until when it blocks in any (0: its period is over, or it has none).
create table keys (
        kind         smallint not null,
        hash         uuid not null,
        request_hash uuid,
        ids          uuid[],
        until        bigint not null,
        job          uuid,
        states       smallint,
        primary key (kind, hash)
);
create index keys_until on keys (until) where until > 0;
create index keys_job on keys (job) where kind = 2;

-- The keys of jobs that were pruned. payload: the first half of its SHA-256; null: any is the same.
create table old_keys (
        key     uuid not null,
        queue   bytea not null,
        job     uuid not null,
        payload uuid,
        until   bigint not null,
        primary key (key, queue)
);
create index old_keys_until on old_keys (until);

create table deltas (
        queue bytea not null,
        state smallint not null,
        n     bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create table counters (
        queue bytea not null,
        state smallint not null,
        n     bigint not null,
        primary key (queue, state)
) with (fillfactor = 50);

-- Doorbells that are not known to be confirmed: one row per queue and transaction.
create table outbox (
        no    bigint generated always as identity primary key,
        at    bigint not null, -- when they were rung last
        queue bytea not null,
        ids   uuid[] not null,
        seqs  bigint[] not null
);

-- Answers to whoever asked for one, that no broker is known to have.
create table replies (
        no           bigint generated always as identity primary key,
        at           bigint not null, -- when it was sent last
        queue        bytea not null,
        dest         bytea not null,
        correlation  bytea,
        content_type bytea,
        body         bytea,
        job          uuid not null,
        state        smallint not null,
        reason       smallint not null,
        error_text   bytea,
        headers      bytea -- of an owed one, which has no address yet
);

-- Jobs that end before they run owe a reply, if they ask for one. AFTER, with WHEN: it costs nothing while
-- it does not fire. What begins dead or cancelled has an attempt that never was, number 0.
create function owe_reply(what uuid, why bytea) returns void language sql as $$
        insert into replies (at, queue, dest, job, state, reason, error_text, headers)
        select 0, queue, '', id, state, reason, why, headers from jobs
        where id = what and state in (5, 6) and position('reply-to'::bytea in headers) > 0
$$;
create function owe_of_row() returns trigger language plpgsql as $$
begin
        perform owe_reply(new.id, null);
        return null;
end $$;
create function owe_of_error() returns trigger language plpgsql as $$
begin
        perform owe_reply(new.job, new.error_text);
        return null;
end $$;
create trigger jobs_owe after update of parked_at on jobs for each row
when (new.parked_at is not null and old.state <> 2 and new.headers is not null) execute function owe_of_row();
create trigger attempts_owe after insert on attempts for each row
when (new.claim = 0) execute function owe_of_error();

-- What operators set for a queue, over its configuration. null: as configured.
create table controls (
        queue       bytea primary key check (octet_length(queue) between 1 and 255),
        paused      boolean not null default false,
        concurrency int check (concurrency >= 0),
        global      int check (global >= 0)
);

-- job_*: what each tick makes.
create table schedules (
        name             bytea primary key check (octet_length(name) between 1 and 128),
        spec             bytea not null check (octet_length(spec) <= 255),
        zone             bytea not null check (octet_length(zone) <= 255),
        catch_up         smallint not null,
        overlap          smallint not null,
        catch_max        bigint not null,
        paused           boolean not null,
        from_config      boolean not null,
        created          bigint not null,
        next             bigint not null,
        last             bigint not null,
        buffered         bigint not null,
        last_job         uuid,
        revision         bigint not null,
        job_queue        bytea not null,
        job_type         bytea not null,
        job_priority     smallint not null,
        job_max_attempts int not null,
        job_timeout_ms   bigint not null,
        job_deadline     bigint not null,
        job_content_type bytea,
        job_headers      bytea,
        job_payload      bytea not null,
        job_tags         bytea,
        job_more         extra
);
-- The counter that all their revisions come from: one that is dropped and made again never has an old one.
create table schedule_clock (one boolean primary key default true check (one), revision bigint not null);
insert into schedule_clock (revision) values (0);

-- Duties that one holder has for longer than a transaction.
create table duties (
        name   text primary key,
        holder bigint not null,
        until  bigint not null
);

-- Letters without a key whose acknowledgement the broker may not have: one row per ARRIVE.
create table journal (
        holder bigint not null,
        writer smallint not null,
        n      bigint not null,
        at     bigint not null,
        queue  bytea not null,
        over   boolean not null default false, -- its connection went away before that was sure
        prints bigint[] not null,
        jobs   uuid[] not null,
        primary key (holder, writer, n)
);

create table inbox (
        no           bigint generated always as identity primary key,
        type         bytea not null,
        payload      bytea not null,
        queue        bytea check (octet_length(queue) between 1 and 255),
        key          bytea check (octet_length(key) between 1 and 255),
        content_type bytea,
        headers      bytea check (octet_length(headers) <= 8192),
        priority     int check (priority between 0 and 9),
        max_attempts int check (max_attempts between 1 and 65535),
        timeout_ms   bigint,
        at           bigint,
        deadline     bigint
);
alter table inbox alter payload set storage external;

