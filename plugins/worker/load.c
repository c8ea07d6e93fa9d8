/*
 * A plug-in as it lies in memory: loaded from its sealed copy, read through its own sizes. Runs in
 * probes and workers only. Pointers inside a plug-in are followed on trust: if they lead nowhere
 * this process dies, which is what it is for.
 */
#include "plugins/worker/worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#define BASES_MAX 256

static struct {
        const void *base;
        const char *name;
} bases[BASES_MAX];
static uint32_t n_bases;

/* dlerror() names the descriptor's path, which tells people nothing. */
static const char *loader_text(const char *path)
{
        const char *text = dlerror();
        size_t n = strlen(path);
        if (!text) {
                return "the loader gives no reason";
        }
        return strncmp(text, path, n) == 0 && text[n] == ':' ? text + n + 2 : text;
}

static int check_head(const struct skep_plugin *p, char *note, size_t note_size)
{
        if (p->abi != SKEP_ABI) {
                snprintf(
                    note, note_size,
                    "it was built for handler ABI %u, this skepd speaks %u: build it again with "
                    "this version's skep/handler.h",
                    p->abi, SKEP_ABI);
                return -EPROTO;
        }
        if (p->size < offsetof(struct skep_plugin, handler_size) + sizeof p->handler_size ||
            p->handler_size < offsetof(struct skep_handler, run) + sizeof(void *) ||
            p->handler_size > 4096) {
                snprintf(note, note_size, "its skep_plugin says impossible sizes (%u, %u)", p->size,
                         p->handler_size);
                return -EPROTO;
        }
        if (p->n_handlers == 0 || !p->handlers || p->n_handlers > 256) {
                snprintf(note, note_size, "it offers %u handlers; 1 to 256 are possible",
                         p->n_handlers);
                return -EPROTO;
        }
        return 0;
}

int plugin_load(int fd, const struct skep_plugin **ret_plugin, char *note, size_t note_size)
{
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!dl) {
                snprintf(note, note_size, "it cannot be loaded: %s", loader_text(path));
                return -ENOEXEC;
        }
        const struct skep_plugin *p = dlsym(dl, "skep_plugin");
        if (!p) {
                snprintf(note, note_size,
                         "it does not export skep_plugin: is it a handler? (SKEP_PLUGIN in "
                         "skep/handler.h makes the symbol)");
                return -ENOENT;
        }
        int r = check_head(p, note, note_size);
        if (r == 0) {
                *ret_plugin = p;
        }
        return r;
}

struct skep_handler plugin_handler(const struct skep_plugin *p, uint32_t i)
{
        struct skep_handler h = {0};
        uint32_t step = p->handler_size;
        memcpy(&h, (const char *)p->handlers + (size_t)step * i, step < sizeof h ? step : sizeof h);
        if (h.size < step && h.size < sizeof h) {
                memset((char *)&h + h.size, 0, sizeof h - h.size);
        }
        return h;
}

struct skep_option handler_option_at(const struct skep_handler *h, uint32_t i)
{
        struct skep_option o = {0};
        uint32_t step = h->option_size;
        memcpy(&o, (const char *)h->options + (size_t)step * i, step < sizeof o ? step : sizeof o);
        return o;
}

void plugin_note_base(const void *symbol, const char *name)
{
        Dl_info info;
        if (n_bases < BASES_MAX && dladdr(symbol, &info)) {
                bases[n_bases].base = info.dli_fbase;
                bases[n_bases++].name = name;
        }
}

const char *plugin_name_at(const void *base)
{
        for (uint32_t i = 0; i < n_bases; i++) {
                if (bases[i].base == base) {
                        return bases[i].name;
                }
        }
        return NULL;
}
