#!/bin/sh
# Turns a file into a C array: embed.sh NAME FILE > FILE.c. The array ends with a NUL that NAME_size does not count.
set -eu
echo '#include <stddef.h>'
echo "extern const char $1[];"
echo "extern const size_t $1_size;"
echo "const char $1[] = {"
od -An -v -tu1 "$2" | sed 's/ *\([0-9][0-9]*\)/\1,/g'
echo '0};'
echo "const size_t $1_size = sizeof $1 - 1;"
