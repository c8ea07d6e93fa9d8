/*
 * The server's life: sockets, libmicrohttpd, the one thread, and the two ways across threads
 * (answers in, stop).
 *
 * libmicrohttpd runs without a thread of its own: the epoll descriptors of both sockets and an
 * eventfd are polled by ours. Its internal thread was discarded, because two sockets would be two
 * threads, and every structure here would need a lock; so would its resume from foreign threads.
 * The thread never blocks but in poll().
 */
#include "http/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "http/call.h"
#include "http/listen.h"

#define CONNECTIONS_UNIX  512
#define CONNECTIONS_TCP   128
#define CONNECTION_MEMORY (32u << 10) /* the head of a request must fit in */
#define IDLE_TIMEOUT_S    30
#define HEAD_TIMEOUT_MS   30000
#define STOP_MS           1000

int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t now_wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

struct api_request *request_free(struct api_request *r)
{
        if (r) {
                submission_free(r->submission);
                ledger_batch_free(r->batch);
                arena_deinit(&r->arena);
                free(r);
        }
        return NULL;
}

static void stop_listener(struct listener *l)
{
        if (l->mhd) {
                MHD_stop_daemon(l->mhd); /* closes its listening socket and all connections */
                l->mhd = NULL;
        }
}

/* Everything but the memory that late answers need. */
static void close_http(struct http *h)
{
        for (uint32_t i = 0; i < h->n_listeners; i++) {
                stop_listener(&h->listeners[i]);
        }
        if (h->has_socket_file) {
                unlisten_unix(h->socket_path, &h->socket_file);
                h->has_socket_file = false;
        }
        h->settings = settings_free(h->settings);
        h->tokens = tokens_free(h->tokens);
}

static void free_memory(struct http *h)
{
        settings_free(h->next_settings);
        tokens_free(h->next_tokens);
        if (h->wake_fd >= 0) {
                close(h->wake_fd);
        }
        pthread_mutex_destroy(&h->lock);
        free((char *)(uintptr_t)h->socket_path.p);
        free((char *)(uintptr_t)h->token_path.p);
        free(h);
}

static void free_http(struct http **h)
{
        if (*h) {
                close_http(*h);
                free_memory(*h);
        }
}

