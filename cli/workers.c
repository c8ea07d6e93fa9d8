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

static const struct column stats_columns[] = {{"queue", "queue|name", CELL_TEXT},
                                              COLUMN_OF_STATE("pending"),
                                              COLUMN_OF_STATE("parked"),
                                              COLUMN_OF_STATE("scheduled"),
                                              COLUMN_OF_STATE("running"),
                                              COLUMN_OF_STATE("retrying"),
                                              COLUMN_OF_STATE("completed"),
                                              COLUMN_OF_STATE("dead"),
                                              COLUMN_OF_STATE("cancelled"),
                                              {"oldest_pending_at", "oldest_pending_at", CELL_TIME},
                                              {NULL}};

int stats_run(struct invocation *in)
{
        return list_run(in, "/v1/stats", "queues", stats_columns, stats_columns);
}
