#!/bin/sh
# Compiles one public header alone: header-alone.sh c|c++ INCLUDE_DIR HEADER. Every compiler that is installed, at least one.
set -u
language=$1 dir=$2 header=$3
case $language in
c) standard=c11 compilers="gcc clang cc" ;;
*) standard=c++17 compilers="g++ clang++ c++" ;;
esac
passed=0 failed=0 skipped=0
for compiler in $compilers; do
        if ! command -v "$compiler" >/dev/null 2>&1; then
                skipped=$((skipped + 1))
        elif printf '#include <%s>\n' "$header" |
                "$compiler" -x "$language" -std="$standard" -I "$dir" -Wall -Wextra -Wpedantic -Werror -c -o /dev/null -; then
                passed=$((passed + 1))
        else
                failed=$((failed + 1))
        fi
done
[ $passed -gt 0 ] || [ $failed -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
