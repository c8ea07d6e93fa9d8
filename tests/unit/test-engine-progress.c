/*
 * What jobs leave behind while they run: checkpoints, answered once they are durable, and progress,
 * which nobody waits for.
 */
#include "tests/unit/engine-desk.h"

static const struct handler_desc noop = {.pattern = STR("noop"), .timeout_ms = 0};

static void open_two(struct desk *d)
{
        open_desk_with(d, noop, 2, NULL);
        claim_jobs(d, 2); /* one for each worker */
}

static void save(struct desk *d, uint32_t worker, const char *text)
{
        struct engine_event ev = {.kind = EV_SAVE};
        ev.save.worker = worker;
        ev.save.position = 0;
        ev.save.bytes = str_of(text);
        tell(d, ev);
}

static void progress(struct desk *d, uint32_t worker, double done, double total)
{
        struct engine_event ev = {.kind = EV_PROGRESS};
        ev.progress.worker = worker;
        ev.progress.position = 0;
        ev.progress.done = done;
        ev.progress.total = total;
        tell(d, ev);
}

static struct ledger_save *posted_save(struct desk *d)
{
        struct ledger_batch *b = take_posted(d, LEDGER_SAVE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        return LEDGER_AS(save, SAVE, b);
}

static void test_a_checkpoint_is_answered_once_it_is_durable(void)
{
        struct desk d;
        char text[] = "page 17";
        open_two(&d);
        save(&d, 1, text);
        memset(text, '#', sizeof text - 1); /* the event's bytes are gone by then */
        CU_ASSERT_PTR_NULL(told(&d, ACT_SAVED));
        struct ledger_save *b = posted_save(&d);
        CU_ASSERT(b->n == 1 && b->rows[0].token == 77 && b->rows[0].claim == 1);
        CU_ASSERT(b->rows[0].has_checkpoint && !b->rows[0].has_progress);
        CU_ASSERT_TRUE(str_eq(b->rows[0].checkpoint, STR("page 17")));
        answer(&d, &b->base, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_SAVED);
        CU_ASSERT(a && a->ok && a->worker == 1 && a->position == 0);
        close_desk(&d);
}

static void test_a_stale_checkpoint_is_not_saved(void)
{
        struct desk d;
        open_two(&d);
        save(&d, 0, "x");
        struct ledger_save *b = posted_save(&d);
        b->rows[0].stale = true;
        answer(&d, &b->base, LEDGER_COMMITTED);
        const struct engine_action *a = told(&d, ACT_SAVED);
        CU_ASSERT(a && !a->ok);
        close_desk(&d);
}

static void test_many_gather_while_one_is_on_its_way(void)
{
        struct desk d;
        open_two(&d);
        save(&d, 0, "a");
        struct ledger_save *first = posted_save(&d);
        save(&d, 1, "b");
        progress(&d, 0, 1, 4);
        progress(&d, 0, 2, 4);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_SAVE));
        answer(&d, &first->base, LEDGER_COMMITTED);
        struct ledger_save *second = posted_save(&d);
        CU_ASSERT_EQUAL(second->n, 2);
        CU_ASSERT(second->rows[0].has_checkpoint && !second->rows[0].has_progress);
        CU_ASSERT(second->rows[1].has_progress && !second->rows[1].has_checkpoint);
        CU_ASSERT(second->rows[1].done == 2 && second->rows[1].total == 4); /* the last word */
        CU_ASSERT(second->rows[0].n == 1 && second->rows[1].n == 2); /* each job counts its own */
        answer(&d, &second->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NOT_NULL(told(&d, ACT_SAVED));
        close_desk(&d);
}

static void test_progress_is_written_once_a_second(void)
{
        struct desk d;
        uint32_t n = 0;
        open_two(&d);
        for (int ms = 0; ms < 5000; ms += 20) {
                progress(&d, 0, ms, 5000);
                pass_time(&d, 20);
                struct ledger_batch *b = take_posted(&d, LEDGER_SAVE);
                if (b) {
                        n++;
                        answer(&d, b, LEDGER_COMMITTED);
                        CU_ASSERT_PTR_NULL(told(&d, ACT_SAVED)); /* nobody waits for it */
                }
        }
        CU_ASSERT(n >= 4 && n <= 6);
        close_desk(&d);
}

static void test_figures_that_are_none_are_nought(void)
{
        static const double odd[] = {-1, 1.0 / 0.0, 0.0 / 0.0};
        struct desk d;
        open_two(&d);
        for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
                progress(&d, 0, odd[i], odd[i]);
                pass_time(&d, 1100);
                struct ledger_save *b = posted_save(&d);
                CU_ASSERT(b->rows[0].done == 0 && b->rows[0].total == 0);
                answer(&d, &b->base, LEDGER_COMMITTED);
        }
        close_desk(&d);
}

static void test_a_refused_save_is_offered_again_for_a_while(void)
{
        struct desk d;
        open_two(&d);
        save(&d, 0, "x");
        int tries = 0;
        for (; tries < 100 && !told(&d, ACT_SAVED); tries++) {
                struct ledger_batch *b = NULL;
                for (int i = 0; i < 20 && !(b = take_posted(&d, LEDGER_SAVE)); i++) {
                        pass_time(&d, 100);
                }
                answer(&d, b, LEDGER_REFUSED);
        }
        CU_ASSERT(tries > 5 && tries < 60);
        CU_ASSERT(told(&d, ACT_SAVED) && !told(&d, ACT_SAVED)->ok);
        close_desk(&d);
}

