/*
 * The probe: loads a plug-in that nobody has loaded before, tells skepd what it offers, ends.
 * Whatever goes wrong in here is the plug-in's fault and kills nobody else. A constructor that
 * starts a process is killed by the kernel on the spot (seccomp), so that nothing can outlive the
 * probe; skepd kills the process group afterwards all the same.
 */
#include "plugins/worker/worker.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 64

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ON_CALL(nr, action)                                                                        \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, (action))

/* Threads yes, processes no. clone3 hides its flags from the filter: ENOSYS makes the C library use
 * clone. */
static void forbid_processes(void)
{
#ifdef THIS_ARCH
        struct sock_filter filter[] = {
            LOAD(arch),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            LOAD(nr),
            ON_CALL(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS),
#ifdef SYS_fork
            ON_CALL(SYS_fork, SECCOMP_RET_KILL_PROCESS),
            ON_CALL(SYS_vfork, SECCOMP_RET_KILL_PROCESS),
#endif
            ON_CALL(SYS_execve, SECCOMP_RET_KILL_PROCESS),
            ON_CALL(SYS_execveat, SECCOMP_RET_KILL_PROCESS),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
            LOAD(args[0]),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {ARRAY_LEN(filter), filter};
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program); /* without it: children_left() */
#endif
}

static bool children_left(void)
{
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
        return pid > 0 || (pid == 0);
}

static void limit_resources(void)
{
        struct rlimit cpu = {30, 30}, files = {64, 64}, size = {0, 0};
        setrlimit(RLIMIT_CPU, &cpu);
        setrlimit(RLIMIT_NOFILE, &files);
        setrlimit(RLIMIT_FSIZE, &size);
        if (!SANITIZED) {
                struct rlimit memory = {(rlim_t)4 << 30, (rlim_t)4 << 30};
                setrlimit(RLIMIT_AS, &memory);
        }
}

static void say_no(const char *why)
{
        uint8_t bytes[1024];
        struct wire_out o = {.p = bytes, .max = sizeof bytes};
        wire_put_u32(&o, WIRE_NO);
        wire_put_str(&o, (struct str){why, (uint32_t)strnlen(why, 900)});
        wire_frame_send(FD_SOCKET, o.p, o.n, NULL, 0, 0);
}

static void put_text(struct wire_out *o, const char *z)
{
        wire_put_u32(o, z != NULL);
        wire_put_str(o, str_of(z ? z : ""));
}

static const char *put_options(struct wire_out *o, const struct skep_handler *h)
{
        uint32_t n = h->options ? h->n_options : 0;
        if (n > OPTIONS_MAX || (n && h->option_size < 2 * sizeof(char *)) ||
            h->option_size > 1024) {
                return "a handler's options have impossible sizes (use SKEP_OPTIONS)";
        }
        wire_put_u32(o, n);
        for (uint32_t i = 0; i < n; i++) {
                struct skep_option option = handler_option_at(h, i);
                put_text(o, option.name);
                put_text(o, option.kind);
                put_text(o, option.value);
                put_text(o, option.help);
        }
        return NULL;
}

static const char *put_handler(struct wire_out *o, const struct skep_handler *h)
{
        if (!h->type) {
                return "a handler has no type";
        }
        if (!h->run && !h->run_batch) {
                return "a handler has neither run nor run_batch";
        }
        if (h->batch_max > 1 && !h->run_batch) {
                return "a handler says batch_max and has no run_batch";
        }
        wire_put_u32(o, h->flags);
        wire_put_u32(o, h->timeout_ms);
        wire_put_u32(o, h->concurrency);
        wire_put_u32(o, h->batch_max);
        wire_put_u32(o, h->batch_wait_ms);
        wire_put_u32(o, h->heartbeat_ms);
        put_text(o, h->type);
        put_text(o, h->summary);
        put_text(o, h->schema);
        return put_options(o, h);
}

static const char *describe(const struct skep_plugin *p, struct wire_out *o)
{
        wire_put_u32(o, WIRE_MANIFEST);
        wire_put_u32(o, p->abi);
        put_text(o, p->name);
        put_text(o, p->version);
        wire_put_u32(o, p->n_handlers);
        for (uint32_t i = 0; i < p->n_handlers; i++) {
                struct skep_handler h = plugin_handler(p, i);
                const char *bad = put_handler(o, &h);
                if (bad) {
                        return bad;
                }
        }
        return o->full ? "its description is longer than 190 KiB" : NULL;
}

void probe_main(int32_t parent)
{
        static uint8_t bytes[190 << 10];
        struct wire_out o = {.p = bytes, .max = sizeof bytes};
        const struct skep_plugin *p;
        char note[512];
        child_settle(parent);
        prctl(PR_SET_NAME, "skep-probe");
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        limit_resources();
        crash_watch(NULL);
        forbid_processes();
        if (plugin_load(FD_PAGE, &p, note, sizeof note) < 0) {
                say_no(note);
                _exit(0);
        }
        const char *bad = describe(p, &o);
        if (!bad && children_left()) {
                bad =
                    "its constructor starts processes, which a plug-in must not do while it loads";
        }
        if (bad) {
                say_no(bad);
        } else {
                wire_frame_send(FD_SOCKET, o.p, o.n, NULL, 0, 0);
        }
        _exit(0);
}
