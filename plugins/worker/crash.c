/*
 * What a dying worker leaves behind: the signal and a backtrace with names, in its page. Runs
 * inside a signal handler in a process whose memory may be broken: no allocation, no stdio, no lock
 * of ours. A second fault in here kills at once, since the signal is blocked meanwhile; skepd then
 * knows the signal all the same.
 */
#include "plugins/worker/worker.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define FRAMES_MAX 32
#define STACK_SIZE (64u << 10)

static const struct {
        int number;
        const char *name;
        bool address; /* si_addr means something */
} fatal[] = {
    {SIGSEGV, "SIGSEGV", true}, {SIGBUS, "SIGBUS", true},    {SIGILL, "SIGILL", true},
    {SIGFPE, "SIGFPE", true},   {SIGABRT, "SIGABRT", false}, {SIGSYS, "SIGSYS", false},
};

static struct page *page_of;
static char local_text[4 + CRASH_TEXT]; /* kind, then text: for a probe */

struct text {
        char *p;
        size_t n;
};

static void add(struct text *t, const char *z)
{
        while (*z && t->n < CRASH_TEXT) {
                t->p[t->n++] = *z++;
        }
}

static void add_hex(struct text *t, uintptr_t v)
{
        char digits[2 * sizeof v + 3];
        size_t at = sizeof digits - 1;
        digits[at] = 0;
        do {
                digits[--at] = "0123456789abcdef"[v & 15];
                v >>= 4;
        } while (v);
        digits[--at] = 'x';
        digits[--at] = '0';
        add(t, digits + at);
}

static void add_decimal(struct text *t, unsigned v)
{
        char digits[12];
        size_t at = sizeof digits - 1;
        digits[at] = 0;
        do {
                digits[--at] = (char)('0' + v % 10);
                v /= 10;
        } while (v);
        add(t, digits + at);
}

static const char *base_name(const char *path)
{
        if (strncmp(path, "/proc/self/fd/", 14) == 0) {
                return "the plug-in"; /* while its constructors run */
        }
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

static void add_frame(struct text *t, unsigned i, void *address)
{
        Dl_info info;
        add(t, "\n#");
        add_decimal(t, i);
        add(t, " ");
        if (!dladdr(address, &info) || !info.dli_fname) {
                add_hex(t, (uintptr_t)address);
                return;
        }
        const char *file = plugin_name_at(info.dli_fbase);
        if (info.dli_sname) {
                add(t, info.dli_sname);
                add(t, "+");
                add_hex(t, (uintptr_t)address - (uintptr_t)info.dli_saddr);
        } else {
                add_hex(t, (uintptr_t)address - (uintptr_t)info.dli_fbase);
        }
        add(t, " (");
        add(t, file ? file : base_name(info.dli_fname));
        add(t, ")");
}

static void *fault_pc(const void *context)
{
#if defined(__x86_64__)
        return (void *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
        return (void *)((const ucontext_t *)context)->uc_mcontext.pc;
#else
        (void)context;
        return NULL;
#endif
}

/* Of the worker program: how it came to call the handler tells nobody anything. */
static bool is_own(void *address)
{
        Dl_info here, there;
        return dladdr((void *)(uintptr_t)crash_watch, &here) && dladdr(address, &there) &&
               here.dli_fbase == there.dli_fbase;
}

/* The frames above the place of the fault are this handler's own. */
static void add_backtrace(struct text *t, const void *context)
{
        void *frames[FRAMES_MAX];
        int n = backtrace(frames, FRAMES_MAX), first = 0;
        void *pc = fault_pc(context);
        for (int i = 0; i < n; i++) {
                if (frames[i] == pc) {
                        first = i;
                        break;
                }
        }
        for (int i = first; i < n && (i == first || !is_own(frames[i])); i++) {
                int again = 0;
                add_frame(t, (unsigned)(i - first), frames[i]);
                for (; i + 1 < n && frames[i + 1] == frames[i]; i++) {
                        again++;
                }
                if (again) {
                        add(t, " and again, at least ");
                        add_decimal(t, (unsigned)again);
                        add(t, " times");
                }
        }
}

static void leave_text(struct text *t)
{
        if (page_of) {
                atomic_store_explicit(&page_of->crash_n, (uint32_t)t->n, memory_order_release);
                return;
        }
        uint32_t kind = WIRE_CRASH;
        memcpy(local_text, &kind, sizeof kind);
        wire_frame_send(FD_SOCKET, local_text, sizeof kind + t->n, NULL, 0, MSG_DONTWAIT);
}

static void on_fatal(int signo, siginfo_t *info, void *context)
{
        struct text t = {page_of ? page_of->crash_text : local_text + 4, 0};
        for (size_t i = 0; i < ARRAY_LEN(fatal); i++) {
                if (fatal[i].number == signo) {
                        add(&t, fatal[i].name);
                        if (fatal[i].address && info->si_code > 0) {
                                add(&t, " (address ");
                                add_hex(&t, (uintptr_t)info->si_addr);
                                add(&t, ")");
                        }
                }
        }
        leave_text(&t); /* the name at least, should the backtrace fail */
        add_backtrace(&t, context);
        leave_text(&t);
        signal(signo, SIG_DFL);
        syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), signo);
}

void crash_warm_up(void)
{
        void *frames[2];
        Dl_info info;
        backtrace(frames, 2); /* loads libgcc_s, which allocates */
        dladdr((void *)(uintptr_t)crash_warm_up, &info);
}

void crash_watch(struct page *page)
{
        page_of = page;
        if (SANITIZED) {
                crash_warm_up(); /* the zygote's was lost with its image */
        }
        void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (stack != MAP_FAILED) {
                stack_t alternate = {.ss_sp = stack, .ss_size = STACK_SIZE};
                sigaltstack(&alternate, NULL);
        }
        struct sigaction a = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&a.sa_mask);
        for (size_t i = 0; i < ARRAY_LEN(fatal); i++) {
                sigaction(fatal[i].number, &a, NULL);
        }
}
