"""Nodes and clients that cannot hear each other, wholly, in part or in one direction, and a network
that loses and repeats, under the load of three clients."""
import threading
import time

import cluster
from faults import CLIENTS, NODES, FaultCase


class PartitionCase(FaultCase):
    def rigged(self):
        """A cluster under load, each node and client at a host of its own; and the network."""
        self.net = self.network()
        return self.loaded(net=self.net), self.net

    def others(self, name):
        return [other for other in NODES if other != name]

    def assert_counted(self, *kinds):
        counts = self.net.counts()
        self.say(f"packets: {counts}")
        for kind in kinds:
            self.assertGreater(counts[kind], 0, kind)


class Cut(PartitionCase):
    def test_a_leader_cut_off_with_a_client_takes_nothing_and_serves_nothing_old(self):
        made, net = self.rigged()
        for client in self.rng.sample(CLIENTS, 2 if cluster.LONG else 1):
            old = self.leader
            net.isolate([f"n{old}", client])
            self.wait_leader(old)
            self.load.wait_progress(of=[name for name in CLIENTS if name != client])
            # The one cut off has stepped down, and says so to the client beside it.
            made.place = net[client]
            made.wait_status(lambda found: found["leader"] is None, "it has stepped down")
            mine = CLIENTS.index(client)
            acked = self.load.acked()[mine]
            done = cluster.thole("read", "-c", made.path, place=made.place)
            self.assert_exit(done, 4, "none of them leads")
            time.sleep(2)
            self.assertEqual(self.load.acked()[mine], acked)
            made.place = net["home"]
            net.heal()
            self.load.wait_progress()
            self.leader = made.wait_healthy()["leader"]
        self.assert_counted("cut")
        self.finish()

    def test_a_leader_that_wakes_up_cut_off_serves_nothing_old(self):
        # It slept through its replacement, and for an election timeout it still believes.
        made, net = self.rigged()
        for client in self.rng.sample(CLIENTS, 3):
            old = self.leader
            made[old].pause()
            net.isolate([f"n{old}", client])
            self.wait_leader(old)
            self.load.wait_progress(of=[name for name in CLIENTS if name != client])
            readers = [threading.Thread(target=self.read_besides, args=[client])
                       for _ in range(4)]
            for reader in readers:
                reader.start()
            time.sleep(self.rng.uniform(0.05, 0.15))  # Their questions wait in its socket.
            made[old].resume()
            time.sleep(self.rng.uniform(0.3, 0.6))
            net.heal()
            for reader in readers:
                reader.join()
            self.load.wait_progress()
            self.leader = made.wait_healthy()["leader"]
        self.assert_counted("cut")
        self.finish()

    def read_besides(self, name):
        one = self.load.clients[CLIENTS.index(name)].read_once(0)
        if one is not None:
            self.besides.reads.append(one)

    def test_a_majority_cut_off_from_the_clients_takes_nothing(self):
        made, net = self.rigged()
        away = f"n{self.follower()}"
        net.isolate(self.others(away))
        made.wait_status(lambda found: found["leader"] is None, "nobody leads beside the clients")
        time.sleep(1)
        acked = self.load.acked()
        time.sleep(2)
        self.assertEqual(self.load.acked(), acked)
        net.heal()
        self.assert_counted("cut")
        self.finish()

    def test_a_link_between_two_nodes_is_missed_by_nobody_else(self):
        _, net = self.rigged()
        for name in NODES:
            one, other = self.others(name)
            net.cut([one], [other])
            self.load.wait_progress(100)
            net.heal()
            net.cut([name], ["c1"])
            self.load.wait_progress(of=["c2", "c3"])
            net.heal()
        self.assert_counted("cut")
        self.finish()


class OneWay(PartitionCase):
    def test_a_leader_that_only_hears_is_left_for_another(self):
        made, net = self.rigged()
        old = self.leader
        net.cut_one_way([f"n{old}"], self.others(f"n{old}"))
        self.wait_leader(old)
        self.load.wait_progress()
        net.heal()
        made.wait_healthy()
        self.assert_counted("one_way_cut")
        self.finish()

    def test_a_leader_that_is_only_heard_is_left_for_another(self):
        made, net = self.rigged()
        old = self.leader
        net.cut_one_way(self.others(f"n{old}"), [f"n{old}"])
        self.wait_leader(old)
        self.load.wait_progress()
        net.heal()
        made.wait_healthy()
        self.assert_counted("one_way_cut")
        self.finish()

    def test_a_follower_that_only_speaks_disturbs_nobody(self):
        _, net = self.rigged()
        deaf = f"n{self.follower()}"
        net.cut_one_way(self.others(deaf), [deaf])
        self.load.wait_progress(200)
        net.heal()
        self.assert_counted("one_way_cut")
        self.finish()

    def test_clients_that_hear_no_answers_are_told_the_truth_later(self):
        _, net = self.rigged()
        for client in CLIENTS:
            net.cut_one_way(NODES, [client])
            self.load.wait_progress(of=[name for name in CLIENTS if name != client])
            time.sleep(self.rng.uniform(0, 3))
            net.heal()
            self.load.wait_progress()
        self.assert_counted("one_way_cut")
        self.finish()


