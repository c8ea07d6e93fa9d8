/*
 * `skep enqueue -f FILE`: a stream of jobs, page by page.
 *
 * A page is what one request carries: some hundred lines, one commit or few. Memory is one page,
 * whatever the file's length. A page whose answer stays unknown is sent again with the same keys; a
 * page that is refused as a whole is halved until the line at fault stands alone, so that its
 * neighbours are taken. Pages are sent one after the other: when all fails the message can name the
 * first line that is in doubt.
 */
#include "cli/feed.h"

#include "cli/progress.h"
#include "cli/submit.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "http/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PAGE_LINES  1000
#define PAGE_BYTES  ((size_t)1 << 20)
#define BLOCK_BYTES (64u << 10)

struct page_line {
        size_t at, n; /* in the page's text */
        uint64_t number;
        bool minted; /* the key is ours */
        bool resent; /* an earlier try may have created it */
};

struct feed {
        struct invocation *in;
        struct client *client;
        FILE *file;
        const char *name;
        struct buf page;
        struct page_line lines[PAGE_LINES];
        size_t n;
        char block[BLOCK_BYTES]; /* of the file */
        size_t block_at, block_n;
        struct buf line;        /* one that lies in several blocks */
        uint64_t number, bytes; /* read so far */
        uint64_t created, existing, refused;
        struct progress progress;
        uint32_t patience_ms;
        bool stubborn, ended;
        struct buf later; /* why lines have to be sent again */
};

/* --- lines ------------------------------------------------------------------------------------ */

int line_prepare(struct buf *page, struct str line, const char *key, bool *ret_minted,
                 struct buf *ret_reason)
{
        struct json_fault fault;
        struct json_walk walk;
        struct json_item item;
        bool has_key = false, empty = true;
        int r = json_walk_begin(&walk, line, &fault);
        if (r == 0 && !walk.object) {
                r = json_check(line, &fault);
                fault = r ? fault : (struct json_fault){0, "a job is a JSON object"};
                r = JSON_BAD;
        }
        while (r == 0 && (r = json_walk_next(&walk, &item, &fault)) == 0) {
                empty = false;
                if (str_eq(item.name, STR("key"))) {
                        has_key = true;
                }
        }
        if (r != JSON_END) {
                buf_printf(ret_reason, "not a JSON object: byte %zu: %s", fault.at + 1, fault.what);
                return LINE_REFUSED;
        }
        const char *open = memchr(line.p, '{', line.n);
        if (!has_key) {
                buf_text(page, "{\"key\":\"");
                buf_text(page, key);
                buf_text(page, empty ? "\"" : "\",");
                buf_add(page, open + 1, (size_t)(line.p + line.n - open - 1));
        } else {
                buf_add(page, line.p, line.n);
        }
        buf_text(page, "\n");
        *ret_minted = !has_key;
        return 0;
}

static void describe_refusal(const json_t *line, struct buf *ret_reason)
{
        const json_t *problem = pick(line, "error");
        problem = json_is_object(problem) ? problem : line;
        const char *detail = pick_text(problem, "detail|title|error"),
                   *field = pick_text(problem, "field");
        buf_text(ret_reason, detail ? detail : "refused without a reason");
        if (field && !(detail && strstr(detail, field))) {
                buf_printf(ret_reason, " (field %s)", field);
        }
}

/* What most answers say, read without building their values. false: it says something else. */
static bool judge_plain(struct str answer, struct str *ret_id, bool *ret_existing)
{
        struct json_fault fault;
        struct json_walk walk;
        struct json_item item;
        struct str id = {0};
        bool good = false;
        int r = json_walk_begin(&walk, answer, &fault);
        *ret_existing = false;
        while (r == 0 && (r = json_walk_next(&walk, &item, &fault)) == 0) {
                if (str_eq(item.name, STR("id"))) {
                        id = item.value;
                } else if (str_eq(item.name, STR("status"))) {
                        good = str_eq(item.value, STR("201"));
                } else if (str_eq(item.name, STR("existing"))) {
                        *ret_existing = str_eq(item.value, STR("true"));
                }
        }
        bool plain = r == JSON_END && walk.object && good && id.n > 2 && id.p[0] == '"' &&
                     !memchr(id.p, '\\', id.n);
        if (plain) {
                *ret_id = (struct str){id.p + 1, id.n - 2};
        }
        return plain;
}

