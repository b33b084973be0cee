#!/usr/bin/env python3
"""The echo of `thole floor net` beside dpdk-testpmd's over one AF_XDP veth pair, in turn: the nic
code of a node costs at most 1.3 x as much. bench/echo_compare.py measures; 77 where it cannot.
"""
import json
import os
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    done = subprocess.run(
        [sys.executable, os.path.join(REPOSITORY, "bench", "echo_compare.py"), "--thole",
         sys.argv[1], "--rounds", "5", "--slice", "200", "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False)
    if done.returncode == 3:
        print(f"skipped: {done.stderr.strip()}", file=sys.stderr)
        return 77
    print(done.stdout + done.stderr)
    found = json.loads(done.stdout)
    for name in ["testpmd", "node"]:
        assert found[name]["echoes"] > 0, found
    assert found["passes"] is (found["ratio_p50"] <= found["ratio_max"]), found
    assert found["ratio_p50"] <= 1.3, found
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
