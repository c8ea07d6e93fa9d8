/*
 * A lane: batches go out back to back in one pipeline, each a transaction of its own, and their
 * answers come in the same order.
 *
 * Order must hold even when one of them is rolled back to be tried again: those behind it are on
 * their way already. So each write names the one before it, and the server refuses it if that one
 * did not commit (follow() in the schema). Nothing more is sent then until all that flies has
 * landed; what was rolled back goes first.
 */
#include "ledgers/postgres/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define FLIGHT_MAX  16
#define BYTES_MAX   (4u << 20) /* in flight; one batch at least */
#define PATIENCE_NS (60 * NS_PER_S)

/* --- lists ------------------------------------------------------------------------------------ */

static void list_init(struct work_list *q)
{
        q->head = NULL;
        q->tail = &q->head;
        q->n = 0;
}

void work_push(struct work_list *q, struct work *w)
{
        w->next = NULL;
        *q->tail = w;
        q->tail = &w->next;
        q->n++;
}

struct work *work_pop(struct work_list *q)
{
        struct work *w = q->head;
        if (w) {
                q->head = w->next;
                q->n--;
                if (!q->head) {
                        q->tail = &q->head;
                }
        }
        return w;
}

/* a, then b, in a. */
static void list_join(struct work_list *a, struct work_list *b)
{
        for (struct work *w; (w = work_pop(b));) {
                work_push(a, w);
        }
}

void lane_init(struct lane *n, struct pg_ledger *l, enum ledger_lane which)
{
        n->l = l;
        n->which = which;
        list_init(&n->waiting);
        list_init(&n->flight);
        list_init(&n->again);
}

void lane_deinit(struct lane *n)
{
        PQfinish(STEAL(n->c));
        params_deinit(&n->params);
}

/* --- out -------------------------------------------------------------------------------------- */

int work_send(struct lane *n, struct work *w, enum statement which)
{
        if (w->n_sent == SENT_MAX) {
                return -E2BIG;
        }
        w->bytes += n->params.n;
        w->sent[w->n_sent++] = which;
        return params_send(&n->params, n->c, statements[which].name);
}

static bool is_write(const struct work *w)
{
        return w->b && (ledger_op_numbered(w->b->op) || w->b->op == LEDGER_RESOLVE);
}

static int send_follow(struct lane *n, struct work *w)
{
        struct params *p = params_for(n);
        if (n->flight.n) {
                put_u64(p, n->serial);
        } else {
                put_null(p, OID_INT8);
        }
        put_u64(p, n->serial + 1);
        return work_send(n, w, ST_FOLLOW);
}

/* A lost fault is one that never was sent. True: the batch is answered. */
static bool test_fails(struct lane *n, struct work *w)
{
        struct pg_ledger *l = n->l;
        if (!l->hooks.fault || !w->b || !ledger_op_numbered(w->b->op) || w->written) {
                return false;
        }
        switch (l->hooks.fault(l->hooks.ctx)) {
        case POSTGRES_FAULT_REFUSE: work_refuse(l, w, "refused by a test"); return true;
        case POSTGRES_FAULT_LOST:
                work_settle(l, w, LEDGER_UNKNOWN, "made unknown by a test before it was sent");
                return true;
        case POSTGRES_FAULT_WRITTEN: w->written = true; return false;
        default: return false;
        }
}

static void start_segment(struct work *w)
{
        w->n_sent = w->n_answered = 0;
        w->bytes = 0;
        w->error = 0;
        w->failed = w->fatal = false;
        w->state[0] = w->constraint[0] = w->note[0] = 0;
        w->rows = NULL;
        w->n_rows = w->next_row = 0;
}

static int send_segment(struct lane *n, struct work *w)
{
        bool write = is_write(w);
        start_segment(w);
        int r = write ? send_follow(n, w) : 0;
        r = r ? r : w->op->send(n, w);
        if (!r && !PQpipelineSync(n->c)) {
                r = -EIO;
        }
        n->serial += write;
        return r;
}

/* False: the connection cannot be used any more. */
static bool send_one(struct lane *n, struct work *w)
{
        int r = send_segment(n, w);
        if (!r) {
                w->sent_ns = pg_now_ns();
                n->bytes += w->bytes;
                work_push(&n->flight, w);
                return true;
        }
        /* Half a segment may be in libpq's buffer. Without its sync it can never commit, and the
         * session ends with it. */
        conn_note(n, r == -ENOMEM ? "out of memory" : PQerrorMessage(n->c));
        work_refuse(n->l, w, n->l->note);
        return false;
}

void lane_send(struct lane *n)
{
        while (n->state == LANE_READY && n->waiting.head && !n->landing &&
               (!n->flight.n || (n->flight.n < FLIGHT_MAX && n->bytes < BYTES_MAX))) {
                struct work *w = work_pop(&n->waiting);
                if (!test_fails(n, w) && !send_one(n, w)) {
                        lane_lost(n, NULL);
                        return;
                }
        }
        if (n->state == LANE_READY) {
                int flushed = PQflush(n->c);
                n->events = (short)(POLLIN | (flushed > 0 ? POLLOUT : 0));
                if (flushed < 0) {
                        lane_lost(n, PQerrorMessage(n->c));
                }
        }
}

void lane_post(struct lane *n, struct work *w)
{
        if (!conn_hopeful(n, pg_now_ns())) {
                work_refuse(n->l, w, n->l->note);
                return;
        }
        work_push(&n->waiting, w);
        lane_send(n);
}

/* --- in --------------------------------------------------------------------------------------- */

