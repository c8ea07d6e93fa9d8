/*
 * Jobs as JSON, under the names of the envelope. Stored bytes are embedded as JSON only after they
 * were found to be JSON; everything else is escaped or base64.
 */
#ifndef SKEP_HTTP_RENDER_H
#define SKEP_HTTP_RENDER_H

#include "core/ledger.h"
#include "http/out.h"
#include "http/route.h"

/* A created job, or the one that exists. */
void render_submitted(struct out *o, const struct submit_row *row);

/* A job with all that it has. */
void render_job(struct out *o, const struct job_row *row);

/* {"jobs":[...],"next":"cursor"}. *ret_cursor is empty when there is no next page. */
void render_list(struct out *o, const struct query *q, const struct ledger_list *list,
                 char ret_cursor[static CURSOR_TEXT]);

#endif
