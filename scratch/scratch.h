/*
 * skep-scratch: what `skep` needs to be done that takes the configuration with its secrets, and is
 * no affair of skepd's.
 *
 * What `skep bench` works on instead of anybody's jobs: a folder, a ledger and a queue of its own,
 * made where the configuration has its real ones, and removed afterwards. The program is apart from
 * `skep`, which speaks HTTP alone, and from skepd, which makes and drops no databases.
 *
 * All names begin with `skep_bench_`, so that what a kill left behind can be told.
 */
#ifndef SKEP_SCRATCH_SCRATCH_H
#define SKEP_SCRATCH_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRATCH_PREFIX "skep_bench_"
#define PROBE_MAX      20000 /* commits of a probe */

struct probe {
        long n; /* commits */
        double begin, seconds, took[PROBE_MAX];
};

/* probe.c: the clock starts; another commit is durable; is there time and room for one more? */
void probe_begin(struct probe *p);
void probe_mark(struct probe *p);
bool probe_goes_on(const struct probe *p, double seconds);
/* Milliseconds that `percent` of the commits took at most. Sorts them. */
double probe_ms(struct probe *p, long percent);

/* `skep-scratch: ...` on stderr; returns `code`. */
int refuse(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Durable writes of a page into a file there, for `seconds`. 0, or an exit code after a message. */
int disk_probe(const char *folder, double seconds, struct probe *ret);

/* By the ledger's own rules, so that no password goes to another host in plain text. 0 and a
 * connection that the caller finishes, or an exit code after a message. */
struct pg_conn;
int database_connect(const char *text, bool unsafe, struct pg_conn **ret);

/* Prints what `skep doctor` shows of that ledger's server: name, "ok" or "warn", what was seen,
 * what to do; tabs between them. 0, or an exit code after a message. */
int database_look(const char *url, bool unsafe);

/* A new database beside that of `url`; or with `given` that one, which must hold no schema `skep`.
 * ret_url is the URL with its name. 0, or an exit code after a message. */
int database_make(const char *url, bool unsafe, const char *given, char *ret_url, size_t size);
int database_probe(const char *url, bool unsafe, double seconds, struct probe *ret);
/* Drops it when its name has the prefix; of any other the schema `skep`. */
int database_drop(const char *url, bool unsafe);

/* Can what a transport leaves behind be removed here? 0, or an exit code after a message. */
struct transport_config;
int broker_judge(const struct transport_config *t);
/* Removes all that a scratch transport made; its exchange, stream and queue have the prefix. */
int broker_clear(const struct transport_config *t);

#endif
