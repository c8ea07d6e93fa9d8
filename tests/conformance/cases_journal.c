/*
 * ARRIVE, the journal: a letter without a key is recognised when the broker brings it again, one to
 * one, as soon as it is sure that its first delivery was not acknowledged.
 */
#include "tests/conformance/bed.h"

#define MINUTE (60 * SECOND)

static struct arrival keyless(struct bed *bed, uint64_t fingerprint, bool redelivered)
{
        struct arrival a = bed_letter(bed);
        a.fingerprint = fingerprint;
        a.redelivered = redelivered;
        return a;
}

/* Arrives, and returns the number under which its journal stands. */
static struct commit_no arrive(struct bed *bed, struct arrival *items, uint32_t n)
{
        struct ledger_arrive *b = bed_arrive(bed, items, n);
        bed_must(bed, &b->base);
        memcpy(items, b->list->items, n * sizeof *items);
        struct commit_no no = b->base.no;
        bed_arrive_free(b);
        return no;
}

static void tell(struct bed *bed, struct commit_no *acknowledged, uint32_t n_acknowledged,
                 struct commit_no *lost, uint32_t n_lost)
{
        struct ledger_arrive *b = bed_arrive(bed, NULL, 0);
        b->acknowledged = acknowledged;
        b->n_acknowledged = n_acknowledged;
        b->lost = lost;
        b->n_lost = n_lost;
        bed_must(bed, &b->base);
        CU_ASSERT(!b->undecided);
        bed_arrive_free(b);
}

static void acknowledge(struct bed *bed, struct commit_no *of, uint32_t n)
{
        tell(bed, of, n, NULL, 0);
}

static void lose(struct bed *bed, struct commit_no no)
{
        tell(bed, NULL, 0, &no, 1);
}

enum fate { NEW_JOB, KNOWN_JOB, UNDECIDED };

/* The letter comes again. at: where its entry stands, given up with this; then where it stands now.
 * NULL: nothing is said of earlier deliveries. */
static enum fate again(struct bed *bed, uint64_t fingerprint, const struct job_id *wanted,
                       struct commit_no *at)
{
        struct arrival a = keyless(bed, fingerprint, true);
        struct ledger_arrive *b = bed_arrive(bed, &a, 1);
        b->lost = at;
        b->n_lost = at != NULL;
        enum fate fate = UNDECIDED;
        if (bed_do(bed, &b->base) == LEDGER_COMMITTED) {
                bool known = b->list->items[0].result == ARRIVAL_KNOWN;
                fate = known ? KNOWN_JOB : NEW_JOB;
                CU_ASSERT(b->known == known && !b->undecided);
                CU_ASSERT(!known || (wanted && job_id_eq(&b->list->items[0].row.existing, wanted)));
        } else {
                CU_ASSERT(b->base.outcome == LEDGER_REFUSED && b->undecided);
                CU_ASSERT(b->base.note[0] != '\0' && b->got->n == 0);
        }
        CU_ASSERT(bed_state(bed, &a.row.id) == (fate == NEW_JOB ? STATE_RUNNING : STATE_NONE));
        if (at) {
                *at = b->base.no;
        }
        bed_arrive_free(b);
        return fate;
}

/* --- one to one ------------------------------------------------------------------------------- */

static void recognises_a_redelivered_letter(void)
{
        struct bed *bed = bed_new();
        struct arrival first[] = {keyless(bed, 11, false), keyless(bed, UINT64_MAX, false)};
        struct commit_no at = arrive(bed, first, 2);
        for (int i = 0; i < 3; i++) { /* however often it comes */
                CU_ASSERT(again(bed, 11, &first[0].row.id, &at) == KNOWN_JOB);
        }
        CU_ASSERT(again(bed, UINT64_MAX, &first[1].row.id, NULL) == KNOWN_JOB);
        CU_ASSERT(again(bed, 13, NULL, NULL) == NEW_JOB); /* never seen */
        bed_free(bed);
}

