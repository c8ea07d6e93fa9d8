/*
 * Takes an argument vector apart by the command table. See command.h.
 *
 * Flags may stand anywhere after the program's name, before and after the verb; `--` ends them. A
 * flag is never abbreviated: a script that relies on `--que` breaks when `--quench` comes.
 */
#include "cli/command.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- messages --------------------------------------------------------------------------------- */

static void say_formatted(const char *fmt, va_list args)
{
        char line[8192];
        vsnprintf(line, sizeof line, fmt, args);
        CLEANUP(buf_deinit)
        struct buf safe = {0};
        text_escape(&safe, line, strlen(line), ESCAPE_BLOCK);
        fflush(stdout);
        fprintf(stderr, "skep: %s\n", buf_z(&safe));
}

void say(const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        say_formatted(fmt, args);
        va_end(args);
}

int say_usage(const struct invocation *in, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        say_formatted(fmt, args);
        va_end(args);
        if (in && in->command) {
                CLEANUP(buf_deinit)
                struct buf line = {0};
                help_usage_line(&line, in->command);
                fprintf(stderr, "usage: %s\n", buf_z(&line));
        } else {
                fputs("usage: skep VERB …, `skep help` lists the verbs\n", stderr);
        }
        return EXIT_USAGE;
}

/* --- the command ------------------------------------------------------------------------------ */

static bool noun_exists(const char *noun)
{
        for (const struct command *c = commands; c->noun; c++) {
                if (strcmp(c->noun, noun) == 0) {
                        return true;
                }
        }
        return false;
}

static const struct command *find_command(const char *noun, const char *verb)
{
        for (const struct command *c = commands; c->noun; c++) {
                if (strcmp(c->noun, noun) == 0 &&
                    (!c->verb || (verb && strcmp(c->verb, verb) == 0))) {
                        return c;
                }
        }
        return NULL;
}

/* The verb (within `noun`) or the noun (noun NULL) nearest to what was written. */
static const char *nearest_word(const char *noun, const char *written)
{
        const char *best = NULL;
        size_t best_distance = SIZE_MAX;
        for (const struct command *c = commands; c->noun; c++) {
                const char *word = noun ? c->verb : c->noun;
                size_t distance;
                if ((!noun || strcmp(c->noun, noun) == 0) && word_near(written, word, &distance) &&
                    distance < best_distance) {
                        best = word;
                        best_distance = distance;
                }
        }
        return best;
}

static int refuse_verb(const char *noun, const char *verb)
{
        CLEANUP(buf_deinit)
        struct buf verbs = {0};
        for (const struct command *c = commands; c->noun; c++) {
                if (strcmp(c->noun, noun) == 0) {
                        buf_printf(&verbs, "%s%s", verbs.n ? ", " : "", c->verb);
                }
        }
        const char *near = verb ? nearest_word(noun, verb) : NULL;
        if (!verb) {
                return say_usage(NULL, "%s needs a verb: %s", noun, buf_z(&verbs));
        }
        return say_usage(NULL, "`%s %s` is not a verb%s%s%s; %s has %s", noun, verb,
                         near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "", noun,
                         buf_z(&verbs));
}

static int refuse_noun(const char *noun)
{
        const char *near = nearest_word(NULL, noun);
        return say_usage(NULL, "`%s` is not a verb%s%s%s", noun, near ? "; did you mean `" : "",
                         near ? near : "", near ? "`?" : "");
}

/* --- flags ------------------------------------------------------------------------------------ */

static const struct flag *find_in(const struct flag *flags, const char *name, size_t n, char letter)
{
        for (const struct flag *f = flags; f && f->name; f++) {
                if (name ? strlen(f->name) == n && memcmp(f->name, name, n) == 0
                         : f->letter && f->letter == letter) {
                        return f;
                }
        }
        return NULL;
}

/* A flag by its name (n bytes) or, name NULL, by its letter; among the command's, then the global
 * ones. */
static const struct flag *find_flag(const struct invocation *in, const char *name, size_t n,
                                    char letter)
{
        const struct flag *f = in->command ? find_in(in->command->flags, name, n, letter) : NULL;
        return f ? f : find_in(global_flags, name, n, letter);
}

