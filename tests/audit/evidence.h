/*
 * What skep-audit reads from files, beside the auditor's own records: intents by the producer's
 * reference (their jobs are not known before they are matched with rows), faults, the ledger's
 * other tables. All texts live in one arena until the end.
 */
#ifndef SKEP_AUDIT_EVIDENCE_H
#define SKEP_AUDIT_EVIDENCE_H

#include "core/arena.h"
#include "tests/audit/audit.h"
#include "tests/audit/report.h"

struct word { /* a set of texts, and a number of each */
        struct str text;
        uint64_t n;
        struct word *next;
};

struct intent {
        struct str ref;
        bool letter; /* not over HTTP: a broker or the inbox confirms it, and nobody answers */
        bool amqp;   /* where a letter without an id may come twice and look like two */
        bool has_queue, keyed;
        uint32_t queue; /* hash */
        struct str key, unique, request;
        uint8_t key16[16];
        uint64_t payload;
        int64_t wall_us, mono_ns, not_before_us;
        uint16_t max_attempts;
        uint32_t group;
        bool poison, child;
        struct job_id parent;
        uint32_t parent_claim;

        /* What the producer was told; several acks add up. */
        bool accepted, refused, conflict, confirmed, has_id, told_two;
        struct job_id id;
        int64_t confirmed_ns;

        struct audit_job *job; /* matched row; NULL: none */
        UT_hash_handle hh;     /* by ref */
};

struct node_row {
        uint64_t holder;
        bool dead;
        int64_t beat_at_us;
};

enum fault_kind {
        FAULT_KILL,
        FAULT_STOP,
        FAULT_CUT,
        FAULT_TERM,
        FAULT_CLOCK,
        FAULT_LEDGER,
        FAULT_BROKER_LOST,
        FAULT_REDELIVERED,
        FAULT_OTHER,
};

struct fault {
        enum fault_kind kind;
        struct str node;
        bool has_node, has_pid, has_to, ledger_clock;
        int64_t pid, from_ns, to_ns, n, grace_ms, code;
        struct fault *next;
};

struct options {
        int64_t lease_ms, grace_ms, settle_ms;
        uint64_t extra_permille; /* id-less letters with more than one row, in a thousandth */
        bool strangers;
        struct word *unserved, *paused; /* types without a handler, queues that are paused */
};

struct evidence {
        struct options options;
        struct audit audit;
        struct arena texts;
        struct intent *intents;  /* by ref, in order of reading */
        struct audit_job **rows; /* those that the dump has */
        uint32_t n_rows, rows_capacity;
        struct node_row *nodes;
        uint32_t n_nodes, nodes_capacity;
        struct fault *faults;
        struct word *watched;         /* types whose handlers write their runs down */
        struct word *holders;         /* node/pid pairs of runs */
        struct word *ready, *unacked; /* broker counts by queue */
        uint64_t late_outbox, inbox;
        int64_t dumped_us;
        uint64_t lines, truncated;
        uint64_t cancels, requeues, starts, delayed;
        uint64_t idless, idless_extra; /* letters without an id; rows too many */
        struct word *extra;            /* refs of those, at most AUDIT_KEPT */
        uint64_t lost_with_broker;
};

void evidence_deinit(struct evidence *e);

struct str keep_text(struct evidence *e, struct str s);
struct word *word_find(struct word *list, struct str text); /* NULL: not in it */
struct word *word_note(struct evidence *e, struct word **list, struct str text); /* finds or adds */

uint32_t hash32(struct str s);
uint64_t hash_holder(struct str node, int64_t pid);

/* A log of any kind of records. 0, or -1 after saying on stderr what is wrong and where. */
int read_log(struct evidence *e, const char *path);
/* A ledger dump, which must be complete. Likewise. */
int read_dump(struct evidence *e, const char *path);

/* Finds out what was read about the same thing: intents and rows, runs and tries, faults and
 * holders. Judges what shows on the way (I1, I1b, I13). */
void evidence_match(struct evidence *e, struct audit_report *r);
/* Judges what no single job shows (I14 to I23), and counts what there was to judge. */
void evidence_judge(struct evidence *e, struct audit_report *r);

#endif
