/*
 * POSTs the payload to a URL and reads the job's fate from the answer:
 *
 *     2xx                                       done, the body is the result (up to 64 KiB)
 *     408, 425, 429, 5xx, no answer at all      retry, after Retry-After when there is one
 *     410                                       discarded: the receiver wants it no more
 *     3xx                                       dead, naming where it points to: never followed
 *     any other                                 dead
 *
 * The URL is the option `url`, or, where that is empty, the job's header `webhook-url`. A node
 * whose operator has set `url` never posts anywhere else: such a header is then refused, not
 * ignored. Only http and https; what is sent beside the payload follows the Standard Webhooks
 * names.
 *
 * It must never put a query, a user or a password of a URL into a reason: those are shown to people
 * who may not know them. Following redirects was discarded: it would carry the payload to a place
 * that neither the producer nor the operator has named.
 */
#include <skep/handler.h>

#include <curl/curl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLEANUP(fn)     __attribute__((cleanup(fn)))
#define BODY_MAX        ((size_t)65536)
#define RETRY_AFTER_MAX 86400 /* a receiver cannot put a job off for longer than a day */
#define PLACE_MAX       512

struct webhook {
        CURL *curl; /* kept from job to job, and with it the connections */
        long timeout_ms;
};

struct answer {
        char *body;
        size_t n;
        bool too_long;
        char error[CURL_ERROR_SIZE];
};

static void free_answer(struct answer *a)
{
        free(a->body);
}

static void free_url(CURLU **u)
{
        curl_url_cleanup(*u);
}

static void free_list(struct curl_slist **l)
{
        curl_slist_free_all(*l);
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
        struct answer *a = ctx;
        n *= size;
        if (a->n + n > BODY_MAX) {
                a->too_long = true;
                return n + 1; /* curl stops reading */
        }
        if (!a->body) {
                a->body = malloc(BODY_MAX);
                if (!a->body) {
                        return n + 1;
                }
        }
        memcpy(a->body + a->n, bytes, n);
        a->n += n;
        return n;
}

/* A request under way is let end when the node stops: broken off, it would have to be sent again.
 */
static bool must_stop(const struct skep_job *job)
{
        int why = job->services->cancelled(job);
        return why != SKEP_RUN_ON && why != SKEP_WHY_SHUTDOWN;
}

static int watch_cancel(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                        curl_off_t ulnow)
{
        (void)dltotal;
        (void)dlnow;
        (void)ultotal;
        (void)ulnow;
        return must_stop(ctx);
}

/* "30s" to milliseconds; the node has checked that it is a duration. */
static long parse_duration_ms(const char *text)
{
        static const struct {
                const char *unit;
                double ms;
        } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}, {"", 1e3}};
        char *unit;
        double n = strtod(text, &unit);
        for (size_t i = 0; unit != text && i < sizeof units / sizeof *units; i++) {
                if (strcmp(unit, units[i].unit) == 0) {
                        double ms = n * units[i].ms;
                        return ms >= 1 && ms <= 86400e3 ? (long)ms : -1;
                }
        }
        return -1;
}

static int init(const struct skep_setup *setup, void **state)
{
        const char *timeout = setup->option(setup, "timeout");
        long timeout_ms = timeout ? parse_duration_ms(timeout) : -1;
        if (timeout_ms < 0) {
                snprintf(setup->reason, setup->reason_size,
                         "option timeout: \"%s\" is not allowed; 1ms to 24h",
                         timeout ? timeout : "");
                return -1;
        }
        struct webhook *w = calloc(1, sizeof *w);
        if (!w || curl_global_init(CURL_GLOBAL_DEFAULT) || !(w->curl = curl_easy_init())) {
                free(w);
                snprintf(setup->reason, setup->reason_size, "libcurl cannot be initialised");
                return -1;
        }
        w->timeout_ms = timeout_ms;
        *state = w;
        return 0;
}

static void fini(void *state)
{
        struct webhook *w = state;
        curl_easy_cleanup(w->curl);
        curl_global_cleanup();
        free(w);
}

static void append_part(CURLU *url, CURLUPart part, const char *before, char *place)
{
        char *text = NULL;
        size_t used = strlen(place);
        if (curl_url_get(url, part, &text, 0) == CURLUE_OK && used < PLACE_MAX) {
                snprintf(place + used, PLACE_MAX - used, "%s%s", before, text);
        }
        curl_free(text);
}

/* What people may see of a URL: scheme, host, port and path, without control characters. */
static void describe_url(const char *text, char place[PLACE_MAX])
{
        CLEANUP(free_url)
        CURLU *url = curl_url();
        place[0] = 0;
        if (!url || curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME)) {
                snprintf(place, PLACE_MAX, "an unreadable URL");
                return;
        }
        append_part(url, CURLUPART_SCHEME, "", place);
        append_part(url, CURLUPART_HOST, "://", place);
        append_part(url, CURLUPART_PORT, ":", place);
        append_part(url, CURLUPART_PATH, "", place);
        for (char *p = place; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f) {
                        *p = '?';
                }
        }
}

