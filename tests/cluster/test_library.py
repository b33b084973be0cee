"""The client library as its users have it: installed, found by pkg-config, from C and from Python.

THOLE_APPENDS in the environment is how many appends the test with the killed leaders makes.
"""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import cluster
from cluster import Case

BUILD = os.getcwd()
CLIENT = os.path.join(cluster.REPOSITORY, "engine", "client")
os.environ["THOLE_LIBRARY"] = os.path.join(BUILD, "engine", "client", "libthole.so.0")
sys.path.insert(0, CLIENT)
import thole  # noqa: E402  pylint: disable=wrong-import-position

COMPILER = os.environ.get("CC", "cc").split()
APPENDS = int(os.environ.get("THOLE_APPENDS", "6000"))
BURST = 25  # Appends every BURST_S: the next entry takes them all.
BURST_S = 0.01
KILL_EVERY_S = 2


def run(*command, env=None):
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False,
                          timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


class FromC(Case):
    """The example, compiled as a user would, from an installation in a folder of its own."""

    def setUp(self):
        self.made = self.cluster()
        self.root = os.path.join(self.made.folder, "root")
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.root)
        with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"),
                  encoding="utf-8") as file:
            options = {option["name"]: option["value"] for option in json.load(file)}
        libdir = os.path.join(options["prefix"], options["libdir"])
        self.libdir = self.root + libdir
        self.example = self.root + os.path.join(
            options["prefix"], options["datadir"], "doc", "libthole", "example.c")
        # The file names its prefix; the root in which that lies for now is told beside it.
        self.env = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": self.root,
                    "PKG_CONFIG_PATH": os.path.join(self.libdir, "pkgconfig")}

    def flags(self, *arguments):
        return run("pkg-config", *arguments, "libthole", env=self.env).split()

    def compile(self, name, *flags):
        path = os.path.join(self.made.folder, name)
        run(*COMPILER, "-std=c11", "-Wall", "-Wextra", "-Werror", self.example,
            *self.flags("--cflags"), *flags, "-o", path)
        return path

    def run_example(self, path, session, count, env=None):
        done = subprocess.run([path, self.made.path, session, str(count)], env=env, text=True,
                              capture_output=True, check=False, timeout=120)
        self.assert_exit(done, 0)
        return done.stdout

    def test_the_example_appends_reads_and_goes_on_where_it_ended(self):
        self.made.format()
        self.made.start()
        self.made.wait_healthy()
        shared = self.compile("shared", *self.flags("--libs"))
        static = self.compile(
            "static", "-Wl,-Bstatic", *self.flags("--libs"), "-Wl,-Bdynamic",
            *[flag for flag in self.flags("--static", "--libs") if flag != "-lthole"])
        env = {**os.environ, "LD_LIBRARY_PATH": self.libdir}
        self.assertIn("libthole.so.0", run("ldd", shared, env=env))
        self.assertNotIn("libthole", run("ldd", static))
        said = self.run_example(shared, "first", 1000, env)
        self.assertIn("session first: 0 records are in the log", said)
        self.assertIn("1000 committed now, 0 not; 1000 found in the log", said)
        said = self.run_example(static, "first", 1500)
        self.assertIn("session first: 1000 records are in the log", said)
        self.assertIn("500 committed now, 0 not; 1500 found in the log", said)
        said = self.run_example(shared, "first", 1500, env)
        self.assertIn("0 committed now, 0 not; 1500 found in the log", said)

    def test_a_cluster_that_is_not_there_is_named_with_what_mends_it(self):
        path = self.compile("example", *self.flags("--libs"))
        done = subprocess.run([path, self.made.path, "s", "1"], text=True, capture_output=True,
                              env={**os.environ, "LD_LIBRARY_PATH": self.libdir}, check=False,
                              timeout=120)
        self.assert_exit(done, 1, "no answer from 127.0.0.1:", f"thole start -c {self.made.path}")

    @unittest.skipUnless(shutil.which("c++"), "no C++ compiler is installed")
    def test_the_header_is_also_cpp(self):
        path = os.path.join(self.made.folder, "user.cc")
        with open(path, "w", encoding="ascii") as out:
            out.write("#include <thole.h>\nint main() { return thole_version()[0] == 0; }\n")
        program = os.path.join(self.made.folder, "user")
        run("c++", "-Wall", "-Wextra", "-Wpedantic", "-Werror", path,
            *self.flags("--cflags", "--libs"), "-o", program)
        run(program, env={**os.environ, "LD_LIBRARY_PATH": self.libdir})

    def test_the_binding_declares_what_the_header_does(self):
        source = os.path.join(self.made.folder, "layout.c")
        with open(source, "w", encoding="ascii") as out:
            out.write("#include <thole.h>\n#include <stdio.h>\nint main(void)\n{\n")
            for name, structure in thole.STRUCTURES.items():
                out.write(f'printf("{name} %zu", sizeof(struct {name}));\n')
                for field, _ in structure._fields_:
                    field = field.rstrip("_")
                    out.write(f'printf(" %zu", offsetof(struct {name}, {field}));\n')
                out.write('printf("\\n");\n')
            out.write("return 0;\n}\n")
        program = os.path.join(self.made.folder, "layout")
        run(*COMPILER, source, *self.flags("--cflags"), "-o", program)
        wanted = {name: [structure] for name, structure in thole.STRUCTURES.items()}
        for line in run(program).splitlines():
            name, *numbers = line.split()
            structure = wanted[name][0]
            found = [thole.ctypes.sizeof(structure)]
            found += [getattr(structure, field).offset for field, _ in structure._fields_]
            self.assertEqual([int(number) for number in numbers], found, name)


