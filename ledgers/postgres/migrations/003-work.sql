-- What becomes of rows: doorbells, claims, verdicts; and nodes. A function that finds nothing to write does
-- not write its batch's number either.

-- What a claim hands over. no: its place in the order asked for; null in the last row, which tells
-- counts instead. work: the checkpoint of an earlier attempt; empty: it told its progress alone.
create type handed as (
        no int, id uuid, queue bytea, type bytea, content_type bytea, headers bytea, payload bytea,
        created bigint, deadline bigint, token bigint, timeout_ms bigint, claim int, generation int,
        attempt int, max_attempts int, snoozes int, strikes smallint, priority smallint,
        cancel_asked boolean, policy bytea, retry_until bigint, heartbeat_ms bigint, late bigint,
        work bytea
);

create function work_of(what uuid) returns bytea language sql stable as
$$ select coalesce(checkpoint, '') from saves where job = what $$;

-- Doorbells: those to start are claimed, the others offered. attempt of the last row: how many expired;
-- its cancel_asked is not used. Offered and expired ids come as rows without a type.
create function arrive_bells(h bigint, q bytea, tok bigint, starts uuid[], offers uuid[])
returns setof handed language plpgsql as $$
declare
        now bigint := skep_now();
        many bigint;
begin
        -- Each by its id. Conditions that another index could serve would draw the planner, as long as it has no
        -- statistics, to walk along the whole queue for every doorbell (measured: 5 million rows for 54).
        with late as (
                update jobs j set state = 5, reason = 6, lane = null, parked_at = now, finished = now
                from unnest(starts || offers) i (id)
                where j.id between i.id and i.id and (j.queue, j.state, j.lane >> 61) is not distinct from (q, 1, 1)
                and j.deadline <> 0 and j.deadline <= now returning j.id)
        select count(*) into many from late;
        if many > 0 then
                insert into deltas (queue, state, n) values (q, 1, -many), (q, 5, many);
        end if;
        return query
                update jobs j set state = 2, reason = 0, lane = null, claim = j.claim + 1,
                        attempt = j.attempt + 1, token = tok, holder = h, started = now
                from unnest(starts) with ordinality i (id, no)
                where j.id between i.id and i.id and (j.queue, j.state, j.lane >> 61) is not distinct from (q, 1, 1)
                returning i.no::int, j.id, j.queue, j.type, j.content_type, j.headers, j.payload, j.created,
                        j.deadline, j.token, j.timeout_ms, j.claim, j.generation, j.attempt, j.max_attempts,
                        j.snoozes, j.strikes, j.priority, j.cancel_asked, j.policy, j.retry_until,
                        j.heartbeat_ms, j.started - j.was_due, case when j.claim > 1 then work_of(j.id) end;
        get diagnostics many = row_count;
        if many > 0 then
                insert into deltas (queue, state, n) values (q, 1, -many), (q, 2, many);
        end if;
        return query
                update jobs j set lane = lane_of(0, j.priority, j.seq)
                from unnest(offers) with ordinality i (id, no)
                where j.id between i.id and i.id and (j.queue, j.state, j.lane >> 61) is not distinct from (q, 1, 1)
                returning i.no::int, j.id, null::bytea, null::bytea, null::bytea, null::bytea, null::bytea,
                        0::bigint, 0::bigint, 0::bigint, 0::bigint, 0, 0, 0, 0, 0, 0::smallint,
                        0::smallint, false, null::bytea, 0::bigint, 0::bigint, 0::bigint, null::bytea;
end $$;

-- A claim's commit without a job under its token keeps nothing.
create function arrive_end(h bigint, w smallint, num bigint, tok bigint) returns void language sql as $$
        update commits c set token = null, first_id = null, last_id = null, ids = null
        where c.holder = h and c.writer = w and c.n = num and c.token is not null
        and not exists (select from jobs j where j.id between c.first_id and c.last_id and j.token = tok)
        and not exists (select from jobs j where j.id = any(c.ids) and j.token = tok)
$$;

-- --- claims ---------------------------------------------------------------------------------------

-- Where a claim may find offered rows: all their lanes but those below the heads. headed: what these lanes
-- begin with, the fresh ones and the others of a priority that has a head.
create function ranges_of(q bytea, out los bigint[], out his bigint[], out headed bigint[]) language plpgsql
stable as $$ -- not sql: such a function is planned at each call
begin
        select 0::bigint || coalesce(array_agg(lane order by lane), '{}'),
                coalesce(array_agg((lane >> 56 << 56) - 1 order by lane), '{}') || (1::bigint << 61) - 1,
                coalesce(array_agg(lane >> 56) || array_agg((lane >> 56) - 1), '{}')
        into los, his, headed from heads where queue = q;
end $$;

