/*
 * The fake daemon. It must judge nothing about HTTP: it knows jobs, keys and states, as a ledger
 * does.
 */
#include "tests/unit/test-http-fake.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/defaults.h"

static struct fake_job *find_job(struct fake *f, const struct job_id *id)
{
        for (uint32_t i = 0; i < f->n; i++) {
                if (job_id_eq(&f->jobs[i].row.id, id)) {
                        return &f->jobs[i];
                }
        }
        return NULL;
}

static struct fake_job *find_key(struct fake *f, struct str queue, const struct job_key *key)
{
        for (uint32_t i = 0; key->set && i < f->n; i++) {
                struct fake_job *j = &f->jobs[i];
                if (j->row.key.set && memcmp(j->row.key.b, key->b, 16) == 0 &&
                    str_eq(j->row.queue, queue)) {
                        return j;
                }
        }
        return NULL;
}

static void add_job(struct fake *f, const struct submit_row *row)
{
        if (f->n == f->capacity) {
                f->capacity = f->capacity ? f->capacity * 2 : 64;
                f->jobs = realloc(f->jobs, f->capacity * sizeof *f->jobs);
                assert(f->jobs);
        }
        struct submit_row kept = *row;
        struct str *texts[] = {&kept.key_text, &kept.queue,   &kept.type, &kept.content_type,
                               &kept.headers,  &kept.payload, &kept.tags, &kept.policy};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                *texts[i] = arena_str(&f->arena, *texts[i]);
        }
        f->jobs[f->n++] = (struct fake_job){kept, kept.state, 0};
}

static struct fake_job *find_unique(struct fake *f, const struct unique_key *key)
{
        for (uint32_t i = 0; key->set && i < f->n; i++) {
                struct fake_job *j = &f->jobs[i];
                if (j->row.unique.set && memcmp(j->row.unique.hash, key->hash, 16) == 0) {
                        return j;
                }
        }
        return NULL;
}

static void submit_row(struct fake *f, struct submit_row *row)
{
        struct fake_job *other = find_key(f, row->queue, &row->key);
        struct fake_job *holder = find_unique(f, &row->unique);
        row_defaults(&f->config, &f->config.queues[config_queue_named(&f->config, row->queue)], row,
                     FAKE_NOW);
        if (f->full) {
                row->result = SUBMIT_FULL;
                return;
        }
        if (!other && holder) {
                row->existing = holder->row.id;
                row->existing_state = holder->state;
                row->result = row->unique.replace ? SUBMIT_REPLACED : SUBMIT_HELD;
                return;
        }
        if (!other) {
                add_job(f, row);
                row->result = SUBMIT_CREATED;
                return;
        }
        row->existing = other->row.id;
        row->existing_state = other->state;
        row->result = str_eq(other->row.payload, row->payload) ? SUBMIT_EXISTS : SUBMIT_CONFLICT;
}

static bool known_request(struct fake *f, struct submission *s)
{
        for (uint32_t i = 0; s->request_key.set && i < f->n_requests; i++) {
                if (memcmp(f->requests[i].key.b, s->request_key.b, 16) != 0) {
                        continue;
                }
                s->request_conflict = memcmp(f->requests[i].hash, s->request_hash, 16) != 0;
                for (uint32_t k = 0; !s->request_conflict && k < s->n; k++) {
                        struct fake_job *j = &f->jobs[f->requests[i].from + k];
                        s->rows[k].result = SUBMIT_EXISTS;
                        s->rows[k].existing = j->row.id;
                        s->rows[k].existing_state = j->state;
                }
                return true;
        }
        return false;
}

static void answer_submit(struct fake *f, struct submission *s)
{
        uint32_t from = f->n;
        f->submissions++;
        if (f->refuse_submissions_from && f->submissions >= f->refuse_submissions_from) {
                s->refused = true;
                snprintf(s->note, sizeof s->note, "the disk is full");
                return;
        }
        if (known_request(f, s)) {
                return;
        }
        for (uint32_t i = 0; i < s->n; i++) {
                submit_row(f, &s->rows[i]);
                enum submit_result result = s->rows[i].result;
                if (s->atomic && (result == SUBMIT_CONFLICT || result == SUBMIT_FULL)) {
                        for (uint32_t k = 0; k < s->n; k++) {
                                s->rows[k].result = k == i ? result : SUBMIT_UNDONE;
                        }
                        f->n = from;
                        return;
                }
        }
        if (s->request_key.set && f->n_requests < ARRAY_LEN(f->requests)) {
                f->requests[f->n_requests].key = s->request_key;
                memcpy(f->requests[f->n_requests].hash, s->request_hash, 16);
                f->requests[f->n_requests].from = from;
                f->requests[f->n_requests++].n = s->n;
        }
}

