-- What people read, and the producers' door. Frozen once released, as all of these files are.

-- --- reads ----------------------------------------------------------------------------------------

-- Dead and cancelled ones stand in an index by their ids. Others that wait stand in one each: few are
-- sorted; many are found by walking the ids, as those in any other state are. er, fp: of the last error; 0: any.
create function list(before uuid, st int, q bytea, t bytea, t_like text, tag bytea, since bigint, most int,
        er smallint, fp bigint) returns setof jobs language plpgsql stable as $$
begin
        before := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
        if st in (5, 6) then
                return query select * from list_ended(before, st, q, t, t_like, tag, since, most, er, fp);
        elsif st in (0, 1, 3) and are_few(1 << st, 10000) then
                return query
                        with c as materialized (
                                select j.* from jobs j where st = 1 and j.lane is not null
                                union all select j.* from jobs j where st in (0, 3) and j.due is not null)
                        select j.* from c j
                        where j.id < before and j.state = st
                        and (q is null or j.queue = q) and (t is null or j.type = t)
                        and (t_like is null or encode(j.type, 'escape') ~ t_like)
                        and (tag is null or position(tag in j.tags) > 0) and j.created >= since
                        and (er = 0 and fp = 0 or last_error_is(j.id, er, fp))
                        order by j.id desc limit most;
        else
                return query select j.* from jobs j
                        where j.id < before and (st < 0 or j.state + 0 = st)
                        and (q is null or j.queue = q) and (t is null or j.type = t)
                        and (t_like is null or encode(j.type, 'escape') ~ t_like)
                        and (tag is null or position(tag in j.tags) > 0) and j.created >= since
                        and (er = 0 and fp = 0 or last_error_is(j.id, er, fp))
                        order by j.id desc limit most;
        end if;
end $$;

create function list_ended(before uuid, st int, q bytea, t bytea, t_like text, tag bytea, since bigint,
        most int, er smallint, fp bigint) returns setof jobs language plpgsql stable
set enable_sort = off as $$
begin
        return query select j.* from jobs j
                where j.parked_at is not null and uuid_send(j.id) < uuid_send(before) and j.state = st
                and (q is null or j.queue = q) and (t is null or j.type = t)
                and (t_like is null or encode(j.type, 'escape') ~ t_like)
                and (tag is null or position(tag in j.tags) > 0) and j.created >= since
                and (er = 0 and fp = 0 or last_error_is(j.id, er, fp))
                order by uuid_send(j.id) desc limit most;
end $$;

create function last_error_is(what uuid, er smallint, fp bigint) returns boolean language plpgsql stable as $$
begin
        return coalesce((select (er = 0 or a.error = er) and (fp = 0 or a.fingerprint = fp) from attempts a
                where a.job = what order by a.claim desc limit 1), false);
end $$;

-- Rows before it in its band, as far as 10,000; null: it does not wait there.
create function rows_ahead(q bytea, at bigint) returns bigint language sql stable as $$
        select case when at is not null then (select count(*) from (select from jobs j where j.queue = q
                and j.lane >= at >> 61 << 61 and j.lane < at limit 10000) x) end
$$;

-- Dead jobs by what ended them. looks: at so many of the latest. The first row tells whether there were
-- more of them (n: 1), and nothing else.
create function groups(f job_filter, most int, looks int, out queue bytea, out type bytea, out error smallint,
        out fingerprint bigint, out n bigint, out first bigint, out last bigint, out sample uuid,
        out reason smallint, out error_text bytea) returns setof record language plpgsql stable as $$
#variable_conflict use_column
declare
        names bytea[] := '{}';
        name bytea := f.queue;
        ids uuid[];
