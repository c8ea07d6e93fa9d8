/*
 * What the bare loops and the publisher have in common: clocks, ids, payloads, a percentile, and
 * the way out. A program of bench/ measures; it never goes on after a surprise.
 */
#ifndef SKEP_BENCH_KIT_H
#define SKEP_BENCH_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MAX 65536 /* one frame of AMQP */
#define BATCH_MAX   10000

/* Bytes of a job's payload. Every program takes `--payload N` before its other words. */
extern long payload_size;
void take_payload_size(int *argc, char ***argv);
bool payload_is_large(void); /* so that by hand, too, one keeps it apart from what is updated */

/* Prints "PROGRAM: ..." and exits with 1. */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

int64_t wall_us(void);
double monotonic_s(void);
double cpu_seconds(void); /* of this process so far */

void sleep_until(double when_s); /* of monotonic_s() */

/* A whole number of the command line; anything else ends the program. */
long number_of(const char *text, long least, long most);

void make_uuid(uint8_t ret_id[16]);        /* v7 */
void make_random_uuid(uint8_t ret_id[16]); /* v4 */
void uuid_text(const uint8_t id[16], char ret_text[37]);
int uuid_parse(const char *text, size_t n, uint8_t ret_id[16]); /* 0, or 1: it is none */

/* payload_size bytes: 20 digits of wall microseconds, a space, 10 digits of `number`, a space,
 * then x. What is audited afterwards stands at 1 and at 22. */
void make_payload(int64_t now_us, long number, char *ret_bytes);
int64_t payload_time(const char *bytes);

void sort_times(double *seconds, long n);

/* Sorts, then prints {"jobs":...,"p50_ms":...,"p99_ms":...}. */
void print_latency(double *seconds, long n);

#endif