static void only_what_is_redelivered(void)
{
        struct bed *bed = bed_new();
        struct arrival first = keyless(bed, 11, false), equal = keyless(bed, 11, false);
        struct arrival plain = keyless(bed, 0, true); /* without a fingerprint: not asked */
        CU_ASSERT(bed_arrive_one(bed, &first) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_arrive_one(bed, &equal) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_arrive_one(bed, &plain) == ARRIVAL_TAKEN);
        CU_ASSERT(bed_arrive_one(bed, &(struct arrival){.kind = ARRIVAL_MARK}) == ARRIVAL_TAKEN);
        bed_free(bed);
}

static void with_two_entries_it_is_a_new_job(void)
{
        struct bed *bed = bed_new();
        struct arrival equal[] = {keyless(bed, 11, false), keyless(bed, 11, false)};
        lose(bed, arrive(bed, equal, 2));
        struct arrival third = keyless(bed, 11, true);
        struct ledger_arrive *b = bed_arrive(bed, &third, 1);
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_TAKEN && b->ambiguous == 1 && b->known == 0);
        CU_ASSERT(bed_state(bed, &third.row.id) == STATE_RUNNING);
        bed_arrive_free(b);
        bed_free(bed);
}

/* Equal letters in two batches: as many entries, until one is acknowledged. */
static void entries_of_all_batches_count(void)
{
        struct bed *bed = bed_new();
        struct arrival one = keyless(bed, 11, false), two = keyless(bed, 11, false);
        struct commit_no first = arrive(bed, &one, 1), second = arrive(bed, &two, 1);
        struct arrival third = keyless(bed, 11, true);
        struct ledger_arrive *b = bed_arrive(bed, &third, 1);
        b->acknowledged = &first; /* both are heard before it looks */
        b->lost = &second;
        b->n_acknowledged = b->n_lost = 1;
        bed_must(bed, &b->base);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_KNOWN && b->ambiguous == 0);
        CU_ASSERT(job_id_eq(&b->list->items[0].row.existing, &two.row.id));
        bed_arrive_free(b);
        bed_free(bed);
}

/* An entry answers one letter of a batch: two equal letters came, and one job is there. */
static void one_entry_answers_one_letter(void)
{
        struct bed *bed = bed_new();
        struct arrival first = keyless(bed, 11, false);
        lose(bed, arrive(bed, &first, 1));
        struct arrival both[] = {keyless(bed, 11, true), keyless(bed, 11, true)};
        struct ledger_arrive *b = bed_arrive(bed, both, 2);
        bed_must(bed, &b->base);
        CU_ASSERT(b->known == 1 && b->ambiguous == 0);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_KNOWN);
        CU_ASSERT(job_id_eq(&b->list->items[0].row.existing, &first.row.id));
        CU_ASSERT(b->list->items[1].result == ARRIVAL_TAKEN);
        CU_ASSERT(bed_state(bed, &both[1].row.id) == STATE_RUNNING);
        bed_arrive_free(b);
        bed_free(bed);
}

/* What this very batch writes down is no answer to it. */
static void a_batch_does_not_answer_itself(void)
{
        struct bed *bed = bed_new();
        struct arrival items[] = {keyless(bed, 11, false), keyless(bed, 11, true)};
        struct ledger_arrive *b = bed_arrive(bed, items, 2);
        bed_must(bed, &b->base);
        CU_ASSERT(b->known == 0 && b->ambiguous == 0);
        CU_ASSERT(b->list->items[1].result == ARRIVAL_TAKEN);
        bed_arrive_free(b);
        bed_free(bed);
}

static void an_entry_moves_to_the_batch_that_it_answered(void)
{
        struct bed *bed = bed_new();
        struct arrival first[] = {keyless(bed, 11, false), keyless(bed, 12, false)};
        struct commit_no a = arrive(bed, first, 2), at = a;
        CU_ASSERT(again(bed, 11, &first[0].row.id, &at) == KNOWN_JOB);
        acknowledge(bed, &a, 1);
        CU_ASSERT(again(bed, 12, NULL, NULL) == NEW_JOB); /* stayed, and is forgotten */
        struct commit_no b = at;
        CU_ASSERT(again(bed, 11, &first[0].row.id, &at) == KNOWN_JOB);
        acknowledge(bed, &b, 1); /* empty by now */
        CU_ASSERT(again(bed, 11, &first[0].row.id, &at) == KNOWN_JOB);
        acknowledge(bed, &at, 1);
        CU_ASSERT(again(bed, 11, NULL, NULL) == NEW_JOB);
        bed_free(bed);
}

