/*
 * Reads producers', handlers' and nemesis' logs. A last line without its newline was being written
 * when its writer died: it is counted and left out, which is right because nobody acted upon it.
 * Any other line that cannot be read stops the audit: a verdict on half the evidence is worth
 * nothing.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/id.h"
#include "tests/audit/evidence.h"
#include "tests/audit/line.h"

/* --- producers ---------------------------------------------------------------------------- */

static struct intent *find_intent(struct evidence *e, struct str ref)
{
        struct intent *i;
        HASH_FIND(hh, e->intents, ref.p, ref.n, i);
        return i;
}

static struct str text_of(struct evidence *e, struct line *l, const char *name)
{
        struct str s = {0};
        return line_text(l, name, &s) && s.n ? keep_text(e, s) : (struct str){0};
}

static void read_names(struct evidence *e, struct line *l, struct intent *i)
{
        struct str s;
        i->key = text_of(e, l, "key");
        i->unique = text_of(e, l, "unique");
        i->request = text_of(e, l, "request");
        i->has_queue = line_text(l, "queue", &s);
        i->queue = i->has_queue ? hash32(s) : 0;
        if (i->key.n > KEY_TEXT_MAX) {
                l->fault = "a key is too long";
        } else if (i->key.n) {
                i->keyed = true;
                memcpy(i->key16, key_from_text(i->key).b, sizeof i->key16);
        }
        if (line_text(l, "group", &s)) {
                i->group = hash32(s) | 1;
        }
        if (line_text(l, "via", &s)) {
                i->amqp = str_eq(s, STR("amqp"));
                i->letter = i->amqp || str_eq(s, STR("nats")) || str_eq(s, STR("sql"));
        }
}

static void read_intent(struct evidence *e, struct line *l)
{
        struct str ref = {0};
        line_must(l, line_text(l, "ref", &ref) && ref.n, "an intent needs ref=");
        if (l->fault || find_intent(e, ref)) {
                line_must(l, l->fault, "that ref was used before");
                return;
        }
        struct intent *i = arena_zalloc(&e->texts, sizeof *i);
        assert(i);
        i->ref = keep_text(e, ref);
        line_must(l, line_hex(l, "payload", &i->payload), "an intent needs payload=");
        read_names(e, l, i);
        int64_t n = 0;
        line_int(l, "wall", &i->wall_us);
        line_int(l, "mono", &i->mono_ns);
        line_int(l, "not_before", &i->not_before_us);
        i->max_attempts = line_int(l, "max_attempts", &n) ? (uint16_t)n : 0;
        i->poison = line_flag(l, "poison");
        i->child = line_id(l, "parent", &i->parent);
        i->parent_claim = line_int(l, "parent_claim", &n) ? (uint32_t)n : 0;
        HASH_ADD_KEYPTR(hh, e->intents, i->ref.p, i->ref.n, i);
}

static void read_ack(struct evidence *e, struct line *l)
{
        struct str ref = {0}, answer = {0};
        line_must(l, line_text(l, "ref", &ref), "an ack needs ref=");
        line_must(l, line_text(l, "answer", &answer), "an ack needs answer=");
        struct intent *i = l->fault ? NULL : find_intent(e, ref);
        line_must(l, i, "an ack of an intent that is not there");
        if (!i) {
                return;
        }
        struct job_id id;
        if (line_id(l, "id", &id)) {
                if (i->has_id && !job_id_eq(&i->id, &id)) {
                        i->told_two = true;
                }
                i->has_id = true;
                i->id = id;
        }
        if (str_eq(answer, STR("accepted"))) {
                i->accepted = true;
                line_must(l, i->has_id, "an accepted submission needs id=");
        } else if (str_eq(answer, STR("confirmed"))) {
                i->confirmed = true;
                line_int(l, "mono", &i->confirmed_ns);
        } else if (str_eq(answer, STR("refused"))) {
                i->refused = true;
        } else if (str_eq(answer, STR("conflict"))) {
                i->conflict = true;
        } else {
                line_must(l, str_eq(answer, STR("unknown")) || str_eq(answer, STR("sent")),
                          "an answer that nobody knows");
        }
}

/* --- operators ---------------------------------------------------------------------------- */

static void read_cancel(struct evidence *e, struct line *l)
{
        struct job_id id;
        int64_t status = 0, mono = 0;
        line_must(l, line_id(l, "id", &id), "a cancel needs id=");
        line_must(l, line_int(l, "status", &status), "a cancel needs status=");
        line_must(l, line_int(l, "mono", &mono), "a cancel needs mono=");
        if (l->fault) {
                return;
        }
        struct audit_job *j = audit_job(&e->audit, &id);
        if (status == 200) {
                j->stopped_ns = mono;
        } else if (status == 202) {
                j->cancel_ns = mono;
        }
        e->cancels += status == 200 || status == 202;
}

