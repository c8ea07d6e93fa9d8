/*
 * skep-scratch: makes what `skep bench` works on, and removes it. See scratch.h.
 *
 *     skep-scratch make [--config FILE] [--dir DIR] [--database NAME] [--transport NAME]
 *     skep-scratch remove FOLDER
 *     skep-scratch [FLAG OF skepd]... look
 *
 * `make` reads the configuration as skepd does (file, conf.d, credentials, environment) and writes
 * one of its own into a new folder: the ledger is another file on the same disk, or another
 * database of the same server; of the rest it takes what decides upon speed, the number of workers.
 * No queue, transport, schedule or handler of the configuration is in it, so that a skepd started
 * with it can reach nobody's jobs. It prints one JSON line. What `remove` needs it reads from that
 * folder. `look` is for `skep doctor` (look.c); it finds the ledger as a skepd with those flags
 * does.
 *
 * A flag of skepd's that does this was discarded: what makes and drops databases has no business in
 * a program that serves.
 */
#include "scratch/scratch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/options.h"
#include "ledgers/sqlite/sqlite.h"

#define URL_MAX       4096
#define PROBE_SECONDS 1.0
#define CONFIG_NAME   "skep.conf"

struct wishes {
        const char *config, *dir, *database, *transport;
};

struct made {
        char folder[URL_MAX], ledger[URL_MAX];
        bool in_database;
        const struct transport_config *transport; /* NULL: none */
        struct probe probe;
};

int refuse(int code, const char *format, ...)
{
        va_list args;
        fputs("skep-scratch: ", stderr);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        return code;
}

/* --- the configuration ------------------------------------------------------------------------ */

static int load_config(const struct config_sources *sources, struct config *ret)
{
        struct config_report report = {0};
        int r = config_load(sources, ret, &report);
        for (uint32_t i = 0; r > 0 && i < config_lines(report.n_errors); i++) {
                refuse(EX_CONFIG, "%s", report.errors[i].p);
        }
        config_report_deinit(&report);
        return r == 0 ? 0 : r < 0 ? refuse(EX_OSERR, "out of memory") : EX_CONFIG;
}

static int read_config(const char *file, bool surroundings, struct config *ret)
{
        struct config_sources sources = {
            .file = file,
            .environ = surroundings ? (const char *const *)environ : NULL,
            .root = geteuid() == 0,
        };
        return load_config(&sources, ret);
}

static bool is_unsafe(const struct config *c)
{
        return c->ledger_unsafe == ANSWER_YES;
}

/* A text of libconfig's. */
static void put_text(FILE *f, const char *key, const char *text)
{
        fprintf(f, "%s = \"", key);
        for (; *text; text++) {
                if (*text == '"' || *text == '\\') {
                        fputc('\\', f);
                }
                fputc(*text, f);
        }
        fputs("\"; ", f);
}

/* The folder's name is that of the queue, the exchange, the subject and, in capitals, the stream.
 */
static void put_transport(FILE *f, const struct transport_config *t, const char *folder)
{
        const char *name = strrchr(folder, '/') + 1;
        char stream[64];
        size_t n = 0;
        for (; name[n] && n < sizeof stream - 1; n++) {
                stream[n] = (char)toupper((unsigned char)name[n]);
        }
        stream[n] = 0;
        bool amqp = strncmp(t->url.p, "amqp", 4) == 0;
        fputs("transports = { bench = { ", f);
        put_text(f, "url", t->url.p);
        put_text(f, amqp ? "exchange" : "subject", name);
        if (!amqp) {
                put_text(f, "stream", stream);
                fprintf(f, "replicas = %u; ", t->replicas);
        }
        fputs("}; };\nqueues = ( { ", f);
        put_text(f, "name", name);
        fputs("transport = \"bench\"; types = [ \"noop\" ]; } );\n", f);
}

static int write_config(const struct config *c, const struct made *m)
{
        char path[URL_MAX + 20], place[URL_MAX + 20];
        snprintf(path, sizeof path, "%s/" CONFIG_NAME, m->folder);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
        if (!f) {
                return refuse(EX_CANTCREAT, "%s: %s", path, strerror(errno));
        }
        snprintf(place, sizeof place, "%s/state", m->folder);
        fputs("node = { ", f);
        put_text(f, "state_dir", place);
        snprintf(place, sizeof place, "%s/handlers", m->folder);
        fputs("};\nhandlers = { ", f);
        put_text(f, "dir", place);
        fprintf(f, "workers = %u; };\nhttp = { ", c->workers);
        snprintf(place, sizeof place, "%s/s", m->folder);
        put_text(f, "socket", place);
        fputs("};\nledger = { ", f);
        put_text(f, "url", m->ledger);
        fprintf(f, "unsafe = \"%s\"; };\n", is_unsafe(c) ? "yes" : "no");
        fputs("log = { level = \"warn\"; };\n", f);
        if (m->transport) {
                put_transport(f, m->transport, m->folder);
        }
        return fclose(f) == 0 ? 0 : refuse(EX_IOERR, "%s: %s", path, strerror(errno));
}

