"""What the scripts share that measure nodes over loopback: the nodes, as processes, the options,
and how a measurement is told.
"""
import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class LocalNodes:
    """`count` formatted nodes with logs in a folder of their own; nothing runs yet."""

    def __init__(self, thole, folder, count, storage):
        self.thole = thole
        self.folder = folder
        self.processes = {}
        os.mkdir(folder)
        with open(os.path.join(folder, "c.ini"), "w", encoding="ascii") as out:
            out.write("[cluster]\nid = 1\n")
            for number in range(1, count + 1):
                out.write(f"[node {number}]\naddress = 127.0.0.1:{free_port()}\n"
                          f"data = n{number}\n")
            out.write(f"[storage]\n{storage}")
        for number in range(1, count + 1):
            self.run("format", "-c", "c.ini", "--node", str(number))

    def run(self, *arguments, good=(0,), stdin=b""):
        done = subprocess.run([self.thole, *arguments], cwd=self.folder, capture_output=True,
                              check=False, input=stdin)
        if done.returncode not in good:
            raise RuntimeError(f"thole {' '.join(arguments)}: {done.stderr.decode()[-500:]}")
        return done.stdout.decode()

    def start(self, number):
        """Start a node; seconds until it serves."""
        begin = time.monotonic()
        process = subprocess.Popen(
            [self.thole, "start", "-c", "c.ini", "--node", str(number)], cwd=self.folder,
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.processes[number] = process
        for line in process.stderr:
            if line.startswith("serving node"):
                return time.monotonic() - begin
        raise RuntimeError(f"node {number} ended with {process.wait()}")

    def status(self):
        return json.loads(self.run("status", "-c", "c.ini", "--json", good=(0, 1)))

    def kill(self, number):
        process = self.processes.pop(number)
        process.kill()
        process.communicate()

    def close(self):
        for number in list(self.processes):
            self.kill(number)
        shutil.rmtree(self.folder)


def parser_of(doc, repeats):
    """The options that all of the scripts have."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument("--thole", default=os.path.join(root, "build", "thole"))
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--dir", default=".", help="on whose filesystem the logs lie")
    parser.add_argument("--json", action="store_true")
    return parser


def run_script(name, options, rows_of):
    """Measure in a folder that goes again, options.folder; returns the rows, printed already with
    --json, and the load average before. Ends with 3 if a node or a command fails.
    """
    options.thole = os.path.abspath(options.thole)
    options.folder = tempfile.mkdtemp(prefix=f"thole-{name}-", dir=os.path.abspath(options.dir))
    load = os.getloadavg()[0]
    try:
        rows = rows_of(options)
    except RuntimeError as why:
        print(f"{name}: {why}", file=sys.stderr)
        sys.exit(3)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"schema": f"thole-{name}-1", "load_average": load, "rows": rows},
                         indent=2))
    return rows, load


def cell(values, digits=0):
    """Median (lowest..highest)."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}..{max(values):.{digits}f})")
