/*
 * What the tests of configuration loading share: a temporary folder, files in it, one load and what
 * its report must say.
 */
#ifndef SKEP_TESTS_UNIT_CONFIG_FOLDER_H
#define SKEP_TESTS_UNIT_CONFIG_FOLDER_H

#include "daemon/config_load.h"
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

struct loaded {
        struct config config;
        struct config_report report;
        int r;
};

static inline void write_mode(const char *name, const char *text, size_t n, mode_t mode)
{
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
                *slash = 0;
                mkdir(path, 0700);
                *slash = '/';
        }
        FILE *f = fopen(path, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_EQUAL(fwrite(text, 1, n, f), n);
        fclose(f);
        chmod(path, mode);
}

static inline void write_file(const char *name, const char *text)
{
        write_mode(name, text, strlen(text), 0600);
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        (void)st, (void)kind, (void)at;
        return remove(path);
}

static inline void open_folder(void)
{
        const char *tmp = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%.200s/skep-config-XXXXXX", tmp ? tmp : "/tmp");
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static inline void close_folder(void)
{
        nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; good until four more were asked for. */
static inline const char *in(const char *name)
{
        static char paths[4][512];
        static unsigned next;
        char *path = paths[next++ % 4];
        snprintf(path, sizeof paths[0], "%s/%s", folder, name);
        return path;
}

static inline struct loaded load_with(const char *file, const char *const *environment,
                                      const struct config_flag *flags, uint32_t n_flags)
{
        static const struct config_flag defaults[] = {{"build", "handlers.dir", "/opt/handlers"}};
        struct config_sources s = {.file = file,
                                   .environ = environment,
                                   .flags = flags,
                                   .n_flags = n_flags,
                                   .defaults = defaults,
                                   .n_defaults = 1,
                                   .root = true};
        struct loaded l = {0};
        l.r = config_load(&s, &l.config, &l.report);
        return l;
}

static inline void unload(struct loaded *l)
{
        config_deinit(&l->config);
        config_report_deinit(&l->report);
}

static inline struct loaded load_text(const char *text)
{
        write_file("skep.conf", text);
        return load_with(in("skep.conf"), NULL, NULL, 0);
}

static inline void print_report(const struct loaded *l)
{
        for (uint32_t i = 0; i < config_lines(l->report.n_errors); i++) {
                printf("\n  %s", l->report.errors[i].p);
        }
}

static inline bool has_error(const struct loaded *l, const char *part)
{
        for (uint32_t i = 0; i < config_lines(l->report.n_errors); i++) {
                if (strstr(l->report.errors[i].p, part)) {
                        return true;
                }
        }
        return false;
}

static inline void expect_error(struct loaded *l, const char *part)
{
        if (l->r != CONFIG_LOAD_REFUSED || !has_error(l, part)) {
                printf("\n  wanted: %s", part);
                print_report(l);
                CU_FAIL("an error line");
        }
        unload(l);
}

static inline void expect_ok(const struct loaded *l)
{
        if (l->r != 0 || l->report.n_errors != 0) {
                print_report(l);
                CU_FAIL("a configuration without mistakes");
        }
}

#endif