create function any_offered(q bytea, above bigint, los bigint[], his bigint[]) returns boolean
language plpgsql stable as $$
begin
        return exists (select from unnest(los, his) r (lo, hi), lateral (select from jobs
                where queue = q and lane between greatest(r.lo, above) and r.hi limit 1) x);
end $$;

-- A claim's first row and last: the fresh lanes of their priorities have a head from now on.
-- Nobody waits for who makes it just now.
create function heads_for(q bytea, lanes bigint[]) returns void language sql as $$
        insert into heads (queue, priority, lane, next)
        select distinct q, 9 - (x >> 57), x >> 56 << 56, x >> 56 << 56 from unnest(lanes) x
        where (x >> 56) & 1 = 1 and pg_try_advisory_xact_lock(1936418160, 7)
        on conflict do nothing
$$;

-- The first lane that is taken, of each priority those that became pending again and those that came in.
create function offered_first(q bytea) returns setof bigint language sql stable as $$
        select x.lane from generate_series(0, 9) g,
        lateral (values (lane_of(0, g, 0), lane_fresh(g, 0) - 1),
                (coalesce((select lane from heads where queue = q and priority = g), lane_fresh(g, 0)),
                        lane_fresh(g, -1))) r (lo, hi),
        lateral (select lane from jobs where queue = q and lane between r.lo and r.hi order by lane limit 1) x
$$;

-- The last row, without an id: claim parked, attempt expired, cancel_asked whether there is more.
create function claim(h bigint, w smallint, num bigint, q bytea, tok bigint, want int, max_bytes bigint,
        exact bytea[], wild text[]) returns setof handed language plpgsql as $$
declare -- IN and a subquery: a table of all names is made once for all rows
        now bigint := skep_now();
        above bigint := 0;
        los bigint[];
        his bigint[];
        headed bigint[];
        bytes bigint := 0;
        ids uuid[] := '{}';
        parked int := 0;
        expired int := 0;
        more boolean := false;
        page int;
        seen record;
begin
        select r.los, r.his, r.headed into los, his, headed from ranges_of(q) r;
        loop
                page := want - cardinality(ids);
                with head as materialized (
                        select x.* from unnest(los, his) r (lo, hi), lateral (
                                select id, lane, type, deadline, octet_length(payload) as size from jobs
                                where queue = q and lane between greatest(r.lo, above) and r.hi
                                order by lane limit page for update skip locked) x
                        limit page),
                judged as (
                        select *, deadline <> 0 and deadline <= now as late, type in (select unnest(exact))
                                or (cardinality(wild) > 0 and encode(type, 'escape') ~ any(wild)) as can
                        from head),
                summed as (
                        select *, sum(case when can and not late then size else 0 end) over w
                                as sum, count(*) filter (where can and not late) over w as nth
                        from judged window w as (order by lane))
                select count(*) as n, min(lane) as first, max(lane) as last,
                        array_agg(id order by lane) filter (where can and not late
                                and (bytes + sum <= max_bytes or (nth = 1 and ids = '{}'))) as take,
                        array_agg(id order by id) filter (where late) as late,
                        array_agg(id order by id) filter (where not can and not late) as odd,
                        count(*) filter (where can and not late) as can,
                        coalesce(sum(size) filter (where can and not late), 0) as bytes
                into seen from summed;
                exit when seen.n = 0;
                if seen.first >> 56 <> all(headed) or seen.last >> 56 <> all(headed) then
                        perform heads_for(q, array[seen.first, seen.last]);
                end if;
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
                above := seen.last + 1;
                if cardinality(ids) >= want or parked + expired >= 4096 then
                        more := any_offered(q, above, los, his);
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
                        from unnest(ids) with ordinality i (id, no) where j.id between i.id and i.id
                        returning i.no::int, j.id, j.queue, j.type, j.content_type, j.headers, j.payload,
                                j.created, j.deadline, j.token, j.timeout_ms, j.claim, j.generation, j.attempt,
                                j.max_attempts, j.snoozes, j.strikes, j.priority, j.cancel_asked, j.policy,
                                j.retry_until, j.heartbeat_ms, j.started - j.was_due,
                                case when j.claim > 1 then work_of(j.id) end;
        end if;
        return next (null, null, null, null, null, null, null, 0, 0, 0, 0, parked, 0, expired, 0, 0, 0, 0,
                more, null, 0, 0, 0, null)::handed;
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

-- Completions of first or equal tries that left nothing but their times. Nothing is handed back: SK006,
-- a fence did not hold; it must be found out whose. counts: of each queue, which may be named several times.
create function finish_plain(ids uuid[], tokens bigint[], starts bigint[], ends bigint[], which int,
        tries int, snoozed int, struck int, queues bytea[], counts bigint[])
returns void language plpgsql as $$
declare
        now bigint := skep_now();
        hits bigint;
