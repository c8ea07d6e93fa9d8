/*
 * postgres-own: what only the PostgreSQL ledger can be asked. Needs SKEP_TEST_POSTGRES like its
 * fixture, and the server's programs for servers of its own.
 */
#include "tests/conformance/postgres_own.h"

#include <arpa/inet.h>
#include <glob.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const struct ledger_fixture *fixture = &fixture_postgres;

int64_t ask_number(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        bool one = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) > 0;
        int64_t v = one ? atoll(PQgetvalue(r, 0, 0)) : INT64_MIN;
        if (!one) {
                fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(c));
        }
        PQclear(r);
        return v;
}

/* --- ledgers without a bed -------------------------------------------------------------------- */

enum ledger_outcome ledger_do(struct ledger *l, struct ledger_batch *b)
{
        l->ops->post(l, b);
        for (int64_t start = own_now_ns(); own_now_ns() - start < 60 * NS_PER_S;) {
                struct pollfd fds[8];
                if (l->ops->dispatch(l, own_now_ns())) {
                        return b->outcome; /* the only one that is under way */
                }
                int64_t left = l->ops->deadline_ns(l) - own_now_ns();
                (void)poll(fds, l->ops->pollfds(l, fds, 8), left <= 0 ? 0 : 10);
        }
        fprintf(stderr, "a %s never came back\n", ledger_op_name(b->op));
        exit(1);
}

const char *refusal(struct ledger *l)
{
        static char note[200];
        struct ledger_batch *b = ledger_batch_new(LEDGER_STATS);
        enum ledger_outcome outcome = ledger_do(l, b);
        snprintf(note, sizeof note, "%s", outcome == LEDGER_REFUSED ? b->note : "");
        ledger_batch_free(b);
        return note;
}

/* --- sessions --------------------------------------------------------------------------------- */

/* The ledger's: the test's own have no name. */
void end_sessions(struct bed *bed, PGconn *c)
{
        bed->l = bed->l->ops->close(bed->l);
        static const char count[] = "select count(*) from pg_stat_activity where datname = "
                                    "current_database() and application_name <> ''";
        for (int i = 0; i < 6000 && ask_number(c, count) > 0; i++) {
                (void)poll(NULL, 0, 10);
        }
        CU_ASSERT(ask_number(c, count) == 0);
        must_run(c, "select pg_stat_clear_snapshot()");
}

void open_again(struct bed *bed)
{
        char note[200];
        CU_ASSERT_FATAL(fixture->open(bed->store, &bed->l, note, sizeof note) == 0);
}

/* --- servers ---------------------------------------------------------------------------------- */

static void program(const char *name, char *to, size_t size)
{
        glob_t found;
        char pattern[200];
        snprintf(pattern, sizeof pattern, "/usr/lib/postgresql/*/bin/%s", name);
        if (glob(pattern, 0, NULL, &found) == 0) {
                snprintf(to, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
                globfree(&found);
        } else {
                snprintf(to, size, "%s", name);
        }
}

/* PostgreSQL refuses to run as root. */
static void become_other(void)
{
        const struct passwd *p = geteuid() == 0 ? getpwnam("postgres") : NULL;
        if (p && (initgroups(p->pw_name, p->pw_gid) < 0 || setgid(p->pw_gid) < 0 ||
                  setuid(p->pw_uid) < 0)) {
                _exit(126);
        }
}

static pid_t spawn(const struct server *s, char **argv)
{
        char log[100];
        pid_t pid = fork();
        if (pid == 0) {
                become_other();
                snprintf(log, sizeof log, "%s/log", s->dir);
                if (!freopen(log, "a", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0 ||
                    chdir(s->dir) < 0) {
                        _exit(126);
                }
                execvp(argv[0], argv);
                _exit(127);
        }
        return pid;
}

/* Out of those that the kernel gives to no client: it may be a while until the server takes it. */
static int free_port(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        for (int64_t tries = 0; tries < 1000; tries++) {
                int port = 20000 + (int)((own_now_ns() / 1000 + getpid() * 7919 + tries) % 12000);
                int fd = socket(AF_INET, SOCK_STREAM, 0);
                a.sin_port = htons((uint16_t)port);
                bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
                close(fd);
                if (is_free) {
                        return port;
                }
        }
        fprintf(stderr, "no port is free\n");
        exit(1);
}

/* After kill -9 its children hold the shared memory for a moment: then it ends again at once. */
void server_start(struct server *s)
{
        char path[200], data[100], port[16];
        program("postgres", path, sizeof path);
        snprintf(data, sizeof data, "%s/data", s->dir);
        snprintf(port, sizeof port, "%d", s->port);
        char *argv[] = {path,         (char *)"-D",        data,         (char *)"-p", port,
                        (char *)"-h", (char *)"127.0.0.1", (char *)"-k", s->dir,       NULL};
        s->pid = spawn(s, argv);
        for (int i = 0; i < 2400; i++) {
                if (PQping(s->url) == PQPING_OK) {
                        return;
                }
                if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
                        s->pid = spawn(s, argv);
                }
                (void)poll(NULL, 0, 50);
        }
        fprintf(stderr, "%s/log: the server does not start\n", s->dir);
        exit(1);
}

void server_kill(struct server *s, int signal)
{
        if (s->pid > 0) {
                kill(s->pid, signal);
                waitpid(s->pid, NULL, 0);
                s->pid = 0;
        }
}

static void initialise(struct server *s)
{
        char path[200], data[100];
        int status = 1;
        program("initdb", path, sizeof path);
        snprintf(data, sizeof data, "%s/data", s->dir);
        char *argv[] = {path,
                        (char *)"-D",
                        data,
                        (char *)"-U",
                        (char *)"skep",
                        (char *)"-A",
                        (char *)"trust",
                        (char *)"--no-sync",
                        (char *)"-E",
                        (char *)"UTF8",
                        (char *)"--locale=C",
                        NULL};
        pid_t pid = spawn(s, argv);
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                fprintf(stderr, "%s/log: %s failed\n", s->dir, path);
                exit(1);
        }
}