static void fill_row(struct arena *a, const struct fake_job *j, struct job_row *ret)
{
        *ret = (struct job_row){
            .id = j->row.id,
            .queue = arena_str(a, j->row.queue),
            .type = arena_str(a, j->row.type),
            .key_text = arena_str(a, j->row.key_text),
            .content_type = arena_str(a, j->row.content_type),
            .headers = arena_str(a, j->row.headers),
            .payload = arena_str(a, j->row.payload),
            .tags = arena_str(a, j->row.tags),
            .state = j->state,
            .priority = j->row.priority,
            .max_attempts = j->row.max_attempts,
            .generation = j->generation,
            .timeout_ms = j->row.timeout_ms,
            .created_us = FAKE_NOW,
            .due_us = j->state == STATE_SCHEDULED
                          ? (j->row.after_us ? FAKE_NOW + j->row.after_us : j->row.at_us)
                          : 0,
            .policy = arena_str(a, j->row.policy),
            .retry_until_us = j->row.retry_until_us,
            .heartbeat_ms = j->row.heartbeat_ms,
            .deadline_us = j->row.deadline_us,
        };
        if (j->state == STATE_COMPLETED) {
                ret->result = arena_str(a, STR("{\"ok\":true}"));
                ret->result_type = arena_str(a, STR("application/json"));
        }
        if (j->state == STATE_PENDING) {
                ret->ahead = 42;
        }
        if (j->state == STATE_RUNNING) {
                ret->has_progress = true;
                ret->done = 3;
                ret->total = 7.5;
                ret->progress_us = FAKE_NOW;
                ret->checkpoint_size = 12;
        }
        if (j->state == STATE_CANCELLED) {
                ret->reason = REASON_DUPLICATE;
                ret->last.error = ERROR_DUPLICATE;
                ret->last.error_text = arena_str(a, STR("its unique key is held by job "
                                                        "01890a5d-ac96-774b-bcce-b302099a8057"));
        }
        if (j->state == STATE_DEAD) {
                ret->reason = REASON_EXHAUSTED;
                ret->last = (struct attempt_row){
                    .attempt = 2,
                    .claim = 2,
                    .error = ERROR_CRASHED,
                    .error_text = arena_str(a, STR("signal 11 \x1b[31m\xff\n\"x\"")),
                    .holder = 0xfedcba9876543210,
                    .worker_pid = 7,
                    .fingerprint = 0xab,
                    .started_us = 1700000000000001};
                ret->attempts = arena_zalloc(a, sizeof *ret->attempts);
                ret->attempts[0] = ret->last;
                ret->attempts[0].attempt = 1;
                ret->n_attempts = 1;
        }
}

static void answer_show(struct fake *f, struct ledger_batch *b)
{
        struct ledger_show *s = LEDGER_AS(show, SHOW, b);
        const struct fake_job *j =
            s->key.set ? find_key(f, s->queue, &s->key) : find_job(f, &s->id);
        s->found = j != NULL;
        if (j) {
                fill_row(&b->arena, j, &s->row);
        }
}

static bool has_error(const struct ledger_list *l, const struct fake_job *j)
{
        bool dead = j->state == STATE_DEAD;
        return (!l->fingerprint || (dead && l->fingerprint == 0xab)) &&
               (!l->error || (dead && l->error == ERROR_CRASHED));
}

static bool listed(const struct ledger_list *l, const struct fake_job *j)
{
        char tag[80];
        int n = snprintf(tag, sizeof tag, ",%.*s,", (int)l->tag.n, l->tag.p);
        return (l->state < 0 || l->state == (int)j->state) &&
               (!l->queue.n || str_eq(l->queue, j->row.queue)) &&
               (!l->type.n || str_eq(l->type, j->row.type)) && has_error(l, j) &&
               (!l->tag.n ||
                (j->row.tags.n && memmem(j->row.tags.p, j->row.tags.n, tag, (size_t)n))) &&
               (!l->has_before || memcmp(j->row.id.b, l->before.b, 16) < 0);
}

static void answer_list(struct fake *f, struct ledger_batch *b)
{
        struct ledger_list *l = LEDGER_AS(list, LIST, b);
        l->rows = arena_zalloc(&b->arena, l->limit * sizeof *l->rows);
        for (uint32_t i = f->n; i > 0; i--) {
                if (!listed(l, &f->jobs[i - 1])) {
                        continue;
                }
                if (l->n == l->limit) {
                        l->more = true;
                        return;
                }
                fill_row(&b->arena, &f->jobs[i - 1], &l->rows[l->n++]);
        }
}

