/*
 * skepd: puts the parts together and takes them apart. The worker program is started before any
 * library or thread, so that it forks workers from a clean image and so that their death signal
 * follows this, the main thread, which becomes the engine's.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/brokers.h"
#include "daemon/config_print.h"
#include "daemon/node.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "ledgers/postgres/postgres.h"
#include "ledgers/sqlite/sqlite.h"

#ifndef SKEP_HANDLERS_DIR
#define SKEP_HANDLERS_DIR "/usr/lib/skep/handlers"
#endif
#ifndef SKEP_WORKER
#define SKEP_WORKER "/usr/libexec/skep/skep-worker"
#endif

#define CONFIGS_MAX 1000

struct daemon {
        struct options options;
        struct config_sources sources;
        struct config *
            configs[CONFIGS_MAX]; /* every one that was in force: threads may still read an older */
        uint32_t n_configs;
        struct state_dir state;
        struct former former;
        void *zmq;
        void *push; /* the HTTP thread's end of the requests; made and used there */
        struct node node;
};

/* --- configuration ---------------------------------------------------------------------------- */

static void print_report(struct log *log, const struct config_report *r)
{
        for (uint32_t i = 0; i < config_lines(r->n_warnings); i++) {
                LOG(log, LOG_WARN_, "%s", r->warnings[i].p);
        }
        for (uint32_t i = 0; i < config_lines(r->n_errors); i++) {
                if (log) {
                        LOG(log, LOG_ERR_, "%s", r->errors[i].p);
                } else {
                        fprintf(stderr, "skepd: %s\n", r->errors[i].p);
                }
        }
        if (r->n_errors > CONFIG_ERRORS_MAX) {
                fprintf(stderr, "skepd: and %u more\n", r->n_errors - CONFIG_ERRORS_MAX);
        }
}

/* 0 and the new configuration at the end of d->configs, or an exit code. */
static int load_config(struct daemon *d, struct log *log)
{
        struct config_report report = {0};
        struct config *c = d->n_configs < CONFIGS_MAX ? calloc(1, sizeof *c) : NULL;
        int r = c ? config_load(&d->sources, c, &report) : -ENOMEM;
        print_report(log, &report);
        config_report_deinit(&report);
        if (r != 0) {
                free(c);
                return r < 0 ? EX_OSERR : EX_CONFIG;
        }
        d->configs[d->n_configs++] = c;
        return 0;
}

static void reload(struct node *n, void *ctx)
{
        struct daemon *d = ctx;
        const struct config *old = n->config;
        if (load_config(d, n->log) != 0) {
                LOG(n->log, LOG_ERR_, "reload refused: the configuration stays as it was");
                return;
        }
        const struct config *fresh = d->configs[d->n_configs - 1];
        if (!str_eq(old->ledger_url, fresh->ledger_url) ||
            !str_eq(old->http_socket, fresh->http_socket) ||
            !str_eq(old->http_listen, fresh->http_listen) ||
            !str_eq(old->state_dir, fresh->state_dir)) {
                LOG(n->log, LOG_WARN_,
                    "ledger.url, http.* and state_dir change with a restart only");
        }
        node_configure(n, fresh);
        char note[512];
        if (http_reload_tokens(n->http, note, sizeof note) != 0) {
                LOG(n->log, LOG_ERR_, "%s; the former tokens stay valid", note);
        }
        LOG(n->log, LOG_INFO_, "configuration reloaded");
}

/* --- parts ------------------------------------------------------------------------------------ */

/* Called on the HTTP thread alone, so the socket lives there. */
static bool post_request(void *ctx, struct api_request *r)
{
        struct daemon *d = ctx;
        if (!d->push) {
                d->push = zmq_socket(d->zmq, ZMQ_PUSH);
                if (!d->push || zmq_connect(d->push, "inproc://requests") < 0) {
                        return false;
                }
        }
        atomic_fetch_add_explicit(&d->node.handed, 1, memory_order_release);
        return zmq_send(d->push, &r, sizeof r, ZMQ_DONTWAIT) == sizeof r;
}

static int fail(const char *note, int code)
{
        fprintf(stderr, "skepd: %s\n", note);
        return code;
}

