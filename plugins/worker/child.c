/*
 * The first steps of every forked child, worker or probe. Order matters: the death signal before
 * the check that skepd still lives, so that no moment is left in which it could die unnoticed.
 */
#include "plugins/worker/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_USUAL                                                                                \
        1024 /* select() and loops over all descriptors expect no more; a handler may raise it */

/* When memory runs out the kernel shall take a worker, never skepd. */
static void volunteer_for_oom(void)
{
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
                ssize_t ignored = write(fd, "500", 3);
                (void)ignored;
                close(fd);
        }
}

void child_settle(int32_t parent)
{
        struct rlimit no_core = {0, 0}, files;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
                _exit(0);
        }
        setsid();
        setrlimit(RLIMIT_CORE, &no_core);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > FILES_USUAL) {
                files.rlim_cur = FILES_USUAL;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is the handler's EPIPE, not its death */
        umask(077);
        volunteer_for_oom();
}
