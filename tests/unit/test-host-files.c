/*
 * Plug-in files: what is refused and why, what is dropped in, replaced, removed. And the pure parts
 * below: ELF header and manifest against every truncation and random bytes.
 */
#include "tests/unit/test-host-bed.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/manifest.h"
#include "plugins/trust.h"
#include "plugins/wire.h"
#include "tests/unit/unit.h"

static struct bed bed;

static void begin(void)
{
        bed_make(&bed, false);
        bed_install(&bed, "good", "good.so");
        bed_start(&bed);
        bed_serve(&bed, "test.noop");
}

/* The good plug-in that was there before still works. */
static void end(void)
{
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.noop", ""), 0);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_verdict(&bed, 0, 0));
        bed_remove(&bed);
}

static const struct plugin_row *row_of(const char *file)
{
        const struct plugin_row *rows;
        uint32_t n = host_plugins(bed.h, &rows);
        for (uint32_t i = 0; i < n; i++) {
                if (str_eq(rows[i].file, str_of(file))) {
                        return &rows[i];
                }
        }
        return NULL;
}

static void expect_refused(const char *file, const char *why)
{
        struct seen *s = bed_wait_plugin(&bed, HOST_REFUSED, file);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, why));
        if (!strstr(s->text, why)) {
                fprintf(stderr, "%s: \"%s\" not in: %s\n", file, why, s->text);
        }
        const struct plugin_row *row = row_of(file);
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        CU_ASSERT_TRUE(!row->serving && row->reason.n > 0);
}

static void test_refuses_villains(void)
{
        static const struct {
                const char *villain, *why;
        } cases[] = {
            {"abi", "built for handler ABI 42, this skepd speaks 1"},
            {"no-symbol", "does not export skep_plugin"},
            {"ctor-crash", "it crashed while it was loaded: SIGSEGV (address 0x0)"},
            {"ctor-exit", "it called exit(0) while it was loaded"},
            {"ctor-fork", "tried to start a process"},
            {"ctor-hang", "did not finish loading within 10000 ms"},
            {"bad-pattern", "not a valid type or pattern"},
        };
        begin();
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char as[64];
                snprintf(as, sizeof as, "%s.so", cases[i].villain);
                bed_install(&bed, cases[i].villain, as);
        }
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char as[64];
                snprintf(as, sizeof as, "%s.so", cases[i].villain);
                expect_refused(as, cases[i].why);
        }
        end();
}

static void test_refuses_truncations(void)
{
        size_t size;
        uint32_t n = 0;
        begin();
        char *bytes = bed_load("polite", &size);
        for (size_t len = 1; len < size; len += size / 60, n++) {
                char as[64];
                snprintf(as, sizeof as, "cut-%zu.so", len);
                bed_write(&bed, as, bytes, len);
        }
        bed_write(&bed, "cut-last.so", bytes, size - 1);
        free(bytes);
        for (uint32_t i = 0; i < n + 1; i++) {
                struct seen *s = bed_wait(&bed, HOST_REFUSED, -1);
                CU_ASSERT_PTR_NOT_NULL_FATAL(s);
                CU_ASSERT(strstr(s->text, "truncated") || strstr(s->text, "no ELF file"));
        }
        end();
}

static void test_refuses_other_machines(void)
{
        size_t size;
        begin();
        char *bytes = bed_load("polite", &size);
        Elf64_Ehdr *e = (Elf64_Ehdr *)(void *)bytes;
        Elf64_Half machine = e->e_machine;
        e->e_machine = EM_S390;
        bed_write(&bed, "machine.so", bytes, size);
        e->e_machine = machine;
        bytes[EI_CLASS] = ELFCLASS32;
        bed_write(&bed, "class.so", bytes, size);
        bytes[EI_CLASS] = ELFCLASS64;
        e->e_type = ET_REL;
        bed_write(&bed, "object.so", bytes, size);
        bed_write(&bed, "text.so", "#!/bin/sh\n", 10);
        bed_write(&bed, "empty.so", "", 0);
        free(bytes);
        expect_refused("machine.so", "another machine");
        expect_refused("class.so", "another machine");
        expect_refused("object.so", "no shared object");
        expect_refused("text.so", "no ELF file");
        expect_refused("empty.so", "it is empty");
        end();
}