/* --- the folder ------------------------------------------------------------------------------- */

/* The folder that a path is in, or the nearest one above it that exists. */
static void parent_of(const char *path, char *ret, size_t size)
{
        char *slash;
        snprintf(ret, size, "%s", path);
        do {
                slash = strrchr(ret, '/');
                if (!slash) {
                        snprintf(ret, size, ".");
                        return;
                }
                slash[slash == ret] = 0;
        } while (access(ret, F_OK) != 0 && slash != ret);
}

static const char *sqlite_path(const struct config *c)
{
        const char *path = ledger_sqlite_url_path(c->ledger_url.p);
        return path && strcmp(path, ":memory:") != 0 ? path : NULL;
}

#define SOCKET_ROOM 105 /* a Unix socket's path, less "/s" and a NUL */

static int make_folder(const struct config *c, const char *dir, struct made *m)
{
        char beside[URL_MAX - 64], whole[PATH_MAX];
        const char *file = sqlite_path(c);
        if (!dir) {
                parent_of(file ? file : c->state_dir.p, beside, sizeof beside);
        } else {
                snprintf(beside, sizeof beside, "%s", dir);
        }
        if (!realpath(beside, whole) || strlen(whole) > sizeof beside) {
                return refuse(EX_CANTCREAT, "%s: %s", beside, strerror(errno));
        }
        snprintf(m->folder, sizeof m->folder, "%s/" SCRATCH_PREFIX "XXXXXX",
                 strcmp(whole, "/") == 0 ? "" : whole);
        if (strlen(m->folder) > SOCKET_ROOM) {
                return refuse(EX_CANTCREAT,
                              "%s: too long for a socket in it; name a folder with a shorter path "
                              "on the same disk with --dir DIR",
                              whole);
        }
        if (!mkdtemp(m->folder)) {
                return refuse(EX_CANTCREAT,
                              "%s: no folder can be made there: %s; run it as the user that skepd "
                              "runs as, or name a folder on the same disk with --dir DIR",
                              whole, strerror(errno));
        }
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
        (void)st, (void)walk;
        return kind == FTW_DP || kind == FTW_DNR ? rmdir(path) : unlink(path);
}

static int remove_folder(const char *folder)
{
        if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
                return refuse(EX_CANTCREAT, "%s stays: %s", folder, strerror(errno));
        }
        return 0;
}

/* --- making ----------------------------------------------------------------------------------- */

static int make_ledger(const struct config *c, const struct wishes *w, struct made *m)
{
        const char *path = ledger_sqlite_url_path(c->ledger_url.p);
        if (path && w->database) {
                return refuse(EX_USAGE, "--database: the ledger is SQLite, which has none");
        }
        if (path) {
                snprintf(m->ledger, sizeof m->ledger, "%s",
                         sqlite_path(c) ? "" : "sqlite::memory:");
                if (!*m->ledger) {
                        int n =
                            snprintf(m->ledger, sizeof m->ledger, "sqlite:%s/skep.db", m->folder);
                        if (n >= (int)sizeof m->ledger) {
                                return refuse(EX_CANTCREAT, "%s: too long", m->folder);
                        }
                }
                return disk_probe(m->folder, PROBE_SECONDS, &m->probe);
        }
        int r =
            database_make(c->ledger_url.p, is_unsafe(c), w->database, m->ledger, sizeof m->ledger);
        m->in_database = r == 0;
        return r ? r : database_probe(m->ledger, is_unsafe(c), PROBE_SECONDS, &m->probe);
}

static void put_json(const char *text)
{
        putchar('"');
        for (; *text; text++) {
                if (*text == '"' || *text == '\\') {
                        putchar('\\');
                }
                putchar(*text);
        }
        putchar('"');
}

