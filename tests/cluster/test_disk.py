"""Disks that a node cannot use as it would: no io_uring, stalls, no space, errors."""
import json
import resource
import threading
import time

import cluster
from cluster import thole
from logfile import LogFile
from sick import Slowable, forbidden
from test_records import Records, Stream

TRIES = 6  # Of a machine that others use too.
STALL_S = 0.5
RATE = 600  # Records a second: at most 300 pages while a disk stalls, a third of the ring of slots.
GAP = 0.4  # Of the stall, at most, between two acknowledgements.
KEPT = 0.7  # Of the rate, while it lasts.
LIMIT_S = 1  # `disk_stall` of the configuration, by default.


class WithoutRing(Records):
    def forbid(self, made, error="EPERM"):
        for node in made.nodes:
            node.place = forbidden(error)

    def test_a_start_without_io_uring_names_the_cause_and_what_else_there_is(self):
        made = self.cluster(1)
        made.format()
        for error, cause in [("EPERM", "seccomp profile"), ("ENOSYS", "kernel has no io_uring")]:
            done = thole("start", "-c", made.path, "--node", "1", place=forbidden(error))
            self.assert_exit(done, 3, "io_uring", cause, "--io posix")
            self.assertEqual(done.stdout, "")

    def test_tools_for_a_log_need_no_io_uring(self):
        made = self.cluster(1)
        done = thole("format", "-c", made.path, "--node", "1", place=forbidden())
        self.assert_exit(done, 0)
        done = thole("log", "verify", made[1].data, place=forbidden())
        self.assert_exit(done, 0)

    def test_posix_serves_where_io_uring_is_forbidden_and_is_shown_as_degraded(self):
        made = self.cluster()
        self.forbid(made)
        made.format()
        for node in made.nodes:
            node.start("--io", "posix")
            self.assertIn("DEGRADED on request: --io posix", node.said())
        made.wait_healthy()
        lines = [b"record %d" % i for i in range(2000)]
        self.append(made, b"".join(line + b"\n" for line in lines))
        found = made.status()
        self.assertEqual([node["posix_disk"] for node in found["nodes"]], [True, True, True])
        self.assertEqual([node["durability"] for node in found["nodes"]], ["dsync"] * 3)
        self.assertIn("DEGRADED: no io_uring", thole("status", "-c", made.path).stdout)
        done = thole("check", "-c", made.path)
        self.assert_exit(done, 0)
        self.assertIn("degraded on request: nodes 1, 2, 3 without io_uring", done.stdout)
        made[found["leader"]].kill()
        made.wait_other_leader(found["leader"])
        for node in made.nodes:
            if node.process is not None:
                node.kill()
        for node in made.nodes:
            node.start("--io", "posix")
        made.wait_healthy()
        self.read_everywhere(made, lines)
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])
        for node in made.nodes:
            self.assert_exit(thole("log", "verify", node.data), 0)

    def test_a_log_goes_from_one_disk_to_the_other_and_results_name_whose_is_degraded(self):
        made = self.cluster()
        made.format()
        made[1].start("--io", "posix")
        made[2].start("--io", "io_uring")
        made[3].start()
        made.wait_healthy()
        self.append(made, b"one\n")
        done = thole("bench", "run", "-c", made.path, "--json", "--no-floor", "--rate", "100",
                     "--duration", "300ms", "--warmup", "100ms")
        found = json.loads(done.stdout)
        self.assertEqual(found["config"]["posix_disks"], [1])
        self.assertEqual(found["verify"]["lost"], 0)
        done = thole("bench", "run", "-c", made.path, "--no-floor", "--rate", "100",
                     "--duration", "300ms", "--warmup", "100ms")
        self.assertIn("DEGRADED on request: no io_uring (--io posix), of node 1",
                      done.stdout + done.stderr)
        made[1].stop()
        made[1].start()
        made.wait_healthy()
        self.assertEqual([node["posix_disk"] for node in made.status()["nodes"]], [False] * 3)
        self.append(made, b"two\n")

    def test_there_is_no_other_disk_and_none_of_memory(self):
        made = self.cluster(1)
        done = thole("start", "-c", made.path, "--node", "1", "--io", "fast")
        self.assert_exit(done, 2, "--io", "io_uring", "posix")
        made = self.cluster(1, durability="memory")
        done = thole("start", "-c", made.path, "--node", "1", "--io", "posix")
        self.assert_exit(done, 2, "--io", "memory")

    def test_a_posix_disk_that_fails_while_serving_ends_the_node_with_5(self):
        made = self.cluster()
        made.format()
        for node in made.nodes:
            node.start("--io", "posix")
        old = made.wait_healthy()["leader"]
        victim = made[old % 3 + 1]
        resource.prlimit(victim.process.pid, resource.RLIMIT_FSIZE, (8192, 8192))
        made[old].kill()
        self.assertEqual(victim.wait_end(), 5, victim.said())
        self.assertIn("its disk failed while it served: File too large", victim.said())