static void path_of(const char *file, char *path, size_t n)
{
        snprintf(path, n, "%s/%s", bed.handlers, file);
}

static void test_refuses_what_is_no_file_of_ours(void)
{
        char path[700], target[700];
        begin();
        path_of("fifo.so", path, sizeof path);
        CU_ASSERT_EQUAL(mkfifo(path, 0644), 0);
        path_of("dir.so", path, sizeof path);
        CU_ASSERT_EQUAL(mkdir(path, 0755), 0);
        path_of("good.so", target, sizeof target);
        path_of("link.so", path, sizeof path);
        CU_ASSERT_EQUAL(symlink(target, path), 0);
        path_of("dangling.so", path, sizeof path);
        CU_ASSERT_EQUAL(symlink("/nowhere", path), 0);
        bed_install(&bed, "polite", "new\nline.so");
        bed_install(&bed, "polite", ".hidden.so");
        expect_refused("fifo.so", "it is a FIFO");
        expect_refused("dir.so", "it is a directory");
        expect_refused("link.so", "symbolic link");
        expect_refused("dangling.so", "symbolic link");
        expect_refused("new\nline.so", "its name has characters");
        CU_ASSERT_PTR_NULL(row_of(".hidden.so"));
        end();
}

static void test_refuses_what_others_may_write(void)
{
        char path[700];
        begin();
        bed_install(&bed, "swap-v1", "swap.part2");
        path_of("swap.part2", path, sizeof path);
        CU_ASSERT_EQUAL(chmod(path, 0775), 0);
        char to[700];
        path_of("swap.so", to, sizeof to);
        CU_ASSERT_EQUAL(rename(path, to), 0);
        expect_refused("swap.so", "may be written by others (mode 775)");
        CU_ASSERT_EQUAL(chmod(to, 0755), 0); /* put right */
        bed_serve(&bed, "test.swap");
        CU_ASSERT_EQUAL(chmod(bed.handlers, 0777), 0);
        bed_install(&bed, "polite", "polite.so");
        expect_refused("polite.so", "may be written by others (mode 777)");
        CU_ASSERT_EQUAL(chmod(bed.handlers, 0755), 0);
        bed_serve(&bed, "test.polite");
        if (geteuid() == 0) {
                bed_install(&bed, "null", "null.part2");
                path_of("null.part2", path, sizeof path);
                path_of("null.so", to, sizeof to);
                CU_ASSERT_EQUAL(chown(path, 12345, 0), 0);
                CU_ASSERT_EQUAL(rename(path, to), 0);
                expect_refused("null.so", "it belongs to user 12345");
        }
        end();
}

static void expect_version(uint32_t worker, uint32_t position, const char *version)
{
        CU_ASSERT_EQUAL(bed_give(&bed, worker, "test.swap", ""), 0);
        struct seen *s = bed_wait_verdict(&bed, (int)worker, position);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_STRING_EQUAL(s->result, version);
}

static void wait_generation(uint32_t generation)
{
        for (int i = 0; i < 9000 && bed.roster->generation < generation; i++) {
                bed_play(&bed, 10);
        }
        CU_ASSERT_EQUAL(bed.roster->generation, generation);
}

static void test_swaps_while_it_runs(void)
{
        size_t size;
        begin();
        bed_install(&bed, "swap-v1", "swap.so"); /* dropped in */
        bed_serve(&bed, "test.swap");
        uint32_t generation = bed.roster->generation;
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
        expect_version(1, 0, "v1");
        bed_install(&bed, "swap-v2", "swap.so"); /* replaced by rename */
        wait_generation(generation + 1);
        struct seen *up = bed_worker(&bed, 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(up);
        CU_ASSERT_EQUAL(up->generation, generation + 1);
        expect_version(2, 0, "v2");
        expect_version(1, 1, "v1"); /* the old worker keeps the old code */
        char *bytes = bed_load("swap-v1", &size), path[700];
        path_of("swap.so", path, sizeof path);
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC); /* replaced in place, in two halves */
        CU_ASSERT_EQUAL(write(fd, bytes, size / 2), (ssize_t)(size / 2));
        bed_play(&bed, 300); /* a half file was seen: the former version goes on serving */
        CU_ASSERT_EQUAL(bed.roster->generation, generation + 1);
        CU_ASSERT(roster_find(bed.roster, STR("test.swap")) >= 0);
        CU_ASSERT_EQUAL(write(fd, bytes + size / 2, size - size / 2), (ssize_t)(size - size / 2));
        close(fd);
        free(bytes);
        wait_generation(generation + 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 3));
        expect_version(3, 0, "v1");
        expect_version(2, 1, "v2"); /* its bytes were changed on disk, not in its sealed copy */
        CU_ASSERT_EQUAL(unlink(path), 0);
        bed_until_unserved(&bed, "test.swap");
        CU_ASSERT_PTR_NULL(row_of("swap.so"));
        expect_version(3, 1, "v1");
        end();
}

