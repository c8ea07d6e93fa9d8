/*
 * May this file be loaded? Owner, mode and directories first, on descriptors and never on paths
 * twice; then the ELF header, on the sealed copy that will be loaded. Everything that is refused
 * says why in words for the operator.
 */
#ifndef SKEP_PLUGINS_TRUST_H
#define SKEP_PLUGINS_TRUST_H

#include <sys/stat.h>

#include "core/base.h"
#include "core/roster.h"

#define PLUGIN_BYTES_MAX (UINT64_C(128) << 20)

/* Opens the directory; it and every directory above it belong to root or to us and cannot be
 * written by others (above it: unless sticky, like /tmp). Returns the descriptor, or -errno with
 * the note filled. */
int trust_open_directory(const char *path, char *note, size_t note_size);

/* Opens a plug-in in it: a regular file of sane size and plain name, owned by root or us, not
 * writable by others. */
int trust_open_file(int directory, const char *name, struct stat *ret_st, char *note,
                    size_t note_size);

/* A shared object for this machine that lies in the bytes as a whole. */
bool elf_check(const uint8_t *bytes, uint64_t n, char *note, size_t note_size);

/* Its GNU build id, else the first half of the SHA-256 of all bytes, as hex. */
void elf_build_id(const uint8_t *bytes, uint64_t n, char ret_build[static BUILD_ID_MAX]);

#endif