static void what_is_acknowledged_is_forgotten(void)
{
        struct bed *bed = bed_new();
        struct arrival one = keyless(bed, 11, false), two = keyless(bed, 12, false),
                       three = keyless(bed, 13, false);
        struct commit_no done[] = {
            arrive(bed, &one, 1), arrive(bed, &two, 1), {bed->holder, LANE_CLAIMS, 999999}};
        struct commit_no kept = arrive(bed, &three, 1);
        tell(bed, done, 3, &kept, 1);
        tell(bed, done, 3, &kept, 1); /* twice does no harm */
        tell(bed, NULL, 0, done, 3);
        CU_ASSERT(again(bed, 11, NULL, NULL) == NEW_JOB);
        CU_ASSERT(again(bed, 12, NULL, NULL) == NEW_JOB);
        CU_ASSERT(again(bed, 13, &three.row.id, NULL) == KNOWN_JOB);
        bed_free(bed);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void waits_until_the_first_delivery_is_over(void)
{
        struct bed *bed = bed_new();
        struct arrival first = keyless(bed, 11, false);
        struct commit_no at = arrive(bed, &first, 1);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED);
        CU_ASSERT(again(bed, 11, &first.row.id, &at) == KNOWN_JOB);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED); /* that one is not over yet */
        acknowledge(bed, &at, 1);
        CU_ASSERT(again(bed, 11, NULL, NULL) == NEW_JOB); /* an equal letter */
        bed_free(bed);
}

/* Two entries, one of which is over: the letter may be the other. */
static void waits_for_all_of_several(void)
{
        struct bed *bed = bed_new();
        struct arrival one = keyless(bed, 11, false), two = keyless(bed, 11, false);
        struct commit_no first = arrive(bed, &one, 1), second = arrive(bed, &two, 1);
        lose(bed, first);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED);
        acknowledge(bed, &second, 1);
        CU_ASSERT(again(bed, 11, &one.row.id, NULL) == KNOWN_JOB);
        bed_free(bed);
}

static void another_node_waits_too(void)
{
        struct bed *bed = bed_new(), *other = bed_join(bed, 102);
        struct arrival first = keyless(bed, 11, false);
        struct commit_no at = arrive(bed, &first, 1);
        CU_ASSERT(again(other, 11, NULL, NULL) == UNDECIDED);
        lose(bed, at);
        CU_ASSERT(again(other, 11, &first.row.id, NULL) == KNOWN_JOB);
        bed_free(other);
        bed_free(bed);
}

/* Nothing of a batch that waits is written; posted again as it is, it is answered. */
static void what_waits_writes_nothing(void)
{
        struct bed *bed = bed_new();
        struct arrival one = keyless(bed, 11, false), two = keyless(bed, 12, false),
                       three = keyless(bed, 13, false);
        struct commit_no at = arrive(bed, &one, 1), done = arrive(bed, &two, 1),
                         gone = arrive(bed, &three, 1);
        struct job_id bell = bed_add_broker(bed);
        struct arrival items[] = {keyless(bed, 14, false), bed_doorbell(&bell, true),
                                  keyless(bed, 11, true)};
        struct ledger_arrive *b = bed_arrive(bed, items, 3);
        b->acknowledged = &done;
        b->lost = &gone;
        b->n_acknowledged = b->n_lost = 1;
        CU_ASSERT(bed_do(bed, &b->base) == LEDGER_REFUSED && b->undecided && b->got->n == 0);
        CU_ASSERT(bed_state(bed, &items[0].row.id) == STATE_NONE);
        CU_ASSERT(bed_show(bed, &bell)->band == BAND_BROKER);
        CU_ASSERT(again(bed, 12, NULL, NULL) == UNDECIDED); /* neither forgotten */
        CU_ASSERT(again(bed, 13, NULL, NULL) == UNDECIDED); /* nor given up */
        lose(bed, at);
        bed_must(bed, &b->base);
        CU_ASSERT(!b->undecided && b->got->n == 1 && b->known == 1);
        CU_ASSERT(b->list->items[0].result == ARRIVAL_TAKEN);
        CU_ASSERT(job_id_eq(&b->list->items[2].row.existing, &one.row.id));
        CU_ASSERT(again(bed, 12, NULL, NULL) == NEW_JOB);
        CU_ASSERT(again(bed, 13, &three.row.id, NULL) == KNOWN_JOB);
        bed_arrive_free(b);
        bed_free(bed);
}

