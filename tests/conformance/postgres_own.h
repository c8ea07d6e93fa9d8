/*
 * What only the PostgreSQL ledger can be asked: helpers that its own tests share with its fixture.
 */
#ifndef SKEP_TESTS_CONFORMANCE_POSTGRES_OWN_H
#define SKEP_TESTS_CONFORMANCE_POSTGRES_OWN_H

#include "ledgers/postgres/hooks.h"
#include "tests/conformance/bed.h"

#include <libpq-fe.h>
#include <sys/types.h>

/* --- of the fixture --- */
int64_t own_now_ns(void);
const char *server_url(void); /* NULL: SKEP_TEST_POSTGRES is not set, printed */
void database_url(const char *name, char *to,
                  size_t size); /* the server's, with another database */
void create_database(PGconn *c, const char *name, const char *from);
const char *store_url(void *store);
PGconn *connect_to(const char *url); /* exits when it cannot */
bool run_sql(PGconn *c, const char *sql);
void must_run(PGconn *c, const char *sql);
bool wait_ready(struct ledger *l); /* false: a batch came back, or not within a minute */

/* --- of the tests --- */
int64_t ask_number(PGconn *c, const char *sql); /* the first cell; INT64_MIN: no row, or an error */

/* Posts and waits on a ledger without a bed. */
enum ledger_outcome ledger_do(struct ledger *l, struct ledger_batch *b);

/* The note of a read, once it is refused; "" when it was answered. In a static buffer. */
const char *refusal(struct ledger *l);

/* Sessions report what they did at their end: closes the bed's handle and waits for that. Then
 * another is opened. */
void end_sessions(struct bed *bed, PGconn *c);
void open_again(struct bed *bed);

/* A server of the test's own, stopped and removed by server_free(). */
struct server {
        char dir[64], url[128];
        int port;
        pid_t pid;
};
struct server *server_new(void); /* initialised and started; exits when it cannot */
void server_start(struct server *s);
void server_kill(struct server *s, int signal);                         /* and waits for its end */
void server_set(struct server *s, const char *name, const char *value); /* for new sessions */
struct server *server_free(struct server *s);

extern const struct case_list postgres_cases_open, postgres_cases_store, postgres_cases_inbox,
    postgres_cases_server, postgres_cases_life, postgres_cases_heads;

#endif
