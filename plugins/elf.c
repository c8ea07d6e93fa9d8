/*
 * The ELF header of a plug-in's sealed copy. The loader trusts these numbers and dies of SIGBUS on
 * most truncated files; here every range they name must lie within the bytes. What passes still
 * goes through the probe.
 */
#include "plugins/trust.h"

#include <elf.h>
#include <stdio.h>

#include "core/id.h"

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#elif defined(__riscv)
#define THIS_MACHINE EM_RISCV
#else
#error "name this machine's ELF number here"
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define THIS_DATA ELFDATA2LSB
#else
#define THIS_DATA ELFDATA2MSB
#endif

static bool within(uint64_t offset, uint64_t size, uint64_t n)
{
        return offset <= n && size <= n - offset;
}

static bool say(char *note, size_t note_size, const char *why)
{
        snprintf(note, note_size, "%s", why);
        return false;
}

static bool head_fits(const Elf64_Ehdr *e, uint64_t n, char *note, size_t size)
{
        if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != THIS_DATA ||
            e->e_machine != THIS_MACHINE) {
                snprintf(note, size, "it was built for another machine (ELF machine %u, class %u)",
                         e->e_machine, e->e_ident[EI_CLASS]);
                return false;
        }
        if (e->e_type != ET_DYN) {
                return say(note, size, "it is no shared object (build it with -shared -fPIC)");
        }
        if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 ||
            !within(e->e_phoff, (uint64_t)e->e_phnum * sizeof(Elf64_Phdr), n)) {
                return say(note, size,
                           "it is truncated or damaged: program headers outside the file");
        }
        if (e->e_shentsize != sizeof(Elf64_Shdr) || e->e_shnum == 0 ||
            !within(e->e_shoff, (uint64_t)e->e_shnum * sizeof(Elf64_Shdr), n)) {
                return say(note, size,
                           "it is truncated or damaged: section headers outside the file");
        }
        return true;
}

bool elf_check(const uint8_t *bytes, uint64_t n, char *note, size_t note_size)
{
        Elf64_Ehdr e;
        if (n < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG) != 0) {
                return say(note, note_size, "it is no ELF file");
        }
        if (n < sizeof e) {
                return say(note, note_size, "it is truncated: not even a whole ELF header");
        }
        memcpy(&e, bytes, sizeof e);
        if (!head_fits(&e, n, note, note_size)) {
                return false;
        }
        for (uint32_t i = 0; i < e.e_phnum; i++) {
                Elf64_Phdr p;
                memcpy(&p, bytes + e.e_phoff + i * sizeof p, sizeof p);
                if (!within(p.p_offset, p.p_filesz, n)) {
                        return say(note, note_size,
                                   "it is truncated: a segment lies outside the file");
                }
        }
        for (uint32_t i = 0; i < e.e_shnum; i++) {
                Elf64_Shdr s;
                memcpy(&s, bytes + e.e_shoff + i * sizeof s, sizeof s);
                if (s.sh_type != SHT_NOBITS && !within(s.sh_offset, s.sh_size, n)) {
                        return say(note, note_size,
                                   "it is truncated: a section lies outside the file");
                }
        }
        return true;
}

static void write_hex(const uint8_t *b, size_t n, char *text)
{
        static const char digits[] = "0123456789abcdef";
        for (size_t i = 0; i < n; i++) {
                *text++ = digits[b[i] >> 4];
                *text++ = digits[b[i] & 15];
        }
        *text = 0;
}

static bool find_build_id(const uint8_t *note, uint64_t n, char *ret_build)
{
        uint64_t at = 0;
        while (within(at, sizeof(Elf64_Nhdr), n)) {
                Elf64_Nhdr h;
                memcpy(&h, note + at, sizeof h);
                uint64_t name = at + sizeof h;
                uint64_t desc = name + (((uint64_t)h.n_namesz + 3) & ~UINT64_C(3));
                if (!within(desc, h.n_descsz, n)) {
                        return false;
                }
                if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 &&
                    memcmp(note + name, "GNU", 4) == 0 && h.n_descsz >= 8 && h.n_descsz <= 20) {
                        write_hex(note + desc, h.n_descsz, ret_build);
                        return true;
                }
                at = desc + (((uint64_t)h.n_descsz + 3) & ~UINT64_C(3));
        }
        return false;
}

void elf_build_id(const uint8_t *bytes, uint64_t n, char ret_build[static BUILD_ID_MAX])
{
        Elf64_Ehdr e;
        memcpy(&e, bytes, sizeof e);
        for (uint32_t i = 0; i < e.e_phnum; i++) {
                Elf64_Phdr p;
                memcpy(&p, bytes + e.e_phoff + i * sizeof p, sizeof p);
                if (p.p_type == PT_NOTE &&
                    find_build_id(bytes + p.p_offset, p.p_filesz, ret_build)) {
                        return;
                }
        }
        uint8_t hash[16];
        hash16((struct str){(const char *)bytes, (uint32_t)n}, hash);
        write_hex(hash, sizeof hash, ret_build);
}
