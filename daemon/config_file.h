/*
 * One configuration file as a tree of plain nodes: the only room that knows libconfig.
 *
 * What libconfig 1.5 does to a daemon is kept out here: it ends the process when it cannot read on
 * (a directory under @include), and it cuts whole numbers to 32 bits without a word.
 */
#ifndef SKEP_DAEMON_CONFIG_FILE_H
#define SKEP_DAEMON_CONFIG_FILE_H

#include "core/arena.h"
#include "core/base.h"

#include <sys/types.h>

enum config_node_kind {
        NODE_TEXT,
        NODE_WHOLE,
        NODE_REAL,
        NODE_BOOL,
        NODE_GROUP, /* { } */
        NODE_LIST,  /* ( ) and [ ] */
};

struct config_node {
        struct str name; /* empty in lists */
        enum config_node_kind kind;
        struct str text; /* of a scalar, with a NUL behind it */
        int line;
        struct config_node *children;
        uint32_t n;
};

#define CONFIG_FILE_MAX (256u << 10) /* bytes; libconfig's time grows with the square */

/* Reads a file whole. > 0: CONFIG_FILE_MISSING (there is none), CONFIG_FILE_REFUSED with a note
 * that says why, without the path. ret_mode: its permissions. */
#define CONFIG_FILE_MISSING 1
#define CONFIG_FILE_REFUSED 2
int config_file_slurp(const char *path, struct arena *a, struct str *ret, mode_t *ret_mode,
                      char *note, size_t note_size);

/* Parses text (with a NUL behind it). > 0: CONFIG_FILE_REFUSED with a note and its line. */
int config_file_parse(struct str text, struct arena *a, struct config_node *ret_root, int *ret_line,
                      char *note, size_t note_size);

#endif
