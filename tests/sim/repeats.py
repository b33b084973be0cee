#!/usr/bin/env python3
"""The same seed gives the same hash: every seed run twice, alone and among others."""
import subprocess
import sys


def hashes(sim, first, count):
    args = [sim, "--seeds", f"{first}:{count}", "--hash"]
    out = subprocess.run(args, check=False, capture_output=True, text=True).stdout
    return [line for line in out.splitlines() if line.startswith("seed ")]


def main():
    sim = sys.argv[1]
    first, count = 900, 12
    together = hashes(sim, first, count)
    alone = [line for i in range(count) for line in hashes(sim, first + i, 1)]
    if len(together) != count or together != alone:
        for a, b in zip(together, alone):
            print(a, "|", b)
        print("sim_repeats: the same seed gave two hashes")
        return 1
    print(f"sim_repeats: {count} seeds, the same hashes twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
