/*
 * Every wait is a loop of rounds with a limit far above what the seam promises: a case fails
 * because something never came, not because it came late.
 */
#include "tests/conformance/transport_bed.h"

#include <inttypes.h>

#define PATIENCE_NS  (120 * NS_PER_S)
#define ROUND_NS     (100 * NS_PER_MS)
#define SENT_AT_ONCE 500

/* --- life ------------------------------------------------------------------------------------- */

static void die(const char *why)
{
        fprintf(stderr, "%s: %s\n", fixture->name, why);
        exit(1);
}

static void *grown(void *p, uint32_t n, uint32_t *capacity, size_t size)
{
        if (n < *capacity) {
                return p;
        }
        *capacity = *capacity ? *capacity * 2 : 64;
        p = realloc(p, *capacity * size);
        if (!p) {
                die("out of memory");
        }
        return p;
}

struct bed *bed_new(void)
{
        struct bed *bed = calloc(1, sizeof *bed);
        if (!bed) {
                die("out of memory");
        }
        bed->store = fixture->setup();
        bed->types[0] = STR("mail.>");
        bed->types[1] = STR("text.>");
        for (uint32_t i = 0; i < 2; i++) {
                bed->queues[i] = (struct queue_config){
                    .name = fixture->queue(bed->store, i == Q ? "q" : "r"),
                    .types = &bed->types[i],
                    .n_types = 1,
                    .default_type = i == Q ? STR("mail.default") : STR("text.default"),
                    .priority = 5,
                    .retry = {.max_attempts = 3},
                };
        }
        (void)bed_open(bed);
        return bed;
}

uint32_t bed_open(struct bed *bed)
{
        char note[256] = "";
        CU_ASSERT_FATAL(bed->n_ts < BED_TRANSPORTS);
        if (fixture->open(bed->store, &bed->ts[bed->n_ts], note, sizeof note) < 0) {
                die(note);
        }
        return bed->n_ts++;
}

static void drop_receipt(struct bed *bed, uint32_t transport, struct arrivals *batch)
{
        struct transport *t = bed->ts[transport];
        struct receipt *r = STEAL(batch->receipt);
        if (t && r) {
                t->ops->receipt_free(r);
        }
}

/* What matches leaves the list; batches stay, since others may look at them. */
static void drop_came(struct bed *bed, uint64_t connection, uint32_t transport, bool every)
{
        uint32_t kept = 0;
        for (uint32_t i = 0; i < bed->n; i++) {
                struct came *c = &bed->came[i];
                bool its = c->transport == transport && c->batch->connection == connection &&
                           c->batch->receipt;
                if (every || its) {
                        bed->dropped += its;
                } else {
                        bed->came[kept++] = *c;
                }
        }
        bed->n = kept;
}

static void drop_receipts(struct bed *bed, uint64_t connection, uint32_t transport)
{
        for (uint32_t i = 0; i < bed->n_batches; i++) {
                struct arrivals *a = bed->batches[i];
                if (a->receipt && a->connection == connection) {
                        drop_receipt(bed, transport, a);
                }
        }
}

void bed_close(struct bed *bed, uint32_t transport)
{
        struct transport *t = bed->ts[transport];
        for (uint32_t i = 0; i < bed->n; i++) {
                if (bed->came[i].transport == transport) {
                        drop_receipt(bed, transport, bed->came[i].batch);
                }
        }
        struct receipt **at = &bed->confirmed;
        while (*at && transport == 0) {
                struct receipt *r = *at;
                *at = r->next;
                t->ops->receipt_free(r);
        }
        bed->ts[transport] = t ? t->ops->close(t) : NULL;
}

struct bed *bed_free(struct bed *bed)
{
        for (uint32_t i = 0; i < bed->n_ts; i++) {
                if (bed->ts[i]) {
                        bed_close(bed, i);
                }
        }
        for (uint32_t i = 0; i < bed->n_batches; i++) {
                arrivals_free(bed->batches[i]);
        }
        while (bed->bells) {
                struct doorbells *next = bed->bells->next;
                doorbells_free(bed->bells);
                bed->bells = next;
        }
        while (bed->replies) {
                struct replies *next = bed->replies->next;
                replies_free(bed->replies);
                bed->replies = next;
        }
        fixture->teardown(bed->store);
        free(bed->batches);
        free(bed->came);
        free(bed);
        return NULL;
}

