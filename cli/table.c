/*
 * Rows for people and for pipes. See table.h.
 */
#include "cli/table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <unistd.h>

struct table {
        const struct column *columns;
        bool people, started;
        struct libscols_table *scols; /* rows that wait, on a terminal */
        size_t waiting;
};

bool colours_wanted(FILE *f)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
        return isatty(fileno(f)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

bool table_for_people(enum output o)
{
        return o == OUTPUT_TABLE || (o == OUTPUT_AUTO && isatty(STDOUT_FILENO));
}

const char *state_colour(const char *state)
{
        static const struct {
                const char *state, *colour;
        } known[] = {{"completed", "green"}, {"dead", "red"},        {"cancelled", "magenta"},
                     {"running", "cyan"},    {"retrying", "yellow"}, {"scheduled", "blue"},
                     {"refused", "red"},     {"serving", "green"}};
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
                if (strcmp(known[i].state, state) == 0) {
                        return known[i].colour;
                }
        }
        return NULL;
}

/* --- cells ------------------------------------------------------------------------------------ */

/* Follows one path "a.b". */
static const json_t *follow(const json_t *o, const char *path, size_t n)
{
        while (o && n > 0) {
                const char *dot = memchr(path, '.', n);
                size_t k = dot ? (size_t)(dot - path) : n;
                CLEANUP(free_text)
                char *name = text_printf("%.*s", (int)k, path);
                o = json_object_get(o, name);
                path += dot ? k + 1 : k;
                n -= dot ? k + 1 : k;
        }
        return o;
}

const json_t *pick(const json_t *object, const char *fields)
{
        for (const char *p = fields; *p;) {
                size_t n = strcspn(p, "|");
                const json_t *v = follow(object, p, n);
                if (v && !json_is_null(v)) {
                        return v;
                }
                p += n + (p[n] == '|');
        }
        return NULL;
}

const char *pick_text(const json_t *object, const char *fields)
{
        return json_string_value(pick(object, fields));
}

static void add_scalar(struct buf *out, const json_t *v)
{
        if (json_is_string(v)) {
                buf_add(out, json_string_value(v), json_string_length(v));
        } else {
                char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
                buf_text(out, text ? text : "?");
                free(text);
        }
}

static void add_list(struct buf *out, const json_t *list)
{
        size_t i;
        json_t *v;
        json_array_foreach((json_t *)list, i, v)
        {
                const json_t *name = json_is_object(v) ? pick(v, "pattern|type|name|id") : NULL;
                buf_text(out, i ? "," : "");
                add_scalar(out, name ? name : v);
        }
}

static void add_size(struct buf *out, json_int_t bytes)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
        double v = (double)bytes;
        size_t unit = 0;
        for (; v >= 1024 && unit + 1 < ARRAY_LEN(units); unit++) {
                v /= 1024;
        }
        buf_printf(out, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

static bool add_for_people(struct buf *out, const struct column *c, const json_t *v)
{
        int64_t us;
        switch (c->kind) {
        case CELL_TIME:
                if (json_is_string(v) && time_parse(json_string_value(v), &us)) {
                        age_format(out, us, wall_us());
                        return true;
                }
                return false;
        case CELL_SIZE:
                if (json_is_integer(v)) {
                        add_size(out, json_integer_value(v));
                        return true;
                }
                return false;
        case CELL_DURATION:
                if (json_is_number(v)) {
                        span_format(out, (int64_t)(json_number_value(v) * 1000));
                        return true;
                }
                return false;
        default: return false;
        }
}

char *cell_text(const struct column *c, const json_t *object, bool people)
{
        struct buf out = {0};
        const json_t *v = pick(object, c->fields);
        if (!v || (people && add_for_people(&out, c, v))) {
                return buf_take(&out);
        }
        if (json_is_array(v)) {
                add_list(&out, v);
        } else if (c->kind == CELL_YES_NO && json_is_boolean(v)) {
                buf_text(&out, json_is_true(v) ? "yes" : "no");
        } else {
                add_scalar(&out, v);
        }
        return buf_take(&out);
}

/* --- pipes ------------------------------------------------------------------------------------ */

static void print_header(const struct table *t)
{
        for (const struct column *c = t->columns; c->head; c++) {
                printf("%s%s", c == t->columns ? "" : "\t", c->head);
        }
        putchar('\n');
}

static void print_row(const struct table *t, const json_t *object)
{
        CLEANUP(buf_deinit)
        struct buf line = {0};
        for (const struct column *c = t->columns; c->head; c++) {
                CLEANUP(free_text)
                char *text = cell_text(c, object, false);
                buf_text(&line, c == t->columns ? "" : "\t");
                text_escape(&line, text, strlen(text), ESCAPE_FIELD);
        }
        puts(buf_z(&line));
}

/* --- terminals -------------------------------------------------------------------------------- */

static struct libscols_table *new_scols(const struct table *t)
{
        struct libscols_table *s = scols_new_table();
        if (!s) {
                return NULL;
        }
        scols_table_enable_colors(s, colours_wanted(stdout));
        for (const struct column *c = t->columns; c->head; c++) {
                CLEANUP(free_text)
                char *head = text_copy(c->head);
                for (char *p = head; *p; p++) {
                        *p = *p == '_' ? ' ' : *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
                }
                int flags =
                    (c->wide ? SCOLS_FL_TRUNC : 0) | (c->kind == CELL_COUNT ? SCOLS_FL_RIGHT : 0);
                scols_table_new_column(s, head, c->wide ? 0.3 : 0, flags);
        }
        return s;
}

static void add_line(struct table *t, const json_t *object)
{
        if (!t->scols && !(t->scols = new_scols(t))) {
                return;
        }
        struct libscols_line *line = scols_table_new_line(t->scols, NULL);
        size_t i = 0;
        for (const struct column *c = t->columns; line && c->head; c++, i++) {
                CLEANUP(free_text)
                char *text = cell_text(c, object, true);
                CLEANUP(buf_deinit)
                struct buf safe = {0};
                text_escape(&safe, text, strlen(text), ESCAPE_LINE);
                scols_line_set_data(line, i, buf_z(&safe));
                const char *colour = c->kind == CELL_STATE ? state_colour(text) : NULL;
                if (colour) {
                        scols_cell_set_color(scols_line_get_cell(line, i), colour);
                }
        }
        t->waiting++;
}

/* --- the table -------------------------------------------------------------------------------- */

struct table *table_new(const struct column *columns, bool people)
{
        struct table *t = text_alloc(sizeof *t);
        t->columns = columns;
        t->people = people;
        return t;
}

void table_add(struct table *t, const json_t *object)
{
        if (t->people) {
                add_line(t, object);
                return;
        }
        if (!t->started) {
                print_header(t);
                t->started = true;
        }
        print_row(t, object);
}

void table_flush(struct table *t)
{
        if (t->people && t->waiting > 0) {
                scols_print_table(t->scols);
                scols_unref_table(t->scols);
                t->scols = NULL;
                t->waiting = 0;
                t->started = true;
        }
}

struct table *table_free(struct table *t)
{
        if (t) {
                table_flush(t);
                if (!t->started && !t->people) {
                        print_header(t); /* no rows: a reader still learns the columns */
                } else if (!t->started) {
                        puts("nothing");
                }
                scols_unref_table(t->scols);
                free(t);
        }
        return NULL;
}