static void wake(struct http *h)
{
        uint64_t one = 1;
        while (write(h->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* --- across threads ---------------------------------------------------------------------- */

void http_answer(struct http *h, struct api_request *r)
{
        pthread_mutex_lock(&h->lock);
        if (h->closed) {
                bool last = --h->refs == 0;
                pthread_mutex_unlock(&h->lock);
                request_free(r);
                if (last) {
                        free_memory(h);
                }
                return;
        }
        r->next = NULL;
        *(h->last_answered ? &h->last_answered->next : &h->answered) = r;
        h->last_answered = r;
        wake(h); /* under the lock: the descriptor lives as long as `closed` is not set */
        pthread_mutex_unlock(&h->lock);
}

void http_configure(struct http *h, const struct config *c)
{
        struct settings *s = settings_new(c);
        if (!s) {
                return;
        }
        pthread_mutex_lock(&h->lock);
        struct settings *old = h->next_settings;
        h->next_settings = s;
        wake(h);
        pthread_mutex_unlock(&h->lock);
        settings_free(old);
}

int http_reload_tokens(struct http *h, char *note, size_t note_size)
{
        struct tokens *t;
        if (!h->token_path.n) {
                return 0;
        }
        int r = tokens_load(h->token_path, &t, note, note_size);
        if (r) {
                return r < 0 ? r : HTTP_REFUSED;
        }
        pthread_mutex_lock(&h->lock);
        struct tokens *old = h->next_tokens;
        h->next_tokens = t;
        wake(h);
        pthread_mutex_unlock(&h->lock);
        tokens_free(old);
        return 0;
}

uint16_t http_port(const struct http *h)
{
        return h->port;
}

/* --- the thread -------------------------------------------------------------------------- */

/* Takes what other threads left. Returns whether to stop. */
static bool take_mail(struct http *h)
{
        uint64_t count;
        struct settings *old_settings = NULL;
        struct tokens *old_tokens = NULL;
        ssize_t ignored = read(h->wake_fd, &count, sizeof count);
        (void)ignored;
        pthread_mutex_lock(&h->lock);
        struct api_request *list = h->answered;
        h->answered = h->last_answered = NULL;
        for (struct api_request *r = list; r; r = r->next) {
                h->refs--;
        }
        if (h->next_settings) {
                old_settings = h->settings;
                h->settings = STEAL(h->next_settings);
        }
        if (h->next_tokens) {
                old_tokens = h->tokens;
                h->tokens = STEAL(h->next_tokens);
        }
        bool stopping = h->stopping;
        pthread_mutex_unlock(&h->lock);
        settings_free(old_settings);
        tokens_free(old_tokens);
        while (list) {
                struct api_request *r = list;
                struct call *call = r->connection;
                list = r->next;
                if (call) {
                        call_answer(call, r);
                } else {
                        request_free(r); /* its call was ended by the stop */
                }
        }
        return stopping;
}

static int next_timeout(struct http *h, int64_t now)
{
        int64_t best = -1;
        for (uint32_t i = 0; i < h->n_listeners; i++) {
                MHD_UNSIGNED_LONG_LONG ms;
                if (MHD_get_timeout(h->listeners[i].mhd, &ms) == MHD_YES &&
                    (best < 0 || (int64_t)ms < best)) {
                        best = (int64_t)ms;
                }
                if (h->listeners[i].n_peers > 0) {
                        int64_t sweep = (h->sweep_ns - now) / NS_PER_MS + 1;
                        sweep = sweep < 0 ? 0 : sweep;
                        best = best < 0 || sweep < best ? sweep : best;
                }
        }
        return best > 60000 ? 60000 : (int)best;
}

/* One round: wait, take the mail, let libmicrohttpd work, look at the clock. */
static bool run_once(struct http *h, int timeout_ms)
{
        struct pollfd fds[3] = {{.fd = h->wake_fd, .events = POLLIN}};
        for (uint32_t i = 0; i < h->n_listeners; i++) {
                fds[i + 1] = (struct pollfd){.fd = h->listeners[i].epoll_fd, .events = POLLIN};
        }
        poll(fds, h->n_listeners + 1, timeout_ms);
        bool stopping = take_mail(h);
        for (uint32_t i = 0; i < h->n_listeners; i++) {
                MHD_run(h->listeners[i].mhd);
        }
        int64_t now = now_ns();
        if (now >= h->sweep_ns) {
                for (uint32_t i = 0; i < h->n_listeners; i++) {
                        peers_sweep(&h->listeners[i], now);
                }
                h->sweep_ns = now + NS_PER_S / 2;
        }
        return stopping;
}

/* Suspended connections must not exist when libmicrohttpd stops: all are answered and resumed
 * first. */
static void drain(struct http *h)
{
        h->draining = true;
        for (uint32_t i = 0; i < h->n_listeners; i++) {
                int fd = MHD_quiesce_daemon(h->listeners[i].mhd);
                if (fd != MHD_INVALID_SOCKET) {
                        close(fd);
                }
        }
        while (h->waiting) {
                struct call *call = h->waiting;
                call->request->connection = NULL; /* the daemon still has it */
                call->request = NULL;
                call_abort(call);
        }
        int64_t end = now_ns() + STOP_MS * NS_PER_MS;
        bool busy = true;
        while (busy && now_ns() < end) {
                run_once(h, 10);
                busy = false;
                for (uint32_t i = 0; i < h->n_listeners; i++) {
                        busy |= peers_busy(&h->listeners[i]);
                }
        }
}

static void *run(void *arg)
{
        struct http *h = arg;
        pthread_setname_np(pthread_self(), "skep-http");
        while (!run_once(h, next_timeout(h, now_ns()))) {}
        drain(h);
        close_http(h);
        return NULL;
}

struct http *http_stop(struct http *h)
{
        if (!h) {
                return NULL;
        }
        pthread_mutex_lock(&h->lock);
        h->stopping = true;
        wake(h);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
        pthread_mutex_lock(&h->lock);
        h->closed = true;
        struct api_request *list = STEAL(h->answered);
        while (list) {
                struct api_request *r = list;
                list = r->next;
                h->refs--;
                request_free(r);
        }
        bool last = --h->refs == 0;
        pthread_mutex_unlock(&h->lock);
        if (last) {
                free_memory(h);
        }
        return NULL;
}

/* --- the start --------------------------------------------------------------------------- */

/* Paths and arguments are decoded by http/route.c, which knows where the pieces are. */
static size_t keep_escapes(void *cls, struct MHD_Connection *c, char *s)
{
        (void)cls;
        (void)c;
        return strlen(s);
}

static int add_listener(struct http *h, const struct http_options *o, int fd, bool tcp)
{
        struct listener *l = &h->listeners[h->n_listeners];
        *l = (struct listener){
            .http = h, .tcp = tcp, .connections_max = tcp ? CONNECTIONS_TCP : CONNECTIONS_UNIX};
        l->waiting_max = o->max_waiting ? o->max_waiting : l->connections_max / 2;
        l->long_waits_max = l->waiting_max > 1 ? l->waiting_max / 2 : 1;
        l->mhd = MHD_start_daemon(
            MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, call_handle, l,
            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, call_done, l,
            MHD_OPTION_NOTIFY_CONNECTION, peer_notify, l, MHD_OPTION_UNESCAPE_CALLBACK,
            keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT, l->connections_max,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT,
            1, MHD_OPTION_END);
        if (!l->mhd) {
                close(fd);
                return -ENOMEM;
        }
        h->n_listeners++;
        l->epoll_fd = MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
        return 0;
}

static int start_unix(struct http *h, const struct http_options *o, char *note, size_t note_size)
{
        int fd;
        int r = listen_unix(o->socket, &fd, &h->socket_file, note, note_size);
        if (r) {
                return r;
        }
        h->has_socket_file = true;
        return add_listener(h, o, fd, false);
}

static int start_tcp(struct http *h, const struct http_options *o, char *note, size_t note_size)
{
        int fd;
        if (!o->token_file.n) {
                snprintf(note, note_size,
                         "http.listen is set to %.*s, but http.token_file is not; over TCP a token "
                         "is always needed. Write "
                         "one a line into a file of mode 600, or leave http.listen empty",
                         (int)o->listen.n, o->listen.p);
                return HTTP_REFUSED;
        }
        int r = tokens_load(o->token_file, &h->tokens, note, note_size);
        if (r) {
                return r < 0 ? r : HTTP_REFUSED;
        }
        r = listen_tcp(o->listen, &fd, &h->port, note, note_size);
        return r ? r : add_listener(h, o, fd, true);
}

static bool seed_mint(struct http *h)
{
        while (h->mint.random == 0) {
                if (getrandom(&h->mint.random, sizeof h->mint.random, 0) < 0 && errno != EINTR) {
                        return false;
                }
        }
        return true;
}

static bool copy_str(struct str s, struct str *ret)
{
        char *p = strndup(s.n ? s.p : "", s.n);
        *ret = (struct str){p, s.n};
        return p != NULL;
}

/* NULL with errno. */
static struct http *new_http(const struct http_options *o)
{
        CLEANUP(free_http)
        struct http *h = calloc(1, sizeof *h);
        if (!h) {
                return NULL;
        }
        pthread_mutex_init(&h->lock, NULL);
        h->refs = 1;
        h->post = o->post;
        h->ctx = o->ctx;
        h->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : HEAD_TIMEOUT_MS;
        h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (h->wake_fd < 0 || !seed_mint(h)) {
                return NULL;
        }
        h->settings = settings_new(o->config);
        if (!h->settings || !copy_str(o->socket, &h->socket_path) ||
            !copy_str(o->token_file, &h->token_path)) {
                return NULL;
        }
        return STEAL(h);
}

int http_start(const struct http_options *o, struct http **ret, char *note, size_t note_size)
{
        CLEANUP(free_http)
        struct http *h = new_http(o);
        sigset_t all, old;
        if (!h) {
                return -errno;
        }
        int r = start_unix(h, o, note, note_size);
        if (r == 0 && o->listen.n) {
                r = start_tcp(h, o, note, note_size);
        }
        if (r) {
                return r;
        }
        sigfillset(&all); /* signals are the daemon's; SIGPIPE would end it */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&h->thread, NULL, run, h);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r) {
                return -r;
        }
        *ret = STEAL(h);
        return 0;
}
