/*
 * Jobs that a handler enqueued: they arrive with its verdict as the handler wrote them and are
 * completed here with ids and with what the queue's configuration gives. They are written in the
 * transaction that completes their parent, or never.
 */
#include "core/engine_inner.h"

static const struct queue_config *queue_of(struct engine *e, const struct job *parent,
                                           struct submit_row *row)
{
        const struct config *c = e->config;
        int at = row->queue.n ? config_queue_named(c, row->queue) : config_queue_for(c, row->type);
        if (row->queue.n == 0) {
                row->queue = at < 0 ? parent->queue : c->queues[at].name;
        }
        return at < 0 ? NULL : &c->queues[at];
}

/* The parent's texts live as long as its claim, the configuration's as long as the process: both
 * outlive the batch. */
void child_complete(struct engine *e, const struct job *parent, struct submission *children)
{
        static const struct job_id none;
        for (uint32_t i = 0; i < children->n; i++) {
                struct submit_row *row = &children->rows[i];
                const struct queue_config *q = queue_of(e, parent, row);
                if (job_id_eq(&row->id, &none)) {
                        row->id = id_mint(&e->mint, e->now.wall_us);
                }
                if (row->priority > PRIORITY_MAX) {
                        row->priority = q ? (uint8_t)q->priority : PRIORITY_DEFAULT;
                }
                if (row->max_attempts == 0) {
                        row->max_attempts =
                            q ? q->retry.max_attempts : RETRY_POLICY_DEFAULT.max_attempts;
                }
        }
        submit_place(e, children, false);
}
