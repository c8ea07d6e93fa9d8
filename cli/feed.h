/*
 * A line of an NDJSON file on its way to the API. Apart from cli/feed.c so that it can be tested
 * alone.
 */
#ifndef SKEP_CLI_FEED_H
#define SKEP_CLI_FEED_H

#include "cli/text.h"
#include "core/base.h"

#define FEED_LINE_MAX (4u << 20) /* bytes of a line; longer ones are refused here */

/* Appends the line, as it stands, with a newline; with `"key":"<key>"` put first when it has none.
 * > 0: LINE_REFUSED with the reason (it is not one JSON object). */
#define LINE_REFUSED 1
int line_prepare(struct buf *page, struct str line, const char *key, bool *ret_minted,
                 struct buf *ret_reason);

/* What the API said of one line. */
enum line_fate {
        LINE_CREATED,
        LINE_EXISTS,
        LINE_NOT_TAKEN, /* refused for good */
        LINE_LATER,     /* not written now: send it again */
        LINE_NONSENSE,
};
enum line_fate line_judge(struct str answer, struct buf *ret_id, struct buf *ret_reason);

#endif
