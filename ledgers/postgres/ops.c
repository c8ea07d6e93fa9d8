/*
 * Which operation is carried out by what, and the parts that many of them share.
 */
#include "ledgers/postgres/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define NUMBERS_KEPT 64 /* numbers per writer that stay known after later ones */
#define TRIM_EVERY   16
#define EXPRESSIONS  24 /* of a roster, at most */

const struct statement_info statements[STATEMENTS_N] = {
#define X(name, lanes, sql) {#name, lanes, sql},
    STATEMENTS(X)
#undef X
};

const char *postgres_statement(const char *name)
{
        for (int i = 0; i < STATEMENTS_N; i++) {
                if (strcmp(statements[i].name, name) == 0) {
                        return statements[i].sql;
                }
        }
        return NULL;
}

const struct op *op_of(enum ledger_op op)
{
        static const struct op *const ops[] = {
            [LEDGER_REGISTER] = &op_register, [LEDGER_BEAT] = &op_beat,
            [LEDGER_BURY] = &op_bury,         [LEDGER_SUBMIT] = &op_submit,
            [LEDGER_ARRIVE] = &op_arrive,     [LEDGER_CLAIM] = &op_claim,
            [LEDGER_FINISH] = &op_finish,     [LEDGER_CANCEL] = &op_cancel,
            [LEDGER_REQUEUE] = &op_requeue,   [LEDGER_DUE] = &op_due,
            [LEDGER_UNPARK] = &op_unpark,     [LEDGER_FOLD] = &op_fold,
            [LEDGER_RELAY] = &op_relay,       [LEDGER_RUNG] = &op_rung,
            [LEDGER_TIDE] = &op_tide,         [LEDGER_FLOOR] = &op_floor,
            [LEDGER_RESOLVE] = &op_resolve,   [LEDGER_RECALL] = &op_recall,
            [LEDGER_HELD] = &op_held,         [LEDGER_INBOX] = &op_inbox,
            [LEDGER_SHOW] = &op_show,         [LEDGER_LIST] = &op_list,
            [LEDGER_STATS] = &op_stats,       [LEDGER_TICK] = &op_tick,
            [LEDGER_PRUNE] = &op_prune,       [LEDGER_CONTROL] = &op_control,
            [LEDGER_SCHEDULE] = &op_schedule, [LEDGER_BULK] = &op_bulk,
            [LEDGER_SAVE] = &op_save,         [LEDGER_SCHEDULES] = &op_schedules,
            [LEDGER_GROUPS] = &op_groups,     [LEDGER_NODES] = &op_nodes,
        };
        return ops[op];
}

struct params *params_for(struct lane *n)
{
        params_reset(&n->params);
        return &n->params;
}

/* --- numbers ---------------------------------------------------------------------------------- */

void put_number(struct params *p, const struct commit_no *no)
{
        put_u64(p, no->holder);
        put_i16(p, (int16_t)no->writer);
        put_u64(p, no->n);
}

void put_limit(struct params *p, uint32_t n)
{
        put_i32(p, n > INT32_MAX ? INT32_MAX : (int32_t)n);
}

void put_numbers(struct params *p, const struct commit_no *nos, uint32_t n)
{
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < n; i++) {
                put_u64(p, nos[i].holder);
        }
        array_end(p);
        array_begin(p, OID_INT2);
        for (uint32_t i = 0; i < n; i++) {
                put_i16(p, (int16_t)nos[i].writer);
        }
        array_end(p);
        array_begin(p, OID_INT8);
        for (uint32_t i = 0; i < n; i++) {
                put_u64(p, nos[i].n);
        }
        array_end(p);
}

