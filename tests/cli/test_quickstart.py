"""bench/quickstart.sh itself, on a copy of the tree without what was built."""
import fnmatch
import os
import shutil
import subprocess

import support
from support import Case, REPOSITORY


def what_was_made(folder, names):
    """The build folders and what runs leave behind, at the root alone."""
    made = fnmatch.filter(names, "build*") + fnmatch.filter(names, "thole-*") + [".git"]
    return made if os.path.samefile(folder, REPOSITORY) else []


class Quickstart(Case):
    def test_a_fresh_tree_builds_and_ends_with_the_verdict(self):
        tree = self.path("tree")
        shutil.copytree(REPOSITORY, tree, symlinks=True, ignore=what_was_made)
        process = subprocess.run(
            [os.path.join(tree, "bench", "quickstart.sh"), "--duration", "1s", "--log-size",
             "64MiB"], cwd=self.folder, text=True, capture_output=True, timeout=800, check=False,
            stdin=subprocess.DEVNULL)
        # On a busy machine the run may be invalid: that is said in the same place.
        self.assertIn(process.returncode, [0, 1], process.stdout + process.stderr)
        last = process.stdout.rstrip().splitlines()[-1]
        self.assertTrue(last.startswith("RESULT: "), process.stdout + process.stderr)
        self.assertIn("acknowledged records, 0 lost", process.stdout)
        self.assertTrue(os.access(os.path.join(tree, "build", "thole"), os.X_OK))
        self.assertFalse(os.path.exists(os.path.join(tree, "build", "tests", "sim")),
                         "what the demo does not need is not built")


if __name__ == "__main__":
    support.main()
