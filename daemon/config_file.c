/*
 * Reads and parses one file. The text is looked through before libconfig sees it, for what
 * libconfig would take silently wrong or end the process over: @include (conf.d is our way), whole
 * numbers beyond 32 bits, NUL bytes. Does not include core/config.h: libconfig has a config_init of
 * its own.
 */
#include "daemon/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* libconfig forgets the text in its hands when it meets a syntax error: a few bytes per refused
 * file, which a leak checker need not tell again at each. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define LEAKS_BEGIN() __lsan_disable()
#define LEAKS_END()   __lsan_enable()
#else
#define LEAKS_BEGIN() (void)0
#define LEAKS_END()   (void)0
#endif

static void close_fd(int *fd)
{
        if (*fd >= 0) {
                close(*fd);
        }
}

/* Reads until the end or until more than max bytes came; -1 with errno. */
static ssize_t read_up_to(int fd, char *buffer, size_t max)
{
        size_t n = 0;
        while (n < max) {
                ssize_t r = read(fd, buffer + n, max - n);
                if (r == 0) {
                        break;
                }
                if (r < 0 && errno != EINTR) {
                        return -1;
                }
                n += r > 0 ? (size_t)r : 0;
        }
        return (ssize_t)n;
}

int config_file_slurp(const char *path, struct arena *a, struct str *ret, mode_t *ret_mode,
                      char *note, size_t note_size)
{
        struct stat st;
        /* Not blocking: a FIFO must not hang the start. */
        int fd CLEANUP(close_fd)
        = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 && errno == ENOENT) {
                return CONFIG_FILE_MISSING;
        }
        if (fd < 0 || fstat(fd, &st) < 0) {
                snprintf(note, note_size, "cannot be read: %s", strerror(errno));
                return CONFIG_FILE_REFUSED;
        }
        if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
                snprintf(note, note_size, "is %s, not a file",
                         S_ISDIR(st.st_mode) ? "a directory" : "a pipe or socket");
                return CONFIG_FILE_REFUSED;
        }
        char *text = arena_alloc(a, CONFIG_FILE_MAX + 1);
        if (!text) {
                return -ENOMEM;
        }
        ssize_t n = read_up_to(fd, text, CONFIG_FILE_MAX + 1);
        if (n < 0) {
                snprintf(note, note_size, "cannot be read: %s", strerror(errno));
                return CONFIG_FILE_REFUSED;
        }
        if (n > (ssize_t)CONFIG_FILE_MAX) {
                snprintf(note, note_size, "is larger than %u KiB", CONFIG_FILE_MAX >> 10);
                return CONFIG_FILE_REFUSED;
        }
        text[n] = 0;
        *ret = (struct str){text, (uint32_t)n};
        *ret_mode = st.st_mode;
        return 0;
}

/* --- before libconfig ------------------------------------------------------------------------- */

struct scan {
        const char *p, *end;
        int line;
};

/* Moves to `to`, counting lines. */
static void scan_to(struct scan *s, const char *to)
{
        for (; s->p < to; s->p++) {
                s->line += *s->p == '\n';
        }
}

/* Past a comment; a hazard, or NULL. */
static const char *skip_comment(struct scan *s)
{
        bool block = s->p[0] == '/' && s->p[1] == '*';
        const char *stop = block ? strstr(s->p + 2, "*/") : strchr(s->p, '\n');
        scan_to(s, !stop ? s->end : block ? stop + 2 : stop);
        return block && !stop ? "a comment begins here and has no end" : NULL;
}

/* Past a text in quotes; a hazard, or NULL. */
static const char *skip_text(struct scan *s)
{
        const char *p = s->p + 1, *hazard = NULL;
        while (p < s->end && *p != '"') {
                if (strncmp(p, "\\x00", 4) == 0) {
                        hazard = "\\x00 is not allowed in a text"; /* it would cut it short */
                }
                p += *p == '\\' && p + 1 < s->end ? 2 : 1;
        }
        if (p >= s->end) {
                hazard = "a text in quotes begins here and has no end";
        }
        scan_to(s, p < s->end ? p + 1 : s->end);
        return hazard;
}

/* Would libconfig cut this word to 32 bits? */
static bool is_cut(const char *word, size_t n)
{
        char copy[32], *end;
        if (n >= sizeof copy) {
                return strspn(word, "+-xX0123456789abcdefABCDEF") >= n;
        }
        memcpy(copy, word, n);
        copy[n] = 0;
        bool hex = copy[0] == '0' && (copy[1] | 0x20) == 'x';
        errno = 0;
        long long value = strtoll(copy, &end, hex ? 16 : 10);
        return *end == 0 && (errno == ERANGE || value > INT32_MAX || value < INT32_MIN);
}

/* Past a name or number; false: a number too large to be taken as written. */
static bool skip_word(struct scan *s)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-+.*";
        size_t n = strspn(s->p, letters);
        const char *word = s->p;
        s->p += n ? n : 1;
        bool number = strchr("+-0123456789", word[0]) != NULL;
        return !number || !is_cut(word, n);
}

