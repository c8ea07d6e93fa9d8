-- Duties: each takes its lock, or finds nothing to do. A function that finds nothing to write does not
-- write its batch's number either. Frozen once released, as all of these files are.

create function due(h bigint, w smallint, num bigint, most int, out moved int, out next bigint)
language plpgsql as $$
declare
        now bigint := skep_now();
        locked boolean := pg_try_advisory_xact_lock(1936418160, 1);
begin
        moved := 0;
        if locked then
                with page as materialized (
                        select id, queue, state as was, due, seq as old,
                                coalesce(seq, nextval('jobs_seq')) as seq from (
                                select id, queue, state, seq, due from jobs where due <= now order by due
                                limit most for update skip locked) x),
                up as (
                        update jobs j set state = 1, reason = 0, due = null, was_due = p.due, seq = p.seq,
                                lane = case when p.old is null then lane_fresh(j.priority, p.seq)
                                        else lane_of(0, j.priority, p.seq) end
                        from page p where j.id between p.id and p.id returning p.queue, p.was),
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
        q bytea;
        moved int := 0;
        many int;
begin
        if not pg_try_advisory_xact_lock(1936418160, 2) then
                return 0;
        end if;
        for q in select distinct queue from (select queue, state from counters
                        union all select queue, state from deltas) x where state = 1 order by 1 loop
                exit when moved >= most;
                with page as materialized (
                        select id from jobs where queue = q and lane >= 2::bigint << 61
                        and reason = 1 and (type in (select unnest(exact))
                                or (cardinality(wild) > 0 and encode(type, 'escape') ~ any(wild)))
                        order by lane limit most - moved
                        for update skip locked)
                update jobs j set reason = 0, lane = lane_of(0, j.priority, j.seq)
                from page p where j.id between p.id and p.id;
                get diagnostics many = row_count;
                moved := moved + many;
        end loop;
        if moved > 0 then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
        return moved;
end $$;

-- The first pending row of a queue and priority in its fresh lanes, from `above` on; not beyond the number `drawn`.
create function head_of(q bytea, g int, above bigint, drawn bigint) returns bigint language sql stable as $$
        select least(lane_fresh(g, drawn + 1), (select j.lane from jobs j where j.queue = q
                and j.lane between above and lane_fresh(g, -1) order by j.lane limit 1))
$$;

-- Moves the heads of these queues on. A row that is pending no more leaves its entry in the index until that
-- is vacuumed: claims that begin at the first would wade through all of them (measured: 6 ms each after two
-- million jobs).
-- A head is right when no row below it is pending or will be. What nobody sees as pending below `next` may
-- still come from a transaction that was under way: rows of its own, or the end of a claim that is taken
-- back. Transactions have their xid before they draw a number; so with numbers drawn before this one began
-- (`drawn`, written by the one before), all those have a smaller xid, and when they are over next is right.
-- An xid that is yet to come is another server's, from which the rows were copied: begun anew.
-- Each time some lanes below the head are looked at as well: a row there, whatever went wrong, brings it back.
create function heads_move(queues bytea[]) returns void language plpgsql as $$
declare
        mine xid8 := pg_current_xact_id();
        span bigint := 100000; -- of numbers, looked at below the head
        last bigint;
begin
        select case when s.is_called then s.last_value else 0 end into last from jobs_seq s;
        update heads d set lane = least(case when x.over then d.next else d.lane end, x.seen, x.left_behind),
                next = case when x.copied then d.lane when x.over then x.seen else least(d.next, x.seen) end,
                xid = case when x.over or x.copied then mine else d.xid end,
                drawn = case when x.over or x.copied then last else d.drawn end,
                looked = case when lane_fresh(d.priority, d.looked + span) < d.lane then d.looked + span else 0 end
        from (select y.*, y.xid <= pg_snapshot_xmin(pg_current_snapshot()) as over, y.xid > mine as copied,
                        head_of(y.queue, y.priority, y.lane, y.drawn) as seen,
                        (select j.lane from jobs j where j.queue = y.queue
                                and j.lane between lane_fresh(y.priority, y.looked)
                                        and least(lane_fresh(y.priority, y.looked + span), y.lane) - 1
                                order by j.lane limit 1) as left_behind
                from heads y where queue = any(queues) offset 0) x -- offset: each look once
        where d.queue = x.queue and d.priority = x.priority and (x.copied or x.left_behind is not null
                or (x.over and (d.next > d.lane or x.seen > d.next + 500 or last > d.drawn + 500)));
end $$;

create function fold(h bigint, w smallint, num bigint) returns void language plpgsql as $$
declare
        active bytea[];
begin
        if not pg_try_advisory_xact_lock(1936418160, 3) or not (exists (select from deltas)
                or exists (select from journal where at <= skep_now() - 3600000000)) then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        delete from journal where at <= skep_now() - 3600000000;
        with gone as (delete from deltas returning queue, state, n),
        folded as (
                insert into counters as c (queue, state, n)
                select queue, state, sum(n) from gone group by 1, 2
                on conflict (queue, state) do update set n = c.n + excluded.n)
        select array_agg(distinct queue) filter (where state = 1) into active from gone;
        perform heads_move(active);
end $$;

-- Doorbells come with ids, replies without.
create type relayed as (no bigint, queue bytea, ids uuid[], seqs bigint[], dest bytea, correlation bytea,
        content_type bytea, body bytea, job uuid, state smallint, reason smallint, error_text bytea, headers bytea);

