#!/usr/bin/env bash
# run.sh: everything that must hold before a change is done. Needs no privilege but apt's, and that
# only where a Debian package is missing.
#
#     tests/run.sh          format and the rules of tests/tidy.py; the gcc build runs the suite
#                           `alone`, then every other but `long`; beside these lint, the clang
#                           build runs the suites `unit` and `trace` and the short simulator, and
#                           must give the same hash for a seed, and the sanitizers' build runs
#                           `unit`, `trace` and `fuzz`
#     tests/run.sh --all    the gcc build also runs the suite `long`, the fuzz targets of libFuzzer
#                           are built, and the static analyzer of clang-tidy goes deep
#
# Prints a line a step and a test, the output of what failed, at once and again at the end, and
# last, alone on its line, `N passed, N failed, N skipped`. A passed step or test program counts
# once; of a program that passed, each case that skipped itself is shown and counts as skipped too.
# Exits 1 when anything failed, 2 for a wrong option, 3 when the machine lacks what is needed.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 3
source tests/packages.sh

all=false
for argument in "$@"; do
    case "$argument" in
    --all) all=true ;;
    -h | --help)
        sed -n '2,/^set -u/s/^# \{0,1\}//p' tests/run.sh
        exit 0
        ;;
    *)
        echo "usage: tests/run.sh [--all]" >&2
        exit 2
        ;;
    esac
done

passed=0
failed=0
skipped=0
jobs=$(nproc)
scratch=$(mktemp -d) || exit 3
behind= # The process group of what runs beside the tests.
trap '[ -z "$behind" ] || kill -- "-$behind" 2>/dev/null; rm -rf "$scratch"' EXIT

# verdict NAME SECONDS CODE FILE: count it, and show its output when it failed.
verdict() {
    if [ "$3" -eq 0 ]; then
        echo "PASS $1 ($2 s)"
        passed=$((passed + 1))
    else
        {
            echo "FAIL $1 ($2 s): exit code $3"
            tail -n 200 "$4" | sed 's/^/    /'
        } | tee -a "$scratch/failures"
        failed=$((failed + 1))
    fi
    return "$3"
}

# step NAME COMMAND...: run it.
step() {
    local name=$1 begin=$SECONDS
    shift
    "$@" >"$scratch/output" 2>&1 </dev/null
    verdict "$name" $((SECONDS - begin)) $? "$scratch/output"
}

# Steps that only need a CPU run beside tests, most of which wait most of the time, on what these
# leave over. beside FILE COMMAND...: run it so, and leave FILE and FILE.end.
beside() {
    local file=$scratch/$1 begin=$SECONDS
    shift
    "$@" >"$file" 2>&1 </dev/null
    echo $? $((SECONDS - begin)) >"$file.end"
}

await_end() {
    while [ ! -s "$scratch/$1.end" ]; do
        sleep 0.2
    done
}

# await FILE NAME: until it has ended.
await() {
    local code seconds
    await_end "$1"
    read -r code seconds <"$scratch/$1.end"
    verdict "$2" "$seconds" "$code" "$scratch/$1"
}

skip() {
    echo "SKIP $1"
    skipped=$((skipped + 1))
}

# configure FOLDER COMPILER OPTION...: if it is new.
configure() {
    local folder=$1 compiler=$2
    shift 2
    [ -f "$folder/build.ninja" ] || CC=$compiler meson setup "$folder" "$@"
}

# build FOLDER COMPILER OPTION...: configure it, then build.
build() {
    configure "$@" && ninja -C "$1" -j "$jobs"
}

# The sanitizers' build makes what its suites need. They are clang's and not gcc's, because its
# undefined-behaviour sanitizer sees more. b_lundef: their symbols come with the executable.
sanitized_suites=(unit trace fuzz)
build_sanitized() {
    configure build-asan clang -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args=-fno-sanitize-recover=all &&
        targets_of build-asan "${sanitized_suites[@]}" >"$scratch/targets" &&
        xargs ninja -C build-asan -j "$jobs" <"$scratch/targets"
}

