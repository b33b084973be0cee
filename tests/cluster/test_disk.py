"""Disks that a node cannot use as it would: no io_uring."""
import json
import os
import resource
import sys

import cluster
import network
from cluster import Case, thole
from test_records import Records

HERE = os.path.dirname(os.path.abspath(__file__))


def forbidden(error="EPERM"):
    """A place where io_uring is refused."""
    return network.Place([sys.executable, os.path.join(HERE, "forbid.py"), error])


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


if __name__ == "__main__":
    cluster.main()
