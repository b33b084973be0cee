"""Every command in the README runs as it stands.

The blocks marked `sh` are run in order in one scratch folder, with the program under test in the
place of `build/thole`; the block marked `ini` stands there as cluster.ini, as the README says. A
block that starts processes is run as one script, any other line by line.
Commands that install or test everything (quickstart.sh, run.sh, meson, apt) run elsewhere and are
only checked to exist here.
"""
import functools
import os
import re
import shlex
import subprocess
import unittest

import support
from support import Case, REPOSITORY

ELSEWHERE = re.compile(r"^(sudo|apt|git|cd|meson|ninja|ssh)\b")


def blocks(kind):
    """The README's blocks of one kind."""
    with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as readme:
        text = readme.read()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def commands(block):
    """The lines of a block, continued lines joined, without comments."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        line = line.split(" #")[0].strip()
        if line and not line.startswith("#"):
            found.append(line)
    return found


def example_of_the_unit_test():
    """The configuration that tests/unit/test_config.c parses as the README's."""
    with open(os.path.join(REPOSITORY, "tests", "unit", "test_config.c"), encoding="utf-8") as test:
        macro = re.search(r"#define EXAMPLE\s(.*?[^\\])\n\n", test.read(), re.DOTALL).group(1)
    return "".join(re.findall(r'"(.*?)"', macro)).replace("\\n", "\n")


@functools.cache
def why_no_lab():
    """Why `thole lab` cannot make a network here, as a tool that it needs says; or None."""
    ordinary = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    probe = "ip link add br0 type bridge && nft list tables"
    done = subprocess.run(["unshare", *ordinary, "--net", "sh", "-c", probe], text=True,
                          env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
                          capture_output=True, check=False)
    return done.stderr.strip() if done.returncode != 0 else None


class Readme(Case):
    def test_the_configuration_is_the_one_that_the_unit_test_parses(self):
        self.assertEqual(blocks("ini"), [example_of_the_unit_test()])

    def run_line(self, line):
        words = shlex.split(line)
        if ELSEWHERE.match(line):
            return
        if words[0].startswith("./"):
            path = os.path.join(REPOSITORY, words[0])
            self.assertTrue(os.access(path, os.X_OK), path)
            return
        self.assertEqual(words[0], "build/thole", "a command that this test does not know")
        process = subprocess.run(words, cwd=self.folder, text=True, capture_output=True,
                                 timeout=120, check=False)
        odd = words[1] in ["demo", "bench", "doctor"]
        self.assertIn(process.returncode, [0, 1] if odd else [0], process.stderr)
        if process.returncode == 1 and words[1] == "doctor":  # An odd machine, and it says how.
            self.assertRegex(process.stdout, r"(?m)^error ")
        elif process.returncode == 1:  # A busy machine may make a run invalid, never wrong.
            self.assertRegex(process.stdout, r"RESULT: INVALID: |\"valid\": false")

    def run_script(self, block):
        """A block of processes; none of them outlives it, whatever happens."""
        script = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + block
        process = subprocess.run(["timeout", "100", "bash", "-c", script], cwd=self.folder,
                                 text=True, capture_output=True, timeout=120, check=False)
        self.assertEqual(process.returncode, 0, process.stdout + process.stderr)
        self.assertIn("\n".join(str(offset) for offset in range(10)), process.stdout)
        self.assertIn('"offset"', process.stdout)

    def test_every_command_runs(self):
        with open(self.path("cluster.ini"), "w", encoding="utf-8") as out:
            out.write(blocks("ini")[0])
        os.mkdir(self.path("build"))
        os.symlink(support.THOLE, self.path("build", "thole"))
        self.assertGreaterEqual(len(blocks("sh")), 3)
        for block in blocks("sh"):
            if " lab " in block and why_no_lab():
                print(f"    not run, no lab here: {why_no_lab()}", flush=True)
                continue
            if re.search(r"&$", block, re.MULTILINE):
                with self.subTest(block=block):
                    self.run_script(block)
                continue
            for line in commands(block):
                with self.subTest(line=line):
                    self.run_line(line)


if __name__ == "__main__":
    support.main()
