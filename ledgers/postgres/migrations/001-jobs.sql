-- The first schema, in the PostgreSQL schema `skep`. Frozen once released: a change is a new file with
-- the next number, and only adds, so that the program before it runs on. A function whose meaning
-- changes gets a new name.
--
-- What decides the speed: a finish must be a HOT update. So half of each page of `jobs` is left free,
-- and no index column or predicate names state, holder or claim, or anything else that the happy path
-- changes. A running job stands in no index but those of its id and its key. The three waiting columns
-- (lane, due, parked_at) say where a row waits; the CHECKs tie them to the state.
--
-- Times are wall microseconds by skep_now(), 0: none. What producers wrote is bytea: any byte is legal
-- in it. Unsigned 64-bit numbers (token, holder, n) are stored as the bigint of the same bits.
--
-- Producers need no right on these tables. A role for them:
--     create role skep_producer login;
--     revoke execute on function public.skep_enqueue(text, bytea, text, text, int, timestamptz, text,
--         jsonb, int) from public;    -- likewise for the one with payload jsonb
--     grant execute on function public.skep_enqueue(...) to skep_producer;

-- The ledger's own clock; tests put another in its place.
create function skep_now() returns bigint language sql volatile as
$$ select (date_part('epoch', clock_timestamp()) * 1000000)::bigint $$;

-- Order among pending rows, and of what a tide has passed; drawn when a row becomes pending first.
create sequence jobs_seq;

create table jobs (
        id           uuid primary key,
        created      bigint not null,
        started      bigint not null default 0,
        finished     bigint not null default 0,
        deadline     bigint not null default 0,
        lane         bigint,
        due          bigint,
        parked_at    bigint,
        seq          bigint,
        token        bigint not null default 0,
        holder       bigint not null default 0,
        timeout_ms   bigint not null default 0,
        claim        int not null default 0,
        generation   int not null default 0,
        attempt      int not null default 0,
        max_attempts int not null check (max_attempts >= 1),
        snoozes      int not null default 0,
        state        smallint not null check (state between 0 and 6),
        reason       smallint not null default 0,
        priority     smallint not null check (priority between 0 and 9),
        strikes      smallint not null default 0,
        cancel_asked boolean not null default false,
        key          uuid,
        queue        bytea not null check (octet_length(queue) <= 255),
        type         bytea not null check (octet_length(type) <= 255),
        key_text     bytea,
        content_type bytea,
        tags         bytea,
        headers      bytea,
        result       bytea check (octet_length(result) <= 65536),
        result_type  bytea,
        payload      bytea not null default '',
        check ((lane is not null) = (state = 1)),
        check ((due is not null) = (state in (0, 3))),
        check ((parked_at is not null) = (state in (5, 6))),
        check (lane is null or seq is not null),
        -- No job begins as retrying or completed: those come after a claim.
        check (state not in (3, 4) or (claim > 0 and holder <> 0))
) with (fillfactor = 50);
alter table jobs alter payload set storage external;

create unique index jobs_key on jobs (queue, key) where key is not null;
create index jobs_lane on jobs (queue, lane) where lane is not null;
create index jobs_due on jobs (due) where due is not null;
create index jobs_parked on jobs (queue, parked_at) where parked_at is not null;

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
        primary key (job, claim)
);

create table nodes (
        holder     bigint primary key,
        beat       bigint not null,
        dead       boolean not null default false,
        host       bytea,
        pid        int not null,
        version    bytea,
        registered bigint not null,
        beat_at    bigint not null
) with (fillfactor = 20);

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

-- Names that outlive or stand above a job: whole requests (kind 1).
create table keys (
        kind         smallint not null,
        hash         uuid not null,
        request_hash uuid,
        ids          uuid[],
        until        bigint not null,
        primary key (kind, hash)
);

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
        queue        bytea,
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

-- --- what all use ---------------------------------------------------------------------------------

create type new_row as (
        id uuid, key uuid, key_text bytea, queue bytea, type bytea, state smallint, reason smallint,
        band smallint, priority smallint, max_attempts int, timeout_ms bigint, at bigint, after bigint,
        deadline bigint, content_type bytea, headers bytea, payload bytea, tags bytea, error smallint,
        error_text bytea, inbox bigint, print bigint, redelivered boolean
);

create type verdict as (
        id uuid, claim int, token bigint, state smallint, reason smallint, error smallint, attempt int,
        snoozes int, strikes smallint, keep boolean, after bigint, started bigint, ended bigint,
        worker int, worker_pid int, error_text bytea, build bytea, result bytea, result_type bytea
);

-- What a writing function says, one thing a row. kind: 0 created (id, seq; queue if it waits for the
-- broker), 1 exists (ord, id, state), 2 conflict (ord, id, state), 3 unstorable (ord), 4 undone (ord),
-- 5 the request's key has another body (ord: of its first row), 6 outbox (seq: its number, queue),
-- 7 the fence held (ord), 8 the same, but its data was refused (ord), 9 ambiguous (ord).
create type said as (kind smallint, ord int, id uuid, state smallint, seq bigint, queue bytea);

-- lane_value() and lane_parked() of core/ledger.c.
create function lane_of(band int, priority int, seq bigint) returns bigint language sql immutable as
$$ select (band::bigint << 61) | (case when band = 1 then 0 else 9 - priority end::bigint << 57)
        | (seq & 144115188075855871) $$;
create function lane_parked(type bytea, seq bigint) returns bigint language sql immutable as
$$ select (2::bigint << 61) | (seq & 137438953471) | (((get_byte(h, 0)::bigint << 16)
        | (get_byte(h, 1)::bigint << 8) | get_byte(h, 2)::bigint) << 37) from (select sha256(type)) x (h) $$;

