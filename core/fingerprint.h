/*
 * Errors that are the same but for their particulars: what dead jobs are grouped by.
 *
 * Equal are errors of one type and class whose texts have an equal first line once everything that
 * is another each time is taken out: runs of digits, hexadecimal runs of 8 and more, what stands
 * after 0x, UUIDs, and what is quoted ("…", '…' or `…`). So numbers in paths go too. Of the line
 * the first 512 bytes count.
 *
 * Stored by number in ledgers: a change of the rule only means that new errors form new groups.
 */
#ifndef SKEP_CORE_FINGERPRINT_H
#define SKEP_CORE_FINGERPRINT_H

#include "core/base.h"
#include "core/state.h"

/* Never 0. */
uint64_t error_fingerprint(struct str type, enum error_class error, struct str text);

#endif
