#include "daemon/options.h"

#include <getopt.h>
#include <stdio.h>

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},     {"set", required_argument, NULL, 's'},
    {"worker", required_argument, NULL, 'w'},     {"test", no_argument, NULL, 't'},
    {"show-config", no_argument, NULL, 'S'},      {"check-transports", no_argument, NULL, 'B'},
    {"config-reference", no_argument, NULL, 'R'}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},          {0},
};

void options_help(void)
{
        puts("usage: skepd [--config FILE] [--set KEY=VALUE]... [-t]\n"
             "\n"
             "  -c, --config FILE        configuration file; default /etc/skep/skep.conf if it is "
             "there\n"
             "  -s, --set KEY=VALUE      sets one key, above files and environment "
             "(docs/configuration.md)\n"
             "  -w, --worker PATH        the worker program; default: as installed\n"
             "  -t, --test               checks the configuration and ends\n"
             "      --show-config        prints every key with its value and where it came from\n"
             "      --check-transports   looks at each broker and prints what it found\n"
             "      --config-reference   prints the reference of all keys, as Markdown\n"
             "  -h, --help    -V, --version\n"
             "\n"
             "Signals: TERM and INT drain and stop (a second one stops at once), HUP reloads.");
}

static int add_set(struct options *o, const char *value)
{
        if (o->n_flags == FLAGS_MAX) {
                fprintf(stderr, "skepd: more than %d --set; use a file\n", FLAGS_MAX);
                return 1;
        }
        o->flags[o->n_flags++] = (struct config_flag){"--set", NULL, value};
        return 0;
}

static int take_option(struct options *o, int c)
{
        switch (c) {
        case 'c': o->config = optarg; return 0;
        case 's': return add_set(o, optarg);
        case 'w': o->worker = optarg; return 0;
        case 't': o->test = true; return 0;
        case 'S': o->show = true; return 0;
        case 'B': o->brokers = true; return 0;
        case 'R': o->reference = true; return 0;
        case 'h': o->help = true; return 0;
        case 'V': o->version = true; return 0;
        default: fputs("skepd: try `skepd --help`\n", stderr); return 1;
        }
}

int options_parse(int argc, char **argv, struct options *ret)
{
        struct options o = {0};
        int c;
        while ((c = getopt_long(argc, argv, "c:s:w:thV", long_options, NULL)) != -1) {
                if (take_option(&o, c)) {
                        return 1;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "skepd: takes no argument `%s`; try `skepd --help`\n",
                        argv[optind]);
                return 1;
        }
        *ret = o;
        return 0;
}