enum line_fate line_judge(struct str answer, struct buf *ret_id, struct buf *ret_reason)
{
        struct str plain;
        bool existing;
        if (judge_plain(answer, &plain, &existing)) {
                buf_add(ret_id, plain.p, plain.n);
                return existing ? LINE_EXISTS : LINE_CREATED;
        }
        CLEANUP(json_cleanup)
        json_t *o = json_loadb(answer.p, answer.n, JSON_ALLOW_NUL, NULL);
        const char *id = pick_text(o, "id");
        json_int_t status = json_integer_value(pick(o, "status"));
        if (status >= 400) {
                describe_refusal(o, ret_reason);
                return status == 429 || status >= 500 ? LINE_LATER : LINE_NOT_TAKEN;
        }
        if (!id) {
                return LINE_NONSENSE;
        }
        buf_text(ret_id, id);
        return json_is_true(pick(o, "existing")) || status == 200 ? LINE_EXISTS : LINE_CREATED;
}

static void refuse_line(struct feed *f, uint64_t number, const char *reason)
{
        progress_clear(&f->progress);
        f->refused++;
        say("%s: line %llu: %s", f->name, (unsigned long long)number, reason);
}

/* More bytes of the file. false: there are none. */
static bool read_block(struct feed *f)
{
        f->block_at = 0;
        f->block_n = fread(f->block, 1, sizeof f->block, f->file);
        f->bytes += f->block_n;
        return f->block_n > 0;
}

/* A line over the limit is cut. */
static void keep_part(struct feed *f, const char *p, size_t n, bool *ret_long)
{
        size_t room = FEED_LINE_MAX - f->line.n;
        *ret_long |= n > room;
        buf_add(&f->line, p, n < room ? n : room);
}

/* One line without its newline, valid until the next. false: the end. *ret_long: it is over the
 * limit. Most lines lie within a block and are not copied. */
static bool read_line(struct feed *f, struct str *ret_line, bool *ret_long)
{
        buf_reset(&f->line);
        *ret_long = false;
        for (bool any = false;; any = true) {
                if (f->block_at == f->block_n && !read_block(f)) {
                        f->number += any;
                        *ret_line = (struct str){buf_z(&f->line), (uint32_t)f->line.n};
                        return any;
                }
                const char *p = f->block + f->block_at;
                size_t left = f->block_n - f->block_at;
                const char *end = memchr(p, '\n', left);
                size_t n = end ? (size_t)(end - p) : left;
                f->block_at += n + (end != NULL);
                if (end && !any) {
                        f->number++;
                        *ret_line = (struct str){p, (uint32_t)n};
                        return true;
                }
                keep_part(f, p, n, ret_long);
                if (end) {
                        f->number++;
                        *ret_line = (struct str){buf_z(&f->line), (uint32_t)f->line.n};
                        return true;
                }
        }
}

static bool is_blank(struct str line)
{
        uint32_t i = 0;
        while (i < line.n && strchr(" \t\r", line.p[i]) && line.p[i]) {
                i++;
        }
        return i == line.n;
}