static void what_waits_leaves_its_neighbours(void)
{
        struct bed *bed = bed_new();
        struct arrival first = keyless(bed, 11, false), next = keyless(bed, 11, true),
                       before = keyless(bed, 12, false), after = keyless(bed, 13, true);
        (void)arrive(bed, &first, 1);
        struct ledger_arrive *b[] = {bed_arrive(bed, &before, 1), bed_arrive(bed, &next, 1),
                                     bed_arrive(bed, &after, 1)};
        for (int i = 0; i < 3; i++) {
                bed_post(bed, &b[i]->base);
        }
        for (int i = 0; i < 3; i++) {
                bed_wait(bed, &b[i]->base);
                CU_ASSERT(b[i]->base.outcome == (i == 1 ? LEDGER_REFUSED : LEDGER_COMMITTED));
                CU_ASSERT(b[i]->undecided == (i == 1));
                bed_arrive_free(b[i]);
        }
        CU_ASSERT(bed_state(bed, &before.row.id) == STATE_RUNNING);
        CU_ASSERT(bed_state(bed, &next.row.id) == STATE_NONE);
        CU_ASSERT(bed_state(bed, &after.row.id) == STATE_RUNNING);
        bed_free(bed);
}

/* --- whose, for how long ---------------------------------------------------------------------- */

static void queues_have_journals_of_their_own(void)
{
        struct bed *bed = bed_new();
        struct arrival there = keyless(bed, 11, false), next = keyless(bed, 11, true);
        there.row.queue = next.row.queue = STR("q2");
        struct ledger_arrive *b = bed_arrive(bed, &there, 1), *c = bed_arrive(bed, &next, 1);
        b->queue = c->queue = STR("q2");
        bed_must(bed, &b->base);
        CU_ASSERT(again(bed, 11, NULL, NULL) == NEW_JOB);
        c->lost = &b->base.no;
        c->n_lost = 1;
        bed_must(bed, &c->base);
        CU_ASSERT(c->list->items[0].result == ARRIVAL_KNOWN && c->known == 1);
        CU_ASSERT(job_id_eq(&c->list->items[0].row.existing, &there.row.id));
        bed_arrive_free(b);
        bed_arrive_free(c);
        bed_free(bed);
}

/* Whatever the letter became: its dead row is found again, and is not written twice. */
static void dead_letters_are_written_down_too(void)
{
        struct bed *bed = bed_new();
        static char long_type[300];
        memset(long_type, 'x', sizeof long_type);
        struct submit_row taken = bed_row(bed);
        taken.key = key_from_text(STR("k"));
        CU_ASSERT(bed_add(bed, &taken) == SUBMIT_CREATED);
        struct arrival a[3];
        for (int i = 0; i < 3; i++) {
                a[i] = keyless(bed, 11 + (uint64_t)i, false);
        }
        a[0].start = false;
        a[0].row.state = STATE_DEAD;
        a[0].row.reason = REASON_MALFORMED;
        a[1].row.key = taken.key;
        a[1].row.payload = STR("another");
        a[2].row.type = (struct str){long_type, sizeof long_type};
        lose(bed, arrive(bed, a, 3));
        CU_ASSERT(a[0].result == ARRIVAL_TAKEN && a[1].result == ARRIVAL_CONFLICT);
        CU_ASSERT(a[2].result == ARRIVAL_UNSTORABLE);
        for (int i = 0; i < 3; i++) {
                struct arrival next = a[i];
                next.redelivered = true;
                next.row.id = id_mint(&bed->mint, fixture->now_us(bed->store));
                CU_ASSERT(bed_arrive_one(bed, &next) == ARRIVAL_KNOWN);
                CU_ASSERT(job_id_eq(&next.row.existing, &a[i].row.id));
                CU_ASSERT(bed_state(bed, &next.row.id) == STATE_NONE);
        }
        bed_free(bed);
}

