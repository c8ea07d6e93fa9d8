/* Loads a handler's built .so for a test. It is never unloaded: libraries below it may hold
 * threads. */
#ifndef SKEP_HANDLERS_TESTS_PLUGIN_H
#define SKEP_HANDLERS_TESTS_PLUGIN_H

#include <skep/handler_test.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The first handler of $HANDLERS_DIR/NAME.so; ends the program when there is none. */
static inline const struct skep_handler *plugin_handler(const char *name)
{
        const char *dir = getenv("HANDLERS_DIR");
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.so", dir ? dir : ".", name);
        void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        const struct skep_plugin *plugin = so ? dlsym(so, "skep_plugin") : NULL;
        if (!plugin || plugin->abi != SKEP_ABI || plugin->n_handlers == 0) {
                fprintf(stderr, "%s: %s\n", path,
                        so ? "exports no skep_plugin of this ABI" : dlerror());
                exit(1);
        }
        return plugin->handlers;
}

#endif
