/*
 * Where things live when nobody said so. A service manager's folders win, then root's fixed places,
 * then a person's own XDG folders; a relative XDG path is ignored, as its specification asks.
 * Never reads the environment: the caller passes what it found there.
 */
#include "core/config.h"

#include <errno.h>

static bool absolute(const char *path)
{
        return path && path[0] == '/';
}

/* The first folder of a colon-separated list. */
static struct str first_of(const char *list)
{
        return (struct str){list, (uint32_t)strcspn(list, ":")};
}

static struct str state_dir(const struct config_surroundings *s, struct arena *a)
{
        if (absolute(s->state_directory)) {
                return arena_str(a, first_of(s->state_directory));
        }
        if (!s->root && absolute(s->xdg_state_home)) {
                return arena_printf(a, "%s/skep", s->xdg_state_home);
        }
        if (!s->root && absolute(s->home)) {
                return arena_printf(a, "%s/.local/state/skep", s->home);
        }
        return arena_str(a, STR("/var/lib/skep"));
}

static struct str socket_path(const struct config_surroundings *s, struct arena *a,
                              struct str state)
{
        if (absolute(s->runtime_directory)) {
                struct str dir = first_of(s->runtime_directory);
                return arena_printf(a, "%.*s/skep.sock", (int)dir.n, dir.p);
        }
        if (!s->root && absolute(s->xdg_runtime_dir)) {
                return arena_printf(a, "%s/skep/skep.sock", s->xdg_runtime_dir);
        }
        if (!s->root && absolute(s->home)) {
                return arena_printf(a, "%.*s/skep.sock", (int)state.n, state.p);
        }
        return arena_str(a, STR("/run/skep/skep.sock"));
}

static struct str user_file(const struct config_surroundings *s, struct arena *a)
{
        if (absolute(s->xdg_config_home)) {
                return arena_printf(a, "%s/skep/skep.conf", s->xdg_config_home);
        }
        return arena_printf(a, "%s/.config/skep/skep.conf", s->home);
}

int config_places(const struct config_surroundings *s, struct arena *a, struct config_places *ret)
{
        struct config_places p = {0};
        uint32_t n = 0;
        p.state_dir = state_dir(s, a);
        if (!p.state_dir.p) {
                return -ENOMEM;
        }
        p.http_socket = socket_path(s, a, p.state_dir);
        bool own = !s->root && (absolute(s->xdg_config_home) || absolute(s->home));
        if (own) {
                p.files[n++] = user_file(s, a);
        }
        p.files[n++] = arena_str(a, STR("/etc/skep/skep.conf"));
        if (!p.http_socket.p || !p.files[0].p || !p.files[n - 1].p) {
                return -ENOMEM;
        }
        *ret = p;
        return 0;
}