/* The redelivery goes to another node: what the dead one wrote down stands, and is over. */
static void outlives_its_node(void)
{
        struct bed *bed = bed_new();
        struct arrival first[] = {keyless(bed, 11, false), keyless(bed, 12, false)};
        struct ledger_arrive *b = bed_arrive(bed, first, 2);
        bed_must(bed, &b->base);
        for (int i = 0; i < 2; i++) {
                struct finish_row v = {.id = first[i].row.id,
                                       .claim = 1,
                                       .token = b->token,
                                       .to = STATE_COMPLETED,
                                       .attempt = 1};
                CU_ASSERT(bed_finish_one(bed, v));
        }
        uint64_t victim = bed->holder;
        bed->holder = 500;
        CU_ASSERT(bed_register(bed) == LEDGER_COMMITTED);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED);
        CU_ASSERT(bed_bury(bed, victim, 0, true, false));
        CU_ASSERT(again(bed, 11, &first[0].row.id, NULL) == KNOWN_JOB);
        CU_ASSERT(bed_bury(bed, victim, 0, false, true));
        CU_ASSERT(again(bed, 12, &first[1].row.id, NULL) == KNOWN_JOB);
        CU_ASSERT(again(bed, 12, NULL, NULL) == UNDECIDED); /* ours by now */
        bed_arrive_free(b);
        bed_free(bed);
}

static void outlives_its_handle(void)
{
        struct bed *bed = bed_new();
        struct arrival first = keyless(bed, 11, false), second = keyless(bed, 12, false);
        struct commit_no at = arrive(bed, &first, 1);
        lose(bed, arrive(bed, &second, 1));
        bed_reopen(bed);
        CU_ASSERT(again(bed, 12, &second.row.id, NULL) == KNOWN_JOB);
        CU_ASSERT(again(bed, 11, NULL, NULL) == UNDECIDED);
        CU_ASSERT(again(bed, 11, &first.row.id, &at) == KNOWN_JOB);
        bed_free(bed);
}

static void fold(struct bed *bed)
{
        struct ledger_fold *b = NEW(fold, FOLD);
        bed_must(bed, &b->base);
        ledger_batch_free(&b->base);
}

static void is_forgotten_after_an_hour(void)
{
        struct bed *bed = bed_new();
        struct arrival old = keyless(bed, 11, false), young = keyless(bed, 12, false);
        (void)arrive(bed, &old, 1);
        fixture->advance(bed->store, 50 * MINUTE);
        struct commit_no at = arrive(bed, &young, 1);
        fold(bed);
        fixture->advance(bed->store, 20 * MINUTE);
        fold(bed);
        CU_ASSERT(again(bed, 11, NULL, NULL) == NEW_JOB);
        CU_ASSERT(again(bed, 12, &young.row.id, &at) == KNOWN_JOB);
        bed_free(bed);
}

static void stands_or_falls_with_its_batch(void)
{
        static const enum fixture_fault faults[] = {FAULT_UNKNOWN_LOST, FAULT_UNKNOWN_WRITTEN};
        for (int i = 0; i < 2; i++) {
                struct bed *bed = bed_new();
                struct arrival first = keyless(bed, 11, false);
                struct ledger_arrive *b = bed_arrive(bed, &first, 1);
                fixture->fail_next(bed->store, faults[i]);
                CU_ASSERT(bed_do(bed, &b->base) == LEDGER_UNKNOWN);
                CU_ASSERT(bed_resolve(bed, b->base.no) == (i == 1));
                struct commit_no at = b->base.no;
                enum fate wanted = i == 1 ? KNOWN_JOB : NEW_JOB;
                CU_ASSERT(again(bed, 11, &first.row.id, &at) == wanted);
                bed_arrive_free(b);
                bed_free(bed);
        }
}