-- SK001: the holder is gone or declared dead. The lock makes BURY wait for this transaction, and lets
-- the beat of the same node go on.
create function alive(h bigint) returns void language plpgsql as $$
begin
        perform 1 from nodes where holder = h and not dead for key share;
        if not found then
                raise exception 'this node was declared dead, or never registered'
                        using errcode = 'SK001';
        end if;
end $$;

-- SK002: the batch before this one in the pipeline was rolled back, so this one must not go first.
-- What a rolled back transaction set is rolled back with it. expected null: there is none before.
create function follow(expected bigint, mine bigint) returns void language plpgsql as $$
begin
        if expected is not null and expected::text is distinct from
           current_setting('skep.at', true) then
                raise exception 'a batch before this one was rolled back' using errcode = 'SK002';
        end if;
        perform set_config('skep.at', mine::text, false);
end $$;

create function served(type bytea, exact bytea[], wild text[]) returns boolean
language sql immutable as
$$ select type = any(exact) or (cardinality(wild) > 0 and encode(type, 'escape') ~ any(wild)) $$;

-- --- rows come in ---------------------------------------------------------------------------------

-- Inserts rows lo to hi but for those whose id or key is there. `taken`: letters of the inbox that are
-- ours. Running rows belong to this holder and token.
create function put_set(rows new_row[], lo int, hi int, taken bigint[], h bigint, tok bigint, now bigint)
returns setof said language sql as $$
        with src as materialized (
                select r.*, case when r.state = 1 then nextval('jobs_seq') end as seq
                from unnest(rows[lo:hi]) with ordinality r where r.inbox = 0 or r.inbox = any(taken)
                order by r.ordinality),
        ins as (
                insert into jobs (id, created, started, finished, deadline, lane, due, parked_at, seq,
                        token, holder, timeout_ms, claim, attempt, max_attempts, state, reason,
                        priority, key, queue, type, key_text, content_type, tags, headers, payload)
                select id, now, case when state = 2 then now else 0 end,
                        case when state in (5, 6) then now else 0 end, deadline,
                        case when state <> 1 then null when band = 2 then lane_parked(type, seq)
                                else lane_of(band, priority, seq) end,
                        case when state = 0 then case when after <> 0 then now + after else at end end,
                        case when state in (5, 6) then now end, seq,
                        case when state = 2 then tok else 0 end, case when state = 2 then h else 0 end,
                        timeout_ms, case when state = 2 then 1 else 0 end,
                        case when state = 2 then 1 else 0 end, max_attempts, state, reason, priority,
                        key, queue, type, key_text, content_type, tags, headers, payload
                from src on conflict do nothing returning id, queue, state, seq, lane),
        why as (
                insert into attempts (job, claim, ended_job, attempt, generation, error, error_text,
                        holder, worker, worker_pid, started, ended)
                select id, 0, true, 0, 0, error, error_text, 0, 0, 0, 0, now from src
                where error <> 0 and id in (select id from ins) on conflict do nothing),
        counted as (
                insert into deltas (queue, state, n) select queue, state, count(*) from ins group by 1, 2)
        select 0::smallint, null::int, id, state, seq,
                case when lane >= 1::bigint << 61 and lane < 2::bigint << 61 then queue end from ins
$$;

-- Why rows lo to hi did not go in. (Those that did are told as well: they exist now.)
create function put_explain(rows new_row[], lo int, hi int, taken bigint[])
returns setof said language sql as $$
        select case when not (r.inbox = 0 or r.inbox = any(taken)) then 4
                    when a.id is not null then 1
                    when b.id is null then null
                    when b.reason = 7 or b.payload = r.payload then 1 else 2 end::smallint,
                (lo + r.ordinality - 1)::int, coalesce(a.id, b.id), coalesce(a.state, b.state),
                null::bigint, null::bytea
        from unnest(rows[lo:hi]) with ordinality r
        left join lateral (select id, state from jobs where id = r.id) a on true
        left join lateral (select id, state, reason, payload from jobs
                where a.id is null and queue = r.queue and key = r.key) b on true
        order by r.ordinality
$$;

-- The row is remembered without anything that its producer wrote, so that nobody looks for it in vain.
create function put_unstorable(r new_row, taken bigint[], h bigint, tok bigint, now bigint)
returns void language plpgsql as $$
begin
        r.state := 5; r.reason := 7; r.type := ''; r.key_text := null; r.content_type := null;
        r.headers := null; r.payload := ''; r.tags := null; r.error := 0;
        r.max_attempts := greatest(r.max_attempts, 1);
        r.timeout_ms := 0; r.deadline := 0;
        if r.priority not between 0 and 9 then r.priority := 5; end if;
        if octet_length(r.queue) > 255 then r.queue := ''; end if;
        perform put_set(array[r], 1, 1, taken, h, tok, now);
        if not found then -- its key is taken
                r.key := null;
                perform put_set(array[r], 1, 1, taken, h, tok, now);
        end if;
end $$;

-- Inserts, and says what became of each. careful: a row that the store refuses is found by halving;
-- else its error takes the transaction down, and the caller asks again with care. bury: such a row is
-- remembered.
create function put_rows(rows new_row[], lo int, hi int, taken bigint[], h bigint, tok bigint,
        now bigint, bury boolean, careful boolean) returns said[] language plpgsql as $$
declare
        out said[];
        mid int := (lo + hi) / 2;
