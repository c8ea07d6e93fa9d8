/*
 * Starts nats-server as a child that dies with this program. It chooses its port itself and writes
 * it to a file of its folder; that it answers is seen by the first connection.
 */
#include "tests/unit/nats-bed.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES  12000
#define TRY_US 10000

const char *bed_path(const struct nats_bed *b, const char *name)
{
        static char paths[5][256];
        static unsigned next;
        char *p = paths[next++ % 5];
        snprintf(p, sizeof paths[0], "%s/%s", b->folder, name);
        return p;
}

void bed_write(const struct nats_bed *b, const char *name, const char *text)
{
        int fd = open(bed_path(b, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
                perror(name);
                abort();
        }
        close(fd);
}

bool bed_make(struct nats_bed *b)
{
        *b = (struct nats_bed){.folder = BED_FOLDER};
        return mkdtemp(b->folder) != NULL;
}

/* The child's side: never returns. */
static void become(const struct nats_bed *b, const char *log, const char *const *argv)
{
        static const char *const folders[] = {"/usr/sbin/", "/usr/bin/", "/usr/local/bin/"};
        char path[256];
        int fd = open(bed_path(b, log), O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
                snprintf(path, sizeof path, "%s%s", folders[i], argv[0]);
                execv(path, (char *const *)argv);
        }
        fprintf(stderr, "%s is not installed\n", argv[0]);
        _exit(127);
}

static void print_log(const struct nats_bed *b, const char *log)
{
        char line[512];
        FILE *f = fopen(bed_path(b, log), "r");
        while (f && fgets(line, sizeof line, f)) {
                printf("\n  %s", line);
        }
        if (f) {
                fclose(f);
        }
}

bool bed_run(const struct nats_bed *b, const char *const *argv)
{
        int status = -1;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                become(b, "tool.log", argv);
        }
        bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
                  WEXITSTATUS(status) == 0;
        if (!ok) {
                print_log(b, "tool.log");
        }
        return ok;
}

/* 0: not there yet. */
static int read_port(const struct nats_bed *b)
{
        char name[64], text[512] = "";
        snprintf(name, sizeof name, "nats-server_%d.ports", (int)b->pid);
        FILE *f = fopen(bed_path(b, name), "r");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f) {
                fclose(f);
        }
        text[n] = '\0';
        char *url = strstr(text, "://"), *end = url ? strchr(url, '"') : NULL;
        char *colon = end ? memrchr(url, ':', (size_t)(end - url)) : NULL;
        return colon ? atoi(colon + 1) : 0;
}

static void write_config(const struct nats_bed *b, const char *host, const char *config)
{
        char text[16384], whole[20000];
        snprintf(text, sizeof text, "listen: \"%s:-1\"\nports_file_dir: \"%%s\"\n%s\n%s", host,
                 strstr(config, "jetstream") ? "" : "jetstream { store_dir: \"%s/js\" }", config);
        char *out = whole;
        for (const char *p = text; *p; p++) {
                if (p[0] == '%' && p[1] == 's') {
                        out += sprintf(out, "%s", b->folder);
                        p++;
                } else {
                        *out++ = *p;
                }
        }
        *out = '\0';
        bed_write(b, "server.conf", whole);
}

bool bed_start(struct nats_bed *b, const char *host, const char *config)
{
        write_config(b, host, config);
        const char *argv[] = {"nats-server", "-c", bed_path(b, "server.conf"), NULL};
        fflush(NULL);
        b->pid = fork();
        if (b->pid == 0) {
                become(b, "server.log", argv);
        }
        for (int i = 0; i < TRIES && b->pid > 0; i++) {
                b->port = read_port(b);
                if (b->port) {
                        return true;
                }
                if (waitpid(b->pid, NULL, WNOHANG) != 0) {
                        b->pid = 0;
                }
                usleep(TRY_US);
        }
        print_log(b, "server.log");
        return false;
}

void bed_stop(struct nats_bed *b)
{
        if (b->pid > 0) {
                kill(b->pid, SIGKILL);
                waitpid(b->pid, NULL, 0);
        }
        b->pid = 0;
}

void bed_deinit(struct nats_bed *b)
{
        bed_stop(b);
        if (strncmp(b->folder, "/tmp/skep-nats-", 15) == 0) {
                const char *argv[] = {"rm", "-rf", b->folder, NULL};
                pid_t pid = fork();
                if (pid == 0) {
                        execv("/bin/rm", (char *const *)argv);
                        _exit(127);
                }
                waitpid(pid, NULL, 0);
        }
}
