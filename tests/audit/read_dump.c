/*
 * Reads a ledger dump as tests/audit/dump.py writes it: one JSON object a line, the first tells the
 * version and the ledger's time, the last how many jobs there were. A dump that does not end with
 * that line is not read: half a ledger looks like lost jobs.
 */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/id.h"
#include "tests/audit/evidence.h"
#include "tests/audit/line.h"

struct reading {
        struct evidence *e;
        const char *fault;
        bool began, ended;
        uint64_t jobs;
};

static void *grown(void *list, uint32_t n, uint32_t *capacity, size_t size)
{
        if (n < *capacity) {
                return list;
        }
        *capacity = *capacity ? *capacity * 2 : 64;
        list = realloc(list, *capacity * size);
        assert(list);
        return list;
}

/* --- members ------------------------------------------------------------------------------ */

static int64_t number(struct reading *g, const json_t *o, const char *name)
{
        const json_t *v = json_object_get(o, name);
        if (v && !json_is_null(v) && !json_is_integer(v) && !json_is_boolean(v)) {
                g->fault = "a member is not the number that it should be";
        }
        return json_is_boolean(v) ? json_is_true(v) : (int64_t)json_integer_value(v);
}

static struct str text(const json_t *o, const char *name)
{
        const json_t *v = json_object_get(o, name);
        return json_is_string(v)
                   ? (struct str){json_string_value(v), (uint32_t)json_string_length(v)}
                   : (struct str){0};
}

static bool is_set(const json_t *o, const char *name)
{
        const json_t *v = json_object_get(o, name);
        return v && !json_is_null(v);
}

/* Numbers of 64 bits without a sign stand as hexadecimal text. */
static uint64_t wide(struct reading *g, const json_t *o, const char *name)
{
        uint64_t v = 0;
        if (is_set(o, name) && !hex64(text(o, name), &v)) {
                g->fault = "a member is not the hexadecimal text that it should be";
        }
        return v;
}

static struct job_id id_of(struct reading *g, const json_t *o)
{
        struct job_id id = {0};
        if (!id_parse(text(o, "id"), &id)) {
                g->fault = "an id cannot be read";
        }
        return id;
}

static void read_key(struct reading *g, const json_t *o, struct audit_row *r)
{
        struct str s = text(o, "key"), told = text(o, "key_text");
        uint64_t high, low;
        r->keyed = s.n > 0;
        r->told_key = !r->keyed && told.n > 0 && told.n <= KEY_TEXT_MAX;
        if (r->told_key) {
                memcpy(r->key, key_from_text(told).b, sizeof r->key);
        }
        if (!r->keyed) {
                return;
        }
        if (s.n != 32 || !hex64((struct str){s.p, 16}, &high) ||
            !hex64((struct str){s.p + 16, 16}, &low)) {
                g->fault = "a key is not 32 hexadecimal digits";
                return;
        }
        for (int i = 0; i < 8; i++) {
                r->key[i] = (uint8_t)(high >> (56 - 8 * i));
                r->key[8 + i] = (uint8_t)(low >> (56 - 8 * i));
        }
}

/* --- kinds of records --------------------------------------------------------------------- */

static void read_begin(struct reading *g, const json_t *o)
{
        g->began = true;
        if (number(g, o, "version") != 1) {
                g->fault = "a version of the dump that this program does not know";
        }
        g->e->dumped_us = number(g, o, "now");
}

static bool is_served(const struct evidence *e, const json_t *o, const struct audit_row *r)
{
        return r->reason != REASON_NO_HANDLER && r->reason != REASON_NO_QUEUE &&
               !word_find(e->options.unserved, text(o, "type")) &&
               !word_find(e->options.paused, text(o, "queue"));
}

static void add_row(struct evidence *e, const struct audit_row *r)
{
        audit_row(&e->audit, r);
        struct audit_job *j = audit_find(&e->audit, &r->id);
        if (j->rows > 1) {
                return; /* the judges see to that */
        }
        e->rows = grown(e->rows, e->n_rows, &e->rows_capacity, sizeof *e->rows);
        e->rows[e->n_rows++] = j;
}