static void test_what_no_worker_holds_is_not_saved(void)
{
        struct desk d;
        open_two(&d);
        struct engine_event ev = {.kind = EV_SAVE};
        ev.save.position = 5;
        ev.save.bytes = STR("x");
        tell(&d, ev);
        CU_ASSERT(told(&d, ACT_SAVED) && !told(&d, ACT_SAVED)->ok);
        ev.save.worker = 4000;
        tell(&d, ev);
        CU_ASSERT(told(&d, ACT_SAVED) && !told(&d, ACT_SAVED)->ok);
        CU_ASSERT_PTR_NULL(take_posted(&d, LEDGER_SAVE));
        close_desk(&d);
}

/* Nobody of that number asked: the worker is another by now. */
static void test_a_dead_workers_checkpoint_answers_nobody(void)
{
        struct desk d;
        open_two(&d);
        save(&d, 0, "x");
        struct ledger_save *b = posted_save(&d);
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.how = ERROR_CRASHED;
        gone.gone.running = true;
        gone.gone.n_running = 1;
        gone.gone.text = STR("SIGSEGV");
        tell(&d, gone);
        answer(&d, &b->base, LEDGER_COMMITTED);
        CU_ASSERT_PTR_NULL(told(&d, ACT_SAVED));
        close_desk(&d);
}

/* --- members of a batch ----------------------------------------------------------------------- */

static const struct job *given_alone(struct desk *d)
{
        const struct engine_action *give = told(d, ACT_GIVE);
        CU_ASSERT_FATAL(give && give->n == 1 && give->group_n == 0);
        return give->jobs[0];
}

static void save_at(struct desk *d, uint32_t position, struct str bytes, bool stale)
{
        struct engine_event ev = {.kind = EV_SAVE};
        ev.save.position = position;
        ev.save.bytes = bytes;
        tell(d, ev);
        struct ledger_save *b = posted_save(d);
        b->rows[0].stale = stale;
        answer(d, &b->base, LEDGER_COMMITTED);
        CU_ASSERT(told(d, ACT_SAVED) && told(d, ACT_SAVED)->ok == !stale);
}

/* They run again without a claim, which would have brought it. */
static void test_who_ran_in_a_batch_loads_what_it_saved(void)
{
        static char large[CHECKPOINT_MAX];
        struct handler_desc both = {.pattern = STR("noop"), .batch_max = 2, .batch_wait_ms = 100};
        struct desk d;
        memset(large, 'c', sizeof large);
        open_desk_with(&d, both, 1, NULL);
        claim_jobs(&d, 1);
        claim_jobs(&d, 1);
        CU_ASSERT(told(&d, ACT_GIVE) && told(&d, ACT_GIVE)->group_n == 2);
        struct job *first = told(&d, ACT_GIVE)->jobs[0];
        first->checkpoint = STR("as it came");
        save_at(&d, 1, STR("page 2"), false);
        for (int i = 0; i < 100; i++) { /* as many as it likes: none stays but the last */
                save_at(&d, 1, (struct str){large, sizeof large - (i & 1)}, false);
        }
        CU_ASSERT(first->of->arena.bytes < 4 * CHECKPOINT_MAX);
        save_at(&d, 1, STR("page 3"), false);
        save_at(&d, 0, STR("another claim's"), true);
        struct engine_event gone = {.kind = EV_WORKER_GONE};
        gone.gone.how = ERROR_CRASHED;
        gone.gone.running = true;
        gone.gone.n_running = 2;
        tell(&d, gone);
        for (int i = 0; i < 30 && !told(&d, ACT_SPAWN); i++) {
                pass_time(&d, 100);
        }
        struct engine_event up = {.kind = EV_WORKER_UP};
        up.up.generation = 1;
        tell(&d, up);
        CU_ASSERT_TRUE(str_eq(given_alone(&d)->checkpoint, STR("as it came")));
        end_jobs(&d, 0, 1, VERDICT_DONE);
        CU_ASSERT_TRUE(str_eq(given_alone(&d)->checkpoint, STR("page 3")));
        CU_ASSERT_EQUAL(given_alone(&d)->checkpoint.p[6], 0);
        CU_ASSERT_TRUE(given_alone(&d)->left_work);
        close_desk(&d);
}

static void test_work_left_is_told_with_the_verdict(void)
{
        struct desk d;
        open_desk_with(&d, noop, 1, NULL);
        claim_jobs(&d, 1);
        save(&d, 0, "x");
        answer(&d, &posted_save(&d)->base, LEDGER_COMMITTED);
        end_jobs(&d, 0, 1, VERDICT_DONE);
        struct ledger_batch *b = take_posted(&d, LEDGER_FINISH);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        CU_ASSERT_TRUE(LEDGER_AS(finish, FINISH, b)->rows[0].left_work);
        answer(&d, b, LEDGER_COMMITTED);
        close_desk(&d);
}

UNIT_TESTS = {
    {"a checkpoint is answered once it is durable",
     test_a_checkpoint_is_answered_once_it_is_durable},
    {"a stale checkpoint is not saved", test_a_stale_checkpoint_is_not_saved},
    {"many gather while one is on its way", test_many_gather_while_one_is_on_its_way},
    {"progress is written once a second", test_progress_is_written_once_a_second},
    {"figures that are none are nought", test_figures_that_are_none_are_nought},
    {"a refused save is offered again for a while",
     test_a_refused_save_is_offered_again_for_a_while},
    {"what no worker holds is not saved", test_what_no_worker_holds_is_not_saved},
    {"a dead worker's checkpoint answers nobody", test_a_dead_workers_checkpoint_answers_nobody},
    {"who ran in a batch loads what it saved", test_who_ran_in_a_batch_loads_what_it_saved},
    {"work left is told with the verdict", test_work_left_is_told_with_the_verdict},
};
UNIT_MAIN("engine-progress")
