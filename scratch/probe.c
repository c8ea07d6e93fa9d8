/*
 * How often a second something becomes durable, and how long each time takes: the clock of the
 * probes of a disk and of a database.
 */
#include "scratch/scratch.h"

#include <stdlib.h>
#include <time.h>

static double now_s(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void probe_begin(struct probe *p)
{
        p->n = 0;
        p->seconds = 0;
        p->begin = now_s();
}

void probe_mark(struct probe *p)
{
        double seconds = now_s() - p->begin;
        p->took[p->n++] = seconds - p->seconds;
        p->seconds = seconds;
}

bool probe_goes_on(const struct probe *p, double seconds)
{
        return p->seconds < seconds && p->n < PROBE_MAX;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return x < y ? -1 : x > y;
}

double probe_ms(struct probe *p, long percent)
{
        qsort(p->took, (size_t)p->n, sizeof *p->took, compare);
        return p->n ? p->took[p->n * percent / 100] * 1e3 : 0;
}