static void read_requeue(struct evidence *e, struct line *l, bool answered)
{
        struct job_id id;
        int64_t generation = 0, mono = 0;
        line_must(l, line_id(l, "id", &id), "a requeue needs id=");
        if (l->fault) {
                return;
        }
        struct audit_job *j = audit_job(&e->audit, &id);
        if (answered && line_int(l, "generation", &generation) &&
            (uint32_t)generation > j->requeued_to) {
                j->requeued_to = (uint32_t)generation;
        }
        if (!answered) {
                j->requeues_asked++;
                j->hurried = true;
                e->requeues++;
                if (line_int(l, "mono", &mono)) {
                        j->revived_ns = mono;
                }
        }
}

/* --- handlers ----------------------------------------------------------------------------- */

static void read_holder(struct evidence *e, struct line *l, uint64_t *ret_holder)
{
        struct str node = {0};
        int64_t ppid = 0;
        line_text(l, "node", &node);
        line_int(l, "ppid", &ppid);
        *ret_holder = hash_holder(node, ppid);
        struct word *w = e->holders;
        while (w && !(str_eq(w->text, node) && w->n == (uint64_t)ppid)) {
                w = w->next;
        }
        if (!w) {
                w = arena_zalloc(&e->texts, sizeof *w);
                assert(w);
                *w = (struct word){keep_text(e, node), (uint64_t)ppid, e->holders};
                e->holders = w;
        }
}

static void read_start(struct evidence *e, struct line *l)
{
        struct audit_run r = {.end = AUDIT_RUNNING, .end_ns = INT64_MAX};
        int64_t claim = 0, attempt = 0, generation = 0, pid = 0, batch = 0;
        struct str type;
        bool got = line_id(l, "id", &r.id);
        got = line_int(l, "claim", &claim) && line_int(l, "attempt", &attempt) && got;
        got = line_int(l, "generation", &generation) && line_hex(l, "token", &r.token) && got;
        got = line_hex(l, "payload", &r.payload) && line_int(l, "pid", &pid) && got;
        got = line_int(l, "wall", &r.start_wall_us) && line_int(l, "mono", &r.start_ns) && got;
        line_must(l, got,
                  "a start needs id, claim, token, attempt, generation, payload, pid, wall, "
                  "mono");
        if (l->fault) {
                return;
        }
        r.claim = (uint32_t)claim;
        r.attempt = (uint16_t)attempt;
        r.generation = (uint32_t)generation;
        r.pid = (int32_t)pid;
        r.deaf = !line_flag(l, "looks");
        r.exclusive = line_flag(l, "exclusive");
        r.batch = line_int(l, "batch", &batch) ? (uint32_t)batch : 1;
        read_holder(e, l, &r.holder);
        if (line_text(l, "type", &type)) {
                word_note(e, &e->watched, type)->n++;
        }
        audit_started(&e->audit, &r);
        e->starts++;
}

static bool parse_end(struct str s, enum audit_end *ret)
{
        for (enum audit_end end = AUDIT_RUNNING; end <= AUDIT_KILLED; end++) {
                const char *name = audit_end_name(end);
                if (strlen(name) == s.n && strncasecmp(name, s.p, s.n) == 0) {
                        *ret = end;
                        return true;
                }
        }
        return false;
}

/* The last run of that claim in that process; NULL: it never wrote its start. */
static struct audit_run *run_of_line(struct evidence *e, struct line *l)
{
        struct job_id id;
        int64_t claim = 0, pid = 0;
        bool got = line_id(l, "id", &id);
        got = line_int(l, "claim", &claim) && line_int(l, "pid", &pid) && got;
        line_must(l, got, "it needs id, claim, pid");
        struct audit_job *j = l->fault ? NULL : audit_find(&e->audit, &id);
        for (uint32_t i = j ? j->n_runs : 0; i > 0; i--) {
                struct audit_run *r = &j->runs[i - 1];
                if (r->claim == (uint32_t)claim && r->pid == pid) {
                        return r;
                }
        }
        line_must(l, false, "the start of that run is not there");
        return NULL;
}

static void read_end(struct evidence *e, struct line *l)
{
        struct str how = {0};
        line_must(l, line_text(l, "end", &how), "an end needs end=");
        struct audit_run *r = run_of_line(e, l);
        if (!r) {
                return;
        }
        line_must(l, parse_end(how, &r->end), "an end that nobody knows");
        line_must(l, line_int(l, "mono", &r->end_ns), "an end needs mono=");
        line_int(l, "after_ms", &r->after_ms);
        e->delayed += r->after_ms > 0;
        r->resulted = line_hex(l, "result", &r->result);
}