static void keep_field(char *to, size_t size, const PGresult *r, int field)
{
        const char *v = PQresultErrorField(r, field);
        size_t n = v ? strcspn(v, "\n") : 0;
        n = n < size ? n : size - 1;
        memcpy(to, v ? v : "", n);
        to[n] = 0;
}

static void take_error(struct work *w, const PGresult *r)
{
        const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
        if (w->failed) {
                return;
        }
        w->failed = true;
        w->fatal = !severity || strcmp(severity, "ERROR") != 0;
        keep_field(w->state, sizeof w->state, r, PG_DIAG_SQLSTATE);
        keep_field(w->constraint, sizeof w->constraint, r, PG_DIAG_CONSTRAINT_NAME);
        keep_field(w->note, sizeof w->note, r, PG_DIAG_MESSAGE_PRIMARY);
}

static void take_answer(struct lane *n, struct work *w, const PGresult *r)
{
        switch (PQresultStatus(r)) {
        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
                if (w->op->take && !w->failed && !w->error && w->n_answered < w->n_sent) {
                        w->error = w->op->take(n, w, w->sent[w->n_answered], r);
                }
                break;
        case PGRES_PIPELINE_ABORTED: break;
        default: take_error(w, r); break;
        }
}

/* All of the segment is there. */
static void segment_ended(struct lane *n)
{
        struct work *w = work_pop(&n->flight);
        bool stops = w->failed && is_write(w);
        n->bytes -= w->bytes;
        n->landing |= stops;
        if (work_end(n, w) == FATE_AGAIN) {
                n->landing = true;
                work_push(&n->again, w);
        }
}

static bool read_results(struct lane *n)
{
        while (n->flight.head && !PQisBusy(n->c)) {
                PGresult *r = PQgetResult(n->c);
                struct work *w = n->flight.head;
                if (!r) {
                        if (!n->answered || PQstatus(n->c) == CONNECTION_BAD) {
                                return PQstatus(n->c) != CONNECTION_BAD;
                        }
                        n->answered = false;
                        w->n_answered++;
                        continue;
                }
                bool sync = PQresultStatus(r) == PGRES_PIPELINE_SYNC;
                n->answered = !sync;
                if (!sync) {
                        take_answer(n, w, r);
                }
                if (!w->kept) {
                        PQclear(r);
                }
                w->kept = false;
                if (w->fatal) {
                        return false;
                }
                if (sync) {
                        segment_ended(n);
                }
        }
        return true;
}

static void read_notices(struct lane *n)
{
        for (PGnotify *m; (m = PQnotifies(n->c));) {
                n->l->heard |= m->be_pid != PQbackendPID(n->c);
                PQfreemem(m);
        }
}

static void land(struct lane *n)
{
        if (n->landing && !n->flight.head) {
                list_join(&n->again, &n->waiting);
                n->waiting = n->again;
                if (!n->waiting.head) {
                        n->waiting.tail = &n->waiting.head;
                }
                list_init(&n->again);
                n->landing = false;
        }
}

/* With TLS, what OpenSSL has read ahead of libpq makes no descriptor readable: a record of 16 KiB
 * is read by three calls at most. */
static bool consume(struct lane *n)
{
        bool well = true;
        for (int i = 0; well && i < (PQsslInUse(n->c) ? 3 : 1); i++) {
                well = PQconsumeInput(n->c);
        }
        return well;
}

static bool read_lane(struct lane *n)
{
        if (PQflush(n->c) < 0 || !consume(n) || !read_results(n) ||
            PQstatus(n->c) == CONNECTION_BAD) {
                return false;
        }
        read_notices(n);
        return true;
}

void lane_run(struct lane *n, int64_t now_ns)
{
        if (n->state != LANE_READY) {
                conn_run(n, now_ns);
        }
        if (n->state != LANE_READY) {
                return;
        }
        if (!read_lane(n)) {
                struct work *w = n->flight.head;
                lane_lost(n, w && w->fatal ? w->note : PQerrorMessage(n->c));
        } else if (n->drop && !n->flight.head) {
                lane_lost(n, NULL);
        } else if (n->flight.head && now_ns - n->flight.head->sent_ns > PATIENCE_NS) {
                lane_lost(n, "no answer for a minute");
        } else {
                land(n);
                lane_send(n);
        }
}

/* --- loss ------------------------------------------------------------------------------------- */

void lane_lost(struct lane *n, const char *why)
{
        struct work_list flight = n->flight;
        if (why) {
                conn_note(n, *why ? why : "the connection broke");
        }
        if (!flight.head) {
                flight.tail = &flight.head;
        }
        list_init(&n->flight);
        n->bytes = 0;
        list_join(&n->again, &n->waiting);
        list_join(&n->waiting, &n->again);
        for (struct work *w; (w = work_pop(&flight));) {
                if (w->b && ledger_op_numbered(w->b->op) && (!w->failed || w->fatal)) {
                        work_settle(n->l, w, LEDGER_UNKNOWN, n->l->note);
                } else {
                        work_refuse(n->l, w, n->l->note);
                }
        }
        conn_down(n, NULL);
}

int64_t lane_deadline(const struct lane *n)
{
        switch (n->state) {
        case LANE_DOWN:
                return n->which == LANE_BEAT || n->l->schema_ready ? n->retry_ns : INT64_MAX;
        case LANE_READY: return n->flight.head ? n->flight.head->sent_ns + PATIENCE_NS : INT64_MAX;
        default: return n->give_up_ns;
        }
}
