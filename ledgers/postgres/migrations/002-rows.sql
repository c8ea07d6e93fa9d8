-- How rows come in: SUBMIT, the children of a FINISH, letters. Each function is one call of the ledger,
-- one transaction in one round trip; what needs several steps and savepoints happens here, next to the
-- rows. Frozen once released, as all of these files are.

-- --- what all use ---------------------------------------------------------------------------------

create type new_row as (
        id uuid, key uuid, key_text bytea, queue bytea, type bytea, state smallint, reason smallint,
        band smallint, priority smallint, max_attempts int, timeout_ms bigint, at bigint, after bigint,
        deadline bigint, content_type bytea, headers bytea, payload bytea, tags bytea, error smallint,
        error_text bytea, inbox bigint, print bigint, redelivered boolean, more extra
);

create type verdict as (
        id uuid, claim int, token bigint, state smallint, reason smallint, error smallint, attempt int,
        snoozes int, strikes smallint, keep boolean, after bigint, started bigint, ended bigint,
        worker int, worker_pid int, error_text bytea, build bytea, result bytea, result_type bytea,
        fingerprint bigint, left_work boolean
);

-- The bound of a queue, on its pending, scheduled and retrying rows. dropping: the oldest makes room.
create type bound as (queue bytea, most int, dropping boolean);

-- What a writing function says, one thing a row. kind: 0 created (id, seq; queue if it waits for the
-- broker), 1 exists (ord, id, state), 2 conflict (ord, id, state), 3 unstorable (ord), 4 undone (ord),
-- 5 the request's key has another body (ord: of its first row), 6 outbox (seq: its number, queue),
-- 7 the fence held (ord), 8 the same, but its data was refused (ord), 9 ambiguous (ord), 10 its unique key
-- is held (ord, id, state), 11 the holder was changed (ord, id, state), 12 its queue is full (ord), 13 a
-- reply (ord, seq: its number).
create type said as (kind smallint, ord int, id uuid, state smallint, seq bigint, queue bytea);

-- lane_value() and lane_parked() of core/ledger.c.
create function lane_of(band int, priority int, seq bigint) returns bigint language sql immutable as
$$ select (band::bigint << 61) | (case when band = 1 then 0 else 9 - priority end::bigint << 57)
        | (seq & 144115188075855871) $$;
-- Offered rows that come in stand behind those of their priority that became pending again, in the order of
-- their numbers: heads (006) knows where the first of them is. Nothing but an insert, or a number just drawn,
-- may put a row there.
create function lane_fresh(priority int, seq bigint) returns bigint language sql immutable as
$$ select lane_of(0, priority, seq) | (1::bigint << 56) $$;
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

-- --- rows come in ---------------------------------------------------------------------------------

-- Inserts rows lo to hi but for those whose id or key is there. `taken`: letters of the inbox that are
-- ours. Running rows belong to this holder and token.
create function put_set(rows new_row[], lo int, hi int, taken bigint[], h bigint, tok bigint, now bigint)
returns setof said language plpgsql as $$
begin
        perform pg_current_xact_id(); -- before any number is drawn: heads_move()
        return query
        with src as materialized (
                select r.*, case when r.state = 1 then nextval('jobs_seq') end as seq
                from unnest(rows[lo:hi]) with ordinality r where r.inbox = 0 or r.inbox = any(taken)
                order by r.ordinality),
        ins as (
                insert into jobs (id, created, started, finished, deadline, lane, due, parked_at, seq,
                        token, holder, timeout_ms, claim, attempt, max_attempts, state, reason,
                        priority, key, queue, type, key_text, content_type, tags, headers, payload,
                        policy, retry_until, heartbeat_ms)
                select id, now, case when state = 2 then now else 0 end,
                        case when state in (5, 6) then now else 0 end, deadline,
                        case when state <> 1 then null when band = 2 then lane_parked(type, seq)
                                when band = 0 then lane_fresh(priority, seq) else lane_of(1, 0, seq) end,
                        case when state = 0 then case when after <> 0 then now + after else at end end,
                        case when state in (5, 6) then now end, seq,
                        case when state = 2 then tok else 0 end, case when state = 2 then h else 0 end,
                        timeout_ms, case when state = 2 then 1 else 0 end,
                        case when state = 2 then 1 else 0 end, max_attempts, state, reason, priority,
                        key, queue, type, key_text, content_type, tags, headers, payload,
                        (more).policy, (more).retry_until, (more).heartbeat_ms
                from src on conflict do nothing returning id, queue, state, seq, lane),
        why as (
                insert into attempts (job, claim, ended_job, attempt, generation, error, error_text,
                        holder, worker, worker_pid, started, ended)
                select id, 0, true, 0, 0, error, error_text, 0, 0, 0, 0, now from src
                where error <> 0 and id in (select id from ins) on conflict do nothing),
        counted as (
                insert into deltas (queue, state, n) select queue, state, count(*) from ins group by 1, 2)
        select 0::smallint, null::int, id, state, seq,
                case when lane >= 1::bigint << 61 and lane < 2::bigint << 61 then queue end from ins;