static void test_keeps_the_former_version_of_a_bad_file(void)
{
        begin();
        bed_install(&bed, "swap-v1", "swap.so");
        bed_serve(&bed, "test.swap");
        bed_install(&bed, "ctor-crash", "swap.so");
        struct seen *s = bed_wait_plugin(&bed, HOST_REFUSED, "swap.so");
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->text, "former version goes on serving"));
        CU_ASSERT_TRUE(row_of("swap.so")->serving);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 1));
        expect_version(1, 0, "v1");
        end();
}

static void test_refuses_ties(void)
{
        begin();
        bed_install(&bed, "swap-v1", "swap.so");
        bed_serve(&bed, "test.swap");
        bed_install(&bed, "tie", "another.so");
        expect_refused("another.so",
                       "another.so serves \"test.swap\" and swap.so serves \"test.swap\"");
        CU_ASSERT_TRUE(row_of("swap.so")->serving);
        char path[700];
        path_of("swap.so", path, sizeof path);
        CU_ASSERT_EQUAL(unlink(path), 0);
        CU_ASSERT_PTR_NOT_NULL(bed_wait_plugin(&bed, HOST_ACCEPTED, "another.so")); /* its turn */
        end();
}

static void test_waits_for_its_directory(void)
{
        char away[700];
        bed_make(&bed, true);
        bed_start(&bed);
        bed_play(&bed, 50);
        CU_ASSERT_EQUAL(mkdir(bed.handlers, 0755), 0);
        bed_install(&bed, "swap-v1", "swap.so");
        bed_serve(&bed, "test.swap");
        snprintf(away, sizeof away, "%s/away", bed.dir);
        CU_ASSERT_EQUAL(rename(bed.handlers, away), 0);
        bed_until_unserved(&bed, "test.swap");
        CU_ASSERT_EQUAL(mkdir(bed.handlers, 0755), 0);
        bed_install(&bed, "good", "good.so");
        bed_serve(&bed, "test.noop");
        end();
}

static void test_describes_plugins(void)
{
        begin();
        const struct plugin_row *row = row_of("good.so");
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        CU_ASSERT_TRUE(row->serving);
        CU_ASSERT(str_eq(row->summary, STR("does nothing")));
        CU_ASSERT_PTR_NOT_NULL(strstr(row->types.p, "test.noop,test.echo"));
        CU_ASSERT(strlen(row->build) >= 16 && row->bytes > 1000 && row->probed_wall_us > 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(row->manifest_json, "\"schema\":{\"type\":\"object\"}"));
        CU_ASSERT_PTR_NOT_NULL(strstr(row->manifest_json, "\"default\":\"hello\""));
        const struct handler_desc *d =
            &bed.roster->handlers[roster_find(bed.roster, STR("test.noop"))];
        CU_ASSERT(d->timeout_ms == 5000 && d->concurrency == 3 && d->flags == 4);
        CU_ASSERT(str_eq(d->plugin, STR("good.so")));
        end();
}

