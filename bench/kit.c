/*
 * Clocks, ids and payloads of the benchmark's programs; see kit.h.
 */
#include "bench/kit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

long payload_size = 256;

void die(const char *format, ...)
{
        va_list args;
        fprintf(stderr, "%s: ", program_invocation_short_name);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        exit(1);
}

int64_t wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

double monotonic_s(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void sleep_until(double when_s)
{
        double left = when_s - monotonic_s();
        if (left > 0) {
                long ns = (long)((left - (double)(time_t)left) * 1e9);
                nanosleep(&(struct timespec){(time_t)left, ns}, NULL);
        }
}

double cpu_seconds(void)
{
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

long number_of(const char *text, long least, long most)
{
        char *end;
        errno = 0;
        long n = strtol(text, &end, 10);
        if (errno || *end || end == text || n < least || n > most) {
                die("%s is not a whole number from %ld to %ld", text, least, most);
        }
        return n;
}

#define PAYLOAD_LEAST 32 /* what is audited fits in */
#define PAYLOAD_SMALL 2048

void take_payload_size(int *argc, char ***argv)
{
        if (*argc > 2 && strcmp((*argv)[1], "--payload") == 0) {
                payload_size = number_of((*argv)[2], PAYLOAD_LEAST, PAYLOAD_MAX);
                (*argv)[2] = (*argv)[0];
                *argc -= 2;
                *argv += 2;
        }
}

bool payload_is_large(void)
{
        return payload_size > PAYLOAD_SMALL;
}

static uint64_t random_bits(void)
{
        static uint64_t state;
        if (!state && getrandom(&state, sizeof state, 0) != sizeof state) {
                die("getrandom: %s", strerror(errno));
        }
        state |= !state;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

void make_uuid(uint8_t ret_id[16])
{
        uint64_t ms = (uint64_t)wall_us() / 1000, a = random_bits(), b = random_bits();
        for (int i = 0; i < 6; i++) {
                ret_id[i] = (uint8_t)(ms >> (40 - 8 * i));
        }
        memcpy(ret_id + 6, &a, 8);
        memcpy(ret_id + 14, &b, 2);
        ret_id[6] = (ret_id[6] & 15) | 0x70;
        ret_id[8] = (ret_id[8] & 63) | 0x80;
}

void make_random_uuid(uint8_t ret_id[16])
{
        uint64_t a = random_bits(), b = random_bits();
        memcpy(ret_id, &a, 8);
        memcpy(ret_id + 8, &b, 8);
        ret_id[6] = (ret_id[6] & 15) | 0x40;
        ret_id[8] = (ret_id[8] & 63) | 0x80;
}

void uuid_text(const uint8_t id[16], char ret_text[37])
{
        static const char digits[] = "0123456789abcdef";
        char *p = ret_text;
        for (int i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10) {
                        *p++ = '-';
                }
                *p++ = digits[id[i] >> 4];
                *p++ = digits[id[i] & 15];
        }
        *p = 0;
}

static int nibble(char c)
{
        if (c >= '0' && c <= '9') {
                return c - '0';
        }
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *text, size_t n, uint8_t ret_id[16])
{
        if (n != 36) {
                return 1;
        }
        for (int i = 0; i < 16; i++) {
                text += i == 4 || i == 6 || i == 8 || i == 10;
                int high = nibble(text[0]), low = nibble(text[1]);
                if (high < 0 || low < 0) {
                        return 1;
                }
                ret_id[i] = (uint8_t)(high << 4 | low);
                text += 2;
        }
        return 0;
}

static void put_digits(char *p, int width, uint64_t value)
{
        for (int i = width - 1; i >= 0; i--) {
                p[i] = (char)('0' + value % 10);
                value /= 10;
        }
}

void make_payload(int64_t now_us, long number, char *ret_bytes)
{
        memset(ret_bytes, 'x', (size_t)payload_size);
        put_digits(ret_bytes, 20, (uint64_t)now_us);
        ret_bytes[20] = ' ';
        put_digits(ret_bytes + 21, 10, (uint64_t)number);
        ret_bytes[31] = ' ';
}

int64_t payload_time(const char *bytes)
{
        int64_t t = 0;
        for (int i = 0; i < 20; i++) {
                t = t * 10 + (bytes[i] - '0');
        }
        return t;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return x < y ? -1 : x > y;
}

void sort_times(double *seconds, long n)
{
        qsort(seconds, (size_t)n, sizeof *seconds, compare);
}

void print_latency(double *seconds, long n)
{
        sort_times(seconds, n);
        printf("{\"jobs\":%ld,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", n, seconds[n / 2] * 1e3,
               seconds[n * 99 / 100] * 1e3);
}
