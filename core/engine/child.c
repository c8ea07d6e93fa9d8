/*
 * Jobs that a handler enqueued: they arrive with its verdict as the handler wrote them and are
 * completed here with ids and a queue. They are written in the transaction that completes their
 * parent, or never; whatever the bound of their queue, since a parent that is done cannot be
 * undone.
 */
#include "core/engine/inner.h"

/* Its unique key was hashed without a queue where the handler named none. */
static void choose_queue(const struct engine *e, const struct job *parent, struct submit_row *row)
{
        const struct config *c = e->config;
        if (row->queue.n == 0) {
                int at = config_queue_for(c, row->type);
                row->queue = at < 0 ? parent->queue : c->queues[at].name;
                unique_key_move(&row->unique, (struct str){0}, row->queue);
        }
}

/* The parent's texts live as long as its claim, the configuration's as long as the process: both
 * outlive the batch. */
void child_complete(struct engine *e, const struct job *parent, struct submission *children)
{
        static const struct job_id none;
        for (uint32_t i = 0; i < children->n; i++) {
                struct submit_row *row = &children->rows[i];
                choose_queue(e, parent, row);
                if (job_id_eq(&row->id, &none)) {
                        row->id = id_mint(&e->mint, e->now.wall_us);
                }
        }
        submit_place(e, children, false);
}
