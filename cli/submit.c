/*
 * What all ways of submitting share. See submit.h. A payload is never re-formatted: what is JSON
 * travels as the bytes that were given, which is also what the server stores.
 */
#include "cli/submit.h"

#include "cli/table.h"
#include "core/state.h"
#include "http/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum body_kind body_classify(struct str body)
{
        struct json_fault fault;
        if (json_check(body, &fault) == 0) {
                return BODY_JSON;
        }
        return text_plain(body.p, body.n) ? BODY_TEXT : BODY_BYTES;
}

void member_add(struct buf *json, const char *name, const char *value)
{
        buf_printf(json, ",\"%s\":", name);
        json_quote(json, value, strlen(value));
}

void body_add(struct buf *json, struct str body)
{
        enum body_kind kind = body_classify(body);
        if (kind == BODY_JSON) {
                buf_text(json, ",\"payload\":");
                buf_add(json, body.p, body.n);
                return;
        }
        member_add(json, "content_type",
                   kind == BODY_TEXT ? "text/plain" : "application/octet-stream");
        buf_text(json, ",\"payload_base64\":\"");
        add_base64(json, body);
        buf_text(json, "\"");
}

void key_mint(char ret_key[static JOB_ID_TEXT])
{
        static struct id_mint mint;
        while (mint.random == 0) {
                if (getrandom(&mint.random, sizeof mint.random, 0) < 0 && errno != EINTR) {
                        mint.random = (uint64_t)wall_us() * 0x9e3779b97f4a7c15u;
                }
        }
        struct job_id id = id_mint(&mint, wall_us());
        id_text(&id, ret_key);
}

int read_all(FILE *f, const char *name, size_t max, struct buf *ret)
{
        char piece[16384];
        size_t n;
        while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
                if (ret->n + n > max) {
                        say("%s: longer than %zu MiB", name, max >> 20);
                        return EXIT_REFUSED;
                }
                buf_add(ret, piece, n);
        }
        if (ferror(f)) {
                say("%s: %s", name, strerror(errno));
                return EXIT_NO_INPUT;
        }
        return 0;
}

void json_cleanup(json_t **j)
{
        json_decref(*j);
        *j = NULL;
}

bool job_ended(const json_t *job)
{
        const char *name = pick_text(job, "state");
        enum job_state state;
        return name && state_parse(str_of(name), &state) && state_terminal(state);
}

bool response_member(const struct response *r, const char *name, struct str *ret_value)
{
        struct json_fault fault;
        struct json_walk walk;
        struct json_item item;
        bool found = false;
        if (json_walk_begin(&walk, (struct str){buf_z(&r->body), (uint32_t)r->body.n}, &fault) !=
            0) {
                return false;
        }
        while (json_walk_next(&walk, &item, &fault) == 0) {
                if (walk.object && str_eq(item.name, str_of(name))) {
                        *ret_value = item.value;
                        found = true;
                }
        }
        return found;
}

int job_wait(struct client *c, const char *id, int64_t until_ms, struct response *ret,
             json_t **ret_job)
{
        CLEANUP(buf_deinit)
        struct buf path = {0};
        buf_text(&path, "/v1/jobs/");
        url_add(&path, id, strlen(id));
        for (;;) {
                int64_t asked = clock_ms();
                int64_t left_s = until_ms == INT64_MAX ? 60 : (until_ms - asked + 999) / 1000;
                struct request rq = {.path = buf_z(&path),
                                     .wait_s = (uint32_t)(left_s < 0    ? 0
                                                          : left_s > 60 ? 60
                                                                        : left_s)};
                int r = client_insist(c, &rq, CLIENT_PATIENCE_MS, true, ret);
                if (r) {
                        return -client_say_failure(c, r);
                }
                if (ret->status != 200 && ret->status != 202) {
                        return -client_say_problem(ret, id);
                }
                CLEANUP(json_cleanup)
                json_t *job = json_loadb(buf_z(&ret->body), ret->body.n, JSON_ALLOW_NUL, NULL);
                if (!pick_text(job, "state")) {
                        say("job %s: the answer has no state", id);
                        return -EXIT_UNREACHABLE;
                }
                bool ended = job_ended(job);
                int64_t now = clock_ms();
                if (ended || now >= until_ms) {
                        *ret_job = STEAL(job);
                        return ended ? 0 : WAIT_TIMED_OUT;
                }
                if (now - asked < 200) { /* a server that does not wait is not to be hammered */
                        sleep_ms(until_ms - now < 200 ? until_ms - now : 200);
                }
        }
}