static const char *nearest_flag(const struct invocation *in, const char *written)
{
        const struct flag *lists[] = {in->command ? in->command->flags : NULL, global_flags};
        const char *best = NULL;
        size_t best_distance = SIZE_MAX, distance;
        for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
                for (const struct flag *f = lists[i]; f && f->name; f++) {
                        if (word_near(written, f->name, &distance) && distance < best_distance) {
                                best = f->name;
                                best_distance = distance;
                        }
                }
        }
        return best;
}

static void keep_flag(struct invocation *in, const struct flag *f, const char *value)
{
        in->given = text_grow(in->given, (in->n_given + 1) * sizeof *in->given);
        in->given[in->n_given++] = (struct given){f, value};
}

static int take_long(struct invocation *in, char **argv, int argc, int *at)
{
        const char *name = argv[*at] + 2;
        const char *equals = strchr(name, '=');
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        const struct flag *f = find_flag(in, name, n, 0);
        if (!f) {
                CLEANUP(free_text)
                char *written = text_printf("%.*s", (int)n, name);
                const char *near = nearest_flag(in, written);
                return say_usage(in, "unknown flag --%s%s%s%s", written,
                                 near ? "; did you mean --" : "", near ? near : "",
                                 near ? "?" : "");
        }
        if (f->kind == FLAG_SWITCH && equals) {
                return say_usage(in, "--%s takes no value", f->name);
        }
        const char *value = equals ? equals + 1 : NULL;
        if (!value && (f->kind == FLAG_VALUE || f->kind == FLAG_LIST)) {
                if (*at + 1 >= argc) {
                        return say_usage(in, "--%s needs a value: %s", f->name, f->value);
                }
                value = argv[++*at];
        }
        keep_flag(in, f, value);
        return 0;
}

static int take_letters(struct invocation *in, char **argv, int argc, int *at)
{
        for (const char *p = argv[*at] + 1; *p; p++) {
                const struct flag *f = find_flag(in, NULL, 0, *p);
                if (!f) {
                        return say_usage(in, "unknown flag -%c", *p);
                }
                if (f->kind != FLAG_VALUE && f->kind != FLAG_LIST) {
                        keep_flag(in, f, NULL);
                        continue;
                }
                const char *value = p[1] ? p + 1 : *at + 1 < argc ? argv[++*at] : NULL;
                if (!value) {
                        return say_usage(in, "-%c needs a value: %s", *p, f->value);
                }
                keep_flag(in, f, value);
                return 0;
        }
        return 0;
}

/* --- an invocation ---------------------------------------------------------------------------- */

void invocation_deinit(struct invocation *in)
{
        free(in->args);
        free(in->given);
        *in = (struct invocation){0};
}

/* Where the noun and the verb stand: the first two words that are neither flags nor values of
 * global flags. */
static void find_words(int argc, char **argv, int ret_at[2])
{
        struct invocation none = {0};
        int found = 0;
        ret_at[0] = ret_at[1] = -1;
        for (int i = 1; i < argc && found < 2; i++) {
                if (strcmp(argv[i], "--") == 0) {
                        return;
                }
                if (argv[i][0] != '-' || !argv[i][1]) {
                        ret_at[found++] = i;
                        continue;
                }
                bool is_long = argv[i][1] == '-';
                const struct flag *f = is_long
                                           ? find_flag(&none, argv[i] + 2, strlen(argv[i] + 2), 0)
                                       : argv[i][2] ? NULL
                                                    : find_flag(&none, NULL, 0, argv[i][1]);
                i += f && f->kind == FLAG_VALUE;
        }
}

static int choose_command(int argc, char **argv, struct invocation *in, int ret_at[2])
{
        find_words(argc, argv, ret_at);
        if (ret_at[0] < 0) {
                return 0;
        }
        const char *noun = argv[ret_at[0]], *verb = ret_at[1] < 0 ? NULL : argv[ret_at[1]];
        if (!noun_exists(noun)) {
                return refuse_noun(noun);
        }
        in->command = find_command(noun, verb);
        if (in->command && !in->command->verb) {
                ret_at[1] = -1;
        }
        return 0;
}

