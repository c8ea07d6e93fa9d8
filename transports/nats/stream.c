/*
 * The streams: looked at, made when they are missing and may be, compared when they are there. What
 * differs is told and used as it is: to change a stream is the operator's to do. What would lose or
 * stop every job is not used.
 *
 * A stream that was made anew, by whom ever, begins a new history: everything that is known of its
 * consumers and of messages under way is void.
 */
#include "transports/nats/internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define NOT_FOUND     10059
#define NAME_TAKEN    10058
#define DUPLICATES_NS (120 * NS_PER_S)
/* nats-server 2.9 says that a stream is gone before it has removed its folder: one of the same name
 * that is made at once loses its files to that, and takes nothing more. */
#define REMAKE_AFTER_NS (3 * NS_PER_S)

/* --- subjects --------------------------------------------------------------------------------- */

static size_t token(const char *p)
{
        return strcspn(p, ".");
}

static bool is_token(const char *p, size_t n, char c)
{
        return n == 1 && *p == c;
}

/* Does every subject that `narrow` matches match `wide`? Both may have wildcards. */
bool subject_covers(const char *wide, const char *narrow)
{
        while (*wide && *narrow) {
                size_t w = token(wide), n = token(narrow);
                if (is_token(wide, w, '>')) {
                        return true;
                }
                bool any = is_token(wide, w, '*') && !is_token(narrow, n, '>');
                if (!any && (w != n || memcmp(wide, narrow, n) != 0)) {
                        return false;
                }
                wide += w + (wide[w] == '.');
                narrow += n + (narrow[n] == '.');
        }
        return !*wide && !*narrow;
}

/* Is there a subject that both match? */
bool subject_overlaps(const char *a, const char *b)
{
        while (*a && *b) {
                size_t m = token(a), n = token(b);
                if (is_token(a, m, '>') || is_token(b, n, '>')) {
                        return true;
                }
                bool any = is_token(a, m, '*') || is_token(b, n, '*');
                if (!any && (m != n || memcmp(a, b, n) != 0)) {
                        return false;
                }
                a += m + (a[m] == '.');
                b += n + (b[n] == '.');
        }
        return !*a && !*b;
}

/* --- making ----------------------------------------------------------------------------------- */

static json_t *stream_config(const struct settings *s, const char *name, const char *subject,
                             bool jobs)
{
        json_t *c = json_pack("{s:s, s:[s], s:s, s:s, s:s, s:i}", "name", name, "subjects", subject,
                              "retention", jobs ? "workqueue" : "limits", "storage", "file",
                              "discard", "new", "num_replicas", (int)s->replicas);
        static const char *const unbounded[] = {"max_consumers", "max_msgs", "max_bytes",
                                                "max_msg_size", "max_msgs_per_subject"};
        for (size_t i = 0; c && i < ARRAY_LEN(unbounded); i++) {
                json_object_set_new(c, unbounded[i], json_integer(-1));
        }
        if (c) {
                json_object_set_new(c, "duplicate_window", json_integer(DUPLICATES_NS));
        }
        return c;
}

