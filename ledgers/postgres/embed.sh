#!/bin/sh
# embed.sh OUT FILE...: writes a C table of the migrations, in the order given. Each file is called
# NNN-name.sql; a file that is not stops the build.
set -eu
out=$1
shift
{
        echo '/* Generated from migrations/ by embed.sh. */'
        echo '#include "ledgers/postgres/internal.h"'
        echo 'const struct migration postgres_migrations[] = {'
        for file in "$@"; do
                base=$(basename "$file" .sql)
                case $base in
                [0-9][0-9][0-9]-*) ;;
                *) echo "$file: a migration is called NNN-name.sql" >&2; exit 1 ;;
                esac
                echo "{$(echo "$base" | sed 's/-.*//; s/^0*//'), \"${base#*-}\","
                sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$/\\n"/' "$file"
                echo '},'
        done
        echo '};'
        echo 'const int postgres_migrations_n ='
        echo '        sizeof postgres_migrations / sizeof *postgres_migrations;'
} > "$out.tmp"
mv "$out.tmp" "$out"