begin
        if not careful then
                out := array(select p from put_set(rows, lo, hi, taken, h, tok, now) p);
        else
                begin
                        out := array(select p from put_set(rows, lo, hi, taken, h, tok, now) p);
                exception when data_exception or integrity_constraint_violation
                        or program_limit_exceeded then
                        if lo < hi then
                                return put_rows(rows, lo, mid, taken, h, tok, now, bury, true)
                                    || put_rows(rows, mid + 1, hi, taken, h, tok, now, bury, true);
                        end if;
                        if bury then
                                perform put_unstorable(rows[lo], taken, h, tok, now);
                        end if;
                        return array[(3, lo, null, null, null, null)::said];
                end;
        end if;
        if cardinality(out) < hi - lo + 1 then
                out := out || array(select p from put_explain(rows, lo, hi, taken) p);
                if exists (select from unnest(out) where kind is null) then
                        raise exception 'a row went while it was looked at' using errcode = '40001';
                end if;
        end if;
        return out;
end $$;

-- One submission, or several without a key that are not atomic: rows lo to hi. atomic: all or none.
-- rkey: the request's key, and its hash.
create function put_unit(rows new_row[], lo int, hi int, atomic boolean, bury boolean, rkey uuid, rhash uuid,
        taken bigint[], h bigint, now bigint, careful boolean) returns said[] language plpgsql as $$
declare
        out said[];
        seen keys;
        bad int;
begin
        if rkey is not null then
                select * into seen from keys where kind = 1 and hash = rkey and until > now;
                if found and (seen.request_hash <> rhash or cardinality(seen.ids) <> hi - lo + 1) then
                        return array[(5, lo, null, null, null, null)::said];
                elsif found then
                        return array(select (1, lo + i.ordinality - 1, i.id, j.state, null, null)::said
                                from unnest(seen.ids) with ordinality i (id)
                                left join jobs j on j.id = i.id order by i.ordinality);
                end if;
        end if;
        if rkey is null and not atomic then
                return put_rows(rows, lo, hi, taken, h, 0, now, bury, careful);
        end if;
        begin
                out := put_rows(rows, lo, hi, taken, h, 0, now, bury, true);
                select min(ord) into bad from unnest(out) where kind in (2, 3, 4);
                if atomic and bad is not null then
                        raise exception 'undone' using errcode = 'SK003';
                end if;
        exception when sqlstate 'SK003' then
                return array(select o from unnest(out) o where ord = bad)
                    || array(select (4, i, null, null, null, null)::said
                             from generate_series(lo, hi) i where i <> bad);
        end;
        if rkey is not null then
                insert into keys as k (kind, hash, request_hash, ids, until)
                select 1, rkey, rhash, array_agg(coalesce(o.id, r.id) order by r.ordinality),
                        now + 604800000000
                from unnest(rows[lo:hi]) with ordinality r
                left join (select ord, id from unnest(out) where kind in (1, 2)) o
                        on o.ord = lo + r.ordinality - 1
                on conflict (kind, hash) do update set request_hash = excluded.request_hash,
                        ids = excluded.ids, until = excluded.until where k.until <= now;
                if not found then
                        raise exception 'the same request came twice at once' using errcode = '40001';
                end if;
        end if;
        return out;
end $$;

-- One outbox row for each queue with rows that wait for the broker.
create function put_outbox(told said[], now bigint) returns setof said language sql as $$
        with box as (
                insert into outbox (at, queue, ids, seqs)
                select now, queue, array_agg(id order by seq), array_agg(seq order by seq)
                from unnest(told) where kind = 0 and queue is not null group by queue
                returning no, queue)
        select 6::smallint, null::int, null::uuid, null::smallint, no, queue from box
$$;

-- Units one after the other: first and last row, and as put_unit has it. Those whose `use` is false are
-- left out.
create function put_units(rows new_row[], firsts int[], lasts int[], atomics boolean[], burys boolean[],
        rkeys uuid[], rhashes uuid[], use boolean[], h bigint, careful boolean) returns setof said
language plpgsql as $$
declare
        now bigint := skep_now();
        taken bigint[] := '{}';
        out said[];
        boxed said[] := '{}';
begin
        if exists (select from unnest(rows) where inbox <> 0) then
                with gone as (delete from inbox where no = any(array(
                        select inbox from unnest(rows) where inbox <> 0 order by 1)) returning no)
                select coalesce(array_agg(no), '{}') into taken from gone;
        end if;
        for i in 1 .. coalesce(cardinality(firsts), 0) loop
                continue when not use[i];
                out := put_unit(rows, firsts[i], lasts[i], atomics[i], burys[i], rkeys[i], rhashes[i],
                        taken, h, now, careful);
                return query select * from unnest(out);
                if exists (select from unnest(out) where kind = 0 and queue is not null) then
                        boxed := boxed || out;
                end if;
        end loop;
        if cardinality(boxed) > 0 then
                return query select * from put_outbox(boxed, now);
        end if;
end $$;

create function submit(h bigint, rows new_row[], firsts int[], lasts int[], atomics boolean[],
        burys boolean[], rkeys uuid[], rhashes uuid[], careful boolean) returns setof said language sql as $$
        select * from put_units(rows, firsts, lasts, atomics, burys, rkeys, rhashes,
                array_fill(true, array[cardinality(firsts)]), h, careful)
$$;

-- --- arrivals -------------------------------------------------------------------------------------

-- What the journal has of a redelivered letter: one entry. many: how many that letter has; turn: which
-- letter of the batch it is for that entry.
create type journal_hit as (ord int, holder bigint, writer smallint, n bigint, place int, job uuid,
        over boolean, many bigint, turn bigint);

create function journal_hits(h bigint, w smallint, num bigint, q bytea, rows new_row[])
returns journal_hit[] language sql as $$
        with entry as materialized (
                select j.holder, j.writer, j.n, e.print, e.job, e.place::int, j.over or not exists (
                        select from nodes x where x.holder = j.holder and not x.dead) as over
                from journal j, unnest(j.prints, j.jobs) with ordinality e (print, job, place)
                where j.queue = q and (j.holder, j.writer, j.n) <> (h, w, num))
        select coalesce(array_agg((hit)::journal_hit), '{}') from (
                select r.ordinality::int, e.holder, e.writer, e.n, e.place, e.job, e.over,
                        count(*) over (partition by r.ordinality),
                        row_number() over (partition by e.holder, e.writer, e.n, e.place
                                order by r.ordinality)
                from unnest(rows) with ordinality r join entry e on e.print = r.print
                where r.redelivered and r.print <> 0) hit