static void test_checks_configured_options(void)
{
        static const struct handler_option unknown[] = {{"test.tell", "greting", "x"}, {0}};
        static const struct handler_option wrong[] = {{"villain.slow-init", "crash", "maybe"}, {0}};
        static const struct handler_option fine[] = {{"test.tell", "greeting", "moin"}, {0}};
        bed_make(&bed, false);
        bed_install(&bed, "good", "good.so");
        bed_install(&bed, "slow-init", "slow-init.so");
        bed.o.options = unknown;
        bed_start(&bed);
        expect_refused("good.so", "sets option \"greting\" of test.tell, which has no such option");
        bed_stop(&bed);
        bed.o.options = wrong;
        bed_start(&bed);
        expect_refused("slow-init.so", "wants a value of kind bool");
        bed_stop(&bed);
        bed.o.options = fine;
        bed_start(&bed);
        bed_serve(&bed, "test.tell");
        CU_ASSERT_PTR_NOT_NULL_FATAL(bed_worker(&bed, 0));
        CU_ASSERT_EQUAL(bed_give(&bed, 0, "test.tell", ""), 0);
        struct seen *s = bed_wait_verdict(&bed, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        CU_ASSERT_PTR_NOT_NULL(strstr(s->result, "|moin|moin"));
        bed_remove(&bed);
}

/* --- pure parts ------------------------------------------------------------ */

static void test_reads_every_truncated_elf(void)
{
        char note[256];
        size_t size;
        char *bytes = bed_load("good", &size);
        CU_ASSERT_TRUE(elf_check((uint8_t *)bytes, size, note, sizeof note));
        for (size_t n = 0; n < size; n++) {
                char *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read past the end */
                memcpy(exact, bytes, n);
                if (elf_check((uint8_t *)exact, n, note, sizeof note)) {
                        CU_FAIL("a truncated file passed");
                        n = size;
                }
                free(exact);
        }
        free(bytes);
}

static uint64_t next_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static size_t put_manifest(uint8_t *bytes, size_t max)
{
        struct wire_out o = {.p = bytes, .max = max};
        static const char *const texts[] = {"a.b", "summary", "{}"};
        wire_put_u32(&o, WIRE_MANIFEST);
        wire_put_u32(&o, 1);
        for (int i = 0; i < 2; i++) {
                wire_put_u32(&o, 1);
                wire_put_str(&o, STR("name"));
        }
        wire_put_u32(&o, 1);
        for (int i = 0; i < 6; i++) {
                wire_put_u32(&o, 0);
        }
        for (int i = 0; i < 3; i++) {
                wire_put_u32(&o, 1);
                wire_put_str(&o, str_of(texts[i]));
        }
        wire_put_u32(&o, 1);
        static const char *const option[] = {"size", "size", "64k", "help"};
        for (int i = 0; i < 4; i++) {
                wire_put_u32(&o, 1);
                wire_put_str(&o, str_of(option[i]));
        }
        return o.n;
}

static void test_reads_damaged_manifests(void)
{
        uint8_t whole[512];
        char note[512];
        uint64_t seed = 42;
        size_t size = put_manifest(whole, sizeof whole);
        struct manifest m;
        CU_ASSERT_EQUAL_FATAL(manifest_read(whole, size, &m, note, sizeof note), 0);
        CU_ASSERT_EQUAL(m.n, 1);
        manifest_deinit(&m);
        for (size_t n = 0; n < size; n++) {
                CU_ASSERT(manifest_read(whole, n, &m, note, sizeof note) < 0);
        }
        for (int i = 0; i < 20000; i++) {
                uint8_t *bytes = malloc(size);
                memcpy(bytes, whole, size);
                for (uint64_t k = next_random(&seed) % 4 + 1; k; k--) {
                        bytes[next_random(&seed) % size] = (uint8_t)next_random(&seed);
                }
                if (manifest_read(bytes, size, &m, note, sizeof note) == 0) {
                        char *json = manifest_json(&m, "x.so", "b");
                        CU_ASSERT_PTR_NOT_NULL(json);
                        free(json);
                        manifest_deinit(&m);
                }
                free(bytes);
        }
}

UNIT_TESTS = {
    {"refuses villains with the reason", test_refuses_villains},
    {"refuses truncated files", test_refuses_truncations},
    {"refuses other machines and other files", test_refuses_other_machines},
    {"refuses FIFOs, links, directories, odd names", test_refuses_what_is_no_file_of_ours},
    {"refuses what others may write", test_refuses_what_others_may_write},
    {"drops in, replaces, removes", test_swaps_while_it_runs},
    {"keeps the former version of a bad file", test_keeps_the_former_version_of_a_bad_file},
    {"refuses ties, naming both", test_refuses_ties},
    {"waits for its directory", test_waits_for_its_directory},
    {"describes plug-ins", test_describes_plugins},
    {"checks configured options", test_checks_configured_options},
    {"reads every truncated ELF file", test_reads_every_truncated_elf},
    {"reads damaged manifests", test_reads_damaged_manifests},
};
UNIT_MAIN("host-files")
