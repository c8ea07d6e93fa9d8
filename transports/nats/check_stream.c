/*
 * For `skep doctor`: a stream against the one that skepd would have made. Everything that differs
 * is named with both values; nothing is ever changed, since a stream may have other users.
 */
#include "transports/nats/check.h"

#include "core/pattern.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN_MAX 5 /* subjects by name */

static void add(struct findings *f, const char *fmt, va_list args)
{
        size_t n = strlen(f->note);
        if (n > 0) {
                n += (size_t)snprintf(f->note + n, f->size - n, "; ");
        }
        if (n < f->size) {
                vsnprintf(f->note + n, f->size - n, fmt, args);
        }
}

void find_good(struct findings *f, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        add(f, fmt, args);
        va_end(args);
}

void find_odd(struct findings *f, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        add(f, fmt, args);
        va_end(args);
        f->odd = true;
}

/* --- its configuration ------------------------------------------------------------------------ */

/* Is every subject that `inner` matches one of `outer`'s? */
static bool covers(const char *outer, const char *inner)
{
        for (;;) {
                size_t n = strcspn(outer, "."), m = strcspn(inner, ".");
                bool tail = n == 1 && *outer == '>';
                if (tail) {
                        return m > 0;
                }
                bool star = n == 1 && *outer == '*' && !(m == 1 && *inner == '>');
                if (!star && (n != m || memcmp(outer, inner, n) != 0)) {
                        return false;
                }
                if (!outer[n] || !inner[m]) {
                        return !outer[n] && !inner[m];
                }
                outer += n + 1;
                inner += m + 1;
        }
}

static bool check_subjects(struct findings *f, const struct settings *s, const jsStreamConfig *c)
{
        char ours[128], theirs[160] = "";
        size_t n = 0;
        snprintf(ours, sizeof ours, "%s.>", s->subject);
        for (int i = 0; i < c->SubjectsLen; i++) {
                if (covers(c->Subjects[i], ours)) {
                        return true;
                }
                n += n < sizeof theirs ? (size_t)snprintf(theirs + n, sizeof theirs - n, "%s%s",
                                                          i ? ", " : "", c->Subjects[i])
                                       : 0;
        }
        find_odd(f,
                 "stream %s takes %s and not %s: skepd cannot use it until that subject is added",
                 s->stream, *theirs ? theirs : "no subjects of its own", ours);
        return false;
}

static bool check_usable(struct findings *f, const struct settings *s, const jsStreamConfig *c)
{
        const char *what = c->Mirror   ? "is a mirror"
                           : c->NoAck  ? "does not confirm what it takes (no_ack)"
                           : c->Sealed ? "is sealed"
                                       : NULL;
        if (what) {
                find_odd(f, "stream %s %s: skepd cannot use it", s->stream, what);
                return false;
        }
        return check_subjects(f, s, c);
}

/* What old messages make room for is jobs that are gone. */
static void check_limits(struct findings *f, const struct settings *s, const jsStreamConfig *c)
{
        const struct {
                int64_t limit;
                const char *name;
        } limits[] = {{c->MaxMsgs, "max_msgs"},
                      {c->MaxBytes, "max_bytes"},
                      {c->MaxMsgsPerSubject, "max_msgs_per_subject"}};
        for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
                if (limits[i].limit > 0 && c->Discard == js_DiscardOld) {
                        find_odd(f,
                                 "stream %s: %s is %lld with discard old: when it is reached, the "
                                 "oldest jobs are dropped",
                                 s->stream, limits[i].name, (long long)limits[i].limit);
                }
        }
        if (c->MaxAge > 0) {
                find_odd(f, "stream %s: max_age is %llds: older jobs are dropped, run or not",
                         s->stream, (long long)(c->MaxAge / NS_PER_S));
        }
        if (c->MaxConsumers > 0) {
                find_odd(f, "stream %s: max_consumers is %lld; each subject of a queue needs one",
                         s->stream, (long long)c->MaxConsumers);
        }
}

bool judge_stream(struct findings *f, const struct settings *s, const jsStreamConfig *c)
{
        static const char *const retentions[] = {"limits", "interest", "workqueue"};
        if (!check_usable(f, s, c)) {
                return false;
        }
        size_t kind = (size_t)c->Retention < 3 ? (size_t)c->Retention : 0;
        find_good(f, "stream %s on %s.>, retention %s", s->stream, s->subject, retentions[kind]);
        if (c->Retention == js_InterestPolicy) {
                find_odd(f, "what is published while no consumer exists is dropped");
        }
        if (c->Storage == js_MemoryStorage) {
                find_odd(f, "storage is memory, not file: a restart of the server empties it");
        }
        if (c->Replicas > 0 && c->Replicas < (int64_t)s->replicas) {
                find_odd(f, "replicas is %lld, not %u", (long long)c->Replicas, s->replicas);
        }
        if (c->MaxMsgSize > 0 && (uint32_t)c->MaxMsgSize < s->payload_max) {
                find_odd(f, "max_msg_size is %d, less than jobs.payload_max %u", c->MaxMsgSize,
                         s->payload_max);
        }
        check_limits(f, s, c);
        return true;
}

/* --- what waits ------------------------------------------------------------------------------- */

/* A consumer without a subject takes all; newer servers' lists of subjects are not told either. */
static bool is_consumed(const char *subject, const jsConsumerInfoList *list)
{
        for (int i = 0; i < list->Count; i++) {
                const char *filter = list->List[i]->Config->FilterSubject;
                if (!filter || !*filter || pattern_match(str_of(filter), str_of(subject))) {
                        return true;
                }
        }
        return false;
}

void judge_subjects(struct findings *f, const jsStreamState *state, const jsConsumerInfoList *list)
{
        static const jsConsumerInfoList none;
        const jsStreamStateSubjects *all = state->Subjects;
        char names[300] = "";
        size_t n = 0;
        int missed = 0;
        for (int i = 0; all && i < all->Count; i++) {
                if (is_consumed(all->List[i].Subject, list ? list : &none)) {
                        continue;
                }
                if (missed++ < SHOWN_MAX && n < sizeof names) {
                        n += (size_t)snprintf(names + n, sizeof names - n, "%s%.80s (%llu)",
                                              n ? ", " : "", all->List[i].Subject,
                                              (unsigned long long)all->List[i].Msgs);
                }
        }
        if (missed) {
                find_odd(f, "%d subject%s with messages that no consumer asks for: %s%s", missed,
                         missed == 1 ? "" : "s", names, missed > SHOWN_MAX ? ", ..." : "");
        }
}