$$;

-- Entries that answer a letter leave their rows.
create function journal_take(taken journal_hit[]) returns void language sql as $$
        with left_over as materialized (
                select j.holder, j.writer, j.n, array_agg(e.print order by e.place) as prints,
                        array_agg(e.job order by e.place) as jobs
                from (select distinct holder, writer, n from unnest(taken)) t
                join journal j on j.holder = t.holder and j.writer = t.writer and j.n = t.n,
                unnest(j.prints, j.jobs) with ordinality e (print, job, place)
                where not exists (select from unnest(taken) x where x.holder = j.holder
                        and x.writer = j.writer and x.n = j.n and x.place = e.place)
                group by 1, 2, 3),
        gone as (
                delete from journal j using (select distinct holder, writer, n from unnest(taken)) t
                where j.holder = t.holder and j.writer = t.writer and j.n = t.n
                and not exists (select from left_over l where l.holder = j.holder
                        and l.writer = j.writer and l.n = j.n))
        update journal j set prints = l.prints, jobs = l.jobs from left_over l
        where j.holder = l.holder and j.writer = l.writer and j.n = l.n
$$;

-- Letters that cannot just be inserted: a key or a journal entry may name their job. ord counts within
-- `rows`. The journal's entry of this batch is written here. SK004: one of them must wait, so all do.
create function arrive_letters(h bigint, w smallint, num bigint, q bytea, tok bigint, rows new_row[])
returns setof said language plpgsql set enable_hashjoin = on as $$
declare
        now bigint := skep_now();
        hits journal_hit[] := '{}';
        taken journal_hit[];
        told said[];
        rest new_row[];
        ords int[];
        prints bigint[] := '{}';
        ours uuid[] := '{}';
        at int;
        other uuid;
        r new_row;
begin
        if exists (select from unnest(rows) x where x.redelivered and x.print <> 0) then
                hits := journal_hits(h, w, num, q, rows);
        end if;
        if exists (select from unnest(hits) x where not x.over) then
                raise exception 'the first delivery of a letter is not settled yet'
                        using errcode = 'SK004';
        end if;
        taken := array(select x from unnest(hits) x where x.many = 1 and x.turn = 1);
        if cardinality(taken) > 0 then
                perform journal_take(taken);
                return query select 1::smallint, x.ord, x.job, j.state, null::bigint, null::bytea
                        from unnest(taken) x left join jobs j on j.id = x.job;
        end if;
        return query select distinct 9::smallint, x.ord, null::uuid, null::smallint, null::bigint,
                null::bytea from unnest(hits) x where x.many > 1;
        select array_agg(x.row order by x.ord), array_agg(x.ord order by x.ord) into rest, ords from (
                select rows[o] as row, o as ord from generate_subscripts(rows, 1) o
                where o not in (select t.ord from unnest(taken) t)) x;
        if rest is not null then
                told := put_rows(rest, 1, cardinality(rest), '{}', h, tok, now, true, true);
                return query select o.kind, ords[o.ord], o.id, o.state, o.seq, o.queue
                        from unnest(told) o;
                for at, other in select o.ord, o.id from unnest(told) o where o.kind = 2 loop
                        r := rest[at];
                        r.key := null; r.state := 5; r.reason := 8; r.error := 12;
                        r.error_text := convert_to(format(
                                'its key names job %s, which has another payload', other), 'UTF8');
                        perform put_rows(array[r], 1, 1, '{}', h, tok, now, true, true);
                end loop;
                select coalesce(array_agg(x.print), '{}'), coalesce(array_agg(x.id), '{}')
                into prints, ours from unnest(rest) with ordinality x
                where x.print <> 0 and (x.id in (select o.id from unnest(told) o where o.kind = 0)
                        or x.ordinality in (select o.ord from unnest(told) o where o.kind in (2, 3)));
        end if;
        if cardinality(prints) + cardinality(taken) > 0 then
                insert into journal (holder, writer, n, at, queue, prints, jobs)
                values (h, w, num, now, q,
                        prints || array(select rows[x.ord].print from unnest(taken) x order by x.ord),
                        ours || array(select x.job from unnest(taken) x order by x.ord));
        end if;
end $$;

-- What a claim hands over. no: its place in the order asked for; null in the last row, which tells
-- counts instead.
create type handed as (
        no int, id uuid, queue bytea, type bytea, content_type bytea, headers bytea, payload bytea,
        created bigint, deadline bigint, token bigint, timeout_ms bigint, claim int, generation int,
        attempt int, max_attempts int, snoozes int, strikes smallint, priority smallint,
        cancel_asked boolean
);

-- Doorbells: those to start are claimed, the others offered. attempt of the last row: how many expired;
-- its cancel_asked is not used. Offered and expired ids come as rows without a type.
create function arrive_bells(h bigint, q bytea, tok bigint, starts uuid[], offers uuid[])
returns setof handed language plpgsql as $$
declare
        now bigint := skep_now();
        blo bigint := 1::bigint << 61;
        bhi bigint := (2::bigint << 61) - 1;
        many bigint;
