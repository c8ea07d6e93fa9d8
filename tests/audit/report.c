/*
 * Gathers what the judges say and prints it, for people or as JSON. It judges nothing itself.
 */
#include "tests/audit/report.h"

#include <assert.h>
#include <stdlib.h>

static const struct {
        const char *name, *noun, *why_not;
} invariants[] = {
#define X(name, noun, why_not) {name, noun, why_not},
    AUDIT_INVARIANTS(X)
#undef X
};
_Static_assert(ARRAY_LEN(invariants) == AUDIT_LINES, "AUDIT_LINES counts the invariants");

static struct audit_line *line_of(struct audit_report *r, const char *which)
{
        for (size_t i = 0; i < ARRAY_LEN(invariants); i++) {
                if (strcmp(invariants[i].name, which) == 0) {
                        return &r->lines[i];
                }
        }
        assert(!"an invariant that is not in the list");
        abort();
}

static void keep(struct audit_finding *list, uint64_t n, const char *job, const char *text)
{
        if (n < AUDIT_KEPT) {
                snprintf(list[n].job, sizeof list[n].job, "%s", job);
                snprintf(list[n].text, sizeof list[n].text, "%s", text);
        }
}

void report_violation(struct audit_report *r, const char *which, const char *job, const char *text)
{
        struct audit_line *l = line_of(r, which);
        if (*job && strcmp(l->last, job) == 0) {
                return;
        }
        snprintf(l->last, sizeof l->last, "%s", job);
        keep(l->found, l->violations++, job, text);
}

void report_excuse(struct audit_report *r, const char *which, const char *job, const char *text)
{
        struct audit_line *l = line_of(r, which);
        keep(l->allowed, l->excused++, job, text);
}

void report_judged(struct audit_report *r, const char *which, uint64_t n)
{
        line_of(r, which)->judged += n;
}

void report_unjudged(struct audit_report *r, const char *which, const char *why)
{
        line_of(r, which)->why_not = why;
}

static bool was_judged(const struct audit_line *l)
{
        return l->violations || (l->judged && !l->why_not);
}

unsigned report_violated(const struct audit_report *r)
{
        unsigned n = 0;
        for (size_t i = 0; i < AUDIT_LINES; i++) {
                n += r->lines[i].violations > 0;
        }
        return n;
}

unsigned report_open(const struct audit_report *r)
{
        unsigned n = 0;
        for (size_t i = 0; i < AUDIT_LINES; i++) {
                n += !was_judged(&r->lines[i]);
        }
        return n;
}

unsigned report_held(const struct audit_report *r)
{
        return AUDIT_LINES - report_violated(r) - report_open(r);
}

/* --- for people --------------------------------------------------------------------------- */

static void print_number(uint64_t n, FILE *to)
{
        if (n >= 1000) {
                print_number(n / 1000, to);
                fprintf(to, ",%03u", (unsigned)(n % 1000));
        } else {
                fprintf(to, "%u", (unsigned)n);
        }
}

static void print_list(const char *what, const struct audit_finding *list, uint64_t n, FILE *to)
{
        for (uint64_t i = 0; i < n && i < AUDIT_KEPT; i++) {
                fprintf(to, "    %s%s%s%s\n", what, list[i].job, *list[i].job ? ": " : "",
                        list[i].text);
        }
        if (n > AUDIT_KEPT) {
                fprintf(to, "    %sand ", what);
                print_number(n - AUDIT_KEPT, to);
                fputs(" more\n", to);
        }
}

static const char *why_not(size_t i, const struct audit_line *l)
{
        return l->why_not ? l->why_not : invariants[i].why_not;
}

static void print_line(size_t i, const struct audit_line *l, FILE *to)
{
        fputs(invariants[i].name, to);
        if (l->violations) {
                fputs(" VIOLATED: ", to);
                print_number(l->violations, to);
                fputs(l->violations == 1 ? " case\n" : " cases\n", to);
        } else if (!was_judged(l)) {
                fprintf(to, " not judged: %s\n", why_not(i, l));
        } else {
                fputs(" ok (", to);
                print_number(l->judged, to);
                fprintf(to, " %s)\n", invariants[i].noun);
        }
        print_list("", l->found, l->violations, to);
        print_list("allowed: ", l->allowed, l->excused, to);
}

void report_print(const struct audit_report *r, FILE *to)
{
        for (size_t i = 0; i < AUDIT_LINES; i++) {
                print_line(i, &r->lines[i], to);
        }
}

/* --- JSON --------------------------------------------------------------------------------- */

static void print_string(const char *s, FILE *to)
{
        fputc('"', to);
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;
                if (c == '"' || c == '\\') {
                        fprintf(to, "\\%c", c);
                } else if (c < 0x20 || c >= 0x7f) { /* a producer's bytes need not be UTF-8 */
                        fprintf(to, "\\u%04x", c);
                } else {
                        fputc(c, to);
                }
        }
        fputc('"', to);
}

static void print_json_list(const char *name, const struct audit_finding *list, uint64_t n,
                            FILE *to)
{
        fprintf(to, ", \"%s\": [", name);
        for (uint64_t i = 0; i < n && i < AUDIT_KEPT; i++) {
                fputs(i ? ", {\"job\": " : "{\"job\": ", to);
                print_string(list[i].job, to);
                fputs(", \"text\": ", to);
                print_string(list[i].text, to);
                fputc('}', to);
        }
        fputc(']', to);
}

void report_print_json(const struct audit_report *r, FILE *to)
{
        fprintf(to, "\"violated\": %u, \"invariants\": {", report_violated(r));
        for (size_t i = 0; i < AUDIT_LINES; i++) {
                const struct audit_line *l = &r->lines[i];
                const char *verdict = l->violations   ? "violated"
                                      : was_judged(l) ? "ok"
                                                      : "not judged";
                fprintf(to, "%s\n  \"%s\": {\"verdict\": \"%s\", \"judged\": %llu", i ? "," : "",
                        invariants[i].name, verdict, (unsigned long long)l->judged);
                fprintf(to, ", \"violations\": %llu, \"excused\": %llu",
                        (unsigned long long)l->violations, (unsigned long long)l->excused);
                if (!was_judged(l)) {
                        fputs(", \"why\": ", to);
                        print_string(why_not(i, l), to);
                }
                print_json_list("found", l->found, l->violations, to);
                print_json_list("allowed", l->allowed, l->excused, to);
                fputc('}', to);
        }
        fputs("\n}", to);
}
