#!/bin/sh
# archive.sh: the static library: one object of all that it needs, of which only the names of
# thole.symbols can be seen, so that nothing of it meets a name of the program that links it.
#
#     archive.sh COMPILER... -- OUTPUT LIBRARY...
set -eu
symbols=$(dirname "$0")/thole.symbols
compiler=
while [ "$1" != -- ]; do
    compiler="$compiler $1"
    shift
done
output=$2
first=$3
shift 3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Of the first library everything, of the others what that needs.
$compiler -r -nostdlib -o "$scratch/all.o" \
    -Wl,--whole-archive "$first" -Wl,--no-whole-archive -Wl,--start-group "$@" -Wl,--end-group
sed -n 's/^ *\(thole_[a-z_]*\);$/\1/p' "$symbols" >"$scratch/names"
objcopy --keep-global-symbols="$scratch/names" "$scratch/all.o" "$scratch/thole.o"
rm -f "$output"
ar rcs "$output" "$scratch/thole.o"
