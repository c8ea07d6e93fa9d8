/*
 * `skep workers ls` and `skep stats`: what the node does right now.
 */
#include "cli/ask.h"

static const struct column worker_columns[] = {{"worker", "worker", CELL_TEXT},
                                               {"pid", "pid", CELL_COUNT},
                                               {"state", "state", CELL_STATE},
                                               {"generation", "generation", CELL_COUNT},
                                               {"job", "job_id|job.id|job", CELL_TEXT},
                                               {"type", "type|job.type", CELL_TEXT},
                                               {"given", "given", CELL_COUNT},
                                               {"finished", "finished", CELL_COUNT},
                                               {NULL}};

int workers_ls_run(struct invocation *in)
{
        return list_run(in, "/v1/workers", "workers", worker_columns, worker_columns);
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
        return list_run(in, "/v1/stats", "queues", stats_columns, stats_columns);
}
