/*
 * The plug-in host from inside. One struct, one thread, one epoll set; each file below owns one
 * part of it:
 *
 *   host.c     start, stop, the loop behind host_next(), the queue of events
 *   nursery.c  the zygote: start, restart, orders, answers
 *   watch.c    the directory: what changed and when it has settled
 *   probe.c    from a file to a checked, sealed plug-in, without ever waiting
 *   shelf.c    the files looked at, who serves, ties, the roster of a generation
 *   crew.c     workers: spawn, ask, kill
 *   give.c     jobs, given and taken back
 *   belt.c     large payloads
 *   tell.c     what workers say
 *   gone.c     their death
 *   former.c   what a dead skepd left behind
 */
#ifndef SKEP_PLUGINS_INNER_H
#define SKEP_PLUGINS_INNER_H

#include <sys/epoll.h>
#include <sys/stat.h>

#include "core/arena.h"
#include "plugins/belt.h"
#include "plugins/host.h"
#include "plugins/manifest.h"
#include "plugins/page.h"
#include "plugins/wire.h"

#define PROBES_MAX 4 /* at a time */
#define READY_MAX  64
#define CHATTER_MAX                                                                                \
        256 /* messages of no consequence per worker in CHATTER_NS, then it has to wait */
#define CHATTER_NS    (20 * NS_PER_MS)
#define HEAR_MAX      16  /* messages of one worker before the others get their turn */
#define LOG_LINES_MAX 500 /* per worker and second; the rest is counted */
#define PEEK_NS       (5 * NS_PER_MS)
#define RETIRE_NS     (10 * NS_PER_S) /* for fini() of a worker that was retired */

enum source_kind {
        SOURCE_ZYGOTE_SOCKET,
        SOURCE_ZYGOTE_PID,
        SOURCE_WATCH,
        SOURCE_PROBE_SOCKET,
        SOURCE_PROBE_PID,
        SOURCE_WORKER_SOCKET,
        SOURCE_WORKER_PID,
};

struct told { /* an event that waits to be handed out, with the text it owns */
        struct told *next;
        struct host_event e;
        char *text, *plugin;
};

/* A checked plug-in: what workers load. */
struct plugin {
        uint32_t refs;
        char *file;
        int memfd;
        uint64_t bytes;
        char build[BUILD_ID_MAX];
        struct manifest manifest;
        char *json, *types;
};
struct plugin *plugin_unref(struct plugin *p); /* NULL-safe, returns NULL */

/* One generation: the roster and the plug-ins it points to. Workers keep theirs alive. */
struct lineup {
        uint32_t refs;
        struct roster *roster;
        struct plugin **plugins;
        uint32_t n;
};
struct lineup *lineup_unref(struct lineup *l); /* NULL-safe, returns NULL */

/* --- the directory and the files in it ----------------------------------------------------- */

struct signature {
        uint64_t dev, ino, size;
        int64_t mtime_ns, ctime_ns;
        uint32_t mode, uid;
};

struct shelf_file {
        struct shelf_file *next;
        char *name;
        struct signature seen; /* of the version that was probed last, or is */
        uint64_t
            order; /* when its first version was accepted: of two in a tie the later is refused */
        struct plugin *plugin; /* passed its probe; NULL: none yet */
        bool serving;
        char *reason;   /* why it, or its newest version, is refused */
        uint64_t bytes; /* of the version looked at last */
        int64_t probed_wall_us;
        bool probe_wanted;
};

struct shelf {
        struct shelf_file *files; /* by name */
        uint64_t orders;
        struct lineup *now;
        uint32_t generation;
        bool changed;
        int64_t changed_ns;
        struct plugin_row *rows;
};

struct dirty_name {
        struct dirty_name *next;
        int64_t due_ns;
        uint64_t size;
        int64_t mtime_ns;
        bool seen;
        char name[];
};

struct watch {
        int inotify, wd;  /* wd < 0: the directory is not there */
        int64_t again_ns; /* when to look for the directory */
        struct dirty_name *dirty;
};

enum probe_stage { PROBE_FREE, PROBE_COPY, PROBE_WAIT, PROBE_ORDERED, PROBE_RUN };

struct probe {
        enum probe_stage stage;
        struct shelf_file *file;
        int source, memfd, sock, pidfd;
        pid_t pid;
        uint64_t copied;
        int64_t deadline_ns;
        uint32_t ticket; /* names the order to the zygote, so that a late answer is not taken for
                            another's */
        bool timed_out;
        struct plugin *plugin; /* as far as it is known */
        char *manifest;        /* bytes of WIRE_MANIFEST */
        size_t manifest_n;
        char *no, *crash; /* texts of WIRE_NO, WIRE_CRASH */
};

struct nursery {
        int sock, pidfd;
        pid_t pid;
        int64_t again_ns; /* when to start it anew; 0: it runs */
        uint32_t failures;
};

/* --- workers ------------------------------------------------------------ */

/* What travelled ahead of a verdict by message. */
struct extra {
        struct arena arena;
        struct str text, result, result_type;
        struct submission *children;
        size_t children_bytes;
};

struct given {
        struct job_id id;
        uint32_t epoch;
        uint32_t group, group_n; /* the batch that it is a member of; 0: none */
        const struct job *job;   /* until it is sent */
        uint64_t belt_end;       /* the belt's position behind its payload, once it is sent */
        uint32_t parts;
        uint32_t words; /* of progress, that were told */
        struct extra *extra;
};

struct outgoing {
        struct outgoing *next;
        size_t n;
        uint32_t n_fds;
        int fds[WIRE_FDS];
        uint8_t bytes[];
};

enum crew_state { CREW_WAITS, CREW_ORDERED, CREW_RUNS, CREW_ENDED };

