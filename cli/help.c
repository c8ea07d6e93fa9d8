/*
 * Help, made from the command table alone.
 */
#include "cli/command.h"

#include <stdio.h>

void help_usage_line(struct buf *out, const struct command *c)
{
        buf_printf(out, "skep %s", c->noun);
        if (c->verb) {
                buf_printf(out, " %s", c->verb);
        }
        if (c->flags && c->flags->name) {
                buf_text(out, " [flags]");
        }
        if (c->arguments) {
                buf_printf(out, " %s", c->arguments);
        }
}

static void print_flag(const struct flag *f)
{
        CLEANUP(buf_deinit)
        struct buf left = {0};
        if (f->letter) {
                buf_printf(&left, "-%c, ", f->letter);
        } else {
                buf_text(&left, "    ");
        }
        buf_printf(&left, "--%s", f->name);
        if (f->kind == FLAG_OPTIONAL) {
                buf_printf(&left, "[=%s]", f->value);
        } else if (f->value) {
                buf_printf(&left, " %s", f->value);
        }
        printf("  %-26s %s\n", buf_z(&left), f->help);
}

static void print_flags(const char *title, const struct flag *flags)
{
        if (!flags || !flags->name) {
                return;
        }
        printf("\n%s\n", title);
        for (const struct flag *f = flags; f->name; f++) {
                print_flag(f);
        }
}

void help_command(const struct command *c)
{
        CLEANUP(buf_deinit)
        struct buf usage = {0};
        help_usage_line(&usage, c);
        printf("%s\n\nusage: %s\n", c->summary, buf_z(&usage));
        if (c->detail) {
                printf("\n%s\n", c->detail);
        }
        print_flags("flags", c->flags);
        print_flags("flags of every verb", global_flags);
        if (c->outputs) {
                printf("\noutput (-o): %s\n", c->outputs);
        }
}

static void print_summary(const struct command *c)
{
        CLEANUP(buf_deinit)
        struct buf left = {0};
        buf_printf(&left, "%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
        if (c->arguments && left.n + strlen(c->arguments) < 26) {
                buf_printf(&left, " %s", c->arguments);
        }
        printf("  %-26s %s\n", buf_z(&left), c->summary);
}

void help_all(void)
{
        puts("skep: jobs, and what becomes of them\n\nusage: skep VERB [flags] [arguments]\n");
        for (const struct command *c = commands; c->noun; c++) {
                print_summary(c);
        }
        print_flags("flags of every verb", global_flags);
        puts(
            "\n`skep help VERB` tells more of one verb. The server is found through --url, "
            "SKEP_URL, or\n"
            "its socket: /run/skep/skep.sock for root, else $XDG_RUNTIME_DIR/skep/skep.sock, else\n"
            "~/.local/state/skep/skep.sock. Exit codes: 0 done, 1 refused or not completed, 64 "
            "usage,\n"
            "66 no input, 69 server unreachable, 75 try again later, 77 not allowed.");
}

int help_about(const char *noun, const char *verb)
{
        size_t found = 0;
        const struct command *only = NULL;
        for (const struct command *c = commands; c->noun; c++) {
                if (strcmp(c->noun, noun) == 0 &&
                    (!verb || !c->verb || strcmp(c->verb, verb) == 0)) {
                        only = c;
                        found++;
                }
        }
        if (found == 0) {
                return say_usage(NULL, "there is no `%s%s%s`; `skep help` lists what there is",
                                 noun, verb ? " " : "", verb ? verb : "");
        }
        if (found == 1) {
                help_command(only);
                return 0;
        }
        printf("usage: skep %s VERB [flags] [arguments]\n\n", noun);
        for (const struct command *c = commands; c->noun; c++) {
                if (strcmp(c->noun, noun) == 0) {
                        print_summary(c);
                }
        }
        return 0;
}