end $$;

-- Why rows lo to hi did not go in. (Those that did are told as well: they exist now.)
create function put_explain(rows new_row[], lo int, hi int, taken bigint[])
returns setof said language plpgsql as $$
begin
        return query
        select case when not (r.inbox = 0 or r.inbox = any(taken)) then 4
                    when a.id is not null then 1
                    when b.id is null then null
                    when b.reason = 7 then 1
                    when b.came_with is not null then case when b.came_with = half_hash(r.payload) then 1 else 2 end
                    when b.payload = r.payload then 1 else 2 end::smallint,
                (lo + r.ordinality - 1)::int, coalesce(a.id, b.id), coalesce(a.state, b.state),
                null::bigint, null::bytea
        from unnest(rows[lo:hi]) with ordinality r
        left join lateral (select id, state from jobs where id = r.id) a on true
        left join lateral (select id, state, reason, payload, came_with from jobs
                where a.id is null and queue = r.queue and key = r.key) b on true
        order by r.ordinality;
end $$;

-- The row is remembered without anything that its producer wrote, so that nobody looks for it in vain.
create function put_unstorable(r new_row, taken bigint[], h bigint, tok bigint, now bigint)
returns void language plpgsql as $$
begin
        r.state := 5; r.reason := 7; r.type := ''; r.key_text := null; r.content_type := null;
        r.headers := null; r.payload := ''; r.tags := null; r.error := 0; r.more := null;
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
-- rkey: the request's key, and its hash. bounds: as put_slow has it; null: none of its rows needs that.
create function put_unit(rows new_row[], lo int, hi int, atomic boolean, bury boolean, rkey uuid, rhash uuid,
        taken bigint[], h bigint, now bigint, careful boolean, bounds bound[]) returns said[]
language plpgsql as $$
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
                        return array(select (1, lo + i.ordinality - 1, i.id, coalesce(j.state, 7), null, null)::said
                                from unnest(seen.ids) with ordinality i (id)
                                left join jobs j on j.id = i.id order by i.ordinality);
                end if;
        end if;
        if rkey is null and not atomic then
                if bounds is not null then
                        return put_slow(rows, lo, hi, taken, h, 0, now, bury, careful, bounds);
                end if;
                return put_rows(rows, lo, hi, taken, h, 0, now, bury, careful);
        end if;
        begin
                if bounds is not null then
                        out := put_slow(rows, lo, hi, taken, h, 0, now, bury, true, bounds);
                else
                        out := put_rows(rows, lo, hi, taken, h, 0, now, bury, true);
                end if;
                select min(ord) into bad from unnest(out) where kind = 12 or atomic and kind in (2, 3, 4);
                if bad is not null then
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
                left join (select ord, id from unnest(out) where kind in (1, 2, 10, 11)) o
                        on o.ord = lo + r.ordinality - 1
                on conflict (kind, hash) do update set request_hash = excluded.request_hash,
                        ids = excluded.ids, until = excluded.until where k.until <= now;
                if not found then
                        raise exception 'the same request came twice at once' using errcode = '40001';
                end if;
        end if;
        return out;
end $$;

-- As put_unit(), of a unit that happened before: what would be created was there and is gone. Nothing of
-- it stays.
create function look_back(rows new_row[], lo int, hi int, atomic boolean, bury boolean, rkey uuid,
        rhash uuid, taken bigint[], h bigint, now bigint, bounds bound[]) returns said[]
language plpgsql as $$
declare
        out said[];
begin
        begin
                out := put_unit(rows, lo, hi, atomic, bury, rkey, rhash, taken, h, now, true, bounds);
                raise exception 'undone' using errcode = 'SK003';
        exception when sqlstate 'SK003' then
                return array(select o from unnest(out) o where kind not in (0, 1)
                                or kind = 1 and id not in (select id from unnest(out) where kind = 0))
                    || array(select (1, r.no, o.id, 7, null, null)::said from unnest(out) o
                             join (select lo + ordinality::int - 1 as no, id
                                   from unnest(rows[lo:hi]) with ordinality) r on r.id = o.id
                             where o.kind = 0);
        end;
end $$;

-- One outbox row for each queue with rows that wait for the broker.
create function put_outbox(told said[], now bigint) returns setof said language plpgsql as $$
begin
        return query
        with box as (
                insert into outbox (at, queue, ids, seqs)
                select now, queue, array_agg(id order by seq), array_agg(seq order by seq)
                from unnest(told) where kind = 0 and queue is not null group by queue
                returning no, queue)
        select 6::smallint, null::int, null::uuid, null::smallint, no, queue from box;
end $$;

-- SUBMIT, and the children of a FINISH. Units one after the other: first and last row, and as put_unit
-- has it. Those whose `use` is false are left out; null: all are used. happened: the first rows of units
-- that happened before.
create function put_units(rows new_row[], firsts int[], lasts int[], atomics boolean[], burys boolean[],
        rkeys uuid[], rhashes uuid[], use boolean[], h bigint, careful boolean, bounds bound[],
        happened int[] default null)
