/*
 * pthread_timedjoin_np() counts in wall time; the caller does not.
 */
#include "transports/desk/thread.h"

#include <sched.h>
#include <time.h>

#include "transports/desk/desk.h"
#include "transports/desk/pause.h"

void thread_stop(pthread_mutex_t *mutex, bool *flag, int wake_fd)
{
        pthread_mutex_lock(mutex);
        *flag = true;
        pthread_mutex_unlock(mutex);
        desk_wake(wake_fd);
}

void thread_join(pthread_t thread, bool started, int64_t until_ns)
{
        int64_t left = until_ns - clock_ns();
        struct timespec at;
        (void)clock_gettime(CLOCK_REALTIME, &at);
        left = (left < 0 ? 0 : left) + at.tv_nsec;
        at.tv_sec += left / NS_PER_S;
        at.tv_nsec = left % NS_PER_S;
        if (started && pthread_timedjoin_np(thread, NULL, &at) != 0) {
                pthread_detach(thread);
        }
}

void thread_yield_wakeups(void)
{
        (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
}
