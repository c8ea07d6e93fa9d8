/*
 * From rows to JSON. 64-bit numbers that are names (a node) are written as hexadecimal text,
 * because JSON readers lose them beyond 2^53. A member whose value is nothing is left out.
 */
#include "http/render.h"

#include "http/json.h"

static bool holds_json(struct str type, struct str bytes)
{
        struct json_fault fault;
        return json_media_type(type) && bytes.n > 0 && json_check(bytes, &fault) == 0;
}

static void put_content(struct out *o, const char *name, const char *base64_name, struct str type,
                        struct str bytes)
{
        if (holds_json(type, bytes)) {
                out_name(o, name);
                out_put(o, bytes.p, bytes.n);
        } else if (bytes.n > 0) {
                out_name(o, base64_name);
                out_base64(o, bytes);
        }
}

static void put_time(struct out *o, const char *name, int64_t wall_us)
{
        if (wall_us > 0) {
                out_time(o, name, wall_us);
        }
}

static void put_text(struct out *o, const char *name, struct str s)
{
        if (s.n > 0) {
                out_member(o, name, s);
        }
}

static void put_node(struct out *o, uint64_t holder)
{
        if (holder) {
                out_name(o, "node");
                out_printf(o, "\"%016llx\"", (unsigned long long)holder);
        }
}

/* The value of one header; none: n 0. */
static struct str header_of(struct str headers, const char *name)
{
        for (uint32_t i = 0; i < headers.n;) {
                uint32_t n = (uint32_t)strnlen(headers.p + i, headers.n - i);
                uint32_t at = i + n + 1;
                uint32_t k = at < headers.n ? (uint32_t)strnlen(headers.p + at, headers.n - at) : 0;
                if (at < headers.n && str_eq((struct str){headers.p + i, n}, str_of(name))) {
                        return (struct str){headers.p + at, k};
                }
                i = at + k + 1;
        }
        return (struct str){0};
}

static void put_tags(struct out *o, struct str tags)
{
        out_name(o, "tags");
        out_text(o, "[");
        for (uint32_t i = 0; i < tags.n;) {
                const char *comma = memchr(tags.p + i, ',', tags.n - i);
                uint32_t end = comma ? (uint32_t)(comma - tags.p) : tags.n;
                if (end > i) {
                        out_string(o, (struct str){tags.p + i, end - i});
                }
                i = end + 1;
        }
        out_text(o, "]");
}

/* name NUL value NUL ... */
static void put_headers(struct out *o, struct str h)
{
        out_name(o, "headers");
        out_text(o, "{");
        for (uint32_t i = 0; i < h.n;) {
                uint32_t name = (uint32_t)strnlen(h.p + i, h.n - i);
                uint32_t at = i + name + 1;
                uint32_t value = at < h.n ? (uint32_t)strnlen(h.p + at, h.n - at) : 0;
                out_string(o, (struct str){h.p + i, name});
                out_text(o, ":");
                out_string(o, at < h.n ? (struct str){h.p + at, value} : STR(""));
                i = at + value + 1;
        }
        out_text(o, "}");
}

static void put_attempt(struct out *o, const struct attempt_row *a)
{
        out_text(o, "{");
        out_member(o, "class", str_of(error_class_name(a->error)));
        put_text(o, "text", a->error_text);
        out_number(o, "attempt", a->attempt);
        out_number(o, "generation", a->generation);
        out_number(o, "claim", a->claim);
        put_time(o, "started_at", a->started_us);
        put_time(o, "ended_at", a->ended_us);
        put_node(o, a->holder);
        if (a->worker_pid > 0) {
                out_number(o, "worker", a->worker);
                out_number(o, "pid", a->worker_pid);
        }
        put_text(o, "build", a->build);
        out_fingerprint(o, a->fingerprint);
        out_text(o, "}");
}

void submitted_job(const struct submit_row *row, struct job_id *ret_id, enum job_state *ret_state)
{
        bool created = row->result == SUBMIT_CREATED;
        *ret_id = created ? row->id : row->existing;
        *ret_state = created ? row->state : row->existing_state;
}

void render_submitted(struct out *o, const struct submit_row *row)
{
        struct job_id id;
        enum job_state state;
        submitted_job(row, &id, &state);
        out_text(o, "{");
        out_id(o, "id", &id);
        out_member(o, "type", row->type);
        out_member(o, "queue", row->queue);
        if (state != STATE_NONE) {
                out_member(o, "state", str_of(state_name(state)));
        }
        put_text(o, "key", row->key_text);
        out_text(o, "}");
}

/* What a row says of time limits and retries, where it says something. */
static void put_policy(struct out *o, uint32_t timeout_ms, uint32_t heartbeat_ms, struct str policy)
{
        if (timeout_ms) {
                out_duration(o, "timeout", timeout_ms);
        }
        if (heartbeat_ms) {
                out_duration(o, "heartbeat", heartbeat_ms);
        }
        put_text(o, "retry", policy);
}

