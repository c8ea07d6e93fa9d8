/*
 * Jobs as JSON, under the names of the envelope. Stored bytes are embedded as JSON only after they
 * were found to be JSON; everything else is escaped or base64.
 */
#ifndef SKEP_HTTP_RENDER_H
#define SKEP_HTTP_RENDER_H

#include "core/ledger.h"
#include "http/out.h"
#include "http/route.h"

/* Which job a submission led to: its own, or the one that was there before it (by its key, or by
 * its unique key). STATE_NONE: nothing is left of that one but its id. */
void submitted_job(const struct submit_row *row, struct job_id *ret_id, enum job_state *ret_state);

/* That job, in the same words whichever it is. */
void render_submitted(struct out *o, const struct submit_row *row);

/* The job that a schedule makes with each run, as it was written. */
void render_template(struct out *o, const struct submit_row *row);

/* A job with all that it has. */
void render_job(struct out *o, const struct job_row *row);

/* A list with payloads is cut at so many jobs, and where it is so many bytes. */
#define LIST_WHOLE_MAX 50
#define LIST_BYTES_MAX (8u << 20)

/* {"jobs":[...],"next":"cursor"}. *ret_cursor is empty when there is no next page. */
void render_list(struct out *o, const struct query *q, const struct ledger_list *list,
                 char ret_cursor[static CURSOR_TEXT]);

#endif
