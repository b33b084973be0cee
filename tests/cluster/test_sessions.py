"""`thole append` through sessions: each line once, whatever is repeated, killed or fenced."""
import threading

import cluster
from test_records import Records, Stream, run


class Sessions(Records):
    def test_the_same_numbers_again_print_the_same_offsets_and_append_nothing(self):
        made, _ = self.healthy()
        self.append(made, b"before\n")
        lines = [b"%d" % i for i in range(300)]
        stdin = b"\n".join(lines)
        numbered = ["--session", "orders", "--first", "1"]
        first = self.append(made, stdin, *numbered)
        self.assertEqual(first, b"".join(b"%d\n" % (i + 1) for i in range(300)))
        self.append(made, b"between\n")
        self.assertEqual(self.append(made, stdin, *numbered), first)
        self.assertEqual(self.append(made, b"299\n300\n", "--session", "orders", "--first", "300"),
                         b"300\n302\n")
        self.assertEqual(self.append(made, b"301\n", "--session", "orders"), b"303\n")
        expected = [b"before", *lines, b"between", b"300", b"301"]
        self.assertEqual(self.read(made), list(enumerate(expected)))

    def test_offsets_that_the_session_no_longer_keeps_are_read_from_the_log(self):
        made, _ = self.healthy()
        lines = []
        for i in range(40):  # In runs of their own, so that a session forgets the oldest.
            lines += [b"%d.%d" % (i, j) for j in range(2)]
            self.append(made, b"\n".join(lines[-2:]), "--session", "s")
            self.append(made, b"between\n")
        offsets = [3 * (i // 2) + i % 2 for i in range(80)]
        numbered = ["--session", "s", "--first", "1"]
        again = self.append(made, b"\n".join(lines), *numbered, "--json")
        self.assertEqual(again, b"".join(b'{"offset":%d}\n' % offset for offset in offsets))
        self.assertEqual(len(self.read(made)), 120)

    def test_a_forgotten_number_that_was_refused_is_named_at_once(self):
        made, _ = self.healthy()
        self.append(made, b"0\n", "--session", "s")
        for _ in range(14):  # Runs of their own: the oldest are forgotten.
            done = run("append", "-c", made.path, "--session", "s", "--expect", "99", stdin=b"x\n")
            self.assertEqual(done.returncode, 1, done.stderr)
        done = run("append", "-c", made.path, "--session", "s", "--first", "2", stdin=b"x\n")
        self.assert_ran(done, 1, "line 1", "its number 2", "failed its --expect")
        self.assertEqual(done.stdout, b"")
        self.assertEqual(len(self.read(made)), 1)

    def test_a_forgotten_offset_that_was_trimmed_is_named(self):
        made = self.cluster()
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text.replace("[storage]\n", "[storage]\nretention = 4MiB\n"))
        made.format()
        made.start()
        made.wait_healthy()
        for i in range(20):
            self.append(made, b"%d\n" % i, "--session", "s")
            self.append(made, b"between\n")
        self.append(made, b"\n".join([b"x" * 50000] * 400))
        numbered = ["append", "-c", made.path, "--session", "s", "--first"]
        done = run(*numbered, "2", stdin=b"1\n2\n")
        self.assert_ran(done, 1, "line 1", "its number 2", "trimmed")
        self.assertEqual(done.stdout, b"")
        self.assert_ran(run(*numbered, "20", stdin=b"19\n20\n"), 0)

    def test_numbers_left_out_are_refused_with_the_one_expected(self):
        made, _ = self.healthy()
        self.append(made, b"a\nb\n", "--session", "s")
        done = run("append", "-c", made.path, "--session", "s", "--first", "4", stdin=b"d\n")
        self.assert_ran(done, 1, "expects 3 next", "line 1 and those after it are not in the log")
        self.assertEqual(self.read(made), [(0, b"a"), (1, b"b")])

    def test_a_second_writer_fences_the_first(self):
        made, _ = self.healthy()
        first = Stream(self, "append", "-c", made.path, "--session", "s")
        first.put(b"a")
        made.wait(lambda: len(first.lines) == 1, "the first writer's line is acknowledged")
        second = Stream(self, "append", "-c", made.path, "--session", "s")
        second.put(b"b")
        made.wait(lambda: len(second.lines) == 1, "the second writer's line is acknowledged")
        first.put(b"c")
        code, said = first.end()
        self.assertEqual(code, 1)
        for word in ("line 2", "another writer", "session s", "line 1 is in the log",
                     "--session s --first 1"):
            self.assertIn(word, said)
        second.put(b"d")
        self.assertEqual(second.end(), (0, ""))
        self.assertEqual(self.read(made), [(0, b"a"), (1, b"b"), (2, b"d")])


class Conditions(Records):
    def test_an_expected_offset_that_is_right_appends_and_a_wrong_one_does_not(self):
        made, _ = self.healthy()
        self.assertEqual(self.append(made, b"a\nb\n", "--expect", "0"), b"0\n1\n")
        for session in [], ["--session", "s"]:
            done = run("append", "-c", made.path, "--expect", "1", *session, stdin=b"c\nd\n")
            self.assert_ran(done, 1, "line 1 was refused", "expected offset 1", "ended at 2",
                            "line 1 and those after it are not in the log")
            self.assertEqual(done.stdout, b"")
        lines = [b"%d" % i for i in range(20000)]
        out = self.append(made, b"\n".join(lines), "--expect", "2", "--session", "s")
        self.assertEqual(out, b"".join(b"%d\n" % (i + 2) for i in range(20000)))
        self.assertEqual(self.read(made), list(enumerate([b"a", b"b", *lines])))

    def test_no_line_is_appended_behind_a_refused_one(self):
        # Enough lines for many requests, one of which would find its own offset at the tail.
        made, _ = self.healthy()
        self.append(made, b"\n".join([b"x"] * 1024))
        done = run("append", "-c", made.path, "--expect", "0", stdin=b"\n".join([b"y"] * 5000))
        self.assert_ran(done, 1, "line 1 was refused", "ended at 1024")
        self.assertEqual(len(self.read(made)), 1024)


class Kills(Records):
    def test_a_leader_killed_twice_under_a_long_append_costs_no_line(self):
        made, found = self.healthy()
        rng = cluster.rng(self)
        lines = [b"%d " % i + b"x" * rng.randrange(200) for i in range(60000)]
        stream = Stream(self, "append", "-c", made.path, "--session", "long", "--first", "1")
        writer = threading.Thread(target=lambda: all(map(stream.put, lines)))
        writer.start()
        for part in 1, 2:
            made.wait(lambda p=part: len(stream.lines) >= p * 15000, "lines are acknowledged")
            victim = found["leader"]
            made[victim].kill()
            found = made.wait_other_leader(victim)
            made[victim].start()
        writer.join()
        self.assertEqual(stream.end(), (0, ""))
        self.assertEqual([int(line) for line in stream.lines], list(range(len(lines))))
        self.assertEqual(self.read(made), list(enumerate(lines)))
        again = self.append(made, b"\n".join(lines), "--session", "long", "--first", "1")
        self.assertEqual([int(line) for line in again.splitlines()], list(range(len(lines))))
        self.read_everywhere(made, lines)

    def test_an_append_killed_and_repeated_appends_each_line_once(self):
        made, _ = self.healthy()
        rng = cluster.rng(self)
        lines = [b"%d" % i for i in range(30000)]
        numbered = ["append", "-c", made.path, "--session", "s", "--first", "1"]
        for _ in range(3):
            stream = Stream(self, *numbered)
            writer = threading.Thread(target=lambda s=stream: all(map(s.put, lines)))
            writer.start()
            goal = rng.randrange(1, 8000)
            made.wait(lambda s=stream, g=goal: len(s.lines) >= g, "lines are acknowledged")
            stream.process.kill()
            writer.join()
        done = run(*numbered, stdin=b"\n".join(lines))
        self.assert_ran(done, 0)
        self.assertEqual(self.read(made), list(enumerate(lines)))

    def test_no_quorum_says_which_lines_are_in_doubt_and_the_repetition_settles_it(self):
        made, found = self.healthy()
        self.append(made, b"a\n", "--session", "s")
        stream = Stream(self, "append", "-c", made.path, "--session", "s", "--timeout", "1s")
        stream.put(b"b")
        made.wait(lambda: len(stream.lines) == 1, "the line is acknowledged")
        others = [node for node in made.nodes if node.number != found["leader"]]
        for node in others:
            node.kill()
        stream.put(b"c")
        code, said = stream.end()
        self.assertEqual(code, 4, said)
        for word in ("not answered within 1", "line 1 is in the log", "line 2 may be",
                     "--session s --first 2"):
            self.assertIn(word, said)
        for node in others:
            node.start()
        made.wait_healthy()
        self.assertEqual(self.append(made, b"b\nc\n", "--session", "s", "--first", "2"),
                         b"1\n2\n")
        self.assertEqual(self.read(made), [(0, b"a"), (1, b"b"), (2, b"c")])


if __name__ == "__main__":
    cluster.main()