static bool is_http(const char *text)
{
        CLEANUP(free_url)
        CURLU *url = curl_url();
        char *scheme = NULL;
        bool good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                    (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
        curl_free(scheme);
        return good;
}

/* The URL of this job, or NULL with the verdict given. */
static const char *choose_url(struct skep_job *job)
{
        const char *fixed = job->services->option(job, "url");
        const char *asked = job->services->header(job, "webhook-url");
        bool is_fixed = fixed && *fixed;
        if (is_fixed && asked && strcmp(fixed, asked) != 0) {
                skep_dead(job,
                          "header webhook-url: this node posts to its option url alone; send the "
                          "job without that header");
                return NULL;
        }
        const char *url = is_fixed ? fixed : asked;
        if (!url || !*url) {
                skep_dead(job, "no URL: set the header webhook-url, or the handler's option url");
                return NULL;
        }
        if (!is_http(url)) {
                skep_dead(job, "%s: neither an http:// nor an https:// URL",
                          is_fixed ? "option url" : "header webhook-url");
                return NULL;
        }
        return url;
}

static bool has_controls(struct skep_str s)
{
        for (size_t i = 0; i < s.n; i++) {
                if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) {
                        return true;
                }
        }
        return false;
}

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
        char line[1024];
        int n = snprintf(line, sizeof line, "%s: %s", name, value);
        struct curl_slist *longer = n < (int)sizeof line ? curl_slist_append(*list, line) : NULL;
        if (!longer) {
                return false;
        }
        *list = longer;
        return true;
}

static bool add_headers(const struct skep_job *job, struct curl_slist **list)
{
        char attempt[16], now[24];
        snprintf(attempt, sizeof attempt, "%" PRIu32, job->attempt);
        snprintf(now, sizeof now, "%" PRId64, (int64_t)time(NULL));
        return add_header(list, "Content-Type",
                          job->content_type.n ? job->content_type.p : "application/octet-stream") &&
               add_header(list, "webhook-id", job->id.p) &&
               add_header(list, "webhook-timestamp", now) &&
               add_header(list, "webhook-attempt", attempt) &&
               add_header(list, "idempotency-key", job->id.p) &&
               (!job->traceparent.n || add_header(list, "traceparent", job->traceparent.p)) &&
               (!job->tracestate.n || add_header(list, "tracestate", job->tracestate.p)) &&
               add_header(list, "Accept", "*/*") &&
               add_header(list, "Expect", ""); /* no round trip before the body */
}

static void set_options(struct webhook *w, struct skep_job *job, const char *url,
                        struct curl_slist *headers, struct answer *a)
{
        CURL *c = w->curl;
        curl_easy_reset(c); /* keeps the connections */
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "skep-webhook/" SKEP_VERSION);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)job->payload.n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, job->payload.p);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, w->timeout_ms);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, a->error);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch_cancel);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, job);
}

/* How long the receiver asks to wait: seconds or an HTTP date; 0: it does not say. */
static int64_t retry_after_ms(CURL *c)
{
        curl_off_t seconds = 0;
        curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &seconds);
        if (seconds < 0) { /* a date that has passed */
                seconds = 0;
        }
        return (seconds > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : seconds) * INT64_C(1000);
}

static int store_result(struct skep_job *job, CURL *c, const struct answer *a, const char *place)
{
        const char *type = NULL;
        curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
        if (a->too_long) {
                job->services->log(job, 4, "%s: the answer is over %zu KiB and is not kept", place,
                                   BODY_MAX / 1024);
        } else if (a->n) {
                job->services->result(job, type ? type : "application/octet-stream", a->body, a->n);
        }
        return SKEP_DONE;
}

static int judge_status(struct skep_job *job, CURL *c, long status, const struct answer *a,
                        const char *place)
{
        if (status >= 200 && status <= 299) {
                return store_result(job, c, a, place);
        }
        if (status >= 300 && status <= 399) {
                char where[PLACE_MAX] = "nowhere";
                const char *location = NULL;
                curl_easy_getinfo(c, CURLINFO_REDIRECT_URL, &location);
                if (location) {
                        describe_url(location, where);
                }
                return skep_dead(job, "%s: status %ld points to %s; redirects are not followed",
                                 place, status, where);
        }
        if (status == 410) {
                return skep_discard(job, "%s: status 410, gone", place);
        }
        if (status == 408 || status == 425 || status == 429 || status >= 500) {
                return skep_retry(job, retry_after_ms(c), "%s: status %ld", place, status);
        }
        return skep_dead(job, "%s: status %ld", place, status);
}

static int post(struct webhook *w, struct skep_job *job, const char *url, const char *place)
{
        CLEANUP(free_list)
        struct curl_slist *headers = NULL;
        CLEANUP(free_answer)
        struct answer answer = {0};
        if (!add_headers(job, &headers)) {
                return skep_dead(job,
                                 "a header is over 1,000 bytes: content type or trace context");
        }
        set_options(w, job, url, headers, &answer);
        CURLcode e = curl_easy_perform(w->curl);
        long status = 0;
        curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
        if (e == CURLE_ABORTED_BY_CALLBACK) {
                return SKEP_CANCELLED;
        }
        /* The whole of a 2xx is awaited, but what was already too long to keep cannot change it. */
        if (e != CURLE_OK && !(e == CURLE_WRITE_ERROR && answer.too_long)) {
                return skep_retry(job, 0, "%s: %s", place,
                                  answer.error[0] ? answer.error : curl_easy_strerror(e));
        }
        return judge_status(job, w->curl, status, &answer, place);
}

static int run(struct skep_job *job, void *state)
{
        const char *url = choose_url(job);
        if (!url) {
                return SKEP_DEAD;
        }
        if (has_controls(job->content_type) || has_controls(job->traceparent) ||
            has_controls(job->tracestate)) {
                return skep_dead(job, "content type or trace context has control characters");
        }
        char place[PLACE_MAX];
        describe_url(url, place);
        return post(state, job, url, place);
}

static const struct skep_option options[] = {
    {"url", "string", "", "where to post; empty: where the job's header webhook-url says"},
    {"timeout", "duration", "30s", "a whole request may take so long"},
};

SKEP_PLUGIN("webhook", SKEP_VERSION,
            {SKEP_HANDLER, .type = "webhook", .summary = "posts the payload to a URL",
             SKEP_OPTIONS(options), .init = init, .fini = fini, .run = run})