void bed_serve(struct bed *bed, uint32_t transport, uint32_t queues, uint32_t room)
{
        struct transport *t = bed->ts[transport];
        for (uint32_t i = 0; i < queues; i++) {
                t->ops->attach(t, i, &bed->queues[i]);
                t->ops->consume(t, i, room);
        }
        for (int64_t start = fixture->now_ns(bed->store); !bed->up[transport];) {
                bed_turn(bed);
                if (fixture->now_ns(bed->store) - start > PATIENCE_NS) {
                        die("a transport never came up");
                }
        }
}

struct bed *bed_serving(void)
{
        struct bed *bed = bed_new();
        bed_serve(bed, 0, 1, 1000);
        return bed;
}

void bed_consume(struct bed *bed, uint32_t queue, uint32_t room)
{
        bed->ts[0]->ops->consume(bed->ts[0], queue, room);
}

struct str bed_queue(struct bed *bed, uint32_t queue)
{
        return bed->queues[queue].name;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void take_news(struct bed *bed, uint32_t transport, struct transport_news *list)
{
        while (list) {
                struct transport_news *n = list;
                list = n->next;
                bed->news[n->kind]++;
                bed->empty += n->kind == TRANSPORT_EMPTY && n->queue == Q;
                if (n->kind == TRANSPORT_UP || n->kind == TRANSPORT_DOWN) {
                        bed->up[transport] = n->kind == TRANSPORT_UP;
                }
                if (n->kind == TRANSPORT_LOST) {
                        CU_ASSERT(n->connection != 0);
                        bed->lost[bed->news[TRANSPORT_LOST] % ARRAY_LEN(bed->lost)] = n->connection;
                        drop_came(bed, n->connection, transport, false);
                        drop_receipts(bed, n->connection, transport);
                }
                CU_ASSERT(memchr(n->text, 0, sizeof n->text) != NULL);
                free(n);
        }
}

static void take_batch(struct bed *bed, uint32_t transport, struct arrivals *a)
{
        CU_ASSERT(a->n >= 1 && a->n <= a->capacity && a->connection != 0 && a->receipt);
        bed->batches =
            grown(bed->batches, bed->n_batches, &bed->batch_capacity, sizeof *bed->batches);
        bed->batches[bed->n_batches++] = a;
        for (uint32_t i = 0; i < a->n; i++) {
                bed->came = grown(bed->came, bed->n, &bed->capacity, sizeof *bed->came);
                bed->came[bed->n++] =
                    (struct came){.batch = a, .arrival = &a->items[i], .transport = transport};
        }
}

static void take_lists(struct bed *bed, uint32_t transport, struct transport_answers *answers)
{
        take_news(bed, transport, answers->news);
        while (answers->arrivals) {
                struct arrivals *a = answers->arrivals;
                answers->arrivals = a->next;
                a->next = NULL;
                take_batch(bed, transport, a);
        }
        struct doorbells **tail = &bed->bells;
        while (*tail) {
                tail = &(*tail)->next;
        }
        *tail = answers->bells;
        struct replies **end = &bed->replies;
        while (*end) {
                end = &(*end)->next;
        }
        *end = answers->replies;
        while (answers->confirmed) {
                struct receipt *r = answers->confirmed;
                answers->confirmed = r->next;
                CU_ASSERT(r->journalled);
                r->next = bed->confirmed;
                bed->confirmed = r;
                bed->n_confirmed++;
        }
}

static void turn(struct bed *bed, int64_t at_most_ns)
{
        struct transport *open[BED_TRANSPORTS];
        uint32_t n = 0;
        bool some = false;
        for (uint32_t i = 0; i < bed->n_ts; i++) {
                struct transport *t = bed->ts[i];
                if (!t) {
                        continue;
                }
                struct transport_answers answers = {0};
                t->ops->dispatch(t, fixture->now_ns(bed->store), &answers);
                some |= answers.news || answers.arrivals || answers.bells || answers.confirmed ||
                        answers.replies;
                take_lists(bed, i, &answers);
                open[n++] = t;
        }
        if (!some) {
                fixture->wait(bed->store, open, n, at_most_ns);
        }
}

void bed_turn(struct bed *bed)
{
        turn(bed, ROUND_NS);
}

bool bed_until(struct bed *bed, bool (*holds)(struct bed *bed, int64_t of), int64_t of,
               const char *what)
{
        int64_t start = fixture->now_ns(bed->store);
        while (!holds(bed, of)) {
                if (fixture->now_ns(bed->store) - start > PATIENCE_NS) {
                        printf("\nnever: %s (%" PRId64 "); %u arrivals, %u dropped, %u receipts\n",
                               what, of, bed->n, bed->dropped, bed->n_confirmed);
                        CU_FAIL("it never came");
                        return false;
                }
                bed_turn(bed);
        }
        return true;
}

void bed_pass(struct bed *bed, int64_t ms)
{
        int64_t until = fixture->now_ns(bed->store) + ms * NS_PER_MS, left;
        while ((left = until - fixture->now_ns(bed->store)) > 0) {
                turn(bed, left < ROUND_NS ? left : ROUND_NS);
        }
}

static bool holds_came(struct bed *bed, int64_t n)
{
        return bed->n >= (uint64_t)n;
}

bool bed_came(struct bed *bed, uint32_t n)
{
        return bed_until(bed, holds_came, n, "so many arrivals");
}

static bool holds_up(struct bed *bed, int64_t of)
{
        return bed->up[of];
}

bool bed_up(struct bed *bed)
{
        return bed_until(bed, holds_up, 0, "up");
}

static bool holds_told(struct bed *bed, int64_t of)
{
        return bed->news[of >> 32] >= (uint32_t)of;
}

bool bed_told(struct bed *bed, enum transport_news_kind kind, uint32_t n)
{
        return bed_until(bed, holds_told, (int64_t)kind << 32 | n, "so many news of a kind");
}

bool bed_lost(const struct bed *bed, uint64_t connection)
{
        for (size_t i = 0; i < ARRAY_LEN(bed->lost); i++) {
                if (bed->lost[i] == connection) {
                        return true;
                }
        }
        return false;
}

static bool holds_empty(struct bed *bed, int64_t n)
{
        return bed->empty >= (uint64_t)n;
}

bool bed_empty(struct bed *bed, uint32_t n)
{
        return bed_until(bed, holds_empty, n, "so many times empty");
}

static bool holds_confirmed(struct bed *bed, int64_t n)
{
        return bed->n_confirmed >= (uint64_t)n;
}

bool bed_confirmed(struct bed *bed, uint32_t n)
{
        return bed_until(bed, holds_confirmed, n, "so many receipts");
}

static bool holds_ready(struct bed *bed, int64_t of)
{
        return fixture->ready(bed->store, bed_queue(bed, (uint32_t)(of >> 32))) == (int32_t)of;
}

bool bed_ready(struct bed *bed, uint32_t queue, int64_t n)
{
        return bed_until(bed, holds_ready, (int64_t)queue << 32 | (uint32_t)n, "so many waiting");
}

/* --- letters ---------------------------------------------------------------------------------- */

struct envelope bed_letter(const char *address, const char *body)
{
        return (struct envelope){.address = str_of(address), .body = str_of(body), .priority = -1};
}

void bed_publish(struct bed *bed, const struct envelope *letters, uint32_t n)
{
        CU_ASSERT_FATAL(fixture->publish(bed->store, (struct str){0}, letters, n));
}

void bed_send(struct bed *bed, uint32_t first, uint32_t n)
{
        static char bodies[SENT_AT_ONCE][12];
        static struct envelope letters[SENT_AT_ONCE];
        for (uint32_t sent = 0; sent < n;) {
                uint32_t k = 0;
                for (; k < SENT_AT_ONCE && sent < n; k++, sent++) {
                        snprintf(bodies[k], sizeof bodies[k], "%u", first + sent);
                        letters[k] = bed_letter("mail.send", bodies[k]);
                }
                bed_publish(bed, letters, k);
        }
}

uint32_t bed_number(const struct came *c)
{
        char text[16] = "";
        struct str p = c->arrival->row.payload;
        if (p.n && p.n < sizeof text) {
                memcpy(text, p.p, p.n);
        }
        return (uint32_t)strtoul(text, NULL, 10);
}

void bed_check(struct bed *bed, uint32_t from, uint32_t first, uint32_t n)
{
        uint32_t wrong = 0;
        CU_ASSERT_FATAL(from + n <= bed->n);
        for (uint32_t i = 0; i < n; i++) {
                const struct came *c = &bed->came[from + i];
                const struct submit_row *row = &c->arrival->row;
                bool right = c->arrival->kind == ARRIVAL_LETTER && c->batch->queue == Q &&
                             row->state == STATE_PENDING && str_eq(row->type, STR("mail.send")) &&
                             bed_number(c) == first + i;
                if (!right && wrong++ == 0) {
                        printf("\narrival %u is %u, not %u: %.*s %.*s\n", from + i, bed_number(c),
                               first + i, (int)row->type.n, row->type.p, (int)row->error_text.n,
                               row->error_text.p);
                }
        }
        CU_ASSERT(wrong == 0);
}

bool bed_header(const struct arrival *a, const char *name, const char *value)
{
        struct str h = a->row.headers;
        for (uint32_t i = 0; i < h.n;) {
                const char *at = h.p + i, *text = at + strlen(at) + 1;
                if (strcmp(at, name) == 0) {
                        return value && strcmp(text, value) == 0;
                }
                i = (uint32_t)(text + strlen(text) + 1 - h.p);
        }
        return !value;
}

bool bed_same(const struct arrival *a, const struct arrival *b)
{
        const struct job_key *one = &a->row.key, *other = &b->row.key;
        if (one->set || other->set) {
                return one->set && other->set && memcmp(one->b, other->b, sizeof one->b) == 0;
        }
        return a->fingerprint != 0 && a->fingerprint == b->fingerprint;
}

/* --- settling --------------------------------------------------------------------------------- */

static uint32_t transport_of(struct bed *bed, const struct arrivals *batch)
{
        for (uint32_t i = 0; i < bed->n; i++) {
                if (bed->came[i].batch == batch) {
                        return bed->came[i].transport;
                }
        }
        return 0;
}

void bed_settle(struct bed *bed, struct arrivals *batch, bool journalled)
{
        struct transport *t = bed->ts[transport_of(bed, batch)];
        CU_ASSERT_FATAL(batch->receipt != NULL);
        batch->receipt->journalled = journalled;
        t->ops->settle(t, STEAL(batch->receipt));
}

void bed_settle_all(struct bed *bed)
{
        for (uint32_t i = 0; i < bed->n; i++) {
                if (bed->came[i].batch->receipt) {
                        bed_settle(bed, bed->came[i].batch, false);
                }
        }
}

void bed_forget(struct bed *bed)
{
        for (uint32_t i = 0; i < bed->n; i++) {
                drop_receipt(bed, bed->came[i].transport, bed->came[i].batch);
        }
        drop_came(bed, 0, 0, true);
}

/* --- bells ------------------------------------------------------------------------------------ */

struct job_id bed_id(int64_t seq)
{
        struct job_id id = {{1, 0x90, 0xd2, 0xf4, 0x5b, 0x6c, 0x70, 0, 0x80}};
        for (int i = 0; i < 7; i++) {
                id.b[15 - i] = (uint8_t)(seq >> (8 * i));
        }
        return id;
}

struct doorbells *bed_bells(uint32_t queue, int64_t first_seq, uint32_t n)
{
        struct doorbells *d = doorbells_new(n);
        CU_ASSERT_FATAL(d != NULL);
        d->queue = queue;
        d->outbox = first_seq + 7;
        d->n = n;
        for (uint32_t i = 0; i < n; i++) {
                d->items[i] = (struct doorbell){bed_id(first_seq + i), first_seq + i};
        }
        return d;
}

void bed_post(struct bed *bed, struct doorbells *bells)
{
        bed->ts[0]->ops->ring(bed->ts[0], bells);
}

static bool holds_answer(struct bed *bed, int64_t of)
{
        (void)of;
        return bed->bells != NULL;
}

struct doorbells *bed_answer(struct bed *bed)
{
        CU_ASSERT_FATAL(bed_until(bed, holds_answer, 0, "an answer to doorbells"));
        struct doorbells *d = bed->bells;
        bed->bells = d->next;
        d->next = NULL;
        return d;
}

bool bed_ring(struct bed *bed, uint32_t queue, int64_t first_seq, uint32_t n)
{
        bed_post(bed, bed_bells(queue, first_seq, n));
        struct doorbells *d = bed_answer(bed);
        bool confirmed = d->confirmed;
        CU_ASSERT(d->queue == queue && d->outbox == first_seq + 7 && d->n == n);
        doorbells_free(d);
        return confirmed;
}

/* --- replies ---------------------------------------------------------------------------------- */

void bed_reply(struct bed *bed, struct replies *replies)
{
        bed->ts[0]->ops->reply(bed->ts[0], replies);
}

static bool holds_replied(struct bed *bed, int64_t of)
{
        (void)of;
        return bed->replies != NULL;
}

struct replies *bed_replied(struct bed *bed)
{
        CU_ASSERT_FATAL(bed_until(bed, holds_replied, 0, "an answer to replies"));
        struct replies *r = bed->replies;
        bed->replies = r->next;
        r->next = NULL;
        return r;
}
