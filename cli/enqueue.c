/*
 * `skep enqueue`: one job, or (-f) a file of them.
 *
 * A key is minted when none is given, and a request whose answer stays unknown is repeated with it:
 * the same job, once. What is known at the end is said, with the key to go on with. Checking TYPE,
 * queue or priority here was discarded: the server knows them, and says so with the field's name.
 */
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "core/config.h"
#include "http/base64.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX ((size_t)64 << 20) /* read from stdin; the server's own limit is smaller */

/* "14:30", "2026-01-31 14:30[:00]" are local; anything with a T must be RFC 3339. */
static bool read_time(const char *text, struct buf *ret)
{
        int64_t us;
        if (time_parse(text, &us)) {
                buf_text(ret, text);
                return true;
        }
        time_t now = time(NULL);
        struct tm tm;
        static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%H:%M:%S",
                                            "%H:%M"};
        for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
                localtime_r(&now, &tm);
                tm.tm_sec = 0;
                const char *end = strptime(text, forms[i], &tm);
                if (!end || *end) {
                        continue;
                }
                tm.tm_isdst = -1;
                time_t t = mktime(&tm);
                if (i >= 2 && t <= now) { /* the next time that the clock shows this */
                        tm.tm_mday++;
                        tm.tm_isdst = -1;
                        t = mktime(&tm);
                }
                time_format(ret, (int64_t)t * US_PER_S);
                return true;
        }
        return false;
}

static int add_times(struct invocation *in, struct buf *json)
{
        const char *delay = invocation_get(in, "in"), *at = invocation_get(in, "at");
        const char *timeout = invocation_get(in, "timeout");
        const char *deadline = invocation_get(in, "deadline");
        int64_t ms;
        if (delay && at) {
                return say_usage(in, "--in and --at exclude each other");
        }
        if (delay) {
                if (!duration_parse(str_of(delay), &ms)) {
                        return say_usage(in, "--in %s is not a duration: 250ms, 30s, 5m, 2h, 7d",
                                         delay);
                }
                member_add(json, "delay", delay);
        }
        if (at) {
                CLEANUP(buf_deinit)
                struct buf when = {0};
                if (!read_time(at, &when)) {
                        return say_usage(
                            in,
                            "--at %s is not a time: 2026-01-31T14:30:00Z, \"2026-01-31 14:30\" or "
                            "14:30",
                            at);
                }
                member_add(json, "run_at", buf_z(&when));
        }
        if (timeout) {
                if (!duration_parse(str_of(timeout), &ms)) {
                        return say_usage(in, "--timeout %s is not a duration: 250ms, 30s, 5m, 2h",
                                         timeout);
                }
                member_add(json, "timeout", timeout);
        }
        if (deadline) {
                CLEANUP(buf_deinit)
                struct buf when = {0};
                if (duration_parse(str_of(deadline), &ms)) {
                        time_format(&when, wall_us() + ms * 1000);
                } else if (!read_time(deadline, &when)) {
                        return say_usage(in,
                                         "--deadline %s is neither a time (2026-01-31T14:30:00Z) "
                                         "nor a duration from now (2h)",
                                         deadline);
                }
                member_add(json, "deadline", buf_z(&when));
        }
        return 0;
}

static int add_tags(struct invocation *in, struct buf *json)
{
        size_t at = 0;
        bool any = false;
        for (const char *tag; (tag = invocation_next(in, "tag", &at)); any = true) {
                buf_text(json, any ? "," : ",\"tags\":[");
                json_quote(json, tag, strlen(tag));
        }
        buf_text(json, any ? "]" : "");
        return 0;
}

static int add_headers(struct invocation *in, struct buf *json)
{
        size_t at = 0;
        bool any = false;
        for (const char *line; (line = invocation_next(in, "header", &at)); any = true) {
                const char *colon = strchr(line, ':');
                if (!colon || colon == line) {
                        return say_usage(in, "-H %s is not a header: it is 'name: value'", line);
                }
                const char *value = colon + 1;
                value += strspn(value, " \t");
                buf_text(json, any ? "," : ",\"headers\":{");
                json_quote(json, line, (size_t)(colon - line));
                buf_text(json, ":");
                json_quote(json, value, strlen(value));
        }
        buf_text(json, any ? "}" : "");
        return 0;
}

static int add_payload(const char *body, struct buf *json)
{
        if (!body) {
                return 0;
        }
        if (strcmp(body, "-") != 0) {
                body_add(json, str_of(body));
                return 0;
        }
        CLEANUP(buf_deinit)
        struct buf read = {0};
        int r = read_all(stdin, "standard input", BODY_MAX, &read);
        if (r == 0) {
                body_add(json, (struct str){buf_z(&read), (uint32_t)read.n});
        }
        return r;
}

