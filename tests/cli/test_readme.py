"""Every command in the README runs as it stands.

The blocks marked `sh` are run from a copy-free working folder at the repository's root, with the
program under test first in the way of `build/thole`. Commands that install or test everything
(quickstart.sh, run.sh, meson, apt) run elsewhere and are only checked to exist here.
"""
import os
import re
import shlex
import subprocess
import unittest

import support
from support import Case, REPOSITORY

ELSEWHERE = re.compile(r"^(sudo|apt|git|cd|meson|ninja|ssh)\b")


def commands():
    """The lines of all sh blocks, continued lines joined."""
    with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as readme:
        text = readme.read()
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.split(" #")[0].strip()
            if line and not line.startswith("#"):
                found.append(line)
    return found


class Readme(Case):
    def test_every_command_runs(self):
        self.assertTrue(commands())
        for line in commands():
            words = shlex.split(line)
            with self.subTest(line=line):
                if ELSEWHERE.match(line):
                    continue
                if words[0].startswith("./"):
                    path = os.path.join(REPOSITORY, words[0])
                    self.assertTrue(os.access(path, os.X_OK), path)
                    continue
                self.assertEqual(words[0], "build/thole", "a command that this test does not know")
                process = subprocess.run([support.THOLE, *words[1:]], cwd=self.folder, text=True,
                                         capture_output=True, timeout=120, check=False)
                self.assertIn(process.returncode, [0, 1] if words[1] in ["demo", "bench"] else [0],
                              process.stderr)
                if process.returncode == 1:  # A busy machine may make a run invalid, never wrong.
                    self.assertRegex(process.stdout, r"RESULT: INVALID: |\"valid\": false")


if __name__ == "__main__":
    support.main()
