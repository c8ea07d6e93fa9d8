/*
 * How far a long piece of work has come. See progress.h.
 */
#include "cli/progress.h"

#include "cli/client.h"
#include "cli/table.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH      24
#define DRAW_EVERY_MS  100
#define PLAIN_EVERY_MS 5000

void count_format(struct buf *out, uint64_t n)
{
        char digits[24];
        int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
        for (int i = 0; i < len; i++) {
                buf_add(out, &digits[i], 1);
                if (i + 1 < len && (len - i - 1) % 3 == 0) {
                        buf_text(out, ",");
                }
        }
}

void progress_start(struct progress *p, const char *what, uint64_t total)
{
        int64_t now = clock_ms();
        bool tty = isatty(STDERR_FILENO);
        *p = (struct progress){.what = what,
                               .total = total,
                               .tty = tty,
                               .started_ms = now,
                               .next_ms = now + (tty ? DRAW_EVERY_MS : PLAIN_EVERY_MS)};
}

void progress_line(struct buf *out, const struct progress *p, uint64_t count, uint64_t part,
                   int64_t now_ms)
{
        int64_t ran_ms = now_ms > p->started_ms ? now_ms - p->started_ms : 1;
        double share = p->total > 0 ? (double)part / (double)p->total : 0;
        share = share > 1 ? 1 : share;
        if (p->total > 0) {
                int full = (int)(share * BAR_WIDTH);
                buf_printf(out, "[%.*s%*s] %3d%%  ", full, "########################",
                           BAR_WIDTH - full, "", (int)(share * 100));
        }
        count_format(out, count);
        buf_printf(out, " %s  ", p->what);
        count_format(out, count * 1000 / (uint64_t)ran_ms);
        buf_text(out, "/s");
        if (share > 0 && share < 1) {
                buf_text(out, "  ");
                span_format(out, (int64_t)((double)ran_ms * (1 - share) / share) / 1000 * US_PER_S);
                buf_text(out, " left");
        }
}

void progress_tell(struct progress *p, uint64_t count, uint64_t part)
{
        int64_t now = clock_ms();
        if (now < p->next_ms) {
                return;
        }
        CLEANUP(buf_deinit)
        struct buf line = {0};
        progress_line(&line, p, count, part, now);
        fprintf(stderr, p->tty ? "\r%s\033[K" : "%s\n", buf_z(&line));
        fflush(stderr);
        p->drawn = p->tty;
        p->next_ms = now + (p->tty ? DRAW_EVERY_MS : PLAIN_EVERY_MS);
}

void progress_clear(struct progress *p)
{
        if (p->drawn) {
                fputs("\r\033[K", stderr);
                fflush(stderr);
                p->drawn = false;
        }
}
