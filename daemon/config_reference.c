/*
 * The reference page: the words around the tables, and the tables from the keys. What a key is
 * stands in core/config_keys.c alone.
 */
#include "daemon/config_print.h"

#include <errno.h>

static const char head[] =
    "# Configuration\n"
    "\n"
    "<!-- Written from the table of keys by the test config-print; change core/config_keys.c. -->\n"
    "\n"
    "skep runs without any configuration: an SQLite ledger in the state directory, one queue "
    "`default`\n"
    "without a broker, the HTTP API on a Unix socket. Everything else is set in layers, each over "
    "the ones\n"
    "before it, key by key:\n"
    "\n"
    "1. **Defaults.** Those below are root's. For other users `node.state_dir` is "
    "`$XDG_STATE_HOME/skep`\n"
    "   (`~/.local/state/skep`) and `http.socket` is `$XDG_RUNTIME_DIR/skep/skep.sock`, or "
    "`skep.sock` in the\n"
    "   state directory. A service manager's `$STATE_DIRECTORY` and `$RUNTIME_DIRECTORY` win over "
    "both.\n"
    "2. **One file**: that of `--config`, or else `$XDG_CONFIG_HOME/skep/skep.conf` "
    "(`~/.config/...`; not for\n"
    "   root), or else `/etc/skep/skep.conf`.\n"
    "3. **`conf.d/*.conf`** beside it, in the order of their names. An entry of `queues`, "
    "`transports`,\n"
    "   `types`, `schedules` or `handlers.options` whose name is known changes that one key by "
    "key; a new name is "
    "appended.\n"
    "4. **Credentials**: `ledger-url` and `transports-NAME-url` in `$CREDENTIALS_DIRECTORY`.\n"
    "5. **Environment**: names with a double underscore, `SKEP_HANDLERS__WORKERS=4`,\n"
    "   `SKEP_QUEUES__EMAIL__RETRY__BASE=2s`; lists with commas. In a queue's name every character "
    "but letters\n"
    "   and digits is `_`. (`SKEP_URL` is the command line client's.)\n"
    "6. **Flags**: `--set handlers.workers=4`, `--set queues.email.concurrency=2`.\n"
    "\n"
    "Environment and flags reach queues and transports that a file defines; they make no new "
    "ones.\n"
    "`skepd -t` checks everything and names file and line; a mistake ends the start with exit code "
    "78. SIGHUP\n"
    "loads again; when that fails the running configuration stays.\n"
    "\n"
    "The form of files is [libconfig](https://hyperrealm.github.io/libconfig/)'s:\n"
    "\n"
    "    handlers = { dir = \"/usr/lib/skep/handlers\"; workers = 4; };\n"
    "    queues = ( { name = \"email\"; types = [ \"email.>\" ]; concurrency = 4;\n"
    "                 retry = { max_attempts = 5; base = \"1s\"; cap = \"10m\"; }; } );\n"
    "\n"
    "Durations are a whole number and `ms`, `s`, `m`, `h` or `d`, in quotes: `\"250ms\"`, "
    "`\"30s\"`, `\"7d\"`; 0 needs no\n"
    "unit. Sizes are bytes, or a number and `k`, `M` or `G` (powers of 1024) in quotes. A whole "
    "number beyond 32 bits\n"
    "needs an `L` behind it. `@include` is not supported; use conf.d.\n"
    "\n"
    "**Secrets.** A key marked with *file* may be given as `KEY_file`: the path of a file that "
    "holds the value. A\n"
    "value with a password is refused on the command line, and shown as `***` everywhere.\n";

static const char options[] =
    "\n"
    "### `handlers.options`\n"
    "\n"
    "Options of handlers, a list. Which there are, each plug-in says itself: `skep handlers "
    "show`.\n"
    "\n"
    "    handlers = { options = ( { type = \"webhook\"; set = { url = "
    "\"https://example.org/hook\"; "
    "}; } ); };\n";

