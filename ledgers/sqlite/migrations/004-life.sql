-- The life of a job: what it brings with it and leaves behind, who holds a unique key, what operators set,
-- schedules, replies. All of it stands in tables that a plain row never meets. An UPDATE copies every column
-- of its row, empty ones too (measured: one percent each), so the row itself has one more.

alter table jobs add column life integer; -- bit 0: there is a row in `lives`; 1: in `saves`; the rest: the time that
                                          -- it had waited for, of one that was made pending when that had come

create table lives (
        seq          integer primary key,
        policy       blob,    -- its own retry policy
        retry_until  integer not null,
        heartbeat_ms integer not null,
        unique_key   blob,    -- of `keys`, kind 2
        came_with    blob     -- hash of the payload that its key stands for, once that was replaced
);

alter table attempts add column fingerprint integer not null default 0;

alter table nodes add column serves blob;
alter table nodes add column queues blob;
alter table nodes add column workers integer not null default 0;

-- Kind 2: a unique key; ids: its holder; until: 0 when it has no period; states: in which the holder blocks.
-- Kind 3: the key of a pruned row; request_hash: of its payload, null when that was lost; ids: the job.
alter table keys add column states integer not null default 0;
create index keys_until on keys (until) where until > 0;

-- Checkpoint and progress of a job that has not completed. told: when it told its progress; null: never.
-- claim, n: of the save that wrote last; one of the same claim with a smaller n comes too late.
create table saves (
        seq        integer primary key,
        claim      integer not null,
        n          integer not null,
        checkpoint blob check (checkpoint is null or length(checkpoint) <= 65536),
        done       real not null default 0,
        total      real not null default 0,
        told       integer
);

drop trigger jobs_pruned;
create trigger jobs_pruned after delete on jobs
begin
        delete from blobs where seq = old.seq;
        delete from attempts where seq = old.seq;
        delete from lives where seq = old.seq;
        delete from saves where seq = old.seq;
        update meta set value = old.seq where name = 'seq_floor' and value < old.seq;
end;

-- Null: as configured.
create table controls (
        queue       text not null primary key,
        paused      integer not null default 0,
        concurrency integer,
        global      integer
) without rowid;

-- The columns after `revision` are the job that each tick makes. Revisions are drawn from meta.schedules, so that
-- one is never given twice, whatever was dropped meanwhile.
create table schedules (
        name            blob not null primary key check (length(name) between 1 and 128),
        spec            blob not null,
        zone            blob not null,
        catch_up        integer not null,
        overlap         integer not null,
        catch_max       integer not null,
        paused          integer not null,
        from_config     integer not null,
        created         integer not null,
        next            integer not null,
        last            integer not null,
        buffered        integer not null,
        last_job        blob not null check (length(last_job) = 16),
        revision        integer not null,
        queue           text not null,
        type            text not null,
        priority        integer not null,
        max_attempts    integer not null,
        timeout_ms      integer not null,
        heartbeat_ms    integer not null,
        deadline        integer not null,
        retry_until     integer not null,
        content_type    blob,
        headers         blob,
        payload         blob,
        tags            blob,
        policy          blob,
        unique_hash     blob check (unique_hash is null or length(unique_hash) = 16),
        unique_states   integer not null,
        unique_replace  integer not null,
        unique_for      integer not null,
        unique_of_queue integer not null
) without rowid;

-- Replies that no broker is known to have. autoincrement: no number is given twice.
create table replies (
        no             integer primary key autoincrement,
        queue          text not null,
        at             integer not null,
        address        blob not null,
        correlation_id blob,
        content_type   blob,
        body           blob,
        job            blob not null,
        state          integer not null,
        reason         integer not null,
        error_text     blob,
        headers        blob    -- of an owed one, which has no address yet
);

create index replies_at on replies (at);

-- Replies owed for jobs that ended before they ran; RELAY moves them to `replies`. A table of its own without
-- any constraint, and a trigger on a column that the happy path does not set: a claim, a completion pay nothing,
-- a failed try next to nothing (with autoincrement it would read that counter each time).
create table owed (
        queue   text,
        job     blob,
        state   integer,
        reason  integer,
        headers blob
);

create trigger jobs_owe after update of parked_at on jobs
when new.parked_at is not null and old.state <> 2 and new.headers is not null
        and instr(new.headers, x'7265706c792d746f') > 0 -- reply-to
begin
        insert into owed values (new.queue, new.id, new.state, new.reason, new.headers);
end;

-- Duties that one holder does over many transactions.
create table duties (
        name   text not null primary key,
        holder integer not null,
        until  integer not null
) without rowid;

insert into meta (name, value) values ('schedules', 0);