static int check_utf8(struct invocation *in, const char *type)
{
        for (size_t i = 0; i < in->n_given; i++) {
                const char *v = in->given[i].value;
                if (v && !utf8_valid(v, strlen(v))) {
                        return say_usage(in, "--%s %s is not UTF-8", in->given[i].flag->name, v);
                }
        }
        if (!utf8_valid(type, strlen(type))) {
                return say_usage(in, "the type %s is not UTF-8", type);
        }
        return 0;
}

/* Flags whose value goes as it is: the server says what is wrong with it. */
static void add_texts(struct invocation *in, struct buf *json)
{
        static const char *const texts[][2] = {{"queue", "queue"},
                                               {"retry", "retry"},
                                               {"heartbeat", "heartbeat"},
                                               {"unique", "unique_key"},
                                               {"unique-scope", "unique_scope"},
                                               {"unique-states", "unique_states"},
                                               {"unique-for", "unique_for"},
                                               {"unique-conflict", "unique_conflict"},
                                               {"reply-to", "reply_to"},
                                               {"correlation-id", "correlation_id"},
                                               {"parent-id", "parent_id"}};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                const char *value = invocation_get(in, texts[i][0]);
                if (value) {
                        member_add(json, texts[i][1], value);
                }
        }
}

int job_object(struct invocation *in, const char *type, const char *body, const char *key,
               struct buf *json)
{
        long number;
        int r = check_utf8(in, type);
        if (r) {
                return r;
        }
        buf_text(json, "{\"type\":");
        json_quote(json, type, strlen(type));
        if (key) {
                member_add(json, "key", key);
        }
        add_texts(in, json);
        static const struct {
                const char *flag, *member;
                long min, max;
        } numbers[] = {{"priority", "priority", 0, 9}, {"max-attempts", "max_attempts", 1, 1000}};
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
                r = invocation_number(in, numbers[i].flag, numbers[i].min, numbers[i].max, -1,
                                      &number);
                if (r) {
                        return r;
                }
                if (number >= 0) {
                        buf_printf(json, ",\"%s\":%ld", numbers[i].member, number);
                }
        }
        r = add_times(in, json);
        r = r ? r : add_tags(in, json);
        r = r ? r : add_headers(in, json);
        r = r ? r : add_payload(body, json);
        buf_text(json, "}");
        return r;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* The patience with an unknown answer; given by hand, it covers a server that is not there yet as
 * well. */
int read_patience(struct invocation *in, uint32_t *ret_ms, bool *ret_stubborn)
{
        const char *text = invocation_get(in, "retry-for");
        int64_t ms = CLIENT_PATIENCE_MS;
        if (text && (!duration_parse(str_of(text), &ms) || ms > INT32_MAX)) {
                return say_usage(in, "--retry-for %s is not a duration: 0, 30s, 5m", text);
        }
        *ret_ms = (uint32_t)ms;
        *ret_stubborn = text != NULL;
        return 0;
}

static int say_unknown(const struct client *c, int failure, const struct response *r,
                       const char *key)
{
        if (failure == CALL_UNREACHABLE && !r->doubtful) {
                return client_say_failure(c, failure); /* nothing was ever sent */
        }
        int code = failure ? client_say_failure(c, failure) : client_say_problem(r, NULL);
        say("it is not known whether the job was taken (tried %u times); "
            "repeating it with --key %s is safe: it is the same job",
            r->tries, key);
        return code;
}

int print_created(struct invocation *in, const struct response *r, const json_t *job)
{
        const char *id = pick_text(job, "id");
        bool people =
            in->output == OUTPUT_TABLE || (in->output == OUTPUT_AUTO && isatty(STDOUT_FILENO));
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(r);
                return 0;
        }
        CLEANUP(free_text)
        char *safe = text_safe(id);
        if (!people) {
                puts(safe);
                return 0;
        }
        const char *state = pick_text(job, "state"), *queue = pick_text(job, "queue");
        CLEANUP(free_text)
        char *more = text_printf("%s, queue %s", state ? state : "taken", queue ? queue : "?");
        CLEANUP(free_text)
        char *safe_more = text_safe(more);
        printf("%s  %s\n", safe, safe_more);
        return 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* A pipe gets the bytes as they are, a terminal never does. */
static void print_bytes(const char *p, size_t n)
{
        CLEANUP(buf_deinit)
        struct buf shown = {0};
        if (isatty(STDOUT_FILENO)) {
                text_escape(&shown, p, n, ESCAPE_BLOCK);
        } else {
                buf_add(&shown, p, n);
        }
        fwrite(buf_z(&shown), 1, shown.n, stdout);
        putchar('\n');
}

