/*
 * Calling a handler: loads its plug-in and initialises it at the first job for it, which is marked
 * as running by then, so that a crash or a hang in a constructor or in init() is put down to that
 * job. A failing init() is the job's RETRY.
 */
#include "plugins/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/verdict.h"

const char *loaded_option(const struct loaded_handler *h, const char *name)
{
        for (uint32_t i = 0; i < h->of->n_set; i++) {
                const struct set_option *s = &h->of->set[i];
                if (strcmp(s->name, name) == 0 && strcmp(s->type, h->h.type) == 0) {
                        return s->value;
                }
        }
        for (uint32_t i = 0; h->h.options && i < h->h.n_options; i++) {
                struct skep_option o = handler_option_at(&h->h, i);
                if (strcmp(o.name, name) == 0) {
                        return o.value;
                }
        }
        return NULL;
}

struct live_setup {
        struct skep_setup pub; /* first */
        const struct loaded_handler *handler;
};

static const char *setup_option(const struct skep_setup *setup, const char *name)
{
        return loaded_option(((const struct live_setup *)(const void *)setup)->handler, name);
}

static int fail(struct live *l, const char *what, const char *why)
{
        return l->pub.services->verdict(&l->pub, SKEP_RETRY, 0, "%s: %s", what, why);
}

static int load_plugin(struct live *l, struct loaded_plugin *lp)
{
        const struct skep_plugin *p;
        char note[512];
        if (plugin_load(lp->fd, &p, note, sizeof note) < 0) {
                return fail(l, lp->name, note);
        }
        struct loaded_handler *handlers = calloc(p->n_handlers, sizeof *handlers);
        if (!handlers) {
                return fail(l, lp->name, "no memory left to load it");
        }
        for (uint32_t i = 0; i < p->n_handlers; i++) {
                handlers[i].h = plugin_handler(p, i);
                handlers[i].of = lp;
        }
        plugin_note_base(p, lp->name);
        close(lp->fd);
        lp->fd = -1;
        lp->n_handlers = p->n_handlers;
        lp->handlers = handlers;
        return SKEP_DONE;
}

static int init_handler(struct live *l, struct loaded_handler *h)
{
        char reason[1024] = "";
        struct live_setup setup = {
            .pub = {.size = sizeof setup.pub,
                    .type = h->h.type,
                    .option = setup_option,
                    .reason = reason,
                    .reason_size = sizeof reason},
            .handler = h,
        };
        int r = h->h.init ? h->h.init(&setup.pub, &h->state) : 0;
        if (r != 0) {
                char number[48];
                reason[sizeof reason - 1] = 0;
                snprintf(number, sizeof number, "it returned %d and gave no reason", r);
                return fail(l, "init", *reason ? reason : number);
        }
        h->ready = true;
        return SKEP_DONE;
}

/* What run_batch() said of one of its jobs. */
static int verdict_of(struct live *l)
{
        return l->said ? l->verdict
                       : l->pub.services->verdict(&l->pub, SKEP_RETRY, 0,
                                                  "run_batch() gave no verdict for this job");
}

static int call_handler(struct live *l, struct loaded_handler *h)
{
        if (h->h.run) {
                return h->h.run(&l->pub, h->state);
        }
        struct skep_job *jobs[1] = {&l->pub};
        h->h.run_batch(jobs, 1, h->state);
        return verdict_of(l);
}

/* The number that run() returned decides; what was said before counts as far as it agrees. */
static void settle_verdict(struct live *l, int returned)
{
        if (returned < 0 || returned >= VERDICT_KINDS) {
                l->pub.services->verdict(&l->pub, SKEP_RETRY, 0,
                                         "the handler returned %d, which is no verdict", returned);
                return;
        }
        if (l->said && l->verdict != returned) {
                l->delay_ms = 0;
        }
        l->verdict = returned;
}

/* NULL: the job cannot run, and `l` has the verdict that *ret_verdict is. */
static struct loaded_handler *ready_handler(struct live *l, uint32_t plugin, uint32_t handler,
                                            int *ret_verdict)
{
        struct loaded_plugin *lp = plugin < l->w->n_plugins ? &l->w->plugins[plugin] : NULL;
        if (!lp || !lp->message) {
                *ret_verdict = fail(l, "worker", "it was not given this plug-in");
                return NULL;
        }
        *ret_verdict = lp->handlers ? SKEP_DONE : load_plugin(l, lp);
        if (*ret_verdict != SKEP_DONE) {
                return NULL;
        }
        if (!lp->handlers || handler >= lp->n_handlers) {
                *ret_verdict = fail(l, lp->name, "no such handler");
                return NULL;
        }
        struct loaded_handler *h = &lp->handlers[handler];
        l->handler = h;
        *ret_verdict = h->ready ? SKEP_DONE : init_handler(l, h);
        return *ret_verdict == SKEP_DONE ? h : NULL;
}

void live_run(struct live *l, uint32_t plugin, uint32_t handler)
{
        int verdict;
        struct loaded_handler *h = ready_handler(l, plugin, handler, &verdict);
        settle_verdict(l, h ? call_handler(l, h) : verdict);
}

/* The handler cannot be called, as the first of them says. */
static void fail_batch(struct live *list, uint32_t n, int verdict)
{
        settle_verdict(&list[0], verdict);
        for (uint32_t i = 1; i < n; i++) {
                struct live *l = &list[i];
                settle_verdict(l, l->pub.services->verdict(&l->pub, verdict, 0, "%s",
                                                           list->text.p ? list->text.p : ""));
        }
}

void live_run_batch(struct live *list, uint32_t n, uint32_t plugin, uint32_t handler)
{
        struct skep_job *jobs[RING_SLOTS];
        int verdict;
        struct loaded_handler *h = ready_handler(&list[0], plugin, handler, &verdict);
        if (!h) {
                fail_batch(list, n, verdict);
                return;
        }
        for (uint32_t i = 0; i < n; i++) {
                list[i].handler = h;
                jobs[i] = &list[i].pub;
        }
        if (h->h.run_batch) {
                h->h.run_batch(jobs, n, h->state);
        }
        for (uint32_t i = 0; i < n; i++) {
                struct live *l = &list[i];
                settle_verdict(l, h->h.run_batch ? verdict_of(l) : h->h.run(&l->pub, h->state));
        }
}
