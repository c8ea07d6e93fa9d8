-- What few rows need, on their way in and when they are claimed: unique keys, bounds of queues, keys of
-- pruned jobs, global limits. Rows without those never come here. Frozen once released, as all of these
-- files are.
--
-- Locks are taken in this order, so that two transactions do not wait for each other: queues (by number),
-- unique keys (by hash), jobs.

create function half_hash(v bytea) returns uuid language sql immutable as
$$ select encode(substring(sha256(v) for 16), 'hex')::uuid $$;

-- --- queues with a bound or a limit ---------------------------------------------------------------

-- Who counts the rows of a queue to decide on it holds this until its commit.
create function lock_queues(queues bytea[]) returns void language plpgsql as $$
declare
        no int;
begin
        for no in select distinct hashtext(encode(q, 'hex')) from unnest(queues) q order by 1 loop
                perform pg_advisory_xact_lock(1936418161, no);
        end loop;
end $$;

-- One statement, one snapshot: a FOLD that moves deltas into counters is seen as a whole or not at all.
create function count_rows(q bytea, states smallint[]) returns bigint language sql volatile as $$
        select coalesce(sum(n), 0)::bigint from (
                select n from counters where queue = q and state = any(states) union all
                select n from deltas where queue = q and state = any(states)) x
$$;

-- The pending row that came first, locked; null: none but those that are at work elsewhere. In each range of
-- lanes the first is looked at; each parked type is such a range.
create function oldest_pending(q bytea) returns uuid language plpgsql as $$
declare
        firsts bigint[];
        above bigint := 2::bigint << 61;
        head bigint;
        what uuid;
begin
        firsts := array(select offered_first(q) union all
                (select lane from jobs where queue = q and lane between 1::bigint << 61 and (2::bigint << 61) - 1
                order by lane limit 1));
        loop
                select lane into head from jobs where queue = q and lane >= above order by lane limit 1;
                exit when not found;
                firsts := firsts || head;
                above := (head | 137438953471) + 1;
        end loop;
        for head in select x.lane from unnest(firsts) x (lane) order by (select j.seq from jobs j
                        where j.queue = q and j.lane = x.lane limit 1) loop
                select id into what from jobs where queue = q and lane between head
                        and (head | case when head >= 2::bigint << 61 then 137438953471
                                when head >= 1::bigint << 61 then 144115188075855871
                                else 72057594037927935 end)
                order by lane limit 1 for update skip locked;
                if found then
                        return what;
                end if;
        end loop;
        return null;
end $$;

create function drop_pending(q bytea, what uuid, now bigint) returns void language plpgsql as $$
begin
        update jobs set state = 6, reason = 18, lane = null, parked_at = now, finished = now where id = what;
        insert into deltas (queue, state, n) values (q, 1, -1), (q, 6, 1);
end $$;

-- For each of so many rows that came in one of the oldest goes, as far as there are too many; never the last
-- that came.
create function drop_oldest(q bytea, most int, came bigint, newest uuid, now bigint) returns void
language plpgsql as $$
declare
        what uuid;
begin
        for i in 1 .. least(came, count_rows(q, '{0,1,3}') - most) loop
                what := oldest_pending(q);
                exit when what is null or what = newest;
                perform drop_pending(q, what, now);
        end loop;
end $$;

-- As claim(), for a queue of which at most so many may run at all. snoozes of the last row: 1 when that
-- kept it from claiming more.
create function claim_global(h bigint, w smallint, num bigint, q bytea, tok bigint, want int,
        max_bytes bigint, exact bytea[], wild text[], most int) returns setof handed language plpgsql as $$
declare
        room int;
        given int := 0;
        one handed;
begin
        perform lock_queues(array[q]);
        room := least(want, greatest(most - count_rows(q, '{2}'), 0));
        if room > 0 then
                for one in select * from claim(h, w, num, q, tok, room, max_bytes, exact, wild) loop
                        if one.id is not null then
                                given := given + 1;
                        elsif one.cancel_asked and given = room and room < want then
                                one.snoozes := 1;
                        end if;
                        return next one;
                end loop;
        else
                one := (null, null, null, null, null, null, null, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, true,
                        null, 0, 0, 0, null)::handed;
                if not (select any_offered(q, 0, r.los, r.his) from ranges_of(q) r) then
                        one.snoozes := 0; one.cancel_asked := false;
                end if;
                return next one;
        end if;
