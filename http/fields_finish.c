/*
 * What no single field of a job can tell. What its queue or type would give is left to the engine
 * (core/defaults.h), which decides it alike for all who bring jobs.
 */
#include <errno.h>
#include <stdio.h>

#include "core/defaults.h"
#include "http/fields_table.h"

static int refuse_pair(struct job_taking *j, enum field_index i, const char *text)
{
        return field_refuse_text(&j->t, &fields_table[i], "%s", text);
}

static bool has(const struct job_taking *j, enum field_index i)
{
        return object_has(&j->t, i);
}

static int finish_queue(struct job_taking *j)
{
        const struct config *c = &j->t.settings->config;
        int i = has(j, F_QUEUE) ? config_queue_named(c, j->row.queue)
                                : config_queue_for(c, j->row.type);
        if (i < 0) {
                field_refuse_text(&j->t, &fields_table[F_QUEUE],
                                  "queue: none was given, none is configured for the type "
                                  "\"%.*s\", and there is no queue \"default\"; configured: %s",
                                  (int)j->row.type.n, j->row.type.p, j->t.settings->queue_names);
                snprintf(j->t.problem->allowed_text, sizeof j->t.problem->allowed_text, "%s",
                         j->t.settings->queue_names);
                return OBJECT_REFUSED;
        }
        if (has(j, F_REPLY_TO) && c->queues[i].transport.n == 0) {
                return field_refuse_text(&j->t, &fields_table[F_REPLY_TO],
                                         "reply_to: queue %.*s has no transport that could carry a "
                                         "reply; leave the field out, or name a queue that has one",
                                         (int)c->queues[i].name.n, c->queues[i].name.p);
        }
        if (!has(j, F_PRIORITY)) {
                j->row.priority = ROW_PRIORITY_UNSET;
        }
        return has(j, F_QUEUE) ? 0 : object_keep(&j->t, c->queues[i].name, &j->row.queue);
}

static int finish_times(struct job_taking *j)
{
        if (has(j, F_DELAY) && has(j, F_RUN_AT)) {
                return refuse_pair(j, F_DELAY,
                                   "delay and run_at were both given; keep one of them");
        }
        j->row.state = STATE_PENDING;
        j->row.band = BAND_OFFERED;
        if (j->delay_ms > 0) {
                j->row.state = STATE_SCHEDULED;
                j->row.after_us = j->delay_ms * 1000;
        } else if (has(j, F_RUN_AT) && j->run_at_us > j->t.now_us) {
                j->row.state = STATE_SCHEDULED;
                j->row.at_us = j->run_at_us;
        }
        if (has(j, F_DEADLINE) && has(j, F_RUN_AT) && j->row.deadline_us <= j->run_at_us) {
                return refuse_pair(j, F_DEADLINE,
                                   "deadline lies before run_at, so the job could never start; "
                                   "write a later deadline or an earlier run_at");
        }
        return 0;
}

static int finish_payload(struct job_taking *j)
{
        if (has(j, F_PAYLOAD) && has(j, F_PAYLOAD_BASE64)) {
                return refuse_pair(j, F_PAYLOAD_BASE64,
                                   "payload and payload_base64 were both given; keep one of them");
        }
        if (has(j, F_PAYLOAD) && has(j, F_CONTENT_TYPE) && !json_media_type(j->row.content_type)) {
                return refuse_pair(
                    j, F_CONTENT_TYPE,
                    "content_type: payload is always JSON; send other content as payload_base64");
        }
        if (!has(j, F_CONTENT_TYPE)) {
                j->row.content_type =
                    has(j, F_PAYLOAD) ? STR("application/json") : STR("application/octet-stream");
        }
        if (!has(j, F_PAYLOAD) && !has(j, F_PAYLOAD_BASE64)) {
                j->row.payload = STR("");
        }
        return 0;
}

/* --- headers that are fields ------------------------------------------------------------------ */

/* Copies the pairs of `headers` whose name is not `but`. Returns how many bytes. */
static uint32_t copy_headers(struct str headers, const char *but, char *to)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < headers.n;) {
                const char *name = headers.p + i;
                uint32_t k = (uint32_t)strlen(name) + 1;
                k += (uint32_t)strlen(name + k) + 1;
                if (strcmp(name, but) != 0) {
                        memcpy(to + n, name, k);
                        n += k;
                }
                i += k;
        }
        return n;
}

/* In place of one of the same name. */
static int put_header(struct job_taking *j, enum field_index field, const char *name,
                      struct str value)
{
        struct str headers = j->row.headers;
        uint32_t name_n = (uint32_t)strlen(name) + 1;
        char *p = arena_alloc(j->t.arena, headers.n + name_n + value.n + 1u);
        if (!p) {
                return -ENOMEM;
        }
        uint32_t n = copy_headers(headers, name, p);
        if (n + name_n + value.n + 1 > HEADERS_MAX) {
                return field_refuse_text(
                    &j->t, &fields_table[field],
                    "%s: with it the headers take more than 8 KiB; make them shorter",
                    fields_table[field].name);
        }
        memcpy(p + n, name, name_n);
        memcpy(p + n + name_n, value.p, value.n);
        n += name_n + value.n;
        p[n++] = 0;
        j->row.headers = (struct str){p, n};
        return 0;
}

/* Under the names that letters have them (core/envelope.h). */
static int finish_headers(struct job_taking *j)
{
        const struct {
                enum field_index field;
                const char *name;
                struct str value;
        } more[] = {{F_REPLY_TO, "reply-to", j->reply_to},
                    {F_CORRELATION_ID, "correlation-id", j->correlation_id},
                    {F_PARENT_ID, "job-parent-id", j->parent_id}};
        int r = 0;
        for (size_t i = 0; r == 0 && i < ARRAY_LEN(more); i++) {
                if (has(j, more[i].field)) {
                        r = put_header(j, more[i].field, more[i].name, more[i].value);
                }
        }
        return r;
}

int fields_finish(struct job_taking *j)
{
        if (!has(j, F_TYPE)) {
                return field_missing(&j->t, &fields_table[F_TYPE]);
        }
        int r = finish_times(j);
        r = r ? r : finish_payload(j);
        r = r ? r : finish_queue(j);
        r = r ? r : finish_headers(j);
        return r ? r : fields_finish_unique(j);
}
