/*
 * POST of one object or of an array: one submission, one transaction. The rows are copied into the
 * submission, so that it outlives the call when the client or the server goes.
 */
#include <errno.h>
#include <stdio.h>

#include "http/call.h"
#include "http/json.h"
#include "http/render.h"

static void free_submission(struct submission **s)
{
        submission_free(*s);
}

/* What fields_parse() said of the row that begins behind the last one. */
static int note_row(struct call *call, struct submission *s, int said)
{
        if (said == -ENOMEM) {
                call_out_of_memory(call);
        } else if (said) {
                call->failed = true;
                if (call->array) {
                        call->problem.index = s->n;
                }
        } else {
                s->rows[s->n].id = id_mint(&call->http->mint, call->now_us);
                s->n++;
        }
        return said;
}

static int parse_one(struct call *call, struct submission *s, struct str body)
{
        struct problem *p = &call->problem;
        s->rows = arena_alloc(&s->arena, sizeof *s->rows);
        if (!s->rows) {
                call_out_of_memory(call);
                return -ENOMEM;
        }
        return note_row(
            call, s,
            fields_parse(call->http->settings, &s->arena, body, body, call->now_us, s->rows, p));
}

static void refuse_json(struct call *call, struct str body, const struct json_fault *f)
{
        object_malformed(body, f->at, f->what, &call->problem);
        call->failed = true;
}

/* Is it JSON, and of a length that is allowed? Said before anything about one of its jobs. */
static bool is_array(struct call *call, struct str body)
{
        struct json_walk w;
        struct json_item item;
        struct json_fault f;
        uint32_t n = 0;
        int r = json_walk_begin(&w, body, &f);
        while (r == 0) {
                r = json_walk_next(&w, &item, &f);
                n += r == 0;
        }
        if (r == JSON_BAD) {
                refuse_json(call, body, &f);
                return false;
        }
        if (n == 0 || n > ARRAY_ROWS_MAX) {
                problem_set(
                    &call->problem, n ? PROBLEM_TOO_LARGE : PROBLEM_INVALID,
                    "the array has %u jobs; 1 to %d are allowed in one transaction. Send more as "
                    "application/x-ndjson",
                    n, ARRAY_ROWS_MAX);
                call->failed = true;
                return false;
        }
        return true;
}

/* Room for a row more: first for as many as there are, if all are as long as the first. */
static bool make_room(struct submission *s, const struct json_walk *array, uint32_t *room)
{
        if (s->n < *room) {
                return true;
        }
        size_t wanted = s->n > 1 ? 2 * (size_t)s->n : s->n ? array->text.n / array->at + 2 : 1;
        wanted = wanted > ARRAY_ROWS_MAX ? ARRAY_ROWS_MAX : wanted;
        struct submit_row *rows =
            wanted > s->n ? arena_alloc(&s->arena, wanted * sizeof *rows) : NULL;
        if (rows && s->n) {
                memcpy(rows, s->rows, s->n * sizeof *rows);
        }
        s->rows = rows ? rows : s->rows;
        *room = (uint32_t)wanted;
        return rows != NULL;
}

/* Each byte is looked at once. JSON_END, when all of them are taken; else who refused knows why. */
static int walk_rows(struct call *call, struct submission *s, struct str body)
{
        struct json_walk array, object;
        struct json_fault f;
        uint32_t room = 0;
        int r = json_walk_begin(&array, body, &f);
        while (r == 0 && (r = json_walk_enter(&array, &object, &f)) == 0) {
                if (!make_room(s, &array, &room)) {
                        call_out_of_memory(call);
                        return -ENOMEM;
                }
                int said = fields_walk(call->http->settings, &s->arena, &object, call->now_us,
                                       &s->rows[s->n], &call->problem);
                if (note_row(call, s, said)) {
                        return 0;
                }
                json_walk_leave(&array, &object);
        }
        if (r == JSON_BAD) {
                refuse_json(call, body, &f);
        }
        return r;
}

static int parse_array(struct call *call, struct submission *s, struct str body)
{
        int r = walk_rows(call, s, body);
        if (r == JSON_END && s->n > 0) {
                return 0;
        }
        struct problem own = call->problem;
        if (is_array(call, body)) {
                call->problem = own;
        }
        return -1;
}

void submit_body(struct call *call)
{
        CLEANUP(free_submission)
        struct submission *s = submission_new();
        struct str body = {call->body.p, (uint32_t)call->body.n};
        if (!s) {
                call_out_of_memory(call);
                return;
        }
        if (body.n == 0) {
                problem_set(
                    &call->problem, PROBLEM_MALFORMED,
                    "the body is empty; send a job, as in {\"type\":\"echo\",\"payload\":{}}");
                call->failed = true;
                return;
        }
        s->atomic = true;
        call->now_us = now_wall_us();
        if (call->array ? parse_array(call, s, body) : parse_one(call, s, body)) {
                return;
        }
        if (call->request_key.n) {
                s->request_key = key_from_text(call->request_key);
                hash16(body, s->request_hash);
        }
        struct api_request *r = call_request(call, API_SUBMIT);
        if (!r) {
                return;
        }
        r->submission = STEAL(s);
        out_deinit(&call->body);
        call_post(call, r);
}

