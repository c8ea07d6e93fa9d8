/*
 * What the auditor found, by invariant: how many cases were judged, which violated it (counted all,
 * the first ten kept), what was seen and allowed, or why it was not judged. Its size does not
 * depend on how much was found.
 */
#ifndef SKEP_AUDIT_REPORT_H
#define SKEP_AUDIT_REPORT_H

#include <stdio.h>

#include "core/base.h"

/*      name, what is counted, why it is not judged when nothing was counted */
#define AUDIT_INVARIANTS(X)                                                                        \
        X("I1", "submissions", "no producer was told that its submission is accepted")             \
        X("I1b", "letters", "no broker confirmed a letter")                                        \
        X("I2", "runs of ended jobs", "no ended job has a run in the logs")                        \
        X("I3", "jobs", "no job was claimed")                                                      \
        X("I4", "runs", "no handler wrote a run down")                                             \
        X("I5", "acks", "nothing outside shows when a broker was acknowledged; I1b sees its loss") \
        X("I6", "jobs", "no job was tried")                                                        \
        X("I7", "jobs", "no poison job in the logs and no strike in the ledger")                   \
        X("I8", "jobs", "no job is dead or was requeued")                                          \
        X("I9", "runs and rows", "no producer wrote anything down")                                \
        X("I10", "payloads", "no payload is known on two sides")                                   \
        X("I12", "jobs", "no scheduled jobs in the logs, and no handler asked for a delay")        \
        X("I13", "names", "no two submissions bear one name")                                      \
        X("I14", "cancels", "no cancel was written down")                                          \
        X("I15", "rows", "no rows")                                                                \
        X("I16", "ends", "no end of a watched try")                                                \
        X("I17", "tries", "no SIGTERM was noted, no try was given back or stopped")                \
        X("I18", "caps", "memory and back-pressure do not show in these records")                  \
        X("I19", "runs", "no outage of the ledger was noted")                                      \
        X("I20", "pages", "that is for the reconcile command to say")                              \
        X("I22", "rows", "no rows")                                                                \
        X("I23", "commits", "the fate of a commit shows only through I1, I3 and I13")

#define AUDIT_LINES 22
#define AUDIT_KEPT  10

struct audit_finding {
        char job[40]; /* id, or a producer's reference; "": none */
        char text[200];
};

struct audit_line {
        uint64_t judged, violations, excused;
        struct audit_finding found[AUDIT_KEPT], allowed[AUDIT_KEPT];
        char last[40];       /* so that one job counts once in a row */
        const char *why_not; /* overrides: not judged although there were cases */
};

struct audit_report {
        struct audit_line lines[AUDIT_LINES];
};

/* `which` must be one of the names above. */
void report_violation(struct audit_report *r, const char *which, const char *job, const char *text);
void report_excuse(struct audit_report *r, const char *which, const char *job, const char *text);
void report_judged(struct audit_report *r, const char *which, uint64_t n);
void report_unjudged(struct audit_report *r, const char *which, const char *why); /* borrows why */

/* How many invariants are violated. */
unsigned report_violated(const struct audit_report *r);
unsigned report_held(const struct audit_report *r);
unsigned report_open(const struct audit_report *r); /* not judged */

void report_print(const struct audit_report *r, FILE *to);
/* The members "violated" and "invariants" of a JSON object, without its braces. */
void report_print_json(const struct audit_report *r, FILE *to);

#endif
