"""A request to the disk that never ends: whoever waits for it gives up after 10 s, and says so."""
import cluster
from cluster import thole
from logfile import LogFile, dump
from sick import Slowable, forbidden


class Hangs(Slowable):
    """While the log is opened, mended, read by a tool, or served."""

    HANGS = "a request to its disk has not ended for 10 s"

    def stopped(self):
        """A node's log with two records, of which the first page of the ring is never read."""
        made = self.cluster(1)
        made.format()
        made.start()
        made.wait_healthy()
        self.append(made, b"one\ntwo\n")
        self.assertEqual(made[1].stop(), 0)
        return made, forbidden(f"HANG@{LogFile(made[1].data).ring_offset}")

    def test_a_start_whose_read_never_ends_is_given_up_with_5_and_its_reason(self):
        made, hanging = self.stopped()
        done = thole("start", "-c", made.path, "--node", "1", "--io", "posix", place=hanging)
        self.assert_exit(done, 5, "the log could not be read", self.HANGS)
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), [(0, b"one"), (1, b"two")])

    def test_a_start_whose_write_never_ends_is_given_up_with_5_and_its_reason(self):
        made, _ = self.stopped()
        done = thole("start", "-c", made.path, "--node", "1", "--slow-disk", "60s")
        self.assert_exit(done, 5, "the superblock could not be written", self.HANGS)
        made.start()
        made.wait_healthy()
        self.assertEqual(self.read(made, "--linearizable"), [(0, b"one"), (1, b"two")])

    def test_tools_do_not_take_a_disk_that_hangs_for_a_damaged_log(self):
        made, hanging = self.stopped()
        for command in ["ls", "dump", "verify"]:
            done = thole("log", command, made[1].data, place=hanging)
            self.assert_exit(done, 3, "the log could not be read", self.HANGS)
        self.assert_exit(thole("log", "verify", made[1].data), 0)

    def test_a_node_that_mends_and_whose_write_never_ends_ends_with_5_and_its_reason(self):
        made, _ = self.slowable()
        self.append(made, b"one\n")
        self.append(made, b"two\n")
        made.stop()
        log = LogFile(made[1].data)
        entries, _ = dump(made[1].data, "--headers")
        entry = next(entry for entry in entries if entry["kind"] == "client")
        log.flip(entry["position"] + 200)
        made[1].start(*self.slow[1].flag, waits=False)
        made.wait(lambda: "asks for entry" in made[1].said(), "it mends")
        self.slow[1].set(60)
        made[2].start()
        made[3].start()
        self.assertEqual(made[1].wait_end(), 5, made[1].said())
        self.assertIn("an entry could not be written in its place: " + self.HANGS, made[1].said())
        self.slow[1].set(0)
        made[1].start(*self.slow[1].flag)
        made.wait_healthy()
        self.read_everywhere(made, [b"one", b"two"])

    def dead_disk_ends(self, of_leader):
        made, leader = self.slowable()
        sick = leader if of_leader else leader % 3 + 1
        self.slow[sick].set(60)
        self.append(made, b"one\n")
        self.assertEqual(made[sick].wait_end(), 5, made[sick].said())
        self.assertIn(self.HANGS, made[sick].said())
        made.wait_status(lambda found: found["available"], "the others lead")
        self.append(made, b"two\n")
        self.slow[sick].set(0)
        made[sick].start(*self.slow[sick].flag)
        made.wait_healthy()
        self.read_everywhere(made, [b"one", b"two"])

    def test_a_leader_whose_disk_never_answers_ends_with_5_and_its_reason(self):
        self.dead_disk_ends(of_leader=True)

    def test_a_follower_whose_disk_never_answers_ends_with_5_and_its_reason(self):
        self.dead_disk_ends(of_leader=False)


if __name__ == "__main__":
    cluster.main()