static void read_job(struct reading *g, const json_t *o)
{
        struct evidence *e = g->e;
        struct audit_row r = {
            .id = id_of(g, o),
            .state = (enum job_state)number(g, o, "state"),
            .reason = (enum job_reason)number(g, o, "reason"),
            .queue = hash32(text(o, "queue")),
            .payload = wide(g, o, "payload"),
            .bare = !is_set(o, "payload"),
            .result = wide(g, o, "result"),
            .resulted = is_set(o, "result"),
            .attempt = (uint16_t)number(g, o, "attempt"),
            .max_attempts = (uint16_t)number(g, o, "max_attempts"),
            .snoozes = (uint16_t)number(g, o, "snoozes"),
            .strikes = (uint8_t)number(g, o, "strikes"),
            .generation = (uint32_t)number(g, o, "generation"),
            .claim = (uint32_t)number(g, o, "claim"),
            .token = wide(g, o, "token"),
            .holder = wide(g, o, "holder"),
            .due_us = number(g, o, "due"),
            .created_us = number(g, o, "created"),
            .finished_us = number(g, o, "finished"),
            .schedule = is_set(o, "schedule") ? hash32(text(o, "schedule")) | 1 : 0,
            .tick_us = number(g, o, "tick"),
            .lane = is_set(o, "lane"),
            .due = is_set(o, "due"),
            .parked_at = is_set(o, "parked_at"),
            .watched = word_find(e->watched, text(o, "type")) != NULL,
        };
        read_key(g, o, &r);
        r.bare |= r.reason == REASON_TOO_LARGE || r.reason == REASON_UNSTORABLE;
        r.served = is_served(e, o, &r);
        if ((unsigned)r.state >= JOB_STATE_COUNT) {
                g->fault = "a state that nobody knows";
        }
        if (!g->fault) {
                add_row(e, &r);
                g->jobs++;
        }
}

static void read_try(struct reading *g, const json_t *o)
{
        struct audit_try t = {
            .id = id_of(g, o),
            .claim = (uint32_t)number(g, o, "claim"),
            .generation = (uint32_t)number(g, o, "generation"),
            .attempt = (uint16_t)number(g, o, "attempt"),
            .error = (enum error_class)number(g, o, "error"),
            .ended_job = number(g, o, "ended_job") != 0,
            .started_us = number(g, o, "started"),
            .ended_us = number(g, o, "ended"),
        };
        if (!g->fault) {
                audit_tried(&g->e->audit, &t);
        }
}

static void read_node(struct reading *g, const json_t *o)
{
        struct evidence *e = g->e;
        e->nodes = grown(e->nodes, e->n_nodes, &e->nodes_capacity, sizeof *e->nodes);
        e->nodes[e->n_nodes++] = (struct node_row){
            .holder = wide(g, o, "holder"),
            .dead = number(g, o, "dead") != 0,
            .beat_at_us = number(g, o, "beat_at"),
        };
}

static void read_outbox(struct reading *g, const json_t *o)
{
        g->e->late_outbox += g->e->dumped_us - number(g, o, "created") > 10 * US_PER_S;
}

/* open: it keeps the jobs of a claim, since not all of them have ended. */
static void read_commit(struct reading *g, const json_t *o)
{
        g->e->audit.claims_left += number(g, o, "open") != 0;
}

static void read_inbox(struct reading *g, const json_t *o)
{
        g->e->inbox += (uint64_t)number(g, o, "n");
}

static void read_last(struct reading *g, const json_t *o)
{
        g->ended = true;
        if ((uint64_t)number(g, o, "jobs") != g->jobs) {
                g->fault = "the dump has another number of jobs than it says";
        }
}

static const struct {
        const char *kind;
        void (*read)(struct reading *g, const json_t *o);
} kinds[] = {
    {"job", read_job},       {"try", read_try},     {"node", read_node},    {"outbox", read_outbox},
    {"commit", read_commit}, {"inbox", read_inbox}, {"ledger", read_begin}, {"end", read_last},
};

static void read_object(struct reading *g, const char *line, size_t n)
{
        json_t *o = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
        struct str kind = o ? text(o, "kind") : (struct str){0};
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(kinds) && !known; i++) {
                known = str_eq(kind, str_of(kinds[i].kind));
                if (known && !g->began && kinds[i].read != read_begin) {
                        g->fault = "a dump begins with its kind ledger";
                } else if (known) {
                        kinds[i].read(g, o);
                }
        }
        if (!known) {
                g->fault = o ? "a kind that nobody knows" : "not a JSON object";
        }
        json_decref(o);
}

int read_dump(struct evidence *e, const char *path)
{
        FILE *f = fopen(path, "re");
        if (!f) {
                fprintf(stderr, "skep-audit: %s: %s\n", path, strerror(errno));
                return -1;
        }
        struct reading g = {.e = e};
        char *line = NULL;
        size_t size = 0;
        ssize_t n;
        unsigned long long at = 0;
        while (!g.fault && (n = getline(&line, &size, f)) > 0) {
                at++;
                read_object(&g, line, (size_t)n);
        }
        if (!g.fault && !g.ended) {
                g.fault = "the dump is not whole: its last record is missing";
        }
        if (g.fault) {
                fprintf(stderr, "skep-audit: %s:%llu: %s\n", path, at, g.fault);
        }
        free(line);
        fclose(f);
        return g.fault ? -1 : 0;
}
