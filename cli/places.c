/*
 * Where things are. See places.h. The rules for the socket and the state folder are core's
 * (config_places), so that the daemon and this program cannot disagree.
 */
#include "cli/places.h"

#include "cli/text.h"
#include "core/config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *read_place(bool root, bool socket)
{
        struct config_surroundings around = {
            .root = root,
            .home = getenv("HOME"),
            .xdg_config_home = getenv("XDG_CONFIG_HOME"),
            .xdg_state_home = getenv("XDG_STATE_HOME"),
            .xdg_runtime_dir = getenv("XDG_RUNTIME_DIR"),
        };
        bool homeless = !around.root && (!around.home || around.home[0] != '/');
        struct arena a = {0};
        struct config_places p;
        char *path = NULL;
        if (homeless && socket && (!around.xdg_runtime_dir || around.xdg_runtime_dir[0] != '/')) {
                return text_printf("/tmp/skep-%u/skep.sock", (unsigned)geteuid());
        }
        if (!(homeless && !around.xdg_state_home && !socket) &&
            config_places(&around, &a, &p) == 0) {
                path = socket ? text_printf("%.*s", (int)p.http_socket.n, p.http_socket.p)
                              : text_printf("%.*s/dev", (int)p.state_dir.n, p.state_dir.p);
        }
        arena_deinit(&a);
        return path;
}

char *place_socket(void)
{
        char *path = read_place(geteuid() == 0, true);
        return path ? path : text_copy("/run/skep/skep.sock");
}

char *place_dev(void)
{
        return read_place(false, false); /* also root's is a private one, in its home */
}

char *place_self(void)
{
        char path[4096];
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        return n > 0 ? text_printf("%.*s", (int)n, path) : text_copy("skep");
}

/* Takes a candidate's path; gives it back when it is there. */
static char *accept_path(char *path /* takes path */, bool directory)
{
        struct stat st;
        if (stat(path, &st) == 0 &&
            (directory ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode) && access(path, X_OK) == 0)) {
                char *plain =
                    directory ? realpath(path, NULL) : NULL; /* without x/../y: it is shown */
                if (plain) {
                        free(path);
                        path = plain;
                }
                return path;
        }
        free(path);
        return NULL;
}

char *place_on_path(const char *name)
{
        const char *path = getenv("PATH");
        for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
                size_t n = strcspn(p, ":");
                char *found =
                    n ? accept_path(text_printf("%.*s/%s", (int)n, p, name), false) : NULL;
                if (found) {
                        return found;
                }
                p += n + (p[n] == ':');
        }
        return NULL;
}

/* The folder of this executable, without a slash. */
static char *self_dir(void)
{
        char *self = place_self();
        char *slash = strrchr(self, '/');
        if (slash) {
                *slash = 0;
        }
        return self;
}

char *place_program(const char *name, const char *built)
{
        CLEANUP(free_text)
        char *dir = self_dir();
        const char *libexec = getenv("SKEP_LIBEXEC");
        char *found =
            libexec && *libexec ? accept_path(text_printf("%s/%s", libexec, name), false) : NULL;
        found = found ? found : accept_path(text_printf("%s/%s", dir, name), false);
        found = found ? found : accept_path(text_printf("%s/../%s", dir, built), false);
        found = found ? found : accept_path(text_printf("%s/%s", SKEP_DIR_LIBEXEC, name), false);
        return found ? found : place_on_path(name);
}

char *place_handlers(void)
{
        CLEANUP(free_text)
        char *dir = self_dir();
        char *found = accept_path(text_printf("%s/../handlers", dir), true);
        return found ? found : accept_path(text_copy(SKEP_DIR_HANDLERS), true);
}
