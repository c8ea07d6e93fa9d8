/*
 * The little that the two files of this program share: a counted check, and where to work.
 */
#ifndef SKEP_TESTS_CONFORMANCE_SQLITE_OPEN_H
#define SKEP_TESTS_CONFORMANCE_SQLITE_OPEN_H

#include <stdbool.h>

enum verdict { PASSED, FAILED, SKIPPED };

/* False, said aloud, when the condition does not hold. */
bool expect(bool condition, const char *what, const char *note);

/* A disk that fills up, in a mount namespace of a child. */
enum verdict test_full_disk(const char *dir);

#endif