static int start_host(struct daemon *d, const struct config *c)
{
        char note[512];
        struct handler_option *options = calloc(c->n_handler_options + 1, sizeof *options);
        for (uint32_t i = 0; options && i < c->n_handler_options; i++) {
                const struct handler_option_config *o = &c->handler_options[i];
                options[i] = (struct handler_option){o->type.p, o->name.p, o->value.p};
        }
        struct host_options h = {
            .handlers_dir = c->handlers_dir.p,
            .state_dir = d->state.path,
            .worker_program = d->options.worker ? d->options.worker : SKEP_WORKER,
            .probe_timeout_ms = c->probe_timeout_ms,
            .payload_max = c->payload_max,
            .options = options,
        };
        int r = options ? host_start(&h, &d->node.host, note, sizeof note) : -ENOMEM;
        free(options); /* the host has copies */
        return r < 0 ? fail(r == -ENOMEM ? "out of memory" : note, EX_OSERR) : 0;
}

static int start_postgres(struct daemon *d, const struct config *c)
{
        char note[512];
        struct postgres_options o = {.unsafe = c->ledger_unsafe == ANSWER_YES,
                                     .application = "skepd " SKEP_VERSION};
        int r = postgres_open(c->ledger_url.p, &o, &d->node.ledger, note, sizeof note);
        return r == 0 ? 0 : r < 0 ? fail("out of memory", EX_OSERR) : fail(note, EX_CONFIG);
}

static int start_ledger(struct daemon *d, const struct config *c)
{
        char note[512];
        const char *path = ledger_sqlite_url_path(c->ledger_url.p);
        if (!path) { /* the configuration admits two kinds of URL */
                return start_postgres(d, c);
        }
        struct ledger_sqlite_options o = {.path = path};
        int r = ledger_sqlite_open(&o, &d->node.ledger, note, sizeof note);
        return r != 0 ? fail(note, EX_CANTCREAT) : 0;
}

static int start_transports(struct daemon *d, const struct config *c)
{
        char note[512] = "out of memory";
        int r = relay_configure(&d->node, c, note, sizeof note);
        return r == 0 ? 0 : fail(note, r == RELAY_REFUSED ? EX_CONFIG : EX_OSERR);
}

static int start_http(struct daemon *d, const struct config *c)
{
        char note[512];
        struct http_options o = {
            .socket = c->http_socket,
            .listen = c->http_listen,
            .token_file = c->http_token_file,
            .post = post_request,
            .ctx = d,
            .config = c,
        };
        int r = http_start(&o, &d->node.http, note, sizeof note);
        return r == 0 ? 0 : fail(note, r == HTTP_REFUSED ? EX_CONFIG : EX_CANTCREAT);
}

static int start_engine(struct daemon *d, const struct config *c)
{
        char host[256] = "";
        struct engine_config ec = {.config = c, .version = STR(SKEP_VERSION), .pid = getpid()};
        gethostname(host, sizeof host - 1);
        ec.host = str_of(host);
        if (getrandom(ec.seed, sizeof ec.seed, 0) != sizeof ec.seed) {
                return fail("no random numbers from the kernel", EX_OSERR);
        }
        d->node.engine = engine_new(&ec);
        d->node.metrics = metrics_new();
        return d->node.engine && d->node.metrics ? 0 : fail("out of memory", EX_OSERR);
}

static int start_signals(struct daemon *d)
{
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        d->node.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        return d->node.signals < 0 ? fail("signalfd failed", EX_OSERR) : 0;
}

static int start_bus(struct daemon *d, const struct config *c)
{
        d->zmq = zmq_ctx_new();
        if (d->zmq) {
                zmq_ctx_set(d->zmq, ZMQ_IO_THREADS, 0); /* inproc needs none */
        }
        d->node.requests = d->zmq ? zmq_socket(d->zmq, ZMQ_PULL) : NULL;
        int most = 0; /* http bounds what waits */
        if (!d->node.requests ||
            zmq_setsockopt(d->node.requests, ZMQ_RCVHWM, &most, sizeof most) < 0 ||
            zmq_bind(d->node.requests, "inproc://requests") < 0) {
                return fail("ZeroMQ: no socket", EX_OSERR);
        }
        d->node.log = log_start(d->zmq, c->log_level, c->log_format);
        return d->node.log ? 0 : fail("the log's thread cannot be started", EX_OSERR);
}

/* Signals first: every later thread inherits the mask; the host next: before any library or thread.
 */
static int start_parts(struct daemon *d, const struct config *c)
{
        int r = start_signals(d);
        r = r ? r : start_host(d, c);
        r = r ? r : start_bus(d, c);
        r = r ? r : start_ledger(d, c);
        r = r ? r : start_engine(d, c);
        r = r ? r : start_transports(d, c);
        return r ? r : start_http(d, c);
}

