#!/usr/bin/env bash
# fuzz.sh: run a fuzz target for long, or fold what it found into the corpus.
#
#     tests/fuzz/fuzz.sh run NAME [RUNS] [FLAG...]   flags are libFuzzer's, such as -max_len=1024
#     tests/fuzz/fuzz.sh merge NAME                  what adds coverage goes to the corpus
#
# NAME is config, wire, recover, client or replica; RUNS is ten million. Needs clang. It builds in
# build-clang, and keeps inputs found and the log below build-clang/fuzz. An input that fails is
# left there as NAME-crash-...: mend the code, then keep it in the corpus under a telling name.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 3

usage() {
    sed -n '2,/^set -u/s/^# \{0,1\}//p' tests/fuzz/fuzz.sh >&2
    exit 2
}

[ $# -ge 2 ] || usage
verb=$1
name=$2
shift 2
folder=tests/fuzz
target=$folder/fuzz_$name
[ -f "$target.c" ] || usage
if [ ! -f build-clang/build.ninja ]; then
    CC=clang meson setup build-clang || exit 3
fi
ninja -C build-clang "$target" || exit 3
found=build-clang/fuzz/$name
mkdir -p "$found"
# A small quarantine: the default one costs more time in page faults than the target takes.
export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=8:malloc_context_size=2:detect_leaks=0}

case $verb in
run)
    runs=10000000
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then
        runs=$1
        shift
    fi
    "build-clang/$target" -runs="$runs" -entropic=0 -print_final_stats=1 \
        -artifact_prefix="build-clang/fuzz/$name-" "$@" "$found" "$folder/corpus/$name" 2>&1 |
        tee "build-clang/fuzz/$name.log"
    ;;
merge)
    # By edges alone: with counters a corpus is ten times as large, and adds nothing to a replay.
    "build-clang/$target" -merge=1 -use_counters=0 -max_len=1024 \
        "$folder/corpus/$name" "$found"
    ;;
*) usage ;;
esac