static void read_asked(struct evidence *e, struct line *l)
{
        struct audit_run *r = run_of_line(e, l);
        if (r && !r->asked_ns) {
                line_must(l, line_int(l, "mono", &r->asked_ns), "asked needs mono=");
        }
}

/* --- the nemesis, the broker -------------------------------------------------------------- */

static enum fault_kind parse_fault(struct str s)
{
        static const char *const names[] = {
            [FAULT_KILL] = "kill",
            [FAULT_STOP] = "stop",
            [FAULT_CUT] = "cut",
            [FAULT_TERM] = "term",
            [FAULT_CLOCK] = "clock",
            [FAULT_LEDGER] = "ledger",
            [FAULT_BROKER_LOST] = "broker_lost",
            [FAULT_REDELIVERED] = "redelivered",
        };
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                if (str_eq(s, str_of(names[i]))) {
                        return (enum fault_kind)i;
                }
        }
        return FAULT_OTHER;
}

static void read_fault(struct evidence *e, struct line *l)
{
        struct str kind = {0}, of = {0};
        line_must(l, line_text(l, "kind", &kind), "a fault needs kind=");
        struct fault *f = arena_zalloc(&e->texts, sizeof *f);
        assert(f);
        *f = (struct fault){.kind = parse_fault(kind), .to_ns = INT64_MAX, .grace_ms = 30000};
        f->has_node = line_text(l, "node", &of);
        f->node = f->has_node ? keep_text(e, of) : f->node;
        f->has_pid = line_int(l, "pid", &f->pid);
        line_int(l, "from", &f->from_ns);
        f->has_to = line_int(l, "to", &f->to_ns);
        line_int(l, "n", &f->n);
        line_int(l, "grace_ms", &f->grace_ms);
        line_int(l, "code", &f->code);
        f->ledger_clock = line_text(l, "of", &of) && str_eq(of, STR("ledger"));
        f->next = e->faults;
        e->faults = f;
}

static void read_broker(struct evidence *e, struct line *l)
{
        struct str queue = {0};
        int64_t ready = 0, unacked = 0;
        bool got = line_text(l, "queue", &queue) && line_int(l, "ready", &ready);
        line_must(l, got && line_int(l, "unacked", &unacked),
                  "broker counts need queue, ready, unacked");
        if (!l->fault) { /* the last one counts */
                word_note(e, &e->ready, queue)->n = (uint64_t)ready;
                word_note(e, &e->unacked, queue)->n = (uint64_t)unacked;
        }
}

/* --- files -------------------------------------------------------------------------------- */

static void read_requeue_asked(struct evidence *e, struct line *l)
{
        read_requeue(e, l, false);
}

static void read_requeue_answered(struct evidence *e, struct line *l)
{
        read_requeue(e, l, true);
}

static const struct {
        const char *word;
        void (*read)(struct evidence *e, struct line *l);
} words[] = {
    {"intent", read_intent},
    {"ack", read_ack},
    {"cancel", read_cancel},
    {"requeue", read_requeue_asked},
    {"requeued", read_requeue_answered},
    {"start", read_start},
    {"end", read_end},
    {"asked", read_asked},
    {"fault", read_fault},
    {"broker", read_broker},
};

static const char *read_record(struct evidence *e, char *text, size_t n)
{
        struct line l;
        if (!line_parse(text, n, &l)) {
                return l.fault;
        }
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
                if (!str_eq(l.word, str_of(words[i].word))) {
                        continue;
                }
                if (l.version != 1) {
                        return "a version that this program does not know";
                }
                words[i].read(e, &l);
                return l.fault;
        }
        return "a word that nobody knows";
}

int read_log(struct evidence *e, const char *path)
{
        FILE *f = fopen(path, "re");
        if (!f) {
                fprintf(stderr, "skep-audit: %s: %s\n", path, strerror(errno));
                return -1;
        }
        char *text = NULL;
        size_t size = 0;
        ssize_t n;
        uint64_t number = 0;
        const char *fault = NULL;
        while (!fault && (n = getline(&text, &size, f)) > 0) {
                number++;
                if (text[n - 1] != '\n') {
                        e->truncated++;
                        break;
                }
                text[n - 1] = 0;
                fault = read_record(e, text, (size_t)n - 1);
        }
        e->lines += number;
        if (fault) {
                fprintf(stderr, "skep-audit: %s:%llu: %s\n", path, (unsigned long long)number,
                        fault);
        }
        free(text);
        fclose(f);
        return fault ? -1 : 0;
}
