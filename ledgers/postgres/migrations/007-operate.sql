-- What operators and schedules do. Frozen once released, as all of these files are.

-- --- one job --------------------------------------------------------------------------------------

-- state before (7: no such job), holder when it runs, whether anything was written.
create function cancel_one(what uuid, why int, now bigint, out was smallint, out holds bigint,
        out wrote boolean) language plpgsql as $$
declare
        j jobs;
begin
        was := 7; holds := 0; wrote := false;
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
        wrote := true;
        if was = 2 then
                update jobs set cancel_asked = true, reason = case when why = 19 then 19 else 0 end where id = what;
                insert into cancels (holder, job) values (j.holder, what)
                on conflict (holder, job) do update set told = 0;
        else
                update jobs set state = 6, reason = why, lane = null, due = null, parked_at = now,
                        finished = now where id = what;
                insert into deltas (queue, state, n) values (j.queue, was, -1), (j.queue, 6, 1);
        end if;
end $$;

create function cancel(h bigint, w smallint, num bigint, what uuid, out was smallint, out holds bigint)
language plpgsql as $$
declare
        wrote boolean;
begin
        select c.was, c.holds, c.wrote into was, holds, wrote from cancel_one(what, 12, skep_now()) c;
        if wrote then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
end $$;

create function requeue_one(what uuid, out was smallint, out wrote boolean) language plpgsql as $$
declare
        j jobs;
begin
        was := 7; wrote := false;
        select * into j from jobs where id = what for update;
        if not found then
                return;
        end if;
        was := j.state;
        if was in (1, 2, 4) then
                return;
        end if;
        wrote := true;
        j.seq := coalesce(j.seq, nextval('jobs_seq'));
        if was >= 5 then
                update jobs set state = 1, reason = 14, lane = lane_of(0, priority, j.seq), seq = j.seq,
                        parked_at = null, finished = 0, attempt = 0, strikes = 0, snoozes = 0,
                        cancel_asked = false, generation = generation + 1, retry_until = null,
                        was_due = null where id = what;
        else
                update jobs set state = 1, reason = 14, lane = lane_of(0, priority, j.seq), seq = j.seq,
                        due = null, retry_until = null, was_due = null where id = what;
        end if;
        insert into deltas (queue, state, n) values (j.queue, was, -1), (j.queue, 1, 1);
end $$;

create function requeue(h bigint, w smallint, num bigint, what uuid) returns smallint language plpgsql as $$
declare
        r record;
begin
        select * into r from requeue_one(what);
        if r.wrote then
                insert into commits (holder, writer, n) values (h, w, num);
        end if;
        return r.was;
end $$;

-- --- queues ---------------------------------------------------------------------------------------

-- parts: 1 paused, 2 concurrency, 4 global. -1: as configured.
create function control(h bigint, w smallint, num bigint, q bytea, parts int, to_paused boolean,
        to_concurrency int, to_global int, out paused boolean, out concurrency int, out global int)
language plpgsql as $$
#variable_conflict use_column
begin
        if parts <> 0 then
                insert into commits (holder, writer, n) values (h, w, num);
                insert into controls (queue) values (q) on conflict do nothing;
                update controls c set
                        paused = case when parts & 1 <> 0 then to_paused else c.paused end,
                        concurrency = case when parts & 2 <> 0 then nullif(to_concurrency, -1)
                                else c.concurrency end,
                        global = case when parts & 4 <> 0 then nullif(to_global, -1) else c.global end
                where queue = q;
                delete from controls c where queue = q and not c.paused and c.concurrency is null
                        and c.global is null;
        end if;
        select c.paused, coalesce(c.concurrency, -1), coalesce(c.global, -1)
        into control.paused, control.concurrency, control.global from controls c where c.queue = q;
        if not found then
                control.paused := false; control.concurrency := -1; control.global := -1;
        end if;
end $$;

-- --- running jobs ---------------------------------------------------------------------------------

-- Rows in the order of their jobs' ids, those of one job in theirs. The places of those that run still.
create function save_work(ids uuid[], claims int[], tokens bigint[], ns bigint[], checkpoints bytea[],
        tells boolean[], dones float8[], totals float8[]) returns setof int language plpgsql as $$
declare
        now bigint := skep_now();
