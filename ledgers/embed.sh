#!/bin/sh
# embed.sh LEDGER OUT FILE...: writes a C table of the ledger's migrations, in the order given. Each file is called
# NNN-name.sql; a file that is not stops the build.
set -eu
ledger=$1
out=$2
shift 2
{
        echo '/* Generated from migrations/ by embed.sh. */'
        echo "#include \"ledgers/$ledger/internal.h\""
        echo "const struct migration ${ledger}_migrations[] = {"
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
        echo "const int ${ledger}_migrations_n ="
        echo "        sizeof ${ledger}_migrations / sizeof *${ledger}_migrations;"
} > "$out.tmp"
mv "$out.tmp" "$out"