class FromPython(Case):
    def client(self, made, **options):
        client = thole.Client(made.path, **options)
        self.addCleanup(client.close)
        return client

    def test_appends_are_read_back_in_order_from_every_node(self):
        made, _ = self.healthy()
        log = self.client(made)
        appends = [log.submit(b"record %d" % number) for number in range(5000)]
        log.flush()
        self.assertEqual([append.result() for append in appends], list(range(5000)))
        for node in [0, 1, 2, 3]:
            records = list(log.read(linearizable=True, node=node))
            self.assertEqual([record.offset for record in records], list(range(5000)))
            self.assertEqual([record.data for record in records],
                             [b"record %d" % number for number in range(5000)])
        self.assertEqual([record.offset for record in log.read(100, 7)], list(range(100, 107)))
        self.assertEqual([record.offset for record in log.read(thole.END, last=2)], [4998, 4999])
        self.assertEqual(list(log.read(9000)), [])

    def test_records_of_every_size_come_back(self):
        made, _ = self.healthy()
        log = self.client(made)
        sizes = [0, 1, 7, 8, 1000, 8192, 60000]
        offsets = [log.append(b"x" * size) for size in sizes]
        self.assertEqual(offsets, list(range(len(sizes))))
        self.assertEqual([len(record.data) for record in log.read()], sizes)
        with self.assertRaisesRegex(thole.Error, "60001 bytes: at most 60000"):
            log.append(b"x" * 60001)

    def test_a_condition_that_fails_is_refused_with_the_end(self):
        made, _ = self.healthy()
        log = self.client(made)
        self.assertEqual(log.append(b"0", expect=0), 0)
        self.assertEqual(log.append(b"1", expect=1), 1)
        with self.assertRaises(thole.Refused) as refused:
            log.append(b"2", expect=1)
        self.assertEqual((refused.exception.reason, refused.exception.detail), ("condition", 2))
        self.assertEqual(log.append(b"2"), 2)

    def test_a_later_client_fences_the_earlier_one_and_goes_on(self):
        made, _ = self.healthy()
        first = self.client(made, session="only one")
        self.assertEqual(first.append(b"a"), 0)
        second = self.client(made, session="only one")
        self.assertEqual(second.connect().next, 2)
        with self.assertRaises(thole.NotCommitted) as fenced:
            first.append(b"b")
        self.assertEqual(fenced.exception.reason, "fenced")
        with self.assertRaisesRegex(thole.Error, "another client has opened the session"):
            first.submit(b"c")
        self.assertEqual(second.append(b"d"), 1)
        first.reopen()
        self.assertEqual(first.append(b"e"), 2)
        self.assertEqual(first.session.epoch, 3)
        self.assertEqual([record.data for record in second.read()], [b"a", b"d", b"e"])

    def test_records_that_are_repeated_get_their_old_offsets(self):
        made, _ = self.healthy()
        first = self.client(made, session="again")
        offsets = [first.append(b"%d" % number) for number in range(5)]
        first.close()
        second = self.client(made, session="again")
        second.set_first(3)
        appends = [second.submit(b"%d" % number) for number in range(2, 7)]
        second.flush()
        self.assertEqual([append.result() for append in appends], offsets[2:] + [5, 6])
        self.assertEqual(len(list(second.read())), 7)
        with self.assertRaisesRegex(thole.Error, "open already"):
            second.set_first(1)

    def test_clients_of_one_process_do_not_meet(self):
        made, _ = self.healthy()
        clients = [self.client(made, session=f"client {number}") for number in range(3)]
        for number in range(300):
            clients[number % 3].submit(b"%d" % number)
        for client in clients:
            client.flush()
        records = [int(record.data) for record in clients[0].read()]
        self.assertEqual(sorted(records), list(range(300)))
        for client in range(3):
            own = [number for number in records if number % 3 == client]
            self.assertEqual(own, sorted(own))

    def test_what_is_not_bounded_enough_waits(self):
        made, _ = self.healthy()
        log = self.client(made, records_max=4)
        appends = []
        for number in range(50):
            appends.append(log.submit(b"%d" % number))
            self.assertLessEqual(log.pending, 4)
        log.flush()
        self.assertEqual([append.result() for append in appends], list(range(50)))

    def test_memory_that_is_too_little_names_the_least(self):
        made = self.cluster()
        with self.assertRaises(thole.Error) as failed:
            self.client(made, memory_bytes=1 << 20, records_max=1)
        least = int(failed.exception.strerror.split("give at least ")[1].split(",")[0])
        self.client(made, memory_bytes=least, records_max=1)
        with self.assertRaisesRegex(thole.Error, f"give at least {least}"):
            self.client(made, memory_bytes=least - 1, records_max=1)

    def test_wrong_options_are_named(self):
        made = self.cluster()
        for options, words in [
                ({}, "config_path or options.addresses"),
                ({"addresses": "127.0.0.1:1"}, "options.cluster is 0"),
                ({"addresses": "127.0.0.1", "cluster": 1}, "not IPV4:PORT"),
                ({"addresses": "127.0.0.1:1,127.0.0.1:1", "cluster": 1}, "named before"),
                ({"addresses": "64=127.0.0.1:1", "cluster": 1}, "numbers from 1 to 63"),
                ({"config": made.path, "session": "x" * 41}, "1 to 40 bytes"),
                ({"config": made.path, "session": ""}, "1 to 40 bytes"),
                ({"config": made.path, "records_max": 1 << 20}, "records_max"),
                ({"config": made.path + "x"}, "cannot read the configuration")]:
            with self.assertRaisesRegex(thole.Error, words):
                thole.Client(**options)

    def test_addresses_do_without_a_file(self):
        made, found = self.healthy()
        addresses = ",".join(f"{node['id']}={node['address']}" for node in found["nodes"][::-1])
        with thole.Client(addresses=addresses, cluster=int(cluster.CLUSTER_ID, 16)) as log:
            self.assertEqual(log.append(b"x"), 0)
            status = log.status()
        self.assertEqual(status.leader, found["leader"])
        self.assertTrue(status.available)
        self.assertEqual({node.id: node.address for node in status.nodes},
                         {node["id"]: node["address"] for node in found["nodes"]})
        self.assertTrue(all(node.reachable and node.durable for node in status.nodes))

    def test_without_a_cluster_everything_ends_in_its_time(self):
        made = self.cluster()
        log = self.client(made, timeout=0.3)
        append = log.submit(b"x")
        with self.assertRaises(thole.Refused) as refused:
            append.result()
        self.assertEqual(refused.exception.reason, "timed_out")
        with self.assertRaisesRegex(thole.Error, "no answer from 127.0.0.1:"):
            log.submit(b"y")
        with self.assertRaisesRegex(thole.Error, "no answer from 127.0.0.1:"):
            list(log.read())
        self.assertFalse(any(node.reachable for node in log.status(0.2).nodes))

    def test_without_a_quorum_an_append_is_unknown_and_its_fate_is_found_out_later(self):
        made, found = self.healthy()
        log = self.client(made, session="doubt", timeout=1)
        log.append(b"before")
        followers = [node for node in made.nodes if node.number != found["leader"]]
        for node in followers:
            node.pause()
        with self.assertRaises(thole.Unknown) as unknown:
            log.append(b"doubtful")
        self.assertEqual(unknown.exception.reason, "timed_out")
        for node in followers:
            node.resume()
        log.reopen()
        taken = log.connect().next - 1
        self.assertIn(taken, [1, 2])
        records = [record.data for record in log.read(linearizable=True)]
        self.assertEqual(records, [b"before", b"doubtful"][:taken])
        self.assertEqual(log.append(b"after"), taken)

    def test_a_reader_follows_through_a_change_of_leader(self):
        made, found = self.healthy()
        log = self.client(made)
        reader = self.client(made)
        log.append(b"0")
        tail = reader.tail()
        self.assertEqual(next(tail).data, b"0")
        made[found["leader"]].kill()
        for number in range(1, 20):
            log.append(b"%d" % number)
        self.assertEqual([next(tail).data for _ in range(1, 20)],
                         [b"%d" % number for number in range(1, 20)])
        tail.close()
        self.assertEqual(len(list(reader.read(linearizable=True))), 20)

    def test_one_read_at_a_time(self):
        made, _ = self.healthy()
        log = self.client(made)
        log.append(b"x")
        tail = log.tail()
        next(tail)
        with self.assertRaisesRegex(thole.Error, "a read is under way"):
            next(log.read())
        tail.close()
        self.assertEqual(len(list(log.read())), 1)

    def test_a_reader_that_is_slow_holds_few_records(self):
        made, _ = self.healthy()
        log = self.client(made)
        count = 3 * thole.RECORDS_HELD_MAX
        tail = log.read(follow=True)
        for number in range(count):
            log.submit(b"%d" % number)
            if number == 0:
                next(tail)
        log.flush()
        held = tail.gi_frame.f_locals["records"]
        self.assertLessEqual(len(held), thole.RECORDS_HELD_MAX)
        self.assertEqual([next(tail).offset for _ in range(1, count)], list(range(1, count)))
        tail.close()

    def test_an_event_loop_needs_the_descriptor_and_the_time(self):
        made, _ = self.healthy()
        log = self.client(made)
        append = log.submit(b"x")
        log.poll(0)
        while not append.done():
            ready, _, _ = select.select([log], [], [], log.wait_s() or cluster.PATIENCE_S)
            self.assertTrue(ready or log.wait_s() is not None)
            log.poll(0)
        self.assertEqual(append.result(), 0)

    def test_a_signal_ends_a_wait(self):
        made, _ = self.healthy()
        log = self.client(made)
        tail = log.tail()
        before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with self.assertRaises(TimeoutError):
            next(tail)

    def test_a_client_that_is_closed_says_so(self):
        log = self.client(self.cluster())
        append = log.submit(b"x")
        log.close()
        for use in [append.result, log.poll, log.flush, log.connect, log.status, log.fileno,
                    lambda: log.submit(b"y"), lambda: next(log.read()), lambda: log.session]:
            with self.assertRaisesRegex(ValueError, "closed"):
                use()
        log.close()

    def test_no_thread_and_no_descriptor_stays(self):
        made, _ = self.healthy()
        def held():
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        before = held()
        for _ in range(5):
            with thole.Client(made.path) as log:
                log.append(b"x")
                self.assertEqual(held(), (before[0] + 1, before[1]))
        self.assertEqual(held(), before)


