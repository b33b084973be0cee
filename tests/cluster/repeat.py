#!/usr/bin/env python3
"""Run the tests of clusters so many times in a row, each time with a fresh seed; stop at a failure.

Usage: tests/cluster/repeat.py THOLE TIMES [--long] [--seed N] [NAME...]

NAME: faults, partitions, ... (all of tests/cluster/test_*.py). `--seed` is that of the first round,
the others follow it. A line a program: its seed, how long it took, what it said last. The output of
what fails is printed whole, with the command that repeats it; exit code 1. Run it where the log
files may stand, on a disk with O_DIRECT.
"""
import argparse
import glob
import os
import random
import subprocess
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77


def names():
    found = sorted(glob.glob(os.path.join(FOLDER, "test_*.py")))
    return [os.path.basename(path)[len("test_"):-len(".py")] for path in found]


def run(thole, name, seed, long):
    """Whether it passed, or was skipped as a whole."""
    command = [sys.executable, os.path.join(FOLDER, f"test_{name}.py"), thole,
               "--seed", str(seed), *(["--long"] if long else [])]
    begin = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    last = done.stdout.strip().splitlines()[-1:]
    verdict = {0: "passed", SKIPPED: "skipped"}.get(done.returncode, "FAILED")
    print(f"    {name}: {verdict}, seed {seed}, {time.monotonic() - begin:.1f} s, {last}",
          flush=True)
    if verdict == "FAILED":
        print(f"{done.stdout}\nagain with: {' '.join(command)}", flush=True)
    return verdict != "FAILED"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thole", metavar="THOLE")
    parser.add_argument("times", metavar="TIMES", type=int)
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(names()))
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names())
    if unknown or arguments.times < 1:
        parser.error(f"no test is called {', '.join(sorted(unknown))}" if unknown
                     else "TIMES is at least 1")
    first = arguments.seed or random.SystemRandom().randrange(1, 1 << 31)
    thole = os.path.abspath(arguments.thole)
    for turn in range(arguments.times):
        print(f"round {turn + 1} of {arguments.times}, seed {first + turn}", flush=True)
        for name in arguments.names or names():
            if not run(thole, name, first + turn, arguments.long):
                sys.exit(1)
    print(f"{arguments.times} rounds without a failure, seeds {first} to "
          f"{first + arguments.times - 1}")


if __name__ == "__main__":
    main()