struct crew {
        uint32_t number;
        enum crew_state state;
        struct lineup *lineup;
        pid_t pid;
        int pidfd, sock, cancel_fd, page_fd, child_sock; /* the last two until it is spawned */
        struct page *page;
        uint32_t next, told; /* positions: to be given next; first whose end was not told */
        uint32_t sent;       /* first that is not on its way: the belt is full */
        struct belt belt;
        uint32_t epoch;
        struct given given[RING_SLOTS];
        struct outgoing *out, **out_end;
        bool want_write, muted;
        bool killed, retiring, retire_sent;
        char *doomed;  /* why skepd killed it of its own accord: */
        bool nonsense; /* its page or its messages were, and are not read any more; else skepd had
                          no memory or descriptor for it */
        bool reaped;
        int signal, exit_code;
        int64_t up_ns, peek_ns, unmute_ns, retire_ns; /* 0: not set */
        int64_t chatter_since_ns;
        uint32_t chatter;
        int64_t log_since_ns; /* the second that log lines are counted in */
        uint32_t log_lines, log_dropped;
        uint32_t notices_due; /* for ends that were seen in the page already */
};

struct host {
        struct host_options o; /* own copies */
        struct arena kept;     /* of the options' texts */
        int ep, record_fd;
        int64_t now_ns;
        struct epoll_event ready[READY_MAX];
        uint32_t n_ready, ready_at;
        struct told *first, **end, *current;
        struct arena scratch; /* texts of the event that was handed out last */
        struct verdict verdicts[RING_SLOTS];
        struct nursery nursery;
        struct watch watch;
        struct shelf shelf;
        struct probe probes[PROBES_MAX];
        uint32_t tickets;
        struct crew *crew[WORKERS_MAX];
        int64_t lease_ns;  /* in every page; 0: no limit */
        uint32_t crew_end; /* one above the highest number in use */
        uint64_t oom_kills;
        uint8_t *in, *frame; /* WIRE_MAX each */
};

/* --- host.c */
void host_watch_fd(struct host *h, int fd, enum source_kind kind, uint32_t index, uint32_t events);
void host_change_fd(struct host *h, int fd, enum source_kind kind, uint32_t index, uint32_t events);
struct host_event *host_tell(struct host *h, enum host_event_kind kind, const char *plugin,
                             const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int64_t wall_us(void);
char *text_of(const char *fmt, ...)
    __attribute__((format(printf, 1, 2))); /* NULL when memory is out */

/* --- nursery.c */
int nursery_start(struct host *h, char *note, size_t note_size);
void nursery_stop(struct host *h);
void nursery_readable(struct host *h);
void nursery_died(struct host *h);
void nursery_step(struct host *h);
/* > 0: not now, try again later. */
int nursery_order(struct host *h, enum spawn_mode mode, uint32_t number, const int *fds,
                  uint32_t n);

/* --- watch.c */
int watch_start(struct host *h);
void watch_stop(struct host *h);
void watch_readable(struct host *h);
void watch_step(struct host *h);
int64_t watch_deadline_ns(const struct host *h);

/* --- shelf.c */
void shelf_look(struct host *h, const char *name); /* a file may be new, changed or gone */
void shelf_accept(struct host *h, struct shelf_file *f, struct plugin *p /* takes p */);
void shelf_refuse(struct host *h, struct shelf_file *f, const char *reason);
void shelf_step(struct host *h);
int64_t shelf_deadline_ns(const struct host *h);
void shelf_stop(struct host *h);
struct signature signature_of(const struct stat *st);

/* --- probe.c */
bool probe_begin(struct host *h, struct shelf_file *f); /* false: all places are taken, ask again */
void probe_cancel(struct host *h, struct shelf_file *f);
bool probe_any(const struct host *h);
void probe_spawned(struct host *h, uint32_t ticket, int32_t pid);
void probe_lost_zygote(struct host *h);
void probe_readable(struct host *h, uint32_t index);
void probe_died(struct host *h, uint32_t index);
void probe_step(struct host *h);
int64_t probe_deadline_ns(const struct host *h);

/* --- crew.c */
void crew_spawned(struct host *h, uint32_t number, int32_t pid);
void crew_lost_zygote(struct host *h);
void crew_step(struct host *h);
int64_t crew_deadline_ns(const struct host *h);
void crew_flush(struct host *h, struct crew *w);
int crew_send(struct host *h, struct crew *w, const void *bytes, size_t n, const int *fds,
              uint32_t n_fds);
void crew_interest(struct host *h, struct crew *w); /* sets what epoll waits for */
void crew_kill(struct crew *w);
void crew_send_given(struct host *h,
                     struct crew *w); /* what waits for the belt, as far as it goes */
struct crew *crew_free(struct host *h, struct crew *w); /* NULL-safe, returns NULL */

/* --- tell.c: true when ret was filled */
bool crew_tell(struct host *h, struct crew *w, struct host_event *ret);
enum heard { HEARD_NOTHING, HEARD_SOMETHING, HEARD_EVENT };
enum heard crew_hear(struct host *h, struct crew *w, struct host_event *ret);
void crew_doom(struct crew *w, const char *why);
void crew_tell_dropped(struct host *h, struct crew *w); /* log lines, once their second is over */
struct extra *extra_free(struct extra *x);

/* --- gone.c */
bool crew_died(struct host *h, struct crew *w, struct host_event *ret);
void crew_failed(struct host *h, struct crew *w, const char *why); /* could not be started */
uint64_t read_oom_kills(void);

/* --- record: state_dir/workers, see former.c */
#define RECORD_BYTES 64
int record_open(const char *state_dir);
void record_worker(int fd, uint32_t number, pid_t pid); /* pid 0: none */

#endif