begin
        with late as (
                update jobs j set state = 5, reason = 6, lane = null, parked_at = now, finished = now
                from unnest(starts || offers) i (id)
                where j.id = i.id and j.queue = q and j.state = 1 and j.lane between blo and bhi
                and j.deadline <> 0 and j.deadline <= now returning j.id)
        select count(*) into many from late;
        if many > 0 then
                insert into deltas (queue, state, n) values (q, 1, -many), (q, 5, many);
        end if;
        return query
                update jobs j set state = 2, reason = 0, lane = null, claim = j.claim + 1,
                        attempt = j.attempt + 1, token = tok, holder = h, started = now
                from unnest(starts) with ordinality i (id, no)
                where j.id = i.id and j.queue = q and j.state = 1 and j.lane between blo and bhi
                returning i.no::int, j.id, j.queue, j.type, j.content_type, j.headers, j.payload, j.created,
                        j.deadline, j.token, j.timeout_ms, j.claim, j.generation, j.attempt, j.max_attempts,
                        j.snoozes, j.strikes, j.priority, j.cancel_asked;
        get diagnostics many = row_count;
        if many > 0 then
                insert into deltas (queue, state, n) values (q, 1, -many), (q, 2, many);
        end if;
        return query
                update jobs j set lane = lane_of(0, j.priority, j.seq)
                from unnest(offers) with ordinality i (id, no)
                where j.id = i.id and j.queue = q and j.state = 1 and j.lane between blo and bhi
                returning i.no::int, j.id, null::bytea, null::bytea, null::bytea, null::bytea, null::bytea,
                        0::bigint, 0::bigint, 0::bigint, 0::bigint, 0, 0, 0, 0, 0, 0::smallint,
                        0::smallint, false;
end $$;

-- A claim's commit without a job under its token keeps nothing.
create function arrive_end(h bigint, w smallint, num bigint, tok bigint) returns void language sql as $$
        update commits c set token = null, first_id = null, last_id = null, ids = null
        where c.holder = h and c.writer = w and c.n = num and c.token is not null
        and not exists (select from jobs j where j.id between c.first_id and c.last_id and j.token = tok)
        and not exists (select from jobs j where j.id = any(c.ids) and j.token = tok)
$$;

-- --- claims ---------------------------------------------------------------------------------------

-- The last row, without an id: claim parked, attempt expired, cancel_asked whether there is more.
create function claim(h bigint, w smallint, num bigint, q bytea, tok bigint, want int, max_bytes bigint,
        exact bytea[], wild text[]) returns setof handed language plpgsql as $$
declare
        now bigint := skep_now();
        lo bigint := 0;
        hi bigint := (1::bigint << 61) - 1;
        bytes bigint := 0;
        ids uuid[] := '{}';
        parked int := 0;
        expired int := 0;
        more boolean := false;
        page int;
        seen record;
begin
        loop
                page := want - cardinality(ids);
                with head as materialized (
                        select id, lane, type, deadline, octet_length(payload) as size from jobs
                        where queue = q and lane between lo and hi
                        order by lane limit page for update skip locked),
                judged as (
                        select *, deadline <> 0 and deadline <= now as late, served(type, exact, wild) as can
                        from head),
                summed as (
                        select *, sum(case when can and not late then size else 0 end) over w
                                as sum, count(*) filter (where can and not late) over w as nth
                        from judged window w as (order by lane))
                select count(*) as n, max(lane) as last,
                        array_agg(id order by lane) filter (where can and not late
                                and (bytes + sum <= max_bytes or (nth = 1 and ids = '{}'))) as take,
                        array_agg(id order by id) filter (where late) as late,
                        array_agg(id order by id) filter (where not can and not late) as odd,
                        count(*) filter (where can and not late) as can,
                        coalesce(sum(size) filter (where can and not late), 0) as bytes
                into seen from summed;
                exit when seen.n = 0;
                ids := ids || seen.take;
                bytes := bytes + seen.bytes;
                if seen.late is not null then
                        update jobs set state = 5, reason = 6, lane = null, parked_at = now, finished = now
                        where id = any(seen.late);
                        expired := expired + cardinality(seen.late);
                end if;
                if seen.odd is not null then
                        update jobs set reason = 1, lane = lane_parked(type, seq) where id = any(seen.odd);
                        parked := parked + cardinality(seen.odd);
                end if;
                more := seen.can > coalesce(cardinality(seen.take), 0);
                exit when more or seen.n < page;
                lo := seen.last + 1;
                if cardinality(ids) >= want or parked + expired >= 4096 then
                        more := exists (select from jobs where queue = q and lane between lo and hi);
                        exit;
                end if;
        end loop;
        if ids <> '{}' or parked + expired > 0 then
                insert into commits (holder, writer, n, token, ids)
                values (h, w, num, case when ids <> '{}' then tok end, nullif(ids, '{}'));
                insert into deltas (queue, state, n)
                select q, s, d from (values (1::smallint, -(cardinality(ids) + expired)::bigint),
                        (2::smallint, cardinality(ids)::bigint), (5::smallint, expired::bigint)) x (s, d)
                where d <> 0;
                return query
                        update jobs j set state = 2, reason = 0, lane = null, claim = j.claim + 1,
                                attempt = j.attempt + 1, token = tok, holder = h, started = now
                        from unnest(ids) with ordinality i (id, no) where j.id = i.id
                        returning i.no::int, j.id, j.queue, j.type, j.content_type, j.headers, j.payload,
                                j.created, j.deadline, j.token, j.timeout_ms, j.claim, j.generation, j.attempt,
                                j.max_attempts, j.snoozes, j.strikes, j.priority, j.cancel_asked;
        end if;
        return next (null, null, null, null, null, null, null, 0, 0, 0, 0, parked, 0, expired, 0, 0, 0, 0,
                more)::handed;
end $$;