static int make_stream(struct keeper *k, const char *name, const char *subject, bool jobs,
                       struct answer *ret)
{
        const struct settings *s = &k->jet->settings;
        char wide[SUBJECT_BYTES];
        snprintf(wide, sizeof wide, "%s.>", subject);
        int r =
            api_call(k, ret, stream_config(s, name, wide, jobs), "$JS.API.STREAM.CREATE.%s", name);
        if (r == 0) {
                desk_note(&k->jet->desk, LEVEL_NOTICE, "stream %s was made, on %s", name, wide);
        } else if (r == API_ERROR && ret->err_code == NAME_TAKEN) {
                answer_free(ret); /* another node was faster */
                r = api_call(k, ret, NULL, "$JS.API.STREAM.INFO.%s", name);
        }
        return r;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool is_covered(const json_t *config, const char *filter)
{
        const json_t *subjects = json_object_get(config, "subjects");
        for (size_t i = 0; i < json_array_size(subjects); i++) {
                const char *text = json_string_value(json_array_get(subjects, i));
                if (text && subject_covers(text, filter)) {
                        return true;
                }
        }
        return false;
}

static void list_subjects(const json_t *config, char *ret_text, size_t size)
{
        const json_t *subjects = json_object_get(config, "subjects");
        size_t n = 0;
        ret_text[0] = '\0';
        for (size_t i = 0; i < json_array_size(subjects) && n < size; i++) {
                const char *text = json_string_value(json_array_get(subjects, i));
                n += (size_t)snprintf(ret_text + n, size - n, "%s%s", i ? ", " : "",
                                      text ? text : "?");
        }
}

static void say_uncovered(const struct keeper *k, const json_t *config, const struct post *p,
                          char *ret_text, size_t size)
{
        char theirs[80];
        list_subjects(config, theirs, sizeof theirs);
        snprintf(ret_text, size, "stream %s is on %s, which does not take %s of queue %s",
                 k->jet->settings.stream, theirs[0] ? theirs : "no subjects", p->pattern->filter,
                 p->order->name);
}

/* NULL: it can be used. */
static const char *what_breaks(const struct keeper *k, const json_t *config, char *text,
                               size_t size)
{
        const char *name = k->jet->settings.stream;
        if (json_object_get(config, "mirror")) {
                snprintf(text, size, "stream %s is a mirror: nothing can be published to it", name);
                return text;
        }
        if (json_is_true(json_object_get(config, "sealed"))) {
                snprintf(text, size, "stream %s is sealed", name);
                return text;
        }
        if (json_is_true(json_object_get(config, "no_ack"))) {
                snprintf(text, size, "stream %s confirms nothing (no_ack)", name);
                return text;
        }
        for (const struct line *line = k->lines; line; line = line->next) {
                for (const struct post *p = line->posts; p; p = p->next) {
                        if (!is_covered(config, p->pattern->filter)) {
                                say_uncovered(k, config, p, text, size);
                                return text;
                        }
                }
        }
        return NULL;
}

static void name_limits(struct keeper *k, const json_t *config)
{
        static const char *const limits[] = {"max_msgs", "max_bytes", "max_msgs_per_subject"};
        const char *name = k->jet->settings.stream;
        bool old = strcmp(answer_text(config, "discard"), "old") == 0;
        for (size_t i = 0; old && i < ARRAY_LEN(limits); i++) {
                int64_t n = answer_number(config, limits[i]);
                if (n > 0) {
                        keeper_say(k, NULL, LEVEL_WARNING,
                                   "stream %s drops jobs that were not taken: %s is %" PRId64, name,
                                   limits[i], n);
                }
        }
        int64_t age = answer_number(config, "max_age");
        if (age > 0) {
                keeper_say(k, NULL, LEVEL_WARNING,
                           "stream %s drops jobs that were not taken: max_age is %" PRId64 " s",
                           name, age / NS_PER_S);
        }
}

static void name_differences(struct keeper *k, const json_t *config)
{
        const struct settings *s = &k->jet->settings;
        char wide[SUBJECT_BYTES];
        snprintf(wide, sizeof wide, "%s.>", s->subject);
        if (strcmp(answer_text(config, "storage"), "file") != 0) {
                keeper_say(k, NULL, LEVEL_WARNING,
                           "stream %s is kept in memory: a restart of the server loses its jobs",
                           s->stream);
        }
        if (!is_covered(config, wide)) {
                keeper_say(k, NULL, LEVEL_WARNING, "stream %s does not take all of %s", s->stream,
                           wide);
        }
        int64_t replicas = answer_number(config, "num_replicas");
        if (replicas < (int64_t)s->replicas) {
                keeper_say(k, NULL, LEVEL_WARNING,
                           "stream %s has %" PRId64 " replicas, %" PRIu32 " were wanted", s->stream,
                           replicas, s->replicas);
        }
        if (answer_number(config, "duplicate_window") < DUPLICATES_NS) {
                keeper_say(k, NULL, LEVEL_INFO,
                           "stream %s knows duplicates for less than two minutes", s->stream);
        }
        name_limits(k, config);
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Of RFC 3339 as the server writes it, in ns since 1970; 0: it cannot be read. */
static int64_t read_time(const char *text)
{
        struct tm tm = {0};
        const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
        int64_t ns = 0, unit = NS_PER_S;
        if (!p) {
                return 0;
        }
        if (*p == '.') {
                for (p++; *p >= '0' && *p <= '9' && unit >= 10; p++) {
                        unit /= 10;
                        ns += (*p - '0') * unit;
                }
        }
        return (int64_t)timegm(&tm) * NS_PER_S + ns;
}

/* --- what a server forgot ----------------------------------------------------------------------
 *
 * A server that loses power comes back without the end of a stream, or without the stream, and says
 * nothing of it. The numbers do.
 */

void reach_note(struct reach *r, uint32_t history, uint64_t sequence)
{
        if (history == atomic_load(&r->history) && sequence > atomic_load(&r->last)) {
                atomic_store(&r->last, sequence);
        }
}

/* `reached`: as it was known before the server was asked. */
static void take_end(struct keeper *k, const struct answer *a, uint64_t reached)
{
        struct reach *reach = &k->jet->reach;
        k->last_seq = (uint64_t)answer_number(json_object_get(a->root, "state"), "last_seq");
        if (k->last_seq < reached) {
                desk_note(&k->jet->desk, LEVEL_WARNING,
                          "stream %s lost its end: it reached %" PRIu64 " and ends at %" PRIu64
                          "; letters among these are gone unless their producers send them again",
                          k->jet->settings.stream, reached, k->last_seq);
                atomic_store(&reach->last, k->last_seq);
        }
        reach_note(reach, k->history, k->last_seq);
}

/* Another stream of this name than before: everything begins anew. */
static void new_history(struct keeper *k, const char *created)
{
        if (k->created[0]) {
                desk_note(
                    &k->jet->desk, LEVEL_WARNING,
                    "stream %s is another than before: what it held is lost; letters among it "
                    "are gone unless their producers send them again",
                    k->jet->settings.stream);
        }
        snprintf(k->created, sizeof k->created, "%s", created);
        k->created_ns = read_time(created);
        k->history = history_hash(k->jet->settings.stream, created);
        atomic_store(&k->jet->reach.history, k->history);
        atomic_store(&k->jet->reach.last, 0);
        for (struct line *line = k->lines; line; line = line->next) {
                for (struct post *p = line->posts; p; p = p->next) {
                        keeper_close(k, p);
                        p->ready = p->floor_known = false;
                        p->floor = p->floor_told = p->floor_ns = 0;
                        p->look_ns = 0;
                        p->created[0] = '\0';
                }
        }
}

static bool take_stream(struct keeper *k, const struct answer *a, uint64_t reached)
{
        char text[200];
        const json_t *config = json_object_get(a->root, "config");
        const char *created = answer_text(a->root, "created");
        if (strcmp(created, k->created) != 0) {
                new_history(k, created);
                reached = 0;
        }
        take_end(k, a, reached);
        k->work_queue = strcmp(answer_text(config, "retention"), "workqueue") == 0;
        k->replicated = answer_number(config, "num_replicas") > 1;
        if (what_breaks(k, config, text, sizeof text)) {
                keeper_down(k, text);
                return false;
        }
        name_differences(k, config);
        return true;
}

static bool is_too_early(struct keeper *k, bool missing)
{
        k->missing_ns = !missing ? 0 : k->missing_ns ? k->missing_ns : clock_ns();
        return missing && k->created[0] && clock_ns() - k->missing_ns < REMAKE_AFTER_NS;
}

static void say_unusable(struct keeper *k, const struct answer *a, bool missing)
{
        char text[256];
        const char *what = "cannot be looked at";
        if (missing) {
                what = k->jet->settings.create ? "is not there and not made yet"
                                               : "is not there, and is not made (create)";
        }
        snprintf(text, sizeof text, "stream %s %s: %s", k->jet->settings.stream, what, a->text);
        keeper_down(k, text);
}

bool stream_look(struct keeper *k)
{
        const struct settings *s = &k->jet->settings;
        struct answer a;
        uint64_t reached = atomic_load(&k->jet->reach.last);
        int r = api_call(k, &a, NULL, "$JS.API.STREAM.INFO.%s", s->stream);
        bool missing = r == API_ERROR && a.err_code == NOT_FOUND;
        if (is_too_early(k, missing)) {
                snprintf(a.text, sizeof a.text, "it was deleted");
        } else if (missing && s->create) {
                answer_free(&a);
                r = make_stream(k, s->stream, s->subject, true, &a);
        }
        bool passing = r == API_LATE || a.code == 503; /* a cluster without a leader, for one */
        bool ok = r == 0 ? take_stream(k, &a, reached) : k->told_up && passing;
        if (!ok && (r == API_ERROR || r == API_LATE)) {
                say_unusable(k, &a, missing);
        }
        answer_free(&a);
        return ok;
}

bool stream_refresh(struct keeper *k)
{
        struct answer a;
        uint64_t reached = atomic_load(&k->jet->reach.last);
        int r = api_call(k, &a, NULL, "$JS.API.STREAM.INFO.%s", k->jet->settings.stream);
        bool same = r == 0 && strcmp(answer_text(a.root, "created"), k->created) == 0;
        if (same) {
                take_end(k, &a, reached);
        }
        answer_free(&a);
        return same;
}

bool stream_refused(struct keeper *k)
{
        const struct settings *s = &k->jet->settings;
        struct answer a;
        int r = api_call(k, &a, NULL, "$JS.API.STREAM.INFO.%s", s->refused_stream);
        if (r == API_ERROR && a.err_code == NOT_FOUND && s->create) {
                answer_free(&a);
                r = make_stream(k, s->refused_stream, s->refused_subject, false, &a);
        }
        if (r == API_ERROR) {
                keeper_say(k, NULL, LEVEL_WARNING,
                           "stream %s for letters that are too large is not there: %s",
                           s->refused_stream, a.text);
        }
        answer_free(&a);
        return r == 0;
}