begin
        for i in 1 .. cardinality(ids) loop
                perform 1 from jobs j where j.id = ids[i] and j.claim = claims[i] and j.token = tokens[i]
                        and j.state + 0 = 2 for no key update;
                continue when not found;
                return next i;
                insert into saves as s (job, claim, n, checkpoint, done, total, told)
                values (ids[i], claims[i], ns[i], checkpoints[i], case when tells[i] then dones[i] end,
                        case when tells[i] then totals[i] end, case when tells[i] then now else 0 end)
                on conflict (job) do update set claim = excluded.claim, n = excluded.n,
                        checkpoint = coalesce(excluded.checkpoint, s.checkpoint),
                        done = coalesce(excluded.done, s.done), total = coalesce(excluded.total, s.total),
                        told = case when tells[i] then now else s.told end
                        where s.claim <> excluded.claim or s.n <= excluded.n;
        end loop;
end $$;

-- --- schedules ------------------------------------------------------------------------------------

-- Whoever changes a schedule holds the clock until the commit: what a reader sees with its number is all
-- that was changed up to it.
create function lock_schedules() returns void language sql volatile as
$$ select 1 from schedule_clock for update $$;
create function next_revision() returns bigint language sql volatile as
$$ update schedule_clock set revision = revision + 1 returning revision $$;

create function schedules_number() returns bigint language sql stable as
$$ select case when exists (select from schedules) then (select revision from schedule_clock) else 0 end $$;

-- expected: the revision that must stand, 0: none, -1: any. job: what its ticks make, one row.
create function schedule_put(h bigint, w smallint, num bigint, expected bigint, s_name bytea, s_spec bytea,
        s_zone bytea, s_catch smallint, s_overlap smallint, s_max bigint, s_paused boolean, s_config boolean,
        s_next bigint, s_last bigint, s_buffered bigint, s_job uuid, job new_row[],
        out done boolean, out found_one boolean) language plpgsql as $$
declare
        old schedules;
        r new_row := job[1];
begin
        perform lock_schedules();
        select * into old from schedules where name = s_name;
        found_one := found;
        done := expected = -1 or coalesce(old.revision, 0) = expected;
        if not done then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        delete from schedules where name = s_name;
        insert into schedules values (s_name, s_spec, s_zone, s_catch, s_overlap, s_max, s_paused, s_config,
                coalesce(old.created, skep_now()), s_next, coalesce(old.last, s_last),
                coalesce(old.buffered, s_buffered), case when found_one then old.last_job else s_job end,
                next_revision(), r.queue, r.type, r.priority, r.max_attempts, r.timeout_ms, r.deadline,
                r.content_type, r.headers, r.payload, r.tags, r.more);
end $$;

create function schedule_drop(h bigint, w smallint, num bigint, expected bigint, s_name bytea,
        out done boolean, out found_one boolean) language plpgsql as $$
declare
        old schedules;
begin
        perform lock_schedules();
        select * into old from schedules where name = s_name;
        found_one := found;
        done := expected = -1 or coalesce(old.revision, 0) = expected;
        if not done or not found_one then
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        perform next_revision();
        delete from schedules where name = s_name;
end $$;

-- What put_units() says; and a first row without a kind: done, the revision that stands, what became of
-- `old` (state before, holder).
create type ticked as (kind smallint, ord int, id uuid, state smallint, seq bigint, queue bytea,
        done boolean, revision bigint, was smallint, holds bigint);

create function tick(h bigint, w smallint, num bigint, s_name bytea, expected bigint, s_next bigint,
        s_last bigint, s_buffered bigint, old uuid, careful boolean, rows new_row[], firsts int[],
        lasts int[], atomics boolean[], burys boolean[], rkeys uuid[], rhashes uuid[])
returns setof ticked language plpgsql as $$
declare
        head ticked;
        told said[] := '{}';
        newest uuid;
begin
        perform lock_schedules();
        select s.revision into head.revision from schedules s where s.name = s_name;
        head.done := coalesce(head.revision = expected, false);
        head.revision := coalesce(head.revision, 0);
        if not head.done then
                return next head;
                return;
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
        if cardinality(firsts) > 0 then
                told := array(select p from put_units(rows, firsts, lasts, atomics, burys, rkeys, rhashes,
                        null, h, careful, '{}') p);
                select o.id into newest
                from unnest(told) o left join unnest(rows) with ordinality r on r.id = o.id
                where o.kind in (0, 1) order by coalesce(o.ord, r.ordinality) desc limit 1;
        end if;
        if old is not null then
                select c.was, c.holds into head.was, head.holds from cancel_one(old, 19, skep_now()) c;
        end if;
        head.revision := next_revision();
        update schedules set next = s_next, last = case when s_last <> 0 then s_last else last end,
                buffered = s_buffered, last_job = coalesce(newest, last_job), revision = head.revision
        where name = s_name;
        return next head;
        return query select o.kind, o.ord, o.id, o.state, o.seq, o.queue, null::boolean, null::bigint,
                null::smallint, null::bigint from unnest(told) o;
