/*
 * A job as the engine holds it from its claim to its verdict, and the claim that brought it.
 *
 * A claim is one ledger transaction: its jobs share an arena, a token and a commit number. When the
 * last of them has ended durably the claim is retired: its `commits` row goes, its memory is freed.
 */
#ifndef SKEP_CORE_JOB_H
#define SKEP_CORE_JOB_H

#include "core/arena.h"
#include "core/base.h"
#include "core/state.h"

#define PAYLOAD_DEFAULT_MAX (1u << 20)
#define RESULT_MAX          (64u << 10) /* bytes of a result that are kept in the row */
#define HEADERS_MAX         (8u << 10)
#define ERROR_TEXT_MAX      (4u << 10) /* error text and backtrace, kept per attempt */
#define SNOOZES_MAX         1000
#define STRIKES_MAX         3
#define PRIORITY_MAX        9 /* first; 0 is last */
#define PRIORITY_DEFAULT    5
#define CHECKPOINT_MAX      (64u << 10)

/* Which numbered transaction of which node: the row of `commits` that tells its fate. */
struct commit_no {
        uint64_t holder; /* the node's incarnation, never 0 */
        uint32_t writer; /* enum ledger_lane */
        uint64_t n;      /* rises by one per writer; 0: not numbered (reads) */
};

struct job {
        struct job_id id;
        int64_t ref; /* the ledger's own handle of the row; opaque, handed back with the verdict */
        uint32_t claim;
        uint64_t token;
        uint16_t attempt; /* this one included */
        uint16_t max_attempts;
        uint16_t snoozes;
        uint8_t strikes;
        uint8_t priority;
        uint32_t generation;
        uint32_t timeout_ms;   /* the job's own; 0: handler's, then queue's */
        bool cancel_asked;     /* a cancel was accepted while it ran */
        uint32_t heartbeat_ms; /* the job's own; 0: handler's, type's, then queue's */
        int64_t created_us, deadline_us;
        int64_t retry_until_us; /* no further attempt after it; 0: no such time */
        int64_t late_us;        /* it was scheduled or waited for a retry: the claim's time less the
                                   time that it was due, by the ledger's clock; else 0 */
        struct str policy;      /* its own retry policy; empty: none */
        struct str queue, type, content_type;
        struct str headers; /* name NUL value NUL ..., names in lower case */
        struct str payload;
        struct str checkpoint;
        bool left_work; /* it saved a checkpoint or told progress, in this or an earlier attempt */

        /* The engine's own, zero when the ledger hands the job over. */
        struct claim *of;
        uint32_t queue_index;
        int32_t handler;          /* in the roster it was dispatched with; -1: none */
        bool ended;               /* its verdict waits to be written, or is */
        bool alone;               /* member of a crashed batch: runs singly */
        uint32_t saves;           /* of this claim, so far */
        uint32_t checkpoint_room; /* of a batch's member: bytes of the arena that are behind its
                                     checkpoint; 0: it stands where the claim put it */
};

struct claim {
        struct commit_no no;
        uint64_t token;
        struct arena arena;       /* all texts and payloads of its jobs, but for those of */
        struct arrivals *letters; /* the batches that brought some of them; freed with the claim */
        struct job *jobs;
        uint32_t n;
        uint64_t bytes;   /* the engine's: of the payloads of its jobs */
        uint32_t open;    /* jobs whose end is not yet on its way to the ledger */
        int64_t taken_us; /* the engine's: wall time when it was answered */
        bool
            unretired; /* some of its jobs were let go for others to rescue: its commit must stay */
        struct claim *prev, *next;
};

struct arrivals;

struct claim *claim_new(void);
struct claim *claim_free(struct claim *c); /* NULL-safe, returns NULL */

#endif