begin
        if name is null then
                loop
                        select j.queue into name from jobs j where j.parked_at is not null
                                and j.queue > coalesce(name, '') order by j.queue limit 1;
                        exit when not found;
                        names := names || name;
                end loop;
        else
                names := array[name];
        end if;
        ids := array(select d.id from unnest(names) as x (name) cross join lateral (
                        select j.id, j.parked_at from jobs j where j.queue = x.name and j.parked_at is not null
                        and j.state = 5 order by j.parked_at desc limit looks + 1) d
                order by d.parked_at desc limit looks + 1);
        groups.n := (cardinality(ids) > looks)::int;
        return next;
        return query
                with dead as materialized (
                        select j.id, j.queue, j.type, j.reason, j.parked_at, coalesce(a.error, 0::smallint) as error,
                                coalesce(a.fingerprint, 0) as fingerprint, a.claim
                        from unnest(ids[1:looks]) i (id) join jobs j on j.id between i.id and i.id
                        left join lateral (select b.error, b.fingerprint, b.claim from attempts b
                                where b.job = j.id order by b.claim desc limit 1) a on true
                        where (f.type is null or j.type = f.type)
                        and (f.wild is null or encode(j.type, 'escape') ~ f.wild)
                        and (f.tag is null or position(f.tag in j.tags) > 0) and j.created >= f.since
                        and (f.before = 0 or j.created < f.before)
                        and (f.ended_before = 0 or j.parked_at < f.ended_before)),
                per as (
                        select d.queue, d.type, d.error, d.fingerprint, count(*) as n,
                                min(d.parked_at) as first, max(d.parked_at) as last,
                                (array_agg(d.id order by d.parked_at desc, d.id desc))[1] as sample
                        from dead d where (f.error = 0 or d.error = f.error)
                        and (f.fingerprint = 0 or d.fingerprint = f.fingerprint) group by 1, 2, 3, 4
                        order by n desc, last desc, sample desc limit most)
                select p.queue, p.type, p.error, p.fingerprint, p.n, p.first, p.last, p.sample, j.reason,
                        (select a.error_text from attempts a where a.job = p.sample
                                order by a.claim desc limit 1)
                from per p join jobs j on j.id between p.sample and p.sample
                order by p.n desc, p.last desc, p.sample desc;
end $$;

-- What waits in a queue, its offered rows from the heads on, as claims find them. Lanes that differ in their lower
-- 56 bits alone stand in the order of their numbers, so that the first is the oldest: a look for each kind there is.
create function waiting(q bytea, out parked bigint, out oldest bigint) returns record language plpgsql stable as $$
#variable_conflict use_column
declare
        tops bigint[] := array(select d.lane from heads d where d.queue = q order by d.lane);
        lo bigint := 0;
        hi bigint;
        top bigint;
        first record;
begin
        foreach top in array tops || (1::bigint << 61) || (2::bigint << 61) loop
                hi := (top >> 56 << 56) - 1;
                while lo <= hi loop
                        select j.lane, j.created into first from jobs j
                                where j.queue = q and j.lane between lo and hi order by j.lane limit 1;
                        exit when not found;
                        oldest := least(oldest, first.created);
                        lo := (first.lane | 72057594037927935) + 1;
                end loop;
                lo := top;
        end loop;
        select count(*), least(oldest, min(j.created)) into parked, oldest from jobs j
                where j.queue = q and j.lane >= lo;
end $$;

create function stats(out queue bytea, out jobs bigint[], out parked bigint, out oldest bigint)
returns setof record language sql stable as $$
        with sums as materialized (
                select queue, array[sum(n) filter (where state = 0), sum(n) filter (where state = 1),
                        sum(n) filter (where state = 2), sum(n) filter (where state = 3),
                        sum(n) filter (where state = 4), sum(n) filter (where state = 5),
                        sum(n) filter (where state = 6)]::bigint[] as n
                from (select * from counters union all select * from deltas) x group by 1)
        select s.queue, array(select greatest(coalesce(n, 0), 0) from unnest(s.n) with ordinality u (n, i)
                order by i), coalesce(w.parked, 0), coalesce(w.oldest, 0)
        from sums s left join lateral waiting(s.queue) w on s.n[2] > 0
        order by s.queue
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