static void print_made(const struct config *c, struct made *m)
{
        CLEANUP(arena_deinit)
        struct arena a = {0};
        struct str shown = config_mask(&a, str_of(m->ledger));
        printf("{\"folder\":");
        put_json(m->folder);
        printf(",\"ledger\":");
        put_json(shown.p ? shown.p : "?");
        printf(",\"queue\":");
        put_json(m->transport ? strrchr(m->folder, '/') + 1 : "default");
        printf(",\"workers\":%u,\"commits_per_s\":%.1f,\"commit_p50_ms\":%.3f,\"commit_p99_ms\":%."
               "3f}\n",
               c->workers, (double)m->probe.n / m->probe.seconds, probe_ms(&m->probe, 50),
               probe_ms(&m->probe, 99));
}

static int choose_transport(const struct config *c, const char *name, struct made *m)
{
        if (!name) {
                return 0;
        }
        int at = config_entry_named(c, &config_lists[LIST_TRANSPORTS], str_of(name));
        if (at < 0) {
                return refuse(EX_USAGE, "--transport %s: the configuration has none of this name",
                              name);
        }
        m->transport = &c->transports[at];
        return broker_judge(m->transport);
}

static int make(const struct wishes *w)
{
        static struct made m;
        struct config c;
        int r = read_config(w->config, true, &c);
        if (r) {
                return r;
        }
        r = choose_transport(&c, w->transport, &m);
        r = r ? r : make_folder(&c, w->dir, &m);
        if (r == 0) {
                r = make_ledger(&c, w, &m);
                r = r ? r : write_config(&c, &m);
                if (r == 0) {
                        print_made(&c, &m);
                } else {
                        if (m.in_database) {
                                database_drop(m.ledger, is_unsafe(&c));
                        }
                        remove_folder(m.folder);
                }
        }
        config_deinit(&c);
        return r;
}

/* --- removing --------------------------------------------------------------------------------- */

static int remove_all(const char *folder)
{
        char path[URL_MAX];
        struct config c;
        const char *name = strrchr(folder, '/');
        if (!name || strncmp(name + 1, SCRATCH_PREFIX, sizeof SCRATCH_PREFIX - 1) != 0) {
                return refuse(EX_USAGE, "%s: not a folder that `make` made", folder);
        }
        snprintf(path, sizeof path, "%s/" CONFIG_NAME, folder);
        int r = read_config(path, false, &c);
        if (r == 0) {
                r = c.n_transports ? broker_clear(&c.transports[0]) : 0;
                if (r == 0 && !ledger_sqlite_url_path(c.ledger_url.p)) {
                        r = database_drop(c.ledger_url.p, is_unsafe(&c));
                }
                config_deinit(&c);
        }
        return r ? r : remove_folder(folder); /* what it needs stays while the rest is there */
}

/* --- looking ---------------------------------------------------------------------------------- */

static int look(int argc, char **argv)
{
        struct options o;
        struct config c;
        int r = options_parse(argc, argv, &o);
        if (r) {
                return EX_USAGE;
        }
        r = load_config(&(struct config_sources){.file = o.config,
                                                 .environ = (const char *const *)environ,
                                                 .flags = o.flags,
                                                 .n_flags = o.n_flags,
                                                 .root = geteuid() == 0},
                        &c);
        if (r) {
                return r;
        }
        bool file = ledger_sqlite_url_path(c.ledger_url.p); /* nothing is to be seen of it */
        r = file ? 0 : database_look(c.ledger_url.p, is_unsafe(&c));
        config_deinit(&c);
        return r;
}

static int usage(void)
{
        fputs("usage: skep-scratch make [--config FILE] [--dir DIR] [--database NAME]"
              " [--transport NAME] | remove FOLDER | [FLAG OF skepd]... look\n",
              stderr);
        return EX_USAGE;
}

int main(int argc, char **argv)
{
        struct wishes w = {0};
        if (argc == 3 && strcmp(argv[1], "remove") == 0) {
                return remove_all(argv[2]);
        }
        if (argc > 1 && strcmp(argv[argc - 1], "look") == 0) {
                return look(argc - 1, argv);
        }
        if (argc % 2 != 0 || strcmp(argv[1], "make") != 0) {
                return usage();
        }
        for (int i = 2; i < argc; i += 2) {
                const char **to = strcmp(argv[i], "--config") == 0      ? &w.config
                                  : strcmp(argv[i], "--dir") == 0       ? &w.dir
                                  : strcmp(argv[i], "--database") == 0  ? &w.database
                                  : strcmp(argv[i], "--transport") == 0 ? &w.transport
                                                                        : NULL;
                if (!to) {
                        return usage();
                }
                *to = argv[i + 1];
        }
        return make(&w);
}