static void put_progress(struct out *o, const struct job_row *row)
{
        if (!row->has_progress) {
                return;
        }
        out_name(o, "progress");
        out_text(o, "{");
        out_real(o, "done", row->done);
        if (row->total > 0) {
                out_real(o, "total", row->total);
        }
        put_time(o, "at", row->progress_us);
        out_text(o, "}");
}

/* Whose unique key stood in its way: the last word of its error. */
static void put_duplicate(struct out *o, const struct job_row *row)
{
        struct job_id id;
        struct str text = row->last.error_text;
        const uint32_t n = JOB_ID_TEXT - 1;
        if (row->reason == REASON_DUPLICATE && text.n >= n &&
            id_parse((struct str){text.p + text.n - n, n}, &id)) {
                out_id(o, "duplicate_of", &id);
        }
}

/* What a list shows too. */
static void put_summary(struct out *o, const struct job_row *row)
{
        out_id(o, "id", &row->id);
        out_member(o, "type", row->type);
        out_member(o, "queue", row->queue);
        out_member(o, "state", str_of(state_name(row->state)));
        put_text(o, "reason", str_of(reason_name(row->reason)));
        put_duplicate(o, row);
        put_text(o, "key", row->key_text);
        out_number(o, "priority", row->priority);
        out_number(o, "attempt", row->attempt);
        out_number(o, "max_attempts", row->max_attempts);
        out_number(o, "generation", row->generation);
        out_number(o, "claim", row->claim);
        out_number(o, "snoozes", row->snoozes);
        out_number(o, "strikes", row->strikes);
        put_time(o, "created_at", row->created_us);
        put_time(o, "run_at", row->due_us);
        put_time(o, "deadline", row->deadline_us);
        put_time(o, "started_at", row->started_us);
        put_time(o, "finished_at", row->finished_us);
        put_policy(o, row->timeout_ms, row->heartbeat_ms, row->policy);
        put_time(o, "retry_until", row->retry_until_us);
        put_progress(o, row);
        if (row->cancel_asked) {
                out_bool(o, "cancel_asked", true);
        }
        put_node(o, row->holder);
        put_tags(o, row->tags);
        if (row->last.error != ERROR_NONE) {
                out_name(o, "error");
                put_attempt(o, &row->last);
        }
}

/* What a list leaves out unless it is asked for. */
static void put_contents(struct out *o, const struct job_row *row)
{
        put_text(o, "parent_id", header_of(row->headers, "job-parent-id"));
        put_headers(o, row->headers);
        put_text(o, "content_type", row->content_type);
        put_content(o, "payload", "payload_base64", row->content_type, row->payload);
        put_text(o, "result_type", row->result_type);
        put_content(o, "result", "result_base64", row->result_type, row->result);
}

void render_job(struct out *o, const struct job_row *row)
{
        out_text(o, "{");
        put_summary(o, row);
        if (row->state == STATE_PENDING) {
                out_number(o, "ahead", (int64_t)row->ahead);
        }
        if (row->checkpoint_size) {
                out_number(o, "checkpoint_size", row->checkpoint_size);
        }
        put_contents(o, row);
        out_name(o, "attempts");
        out_text(o, "[");
        for (uint32_t i = 0; i < row->n_attempts; i++) {
                out_comma(o);
                put_attempt(o, &row->attempts[i]);
        }
        out_text(o, "]}");
}

void render_template(struct out *o, const struct submit_row *row)
{
        out_text(o, "{");
        out_member(o, "type", row->type);
        out_member(o, "queue", row->queue);
        if (row->priority <= PRIORITY_MAX) {
                out_number(o, "priority", row->priority);
        }
        if (row->max_attempts) {
                out_number(o, "max_attempts", row->max_attempts);
        }
        put_policy(o, row->timeout_ms, row->heartbeat_ms, row->policy);
        put_tags(o, row->tags);
        put_headers(o, row->headers);
        put_text(o, "content_type", row->content_type);
        put_content(o, "payload", "payload_base64", row->content_type, row->payload);
        out_text(o, "}");
}

void render_list(struct out *o, const struct query *q, const struct ledger_list *list,
                 char ret_cursor[static CURSOR_TEXT])
{
        uint32_t i = 0;
        ret_cursor[0] = 0;
        out_text(o, "{\"jobs\":[");
        for (; i < list->n && (i == 0 || !q->whole || o->n < LIST_BYTES_MAX); i++) {
                out_comma(o);
                out_text(o, "{");
                put_summary(o, &list->rows[i]);
                if (q->whole) {
                        put_contents(o, &list->rows[i]);
                }
                out_text(o, "}");
        }
        out_text(o, "]");
        if (i && (list->more || i < list->n)) {
                cursor_text(q, &list->rows[i - 1].id, ret_cursor);
                out_member(o, "next", str_of(ret_cursor));
        }
        out_text(o, "}");
}