create function relay(h bigint, w smallint, num bigint, older bigint, most int, owed_only boolean)
returns setof relayed
language plpgsql as $$
declare
        now bigint := skep_now();
        rung bigint;
begin
        if not pg_try_advisory_xact_lock(1936418160, 4) then
                return;
        end if;
        return query
                with page as materialized (select no from outbox where at <= now - older and not owed_only order by no
                        limit most for update skip locked)
                update outbox o set at = now from page p where o.no = p.no
                returning o.no, o.queue, o.ids, o.seqs, null::bytea, null::bytea, null::bytea, null::bytea,
                        null::uuid, null::smallint, null::smallint, null::bytea, null::bytea;
        get diagnostics rung = row_count;
        return query
                with page as materialized (select no from replies where at <= now - older
                        and (not owed_only or dest = '') order by at, no
                        limit most for update skip locked)
                update replies r set at = now from page p where r.no = p.no
                returning r.no, r.queue, null::uuid[], null::bigint[], r.dest, r.correlation,
                        r.content_type, r.body, r.job, r.state, r.reason, r.error_text, r.headers;
        if found or rung > 0 then
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
                where j.id between p.id and p.id and p.created <= now - older;
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

-- --- what may go ----------------------------------------------------------------------------------

-- Of these jobs those that have ended, are of that generation still, and are not at work elsewhere: their
-- rows go, and all that hangs on them. A young key is remembered for a week from its job's creation.
create function drop_jobs(candidates uuid[], generations int[], now bigint) returns int language plpgsql as $$
declare
        gone uuid[];
        week bigint := 604800000000;
begin
        gone := array(select j.id from unnest(candidates, generations) c (id, generation)
                join jobs j on j.id between c.id and c.id where j.generation = c.generation and j.state >= 4
                order by j.id for update of j skip locked);
        if gone = '{}' then
                return 0;
        end if;
        insert into old_keys as k (key, queue, job, payload, until)
        select j.key, j.queue, j.id, case when j.reason <> 7 then coalesce(j.came_with, half_hash(j.payload)) end,
                j.created + week
        from jobs j where j.id = any(gone) and j.key is not null and j.created > now - week
        on conflict (key, queue) do update set job = excluded.job, payload = excluded.payload,
                until = excluded.until;
        insert into deltas (queue, state, n)
        select queue, state, -count(*) from jobs where id = any(gone) group by 1, 2;
        delete from attempts where job = any(gone);
        delete from saves where job = any(gone);
        delete from keys where kind = 2 and job = any(gone) and until <= now;
        delete from jobs where id = any(gone);
        return cardinality(gone);
end $$;

-- Names whose time is over. A unique key whose period is over goes with its job.
create function tidy_keys(now bigint, most int) returns void language plpgsql as $$
begin
        with page as materialized (
                select kind, hash, job from keys where until > 0 and until <= now order by until
                limit most for update skip locked),
        kept as (
                update keys k set until = 0 from page p
                where (k.kind, k.hash) between (p.kind, p.hash) and (p.kind, p.hash) and p.kind = 2
                and exists (select from jobs j where j.id between p.job and p.job) returning k.hash)
        delete from keys k using page p where (k.kind, k.hash) between (p.kind, p.hash) and (p.kind, p.hash)
        and not (p.kind = 2 and exists (select from jobs j where j.id between p.job and p.job));
        with page as materialized (
                select key, queue from old_keys where until <= now order by until limit most
                for update skip locked)
        delete from old_keys k using page p where k.key between p.key and p.key and k.queue = p.queue;
end $$;

-- One page of the walk. Rules one after the other, the first that fits decides; an empty queue is every.
create function prune(h bigint, w smallint, num bigint, queues bytea[], states smallint[], keeps bigint[],
        after uuid, most int, out pruned int, out last uuid, out done boolean, out ended boolean)
language plpgsql as $$
declare
        now bigint := skep_now();
        horizon bigint;
        seen record;
begin
        pruned := 0; last := after; ended := false;
        insert into duties as d (name, holder, until) values ('prune', h, now + 60000000)
        on conflict (name) do update set holder = h, until = excluded.until
        where d.holder = h or d.until <= now;
        done := found;
        if not done then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        perform tidy_keys(now, most);
        select now - min(k) into horizon from unnest(keeps) k where k >= 0;
        with page as materialized (
                select j.id, j.generation, j.queue, j.state, j.created, j.finished from jobs j
                where j.id > coalesce(after, '00000000-0000-0000-0000-000000000000') order by j.id limit most),
        judged as (
                select p.*, case when p.state >= 4 then (
                        select keep from unnest(queues, states, keeps) with ordinality u (queue, state, keep, no)
                        where (u.queue = '' or u.queue = p.queue) and u.state = p.state
                        order by u.no limit 1) end as keep
                from page p)
        select count(*) as n, (array_agg(id order by id desc))[1] as last,
                coalesce(bool_or(created > horizon), false) as young,
                array_agg(id) filter (where keep >= 0 and finished <= now - keep) as ids,
                array_agg(generation) filter (where keep >= 0 and finished <= now - keep) as generations
        into seen from judged;
        last := coalesce(seen.last, after);
        ended := seen.n < most or seen.young or horizon is null;
        if seen.ids is not null then
                pruned := drop_jobs(seen.ids, seen.generations, now);
        end if;
        if ended then
                update duties set until = 0 where name = 'prune';
        end if;
end $$;