static void print_result(const struct response *r, const json_t *job)
{
        const json_t *encoded = pick(job, "result_base64");
        const json_t *result = pick(job, "result");
        const char *type = pick_text(job, "result_type");
        struct str raw;
        if (json_is_string(encoded)) {
                struct str text = {json_string_value(encoded),
                                   (uint32_t)json_string_length(encoded)};
                CLEANUP(free_text)
                char *bytes = text_alloc(text.n + 1);
                uint32_t n = 0;
                if (base64_decode(text, bytes, &n)) {
                        print_bytes(bytes, n);
                }
        } else if (json_is_string(result) && type && strncmp(type, "text/", 5) == 0) {
                print_bytes(json_string_value(result), json_string_length(result));
        } else if (result && response_member(r, "result", &raw)) {
                print_bytes(raw.p, raw.n);
        }
}

static int judge_end(const json_t *job, const char *id)
{
        const char *state = pick_text(job, "state");
        if (strcmp(state, "completed") == 0) {
                return 0;
        }
        const char *reason = pick_text(job, "reason");
        const char *class = pick_text(job, ERROR_CLASS_FIELDS),
                   *text = pick_text(job, ERROR_TEXT_FIELDS);
        say("job %s is %s%s%s%s", id, state, reason && *reason ? " (" : "", reason ? reason : "",
            reason && *reason ? ")" : "");
        if (class || text) {
                say("%s%s%s", class ? class : "", class && text ? ": " : "", text ? text : "");
        }
        return EXIT_REFUSED;
}

static int wait_for(struct invocation *in, struct client *c, const char *id)
{
        long seconds;
        int r = invocation_number(in, "wait", 1, 31536000, 0, &seconds);
        if (r) {
                return r;
        }
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *job = NULL;
        int64_t until = seconds > 0 ? clock_ms() + seconds * 1000 : INT64_MAX;
        r = job_wait(c, id, until, &answer, &job);
        if (r < 0) {
                say("job %s was taken; `skep jobs show %s` tells of it", id, id);
                return -r;
        }
        if (r == WAIT_TIMED_OUT) {
                say("job %s is %s after %ld s; it goes on: `skep jobs show %s`", id,
                    pick_text(job, "state"), seconds, id);
                return EXIT_LATER;
        }
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(&answer);
        } else if (in->output == OUTPUT_ID) {
                puts(id);
        } else {
                print_result(&answer, job);
        }
        return judge_end(job, id);
}

/* --- the verb --------------------------------------------------------------------------------- */

static int enqueue_one(struct invocation *in)
{
        char minted[JOB_ID_TEXT];
        const char *key = invocation_get(in, "key");
        if (!key) {
                key_mint(minted);
                key = minted;
        }
        CLEANUP(buf_deinit)
        struct buf json = {0};
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(response_deinit)
        struct response answer = {0};
        uint32_t patience_ms = 0;
        bool stubborn = false;
        long ignored;
        int r =
            invocation_number(in, "wait", 1, 31536000, 0, &ignored); /* before anything is sent */
        r = r ? r : read_patience(in, &patience_ms, &stubborn);
        r = r ? r : client_open(in, &c);
        r = r ? r : job_object(in, in->args[0], in->n_args > 1 ? in->args[1] : NULL, key, &json);
        if (r) {
                return r;
        }
        struct request rq = {.method = "POST",
                             .path = "/v1/jobs",
                             .content_type = "application/json",
                             .body = buf_z(&json),
                             .body_n = json.n};
        r = client_insist(c, &rq, patience_ms, stubborn, &answer);
        if (r || answer.status == 429 || answer.status == 503) {
                return say_unknown(c, r, &answer, key);
        }
        if (answer.status / 100 != 2) {
                return client_say_problem(&answer, NULL);
        }
        CLEANUP(json_cleanup)
        json_t *job = json_loadb(buf_z(&answer.body), answer.body.n, JSON_ALLOW_NUL, NULL);
        const char *id = pick_text(job, "id");
        if (!id) {
                say("the answer of %s has no job id; is it a skepd?", client_url(c));
                return EXIT_UNREACHABLE;
        }
        return invocation_has(in, "wait") ? wait_for(in, c, id) : print_created(in, &answer, job);
}

/* One of the verb's own, none that every verb takes. */
static bool is_flag_of(const struct command *c, const struct flag *flag)
{
        for (const struct flag *f = c->flags; f && f->name; f++) {
                if (f == flag) {
                        return true;
                }
        }
        return false;
}

int enqueue_run(struct invocation *in)
{
        const char *file = invocation_get(in, "file");
        if (!file) {
                return in->n_args == 0 ? say_usage(in, "the job's type is missing")
                                       : enqueue_one(in);
        }
        for (size_t i = 0; i < in->n_given; i++) {
                const struct flag *flag = in->given[i].flag;
                bool of_one =
                    strcmp(flag->name, "file") != 0 && strcmp(flag->name, "retry-for") != 0;
                if (of_one && is_flag_of(in->command, flag)) {
                        return say_usage(in, "--%s does not go with -f: each line names its own",
                                         flag->name);
                }
        }
        if (in->n_args > 0) {
                return say_usage(in, "TYPE and BODY do not go with -f: each line has its own");
        }
        return feed_run(in, file);
}
