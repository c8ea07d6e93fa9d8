-- What brokers need: doorbells that are not known to be confirmed, the journal of letters without a key,
-- and beats whose answer was lost.

-- One row per queue and submission. no: the seq of its first job, so that no number is given twice. bells:
-- (id, seq) of each job, as struct doorbell. at: when somebody last set out to ring them.
create table outbox (
        no    integer primary key,
        queue text not null,
        at    integer not null,
        bells blob not null
);

create index outbox_at on outbox (at);

-- One row per batch of letters: (fingerprint, id of its job) of each, native 64-bit integer and 16 bytes.
-- Not bound to the node: the broker may bring the letters to another. over: the connection went away before the
-- acknowledgement was sure. Rows with a higher no are younger.
create table journal (
        no      integer primary key,
        queue   text not null,
        at      integer not null,
        holder  integer not null,
        writer  integer not null,
        n       integer not null,
        over    integer not null default 0,
        entries blob not null
);

create unique index journal_commit on journal (holder, writer, n);

-- The number of the first beat that told this request; 0: none yet.
alter table cancels add column told integer not null default 0;
