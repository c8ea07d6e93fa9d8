/*
 * What a transport brought: letters, doorbells and marks, in batches. A batch belongs to one queue
 * and one connection; it is answered by one ledger transaction (LEDGER_ARRIVE) and then settled as
 * a whole. The transport fills it, the engine decides what each arrival becomes, the ledger says
 * what it became.
 */
#ifndef SKEP_CORE_ARRIVAL_H
#define SKEP_CORE_ARRIVAL_H

#include "core/arena.h"
#include "core/base.h"
#include "core/id.h"
#include "core/job.h"
#include "core/state.h"
#include "core/unique.h"

/* The queue of rows that no queue takes. */
#define QUEUE_UNROUTED "jobs.unrouted"

/* Where a pending row waits. Only OFFERED rows are claimed from the ledger. */
enum lane_band { BAND_OFFERED, BAND_BROKER, BAND_PARKED };

enum submit_result {
        SUBMIT_CREATED,
        SUBMIT_EXISTS, /* same key, same payload: `existing` is the job. Also: this very id is there
                        */
        SUBMIT_CONFLICT, /* same key, other payload: nothing written; `existing` is the other job */
        SUBMIT_UNSTORABLE, /* the store refused its data; a row dead(unstorable) without texts was
                              written if `atomic` is false */
        SUBMIT_UNDONE,     /* member of an atomic submission that failed through another member, or
                              a letter of the inbox that another node took */
        SUBMIT_HELD,       /* its unique key is held by `existing`: nothing written */
        SUBMIT_REPLACED, /* likewise, and `existing`, which waits, has its payload, headers, content
                            type and time now */
        SUBMIT_FULL,     /* its queue is as long as it may be: nothing written */
};

/* A job as it comes in, whoever brings it. */
struct submit_row {
        struct job_id id;
        struct job_key key;
        struct str key_text; /* as the producer wrote it; shown, never compared */
        struct str queue, type;
        enum job_state state; /* PENDING, SCHEDULED or DEAD; of a letter that is claimed: RUNNING */
        enum job_reason reason;
        enum lane_band band; /* when PENDING */
        uint8_t priority;
        uint16_t max_attempts;
        uint32_t timeout_ms;
        int64_t at_us;    /* SCHEDULED: wall time; used when after_us is 0 */
        int64_t after_us; /* SCHEDULED: from the ledger's now */
        int64_t deadline_us;
        struct str content_type, headers, payload, tags; /* tags: ",a,b," or empty */
        struct str error_text; /* DEAD: what was wrong with it, for people */
        struct str policy; /* its own retry policy, as retry_parse() reads it; empty: that of its
                              type or queue */
        int64_t retry_until_us; /* no further attempt is made after it; 0: no such time */
        uint32_t heartbeat_ms; /* an attempt without a sign of life for so long is timed out; 0: the
                                  handler's, type's or queue's */
        struct unique_key unique;
        int64_t inbox; /* the inbox row it comes from, taken out with the insert; 0: none */
        /* answers */
        enum submit_result result;
        struct job_id existing;
        enum job_state existing_state; /* STATE_NONE: its row is pruned */
        int64_t seq;                   /* CREATED in the BROKER band: its place in the tide */
};

enum arrival_kind {
        ARRIVAL_LETTER,   /* a producer's message: it creates a job */
        ARRIVAL_DOORBELL, /* ours: job `row.id` of this queue waits in the ledger */
        ARRIVAL_MARK,     /* ours: every doorbell with a smaller seq was rung before it */
};

enum arrival_result {
        ARRIVAL_TAKEN,      /* LETTER: its row was created; DOORBELL: claimed or offered */
        ARRIVAL_KNOWN,      /* LETTER: its job is there already (key or journal), row.existing;
                               DOORBELL: no row of this queue waits for it. Dropped */
        ARRIVAL_CONFLICT,   /* LETTER: its key names another payload: a row dead(id_conflict) under
                               its own id, without key; row.existing is the other job */
        ARRIVAL_UNSTORABLE, /* LETTER: a row dead(unstorable) without texts under its own id */
        ARRIVAL_DUPLICATE,  /* LETTER: its unique key is held by row.existing: a row
                               cancelled(duplicate) under its own id, whatever row.state said; with
                               UNIQUE_REPLACE the holder was changed, as SUBMIT_REPLACED says */
};

struct arrival {
        enum arrival_kind kind;
        bool redelivered; /* the broker says that it delivered this before */
        bool start;       /* the engine's: to be claimed now. A LETTER has row.state RUNNING then; a
                             DOORBELL without it becomes OFFERED */
        uint64_t fingerprint; /* LETTER without a key: of all its bytes, never 0; else 0 */
        int64_t seq;          /* DOORBELL, MARK */
        struct submit_row row;
        /* answers */
        enum arrival_result result;
        int64_t ref; /* started LETTER: the ledger's handle of its row */
};

/* Base of a transport's own note of what is to be acknowledged for a batch; opaque to all others.
 */
struct receipt {
        struct receipt *next;
        void *carrier;   /* whoever carries it between transport and engine: which transport */
        bool journalled; /* the engine's, at settle(): the transport hands the receipt back once the
                            broker surely has the acknowledgement */
        struct commit_no no; /* the engine's: the ARRIVE that answered it */
};

struct arrivals {
        struct arena arena; /* all texts and payloads of its items */
        struct arrival *items;
        uint32_t n, capacity;
        uint64_t bytes;          /* of payloads */
        uint32_t queue;          /* the engine's index */
        struct receipt *receipt; /* the transport's; taken by settle() */
        uint64_t connection;     /* which connection brought it: rises with each one, never 0 */
        int64_t came_ns;         /* the engine's: when it was handed over */
        int64_t not_before_ns;   /* the engine's: when it is posted again */
        struct arrivals *next;
};

/* NULL: out of memory. */
struct arrivals *arrivals_new(uint32_t capacity);
struct arrivals *arrivals_free_list(struct arrivals *list); /* likewise, all of them */
struct arrivals *arrivals_free(struct arrivals *a); /* NULL-safe, returns NULL; not the receipt */
void arrivals_drop_items(struct arrivals *a); /* their texts and payloads stay until it is freed */

/* A doorbell or, with an all-zero id, a mark. */
struct doorbell {
        struct job_id id;
        int64_t seq;
};

struct doorbells {
        struct doorbell *items; /* of the arena */
        uint32_t n;
        uint32_t queue; /* the engine's index */
        int64_t outbox; /* the outbox row that these come from; 0: none */
        bool confirmed; /* answer: the broker has all of them */
        struct arena arena;
        struct doorbells *next;
};

/* Replies on their way to a broker. */
struct job_reply;
struct replies {
        struct job_reply *items; /* of the arena, texts too */
        uint32_t n;
        bool confirmed; /* answer: the broker has all of them, or they can never be delivered */
        struct arena arena;
        struct replies *next;
};

struct replies *replies_new(uint32_t n);         /* with room for n; NULL: out of memory */
struct replies *replies_free(struct replies *r); /* NULL-safe, returns NULL */

struct doorbells *doorbells_new(uint32_t n);           /* with room for n; NULL: out of memory */
struct doorbells *doorbells_free(struct doorbells *d); /* NULL-safe, returns NULL */

#endif