/* --- those that need no journal --------------------------------------------------------------- */

/* A letter without an id that can be read has the broker's own name for a key: dead as it is, it
 * leaves one row, however often it is delivered, and after an operator took it up. */
static void a_dead_letter_is_known_by_its_key(void)
{
        struct bed *bed = bed_new();
        static const enum job_reason reasons[] = {REASON_MALFORMED, REASON_TOO_LARGE,
                                                  REASON_EXPIRED};
        struct arrival items[2 * ARRAY_LEN(reasons)];
        for (size_t i = 0; i < ARRAY_LEN(items); i++) { /* in pairs */
                struct submit_row *r = &items[i].row;
                items[i] = bed_letter(bed);
                items[i].start = false;
                r->key = (struct job_key){.set = true, .b = {(uint8_t)(1 + i / 2)}};
                r->state = STATE_DEAD;
                r->reason = reasons[i / 2];
                r->error_text = STR("why");
                r->payload = r->reason == REASON_TOO_LARGE ? STR("") : r->payload;
        }
        struct ledger_arrive *b = bed_arrive(bed, items, ARRAY_LEN(items));
        bed_must(bed, &b->base);
        CU_ASSERT(b->known == ARRAY_LEN(reasons) && b->conflicts + b->unstorable == 0);
        for (size_t i = 0; i < ARRAY_LEN(items); i += 2) {
                const struct arrival *two = b->list->items + i;
                CU_ASSERT(two[0].result == ARRIVAL_TAKEN && two[1].result == ARRIVAL_KNOWN);
                CU_ASSERT(job_id_eq(&two[1].row.existing, &items[i].row.id));
                CU_ASSERT(bed_show(bed, &items[i].row.id)->reason == reasons[i / 2]);
                CU_ASSERT(bed_state(bed, &items[i + 1].row.id) == STATE_NONE);
        }
        bed_arrive_free(b);
        struct ledger_requeue *again = NEW(requeue, REQUEUE);
        again->id = items[0].row.id;
        bed_must(bed, &again->base);
        CU_ASSERT(again->result == REQUEUE_DONE);
        ledger_batch_free(&again->base);
        items[1].redelivered = true;
        CU_ASSERT(bed_arrive_one(bed, &items[1]) == ARRIVAL_KNOWN);
        CU_ASSERT(items[1].row.existing_state == STATE_PENDING);
        bed_free(bed);
}

CASES(cases_journal, {"recognises a redelivered letter", recognises_a_redelivered_letter, 0},
      {"only what is redelivered is looked for", only_what_is_redelivered, 0},
      {"with two entries it is a new job", with_two_entries_it_is_a_new_job, 0},
      {"entries of all batches count", entries_of_all_batches_count, 0},
      {"one entry answers one letter", one_entry_answers_one_letter, 0},
      {"a batch does not answer itself", a_batch_does_not_answer_itself, 0},
      {"an entry moves to the batch that it answered", an_entry_moves_to_the_batch_that_it_answered,
       0},
      {"what is acknowledged is forgotten", what_is_acknowledged_is_forgotten, 0},
      {"waits until the first delivery is over", waits_until_the_first_delivery_is_over, 0},
      {"waits for all of several", waits_for_all_of_several, 0},
      {"another node waits too", another_node_waits_too, NEED_SHARE},
      {"what waits writes nothing", what_waits_writes_nothing, 0},
      {"what waits leaves its neighbours", what_waits_leaves_its_neighbours, 0},
      {"queues have journals of their own", queues_have_journals_of_their_own, 0},
      {"dead letters are written down too", dead_letters_are_written_down_too, 0},
      {"outlives its node", outlives_its_node, 0},
      {"outlives its handle", outlives_its_handle, NEED_REOPEN},
      {"is forgotten after an hour", is_forgotten_after_an_hour, 0},
      {"stands or falls with its batch", stands_or_falls_with_its_batch, NEED_FAULT},
      {"a dead letter is known by its key", a_dead_letter_is_known_by_its_key, 0});