# targets_of FOLDER SUITE...: the files that the tests of these suites need, one a line.
targets_of() {
    python3 - "$@" <<'PYTHON'
import json, os, subprocess, sys
folder, suites = sys.argv[1], {f'thole:{name}' for name in sys.argv[2:]}

def introspect(what):
    told = subprocess.run(['meson', 'introspect', folder, what], check=True, capture_output=True)
    return json.loads(told.stdout)

files = {target['id']: target['filename'] for target in introspect('--targets')}
needed = {target for test in introspect('--tests') if suites & set(test['suite'])
          for target in test['depends']}
assert needed, 'no test of these suites'
for target in sorted(needed):
    for path in files[target]:
        print(os.path.relpath(path, os.path.realpath(folder)))
PYTHON
}

# await_tests NAME FOLDER LABEL: the same for tests.
await_tests() {
    await_end "$1"
    meson_tell "$@"
}

# refuse FILE: show why, and fail.
refuse() {
    cat "$1"
    return 1
}

# meson_run NAME FOLDER OPTION...: run tests; meson_tell has the rest.
meson_run() {
    local name=$1 folder=$2
    shift 2
    rm -f "$folder/meson-logs/$name.json"
    meson test -C "$folder" --no-rebuild --num-processes "$jobs" --logbase "$name" "$@" \
        >"$scratch/meson-$name" 2>&1 </dev/null
}

# meson_tell NAME FOLDER LABEL: print a line for each test that was run, and count them.
meson_tell() {
    local log=$2/meson-logs/$1.json label=$3
    if [ ! -f "$log" ]; then
        if grep -q 'No suitable tests\|No tests defined' "$scratch/meson-$1"; then
            skip "$label: no test of these suites"
        else
            step "$label: meson test" refuse "$scratch/meson-$1"
        fi
        return
    fi
    if ! python3 - "$label" "$log" "$scratch/counts" "$scratch/failures" <<'PYTHON'; then
import json, re, sys
label, log, counts_path, failures_path = sys.argv[1:]

def cases_skipped(words):
    """The cases within a program that skipped themselves: cmocka's and unittest's."""
    # cmocka names a case when it skips and again in its summary, below a line with their number.
    names = re.findall(r'^\[  SKIPPED \] (?!\d+ test)(\S+)', words, re.M)
    cases = list(dict.fromkeys(names))
    cases += [f'{name}: {why}' for name, why in
              re.findall(r'^(.*?) \.\.\. skipped (.*)$', words, re.M)]
    told = sum(int(n) for n in re.findall(r'^OK \(.*\bskipped=(\d+)', words, re.M))
    return cases + ['a case without a name'] * (told - len(cases))

counts = {'PASS': 0, 'FAIL': 0, 'SKIP': 0}
verdicts = {'OK': 'PASS', 'EXPECTEDFAIL': 'PASS', 'SKIP': 'SKIP'}
for line in open(log, encoding='utf-8', errors='replace'):
    test = json.loads(line)
    verdict = verdicts.get(test['result'], 'FAIL')
    counts[verdict] += 1
    title = f"{verdict} {label}: {test['name']} ({test['duration']:.1f} s)"
    print(title)
    words = (test.get('stdout') or '') + (test.get('stderr') or '')
    if verdict == 'FAIL':
        why = [f"{test['result']}, exit code {test.get('returncode')}", *words.splitlines()[-100:]]
        why = ''.join(f'    {line}\n' for line in why)
        print(why, end='')
        with open(failures_path, 'a', encoding='utf-8') as failures:
            failures.write(f'{title}\n{why}')
    elif verdict == 'SKIP' and words.strip():
        print('    ' + words.strip().splitlines()[-1])
    elif verdict == 'PASS':
        for case in cases_skipped(words):
            print(f"SKIP {label}: {test['name']}: {case}")
            counts['SKIP'] += 1
with open(counts_path, 'w') as out:
    print(counts['PASS'], counts['FAIL'], counts['SKIP'], file=out)
PYTHON
        step "$label: reading meson's log" false
        return
    fi
    local test_passed test_failed test_skipped
    read -r test_passed test_failed test_skipped <"$scratch/counts"
    passed=$((passed + test_passed))
    failed=$((failed + test_failed))
    skipped=$((skipped + test_skipped))
}

