/*
 * replay CORPUS [MUTATIONS]: runs a fuzz target over every file of a folder as it is, and over that
 * many mutations of each. The mutations are drawn from a fixed seed: a run that fails fails again.
 * What is wrong ends the program, with the input that did it named.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 65536

static char running[512];
static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return (uint32_t)((state >> 32) % n);
}

/* An assertion failed: say with what. Async-signal-safe. */
static void tell(int signal_number)
{
        (void)!write(STDERR_FILENO, running, strlen(running));
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number);
}

/* Moves a piece of the input to another place of it. */
static void copy_piece(uint8_t *p, size_t *n)
{
        size_t from = draw((uint32_t)*n), count = draw((uint32_t)(*n - from)) % 64 + 1;
        size_t to = draw((uint32_t)*n);
        if (from + count > *n || *n + count > INPUT_MAX) {
                return;
        }
        uint8_t piece[64];
        memcpy(piece, p + from, count);
        memmove(p + to + count, p + to, *n - to);
        memcpy(p + to, piece, count);
        *n += count;
}

static void mutate(uint8_t *p, size_t *n)
{
        static const char telling[] = "\0\n\xff ,:-.0129aAzZ+\x7f";
        for (uint32_t i = draw(6) + 1; i && *n; i--) {
                size_t at = draw((uint32_t)*n), end = at + draw((uint32_t)(*n - at)) % 16 + 1;
                switch (draw(5)) {
                case 0: p[at] ^= (uint8_t)(1u << draw(8)); break;
                case 1: p[at] = (uint8_t)telling[draw(sizeof telling - 1)]; break;
                case 2: *n = at; break;
                case 3: copy_piece(p, n); break;
                default:
                        memmove(p + at, p + end, *n - end);
                        *n -= end - at;
                        break;
                }
        }
}

static bool replay(const char *folder, const char *name, unsigned mutations)
{
        static uint8_t seed[INPUT_MAX], input[INPUT_MAX];
        char path[400];
        snprintf(path, sizeof path, "%.200s/%.190s", folder, name);
        FILE *f = fopen(path, "rb");
        if (!f) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                return false;
        }
        size_t n = fread(seed, 1, sizeof seed, f), changed;
        fclose(f);
        for (unsigned i = 0; i <= mutations; i++) {
                memcpy(input, seed, n);
                changed = n;
                if (i) {
                        mutate(input, &changed);
                }
                /* A copy of its own size, so that a sanitizer sees reads behind it. */
                uint8_t *exact = malloc(changed ? changed : 1);
                if (!exact) {
                        return false;
                }
                memcpy(exact, input, changed);
                snprintf(running, sizeof running, "%.400s: mutation %u failed\n", path, i);
                LLVMFuzzerTestOneInput(exact, changed);
                free(exact);
        }
        return true;
}

int main(int argc, char **argv)
{
        unsigned mutations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
        unsigned passed = 0, failed = 0;
        struct dirent **files = NULL;
        int n = argc > 1 ? scandir(argv[1], &files, NULL, alphasort) : -1;
        (void)signal(SIGABRT, tell);
        for (int i = 0; i < n; i++) {
                if (files[i]->d_name[0] != '.') {
                        bool well = replay(argv[1], files[i]->d_name, mutations);
                        passed += well;
                        failed += !well;
                }
                free(files[i]);
        }
        free(files);
        if (passed + failed == 0) {
                fprintf(stderr, "usage: replay CORPUS [MUTATIONS]; the corpus must not be empty\n");
                return 64;
        }
        printf("%u inputs, %u mutations of each\n\n%u passed, %u failed, 0 skipped\n",
               passed + failed, mutations, passed, failed);
        return failed != 0;
}