static int take_output(struct invocation *in)
{
        static const char *const names[] = {"auto", "table", "tsv", "json", "ndjson", "id"};
        const char *o = invocation_get(in, "output");
        if (invocation_has(in, "json")) {
                o = "json";
        }
        if (!o) {
                return 0;
        }
        if (!in->command->outputs) {
                return say_usage(in, "-o has no meaning here");
        }
        size_t n = strlen(o);
        for (const char *p = in->command->outputs; *p; p += strcspn(p, " "), p += *p == ' ') {
                if (n > 0 && strcspn(p, " ") == n && memcmp(p, o, n) == 0) {
                        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                                in->output = strcmp(names[i], o) == 0 ? (enum output)i : in->output;
                        }
                        return 0;
                }
        }
        return say_usage(in, "-o %s is not known here: one of %s", o, in->command->outputs);
}

static int check_count(struct invocation *in)
{
        const struct command *c = in->command;
        if (in->n_args < c->min_args) {
                return say_usage(in, "an argument is missing: %s", c->arguments);
        }
        if (c->max_args >= 0 && in->n_args > c->max_args) {
                return say_usage(in, "one argument too many: %s", in->args[c->max_args]);
        }
        return 0;
}

static int take_arguments(int argc, char **argv, const int words[2], struct invocation *in)
{
        bool flags_ended = false;
        in->args = text_alloc(((size_t)argc + 1) * sizeof *in->args);
        for (int i = 1; i < argc; i++) {
                int r = 0;
                if (i == words[0] || i == words[1]) {
                        continue;
                }
                if (flags_ended || argv[i][0] != '-' || !argv[i][1]) {
                        in->args[in->n_args++] = argv[i];
                } else if (strcmp(argv[i], "--") == 0) {
                        flags_ended = true;
                } else if (argv[i][1] == '-') {
                        r = take_long(in, argv, argc, &i);
                } else {
                        r = take_letters(in, argv, argc, &i);
                }
                if (r) {
                        return r;
                }
        }
        in->help = invocation_has(in, "help");
        return 0;
}

int invocation_parse(int argc, char **argv, struct invocation *ret)
{
        CLEANUP(invocation_deinit)
        struct invocation in = {0};
        int words[2];
        int r = choose_command(argc, argv, &in, words);
        if (r) {
                return r;
        }
        r = take_arguments(argc, argv, words, &in);
        if (r) {
                return r;
        }
        if (!in.command && words[0] >= 0 && !in.help) {
                return refuse_verb(argv[words[0]], words[1] < 0 ? NULL : argv[words[1]]);
        }
        if (in.command && !in.help) {
                r = take_output(&in);
                r = r ? r : check_count(&in);
                if (r) {
                        return r;
                }
        }
        *ret = in;
        in = (struct invocation){0};
        return 0;
}

static const struct given *last_given(const struct invocation *in, const char *flag)
{
        for (size_t i = in->n_given; i-- > 0;) {
                if (strcmp(in->given[i].flag->name, flag) == 0) {
                        return &in->given[i];
                }
        }
        return NULL;
}

/* A flag of any verb: what several verbs share asks for flags that this one may not have. */
static bool known(const char *flag)
{
        for (const struct command *c = commands; c->noun; c++) {
                for (const struct flag *f = c->flags; f && f->name; f++) {
                        if (strcmp(f->name, flag) == 0) {
                                return true;
                        }
                }
        }
        for (const struct flag *f = global_flags; f->name; f++) {
                if (strcmp(f->name, flag) == 0) {
                        return true;
                }
        }
        return false;
}

bool invocation_has(const struct invocation *in, const char *flag)
{
        assert(known(flag)); /* a misspelt name here would never be found */
        return last_given(in, flag) != NULL;
}

const char *invocation_get(const struct invocation *in, const char *flag)
{
        assert(known(flag));
        const struct given *g = last_given(in, flag);
        return g ? g->value : NULL;
}

const char *invocation_next(const struct invocation *in, const char *flag, size_t *at)
{
        assert(known(flag));
        while (*at < in->n_given) {
                const struct given *g = &in->given[(*at)++];
                if (strcmp(g->flag->name, flag) == 0) {
                        return g->value;
                }
        }
        return NULL;
}

int invocation_number(const struct invocation *in, const char *flag, long min, long max,
                      long otherwise, long *ret)
{
        const char *text = invocation_get(in, flag);
        if (!text) {
                *ret = otherwise;
                return 0;
        }
        char *end;
        errno = 0;
        long v = strtol(text, &end, 10);
        bool begins = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
        if (!begins || *end || errno || v < min || v > max) {
                return say_usage(in, "--%s %s is not a number from %ld to %ld", flag, text, min,
                                 max);
        }
        *ret = v;
        return 0;
}