-- The jobs of one claim that still run under its token.
create function held_by(h bigint, tok bigint, first uuid, last uuid, ids uuid[])
returns setof jobs language sql stable as $$
        select j.* from jobs j
        where j.id between first and last and j.token = tok and j.holder = h and j.state + 0 = 2
        union all
        select j.* from jobs j
        where j.id = any(ids) and j.token = tok and j.holder = h and j.state + 0 = 2
        and (j.id between first and last) is not true
$$;

-- --- verdicts -------------------------------------------------------------------------------------

-- Verdicts lo to hi of any kind. What the fence held of: their places.
create function finish_set(vs verdict[], lo int, hi int, now bigint) returns int[] language sql as $$
        with v as materialized (
                select r.*, case when r.state = 1 then nextval('jobs_seq') end as fresh
                from unnest(vs[lo:hi]) with ordinality r order by r.ordinality),
        hit as (
                update jobs j set state = v.state, reason = v.reason, attempt = v.attempt,
                        snoozes = v.snoozes, strikes = v.strikes,
                        seq = case when v.state = 1 then coalesce(j.seq, v.fresh) else j.seq end,
                        lane = case when v.state = 1
                                then lane_of(0, j.priority, coalesce(j.seq, v.fresh)) end,
                        due = case when v.state in (0, 3) then now + v.after end,
                        parked_at = case when v.state in (5, 6) then now end,
                        started = coalesce(nullif(v.started, 0), j.started),
                        finished = case when v.state in (4, 5, 6) then coalesce(nullif(v.ended, 0), now)
                                else 0 end,
                        result = v.result, result_type = v.result_type
                from v where j.id = v.id and j.claim = v.claim and j.token = v.token and j.state + 0 = 2
                returning v.ordinality, j.id, j.queue, j.generation, j.holder, v.claim, v.state, v.keep,
                        v.attempt, v.error, v.error_text, v.build, v.worker, v.worker_pid, v.started,
                        v.ended),
        tried as (
                insert into attempts (job, claim, ended_job, attempt, generation, error, error_text, build,
                        holder, worker, worker_pid, started, ended)
                select id, claim, not keep, attempt, generation, error, error_text, build, holder, worker,
                        worker_pid, started, coalesce(nullif(ended, 0), now)
                from hit where keep or error <> 0 on conflict do nothing),
        counted as (
                insert into deltas (queue, state, n)
                select queue, s, sum(d) from (select queue, 2::smallint as s, -1 as d from hit
                        union all select queue, state, 1 from hit) x group by 1, 2)
        select coalesce(array_agg((lo + ordinality - 1)::int), '{}') from hit
$$;

-- The same; a verdict that the store refuses is found by halving, and ends its job all the same. Places
-- of those are negative.
create function finish_halves(vs verdict[], lo int, hi int, now bigint) returns int[]
language plpgsql as $$
declare
        mid int := (lo + hi) / 2;
        v verdict;
begin
        begin
                return finish_set(vs, lo, hi, now);
        exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
                if lo < hi then
                        return finish_halves(vs, lo, mid, now) || finish_halves(vs, mid + 1, hi, now);
                end if;
        end;
        v := vs[lo];
        v.state := 5; v.reason := 7; v.error := 11; v.keep := false;
        v.error_text := null; v.build := null; v.result := null; v.result_type := null;
        return array(select -lo from unnest(finish_set(array[v], 1, 1, now)));
end $$;

-- Children (units as in put_units, of the verdict `parents[i]`) come with a completion whose fence held.
create function finish(h bigint, vs verdict[], rows new_row[], firsts int[], lasts int[],
        atomics boolean[], burys boolean[], rkeys uuid[], rhashes uuid[], parents int[], careful boolean)
returns setof said language plpgsql as $$
declare
        now bigint := skep_now();
        hits int[];
begin
        if careful then
                hits := finish_halves(vs, 1, cardinality(vs), now);
        else
                hits := finish_set(vs, 1, cardinality(vs), now);
        end if;
        return query select case when i > 0 then 7 else 8 end::smallint, abs(i), null::uuid,
                null::smallint, null::bigint, null::bytea from unnest(hits) i;
        if cardinality(firsts) > 0 then
                return query select * from put_units(rows, firsts, lasts, atomics, burys, rkeys, rhashes,
                        array(select p = any(hits) and vs[p].state = 4
                              from unnest(parents) with ordinality p (p) order by p.ordinality),
                        h, careful);
        end if;
end $$;

-- --- nodes ----------------------------------------------------------------------------------------

create function beat(h bigint, num bigint, known bigint) returns void language plpgsql as $$
begin
        update nodes set beat = beat + 1, beat_at = skep_now() where holder = h and not dead;
        if not found then
                perform alive(h);
        end if;
        delete from cancels where holder = h and told between 1 and known;
        update cancels set told = num where holder = h and told = 0;
end $$;

create function bury(h bigint, w smallint, num bigint, victim bigint, seen_beat bigint, any_beat boolean,
        forget boolean) returns boolean language plpgsql as $$
declare
        node nodes;
begin
        if not pg_try_advisory_xact_lock(1936418160, 6) then
                return false;
        end if;
        select * into node from nodes where holder = victim for update;
        if not found then
                return forget; -- somebody was faster
        end if;
        if not forget then
                if node.dead then
                        return true;
                elsif not any_beat and node.beat <> seen_beat then
                        return false;
                end if;
                insert into commits (holder, writer, n) values (h, w, num);
                update nodes set dead = true where holder = victim;
                return true;
        end if;
        if not node.dead or exists (select from commits c, held_by(victim, c.token, c.first_id,
                c.last_id, c.ids) where c.holder = victim and c.token is not null) then
                return false;
        end if;
        if h <> victim then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
        delete from commits where holder = victim;
        delete from cancels where holder = victim;
        delete from nodes where holder = victim;
        return true;
end $$;

-- --- operators ------------------------------------------------------------------------------------