# compiled_files FOLDER INTO: the C files of its compile database, one a line; the folder INTO gets
# a database with the first unit of each, as many are compiled again for a test, with a sanitizer.
compiled_files() {
    mkdir -p "$2" && python3 - "$@" <<'PYTHON'
import json, os, sys
folder, into = sys.argv[1:]
units = {}
for unit in json.load(open(os.path.join(folder, 'compile_commands.json'))):
    name = os.path.relpath(os.path.join(unit['directory'], unit['file']))
    if name.startswith(('engine/', 'net/', 'storage/', 'bench/', 'tests/')):
        units.setdefault(name, unit)
with open(os.path.join(into, 'compile_commands.json'), 'w') as out:
    json.dump(list(units.values()), out)
print('\n'.join(sorted(units)))
PYTHON
}

clang_format() {
    find engine net storage bench tests -name '*.[ch]' -print0 |
        xargs -0 -r clang-format --dry-run -Werror
}

# The static analyzer follows calls as far as its mode says: deep costs five times as much.
clang_tidy() {
    local mode=shallow
    $all && mode=deep
    compiled_files build-clang "$scratch/units" >"$scratch/files" || return 1
    test -s "$scratch/files" || return 1
    xargs -P "$jobs" -n 1 clang-tidy --quiet -p "$scratch/units" --extra-arg=-Xclang \
        --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=mode=$mode \
        <"$scratch/files" 2>&1 |
        sed '/^[0-9]* warnings\{0,1\} generated\.$/d'
}

# A suite whose folder is there must have tests: nothing may fall out of the run unseen.
suites_are_complete() {
    local folder
    for folder in unit trace fuzz device crash cli cluster; do
        [ -f "tests/$folder/meson.build" ] || continue
        meson test -C build --list --suite "$folder" 2>/dev/null | grep ' / ' >/dev/null ||
            { echo "tests/$folder has a meson.build, and suite $folder has no test"; return 1; }
    done
}

# A seed of the simulator is the same run with both compilers.
same_hashes() {
    build/tests/sim --seeds 1:60 --hash >"$scratch/hash-gcc" || return 1
    build-clang/tests/sim --seeds 1:60 --hash >"$scratch/hash-clang" || return 1
    [ "$(wc -l <"$scratch/hash-gcc")" -eq 60 ] && diff "$scratch/hash-gcc" "$scratch/hash-clang"
}

packages_install "${packages_build[@]}" "${packages_test[@]}" || exit 3

step "tidy" tests/tidy.py
step "tidy self-test" tests/tidy.py --self-test
step "clang-format" clang_format

suites=(--no-suite alone --no-suite planted --no-suite long)
if $all; then
    suites=(--no-suite alone --no-suite planted)
fi
built_gcc=false
if step "build with gcc" build build gcc; then
    built_gcc=true
    step "every suite has its tests" suites_are_complete
    meson_run alone build --suite alone --no-suite long
    meson_tell alone build gcc
fi
set -m # A group of its own, so that it ends with this script.
(
    chrt --idle --pid 0 "$BASHPID"
    beside clang build build-clang clang
    beside lint clang_tidy
    beside sanitizers build_sanitized
    beside sanitized meson_run sanitized build-asan "${sanitized_suites[@]/#/--suite=}" \
        --no-suite long --timeout-multiplier 10
    beside pure meson_run pure build-clang --suite unit --suite trace --no-suite long \
        --timeout-multiplier 10
    beside sim meson_run sim build-clang sim --timeout-multiplier 10
    beside hashes same_hashes
    if $all; then
        beside fuzzers ninja -C build-clang fuzzers
    fi
    beside planted meson_run planted build --suite planted --timeout-multiplier 10
) </dev/null &
behind=$!
set +m
if $built_gcc; then
    meson_run tests build "${suites[@]}"
    meson_tell tests build gcc
    await_tests planted build gcc
else
    skip "tests with gcc: not built"
fi
if await clang "build with clang"; then
    await lint "clang-tidy"
    await_tests pure build-clang clang
    await_tests sim build-clang clang
    if $built_gcc; then
        await hashes "simulator: same hashes with gcc and clang"
    else
        skip "simulator: same hashes with gcc and clang: not built with gcc"
    fi
    if $all; then
        await fuzzers "fuzz targets of libFuzzer"
    fi
else
    skip "clang-tidy: not built with clang"
    skip "tests with clang: not built"
fi
if await sanitizers "build with sanitizers"; then
    await_tests sanitized build-asan sanitizers
else
    skip "tests with sanitizers: not built"
fi

if [ -s "$scratch/failures" ]; then
    echo "What failed, once more:"
    cat "$scratch/failures"
fi
echo "in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