static const char transports[] =
    "\n"
    "## `transports`\n"
    "\n"
    "A section of brokers by name, `transports = { rabbit = { url = \"...\"; }; };`, which queues "
    "refer to. A queue\n"
    "that names a transport whose scheme this build does not have is refused. Its jobs come "
    "through "
    "a quorum queue of\n"
    "the queue's name, bound to the exchange by the queue's types (or its name, when it has "
    "none);\n"
    "on NATS through a consumer for each of its types. There the patterns of the queues of a "
    "transport must\nbe disjoint. A key whose meaning begins with the name of the other broker is "
    "refused.\n"
    "\n";

static const char queues[] =
    "\n"
    "## `queues`\n"
    "\n"
    "A list of queues. Without any there is one, `default`. A job that names no queue goes to the "
    "one with the most\n"
    "literal matching pattern, else to `default`; two patterns that match a type equally well are "
    "refused.\n"
    "\n";

static const char types[] =
    "\n"
    "## `types`\n"
    "\n"
    "A list of types and patterns of types, `types = ( { pattern = \"email.>\"; retry = "
    "\"attempts=5 for=2h\"; } );`:\n"
    "what their jobs are given where they say nothing themselves. It goes over the queue's, and a "
    "job's own over both.\n"
    "Two patterns that match a type equally well are refused.\n"
    "\n";

static const char schedules[] =
    "\n"
    "## `schedules`\n"
    "\n"
    "A list of schedules, `schedules = ( { name = \"nightly\"; cron = \"30 4 * * *\"; type = "
    "\"report\"; } );`. Each node\n"
    "puts those of its configuration into the ledger when it starts and when it reloads; of those "
    "that a reload no longer\n"
    "names it takes out its own. See [schedules](schedules.md).\n"
    "\n";

static int put_row(FILE *out, struct arena *a, const struct config_key *k)
{
        char allowed[160];
        bool required = k->fallback[0] == 0 && k->min > 0;
        struct str fallback =
            required ? STR("(required)") : config_literal(a, k, str_of(k->fallback));
        if (!fallback.p) {
                return -ENOMEM;
        }
        config_allowed(k, allowed, sizeof allowed);
        fprintf(out, "| `%s`%s | `%.*s` | %s | %s |\n", k->name, k->by_file ? " *file*" : "",
                (int)fallback.n, fallback.p, allowed, k->help);
        return 0;
}

static int put_table(FILE *out, const struct config_key *keys, const struct config_key *end)
{
        struct arena CLEANUP(arena_deinit) a = {0};
        int r = 0;
        fputs("| key | default | allowed | meaning |\n|---|---|---|---|\n", out);
        for (const struct config_key *k = keys; k != end && k->name && r == 0; k++) {
                r = put_row(out, &a, k);
        }
        return r;
}

/* The first key behind k that is of another section. */
static const struct config_key *section_end(const struct config_key *k)
{
        size_t n = strcspn(k->name, ".") + 1;
        const struct config_key *end = k;
        while (end->name && strncmp(end->name, k->name, n) == 0) {
                end++;
        }
        return end;
}

int config_print_reference(FILE *out)
{
        int r = 0;
        fputs(head, out);
        for (const struct config_key *k = config_keys; k->name && r == 0;) {
                const struct config_key *end = section_end(k);
                int n = (int)strcspn(k->name, ".");
                fprintf(out, "\n## `%.*s`\n\n", n, k->name);
                r = put_table(out, k, end);
                if (strncmp(k->name, "handlers.", 9) == 0) {
                        fputs(options, out);
                }
                k = end;
        }
        fputs(transports, out);
        r = r == 0 ? put_table(out, config_transport_keys, NULL) : r;
        fputs(queues, out);
        r = r == 0 ? put_table(out, config_queue_keys, NULL) : r;
        fputs(types, out);
        r = r == 0 ? put_table(out, config_type_keys, NULL) : r;
        fputs(schedules, out);
        return r == 0 ? put_table(out, config_schedule_keys, NULL) : r;
}