-- state before (7: no such job), holder when it runs.
create function cancel(h bigint, w smallint, num bigint, what uuid, out was smallint, out holds bigint)
language plpgsql as $$
declare
        j jobs;
        now bigint := skep_now();
begin
        was := 7; holds := 0;
        select * into j from jobs where id = what for update;
        if not found then
                return;
        end if;
        was := j.state;
        if was = 2 then
                holds := j.holder;
        end if;
        if was in (4, 5, 6) or (was = 2 and j.cancel_asked) then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        if was = 2 then
                update jobs set cancel_asked = true where id = what;
                insert into cancels (holder, job) values (j.holder, what)
                on conflict (holder, job) do update set told = 0;
        else
                update jobs set state = 6, reason = 12, lane = null, due = null, parked_at = now,
                        finished = now where id = what;
                insert into deltas (queue, state, n) values (j.queue, was, -1), (j.queue, 6, 1);
        end if;
end $$;

create function requeue(h bigint, w smallint, num bigint, what uuid) returns smallint language plpgsql as $$
declare
        j jobs;
begin
        select * into j from jobs where id = what for update;
        if not found then
                return 7;
        elsif j.state in (1, 2, 4) then
                return j.state;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        j.seq := coalesce(j.seq, nextval('jobs_seq'));
        if j.state >= 5 then
                update jobs set state = 1, reason = 14, lane = lane_of(0, priority, j.seq), seq = j.seq,
                        parked_at = null, finished = 0, attempt = 0, strikes = 0, snoozes = 0,
                        cancel_asked = false, generation = generation + 1 where id = what;
        else
                update jobs set state = 1, reason = 14, lane = lane_of(0, priority, j.seq), seq = j.seq,
                        due = null where id = what;
        end if;
        insert into deltas (queue, state, n) values (j.queue, j.state, -1), (j.queue, 1, 1);
        return j.state;
end $$;

-- --- duties: each takes its lock, or finds nothing to do --------------------------------------------

create function due(h bigint, w smallint, num bigint, most int, out moved int, out next bigint)
language plpgsql as $$
declare
        now bigint := skep_now();
        locked boolean := pg_try_advisory_xact_lock(1936418160, 1);
begin
        moved := 0;
        if locked then
                with page as materialized (
                        select id, queue, state as was, coalesce(seq, nextval('jobs_seq')) as seq from (
                                select id, queue, state, seq from jobs where due <= now order by due
                                limit most for update skip locked) x),
                up as (
                        update jobs j set state = 1, reason = 0, due = null, seq = p.seq,
                                lane = lane_of(0, j.priority, p.seq)
                        from page p where j.id = p.id returning p.queue, p.was),
                counted as (
                        insert into deltas (queue, state, n)
                        select queue, s, sum(d) from (select queue, was as s, -1 as d from up
                                union all select queue, 1::smallint, 1 from up) x group by 1, 2)
                select count(*) into moved from up;
                if moved > 0 then
                        insert into commits (holder, writer, n) values (h, w, num);
                end if;
        end if;
        select greatest(j.due - now, case when locked then 0 else 100000 end) into next from jobs j
        where j.due is not null order by j.due limit 1;
        next := coalesce(next, -1);
end $$;

create function unpark(h bigint, w smallint, num bigint, most int, exact bytea[], wild text[]) returns int
language plpgsql as $$
declare
        q bytea := null;
        moved int := 0;
        many int;
begin
        if not pg_try_advisory_xact_lock(1936418160, 2) then
                return 0;
        end if;
        loop
                select queue into q from jobs where lane is not null and (q is null or queue > q)
                order by queue limit 1;
                exit when not found or moved >= most;
                with page as materialized (
                        select id from jobs where queue = q and lane >= 2::bigint << 61
                        and reason = 1 and served(type, exact, wild) order by lane limit most - moved
                        for update skip locked)
                update jobs j set reason = 0, lane = lane_of(0, j.priority, j.seq)
                from page p where j.id = p.id;
                get diagnostics many = row_count;
                moved := moved + many;
        end loop;
        if moved > 0 then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
        return moved;
end $$;

create function fold(h bigint, w smallint, num bigint) returns void language plpgsql as $$
begin
        if not pg_try_advisory_xact_lock(1936418160, 3) or not (exists (select from deltas)
                or exists (select from journal where at <= skep_now() - 3600000000)) then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        delete from journal where at <= skep_now() - 3600000000;
        with gone as (delete from deltas returning queue, state, n)
        insert into counters as c (queue, state, n)
        select queue, state, sum(n) from gone group by 1, 2
        on conflict (queue, state) do update set n = c.n + excluded.n;
end $$;

create function relay(h bigint, w smallint, num bigint, older bigint, most int) returns setof outbox
language plpgsql as $$
declare
        now bigint := skep_now();
begin
        if not pg_try_advisory_xact_lock(1936418160, 4) then
                return;
        end if;
        return query
                with page as materialized (select no from outbox where at <= now - older order by no
                        limit most for update skip locked)
                update outbox o set at = now from page p where o.no = p.no returning o.*;
        if found then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
end $$;

-- The band's lanes stand in the order of seq, and of age: the first that is too young ends the look.
create function tide(h bigint, w smallint, num bigint, q bytea, below bigint, older bigint, most int,
        out moved int, out more boolean, out waiting boolean, out last bigint) language plpgsql as $$
declare
        now bigint := skep_now();
        blo bigint := 1::bigint << 61;
        bhi bigint := 2::bigint << 61;
