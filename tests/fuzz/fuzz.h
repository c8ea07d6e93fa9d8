/*
 * A fuzz target: one function over any bytes, which ends the program when something is wrong. The
 * name is libFuzzer's, so that the same file serves a search with it and the replay here.
 */
#ifndef SKEP_TESTS_FUZZ_H
#define SKEP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
