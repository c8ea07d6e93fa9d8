-- What becomes of rows: doorbells, claims, verdicts, nodes, operators, duties, reads; and the producers'
-- door. A function that finds nothing to write does not write its batch's number either.

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
create function finish_set(vs verdict[], lo int, hi int, now bigint) returns int[] language plpgsql as $$
declare
        hits int[];
begin
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
        select coalesce(array_agg((lo + ordinality - 1)::int), '{}') into hits from hit;
        return hits;
end $$;

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

-- One that commits after a later one (its connection hung) gives out no cancel: nobody reads it.
create function beat(h bigint, num bigint, known bigint) returns void language plpgsql as $$
declare
        latest bigint;
begin
        update nodes set beat = beat + 1, beat_at = skep_now(), beat_no = greatest(beat_no, num)
        where holder = h and not dead returning beat_no into latest;
        if not found then
                perform alive(h);
        end if;
        if num >= latest then
                delete from cancels where holder = h and told between 1 and known;
                update cancels set told = num where holder = h and told = 0;
        end if;
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
create or replace function public.skep_enqueue(type text, payload bytea, queue text default null,
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

create or replace function public.skep_enqueue(type text, payload jsonb, queue text default null,
        key text default null, priority int default null, run_at timestamptz default null,
        content_type text default null, headers jsonb default null, max_attempts int default null)
returns bigint language sql as $$
        select public.skep_enqueue(type, convert_to(payload::text, 'UTF8'), queue, key, priority, run_at,
                coalesce(content_type, 'application/json'), headers, max_attempts)
$$;

-- The payload as it stands in most statements: a literal without a type, or text. Its bytes are kept as
-- they are, in UTF-8; the content type says JSON when it is that.
create or replace function public.skep_enqueue(type text, payload text, queue text default null,
        key text default null, priority int default null, run_at timestamptz default null,
        content_type text default null, headers jsonb default null, max_attempts int default null)
returns bigint language plpgsql as $$
begin
        if content_type is null then
                begin
                        perform payload::json;
                        content_type := 'application/json';
                exception when others then
                        content_type := 'text/plain; charset=utf-8';
                end;
        end if;
        return public.skep_enqueue(type, convert_to(payload, 'UTF8'), queue, key, priority, run_at,
                content_type, headers, max_attempts);
end $$;