begin
        update jobs j set state = 4, reason = 0, attempt = tries, snoozes = snoozed, strikes = struck,
                started = coalesce(nullif(v.started, 0), j.started),
                finished = coalesce(nullif(v.ended, 0), now)
        from unnest(ids, tokens, starts, ends) v (id, token, started, ended)
        where j.id between v.id and v.id and j.claim = which and j.token = v.token and j.state + 0 = 2;
        get diagnostics hits = row_count;
        if hits <> cardinality(ids) then
                raise exception 'the fence of a verdict did not hold' using errcode = 'SK006';
        end if;
        insert into deltas (queue, state, n)
        select q.queue, s, d * q.n
        from (select u.queue, sum(u.n)::bigint as n from unnest(queues, counts) u (queue, n) group by 1) q
        cross join (values (2::smallint, -1), (4::smallint, 1)) x (s, d);
end $$;

-- Verdicts lo to hi of any kind. What the fence held of: their places.
create function finish_set(vs verdict[], lo int, hi int, now bigint) returns int[] language plpgsql as $$
declare
        hits int[];
begin
        with v as materialized (
                select r.*, case when r.state = 1 then nextval('jobs_seq') end as fresh
                from unnest(vs[lo:hi]) with ordinality r order by r.ordinality),
        hit as (
                update jobs j set state = v.state, attempt = v.attempt,
                        reason = case when v.reason = 12 and j.reason = 19 then 19 else v.reason end,
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
                from v where j.id between v.id and v.id and j.claim = v.claim and j.token = v.token and j.state + 0 = 2
                returning v.ordinality, j.id, j.queue, j.generation, j.holder, v.claim, v.state, v.keep,
                        v.attempt, v.error, v.error_text, v.build, v.worker, v.worker_pid, v.started,
                        v.ended, v.fingerprint),
        tried as (
                insert into attempts (job, claim, ended_job, attempt, generation, error, error_text, build,
                        holder, worker, worker_pid, started, ended, fingerprint)
                select id, claim, not keep, attempt, generation, error, error_text, build, holder, worker,
                        worker_pid, started, coalesce(nullif(ended, 0), now), nullif(fingerprint, 0)
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
        v.fingerprint := 0;
        return array(select -lo from unnest(finish_set(array[v], 1, 1, now)));
end $$;

-- ord: of its verdict.
create type reply as (ord int, queue bytea, dest bytea, correlation bytea, content_type bytea, body bytea,
        state smallint, reason smallint, error_text bytea);

-- One whose verdict was refused says so.
create function finish_replies(vs verdict[], hits int[], answers reply[], now bigint) returns setof said
language sql as $$
        with x as (
                select r.*, (vs[r.ord]).id as job, -r.ord = any(hits) as bad from unnest(answers) r
                where r.ord = any(hits) or -r.ord = any(hits)),
        ins as (
                insert into replies (at, queue, dest, correlation, content_type, body, job, state, reason,
                        error_text)
                select now, queue, dest, correlation, case when not bad then content_type end,
                        case when not bad then body end, job, case when bad then 5 else state end,
                        case when bad then 7 else reason end, case when not bad then error_text end
                from x returning no, job)
        select 13::smallint, x.ord, null::uuid, null::smallint, ins.no, null::bytea
        from ins join x on x.job = ins.job
$$;

-- Children (units as in put_units, of the verdict `parents[i]`) come with a completion whose fence held.
-- Their unique keys are locked before any job, as they are by SUBMIT.
create function finish(h bigint, vs verdict[], rows new_row[], firsts int[], lasts int[],
        atomics boolean[], burys boolean[], rkeys uuid[], rhashes uuid[], parents int[], careful boolean,
        slow boolean, answers reply[]) returns setof said language plpgsql as $$
declare
        now bigint := skep_now();
        hits int[];
begin
        if slow then
                perform slow_begin(rows, '{}');
        end if;
        if careful then
                hits := finish_halves(vs, 1, cardinality(vs), now);
        else
                hits := finish_set(vs, 1, cardinality(vs), now);
        end if;
        return query select case when i > 0 then 7 else 8 end::smallint, abs(i), null::uuid,
                null::smallint, null::bigint, null::bytea from unnest(hits) i;
        if exists (select from unnest(vs) v where v.left_work) then
                delete from saves where job = any(array(select v.id from unnest(vs) with ordinality v
                        where v.left_work and v.state = 4 and v.ordinality = any(hits)));
        end if;
        if cardinality(answers) > 0 then
                return query select * from finish_replies(vs, hits, answers, now);
        end if;
        if cardinality(firsts) > 0 then
                return query select * from put_units(rows, firsts, lasts, atomics, burys, rkeys, rhashes,
                        array(select p = any(hits) and vs[p].state = 4
                              from unnest(parents) with ordinality p (p) order by p.ordinality),
                        h, careful, case when slow then '{}'::bound[] end);
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
        delete from node_tells where holder = victim;
        delete from nodes where holder = victim;
        return true;
end $$;