struct server *server_new(void)
{
        struct server *s = calloc(1, sizeof *s);
        const char *tmp = getenv("TMPDIR");
        const struct passwd *p = getpwnam("postgres");
        snprintf(s->dir, sizeof s->dir, "%.30s/skep-server-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(s->dir) || (geteuid() == 0 && p && chown(s->dir, p->pw_uid, p->pw_gid) < 0)) {
                perror(s->dir);
                exit(1);
        }
        s->port = free_port();
        snprintf(s->url, sizeof s->url, "postgresql://skep@127.0.0.1:%d/postgres", s->port);
        initialise(s);
        server_start(s);
        return s;
}

void server_set(struct server *s, const char *name, const char *value)
{
        char sql[200];
        PGconn *c = connect_to(s->url);
        snprintf(sql, sizeof sql, "set default_transaction_read_only = off");
        must_run(c, sql);
        snprintf(sql, sizeof sql, "alter system set %s = %s", name, value);
        must_run(c, sql);
        must_run(c, "select pg_reload_conf()");
        PQfinish(c);
        for (int i = 0; i < 3000; i++) {
                c = connect_to(s->url);
                snprintf(sql, sizeof sql, "select (current_setting('%s') = '%s')::int", name,
                         value);
                bool there = ask_number(c, sql) == 1;
                PQfinish(c);
                if (there) {
                        return;
                }
                (void)poll(NULL, 0, 20);
        }
        fprintf(stderr, "%s does not become %s\n", name, value);
        exit(1);
}

struct server *server_free(struct server *s)
{
        char command[120];
        server_kill(s, SIGINT);
        snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
        if (system(command) != 0) {
                fprintf(stderr, "%s: cannot be removed\n", s->dir);
        }
        free(s);
        return NULL;
}

/* --- all -------------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        const struct case_list *list;
} suites[] = {
    {"open", &postgres_cases_open},   {"store", &postgres_cases_store},
    {"life", &postgres_cases_life},   {"inbox", &postgres_cases_inbox},
    {"heads", &postgres_cases_heads}, {"server", &postgres_cases_server},
};

int main(void)
{
        if (!server_url() || CU_initialize_registry() != CUE_SUCCESS) {
                return 1;
        }
        for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
                CU_pSuite suite = CU_add_suite(suites[i].name, NULL, NULL);
                for (size_t k = 0; suite && k < suites[i].list->n; k++) {
                        const struct conformance_case *c = &suites[i].list->cases[k];
                        suite = CU_add_test(suite, c->name, c->run) ? suite : NULL;
                }
                if (!suite) {
                        fprintf(stderr, "cannot register the cases: %s\n", CU_get_error_msg());
                        return 1;
                }
        }
        CU_basic_set_mode(CU_BRM_VERBOSE);
        CU_basic_run_tests();
        unsigned failed = CU_get_number_of_tests_failed(), ran = CU_get_number_of_tests_run();
        CU_cleanup_registry();
        printf("\n%u passed, %u failed, 0 skipped\n", ran - failed, failed);
        return failed != 0 || ran == 0;
}