end $$;

-- --- unique keys ----------------------------------------------------------------------------------

-- Before anything is looked at. A key that nobody has gets a row without a job, which is what is locked.
create function slow_begin(rows new_row[], bounds bound[]) returns void language plpgsql as $$
begin
        perform lock_queues(array(select b.queue from unnest(bounds) b));
        insert into keys as k (kind, hash, until, states)
        select 2, x.hash, 0, 0 from (select distinct (r.more).hash as hash from unnest(rows) r
                where (r.more).hash is not null and r.state <> 5) x order by x.hash
        on conflict (kind, hash) do update set until = 0 where false; -- locked all the same
end $$;

-- After it: what nobody took goes. A job that was pruned while its key came in again is looked for anew.
create function slow_end(rows new_row[], told said[], now bigint) returns void language plpgsql as $$
begin
        delete from keys where kind = 2 and job is null and hash = any(array(
                select (r.more).hash from unnest(rows) r where (r.more).hash is not null));
        if exists (select from unnest(told) o join unnest(rows) r on r.id = o.id
                        join old_keys k on k.key = r.key and k.queue = r.queue
                        where o.kind = 0 and k.until > now) then
                raise exception 'a job was pruned while its key came in again' using errcode = '40001';
        end if;
end $$;

-- The holder has the newcomer's payload and time. Its state then.
create function replace_job(what uuid, r new_row, now bigint) returns smallint language plpgsql as $$
declare
        j jobs;
        at bigint := case when r.after <> 0 then now + r.after else r.at end;
        later boolean := r.state = 0;
        became smallint;
begin
        select * into j from jobs where id = what;
        became := case when not later then 1 when j.state = 3 then 3 else 0 end;
        j.seq := coalesce(j.seq, case when became = 1 then nextval('jobs_seq') end);
        j.came_with := coalesce(j.came_with, case when j.key is not null then half_hash(j.payload) end);
        -- The trigger on the edges looks at each update of the state.
        update jobs set payload = r.payload, headers = r.headers, content_type = r.content_type,
                came_with = j.came_with, due = case when j.state <> 1 then at end
        where id = what and became = j.state;
        if became <> j.state then
                update jobs set payload = r.payload, headers = r.headers, content_type = r.content_type,
                        came_with = j.came_with, state = became, due = case when later then at end,
                        seq = j.seq, was_due = null,
                        lane = case when not later then lane_of(0, priority, j.seq) end,
                        reason = case when later then 20 else 0 end where id = what;
                insert into deltas (queue, state, n) values (j.queue, j.state, -1), (j.queue, became, 1);
        end if;
        return became;
end $$;

-- What a row meets: null when its key is free. Locked by slow_begin().
create function meet_unique(r new_row, ord int, now bigint) returns said language plpgsql as $$
declare
        k keys;
        was smallint;
begin
        if (r.more).hash is null or r.state = 5 then
                return null;
        end if;
        select * into k from keys where kind = 2 and hash = (r.more).hash;
        if k.job is null then
                return null;
        end if;
        if (r.more).replaces then
                select state into was from jobs where id = k.job for update;
        else
                select state into was from jobs where id = k.job;
        end if;
        if k.until <= now and (was is null or k.states >> was & 1 = 0) then
                return null;
        elsif (r.more).replaces and was in (0, 1, 3) then
                return (11, ord, k.job, replace_job(k.job, r, now), null, null)::said;
        end if;
        return (10, ord, k.job, coalesce(was, 7), null, null)::said;
end $$;

-- --- rows come in, one after the other ------------------------------------------------------------

-- The keys of pruned jobs; null: there is no such.
create function meet_old(r new_row, ord int, now bigint) returns said language sql volatile as $$
        select (case when k.payload is null or k.payload = half_hash(r.payload) then 1 else 2 end, ord,
                k.job, 7, null, null)::said
        from old_keys k where k.key = r.key and k.queue = r.queue and k.until > now