static void stop_parts(struct daemon *d)
{
        struct node *n = &d->node;
        notify_send("STOPPING=1");
        n->http = http_stop(n->http);
        n->host = host_stop(n->host);
        relay_close(n);
        n->ledger = n->ledger ? n->ledger->ops->close(n->ledger) : NULL;
        n->engine = engine_free(n->engine);
        n->metrics = metrics_free(n->metrics);
        ledger_batch_free(n->stats);
        n->zones = zones_free(n->zones);
        operate_deinit(n);
        free(n->actions.list);
        n->log = log_stop(n->log);
        if (d->push) {
                zmq_close(d->push);
        }
        if (n->requests) {
                zmq_close(n->requests);
        }
        if (d->zmq) {
                zmq_ctx_term(d->zmq);
        }
        if (n->signals > 0) {
                close(n->signals);
        }
}

/* Its URL without a password. */
static const char *ledger_shown(const struct config *c, struct arena *a)
{
        struct str text = config_mask(a, c->ledger_url);
        return text.p ? text.p : "?";
}

static int run(struct daemon *d)
{
        CLEANUP(arena_deinit)
        struct arena shown = {0};
        char note[512];
        const struct config *c = d->configs[0];
        int r = state_dir_open(c->state_dir, &d->state, note, sizeof note);
        if (r != 0) {
                return fail(note, EX_CANTCREAT);
        }
        r = former_read(d->state.path, &d->former, note, sizeof note);
        if (r < 0) {
                fprintf(stderr, "skepd: %s; its jobs are treated as lost\n", note);
        }
        d->node.config = c;
        d->node.state = &d->state;
        d->node.reload = reload;
        d->node.reload_ctx = d;
        r = start_parts(d, c);
        if (r == 0) {
                LOG(d->node.log, LOG_INFO_,
                    "skepd %s: ledger %s, socket %.*s, handlers %.*s, %u workers", SKEP_VERSION,
                    ledger_shown(c, &shown), (int)c->http_socket.n, c->http_socket.p,
                    (int)c->handlers_dir.n, c->handlers_dir.p, c->workers);
                notify_send("READY=1");
                r = node_run(&d->node, &d->former);
        }
        stop_parts(d);
        former_deinit(&d->former);
        state_dir_close(&d->state);
        return r;
}

static int check_or_print(struct daemon *d)
{
        if (d->options.brokers) {
                brokers_check(d->configs[0], stdout);
        } else if (d->options.show) {
                config_print(stdout, d->configs[0], true);
        } else {
                puts("skepd: the configuration is good");
        }
        return EX_OK;
}

int main(int argc, char **argv)
{
        static struct daemon d = {.state = {.lock_fd = -1}};
        static const struct config_flag built_in[] = {
            {"built in", "handlers.dir", SKEP_HANDLERS_DIR}};
        if (options_parse(argc, argv, &d.options)) {
                return EX_USAGE;
        }
        if (d.options.help || d.options.version || d.options.reference) {
                if (d.options.help) {
                        options_help();
                } else if (d.options.version) {
                        puts("skepd " SKEP_VERSION);
                } else {
                        config_print_reference(stdout);
                }
                return EX_OK;
        }
        mallopt(M_ARENA_MAX, 1); /* threads hand each other what they allocate */
        /* What a claim of large payloads leaves the next one takes: given back at once, as is
         * usual, it costs a fault for each page. It goes back after the burst (node.c). */
        mallopt(M_TRIM_THRESHOLD, 64 << 20);
        mallopt(M_MMAP_THRESHOLD, 4 << 20);
        prctl(PR_SET_DUMPABLE, 0); /* no core file or ptrace of what holds credentials */
        d.sources = (struct config_sources){
            .file = d.options.config,
            .environ = (const char *const *)environ,
            .flags = d.options.flags,
            .n_flags = d.options.n_flags,
            .defaults = built_in,
            .n_defaults = ARRAY_LEN(built_in),
            .root = geteuid() == 0,
        };
        int r = load_config(&d, NULL);
        if (r == 0) {
                r = d.options.test || d.options.show || d.options.brokers ? check_or_print(&d)
                                                                          : run(&d);
        }
        for (uint32_t i = 0; i < d.n_configs; i++) {
                config_deinit(d.configs[i]);
                free(d.configs[i]);
        }
        return r;
}