returns setof said language plpgsql as $$
declare
        now bigint := skep_now();
        taken bigint[] := '{}';
        kept bigint[] := '{}';
        out said[];
        boxed said[] := '{}';
        seen said[] := '{}';
begin
        if bounds is not null then
                perform slow_begin(rows, bounds);
        end if;
        -- Another node that read the same letters waits here, and finds them gone.
        if exists (select from unnest(rows) where inbox <> 0) then
                select coalesce(array_agg(no), '{}') into taken from (
                        select no from inbox where no = any(array(
                                select inbox from unnest(rows) where inbox <> 0))
                        order by no for update) x;
        end if;
        for i in 1 .. coalesce(cardinality(firsts), 0) loop
                continue when not coalesce(use[i], true);
                if firsts[i] = any(happened) then
                        out := look_back(rows, firsts[i], lasts[i], atomics[i], burys[i], rkeys[i],
                                rhashes[i], taken, h, now, bounds);
                else
                        out := put_unit(rows, firsts[i], lasts[i], atomics[i], burys[i], rkeys[i],
                                rhashes[i], taken, h, now, careful, bounds);
                end if;
                return query select * from unnest(out);
                if exists (select from unnest(out) where kind = 0 and queue is not null) then
                        boxed := boxed || out;
                end if;
                if cardinality(taken) > 0 then -- a letter under another's key, or of a full queue, stays
                        kept := kept || array(select rows[o.ord].inbox from unnest(out) o
                                where o.kind in (2, 12));
                end if;
                if bounds is not null then
                        seen := seen || out;
                end if;
        end loop;
        delete from inbox where no = any(taken) and no <> all(kept);
        if bounds is not null then
                perform slow_end(rows, seen, now);
        end if;
        if cardinality(boxed) > 0 then
                return query select * from put_outbox(boxed, now);
        end if;
end $$;

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
-- drop_above: the queue's bound, when its oldest make room; 0: none.
create function arrive_letters(h bigint, w smallint, num bigint, q bytea, tok bigint, rows new_row[],
        drop_above int) returns setof said language plpgsql set enable_hashjoin = on as $$
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
        unstorable int[] := '{}';
        slow boolean := exists (select from unnest(rows) x where (x.more).hash is not null)
                or exists (select from old_keys);
begin
        if slow or drop_above > 0 then
                perform slow_begin(rows, case when drop_above > 0 then array[(q, 0, true)::bound]
                        else '{}' end);
        end if;
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
                return query select 1::smallint, x.ord, x.job, coalesce(j.state, 7::smallint), null::bigint,
                                null::bytea
                        from unnest(taken) x left join jobs j on j.id = x.job;
        end if;
        return query select distinct 9::smallint, x.ord, null::uuid, null::smallint, null::bigint,
                null::bytea from unnest(hits) x where x.many > 1;
        select array_agg(x.row order by x.ord), array_agg(x.ord order by x.ord) into rest, ords from (
                select rows[o] as row, o as ord from generate_subscripts(rows, 1) o
                where o not in (select t.ord from unnest(taken) t)) x;
        if rest is not null then
                if slow then
                        told := put_slow(rest, 1, cardinality(rest), '{}', h, tok, now, true, true, '{}');
                else
                        told := put_rows(rest, 1, cardinality(rest), '{}', h, tok, now, true, true);
                end if;
                for at, other in select o.ord, o.id from unnest(told) o where o.kind in (10, 11) loop
                        r := rest[at];
                        r.state := 6; r.reason := 16; r.error := 14;
                        r.error_text := convert_to(format('its unique key is held by job %s', other), 'UTF8');
                        if 3 = (select p.kind from unnest(put_rows(array[r], 1, 1, '{}', h, tok, now, true,
                                        true)) p limit 1) then
                                unstorable := unstorable || at;
                        end if;
                end loop;
                return query select case when o.ord = any(unstorable) then 3::smallint else o.kind end,
                        ords[o.ord], o.id, o.state, o.seq, o.queue from unnest(told) o;
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
                        or x.ordinality in (select o.ord from unnest(told) o where o.kind in (2, 3, 10, 11)));
        end if;
        if slow then
                perform slow_end(rows, told, now);
        end if;
        if cardinality(prints) + cardinality(taken) > 0 then
                insert into journal (holder, writer, n, at, queue, prints, jobs)
                values (h, w, num, now, q,
                        prints || array(select rows[x.ord].print from unnest(taken) x order by x.ord),
                        ours || array(select x.job from unnest(taken) x order by x.ord));
        end if;
        if drop_above > 0 then
                perform drop_oldest(q, drop_above, count(*), (array_agg(x.id order by x.ordinality desc))[1], now)
                from unnest(rest) with ordinality x where x.state in (0, 1)
                and x.id in (select o.id from unnest(told) o where o.kind = 0);
        end if;
end $$;