class Killer(threading.Thread):
    """Kills whoever leads, every so often, and starts it again."""

    def __init__(self, made):
        super().__init__()
        self.made = made
        self.kills = 0
        self.failure = None
        self.ended = threading.Event()

    def run(self):
        try:
            while not self.ended.wait(KILL_EVERY_S):
                found = self.made.wait_status(lambda status: status["available"], "one leads")
                node = self.made[found["leader"]]
                node.kill()
                self.kills += 1
                node.start()
        except (AssertionError, OSError) as failure:
            self.failure = failure

    def end(self):
        self.ended.set()
        self.join()
        if self.failure is not None:
            raise self.failure


class LeadersKilled(Case):
    def test_nothing_is_lost_doubled_or_reordered(self):
        made = self.cluster(size="256MiB")
        made.format()
        made.start()
        made.wait_healthy()
        log = thole.Client(made.path, session="survivor")
        self.addCleanup(log.close)
        killer = Killer(made)
        killer.start()
        self.addCleanup(killer.ended.set)
        appends = []
        gaps = [0]
        last = begin = time.monotonic()
        while len(appends) < APPENDS or log.pending > 0:
            due = min(APPENDS, int((time.monotonic() - begin) / BURST_S) * BURST)
            while len(appends) < due and log.pending < 8000:
                appends.append(log.submit(b"%d" % len(appends)))
            now = time.monotonic()
            if log.poll(BURST_S):
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
            elif log.pending == 0:
                last = now  # Nothing was waited for.
        seconds = time.monotonic() - begin
        killer.end()
        outcomes = {append.outcome for append in appends}
        self.assertEqual(outcomes, {"committed"})
        offsets = [append.offset for append in appends]
        self.assertEqual(offsets, sorted(set(offsets)))
        records = list(log.read(linearizable=True))
        self.assertEqual([record.data for record in records],
                         [b"%d" % number for number in range(APPENDS)])
        self.assertEqual([record.offset for record in records], offsets)
        self.assertGreater(killer.kills, 0)
        print(f"{APPENDS} appends in {seconds:.1f} s through {killer.kills} kills of the leader: "
              f"longest time without an outcome {max(gaps) * 1000:.0f} ms", flush=True)


if __name__ == "__main__":
    cluster.main()
