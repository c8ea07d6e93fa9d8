/*
 * sim: runs worlds. One seed with its trace, many seeds over processes, one seed twice, or every
 * planted bug until it is caught. The last line counts as every test's does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/farm.h"
#include "tests/sim/plant.h"
#include "tests/sim/world.h"

#define PLANT_SEEDS 2000

static int usage(void)
{
        fputs("usage: sim --seed N [--trace] [--minutes M] [--plant NAME]\n"
              "       sim --seeds FROM COUNT [--jobs J]    many seeds; names the first that fails\n"
              "                                       (--trace: each)\n"
              "       sim --replay FROM COUNT              each seed twice: the same trace hash?\n"
              "       sim [--plant NAME] --plants [--jobs J]   every planted bug, or this, until "
              "it is\n"
              "                                       caught\n",
              stderr);
        return 64;
}

struct options {
        uint64_t seed, from, count;
        uint32_t jobs;
        int64_t chaos_ns;
        bool one, many, replay, plants, trace;
};

static bool read_number(const char *text, uint64_t *ret)
{
        char *end;
        errno = 0;
        unsigned long long v = text ? strtoull(text, &end, 10) : 0;
        if (!text || errno || end == text || *end) {
                return false;
        }
        *ret = v;
        return true;
}

static bool read_plant(const char *text)
{
        for (int p = 1; text && p < PLANT_COUNT; p++) {
                if (strcmp(text, plant_name((enum sim_plant)p)) == 0) {
                        plant_set((enum sim_plant)p);
                        return true;
                }
        }
        return false;
}

static bool read_one(struct options *o, char **argv, int *i)
{
        const char *name = argv[*i];
        uint64_t n = 0;
        if (strcmp(name, "--trace") == 0) {
                o->trace = true;
                return true;
        }
        if (strcmp(name, "--plants") == 0) {
                return o->plants = true;
        }
        if (strcmp(name, "--plant") == 0) {
                return read_plant(argv[++*i]);
        }
        if (strcmp(name, "--seeds") == 0 || strcmp(name, "--replay") == 0) {
                o->many = name[2] == 's';
                o->replay = !o->many;
                return read_number(argv[++*i], &o->from) && read_number(argv[++*i], &o->count);
        }
        if (!read_number(argv[++*i], &n)) {
                return false;
        }
        if (strcmp(name, "--seed") == 0) {
                o->seed = n;
                o->one = true;
        } else if (strcmp(name, "--minutes") == 0) {
                o->chaos_ns = (int64_t)n * 60 * NS_PER_S;
        } else if (strcmp(name, "--jobs") == 0) {
                o->jobs = (uint32_t)(n < 1 ? 1 : n > 64 ? 64 : n);
        } else {
                return false;
        }
        return true;
}

static void print_seen(const struct world *w)
{
        printf("  %" PRIu64 " events, %.3f s of virtual time; runs %" PRIu64 " crashes %" PRIu64
               " kills %" PRIu64 " drains %" PRIu64 " pauses %" PRIu64 " recalled %" PRIu64
               " rescued %" PRIu64 " cancels %" PRIu64 " requeues %" PRIu64 " asked %" PRIu64
               " fenced %" PRIu64 "\n",
               w->events, (double)w->now_ns / 1e9, w->seen.runs, w->seen.crashes, w->seen.kills,
               w->seen.drains, w->seen.pauses, w->seen.recalls, w->seen.rescues, w->seen.cancels,
               w->seen.requeues, w->seen.asked, w->seen.fenced);
        if (w->swarm.broker || w->swarm.inbox) {
                printf("  letters %" PRIu64 " redelivered %" PRIu64 " twice %" PRIu64
                       "; bells %" PRIu64 " tide %" PRIu64 " brokers lost %" PRIu64 "\n",
                       w->seen.letters, w->seen.redelivered, w->seen.letters_twice, w->seen.bells,
                       w->seen.tide, w->seen.brokers_lost);
        }
        printf("  held %" PRIu64 " replaced %" PRIu64 " full %" PRIu64 " dropped %" PRIu64
               " limited %" PRIu64 " ticks %" PRIu64 " batches %" PRIu64 " (died %" PRIu64
               ") checkpoints %" PRIu64 " pruned %" PRIu64 " replies %" PRIu64 " bulk %" PRIu64
               " controls %" PRIu64 "\n",
               w->seen.held, w->seen.replaced, w->seen.full, w->seen.dropped, w->seen.limited,
               w->seen.ticks, w->seen.batches, w->seen.batches_died, w->seen.saves, w->seen.pruned,
               w->seen.replies, w->seen.bulk, w->seen.controls);
        printf("  unknown commits %" PRIu64 ", happened late %" PRIu64 ", voided in time %" PRIu64
               "\n",
               w->server.unknowns, w->server.late_commits, w->server.late_voided);
}

static int run_one(const struct options *o)
{
        struct world *w = world_new(o->seed, o->chaos_ns, o->trace);
        bool passed = world_run(w);
        printf("seed %" PRIu64 ": %s, trace hash %016" PRIx64 "\n", o->seed,
               passed ? "passed" : "FAILED", w->hash);
        swarm_print(&w->swarm);
        print_seen(w);
        if (!passed) {
                printf("  %s\n", w->violation);
        }
        world_free(w);
        printf("%d passed, %d failed, 0 skipped\n", passed, !passed);
        return !passed;
}

static int run_many(const struct options *o)
{
        struct farm_result r = {.names = o->trace};
        farm_run(o->from, o->count, o->jobs, false, &r);
        if (r.failed) {
                printf("first failing seed %" PRIu64 ": %s\n", r.first.seed, r.first.text);
                printf("replay: sim --seed %" PRIu64 " --trace\n", r.first.seed);
        }
        printf("%" PRIu64 " runs of handlers, %" PRIu64 " events; all traces together %016" PRIx64
               "\n",
               r.runs, r.events, r.hash);
        printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", r.passed, r.failed);
        return r.failed != 0;
}

/* Each seed in two processes, so that addresses differ. */
static int run_replay(const struct options *o)
{
        uint64_t same = 0, other = 0;
        for (uint64_t i = 0; i < o->count; i++) {
                struct farm_result a = {0}, b = {0};
                farm_run(o->from + i, 1, 1, false, &a);
                farm_run(o->from + i, 1, 1, false, &b);
                bool equal = a.hash == b.hash && a.hash != 0;
                same += equal;
                other += !equal;
                printf("seed %" PRIu64 ": %016" PRIx64 " %s %016" PRIx64 "\n", o->from + i, a.hash,
                       equal ? "=" : "DIFFERS FROM", b.hash);
        }
        printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", same, other);
        return other != 0;
}

