#!/usr/bin/env bash
# quickstart.sh: from a fresh clone to three replicas that commit durably, in one command.
#
# Installs the Debian packages that are missing (as root, or through sudo, and says so), builds the
# program into build/, and runs `thole demo`: three replicas in one process over DPDK ring ports, on
# a log in this folder, beside the commit floor measured in the same run. Needs no huge pages, no
# network card and, apart from the packages, no root. Ends with the demo's `RESULT: VALID`; options
# are passed to it.
set -eu
cd "$(dirname "$0")/.."
source tests/packages.sh

packages_install "${packages_build[@]}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "building into build/" >&2
if { [ -f build/build.ninja ] || meson setup build; } >"$log" 2>&1 &&
    ninja -C build thole >>"$log" 2>&1
then
    :
else
    tail -n 50 "$log" >&2
    echo "quickstart: the build failed; its last words are above" >&2
    exit 3
fi

build/thole demo --rate 20k --size 256 --warmup 1s --duration 5s "$@"