end $$;

-- --- many jobs ------------------------------------------------------------------------------------

-- Null or 0: any. states: bits.
create type job_filter as (states int, queue bytea, type bytea, wild text, tag bytea, error smallint,
        fingerprint bigint, since bigint, before bigint, ended_before bigint);

-- Do rows of these states stand in an index of their own, or in the lists of claims, and are there few of
-- them? (Scheduled and retrying share one, dead and cancelled another.)
create function are_few(states int, most int) returns boolean language plpgsql stable as $$
declare
        beside int := states | case when states & 9 <> 0 then 9 else 0 end
                | case when states & 96 <> 0 then 96 else 0 end;
begin
        return states <> 0 and states & 16 = 0 and (select coalesce(sum(n), 0) from (
                select n from counters where 1 << state & beside <> 0 union all
                select n from deltas where 1 << state & beside <> 0) x) <= most;
end $$;

-- The next jobs to look at, in order of their ids: as many of them as `most`, that is, if there are more.
-- Dead and cancelled ones have an index for it; few are sorted; else all ids are walked.
create function next_jobs(states int, after uuid, most int) returns uuid[] language plpgsql stable
set enable_sort = off as $$
begin
        if states & 96 = states then
                return array(select id from jobs where parked_at is not null
                        and uuid_send(id) > uuid_send(after) order by uuid_send(id) limit most);
        elsif are_few(states, 50000) then
                return array(
                        with x as materialized (
                                select id from jobs where states & 2 <> 0 and lane is not null union all
                                select id from jobs where states & 9 <> 0 and due is not null union all
                                select id from jobs where states & 96 <> 0 and parked_at is not null union all
                                select j.id from nodes n join commits c on c.holder = n.holder and c.writer = 0,
                                        held_by(c.holder, c.token, c.first_id, c.last_id, c.ids) j
                                where states & 4 <> 0 and c.token is not null)
                        select id from x where id > after order by id limit most);
        end if;
        return array(select id from jobs where id > after order by id limit most);
end $$;

-- What of them a filter means; `most` + 1 at most. locks: those rows are ours until the commit.
create function filtered(f job_filter, ids uuid[], most int, locks boolean, out picked uuid[],
        out generations int[]) language plpgsql as $$
begin
        execute format($q$
                select array_agg(id), array_agg(generation) from (
                        select j.id, j.generation from unnest($2) with ordinality i (id, no)
                        join jobs j on j.id between i.id and i.id %s
                        where ($1.states = 0 or 1 << j.state & $1.states <> 0) %s
                        order by i.no limit $3 %s) x $q$,
                case when f.error <> 0 or f.fingerprint <> 0 then
                        'join lateral (select error, fingerprint from attempts where job = j.id '
                        'order by claim desc limit 1) a on ($1.error = 0 or a.error = $1.error) '
                        'and ($1.fingerprint = 0 or a.fingerprint = $1.fingerprint)' else '' end,
                case when f.queue is not null then 'and j.queue = $1.queue ' else '' end
                || case when f.type is not null then 'and j.type = $1.type ' else '' end
                || case when f.wild is not null then 'and encode(j.type, ''escape'') ~ $1.wild ' else '' end
                || case when f.tag is not null then 'and position($1.tag in j.tags) > 0 ' else '' end
                || case when f.since <> 0 then 'and j.created >= $1.since ' else '' end
                || case when f.before <> 0 then 'and j.created < $1.before ' else '' end
                || case when f.ended_before <> 0 then 'and j.state >= 4 and '
                        'coalesce(j.parked_at, j.finished) < $1.ended_before ' else '' end,
                case when locks then 'for update of j' else '' end)
        into picked, generations using f, ids, most + 1;
        picked := coalesce(picked, '{}');
        generations := coalesce(generations, '{}');
end $$;

-- Dead since then, and requeued before. Queue by queue: that is what the index has first.
create function died_again(f job_filter, since_when bigint, most int) returns int language plpgsql stable as $$
declare
        q bytea := f.queue;
        many int := 0;
        part int;
