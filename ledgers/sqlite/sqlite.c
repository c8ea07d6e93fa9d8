/*
 * The seam: batches in, batches out. Two threads at most, each with a connection that nobody else
 * touches; the engine's thread meets them at two locked lists and an eventfd.
 *
 * The writer takes all that waits, whatever its lane, and writes it as one transaction (writer.c),
 * so that claims and verdicts which coincide share one fsync.
 */
#include "ledgers/sqlite/ledger.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000
#define IDLE_NS         (100 * NS_PER_MS) /* a busy writer's pauses are shorter */

static int64_t read_clock(void *ctx)
{
        (void)ctx;
        struct timespec ts;
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

/* --- lists ------------------------------------------------------------------------------------ */

static void push_batch(struct batch_list *q, struct ledger_batch *b)
{
        b->next = NULL;
        *q->tail = b;
        q->tail = &b->next;
}

static struct ledger_batch *take_list(struct batch_list *q)
{
        struct ledger_batch *list = q->head;
        q->head = NULL;
        q->tail = &q->head;
        return list;
}

static void post_sqlite(struct ledger *base, struct ledger_batch *b)
{
        struct sqlite_ledger *l = (struct sqlite_ledger *)base;
        bool read = l->reader.started && ledger_op_lane(b->op) == LANE_READS;
        struct station *s = read ? &l->reader : &l->writer;
        b->outcome = LEDGER_COMMITTED;
        b->note[0] = '\0';
        if (b->op == LEDGER_ARRIVE) {
                LEDGER_AS(arrive, ARRIVE, b)->undecided = false; /* as it may have been before */
        }
        pthread_mutex_lock(&s->mutex);
        push_batch(&s->waiting, b);
        pthread_mutex_unlock(&s->mutex);
        pthread_cond_signal(&s->wake);
}

void ledger_hand_back(struct sqlite_ledger *l, struct ledger_batch *list)
{
        bool was_empty;
        pthread_mutex_lock(&l->done_mutex);
        was_empty = !l->done.head;
        while (list) {
                struct ledger_batch *b = list;
                list = b->next;
                push_batch(&l->done, b);
        }
        pthread_mutex_unlock(&l->done_mutex);
        if (was_empty) {
                uint64_t one = 1;
                ssize_t n = write(l->event_fd, &one, sizeof one);
                (void)n; /* can only fail when the counter is full: then it is readable */
        }
}

static struct ledger_batch *dispatch_sqlite(struct ledger *base, int64_t now_ns)
{
        struct sqlite_ledger *l = (struct sqlite_ledger *)base;
        (void)now_ns;
        uint64_t count;
        ssize_t n = read(l->event_fd, &count, sizeof count);
        (void)n; /* EAGAIN: nothing rang */
        pthread_mutex_lock(&l->done_mutex);
        struct ledger_batch *list = take_list(&l->done);
        pthread_mutex_unlock(&l->done_mutex);
        return list;
}

static uint32_t pollfds_sqlite(struct ledger *base, struct pollfd *fds, uint32_t max)
{
        if (max < 1) {
                return 0;
        }
        fds[0] = (struct pollfd){.fd = ((struct sqlite_ledger *)base)->event_fd, .events = POLLIN};
        return 1;
}

static int64_t deadline_sqlite(struct ledger *base)
{
        (void)base;
        return INT64_MAX; /* the eventfd tells all */
}

/* --- threads ---------------------------------------------------------------------------------- */

/* All that waits; NULL: nothing, and the ledger is being closed. *ret_idle: nothing has come for a
 * while, and there is something else to do. */
static struct ledger_batch *wait_for_work(struct station *s, bool busy_else, bool *ret_idle)
{
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_nsec += IDLE_NS;
        end.tv_sec += end.tv_nsec / NS_PER_S;
        end.tv_nsec %= NS_PER_S;
        pthread_mutex_lock(&s->mutex);
        *ret_idle = false;
        while (!s->waiting.head && !s->stop && !*ret_idle) {
                if (!busy_else) {
                        pthread_cond_wait(&s->wake, &s->mutex);
                } else {
                        *ret_idle = pthread_cond_clockwait(&s->wake, &s->mutex, CLOCK_MONOTONIC,
                                                           &end) == ETIMEDOUT;
                }
        }
        struct ledger_batch *list = take_list(&s->waiting);
        pthread_mutex_unlock(&s->mutex);
        return list;
}

static void *run_writer(void *arg)
{
        struct sqlite_ledger *l = arg;
        for (;;) {
                bool idle;
                struct ledger_batch *list =
                    wait_for_work(&l->writer, writer_wants_checkpoint(l), &idle);
                if (list) {
                        writer_run(l, list);
                } else if (idle) {
                        writer_checkpoint(l);
                } else {
                        return NULL;
                }
        }
}

static void *run_reader(void *arg)
{
        struct sqlite_ledger *l = arg;
        for (;;) {
                bool idle;
                struct ledger_batch *list = wait_for_work(&l->reader, false, &idle);
                if (!list) {
                        return NULL;
                }
                for (struct ledger_batch *b = list; b; b = b->next) {
                        read_batch(l, l->reader.db, b);
                }
                ledger_hand_back(l, list);
        }
}

static void init_station(struct station *s)
{
        s->waiting.tail = &s->waiting.head;
        pthread_mutex_init(&s->mutex, NULL);
        pthread_cond_init(&s->wake, NULL);
}

static int start_station(struct sqlite_ledger *l, struct station *s, void *(*run)(void *))
{
        int r = pthread_create(&s->thread, NULL, run, l);
        s->started = r == 0;
        return -r;
}

/* Lets the thread write what waits, and end. */
static void stop_station(struct station *s)
{
        if (s->started) {
                pthread_mutex_lock(&s->mutex);
                s->stop = true;
                pthread_mutex_unlock(&s->mutex);
                pthread_cond_signal(&s->wake);
                pthread_join(s->thread, NULL);
        }
        s->db = db_close(s->db);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->mutex);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct ledger *close_sqlite(struct ledger *base)
{
        struct sqlite_ledger *l = (struct sqlite_ledger *)base;
        if (!l) {
                return NULL;
        }
        stop_station(
            &l->reader); /* first, so that the writer's close is the last and tidies the log */
        stop_station(&l->writer);
        for (struct ledger_batch *b = take_list(&l->done); b;) {
                struct ledger_batch *next = b->next;
                ledger_batch_free(b);
                b = next;
        }
        if (l->event_fd >= 0) {
                close(l->event_fd);
        }
        pthread_mutex_destroy(&l->done_mutex);
        arena_deinit(&l->tx.scratch);
        free(l->path);
        free(l);
        return NULL;
}

static const struct ledger_ops sqlite_ops = {
    .scheme = "sqlite",
    .post = post_sqlite,
    .pollfds = pollfds_sqlite,
    .deadline_ns = deadline_sqlite,
    .dispatch = dispatch_sqlite,
    .close = close_sqlite,
};

static void close_p(struct sqlite_ledger **l)
{
        close_sqlite(*l ? &(*l)->base : NULL);
}

/* SQLite counts its memory under a lock of the whole process, twice per allocation: nobody reads
 * it. Can only be said before SQLite is used for the first time; too late is no harm. */
static void quieten_sqlite(void)
{
        (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static struct sqlite_ledger *new_ledger(const struct ledger_sqlite_options *o)
{
        struct sqlite_ledger *l = calloc(1, sizeof *l);
        if (!l) {
                return NULL;
        }
        l->base.ops = &sqlite_ops;
        l->options = *o;
        l->options.wall_us = o->wall_us ? o->wall_us : read_clock;
        l->options.busy_timeout_ms = o->busy_timeout_ms > 0 ? o->busy_timeout_ms : BUSY_TIMEOUT_MS;
        l->path = strdup(o->path);
        l->memory = strcmp(o->path, ":memory:") == 0;
        l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        l->done.tail = &l->done.head;
        pthread_mutex_init(&l->done_mutex, NULL);
        init_station(&l->writer);
        init_station(&l->reader);
        if (!l->path || l->event_fd < 0) {
                close_sqlite(&l->base);
                return NULL;
        }
        return l;
}

static int open_connections(struct sqlite_ledger *l, char *note, size_t size)
{
        int r = writer_connect(l, note, size);
        if (r < 0 || l->memory) {
                return r;
        }
        return db_open(l->path, l->options.busy_timeout_ms, true, note, size, &l->reader.db);
}

int ledger_sqlite_open(const struct ledger_sqlite_options *o, struct ledger **ret_ledger,
                       char *note, size_t note_size)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        (void)pthread_once(&once, quieten_sqlite);
        CLEANUP(close_p)
        struct sqlite_ledger *l = new_ledger(o);
        if (!l) {
                snprintf(note, note_size, "%s: out of memory or descriptors", o->path);
                return -ENOMEM;
        }
        int r = open_connections(l, note, note_size);
        if (r < 0) {
                return r;
        }
        r = start_station(l, &l->writer, run_writer);
        if (r == 0 && !l->memory) {
                r = start_station(l, &l->reader, run_reader);
        }
        if (r < 0) {
                snprintf(note, note_size, "%s: cannot start a thread: %s", o->path, strerror(-r));
                return r;
        }
        struct sqlite_ledger *done = STEAL(l);
        *ret_ledger = &done->base;
        return 0;
}

const char *ledger_sqlite_url_path(const char *url)
{
        if (strncmp(url, "sqlite:", 7) != 0) {
                return NULL;
        }
        const char *path = url + 7;
        if (strncmp(path, "//", 2) == 0) {
                path += 2;
                if (*path != '/') {
                        return NULL; /* sqlite://host/path: there is no host */
                }
        }
        return *path ? path : NULL;
}