/* What libconfig must not see, or would tell at the wrong line; NULL: nothing. */
static const char *find_hazard(struct str text, int *ret_line)
{
        struct scan s = {text.p, text.p + text.n, 1};
        const char *hazard = NULL;
        if (memchr(text.p, 0, text.n)) {
                scan_to(&s, memchr(text.p, 0, text.n));
                *ret_line = s.line;
                return "a NUL byte; this is not a text file";
        }
        while (s.p < s.end && !hazard) {
                *ret_line = s.line;
                if (*s.p == '#' || (*s.p == '/' && (s.p[1] == '/' || s.p[1] == '*'))) {
                        hazard = skip_comment(&s);
                } else if (*s.p == '"') {
                        hazard = skip_text(&s);
                } else if (*s.p == '@') {
                        hazard = "@include is not supported; put the file into conf.d beside "
                                 "skep.conf";
                } else if (*s.p == '\n') {
                        scan_to(&s, s.p + 1);
                } else if (!skip_word(&s)) {
                        hazard = "a whole number beyond 32 bits needs an L behind it";
                }
        }
        return hazard;
}

/* --- from libconfig --------------------------------------------------------------------------- */

#define DEPTH_MAX 16

static struct str scalar_text(const config_setting_t *s, struct arena *a)
{
        switch (s->type) {
        case CONFIG_TYPE_INT: return arena_printf(a, "%d", s->value.ival);
        case CONFIG_TYPE_INT64: return arena_printf(a, "%lld", s->value.llval);
        case CONFIG_TYPE_BOOL: return arena_printf(a, "%s", s->value.ival ? "true" : "false");
        case CONFIG_TYPE_STRING: return arena_str(a, str_of(s->value.sval ? s->value.sval : ""));
        case CONFIG_TYPE_FLOAT: {
                struct str text = arena_printf(a, "%.15g", s->value.fval);
                char *comma = text.p ? strchr(text.p, ',') : NULL; /* of a locale */
                if (comma) {
                        *comma = '.';
                }
                return text;
        }
        default: return STR("");
        }
}

static enum config_node_kind kind_of(const config_setting_t *s)
{
        switch (s->type) {
        case CONFIG_TYPE_INT:
        case CONFIG_TYPE_INT64: return NODE_WHOLE;
        case CONFIG_TYPE_FLOAT: return NODE_REAL;
        case CONFIG_TYPE_BOOL: return NODE_BOOL;
        case CONFIG_TYPE_GROUP: return NODE_GROUP;
        case CONFIG_TYPE_ARRAY:
        case CONFIG_TYPE_LIST: return NODE_LIST;
        default: return NODE_TEXT;
        }
}

/* -ENOMEM, or > 0 with the line of what is nested too deeply. */
static int copy_setting(config_setting_t *s, struct arena *a, int depth, struct config_node *ret)
{
        struct config_node n = {.kind = kind_of(s), .line = (int)s->line};
        n.name = arena_str(a, str_of(s->name ? s->name : ""));
        n.text = scalar_text(s, a);
        if (!n.name.p || !n.text.p) {
                return -ENOMEM;
        }
        if (n.kind == NODE_GROUP || n.kind == NODE_LIST) {
                n.n = (uint32_t)config_setting_length(s);
        }
        if (n.n > 0 && depth == DEPTH_MAX) {
                return n.line;
        }
        n.children = n.n ? arena_zalloc(a, n.n * sizeof *n.children) : NULL;
        if (n.n && !n.children) {
                return -ENOMEM;
        }
        for (uint32_t i = 0; i < n.n; i++) {
                int r = copy_setting(config_setting_get_elem(s, i), a, depth + 1, &n.children[i]);
                if (r != 0) {
                        return r;
                }
        }
        *ret = n;
        return 0;
}

int config_file_parse(struct str text, struct arena *a, struct config_node *ret_root, int *ret_line,
                      char *note, size_t note_size)
{
        int line = 0;
        const char *hazard = find_hazard(text, &line);
        if (hazard) {
                snprintf(note, note_size, "%s", hazard);
                *ret_line = line;
                return CONFIG_FILE_REFUSED;
        }
        config_t parsed CLEANUP(config_destroy);
        config_init(&parsed);
        LEAKS_BEGIN();
        int read = config_read_string(&parsed, text.p);
        LEAKS_END();
        if (read != CONFIG_TRUE) {
                snprintf(note, note_size, "%s", config_error_text(&parsed));
                *ret_line = config_error_line(&parsed);
                return CONFIG_FILE_REFUSED;
        }
        int r = copy_setting(config_root_setting(&parsed), a, 0, ret_root);
        if (r > 0) {
                snprintf(note, note_size, "sections are nested too deeply");
                *ret_line = r;
                return CONFIG_FILE_REFUSED;
        }
        return r;
}