/* A seed that fails by itself proves nothing. */
static bool passes_without(uint64_t seed)
{
        struct farm_result r = {0};
        plant_set(PLANT_NONE);
        farm_run(seed, 1, 1, false, &r);
        if (r.failed) {
                printf("                   seed %" PRIu64 " fails without it: %s\n", seed,
                       r.first.text);
        }
        return r.failed == 0;
}

static int run_plants(const struct options *o)
{
        uint32_t caught = 0, missed = 0, skipped = 0;
        enum sim_plant only = sim_planted;
        for (int i = only ? (int)only : 1; i < (only ? (int)only + 1 : PLANT_COUNT); i++) {
                enum sim_plant p = (enum sim_plant)i;
                struct farm_result r = {0};
                bool there = plant_there(p);
                if (there) {
                        plant_set(p);
                        farm_run(1, PLANT_SEEDS, o->jobs, true, &r);
                }
                bool hit = r.failed > 0 && passes_without(r.first.seed);
                caught += hit;
                skipped += !there;
                missed += there && !hit;
                printf("%-18s %s\n", plant_name(p), plant_text(p));
                if (hit) {
                        printf("                   caught by seed %" PRIu64 ": %s\n", r.first.seed,
                               r.first.text);
                } else {
                        printf("                   %s\n",
                               there ? "NOT CAUGHT" : "not in this build (sim-plants)");
                }
                fflush(stdout);
        }
        printf("%u passed, %u failed, %u skipped\n", caught, missed, skipped);
        return missed != 0;
}

int main(int argc, char **argv)
{
        struct options o = {.jobs = 2};
        for (int i = 1; i < argc; i++) {
                if (!read_one(&o, argv, &i)) {
                        return usage();
                }
        }
        if (o.one + o.many + o.replay + o.plants != 1) {
                return usage();
        }
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (o.one) {
                return run_one(&o);
        }
        if (o.many) {
                return run_many(&o);
        }
        return o.replay ? run_replay(&o) : run_plants(&o);
}
