/*
 * A job from its object. The walk is that of object.c, the fields are in fields_table.c.
 */
#include "http/fields.h"

#include <stdio.h>

#include "http/fields_table.h"

#define EXAMPLE "a job is an object, as in {\"type\":\"echo\",\"payload\":{}}"

static struct job_taking begin_job(const struct settings *s, struct arena *a, struct str body,
                                   int64_t now_us, struct problem *ret_problem)
{
        return (struct job_taking){.t = {.settings = s,
                                         .arena = a,
                                         .body = body,
                                         .now_us = now_us,
                                         .problem = ret_problem,
                                         .table = fields_table,
                                         .prefix = "",
                                         .example = EXAMPLE}};
}

/* taken: what the walk over its members said. */
static int end_job(struct job_taking *j, int taken, struct submit_row *ret_row)
{
        int r = taken ? taken : fields_finish(j);
        if (r == 0) {
                *ret_row = j->row;
        }
        return r;
}

int fields_parse(const struct settings *s, struct arena *a, struct str body, struct str text,
                 int64_t now_us, struct submit_row *ret_row, struct problem *ret_problem)
{
        struct job_taking j = begin_job(s, a, body, now_us, ret_problem);
        return end_job(&j, object_take(&j.t, text), ret_row);
}

int fields_walk(const struct settings *s, struct arena *a, struct json_walk *walk, int64_t now_us,
                struct submit_row *ret_row, struct problem *ret_problem)
{
        struct job_taking j = begin_job(s, a, walk->text, now_us, ret_problem);
        return end_job(&j, object_walk(&j.t, walk), ret_row);
}

int fields_parse_tick(const struct taking *outer, struct str text, struct submit_row *ret_row)
{
        static const struct {
                enum field_index field;
                const char *why;
        } foreign[] = {
            {F_KEY, "each run has a key of its own, made of the schedule's name and the time"},
            {F_RUN_AT, "its time is the schedule's"},
            {F_DELAY, "its time is the schedule's"},
            {F_DEADLINE, "a time would be past for all later runs"},
            {F_PARENT_ID, "it has no parent"},
            {F_UNIQUE_KEY, "\"overlap\" says what happens while the last run is not over"},
            {F_UNIQUE_SCOPE, "see \"overlap\""},
            {F_UNIQUE_STATES, "see \"overlap\""},
            {F_UNIQUE_FOR, "see \"overlap\""},
            {F_UNIQUE_CONFLICT, "see \"overlap\""}};
        struct job_taking j = {0};
        object_inner(outer, "job.", &j.t);
        j.t.table = fields_table;
        j.t.example = EXAMPLE;
        int r = object_take(&j.t, text);
        for (size_t i = 0; r == 0 && i < ARRAY_LEN(foreign); i++) {
                const struct field *f = &fields_table[foreign[i].field];
                if (object_has(&j.t, foreign[i].field)) {
                        r = field_refuse_text(&j.t, f, "%s: a schedule's job cannot have it: %s",
                                              f->name, foreign[i].why);
                        j.t.problem->allowed = NULL;
                }
        }
        r = r ? r : fields_finish(&j);
        if (r == 0) {
                j.row.retry_until_us = 0; /* counted from each tick */
                *ret_row = j.row;
        }
        return r;
}