static void answer_cancel(struct fake *f, struct api_request *r)
{
        r->batch = ledger_batch_new(LEDGER_CANCEL);
        struct ledger_cancel *c = LEDGER_AS(cancel, CANCEL, r->batch);
        struct fake_job *j = find_job(f, &r->id);
        c->state = j ? j->state : STATE_NONE;
        c->result = !j                          ? CANCEL_NOT_FOUND
                    : state_terminal(j->state)  ? CANCEL_TERMINAL
                    : j->state == STATE_RUNNING ? CANCEL_ASKED
                                                : CANCEL_DONE;
        if (c->result == CANCEL_DONE) {
                j->state = STATE_CANCELLED;
        }
}

static void answer_requeue(struct fake *f, struct api_request *r)
{
        static const enum requeue_result results[] = {
            [STATE_SCHEDULED] = REQUEUE_NOW,     [STATE_RETRYING] = REQUEUE_NOW,
            [STATE_PENDING] = REQUEUE_UNCHANGED, [STATE_RUNNING] = REQUEUE_REFUSED,
            [STATE_COMPLETED] = REQUEUE_REFUSED, [STATE_DEAD] = REQUEUE_DONE,
            [STATE_CANCELLED] = REQUEUE_DONE,
        };
        r->batch = ledger_batch_new(LEDGER_REQUEUE);
        struct ledger_requeue *q = LEDGER_AS(requeue, REQUEUE, r->batch);
        struct fake_job *j = find_job(f, &r->id);
        q->state = j ? j->state : STATE_NONE;
        q->result = j ? results[j->state] : REQUEUE_NOT_FOUND;
        if (q->result == REQUEUE_DONE || q->result == REQUEUE_NOW) {
                j->state = STATE_PENDING;
                j->generation += q->result == REQUEUE_DONE;
        }
}

static void answer_text(struct api_request *r, const char *text)
{
        r->text = arena_str(&r->arena, str_of(text));
        r->status = 200;
}

/* A wait ends with the job's completion, which comes at once here. */
static void answer_wait(struct fake *f, struct api_request *r)
{
        struct fake_job *j = find_job(f, &r->id);
        if (j && !state_terminal(j->state)) {
                j->state = STATE_COMPLETED;
        }
        r->batch = ledger_batch_new(LEDGER_SHOW);
        LEDGER_AS(show, SHOW, r->batch)->id = r->id;
        answer_show(f, r->batch);
}

/* Under the lock. */
static void work(struct fake *f, struct api_request *r)
{
        if (f->unavailable) {
                r->unavailable = true;
                r->status = 503;
                snprintf(r->note, sizeof r->note, "the ledger does not answer");
                return;
        }
        if (fake_operate(f, r)) {
                return;
        }
        switch (r->kind) {
        case API_SUBMIT: answer_submit(f, r->submission); break;
        case API_READ:
                if (r->batch->op == LEDGER_LIST) {
                        answer_list(f, r->batch);
                } else {
                        answer_show(f, r->batch);
                }
                break;
        case API_CANCEL: answer_cancel(f, r); break;
        case API_REQUEUE: answer_requeue(f, r); break;
        case API_WAIT: answer_wait(f, r); break;
        case API_HANDLERS: answer_text(r, "{\"handlers\":[]}"); break;
        case API_WORKERS: answer_text(r, "{\"workers\":[]}"); break;
        case API_DOCTOR:
        case API_STATS: answer_text(r, "{\"queues\":[]}"); break;
        case API_METRICS: answer_text(r, "skep_build_info 1\n"); break;
        case API_READY: answer_text(r, "{\"ready\":true}"); break;
        default: assert(false);
        }
}

static void *run(void *arg)
{
        struct fake *f = arg;
        pthread_mutex_lock(&f->lock);
        for (;;) {
                if (f->first && !f->hold) {
                        struct api_request *r = f->first;
                        f->first = r->next;
                        f->last = f->first ? f->last : NULL;
                        work(f, r);
                        struct http *h = f->http;
                        pthread_mutex_unlock(&f->lock);
                        http_answer(h, r);
                        pthread_mutex_lock(&f->lock);
                } else if (f->quit) {
                        break;
                } else {
                        pthread_cond_wait(&f->changed, &f->lock);
                }
        }
        pthread_mutex_unlock(&f->lock);
        return NULL;
}

