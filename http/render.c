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
        out_text(o, "}");
}

void render_submitted(struct out *o, const struct submit_row *row)
{
        bool exists = row->result == SUBMIT_EXISTS;
        out_text(o, "{");
        out_id(o, "id", exists ? &row->existing : &row->id);
        out_member(o, "type", row->type);
        out_member(o, "queue", row->queue);
        out_member(o, "state", str_of(state_name(exists ? row->existing_state : row->state)));
        put_text(o, "key", row->key_text);
        out_text(o, "}");
}

/* What a list shows too. */
static void put_summary(struct out *o, const struct job_row *row)
{
        out_id(o, "id", &row->id);
        out_member(o, "type", row->type);
        out_member(o, "queue", row->queue);
        out_member(o, "state", str_of(state_name(row->state)));
        put_text(o, "reason", str_of(reason_name(row->reason)));
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
        if (row->timeout_ms) {
                out_duration(o, "timeout", row->timeout_ms);
        }
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

void render_job(struct out *o, const struct job_row *row)
{
        out_text(o, "{");
        put_summary(o, row);
        put_headers(o, row->headers);
        put_text(o, "content_type", row->content_type);
        put_content(o, "payload", "payload_base64", row->content_type, row->payload);
        put_text(o, "result_type", row->result_type);
        put_content(o, "result", "result_base64", row->result_type, row->result);
        out_name(o, "attempts");
        out_text(o, "[");
        for (uint32_t i = 0; i < row->n_attempts; i++) {
                out_comma(o);
                put_attempt(o, &row->attempts[i]);
        }
        out_text(o, "]}");
}

void render_list(struct out *o, const struct query *q, const struct ledger_list *list,
                 char ret_cursor[static CURSOR_TEXT])
{
        ret_cursor[0] = 0;
        out_text(o, "{\"jobs\":[");
        for (uint32_t i = 0; i < list->n; i++) {
                out_comma(o);
                out_text(o, "{");
                put_summary(o, &list->rows[i]);
                out_text(o, "}");
        }
        out_text(o, "]");
        if (list->more && list->n) {
                cursor_text(q, &list->rows[list->n - 1].id, ret_cursor);
                out_member(o, "next", str_of(ret_cursor));
        }
        out_text(o, "}");
}
