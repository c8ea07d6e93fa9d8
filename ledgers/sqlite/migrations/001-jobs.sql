-- The first schema. Frozen once released: a change is a new file with the next number.
--
-- No index names state, holder or claim: what a finish changes stands in no index, and a running job
-- stands in none but those of its id and its key. The three waiting columns (lane, due, parked_at) say
-- where a row waits; the CHECK ties them to the state. Times are wall microseconds, 0: none.
-- Texts that producers choose are blobs: any byte is legal in them.

create table jobs (
        seq          integer primary key, -- given by the writer, above meta.seq_floor: never used twice
        id           blob not null,
        queue        text not null,
        type         text not null,
        state        integer not null,
        reason       integer not null default 0,
        lane         integer,
        due          integer,
        parked_at    integer,
        claim        integer not null default 0,
        token        integer not null default 0,
        holder       integer not null default 0,
        attempt      integer not null default 0,
        max_attempts integer not null,
        snoozes      integer not null default 0,
        strikes      integer not null default 0,
        generation   integer not null default 0,
        priority     integer not null,
        timeout_ms   integer not null default 0,
        cancel_asked integer not null default 0,
        created      integer not null,
        started      integer not null default 0,
        finished     integer not null default 0,
        deadline     integer not null default 0,
        key          blob,
        key_text     blob,
        content_type blob,
        tags         blob,
        headers      blob,
        result       blob,
        result_type  blob,
        room         blob,                       -- while it runs: bytes that `finished` will take
        size         integer not null default 0, -- bytes of the payload
        payload      blob,                       -- null when it stands in `blobs`
        -- What a row of each state is, the happy path first. No job begins as retrying or completed: those come
        -- after a claim. Between running and completed there is no trigger (below): only a running row has room, so
        -- none completes unless it gives that up, and none goes back. One CASE: a CHECK for each of these, and for the
        -- lengths of texts, which the writer looks at, costs five percent of the rate. A trigger on insert costs a third.
        check (case state
               when 2 then room is not null and finished = 0 and lane is null and due is null
                       and parked_at is null
               when 4 then room is null and claim > 0 and holder <> 0 and lane is null and due is null
                       and parked_at is null
               when 1 then lane is not null and room is null and due is null and parked_at is null
               when 0 then due is not null and room is null and lane is null and parked_at is null
               when 3 then due is not null and claim > 0 and holder <> 0 and room is null
                       and lane is null and parked_at is null
               else state in (5, 6) and parked_at is not null and room is null and lane is null
                       and due is null end)
);

create unique index jobs_id on jobs (id);
create unique index jobs_key on jobs (key) where key is not null; -- it is mixed with the queue: key_within()
create index jobs_lane on jobs (queue, lane) where lane is not null;
create index jobs_due on jobs (due) where due is not null;
create index jobs_parked on jobs (queue, parked_at) where parked_at is not null;

-- Large payloads, so that a change of state does not copy them.
create table blobs (
        seq     integer primary key,
        payload blob not null
);

-- The edges of core/state.h, those of the happy path first; the first states are the CHECK above. A row that
-- comes to one of the waiting or parked states, or leaves it, has a column of these three change: the CHECK sees
-- to that. What is left is running to completed, the one that most rows take: it costs no trigger, which would
-- also keep SQLite from walking along the rows of many at once (measured: a third of a finish). AFTER, and ROLLBACK rather than
-- ABORT: then SQLite needs no journal per statement to be able to take it back (the writer itself looks before it
-- writes, so only a foreign or an old program ever loses its transaction here). No `in` of more than
-- two values: SQLite builds a table for it at each row (measured: a quarter of the rate).
create trigger jobs_edge after update of lane, due, parked_at on jobs
when new.state <> old.state and not (
        old.state = 2
        or (old.state = 1
            and (new.state = 2 or new.state = 6 or new.state = 5 or new.state = 0))
        or (old.state in (0, 3) and (new.state = 1 or new.state = 6 or new.state = 5))
        or (old.state in (5, 6) and new.state = 1 and new.generation = old.generation + 1))
begin
        select raise(rollback, 'no such edge between the states of a job');
end;

-- A pruned row leaves its number behind, so that it is not given again.
create trigger jobs_pruned after delete on jobs
begin
        delete from blobs where seq = old.seq;
        delete from attempts where seq = old.seq;
        update meta set value = old.seq where name = 'seq_floor' and value < old.seq;
end;

-- Tries that failed. ended: this one ended the job (the others are its history).
create table attempts (
        seq        integer not null,
        claim      integer not null,
        ended_job  integer not null,
        attempt    integer not null,
        generation integer not null,
        error      integer not null,
        error_text blob,
        build      blob,
        holder     integer not null,
        worker     integer not null,
        worker_pid integer not null,
        started    integer not null,
        ended      integer not null,
        primary key (seq, claim)
) without rowid;

create table nodes (
        holder     integer primary key,
        beat       integer not null,
        dead       integer not null default 0,
        host       blob,
        pid        integer not null,
        version    blob,
        registered integer not null,
        beat_at    integer not null
);

-- One row per numbered transaction whose fate may still be asked for. Those of claims keep the runs of
-- seq that they took, (first, count) as native 64-bit integers, until all of them ended. A token without
-- runs: void, put there to make sure that the transaction never happens.
create table commits (
        holder integer not null,
        writer integer not null,
        n      integer not null,
        token  integer,
        runs   blob,
        primary key (holder, writer, n)
) without rowid;

create table cancels (
        holder integer not null,
        seq    integer not null,
        primary key (holder, seq)
) without rowid;

-- Names that outlive or stand above a job: whole requests (kind 1).
create table keys (
        kind         integer not null,
        hash         blob not null,
        request_hash blob,
        ids          blob,
        until        integer not null,
        primary key (kind, hash)
) without rowid;

create table deltas (
        queue text not null,
        state integer not null,
        n     integer not null
);

create table counters (
        queue text not null,
        state integer not null,
        n     integer not null,
        primary key (queue, state)
) without rowid;

insert into meta (name, value) values ('seq_floor', 0);