static void set_full(const struct settings *s, const struct submit_row *row, struct problem *p)
{
        int i = config_queue_named(&s->config, row->queue);
        uint32_t max = i < 0 ? 0 : s->config.queues[i].max_waiting;
        problem_set(p, PROBLEM_QUEUE_FULL,
                    "queue: %.*s is as long as it may be (max_waiting = %u); the job was not "
                    "written. Repeat it later",
                    (int)(row->queue.n > 64 ? 64 : row->queue.n), row->queue.p, max);
        snprintf(p->field, sizeof p->field, "queue");
        snprintf(p->allowed_text, sizeof p->allowed_text, "%u jobs that wait", max);
}

bool submit_failed_row(const struct settings *s, const struct submit_row *row,
                       struct problem *ret_problem)
{
        char other[JOB_ID_TEXT], quoted[QUOTE_TEXT];
        switch (row->result) {
        case SUBMIT_CREATED:
        case SUBMIT_EXISTS:
        case SUBMIT_HELD:
        case SUBMIT_REPLACED: return false;
        case SUBMIT_CONFLICT:
                id_text(&row->existing, other);
                problem_set(ret_problem, PROBLEM_KEY_CONFLICT,
                            "key: \"%s\" already names job %s in queue %.*s, with another payload; "
                            "nothing was "
                            "written. Use another key, or repeat the first request exactly",
                            quote_text(row->key_text, quoted), other,
                            (int)(row->queue.n > 64 ? 64 : row->queue.n), row->queue.p);
                snprintf(ret_problem->field, sizeof ret_problem->field, "key");
                ret_problem->has_job = true;
                ret_problem->job = row->existing;
                return true;
        case SUBMIT_UNSTORABLE:
                problem_set(ret_problem, PROBLEM_UNSTORABLE,
                            "the ledger cannot store this job's data; look at its texts for "
                            "unusual characters");
                return true;
        case SUBMIT_UNDONE:
                problem_set(ret_problem, PROBLEM_CONFLICT,
                            "not written, because another job of the same request failed");
                return true;
        case SUBMIT_FULL: set_full(s, row, ret_problem); return true;
        }
        return false;
}

static bool set_refused(struct call *call, const struct api_request *r)
{
        const struct submission *s = r->submission;
        if (r->unavailable || s->refused) {
                const char *note = s->refused ? s->note : r->note;
                problem_set(&call->problem, PROBLEM_UNAVAILABLE,
                            "%s; nothing was written. Repeat the request later",
                            note[0] ? note : "the ledger cannot be reached");
                return true;
        }
        if (s->request_conflict) {
                problem_set(&call->problem, PROBLEM_KEY_CONFLICT,
                            "Idempotency-Key: it was used for a request with another body; nothing "
                            "was written. Use "
                            "another key, or repeat the first request exactly");
                snprintf(call->problem.field, sizeof call->problem.field, "Idempotency-Key");
                return true;
        }
        /* The row that failed by itself says more than those that it undid. */
        for (uint32_t i = 0; i < s->n; i++) {
                if (s->rows[i].result != SUBMIT_UNDONE &&
                    submit_failed_row(call->http->settings, &s->rows[i], &call->problem)) {
                        call->problem.index = call->array ? (int64_t)i : -1;
                        return true;
                }
        }
        return s->n > 0 && submit_failed_row(call->http->settings, &s->rows[0], &call->problem);
}

static void respond_array(struct call *call, const struct submission *s)
{
        struct out o = {0};
        out_text(&o, "[");
        for (uint32_t i = 0; i < s->n; i++) {
                out_comma(&o);
                render_submitted(&o, &s->rows[i]);
        }
        out_text(&o, "]");
        call_respond(call, 201, "application/json", &o);
}

void submit_answer(struct call *call, struct api_request *r)
{
        char id[JOB_ID_TEXT];
        if (set_refused(call, r)) {
                call->failed = true;
                return;
        }
        if (call->array) {
                respond_array(call, r->submission);
                return;
        }
        const struct submit_row *row = &r->submission->rows[0];
        struct job_id job;
        enum job_state state;
        submitted_job(row, &job, &state);
        id_text(&job, id);
        call_header(call, "Location", "/v1/jobs/%s", id);
        render_submitted(&call->created, row);
        if (call->wait_s) {
                call_wait(call, &job);
                if (call->request) {
                        return;
                }
                call->failed = false; /* no place to wait: the job exists all the same */
        }
        call_respond(call, 201, "application/json", &call->created);
}
