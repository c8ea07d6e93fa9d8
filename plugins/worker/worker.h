/*
 * The worker program from inside: it is its own zygote, forks workers and probes from a clean
 * image, loads plug-ins and runs jobs. It knows neither ledger nor broker; all it has is a socket
 * to skepd, its page and sealed copies of plug-ins. Handler code may destroy any of this memory:
 * nothing here protects skepd, skepd protects itself.
 */
#ifndef SKEP_PLUGINS_WORKER_H
#define SKEP_PLUGINS_WORKER_H

#include "core/arena.h"
#include "plugins/belt.h"
#include "plugins/page.h"
#include "plugins/wire.h"

#include "skep/handler.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define EXIT_NO_SOCKET 70 /* the socket to skepd does not work any more */

/* --- load.c: plug-ins as they lie in memory ------------------------------------------------ */

/* dlopen()s the sealed copy, finds the one symbol, checks ABI and sizes. Crashes if the plug-in
 * does. < 0: -errno with the note in plain words. Never closed again. */
int plugin_load(int fd, const struct skep_plugin **ret_plugin, char *note, size_t note_size);

/* The i-th handler, stepped by the plug-in's own size, zero where it has no such member; same for
 * options. */
struct skep_handler plugin_handler(const struct skep_plugin *p, uint32_t i);
struct skep_option handler_option_at(const struct skep_handler *h, uint32_t i);

/* Remembers under which address a plug-in lies, so that a backtrace can name it. */
void plugin_note_base(const void *symbol, const char *name);
const char *plugin_name_at(const void *base); /* NULL: not one of ours. Async-signal-safe */

/* --- crash.c ------------------------------------------------------------ */

/* Loads what a backtrace needs, once, in the zygote. */
void crash_warm_up(void);

/* From now on a fatal signal leaves its name and a backtrace in the page, or as WIRE_CRASH on the
 * socket when page is NULL, before it kills. */
void crash_watch(struct page *page);

/* --- child.c: what every forked child does first ------------------------------------------- */

/* Own session, death with skepd, default signals, no core dumps. Ends the process when skepd is
 * gone already. */
void child_settle(int32_t parent);

/* --- one job ------------------------------------------------------------ */

struct set_option {
        const char *type, *name, *value;
};

struct loaded_handler {
        struct skep_handler h;
        struct loaded_plugin *of;
        void *state;
        bool ready; /* init() was fine */
};

struct loaded_plugin {
        char *message; /* owns the texts below */
        const char *name;
        int fd; /* -1 once loaded */
        struct set_option *set;
        uint32_t n_set;
        struct loaded_handler *handlers; /* NULL until loaded */
        uint32_t n_handlers;
};

struct stashed {
        struct stashed *next;
        size_t n;
        uint32_t n_fds;
        int fds[WIRE_FDS];
        _Alignas(16) uint8_t bytes[]; /* payloads lie aligned in their frame */
};

struct worker {
        struct page *page;
        const uint8_t *belt; /* NULL: no large payload came yet */
        struct loaded_plugin *plugins;
        uint32_t n_plugins;
        uint32_t cancels_seen;
        int64_t noticed_ns;                 /* when skepd was told last */
        int64_t wall_minus_mono_ns;         /* read once per frame */
        struct stashed *stash, **stash_end; /* messages that came while a checkpoint waited */
};

struct live_child {
        struct live_child *next;
        int fd; /* its payload, or -1 */
        size_t n;
        uint8_t message[];
};

/* The job that runs. `pub` is what the handler sees. */
struct live {
        struct skep_job pub; /* first */
        struct worker *w;
        struct loaded_handler *handler;
        uint32_t position;
        struct arena arena;
        bool said; /* through services->verdict */
        int verdict;
        int64_t delay_ms;
        struct str text, result, result_type, checkpoint;
        bool has_result;
        struct live_child *children, **children_end;
        uint32_t n_children;
        size_t children_bytes;
        char id[37];
};

extern const struct skep_services worker_services;

/* Calls the handler, loading and initialising it first where need be; the verdict is in `l`. */
void live_run(struct live *l, uint32_t plugin, uint32_t handler);

/* The same for n jobs of one handler, all begun, with one call. */
void live_run_batch(struct live *list, uint32_t n, uint32_t plugin, uint32_t handler);

/* Result, text and children leave; the slot is ENDED then. */
void live_end(struct live *l, struct slot *s, uint32_t epoch);

const char *loaded_option(const struct loaded_handler *h, const char *name);
int wait_saved(struct worker *w, uint32_t position); /* for checkpoint_save */

/* Sends or ends the process: there is no life without skepd. */
void send_or_end(struct worker *w, const void *bytes, size_t n, const int *fds, uint32_t n_fds);

/* --- frame.c: jobs as they come ------------------------------------------------------------ */

/* One job of a frame, as read from it. */
struct incoming {
        struct wire_job j;
        const uint8_t *texts;
        const uint8_t *payload; /* in the frame, on the belt, or mapped */
        size_t mapped;
};

struct frame {
        struct worker *w;
        const uint8_t *p;
        size_t n, at;
        const int *fds;
        uint32_t n_fds, fd_at;
};

/* The head says how many there are. Gives up when the next one is not there. */
void frame_next(struct frame *f, struct incoming *ret);
void incoming_done(struct incoming *in);

/* Makes `l` the job at this position, which has started; only its arena is kept. The frame must
 * outlive it. */
void live_begin(struct live *l, struct worker *w, const struct incoming *in, uint32_t position);

/* --- group.c: batches ------------------------------------------------------------ */

/* A frame of a batch; runs the batch with its last one. */
void group_frame(struct worker *w, const struct wire_frame *head, const uint8_t *bytes, size_t n,
                 const int *fds, uint32_t n_fds);
void group_run(struct worker *w); /* what is there of it, now */

/* --- loop.c ------------------------------------------------------------ */

int64_t clock_ns(void);              /* monotonic */
int64_t clock_set(struct worker *w); /* the same, and sets how far the wall clock is from it */

/* Takes a job that was given: false when it was taken back, or given anew in a later frame. */
bool slot_take(struct worker *w, struct slot *s, uint32_t epoch, int64_t now);
int64_t slot_await_lease(const struct worker *w, const struct slot *s, uint32_t epoch, int64_t now);
void say_ended(struct worker *w, uint32_t position, int64_t now);
_Noreturn void give_up(struct worker *w, const char *why); /* errno says more */

/* The programs. None returns. */
_Noreturn void zygote_main(void);
_Noreturn void worker_main(int32_t parent);
_Noreturn void probe_main(int32_t parent);

#endif
