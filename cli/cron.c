/*
 * `skep cron`: schedules. The server checks expressions and zones and names the place of a mistake.
 */
#include "cli/ask.h"

#include <stdio.h>

static const struct column cron_people[] = {{"name", "name", CELL_TEXT},
                                            {"cron", "cron", CELL_TEXT},
                                            {"zone", "zone", CELL_TEXT},
                                            {"type", "job.type", CELL_TEXT},
                                            {"paused", "paused", CELL_YES_NO},
                                            {"next", "next_at", CELL_TIME},
                                            {"last", "last_at", CELL_TIME},
                                            {"last state", "last_state", CELL_STATE},
                                            {NULL}};

static const struct column cron_pipe[] = {{"name", "name", CELL_TEXT},
                                          {"cron", "cron", CELL_TEXT},
                                          {"zone", "zone", CELL_TEXT},
                                          {"type", "job.type", CELL_TEXT},
                                          {"queue", "job.queue", CELL_TEXT},
                                          {"paused", "paused", CELL_YES_NO},
                                          {"catch_up", "catch_up", CELL_TEXT},
                                          {"overlap", "overlap", CELL_TEXT},
                                          {"from_config", "from_config", CELL_YES_NO},
                                          {"next_at", "next_at", CELL_TIME},
                                          {"last_at", "last_at", CELL_TIME},
                                          {"last_job", "last_job", CELL_TEXT},
                                          {"last_state", "last_state", CELL_STATE},
                                          {NULL}};

static const struct column run_columns[] = {{"id", "id", CELL_TEXT},
                                            {"state", "state", CELL_STATE},
                                            {"type", "type", CELL_TEXT},
                                            {"queue", "queue", CELL_TEXT},
                                            {NULL}};

int cron_ls_run(struct invocation *in)
{
        return list_run(in, "/v1/schedules", "schedules", cron_people, cron_pipe);
}

static void print_times(const json_t *list)
{
        size_t i;
        json_t *time;
        json_array_foreach((json_t *)list, i, time)
        {
                const char *text = json_string_value(time);
                int64_t us;
                if (text && time_parse(text, &us)) {
                        CLEANUP(buf_deinit)
                        struct buf local = {0};
                        CLEANUP(buf_deinit)
                        struct buf span = {0};
                        time_local(&local, us);
                        age_format(&span, us, wall_us());
                        printf("  %s  %s  (%s)\n", text, buf_z(&local), buf_z(&span));
                }
        }
}

static void print_schedule(struct invocation *in, const struct response *answer,
                           const json_t *schedule)
{
        bool people = table_for_people(in->output);
        print_row(in, answer, schedule, people ? cron_people : cron_pipe);
        if (people && json_array_size(json_object_get(schedule, "next"))) {
                puts("next runs:");
                print_times(json_object_get(schedule, "next"));
        }
}

/* One request about the schedule NAME, and its answer. */
static int ask_about(struct invocation *in, const char *method, const char *suffix,
                     const struct buf *body, struct response *answer, json_t **root)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf path = {0};
        CLEANUP(free_text)
        char *about = text_printf("schedule %s", in->args[0]);
        path_of(&path, "/v1/schedules/", in->args[0], suffix);
        int r = client_open(in, &c);
        return r ? r : ask_json(c, method, buf_z(&path), body, about, answer, root);
}

static int change_run(struct invocation *in, const char *method, const char *suffix,
                      const struct buf *body)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        int r = ask_about(in, method, suffix, body, &answer, &root);
        if (r == 0) {
                print_schedule(in, &answer, root);
        }
        return r;
}

int cron_show_run(struct invocation *in)
{
        return change_run(in, NULL, "", NULL);
}

int cron_pause_run(struct invocation *in)
{
        return change_run(in, "POST", "/pause", NULL);
}

int cron_resume_run(struct invocation *in)
{
        return change_run(in, "POST", "/resume", NULL);
}

int cron_rm_run(struct invocation *in)
{
        return change_run(in, "DELETE", invocation_has(in, "force") ? "?force=true" : "", NULL);
}

int cron_run_run(struct invocation *in)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        int r = ask_about(in, "POST", "/run", NULL, &answer, &root);
        if (r == 0 && in->output == OUTPUT_ID) {
                CLEANUP(free_text)
                char *safe = text_safe(pick_text(root, "id") ? pick_text(root, "id") : "?");
                puts(safe);
        } else if (r == 0) {
                print_row(in, &answer, root, run_columns);
        }
        return r;
}

int cron_add_run(struct invocation *in)
{
        CLEANUP(buf_deinit)
        struct buf body = {0};
        static const char *const texts[][2] = {
            {"zone", "zone"}, {"catch-up", "catch_up"}, {"overlap", "overlap"}};
        long most;
        buf_text(&body, "{\"cron\":");
        json_quote(&body, in->args[1], strlen(in->args[1]));
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                const char *value = invocation_get(in, texts[i][0]);
                if (value) {
                        member_add(&body, texts[i][1], value);
                }
        }
        int r = invocation_number(in, "catch-max", 1, 1000, 0, &most);
        if (r) {
                return r;
        }
        if (most) {
                buf_printf(&body, ",\"catch_max\":%ld", most);
        }
        buf_printf(&body,
                   ",\"paused\":%s,\"job\":", invocation_has(in, "paused") ? "true" : "false");
        r = job_object(in, in->args[2], in->n_args > 3 ? in->args[3] : NULL, NULL, &body);
        buf_text(&body, "}");
        return r ? r : change_run(in, "PUT", "", &body);
}

int cron_next_run(struct invocation *in)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        CLEANUP(buf_deinit)
        struct buf body = {0};
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        long n;
        int r = invocation_number(in, "limit", 1, 100, 5, &n);
        buf_text(&body, "{\"cron\":");
        json_quote(&body, in->args[0], strlen(in->args[0]));
        if (invocation_has(in, "zone")) {
                member_add(&body, "zone", invocation_get(in, "zone"));
        }
        buf_printf(&body, ",\"n\":%ld}", n);
        r = r ? r : client_open(in, &c);
        r = r ? r : ask_json(c, "POST", "/v1/schedules/preview", &body, NULL, &answer, &root);
        if (r) {
                return r;
        }
        if (in->output == OUTPUT_JSON || in->output == OUTPUT_NDJSON) {
                print_answer(&answer);
        } else {
                print_times(json_object_get(root, "next"));
        }
        return 0;
}
