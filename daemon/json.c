/*
 * The few words in which the daemon's views make JSON: small documents, made on request.
 */
#include "daemon/json.h"

#include <stdlib.h>

#include "core/rfc3339.h"

json_t *json_of(struct str s)
{
        json_t *j = s.p ? json_stringn(s.p, s.n) : json_string("");
        return j ? j : json_string("(not UTF-8)");
}

json_t *json_time(int64_t wall_us)
{
        char text[RFC3339_TEXT];
        rfc3339_text(wall_us, text);
        return json_string(text);
}

void json_set_time(json_t *o, const char *name, int64_t wall_us)
{
        json_object_set_new(o, name, json_time(wall_us));
}

struct str json_print(json_t *root, struct arena *a)
{
        char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
        struct str s = text ? arena_str(a, str_of(text)) : (struct str){0};
        free(text);
        json_decref(root);
        return s;
}
