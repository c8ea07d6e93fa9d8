/*
 * skep-audit: reads logs and a ledger dump, says for each invariant whether it held. README.md
 * tells the formats. Exit status: 0 none is violated, 1 some are, 2 the evidence cannot be read.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/audit/evidence.h"

static const char usage[] =
    "usage: skep-audit [options] --dump DUMP LOG...\n"
    "  --dump FILE                 the ledger, as dump.py writes it\n"
    "  --json                      the report as JSON\n"
    "  --lease-ms N                the nodes' lease (2000)\n"
    "  --grace-ms N                a cancelled run may go on for so long, asking included (10000;\n"
    "                              0: not judged)\n"
    "  --settle-ms N               what was due so long before the dump must have been offered "
    "(10000)\n"
    "  --idless-extra-permille N   letters without an id that may have a second row (1)\n"
    "  --strangers                 there may be jobs and requeues that no producer wrote down\n"
    "  --unserved TYPE             no node has a handler for it: its jobs may wait (repeat)\n"
    "  --paused QUEUE              likewise\n";

enum {
        OPT_DUMP = 256,
        OPT_JSON,
        OPT_LEASE,
        OPT_GRACE,
        OPT_SETTLE,
        OPT_EXTRA,
        OPT_STRANGERS,
        OPT_UNSERVED,
        OPT_PAUSED,
        OPT_HELP
};

static const struct option long_options[] = {
    {"dump", required_argument, NULL, OPT_DUMP},
    {"json", no_argument, NULL, OPT_JSON},
    {"lease-ms", required_argument, NULL, OPT_LEASE},
    {"grace-ms", required_argument, NULL, OPT_GRACE},
    {"settle-ms", required_argument, NULL, OPT_SETTLE},
    {"idless-extra-permille", required_argument, NULL, OPT_EXTRA},
    {"strangers", no_argument, NULL, OPT_STRANGERS},
    {"unserved", required_argument, NULL, OPT_UNSERVED},
    {"paused", required_argument, NULL, OPT_PAUSED},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct command {
        const char *dump;
        bool json, bad, help;
};

static int64_t number_of(const char *text, struct command *c)
{
        char *end;
        int64_t n = strtoll(text, &end, 10);
        c->bad |= *end || end == text || n < 0;
        return n;
}

static void read_option(struct evidence *e, struct command *c, int option)
{
        struct options *o = &e->options;
        switch (option) {
        case OPT_DUMP: c->dump = optarg; break;
        case OPT_JSON: c->json = true; break;
        case OPT_LEASE: o->lease_ms = number_of(optarg, c); break;
        case OPT_GRACE: o->grace_ms = number_of(optarg, c); break;
        case OPT_SETTLE: o->settle_ms = number_of(optarg, c); break;
        case OPT_EXTRA: o->extra_permille = (uint64_t)number_of(optarg, c); break;
        case OPT_STRANGERS: o->strangers = true; break;
        case OPT_UNSERVED: word_note(e, &o->unserved, str_of(optarg)); break;
        case OPT_PAUSED: word_note(e, &o->paused, str_of(optarg)); break;
        case OPT_HELP: c->help = true; break;
        default: c->bad = true; break;
        }
}

static void print_facts(const struct evidence *e, FILE *to)
{
        fprintf(to,
                "%u submissions, %llu runs, %u rows; %llu lines of logs, %llu cut off at the end\n",
                HASH_COUNT(e->intents), (unsigned long long)e->starts, e->n_rows,
                (unsigned long long)e->lines, (unsigned long long)e->truncated);
        if (e->idless) {
                fprintf(to, "letters without an id: %llu, of which %llu have a second row\n",
                        (unsigned long long)e->idless, (unsigned long long)e->idless_extra);
        }
        if (e->lost_with_broker) {
                fprintf(to, "%llu letters were lost by their broker, which had confirmed them\n",
                        (unsigned long long)e->lost_with_broker);
        }
}

static void print_all(const struct evidence *e, const struct audit_report *r, bool json)
{
        if (json) {
                printf("{\"version\": 1, \"submissions\": %u, \"runs\": %llu, \"rows\": %u, ",
                       HASH_COUNT(e->intents), (unsigned long long)e->starts, e->n_rows);
                printf("\"lines\": %llu, \"truncated\": %llu, \"idless\": %llu, "
                       "\"idless_extra\": %llu, \"lost_with_broker\": %llu, ",
                       (unsigned long long)e->lines, (unsigned long long)e->truncated,
                       (unsigned long long)e->idless, (unsigned long long)e->idless_extra,
                       (unsigned long long)e->lost_with_broker);
                report_print_json(r, stdout);
                puts("}");
                return;
        }
        report_print(r, stdout);
        print_facts(e, stdout);
        printf("%u held, %u violated, %u not judged\n", report_held(r), report_violated(r),
               report_open(r));
}

static int run(struct evidence *e, const struct command *c, char **logs)
{
        static struct audit_report report;
        for (; *logs; logs++) {
                if (read_log(e, *logs) < 0) {
                        return 2;
                }
        }
        if (read_dump(e, c->dump) < 0) {
                return 2;
        }
        evidence_match(e, &report);
        evidence_judge(e, &report);
        print_all(e, &report, c->json);
        return fflush(stdout) ? 2 : report_violated(&report) > 0;
}

int main(int argc, char **argv)
{
        struct evidence e = {
            .options = {.lease_ms = 2000,
                        .grace_ms = 10000,
                        .settle_ms = 10000,
                        .extra_permille = 1},
        };
        struct command c = {0};
        int option;
        while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
                read_option(&e, &c, option);
        }
        int code = 0;
        if (c.help) {
                fputs(usage, stdout);
        } else if (c.bad || !c.dump) {
                fputs(usage, stderr);
                code = 2;
        } else {
                code = run(&e, &c, argv + optind);
        }
        evidence_deinit(&e);
        return code;
}
