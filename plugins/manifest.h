/*
 * What a plug-in says it offers, as its probe reported it. The report comes from a process that ran
 * the plug-in's constructors, so every byte of it may be forged: bounds, text encoding, patterns
 * and option names are checked here, once, and nowhere later.
 */
#ifndef SKEP_PLUGINS_MANIFEST_H
#define SKEP_PLUGINS_MANIFEST_H

#include "core/arena.h"
#include "plugins/host.h"

struct manifest_option {
        struct str name, kind, value, help;
        bool has_value;
};

struct manifest_handler {
        struct str type, summary, schema;
        uint32_t flags, timeout_ms, concurrency, batch_max, batch_wait_ms, heartbeat_ms;
        struct manifest_option *options;
        uint32_t n_options;
};

struct manifest {
        struct arena arena;
        struct str name, version;
        struct manifest_handler *handlers;
        uint32_t n;
};

/* Reads the bytes of a WIRE_MANIFEST message. < 0: refused, the note says why in plain words. */
int manifest_read(const void *bytes, size_t n, struct manifest *ret, char *note, size_t note_size);
void manifest_deinit(struct manifest *m);

/* Do the configured options (NULL-terminated array, or NULL) fit? Each must exist in its handler
 * and be of its kind, each without a default must be set. */
bool manifest_options_fit(const struct manifest *m, const struct handler_option *set, char *note,
                          size_t note_size);

/* The whole description as JSON text; NULL when memory is out. The caller frees it. */
char *manifest_json(const struct manifest *m, const char *file, const char *build);

#endif