begin
        moved := 0;
        select case when s.is_called then s.last_value else 0 end into last from jobs_seq s;
        if below <= last then
                bhi := lane_of(1, 0, greatest(below, 0));
        end if;
        if most > 0 and pg_try_advisory_xact_lock(1936418160, 5) then
                with page as materialized (
                        select id, created from jobs where queue = q and lane >= blo and lane < bhi
                        order by lane limit most for update skip locked)
                update jobs j set lane = lane_of(0, j.priority, j.seq) from page p
                where j.id = p.id and p.created <= now - older;
                get diagnostics moved = row_count;
                if moved > 0 then
                        insert into commits (holder, writer, n) values (h, w, num);
                end if;
        end if;
        more := coalesce((select created <= now - older from jobs where queue = q and lane >= blo
                and lane < bhi order by lane limit 1), false);
        waiting := coalesce((select created <= now - older from jobs where queue = q and lane >= blo
                and lane < 2::bigint << 61 order by lane limit 1), false);
end $$;

-- --- reads ----------------------------------------------------------------------------------------

-- A state whose rows stand in an index of their own: few are sorted, many are found by walking the ids.
create function list(before uuid, st int, q bytea, t bytea, t_like text, tag bytea, since bigint, most int)
returns setof jobs language plpgsql stable as $$
declare
        few boolean := st in (0, 1, 3, 5, 6) and (select sum(n) from (
                select n from counters where state = st union all
                select n from deltas where state = st) x) <= 10000;
begin
        if not few or st in (2, 4) then
                return query select j.* from jobs j
                where (before is null or j.id < before) and (st < 0 or j.state + 0 = st)
                and (q is null or j.queue = q) and (t is null or j.type = t)
                and (t_like is null or encode(j.type, 'escape') ~ t_like)
                and (tag is null or position(tag in j.tags) > 0) and j.created >= since
                order by j.id desc limit most;
                return;
        end if;
        return query
                with c as materialized (
                        select j.* from jobs j where st = 1 and j.lane is not null
                        union all select j.* from jobs j where st in (0, 3) and j.due is not null
                        union all select j.* from jobs j where st in (5, 6) and j.parked_at is not null)
                select j.* from c j
                where (before is null or j.id < before) and j.state = st
                and (q is null or j.queue = q) and (t is null or j.type = t)
                and (t_like is null or encode(j.type, 'escape') ~ t_like)
                and (tag is null or position(tag in j.tags) > 0) and j.created >= since
                order by j.id desc limit most;
end $$;

create function stats(out queue bytea, out jobs bigint[], out parked bigint, out oldest bigint)
returns setof record language sql stable as $$
        with sums as (
                select queue, state, sum(n) as n from (select * from counters union all
                        select * from deltas) x group by 1, 2),
        queues as (
                select queue, array(select greatest(coalesce((select n from sums b
                        where b.queue = a.queue and b.state = s), 0), 0)::bigint
                        from generate_series(0, 6) s order by s) as jobs
                from (select distinct queue from sums) a)
        select q.queue, q.jobs, coalesce(p.n, 0), coalesce(o.oldest, 0)
        from queues q
        left join lateral (select count(*) as n, min(created) as first from jobs j
                where j.queue = q.queue and j.lane >= 2::bigint << 61 and q.jobs[2] > 0) p on true
        left join lateral (select min(x) as oldest from (
                select p.first as x union all
                select (select j.created from jobs j where j.queue = q.queue
                        and j.lane between lane_of(0, g, 0) and lane_of(0, g, -1) order by j.lane limit 1)
                from generate_series(0, 9) g where q.jobs[2] > 0 union all
                select (select j.created from jobs j where j.queue = q.queue
                        and j.lane between 1::bigint << 61 and (2::bigint << 61) - 1
                        order by j.lane limit 1) where q.jobs[2] > 0) y) o on true
        order by q.queue
$$;

-- --- producers ------------------------------------------------------------------------------------

-- A letter of an SQL producer, in the producer's own transaction. Returns its number. Nothing is
-- notified in here: a node looks with its next beat.
create function public.skep_enqueue(type text, payload bytea, queue text default null,
        key text default null, priority int default null, run_at timestamptz default null,
        content_type text default null, headers jsonb default null, max_attempts int default null)
returns bigint language plpgsql security definer set search_path = skep, pg_temp as $$
#variable_conflict use_variable
declare
        number bigint;
begin
        if type is null or octet_length(type) > 255
           or type !~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' then
                raise exception 'skep_enqueue: "%" is no type: tokens of letters, digits, _ and -, '
                        'divided by dots, 255 bytes at most', type using errcode = 'check_violation';
        elsif payload is null then
                raise exception 'skep_enqueue: the payload is null' using errcode = 'check_violation';
        elsif headers is not null and jsonb_typeof(headers) <> 'object' then
                raise exception 'skep_enqueue: the headers are no object'
                        using errcode = 'check_violation';
        end if;
        insert into inbox (type, payload, queue, key, content_type, headers, priority, max_attempts, at)
        values (convert_to(type, 'UTF8'), payload, convert_to(queue, 'UTF8'), convert_to(key, 'UTF8'),
                convert_to(content_type, 'UTF8'),
                (select string_agg(convert_to(lower(h.key), 'UTF8') || '\x00'::bytea
                        || convert_to(coalesce(h.value, ''), 'UTF8') || '\x00'::bytea, ''::bytea
                        order by h.key) from jsonb_each_text(headers) h),
                priority, max_attempts, (date_part('epoch', run_at) * 1000000)::bigint)
        returning no into number;
        return number;
end $$;

create function public.skep_enqueue(type text, payload jsonb, queue text default null,
        key text default null, priority int default null, run_at timestamptz default null,
        content_type text default null, headers jsonb default null, max_attempts int default null)
returns bigint language sql as $$
        select public.skep_enqueue(type, convert_to(payload::text, 'UTF8'), queue, key, priority, run_at,
                coalesce(content_type, 'application/json'), headers, max_attempts)
$$;
