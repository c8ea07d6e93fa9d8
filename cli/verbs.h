/*
 * The verbs, one run function each, and the few things that they share. Each returns the exit code.
 */
#ifndef SKEP_CLI_VERBS_H
#define SKEP_CLI_VERBS_H

#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"

#include <jansson.h>

int enqueue_run(struct invocation *in);
int jobs_ls_run(struct invocation *in);
int jobs_show_run(struct invocation *in);
int jobs_retry_run(struct invocation *in);
int jobs_cancel_run(struct invocation *in);
int handlers_ls_run(struct invocation *in);
int handlers_show_run(struct invocation *in);
int workers_ls_run(struct invocation *in);
int stats_run(struct invocation *in);
int queues_ls_run(struct invocation *in);
int queues_show_run(struct invocation *in);
int queues_pause_run(struct invocation *in);
int queues_resume_run(struct invocation *in);
int queues_limit_run(struct invocation *in);
int nodes_ls_run(struct invocation *in);
int workers_resize_run(struct invocation *in);
int cron_ls_run(struct invocation *in);
int cron_show_run(struct invocation *in);
int cron_add_run(struct invocation *in);
int cron_rm_run(struct invocation *in);
int cron_run_run(struct invocation *in);
int cron_pause_run(struct invocation *in);
int cron_resume_run(struct invocation *in);
int cron_next_run(struct invocation *in);
int dead_ls_run(struct invocation *in);
int dead_groups_run(struct invocation *in);
int dead_requeue_run(struct invocation *in);
int dead_purge_run(struct invocation *in);
int dead_edit_run(struct invocation *in);
int dead_export_run(struct invocation *in);
int dead_import_run(struct invocation *in);
int operations_ls_run(struct invocation *in);
int operations_stop_run(struct invocation *in);
int explain_run(struct invocation *in);
int reconcile_run(struct invocation *in);
int dev_run(struct invocation *in);
int bench_run(struct invocation *in);
int doctor_run(struct invocation *in);
int help_run(struct invocation *in);
int version_run(struct invocation *in);

/* Where the API keeps what of a job's last failed attempt. */
#define ERROR_CLASS_FIELDS "error.class"
#define ERROR_TEXT_FIELDS  "error.text"

/* A job as the API takes it, from job_flags. body NULL: no payload, "-": standard input; key NULL:
 * none. 0, or an exit code after a message. */
int job_object(struct invocation *in, const char *type, const char *body, const char *key,
               struct buf *json);

/* Prints a job that was submitted just now by -o; 0. */
int print_created(struct invocation *in, const struct response *r, const json_t *job);

/* Lists jobs page by page; `from` may have a query already; the flags add to it. */
int jobs_list(struct invocation *in, const char *from);

/* --retry-for */
int read_patience(struct invocation *in, uint32_t *ret_ms, bool *ret_stubborn);

/* GETs `path` and parses the answer. 0, or an exit code after a message. */
int fetch_json(struct client *c, const char *path, const char *about, struct response *ret,
               json_t **ret_json);

/* A whole answer, or one value of it, as JSON on a line: the bytes as they came; on a terminal with
 * what would act on it written as \u escapes (which means the same in JSON). */
void print_answer(const struct response *answer);
void print_json(const json_t *value, size_t flags);

/* The array in an answer: the answer itself, the member `name`, or the only member that is an
 * array. */
const json_t *list_of(const json_t *answer, const char *name);

/* Prints a whole answer's list by -o. */
int print_list(struct invocation *in, const struct response *answer, const json_t *list,
               const struct column *people, const struct column *pipe);

/* Columns of jobs. */
extern const struct column job_columns_people[];
extern const struct column job_columns_pipe[];

/* cli/show.c: one job as a record. */
void print_job(const struct response *r, const json_t *job);

#endif