class Broken(Records):
    def test_a_page_that_cannot_be_read_is_bad_and_no_start_guesses_what_it_was(self):
        made = self.cluster(1)
        made.format()
        made.start()
        made.wait_healthy()
        self.append(made, b"one\ntwo\n")
        self.assertEqual(made[1].stop(), 0)
        broken = forbidden(f"EIO@{LogFile(made[1].data).ring_offset}")
        done = thole("log", "verify", made[1].data, place=broken)
        self.assert_exit(done, 1)
        self.assertIn("the disk cannot read it", done.stdout)
        done = thole("start", "-c", made.path, "--node", "1", "--io", "posix", place=broken)
        self.assert_exit(done, 1, "damaged")
        self.assert_exit(thole("log", "verify", made[1].data), 0)
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), [(0, b"one"), (1, b"two")])


class Stalls(Slowable):
    def stalled_leader_goes(self, *more):
        made, old = self.slowable(*more)
        self.append(made, b"before\n")
        self.slow[old].set(3 * LIMIT_S)
        self.append(made, b"while it stalls\n")  # The others' disks commit.
        made.wait_other_leader(old)
        self.append(made, b"another leads\n")
        self.slow[old].set(0)
        made.wait_healthy()
        self.read_everywhere(made, [b"before", b"while it stalls", b"another leads"])
        self.assertIsNone(made[old].process.poll())
        self.assertEqual([node.stop() for node in made.nodes], [0, 0, 0])

    def test_a_leader_whose_disk_stalls_hands_over_and_serves_on(self):
        self.stalled_leader_goes()

    def test_a_leader_whose_posix_disk_stalls_hands_over_too(self):
        self.stalled_leader_goes("--io", "posix")

    def test_a_disk_that_stalls_is_told_by_check_until_it_does_no_more(self):
        made, leader = self.slowable()
        sick = leader % 3 + 1
        self.slow[sick].set(5 * LIMIT_S)
        self.append(made, b"one\n")
        made.wait_status(lambda found: f"node {sick} is degraded: its disk stalls"
                         in found["notes"], "the stall is told")
        self.assert_exit(thole("check", "-c", made.path), 1)
        self.slow[sick].set(0)
        made.wait_healthy()

class Gap(Slowable):
    """The longest time without an acknowledgement, while one disk of three stalls."""

    def acknowledgements(self, made, seconds, at_s, event):
        """Append at the rate for so long, `event()` happening on the way; when each came back."""
        stream = Stream(self, "append", "-c", made.path)
        seen = [(time.monotonic(), 0)]
        done = threading.Event()

        def watch():
            while not done.wait(0.001):
                if len(stream.lines) > seen[-1][1]:
                    seen.append((time.monotonic(), len(stream.lines)))
        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.monotonic()
        happened = 0
        for number in range(int(seconds * RATE)):
            due = begin + number / RATE
            if happened < len(at_s) and due - begin >= at_s[happened]:
                event(happened)
                happened += 1
            time.sleep(max(0, due - time.monotonic()))
            stream.put(b"%d" % number)
        code, said = stream.end()
        done.set()
        watcher.join()
        self.assertEqual(code, 0, said)
        self.assertEqual(len(stream.lines), int(seconds * RATE))
        return seen

    def longest(self, seen, begin, end):
        """The longest gap that touches this time, and how many were acknowledged in it."""
        gaps = [(before, after) for (before, _), (after, _) in zip(seen, seen[1:])
                if after >= begin and before <= end]
        counts = [count for moment, count in seen if begin <= moment <= end]
        return (max(after - before for before, after in gaps),
                counts[-1] - counts[0] if counts else 0)

    def goes_on_while_the_disk_stalls(self, of_leader):
        tries = []
        for _ in range(TRIES):
            made, leader = self.slowable()
            sick = leader if of_leader else leader % 3 + 1
            marks = []

            def event(number, numbers=self.slow[sick], marks=marks):
                numbers.set(60 if number == 0 else 0)
                marks.append(time.monotonic())
            seen = self.acknowledgements(made, 3, [1.5, 1.5 + STALL_S], event)
            stall = marks[1] - marks[0]
            usual, _ = self.longest(seen, marks[0] - stall, marks[0])
            gap, count = self.longest(seen, *marks)
            print(f"{'the leader' if of_leader else 'a follower'}'s disk stood still for "
                  f"{stall * 1e3:.0f} ms; of {stall * RATE:.0f} records sent meanwhile {count} "
                  f"were acknowledged meanwhile, and the longest time without one was "
                  f"{gap * 1e3:.1f} ms; before, {usual * 1e3:.1f} ms", flush=True)
            self.assertEqual(made.wait_healthy()["leader"], leader)
            made.close()
            tries.append((gap / stall, count / (stall * RATE)))
            if tries[-1][0] < GAP and tries[-1][1] > KEPT:
                return
        self.fail(f"commits wait for a stalled disk: longest gap in parts of the stall, and share "
                  f"of the records acknowledged meanwhile: {tries}")

    def test_commits_go_on_while_the_leaders_disk_stalls(self):
        self.goes_on_while_the_disk_stalls(of_leader=True)

    def test_commits_go_on_while_a_followers_disk_stalls(self):
        self.goes_on_while_the_disk_stalls(of_leader=False)


if __name__ == "__main__":
    cluster.main()
