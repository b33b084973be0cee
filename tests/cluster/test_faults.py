"""Nodes that die, stand still, stay away and lose their folder, under the load of three clients."""
import shutil
import time

import cluster
import history
import load
from faults import FaultCase

STILL_S = 10  # Of a leader that is stopped.


class Death(FaultCase):
    def test_a_leader_killed_under_load_loses_nothing(self):
        made = self.loaded()
        for _ in range(3):
            old = self.leader
            made[old].kill()
            self.wait_leader(old)
            self.load.wait_progress()
            made[old].start()
        self.finish()

    def test_a_follower_killed_under_load_is_not_noticed(self):
        made = self.loaded()
        for _ in range(3):
            victim = self.follower()
            made[victim].kill()
            self.load.wait_progress()
            made[victim].start()
            self.load.wait_progress()
        self.finish()

    def test_all_killed_at_once_under_load_come_back_with_everything(self):
        made = self.loaded()
        for _ in range(2):
            for node in made.nodes:
                node.process.kill()
            for node in made.nodes:
                node.wait_end()
            for number in self.rng.sample([1, 2, 3], 3):
                made[number].start()
            self.wait_leader()
            self.load.wait_progress()
        self.finish()

    def test_a_leader_alone_before_its_death_has_promised_nothing(self):
        made = self.loaded()
        for _ in range(3):
            old = self.leader
            followers = [node for node in made.nodes if node.number != old]
            for node in followers:
                node.process.kill()
            time.sleep(self.rng.uniform(0, 0.3))
            made[old].kill()
            for node in followers:
                node.wait_end()
                node.start()
            self.wait_leader(old)
            self.load.wait_progress()
            made[old].start()
        self.finish()

    def test_clients_killed_under_load_leave_no_line_twice(self):
        self.loaded()
        for _ in range(6):
            self.rng.choice(self.load.clients).kill()
            self.load.wait_progress(10)
        self.finish()

    def test_restarts_in_any_order_under_load_lose_nothing(self):
        made = self.loaded()
        counts = {}
        for _ in range(60 if cluster.LONG else 14):
            node = self.rng.choice(made.nodes)
            if node.process is None:
                what = "start"
            else:
                what = self.rng.choice(["kill", "stop"])
            counts[what] = counts.get(what, 0) + 1
            code = getattr(node, what)()
            self.assertEqual(code, {"start": None, "stop": 0, "kill": -9}[what], node.said())
            time.sleep(self.rng.uniform(0, 0.5))
        self.say(f"{counts}")
        for node in self.rng.sample(made.nodes, 3):
            if node.process is None:
                node.start()
        self.wait_leader()
        self.finish()


class Stillness(FaultCase):
    def test_a_leader_stopped_for_ten_seconds_serves_nothing_old(self):
        made = self.loaded()
        old = self.leader
        made[old].pause()
        begin = time.monotonic()
        self.wait_leader(old)
        self.load.wait_progress()
        time.sleep(max(0.0, STILL_S - (time.monotonic() - begin)))
        made[old].resume()
        self.load.wait_progress()
        self.finish()


class Absence(FaultCase):
    def write_many(self, made, name, count):
        """So many small records through one client, as fast as it goes; the end of the log then."""
        appends = [history.Append(name, i, b"%s %d" % (name.encode(), i), load.now())
                   for i in range(count)]
        self.besides.appends += appends
        done = made.place.run(cluster.THOLE, "append", "-c", made.path, "--timeout", "30s",
                              input=b"".join(one.payload + b"\n" for one in appends),
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        offsets = done.stdout.split()
        self.assertEqual(len(offsets), count)
        for append, offset in zip(appends, offsets):
            append.acknowledge(int(offset), load.now())
        return int(offsets[-1]) + 1

    def test_a_follower_away_for_many_records_catches_up(self):
        count = 1000000 if cluster.LONG else 150000
        made = self.loaded(size="512MiB" if cluster.LONG else "64MiB")
        for turn in range(3 if cluster.LONG else 1):
            away = self.follower()
            made[away].kill()
            begin = time.monotonic()
            end = self.write_many(made, f"many{turn}", count)
            written = time.monotonic()
            made[away].start()
            made.wait_status(lambda found, n=away, e=end: found["nodes"][n - 1]["reachable"]
                             and found["nodes"][n - 1]["log_end_offset"] >= e,
                             f"node {away} knows of all {count} records")
            self.say(f"turn {turn}: {count} records in {written - begin:.1f} s, there in "
                     f"{time.monotonic() - written:.1f} s")
        self.finish()


class Identity(FaultCase):
    def test_a_node_without_its_folder_is_refused_and_the_others_go_on(self):
        made = self.loaded()
        lost = self.rng.choice([1, 2, 3])
        made[lost].kill()
        shutil.rmtree(made[lost].data)
        done = cluster.thole("start", "-c", made.path, "--node", str(lost))
        self.assert_exit(done, 3, f"thole format -c {made.path} --node {lost}")
        made[lost].format()
        made[lost].start()
        found = made.wait_status(
            lambda found: found["available"] and f"node {lost} is a stranger's" in found["notes"],
            "the others lead, and say who is a stranger")
        self.assertFalse(found["healthy"])
        self.load.wait_progress()
        found = made.status()
        self.assertNotEqual(found["leader"], lost)
        self.assertEqual(found["nodes"][lost - 1]["commit_index"], 0)
        self.assertEqual(found["nodes"][lost - 1]["log_end_offset"], 0)
        self.finish(without=lost)


if __name__ == "__main__":
    cluster.main()