$$;

-- One row; its place in `rows` is i. What is there comes first, then who holds its key, then the bound.
create function put_odd(rows new_row[], i int, taken bigint[], h bigint, tok bigint, now bigint,
        bury boolean, careful boolean, bounds bound[]) returns said[] language plpgsql as $$
declare
        r new_row := rows[i];
        b bound;
        met said;
        out said[];
        oldest uuid;
begin
        select * into met from put_explain(rows, i, i, taken);
        if met.kind is null then
                met := meet_old(r, i, now);
        end if;
        if met.kind is null then
                met := meet_unique(r, i, now);
        end if;
        if met.kind is not null then
                return array[met];
        end if;
        select * into b from unnest(bounds) x where x.queue = r.queue and x.most > 0 and r.state in (0, 1);
        if found and count_rows(r.queue, '{0,1,3}') >= b.most then
                oldest := case when b.dropping then oldest_pending(r.queue) end;
                if oldest is null then
                        return array[(12, i, null, null, null, null)::said];
                end if;
        end if;
        out := put_rows(rows, i, i, taken, h, tok, now, bury, careful);
        if out[1].kind = 0 and oldest is not null then
                perform drop_pending(r.queue, oldest, now);
        end if;
        if out[1].kind = 0 and r.state <> 5 then
                update keys set job = r.id, states = (r.more).states,
                        until = case when (r.more).period > 0 then now + (r.more).period else 0 end
                where kind = 2 and hash = (r.more).hash;
        end if;
        return out;
end $$;

-- The same for one whose data may be what the store refuses in the place of the holder's.
create function put_odd_with_care(rows new_row[], i int, taken bigint[], h bigint, tok bigint, now bigint,
        bury boolean, bounds bound[]) returns said[] language plpgsql as $$
begin
        return put_odd(rows, i, taken, h, tok, now, bury, true, bounds);
exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        if bury then
                perform put_unstorable(rows[i], taken, h, tok, now);
        end if;
        return array[(3, i, null, null, null, null)::said];
end $$;

-- As put_rows(). Rows that are unique, or of a queue with a bound, or whose key is an old one, go singly,
-- in their order; those between them together. bounds: none is '{}'; most 0 there: not of these rows.
create function put_slow(rows new_row[], lo int, hi int, taken bigint[], h bigint, tok bigint, now bigint,
        bury boolean, careful boolean, bounds bound[]) returns said[] language plpgsql as $$
declare
        out said[] := '{}';
        odd boolean[];
        first int := lo;
begin
        odd := array(select (r.more).hash is not null
                or r.queue in (select b.queue from unnest(bounds) b where b.most > 0)
                or r.key is not null and exists (select from old_keys k where k.key = r.key
                        and k.queue = r.queue)
                from unnest(rows[lo:hi]) with ordinality r order by r.ordinality);
        for i in lo .. hi + 1 loop
                continue when i <= hi and not odd[i - lo + 1];
                if first < i then
                        out := out || put_rows(rows, first, i - 1, taken, h, tok, now, bury, careful);
                end if;
                if i <= hi and careful then
                        out := out || put_odd_with_care(rows, i, taken, h, tok, now, bury, bounds);
                elsif i <= hi then
                        out := out || put_odd(rows, i, taken, h, tok, now, bury, false, bounds);
                end if;
                first := i + 1;
        end loop;
        return out;
end $$;

-- The last word of a quick batch with keys: SK005, it must go the slow way. Asked after the rows are in,
-- since a key that is pruned before that would not be met. The second: with old keys about, only those of
-- the batch count.
create function alive_quick(h bigint) returns void language plpgsql as $$
begin
        perform alive(h);
        if exists (select from old_keys) then
                raise exception 'there are keys of pruned jobs' using errcode = 'SK005';
        end if;
end $$;

create function alive_keyed(h bigint, wanted uuid[]) returns void language plpgsql as $$
begin
        perform alive(h);
        if exists (select from unnest(wanted) w join old_keys k on k.key between w and w) then
                raise exception 'a key is that of a pruned job' using errcode = 'SK005';
        end if;
end $$;