/* Takes lines until the page is full or the file ends. */
static void fill_page(struct feed *f)
{
        CLEANUP(buf_deinit)
        struct buf reason = {0};
        char key[JOB_ID_TEXT];
        struct str line;
        bool too_long;
        buf_reset(&f->page);
        f->n = 0;
        while (f->n < PAGE_LINES && f->page.n < PAGE_BYTES) {
                if (!read_line(f, &line, &too_long)) {
                        f->ended = true;
                        return;
                }
                struct page_line *l = &f->lines[f->n];
                *l = (struct page_line){.at = f->page.n, .number = f->number};
                if (too_long) {
                        refuse_line(f, f->number, "longer than 4 MiB");
                        continue;
                }
                if (is_blank(line)) {
                        continue;
                }
                key_mint(key);
                buf_reset(&reason);
                if (line_prepare(&f->page, line, key, &l->minted, &reason) != 0) {
                        refuse_line(f, f->number, buf_z(&reason));
                        continue;
                }
                l->n = f->page.n - l->at;
                f->n++;
        }
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool take_answer(struct feed *f, const struct page_line *l, struct str answer)
{
        CLEANUP(buf_deinit)
        struct buf id = {0}, reason = {0};
        enum line_fate fate = line_judge(answer, &id, &reason);
        buf_reset(&f->later);
        switch (fate) {
        case LINE_NONSENSE: buf_text(&f->later, "the answer is not a line per line"); return false;
        case LINE_LATER: buf_add(&f->later, buf_z(&reason), reason.n); return false;
        case LINE_NOT_TAKEN: refuse_line(f, l->number, buf_z(&reason)); return true;
        case LINE_EXISTS:
                /* Nobody else has our key: it was our own earlier try that created it. */
                if (l->minted && l->resent) {
                        f->created++;
                } else {
                        f->existing++;
                }
                break;
        case LINE_CREATED: f->created++; break;
        }
        if (f->in->output == OUTPUT_ID) {
                CLEANUP(free_text)
                char *safe = text_safe(buf_z(&id));
                puts(safe);
        }
        return true;
}

/* How many of the n lines the answer speaks of. */
static size_t take_answers(struct feed *f, const struct page_line *lines, size_t n,
                           const struct response *r)
{
        const char *p = buf_z(&r->body), *end = p + r->body.n;
        size_t taken = 0;
        while (p < end && taken < n) {
                const char *stop = memchr(p, '\n', (size_t)(end - p));
                if (!stop) {
                        stop = end; /* a last line without newline counts when it is whole JSON */
                }
                if (stop > p) {
                        if (!take_answer(f, &lines[taken], (struct str){p, (uint32_t)(stop - p)})) {
                                break;
                        }
                        taken++;
                }
                p = stop + 1;
        }
        return taken;
}

/* --- pages ------------------------------------------------------------------------------------ */

static void say_stopped(struct feed *f, const struct page_line *first, bool unknown)
{
        progress_clear(&f->progress);
        say("%s: stopped at line %llu%s; go on with: tail -n +%llu FILE | skep enqueue -f -%s",
            f->name, (unsigned long long)first->number,
            unknown ? ", and it is not known whether it and the page that it begins were taken"
                    : "",
            (unsigned long long)first->number,
            unknown ? " (lines with a key of their own are safe to repeat)" : "");
}

static int give_up(struct feed *f, int failure, const struct response *r,
                   const struct page_line *first)
{
        progress_clear(&f->progress);
        bool unknown = failure == CALL_CUT || r->doubtful || first->resent || r->status == 503;
        int code = failure ? client_say_failure(f->client, failure) : client_say_problem(r, NULL);
        say_stopped(f, first, unknown);
        return code;
}

static int send_lines(struct feed *f, struct page_line *lines, size_t n);

static int judge_refusal(struct feed *f, struct page_line *lines, size_t n,
                         const struct response *answer)
{
        if (answer->status != 400 && answer->status != 413 && answer->status != 422) {
                return give_up(f, 0, answer, lines);
        }
        if (n > 1) { /* which one is it? */
                int r = send_lines(f, lines, n / 2);
                return r ? r : send_lines(f, lines + n / 2, n - n / 2);
        }
        CLEANUP(free_text)
        char *text = client_problem_text(answer);
        refuse_line(f, lines[0].number, text);
        return 0;
}

static int send_once(struct feed *f, const struct page_line *lines, size_t n, struct response *ret)
{
        size_t end = lines[n - 1].at + lines[n - 1].n;
        struct request rq = {.method = "POST",
                             .path = "/v1/jobs",
                             .content_type = "application/x-ndjson",
                             .body = f->page.p + lines[0].at,
                             .body_n = end - lines[0].at,
                             .timeout_ms = 30000};
        int r = client_insist(f->client, &rq, f->patience_ms, f->stubborn, ret);
        f->stubborn = f->stubborn || r == 0; /* once met, a restart of the server is waited for */
        return r;
}

/* Sends the lines until each has its answer: what the server left out or could not write now is
 * sent again, from the first such line on; those behind it keep their keys and are the same jobs.
 */
static int send_lines(struct feed *f, struct page_line *lines, size_t n)
{
        CLEANUP(response_deinit)
        struct response answer = {0};
        int64_t give_up_ms = clock_ms() + f->patience_ms, pause_ms = 100;
        while (n > 0) {
                int r = send_once(f, lines, n, &answer);
                for (size_t i = 0; i < n && answer.tries > 1; i++) {
                        lines[i].resent = true;
                }
                if (r) {
                        return give_up(f, r, &answer, lines);
                }
                if (answer.status / 100 != 2) {
                        return judge_refusal(f, lines, n, &answer);
                }
                size_t taken = take_answers(f, lines, n, &answer);
                lines += taken;
                n -= taken;
                for (size_t i = 0; i < n; i++) {
                        lines[i].resent = true;
                }
                if (n > 0 && taken == 0) {
                        if (clock_ms() + pause_ms >= give_up_ms) {
                                progress_clear(&f->progress);
                                say("%s: %s", client_url(f->client),
                                    f->later.n ? f->later.p : "answers too few lines");
                                say_stopped(f, lines, true);
                                return EXIT_LATER;
                        }
                        sleep_ms(pause_ms);
                        pause_ms = pause_ms * 2 < 5000 ? pause_ms * 2 : 5000;
                }
        }
        return 0;
}

static int run_pages(struct feed *f)
{
        while (!f->ended) {
                fill_page(f);
                if (ferror(f->file)) {
                        say("%s: %s", f->name, strerror(errno));
                        return EXIT_NO_INPUT;
                }
                int r = send_lines(f, f->lines, f->n);
                if (r) {
                        return r;
                }
                progress_tell(&f->progress, f->created + f->existing + f->refused, f->bytes);
        }
        return 0;
}

static void print_summary(const struct feed *f)
{
        unsigned long long created = f->created, existing = f->existing, refused = f->refused;
        if (f->in->output == OUTPUT_JSON || f->in->output == OUTPUT_NDJSON) {
                printf("{\"created\":%llu,\"existing\":%llu,\"refused\":%llu}\n", created, existing,
                       refused);
                return;
        }
        fflush(stdout);
        fprintf(f->in->output == OUTPUT_ID ? stderr : stdout,
                "%llu created, %llu existing, %llu refused\n", created, existing, refused);
}

static void feed_free(struct feed **f)
{
        if (*f) {
                if ((*f)->file && (*f)->file != stdin) {
                        fclose((*f)->file);
                }
                client_free((*f)->client);
                buf_deinit(&(*f)->line);
                buf_deinit(&(*f)->page);
                buf_deinit(&(*f)->later);
                free(*f);
        }
}

int feed_run(struct invocation *in, const char *file)
{
        CLEANUP(feed_free)
        struct feed *f = text_alloc(sizeof *f);
        bool is_stdin = strcmp(file, "-") == 0;
        f->in = in;
        f->name = is_stdin ? "standard input" : file;
        f->file = is_stdin ? stdin : fopen(file, "re");
        if (!f->file) {
                say("%s: %s", file, strerror(errno));
                return EXIT_NO_INPUT;
        }
        int r = read_patience(in, &f->patience_ms, &f->stubborn);
        r = r ? r : client_open(in, &f->client);
        if (r) {
                return r;
        }
        struct stat st;
        bool sized = fstat(fileno(f->file), &st) == 0 && S_ISREG(st.st_mode);
        progress_start(&f->progress, "jobs", sized ? (uint64_t)st.st_size : 0);
        r = run_pages(f);
        progress_clear(&f->progress);
        print_summary(f);
        return r ? r : f->refused > 0 ? EXIT_REFUSED : 0;
}
