"""A run takes its memory at start, says how much, and takes no more while it serves."""
import os
import re
import subprocess
import time

import support
from support import Case

SECONDS = int(os.environ.get("THOLE_MEMORY_SECONDS", "60"))
SETTLE_S = 5.0  # From here on it is counted.
TOLERANCE = 0.01
HUGE_PAGE_KIB = 2048
PROGRAM_KIB = 32 * 1024  # Code, libraries and EAL's own: what the table at start does not tell.


class Memory(Case):
    def resident_kib(self, process):
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                found = re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.M)
        except OSError:
            return None
        return int(found.group(1)) if found else None  # A process that ends has none.

    def test_resident_memory_does_not_grow_under_load(self):
        with open(self.path("out"), "w+", encoding="utf-8") as out, \
                open(self.path("told"), "w+", encoding="utf-8") as told:
            process = subprocess.Popen(
                [support.THOLE, "demo", "--rate", "max", "--duration", f"{SECONDS}s", "--warmup",
                 "0s", "--log-size", "64MiB", "--retention", "16MiB", "--no-floor"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=told)
            self.addCleanup(process.kill)
            time.sleep(SETTLE_S)
            samples = []
            while process.poll() is None:
                resident = self.resident_kib(process)
                if resident is not None:
                    samples.append(resident)
                time.sleep(0.25)
            out.seek(0)
            report = out.read()
            told.seek(0)
            total = re.search(r"^memory of the whole run +(\d+)$", told.read(), re.M)
        self.assertIn(process.returncode, [0, 1], report)
        self.assertIn(" 0 lost", report)
        quarter = len(samples) // 4
        self.assertGreater(quarter, 0, "too few samples")
        first, last = max(samples[:quarter]), max(samples[-quarter:])
        total_kib = int(total.group(1)) // 1024
        print(f"told {total_kib} KiB, VmRSS: first quarter {first} KiB, last quarter {last} KiB, "
              f"{len(samples)} samples")
        self.assertLessEqual(last, total_kib + PROGRAM_KIB)
        self.assertLessEqual(last, first + max(HUGE_PAGE_KIB, TOLERANCE * first))


if __name__ == "__main__":
    support.main()