static bool post(void *ctx, struct api_request *r)
{
        struct fake *f = ctx;
        pthread_mutex_lock(&f->lock);
        bool taken = !f->refuse;
        bool at_once = taken && f->at_once;
        f->seen += taken;
        if (at_once) {
                work(f, r);
        } else if (taken) {
                r->next = NULL;
                *(f->last ? &f->last->next : &f->first) = r;
                f->last = r;
        }
        struct http *h = f->http;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        if (at_once) {
                http_answer(h, r);
        }
        return taken;
}

static void fill_config(struct fake *f)
{
        static struct str email[] = {{"email.>", 7}};
        config_init(&f->config);
        f->config.queues = arena_zalloc(&f->config.arena, 2 * sizeof *f->config.queues);
        f->config.queues[0] = (struct queue_config){.name = STR("default"),
                                                    .priority = 5,
                                                    .max_waiting = 50,
                                                    .retry = RETRY_POLICY_DEFAULT};
        f->config.queues[1] = (struct queue_config){.name = STR("email"),
                                                    .transport = STR("rabbit"),
                                                    .types = email,
                                                    .n_types = 1,
                                                    .priority = 7,
                                                    .retry = RETRY_POLICY_DEFAULT};
        f->config.queues[1].retry.max_attempts = 5;
        f->config.n_queues = 2;
}

static void write_tokens(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert(fd >= 0);
        dprintf(fd, "# who may\n\n  " FAKE_TOKEN "  \nanother-token-of-the-file\n");
        close(fd);
}

void fake_start(struct fake *f, bool tcp, uint32_t max_waiting, uint32_t head_timeout_ms)
{
        char note[512] = "";
        const char *tmp = getenv("TMPDIR");
        *f = (struct fake){0};
        snprintf(f->dir, sizeof f->dir, "%s/skep-http-XXXXXX",
                 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
        assert(mkdtemp(f->dir));
        snprintf(f->socket, sizeof f->socket, "%s/s", f->dir);
        snprintf(f->tokens, sizeof f->tokens, "%s/tokens", f->dir);
        write_tokens(f->tokens);
        fill_config(f);
        fake_operate_start(f);
        pthread_mutex_init(&f->lock, NULL);
        pthread_cond_init(&f->changed, NULL);
        struct http_options o = {.socket = str_of(f->socket),
                                 .listen = tcp ? STR("127.0.0.1:0") : STR(""),
                                 .token_file = str_of(f->tokens),
                                 .post = post,
                                 .ctx = f,
                                 .config = &f->config,
                                 .max_waiting = max_waiting,
                                 .head_timeout_ms = head_timeout_ms};
        struct http *h;
        int r = http_start(&o, &h, note, sizeof note);
        if (r) {
                fprintf(stderr, "http_start: %d %s\n", r, note);
                abort();
        }
        pthread_mutex_lock(&f->lock);
        f->http = h;
        f->port = http_port(h);
        pthread_mutex_unlock(&f->lock);
        pthread_create(&f->thread, NULL, run, f);
}

void fake_stop_http(struct fake *f)
{
        http_stop(f->http);
        f->http_stopped = true;
}

static void end_daemon(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        f->quit = true;
        f->hold = false;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
        config_deinit(&f->config);
        arena_deinit(&f->arena);
        free(f->jobs);
        unlink(f->tokens);
        rmdir(f->dir);
        pthread_mutex_destroy(&f->lock);
        pthread_cond_destroy(&f->changed);
}

void fake_stop(struct fake *f)
{
        if (!f->http_stopped) {
                fake_stop_http(f);
        }
        end_daemon(f);
}

void fake_set(struct fake *f, bool *flag, bool value)
{
        pthread_mutex_lock(&f->lock);
        *flag = value;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
}

void fake_await(struct fake *f, uint32_t seen)
{
        pthread_mutex_lock(&f->lock);
        while (f->seen < seen) {
                pthread_cond_wait(&f->changed, &f->lock);
        }
        pthread_mutex_unlock(&f->lock);
}

uint32_t fake_jobs(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        uint32_t n = f->n;
        pthread_mutex_unlock(&f->lock);
        return n;
}

struct job_id fake_job(struct fake *f, uint32_t i)
{
        pthread_mutex_lock(&f->lock);
        struct job_id id = f->jobs[i].row.id;
        pthread_mutex_unlock(&f->lock);
        return id;
}

void fake_make_state(struct fake *f, uint32_t i, enum job_state s)
{
        pthread_mutex_lock(&f->lock);
        f->jobs[i].state = s;
        pthread_mutex_unlock(&f->lock);
}