class Flap(PartitionCase):
    def test_links_that_flap_lose_and_double_nothing(self):
        made, net = self.rigged()
        for _ in range(12 if cluster.LONG else 3):
            net.flap(f"n{self.leader}", 700)  # Longer than an election takes.
            self.load.wait_progress()
            self.leader = made.wait_healthy()["leader"]
            for name in [f"n{self.follower()}", self.rng.choice(CLIENTS)]:
                net.flap(name, self.rng.randrange(20, 400))
            self.load.wait_progress()
            self.leader = made.wait_healthy()["leader"]
        self.finish()


class Weather(PartitionCase):
    def test_loss_and_repetition_lose_and_double_nothing(self):
        made, net = self.rigged()
        net.lose(5)
        self.net.repeat(20)
        self.load.wait_progress(100)
        old = self.leader
        made[old].kill()
        self.wait_leader(old)
        self.load.wait_progress()
        made[old].start()
        self.load.wait_progress(100)
        net.calm()
        self.assert_counted("lost", "repeated")
        self.finish()

    def test_everything_at_random_loses_and_doubles_nothing(self):
        made, net = self.rigged()
        chaos = Chaos(self, made, net)
        end = time.monotonic() + (240 if cluster.LONG else 10)
        turns = 0
        while time.monotonic() < end or turns == 0:
            for what in self.rng.sample(chaos.faults, len(chaos.faults)):
                what()
                self.load.check_alive()
                time.sleep(self.rng.uniform(0, 0.8))
            turns += 1
        chaos.end()
        counts = net.counts()
        self.say(f"{turns} times {len(chaos.faults)} faults, packets: {counts}")
        self.assertGreater(counts["cut"] + counts["one_way_cut"], 0)
        self.finish()


class Chaos:
    """One fault after another, some of them at the same time."""

    def __init__(self, case, made, net):
        self.case = case
        self.rng = case.rng
        self.made = made
        self.net = net
        self.paused = []
        self.faults = [self.kill, self.stop, self.start, self.start, self.start, self.pause,
                       self.go, self.cut, self.one_way, self.heal, self.weather,
                       self.kill_client]

    def running(self):
        return [node for node in self.made.nodes
                if node.process is not None and node not in self.paused]

    def some(self, names):
        return self.rng.sample(names, self.rng.randrange(1, len(names)))

    def kill(self):
        for node in self.some(self.running()) if len(self.running()) > 1 else self.running():
            node.kill()

    def stop(self):
        if self.running():
            node = self.rng.choice(self.running())
            self.case.assertEqual(node.stop(), 0, node.said())

    def start(self):
        dead = [node for node in self.made.nodes if node.process is None]
        if dead:
            self.rng.choice(dead).start()

    def pause(self):
        if self.running():
            node = self.rng.choice(self.running())
            node.pause()
            self.paused.append(node)

    def go(self):
        for node in self.paused:
            node.resume()
        self.paused = []

    def cut(self):
        self.net.isolate(self.some([*NODES, *CLIENTS]))

    def one_way(self):
        hosts = [*NODES, *CLIENTS]
        self.rng.shuffle(hosts)
        at = self.rng.randrange(1, len(hosts))
        self.net.cut_one_way(hosts[:at], hosts[at:])

    def heal(self):
        self.net.heal()

    def weather(self):
        self.net.lose(self.rng.choice([0, 1, 5, 20]))
        self.net.repeat(self.rng.choice([0, 5, 50]))

    def kill_client(self):
        self.rng.choice(self.case.load.clients).kill()

    def end(self):
        self.net.calm()
        self.go()
        for node in self.made.nodes:
            if node.process is None:
                node.start()
        self.case.wait_leader()


if __name__ == "__main__":
    cluster.main()