begin
        loop
                if f.queue is null then
                        select j.queue into q from jobs j where j.parked_at is not null
                                and j.queue > coalesce(q, '') order by j.queue limit 1;
                        exit when not found;
                end if;
                select count(*) into part from (
                        select from jobs j where j.queue = q and j.parked_at >= since_when and j.state = 5
                        and j.generation > 0 and (f.type is null or j.type = f.type)
                        and (f.wild is null or encode(j.type, 'escape') ~ f.wild)
                        and (f.tag is null or position(f.tag in j.tags) > 0)
                        and j.created >= f.since and (f.before = 0 or j.created < f.before)
                        limit most - many) x;
                many := many + part;
                exit when f.queue is not null or many >= most;
        end loop;
        return many;
end $$;

-- Jobs that are dead or cancelled, and locked.
create function requeue_many(ids uuid[]) returns void language sql as $$
        with p as materialized (
                select j.id, j.state as was, coalesce(j.seq, nextval('jobs_seq')) as seq
                from unnest(ids) with ordinality i (id, no) join jobs j on j.id between i.id and i.id order by i.no),
        up as (
                update jobs j set state = 1, reason = 14, lane = lane_of(0, j.priority, p.seq), seq = p.seq,
                        parked_at = null, finished = 0, attempt = 0, strikes = 0, snoozes = 0,
                        cancel_asked = false, generation = j.generation + 1, retry_until = null,
                        was_due = null
                from p where j.id between p.id and p.id returning j.queue, p.was)
        insert into deltas (queue, state, n)
        select queue, s, sum(d) from (select queue, was as s, -1 as d from up
                union all select queue, 1::smallint, 1 from up) x group by 1, 2
$$;

-- Jobs that have not ended, and are locked. How many run, and were asked.
create function cancel_many(ids uuid[], now bigint) returns int language plpgsql as $$
declare
        many int;
begin
        with asked as (
                update jobs j set cancel_asked = true where j.id = any(ids) and j.state + 0 = 2
                and not j.cancel_asked returning j.holder, j.id)
        insert into cancels (holder, job) select holder, id from asked
        on conflict (holder, job) do update set told = 0;
        select count(*) into many from jobs j where j.id = any(ids) and j.state + 0 = 2;
        with p as materialized (
                select j.id, j.state as was from jobs j where j.id = any(ids) and j.state in (0, 1, 3)),
        up as (
                update jobs j set state = 6, reason = 12, lane = null, due = null, parked_at = now,
                        finished = now from p where j.id between p.id and p.id returning j.queue, p.was)
        insert into deltas (queue, state, n)
        select queue, s, sum(d) from (select queue, was as s, -1 as d from up
                union all select queue, 6::smallint, 1 from up) x group by 1, 2;
        return many;
end $$;

-- One page. what: 0 count, 1 requeue, 2 cancel, 3 purge.
create function bulk(h bigint, w smallint, num bigint, what int, f job_filter, after uuid, most int,
        since_when bigint, out done int, out asked int, out again int, out more boolean, out last uuid)
language plpgsql as $$
declare
        now bigint := skep_now();
        can constant int[] := '{127, 96, 15, 112}';
        asks int := case when f.states = 0 then 127 else f.states end;
        ids uuid[];
        x record;
        page uuid[];
begin
        done := 0; asked := 0; again := 0; more := false; last := after;
        after := coalesce(after, '00000000-0000-0000-0000-000000000000');
        f.states := asks & can[what + 1];
        if what = 1 and since_when > 0 then
                again := died_again(f, since_when, 10000);
        end if;
        if f.states = 0 then
                return;
        end if;
        most := case when what = 0 then 10000 else greatest(most, 1) end;
        ids := next_jobs(f.states, after, 5000);
        select * into x from filtered(f, ids, most, what in (1, 2));
        more := cardinality(ids) >= 5000 or cardinality(x.picked) > most;
        page := x.picked[1:most];
        last := case when cardinality(x.picked) > most then page[most] else ids[cardinality(ids)] end;
        last := coalesce(last, after);
        done := cardinality(page);
        if done = 0 or what = 0 then
                return;
        end if;
        if what = 1 then
                perform requeue_many(page);
        elsif what = 2 then
                asked := cancel_many(page, now);
        else
                done := drop_jobs(page, x.generations[1:most], now);
        end if;
        insert into commits (holder, writer, n) values (h, w, num);
end $$;
