/*
 * Reads the token file and compares. A file that group or others may read is refused, not repaired:
 * somebody may have read it already. Notes name the file and the line, never what stands there.
 */
#include "http/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536

struct tokens {
        uint32_t n;
        uint8_t hash[][SHA256_DIGEST_SIZE];
};

static void close_fd(int *fd)
{
        if (*fd >= 0) {
                close(*fd);
        }
}

static void wipe_text(char (*text)[FILE_MAX + 1])
{
        explicit_bzero(*text, sizeof *text);
}

static void free_tokens(struct tokens **t)
{
        free(*t);
}

struct tokens *tokens_free(struct tokens *t)
{
        free(t);
        return NULL;
}

static void hash_token(const char *p, size_t n, uint8_t *ret_hash)
{
        struct sha256_ctx ctx;
        sha256_init(&ctx);
        sha256_update(&ctx, n, (const uint8_t *)p);
        sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret_hash);
        explicit_bzero(&ctx, sizeof ctx);
}

static int refuse(char *note, size_t size, const char *path, const char *why)
{
        snprintf(note, size, "token file %s: %s", path, why);
        return TOKENS_REFUSED;
}

/* The whole file into text (FILE_MAX bytes of room). */
static int read_file(const char *path, char *text, size_t *ret_n, char *note, size_t size)
{
        struct stat st;
        CLEANUP(close_fd)
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0) {
                return refuse(note, size, path,
                              errno == ELOOP ? "is a symbolic link; name the file itself"
                                             : strerror(errno));
        }
        if (!S_ISREG(st.st_mode)) {
                return refuse(note, size, path, "is not a file");
        }
        if (st.st_mode & 077) {
                return refuse(
                    note, size, path,
                    "others than its owner may access it; chmod 600 it and replace the tokens");
        }
        if (st.st_uid != geteuid() && st.st_uid != 0) {
                return refuse(note, size, path,
                              "belongs to another user; chown it to the user that runs skepd");
        }
        size_t n = 0;
        for (;;) {
                ssize_t k = read(fd, text + n, FILE_MAX - n);
                if (k < 0 && errno == EINTR) {
                        continue;
                }
                if (k < 0) {
                        return refuse(note, size, path, strerror(errno));
                }
                if (k == 0) {
                        break;
                }
                n += (size_t)k;
                if (n == FILE_MAX) {
                        return refuse(note, size, path, "is larger than 64 KiB");
                }
        }
        *ret_n = n;
        return 0;
}

static bool token_character(char c)
{
        return c > 0x20 && c < 0x7f;
}

/* The token of a line, without the white space around it; empty: a blank line or a comment. false:
 * no token. */
static bool read_line(const char *p, size_t n, struct str *ret)
{
        while (n && !token_character(*p)) {
                p++;
                n--;
        }
        while (n && !token_character(p[n - 1])) {
                n--;
        }
        *ret = (struct str){p, *p == '#' || n == 0 ? 0 : (uint32_t)n};
        for (size_t i = 0; i < ret->n; i++) {
                if (!token_character(p[i])) {
                        return false;
                }
        }
        return ret->n == 0 || (n >= TOKEN_MIN && n <= TOKEN_MAX);
}

/* Counts the tokens, and hashes them when t is given. false: the line *ret_line holds none. */
static bool scan_tokens(const char *text, size_t n, struct tokens *t, uint32_t *ret_n,
                        uint32_t *ret_line)
{
        uint32_t found = 0, line = 0;
        for (size_t i = 0; i < n;) {
                struct str token;
                const char *end = memchr(text + i, '\n', n - i);
                size_t k = end ? (size_t)(end - text) - i : n - i;
                line++;
                if (!read_line(text + i, k, &token)) {
                        *ret_line = line;
                        return false;
                }
                if (token.n && t) {
                        hash_token(token.p, token.n, t->hash[found]);
                }
                found += token.n > 0;
                i += k + 1;
        }
        *ret_n = found;
        return true;
}

int tokens_load(struct str path, struct tokens **ret, char *note, size_t note_size)
{
        char name[4096], why[96];
        CLEANUP(wipe_text)
        char text[FILE_MAX + 1] = "";
        size_t n = 0;
        uint32_t found, line;
        snprintf(name, sizeof name, "%.*s", (int)path.n, path.p);
        int r = read_file(name, text, &n, note, note_size);
        if (r) {
                return r;
        }
        if (!scan_tokens(text, n, NULL, &found, &line)) {
                snprintf(why, sizeof why,
                         "line %u is not a token: 16 to 1024 printable characters, no spaces",
                         line);
                return refuse(note, note_size, name, why);
        }
        if (found == 0) {
                return refuse(
                    note, note_size, name,
                    "holds no token; write one a line, for example from: openssl rand -hex 32");
        }
        CLEANUP(free_tokens)
        struct tokens *t = calloc(1, sizeof *t + found * sizeof *t->hash);
        if (!t) {
                return -ENOMEM;
        }
        scan_tokens(text, n, t, &t->n, &line);
        *ret = STEAL(t);
        return 0;
}

bool tokens_accept(const struct tokens *t, const char *authorization)
{
        uint8_t hash[SHA256_DIGEST_SIZE];
        if (!t || !authorization || strncasecmp(authorization, "Bearer ", 7) != 0) {
                return false;
        }
        const char *token = authorization + 7;
        while (*token == ' ') {
                token++;
        }
        size_t n = strlen(token);
        if (n > TOKEN_MAX) {
                return false;
        }
        hash_token(token, n, hash);
        int found = 0;
        for (uint32_t i = 0; i < t->n; i++) {
                found |= memeql_sec(hash, t->hash[i], sizeof hash);
        }
        return found != 0;
}
