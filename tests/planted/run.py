#!/usr/bin/env python3
"""Planted bugs: each patch beside this script is applied to a copy of the tree, and the simulator
must find it within 2,000 seeds, by a check other than an assertion in the file that the patch
changed; or, for a bug of what writes to a real disk, the crash rig (tests/crash) within three runs.
The shipped code carries none of them.

    run.py --source DIR [--rig] [--seeds N] [--only NAME] [--json]

The simulator's bugs; with --rig those of the crash rig, which take minutes.

The patches must be exactly those of BUGS and RIG_BUGS, and apply without fuzz: a hunk that lands
elsewhere plants another bug. Prints the seed that each one needed, and all of them in the last
line. Where the crash rig cannot run, its bugs are left out, and said.

Exit code 0: every bug was found, and the unpatched copy shows nothing in the first seeds.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BUGS = [
    "accused_is_not_bound",  # A node that is told that its disk went back takes no vote bound.
    "cut_at_first_bad",  # The log is cut at the first bad record.
    "foreign_frame_believed",  # A frame with the id of a peer counts, wherever it comes from.
    "mended_in_new_epoch",  # An entry is put in its place under an epoch that is not durable.
    "older_term_by_counting",  # An entry of an older term is committed by counting.
    "own_disk_before_durable",  # The leader counts its own disk before it is durable there.
    "pin_ignored",  # A slot is written while a nic still reads it.
    "read_before_own_term",  # A new leader answers reads before it knows what is committed.
    "read_confirmed_at_once",  # A leader answers reads without a round of heartbeats.
    "read_kept_at_step_down",  # Reads that wait are answered when the office is lost.
    "repair_of_what_stands",  # A repair writes pages that stand as they should.
    "scrub_before_durable",  # The scrubber looks at what is committed and not yet durable here.
    "session_decided_on_committed",  # A request is decided on what is committed, not on the tail.
    "session_lost_in_state",  # The small state of a boundary lacks the sessions.
    "session_made_up",  # A request of a session that is gone makes it anew.
    "session_not_fenced",  # An older writer of a session is not told from the newest.
    "session_tail_not_rebuilt",  # A cut leaves the sessions' tail as it was.
    "stale_completion",  # A completion from before a cut is accepted.
    "vote_before_durable",  # A vote is answered before it is durable.
]
RIG_BUGS = [
    "durable_with_gaps",  # A write counts as durable because a later one is.
    "vouched_before_durable",  # An entry vouches for what is under way before it.
    "written_without_dsync",  # The log is opened without O_DSYNC.
]
RIG_TEST = "Alone.test_one_node_on_a_file_keeps_what_it_acknowledged"
RIG_RUNS = 3
RIG_FOLDER = "tests/crash"
RIG_TOOLS = ["crash_recorder", "crash_replay", "crash_writer"]
RIG_TARGETS = ["thole", *(f"{RIG_FOLDER}/{tool}" for tool in RIG_TOOLS)]
SKIPPED = 77
# Sought in another game: disks rot under nodes that serve, one goes back to what it was.
GAMES = {
    "accused_is_not_bound": "--back",
    "repair_of_what_stands": "--rot",
    "scrub_before_durable": "--rot",
}
CHUNK = 25  # Seeds of one call of the simulator: none begins after one that found the bug.
WORKERS = os.cpu_count() or 1
TREE = ["engine", "storage", "net", "bench", "tests", "docs", "meson.build", "meson_options.txt"]


def call(args, **kwargs):
    return subprocess.run(args, check=False, capture_output=True, text=True, **kwargs)


def must(args, **kwargs):
    done = call(args, **kwargs)
    if done.returncode != 0:
        sys.exit(f"planted: {' '.join(map(str, args))} failed:\n{done.stdout}{done.stderr}")


def copy_tree(source, copy):
    copy.mkdir()
    for name in TREE:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.exists():
            shutil.copy2(path, copy / name)


def build(folder, targets):
    must(["ninja", "-C", str(folder), "-j2", *targets])


def violations(sim, first, count, *game):
    """The violations of some seeds: (seed, what)."""
    done = call([str(sim), "--seeds", f"{first}:{count}", *game], timeout=1800)
    found = re.findall(r"^violation: seed (\d+), [^:]*: (.*)$", done.stderr, re.MULTILINE)
    if done.returncode not in (0, 1):
        sys.exit(f"planted: the simulator ended with {done.returncode}: {done.stderr[-2000:]}")
    return [(int(seed), what) for seed, what in found]


def hunt(sim, mutated, seeds, *game):
    """The first violation that counts: (seed, what), or None; and how many assertions did not."""
    ignored = 0
    firsts = range(1, seeds + 1, CHUNK)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for group in (firsts[i:i + WORKERS] for i in range(0, len(firsts), WORKERS)):
            found = pool.map(lambda first: violations(sim, first, min(CHUNK, seeds + 1 - first),
                                                      *game), group)
            for seed, what in (one for chunk in found for one in chunk):
                if what.startswith("assertion") and mutated in what:
                    ignored += 1
                    continue
                return seed, what, ignored
    return None, "not found", ignored


def rig_run(copy, folder):
    """One run of the crash rig: its exit code, its seed, and the violation that it shows or None.
    It keeps the records of a run that shows one: they go."""
    with tempfile.TemporaryDirectory(prefix="thole-planted-", dir=os.getcwd()) as scratch:
        done = call([sys.executable, str(copy / RIG_FOLDER / "test_crash.py"),
                     str(folder / "thole"), str(folder / RIG_FOLDER), RIG_TEST],
                    cwd=scratch, timeout=1800)
    seed = re.search(r"^seed (\d+)$", done.stdout, re.MULTILINE)
    found = re.search(r"violation: [^:]*: (.*)$", done.stderr, re.MULTILINE)
    return done.returncode, seed and int(seed[1]), found and found[1]


def rig_can_run(copy, folder):
    """Whether the crash rig runs here; it must show nothing in the unpatched tree."""
    build(folder, RIG_TARGETS)
    code, seed, what = rig_run(copy, folder)
    if code not in (0, SKIPPED):
        sys.exit(f"planted: the crash rig fails in the unpatched tree: seed {seed}: {what}")
    return code == 0


def rig_hunt(copy, folder):
    """As hunt()."""
    for _ in range(RIG_RUNS):
        _, seed, what = rig_run(copy, folder)
        if what is not None:
            return seed, what, 0
    return None, "not found", 0


def mutated_file(patch):
    files = re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)
    if len(files) != 1:
        sys.exit(f"planted: {patch.name} must change one file")
    return files[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--rig", action="store_true")
    parser.add_argument("--only", choices=BUGS + RIG_BUGS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    here = pathlib.Path(__file__).resolve().parent
    found = sorted(p.stem for p in here.glob("*.patch"))
    if found != sorted(BUGS + RIG_BUGS):
        sys.exit(f"planted: the patches are {', '.join(found)}; "
                 f"they must be {', '.join(sorted(BUGS + RIG_BUGS))}")
    bugs = RIG_BUGS if options.rig else BUGS
    bugs = bugs if options.only is None else [options.only]
    results = []
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        copy = pathlib.Path(scratch) / "tree"
        folder = pathlib.Path(scratch) / "build"
        copy_tree(options.source.resolve(), copy)
        must(["meson", "setup", str(folder), str(copy), "--buildtype=release"])
        build(folder, ["tests/sim"])
        sim = folder / "tests" / "sim"
        clean = [found for game in ([], *([flag] for flag in sorted(set(GAMES.values()))))
                 for found in violations(sim, 1, CHUNK, *game)]
        if clean:
            sys.exit(f"planted: the unpatched tree shows seed {clean[0][0]}: {clean[0][1]}")
        if set(bugs) & set(RIG_BUGS) and not rig_can_run(copy, folder):
            print(f"planted: the crash rig cannot run here: left out: {', '.join(RIG_BUGS)}",
                  file=sys.stderr)
            bugs = [bug for bug in bugs if bug in BUGS]
        for patch in (here / f"{bug}.patch" for bug in bugs):
            mutated = mutated_file(patch)
            apply = ["patch", "-p1", "-F0", "-d", str(copy), "-i", str(patch)]
            must(apply + ["--no-backup-if-mismatch"])
            rig = patch.stem in RIG_BUGS
            game = [GAMES[patch.stem]] if patch.stem in GAMES else []
            build(folder, RIG_TARGETS if rig else ["tests/sim"])
            seed, what, ignored = (rig_hunt(copy, folder) if rig
                                   else hunt(sim, mutated, options.seeds, *game))
            must(apply + ["-R", "--no-backup-if-mismatch"])
            results.append({"bug": patch.stem, "file": mutated, "seed": seed, "what": what,
                            "assertions_ignored": ignored})
            if not options.json:
                print(f"{patch.stem}: seed {seed}: {what}", flush=True)
    if options.json:
        print(json.dumps(results))
    missed = [r["bug"] for r in results if r["seed"] is None]
    if missed:
        print(f"planted: not found: {', '.join(missed)}", file=sys.stderr)
        return 1
    if not options.json:
        needed = ", ".join(f"{r['bug']} {r['seed']}" for r in results)
        print(f"planted: {len(results)} found; seeds needed: {needed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
