/*
 * What `skep dev` starts in its tests in place of skepd: understands the same flags, answers
 * /readyz and just enough of the jobs API for the demo, and stops at SIGTERM. FAKE_SKEPD=dies: ends
 * with 78 at once; FAKE_SKEPD=fails: the job that should complete at its third attempt is dead;
 * FAKE_SKEPD=stubborn: its end takes an exit code of 9.
 */
#include "tests/unit/test-cli-fake.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *mode = "";

static void answer_job(const char *id, struct fake_reply *reply)
{
        bool fails = strcmp(id, "4") == 0;
        bool dead = fails && strcmp(mode, "fails") == 0;
        buf_printf(&reply->body, "{\"id\":\"%s\",\"type\":\"x\",\"state\":\"%s\",\"attempt\":%d%s}",
                   id, dead ? "dead" : "completed", fails ? 3 : 1,
                   dead ? ",\"reason\":\"exhausted\"" : "");
}

static void answer(struct fake *f, const struct fake_request *rq, struct fake_reply *reply)
{
        if (strcmp(rq->path, "/readyz") == 0) {
                reply->status = f->number++ < 2 ? 503 : 200; /* not at once */
                buf_text(&reply->body, "{}");
        } else if (strcmp(rq->method, "POST") == 0) {
                static int jobs;
                reply->status = 201;
                buf_printf(&reply->body, "{\"id\":\"%d\",\"state\":\"pending\"}", ++jobs);
        } else {
                answer_job(strrchr(rq->path, '/') + 1, reply);
        }
}

int main(int argc, char **argv)
{
        static struct fake f;
        sigset_t stop;
        const char *path = NULL;
        int signal = 0;
        mode = getenv("FAKE_SKEPD") ? getenv("FAKE_SKEPD") : "";
        for (int i = 1; i + 1 < argc; i++) {
                if (strcmp(argv[i], "--set") == 0 &&
                    strncmp(argv[i + 1], "http.socket=", 12) == 0) {
                        path = argv[i + 1] + 12;
                }
        }
        if (!path || strcmp(mode, "dies") == 0) {
                fputs("level=error msg=\"cannot start\"\n", stderr);
                return 78;
        }
        sigemptyset(&stop);
        sigaddset(&stop, SIGTERM);
        sigprocmask(SIG_BLOCK, &stop, NULL);
        fake_start_at(&f, path, answer);
        sigwait(&stop, &signal);
        fake_stop(&f);
        fputs("level=info msg=stopped\n", stderr);
        return strcmp(mode, "stubborn") == 0 ? 9 : 0;
}
