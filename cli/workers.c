/*
 * `skep workers ls` and `skep stats`: what the node does right now.
 */
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "core/state.h"

static const struct column worker_columns[] = {{"worker", "worker", CELL_TEXT},
                                               {"pid", "pid", CELL_COUNT},
                                               {"state", "state", CELL_STATE},
                                               {"generation", "generation", CELL_COUNT},
                                               {"job", "job_id|job.id|job", CELL_TEXT},
                                               {"type", "type|job.type", CELL_TEXT},
                                               {"given", "given", CELL_COUNT},
                                               {"finished", "finished", CELL_COUNT},
                                               {NULL}};

static int fetch_list(struct invocation *in, const char *path, const char *name,
                      struct response *answer, json_t **ret_root, const json_t **ret_list)
{
        CLEANUP(client_cleanup)
        struct client *c = NULL;
        int r = client_open(in, &c);
        r = r ? r : fetch_json(c, path, NULL, answer, ret_root);
        if (r) {
                return r;
        }
        *ret_list = list_of(*ret_root, name);
        if (!*ret_list && in->output != OUTPUT_JSON) {
                say("the answer of %s has no list of %s; -o json shows it", client_url(c), name);
                return EXIT_UNREACHABLE;
        }
        return 0;
}

int workers_ls_run(struct invocation *in)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        const json_t *list = NULL;
        int r = fetch_list(in, "/v1/workers", "workers", &answer, &root, &list);
        return r ? r : print_list(in, &answer, list, worker_columns, worker_columns);
}

#define COUNT_OF(state) "jobs." state "|" state

static const struct column stats_columns[] = {{"queue", "queue|name", CELL_TEXT},
                                              {"pending", COUNT_OF("pending"), CELL_COUNT},
                                              {"parked", COUNT_OF("parked"), CELL_COUNT},
                                              {"scheduled", COUNT_OF("scheduled"), CELL_COUNT},
                                              {"running", COUNT_OF("running"), CELL_COUNT},
                                              {"retrying", COUNT_OF("retrying"), CELL_COUNT},
                                              {"completed", COUNT_OF("completed"), CELL_COUNT},
                                              {"dead", COUNT_OF("dead"), CELL_COUNT},
                                              {"cancelled", COUNT_OF("cancelled"), CELL_COUNT},
                                              {"oldest_pending_at", "oldest_pending_at", CELL_TIME},
                                              {NULL}};

int stats_run(struct invocation *in)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        CLEANUP(json_cleanup)
        json_t *root = NULL;
        const json_t *list = NULL;
        int r = fetch_list(in, "/v1/stats", "queues", &answer, &root, &list);
        return r ? r : print_list(in, &answer, list, stats_columns, stats_columns);
}
