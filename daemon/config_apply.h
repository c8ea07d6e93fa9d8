/*
 * Inside config loading: one configuration being built, and how a layer puts values into it. Each
 * value gets the origin it came with; each refusal becomes one line of the report. All functions
 * return 0 or -ENOMEM: a refused value is a line, never the end.
 */
#ifndef SKEP_DAEMON_CONFIG_APPLY_H
#define SKEP_DAEMON_CONFIG_APPLY_H

#include "core/pattern.h"
#include "daemon/config_file.h"
#include "daemon/config_load.h"

struct config_build {
        struct config *config;
        struct config_report *report;
        bool unparsed; /* a file could not be read: what it would have defined is not complained of
                        */
};

int config_error(struct config_build *b, struct config_origin where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int config_warn(struct config_build *b, struct config_origin where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The struct that a key belongs to, with its table. */
struct config_scope {
        void *base;
        const struct config_key *keys;
        struct config_origin **origins;
        char label[TYPE_MAX + 32]; /* before a key in messages: "queue email: ", or empty */
};

struct config_scope config_scope_whole(struct config *c);
struct config_scope config_scope_entry(struct config *c, const struct config_list *l, uint32_t i);

/* The key of that name; *ret_by_file: it was NAME_file of one that may be given so. */
const struct config_key *config_key_find(const struct config_key *keys, struct str name,
                                         bool *ret_by_file);

/* Sets a key of a scope; by_file: value is the path of the file that holds it. */
int config_put(struct config_build *b, const struct config_scope *s, const struct config_key *k,
               struct str value, bool by_file, struct config_origin where);

/* Where the origin of a key is kept; NULL: out of memory. */
struct config_origin *config_origin_slot(struct config_build *b, const struct config_scope *s,
                                         const struct config_key *k);

extern const char *const config_kind_names[]; /* enum config_node_kind, for people */

/* The settings of a group whose dotted name is prefix. source: of the file. */
int config_apply_group(struct config_build *b, const struct config_scope *s,
                       const struct config_node *group, struct str prefix, struct str source);

/* The lists of the whole: `queues`, `types` and `schedules`; `transports`; `handlers.options`. */
int config_apply_entries(struct config_build *b, const struct config_list *l,
                         const struct config_node *list, struct str source);
int config_apply_transports(struct config_build *b, const struct config_node *group,
                            struct str source);
int config_apply_options(struct config_build *b, const struct config_node *list, struct str source);

/* All settings of a parsed file. source must live as long as the configuration; one per file. */
int config_apply_file(struct config_build *b, const struct config_node *root, struct str source);

/* One setting by its dotted name. `folded`: the name comes from the environment, in lower case,
 * with _ for what a queue's name has and a variable's cannot have. `shown`: what of the name
 * messages still need to say, "NAME: " or empty. */
int config_apply_name(struct config_build *b, struct str name, struct str value, bool folded,
                      const char *shown, struct config_origin where);

/* Values from the service manager's folder of credentials: ledger-url, transports-NAME-url. */
int config_apply_credentials(struct config_build *b, const char *folder);

/* Ledgers and transports that this build does not have; keys, and queues beside each other, that a
 * transport cannot serve. */
int config_check_backends(struct config_build *b);

/* Is this key of transports another scheme's than this URL's? Then it is refused where it is set,
 * and not shown where it is not. */
bool config_key_foreign(const struct config_key *k, struct str url);

#endif
