/*
 * How a transport's threads are told to end, and waited for only so long: one that hangs in a name
 * look-up is left behind and ends when it comes back.
 */
#ifndef SKEP_TRANSPORTS_THREAD_H
#define SKEP_TRANSPORTS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Sets the flag under its mutex and wakes whoever sleeps on the eventfd. */
void thread_stop(pthread_mutex_t *mutex, bool *flag, int wake_fd);
/* Joins it by that monotonic time, or detaches it. Not started: nothing. */
void thread_join(pthread_t thread, bool started, int64_t until_ns);

/* From now on this thread, and those that it makes, interrupt nobody when they are woken: they run
 * when a processor is free or the other's turn is over. A library that wakes a thread of its own
 * for every message costs a switch of threads for each one otherwise. */
void thread_yield_wakeups(void);

#endif
