"""What this folder's tests say when they cannot run here: tests/run.sh reads it."""
import os
import subprocess
import sys
import textwrap

import support
from support import Case

FILE = """
import sys
sys.path.insert(0, {folder!r})
import support

class Some(support.Case):
    def test_first(self):
        self.skipTest("no device")

    def test_second(self):
        {second}

support.main()
"""


class Skips(Case):
    def run_file(self, second):
        path = self.path("test_some.py")
        with open(path, "w", encoding="utf-8") as out:
            out.write(textwrap.dedent(FILE).format(folder=os.path.dirname(support.__file__),
                                                   second=second))
        return subprocess.run([sys.executable, path], cwd=self.folder, text=True, check=False,
                              capture_output=True, timeout=60)

    def test_a_file_with_some_skips_passes_and_names_them_with_their_reasons(self):
        process = self.run_file("pass")
        self.assert_exit(process, 0)
        self.assertRegex(process.stderr, r"(?m)^test_first .*skipped 'no device'$")

    def test_a_file_of_skips_alone_exits_77_and_ends_with_the_reasons(self):
        process = self.run_file("self.skipTest('no right')")
        self.assert_exit(process, 77)
        self.assertEqual(process.stderr.splitlines()[-1],
                         "skipped: test_first: no device; test_second: no right")

    def test_a_failure_is_1_whatever_was_skipped(self):
        self.assert_exit(self.run_file("self.fail()"), 1)


if __name__ == "__main__":
    support.main()