/* Deletes numbers that nobody will ask for. */
int send_trim(struct lane *n, struct work *w)
{
        struct trim *t = &n->trim;
        uint64_t last = t->held_first && t->held_first <= t->known ? t->held_first - 1 : t->known;
        uint64_t limit = last > NUMBERS_KEPT ? last - NUMBERS_KEPT : 0;
        if (t->holder != w->b->no.holder || limit < t->upto + TRIM_EVERY) {
                return 0;
        }
        struct params *p = params_for(n);
        put_u64(p, t->holder);
        put_i16(p, (int16_t)w->b->no.writer);
        put_u64(p, t->upto);
        put_u64(p, limit);
        t->upto = limit;
        return work_send(n, w, ST_TRIM);
}

int send_number(struct lane *n, struct work *w)
{
        put_number(params_for(n), &w->b->no);
        int r = work_send(n, w, ST_NUMBER);
        return r ? r : send_trim(n, w);
}

int send_alive(struct lane *n, struct work *w)
{
        put_u64(params_for(n), w->b->no.holder);
        return work_send(n, w, ST_ALIVE);
}

/* --- rosters ---------------------------------------------------------------------------------- */

bool is_pattern(struct str type)
{
        return type.n && (memchr(type.p, '*', type.n) || memchr(type.p, '>', type.n));
}

/* As core/pattern.h has it: * is one token, > is all that follow. What else may stand in a pattern
 * means itself in an expression, but for the dot. */
struct str pattern_expression(struct str pattern, char *buffer, size_t size)
{
        size_t n = 0;
        for (uint32_t i = 0; i < pattern.n && n + 8 < size; i++) {
                char one[2] = {pattern.p[i], 0};
                const char *text = one[0] == '*'   ? "[^.]+"
                                   : one[0] == '>' ? ".+"
                                   : one[0] == '.' ? "[.]"
                                                   : one;
                n += (size_t)snprintf(buffer + n, size - n, "%s%s", i ? "" : "^", text);
        }
        if (n + 8 >= size) {
                return (struct str){0};
        }
        n += (size_t)snprintf(buffer + n, size - n, "$");
        return (struct str){buffer, (uint32_t)n};
}

/* Of `n` patterns from handler *at on, what matches any of them; p NULL: no memory. */
static struct str join_expressions(struct arena *a, const struct roster *r, uint32_t *at,
                                   uint32_t n)
{
        struct str all = STR("");
        for (; n > 0 && all.p; ++*at) {
                char one[2048];
                struct str pattern = r->handlers[*at].pattern;
                if (is_pattern(pattern)) {
                        struct str text = pattern_expression(pattern, one, sizeof one);
                        assert(text.p); /* nothing would match everything */
                        all = arena_printf(a, "%s%s%s", all.p, all.n ? "|" : "", text.p);
                        n--;
                }
        }
        return all;
}

/* The server keeps 32 compiled expressions for each connection; were there more of them, each row
 * would have all compiled anew (measured: two seconds for a claim of 2,000). So many patterns share
 * one. */
static void put_patterns(struct params *p, const struct roster *r)
{
        uint32_t left = 0, at = 0;
        for (uint32_t i = 0; r && i < r->n; i++) {
                left += is_pattern(r->handlers[i].pattern);
        }
        uint32_t each = (left + EXPRESSIONS - 1) / EXPRESSIONS;
        CLEANUP(arena_deinit)
        struct arena a = {0};
        array_begin(p, OID_TEXT);
        while (left > 0) {
                uint32_t n = each < left ? each : left;
                struct str text = join_expressions(&a, r, &at, n);
                p->out_of_memory |= !text.p;
                put_text(p, text);
                left -= n;
        }
        array_end(p);
}

void put_roster(struct params *p, const struct roster *r)
{
        array_begin(p, OID_BYTEA);
        for (uint32_t i = 0; r && i < r->n; i++) {
                if (!is_pattern(r->handlers[i].pattern)) {
                        put_bytes(p, r->handlers[i].pattern);
                }
        }
        array_end(p);
        put_patterns(p, r);
}

/* --- NOTIFY ----------------------------------------------------------------------------------- */

static int send_notify(struct lane *n, struct work *w)
{
        params_for(n);
        return work_send(n, w, ST_NOTIFY);
}

const struct op op_notify = {.send = send_notify};
