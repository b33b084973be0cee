#!/usr/bin/env python3
"""bench/floor_disk.c is within 10 % of fio: same file, flags, depth, size, CPU and way of waiting.

Rounds alternate (fio, floor, floor, fio, ...), so that both meet the same disk; the figure is the
median of the rounds' ratios. On a machine with other work one series can be off: then two more are
run, a while apart, and the median is of all three. Exits 77 without fio or a fit filesystem.
usage: test_floor_disk.py FLOOR_PROBE
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
ROUNDS = 11
SERIES_MAX = 3
PAUSE_S = 20  # Between two series: what disturbs one of them may pass.
SECONDS = 0.8
FILE_MIB = 64
TOLERANCE = 0.10
CASES = [(1, 4096), (4, 65536)]  # depth, bytes


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def run(arguments):
    cpu = max(os.sched_getaffinity(0))
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    if done.returncode != 0:
        reason = f"{arguments[0]} failed here: {done.stderr.strip()[-300:]}"
        if arguments[0] == "fio":
            skip(reason)
        sys.exit(reason)  # Our own probe, where fio can: a failure.
    return json.loads(done.stdout[done.stdout.index("{"):])


def fio(path, depth, size):
    result = run([
        "fio", "--name=floor", f"--filename={path}", "--ioengine=io_uring", "--direct=1",
        "--sync=dsync", "--rw=write", f"--bs={size}", f"--iodepth={depth}", f"--size={FILE_MIB}m",
        "--time_based", f"--runtime={SECONDS}s", "--overwrite=1", "--registerfiles=1",
        "--scramble_buffers=0",
        "--output-format=json"])
    write = result["jobs"][0]["write"]
    # lat: submission to completion, as the probe takes it.
    return {"iops": write["iops"], "mean_ns": write["lat_ns"]["mean"]}


def floor(probe, path, depth, size):
    result = run([probe, path, str(depth), str(size), str(SECONDS), "wait"])
    return {"iops": result["writes"] / SECONDS, "mean_ns": result["mean_ns"]}


def series_run(probe, path, case, ratios):
    for number in range(ROUNDS):
        if number % 2 == 0:
            theirs, ours = fio(path, *case), floor(probe, path, *case)
        else:
            ours, theirs = floor(probe, path, *case), fio(path, *case)
        for key in ratios:
            ratios[key].append(ours[key] / theirs[key])


def case_run(probe, path, depth, size):
    ratios = {"iops": [], "mean_ns": []}
    # With several in flight the mean latency is depth over writes, measured less well: not judged.
    judged = ["iops", "mean_ns"] if depth == 1 else ["iops"]
    for series in range(SERIES_MAX):
        time.sleep(PAUSE_S if series > 0 else 0)
        series_run(probe, path, (depth, size), ratios)
        medians = {key: statistics.median(values) for key, values in ratios.items()}
        print(f"depth {depth}, {size} bytes: floor / fio, medians of {len(ratios['iops'])} rounds: "
              f"writes {medians['iops']:.3f}, mean latency {medians['mean_ns']:.3f}")
        if all(abs(medians[key] - 1) <= TOLERANCE for key in judged):
            return True
    return False


def main():
    probe = os.path.abspath(sys.argv[1])
    if shutil.which("fio") is None:
        skip("fio is not installed (apt install fio)")
    with tempfile.TemporaryDirectory(dir=os.environ.get("THOLE_TEST_DIR", ".")) as folder:
        path = os.path.join(folder, "floor")
        with open(path, "wb") as file:
            for _ in range(FILE_MIB):
                file.write(bytes(1 << 20))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        results = [case_run(probe, path, depth, size) for depth, size in CASES]
    sys.exit(0 if all(results) else 1)


main()
