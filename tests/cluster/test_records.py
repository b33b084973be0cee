"""Records through `thole append`, `read` and `tail`, with nodes that die meanwhile."""
import base64
import json
import os
import signal
import subprocess
import threading
import time

import cluster
from cluster import Case

COMMANDS = "append", "read", "tail"


def run(*arguments, stdin=b""):
    """Run a command on bytes; returns the finished process with bytes output."""
    return subprocess.run([cluster.THOLE, *arguments], input=stdin, timeout=120, check=False,
                          capture_output=True)


class Stream:
    """A command that runs on: lines go in and come out while it does."""

    def __init__(self, case, *arguments):
        self.process = subprocess.Popen([cluster.THOLE, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.thread = threading.Thread(target=self.collect)
        self.thread.start()
        case.addCleanup(self.close)

    def collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip(b"\n"))

    def put(self, line):
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
            return True
        except BrokenPipeError:
            return False

    def end(self):
        """Close its stdin; its exit code and what it said."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        said = self.process.stderr.read().decode()
        code = self.process.wait(timeout=120)
        self.thread.join()
        return code, said

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Records(Case):
    def assert_ran(self, done, code, *words):
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr.decode())

    def append(self, made, stdin, *more):
        done = run("append", "-c", made.path, *more, stdin=stdin)
        self.assert_ran(done, 0)
        return done.stdout

    def read(self, made, *more):
        """The records as (offset, bytes)."""
        done = run("read", "-c", made.path, "--json", *more)
        self.assert_ran(done, 0)
        return [record_of(line) for line in done.stdout.splitlines()]

    def read_everywhere(self, made, expected):
        """Every node has these records, from offset 0, as soon as it knows them to be committed."""
        for node in made.nodes:
            made.wait(lambda n=node: len(self.read(made, "--node", str(n.number)))
                      == len(expected), f"node {node.number} knows of all records")
            self.assertEqual(self.read(made, "--node", str(node.number)),
                             list(enumerate(expected)))


def record_of(line):
    found = json.loads(line)
    assert found["term"] >= 1
    if "data" in found:
        return found["offset"], found["data"].encode()
    return found["offset"], base64.b64decode(found["data_base64"], validate=True)


class Content(Records):
    def test_lines_are_read_back_as_they_are_from_every_node(self):
        made, _ = self.healthy()
        rng = cluster.rng(self)
        lines = [b"first", b"", b"", b"\xff\xfe\x00 binary", "h\u00e4nd \U0001f600 \u0000".encode(),
                 b'quote " and \\', b"\xed\xa0\x80", b"\r", b"x" * 60000, b"",
                 rng.randbytes(60000).replace(b"\n", b"-")]
        lines += [rng.randbytes(rng.randrange(0, 3000)).replace(b"\n", b"") for _ in range(300)]
        lines.append(b"no newline at the end")
        out = self.append(made, b"\n".join(lines))
        self.assertEqual(out, b"".join(b"%d\n" % i for i in range(len(lines))))
        self.read_everywhere(made, lines)
        done = run("read", "-c", made.path)
        self.assert_ran(done, 0)
        self.assertEqual(done.stdout, b"".join(line + b"\n" for line in lines))

    def test_json_of_a_record_has_its_fields_in_order(self):
        made, _ = self.healthy()
        self.assertEqual(self.append(made, b"a\n\xff\n", "--json"), b'{"offset":0}\n{"offset":1}\n')
        done = run("read", "-c", made.path, "--json")
        self.assertRegex(done.stdout.decode(),
                         r'\A\{"offset":0,"term":\d+,"data":"a"\}\n'
                         r'\{"offset":1,"term":\d+,"data_base64":"/w=="\}\n\Z')

    def test_ranges_are_cut_where_asked(self):
        made, _ = self.healthy()
        lines = [b"%d" % i for i in range(50)]
        self.append(made, b"\n".join(lines))
        records = list(enumerate(lines))
        self.assertEqual(self.read(made, "--from", "10", "--count", "5"), records[10:15])
        self.assertEqual(self.read(made, "--count", "3"), records[:3])
        self.assertEqual(self.read(made, "--count", "0"), [])
        self.assertEqual(self.read(made, "--from", "45", "--count", "100"), records[45:])
        self.assertEqual(self.read(made, "--from", "50"), [])
        self.assertEqual(self.read(made, "--from", "1000"), [])
        for more, expected in [([], lines[40:]), (["--from", "48"], lines[48:])]:
            done = run("tail", "-c", made.path, *more)
            self.assert_ran(done, 0)
            self.assertEqual(done.stdout.splitlines(), expected)
        self.assertEqual(run("tail", "-c", made.path, "--from", "49", "--json").stdout[:12],
                         b'{"offset":49')

    def test_an_empty_log_and_an_empty_input_are_no_failure(self):
        made, _ = self.healthy()
        self.assertEqual(self.append(made, b""), b"")
        self.assertEqual(self.read(made), [])
        self.assert_ran(run("tail", "-c", made.path), 0)

    def test_a_line_too_long_is_named_and_those_before_it_are_appended(self):
        made, _ = self.healthy()
        for stdin in [b"one\ntwo\n" + b"x" * 60001 + b"\nfour\n", b"one\ntwo\n" + b"x" * 500000]:
            done = run("append", "-c", made.path, stdin=stdin)
            self.assert_ran(done, 1, "line 3 was refused", "60000")
            self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertEqual([data for _, data in self.read(made)], [b"one", b"two"] * 2)

    def test_a_full_log_refuses_and_names_the_line(self):
        made, _ = self.healthy()
        line = b"x" * 59990
        done = run("append", "-c", made.path, stdin=b"\n".join([line] * 700))
        self.assert_ran(done, 1, "was refused", "full", "retention")
        appended = len(done.stdout.splitlines())
        self.assertGreater(appended, 100)
        self.assertIn(f"line {appended + 1} was refused", done.stderr.decode())
        self.assertEqual(len(self.read(made)), appended)

    def test_a_trimmed_beginning_exits_1_and_names_the_log_start(self):
        made = self.cluster()
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text.replace("[storage]\n", "[storage]\nretention = 4MiB\n"))
        made.format()
        made.start()
        made.wait_healthy()
        lines = [b"%d" % i + b"x" * 50000 for i in range(400)]
        self.append(made, b"\n".join(lines))
        records = self.read(made)
        start = records[0][0]
        self.assertGreater(start, 100)
        self.assertEqual(records, list(enumerate(lines))[start:])
        for command in "read", "tail":
            done = run(command, "-c", made.path, "--from", "3")
            self.assert_ran(done, 1, "offset 3 is trimmed", "--from ")
            self.assertEqual(done.stdout, b"")
        self.assert_ran(run("read", "-c", made.path, "--from", str(start + 5)), 0)


class Follow(Records):
    def test_tail_sees_new_records_and_outlives_the_leader(self):
        made, found = self.healthy()
        self.append(made, b"\n".join(b"%d" % i for i in range(20)))
        streams = [Stream(self, "tail", "-c", made.path, "-f"),
                   Stream(self, "tail", "-c", made.path, "-f", "--from", "0"),
                   Stream(self, "tail", "-c", made.path, "-f", "--from", "25", "--json")]
        first = [10, 0, 25]
        made.wait(lambda: len(streams[0].lines) == 10, "tail prints the last ten")
        next_line = 20
        for victim in [found["leader"], None]:
            for _ in range(10):
                self.append(made, b"%d\n" % next_line)
                next_line += 1
            if victim is not None:
                made[victim].kill()
                made.wait_other_leader(victim)
                made[victim].start()
        for stream, begin in zip(streams, first):
            made.wait(lambda s=stream, b=begin: len(s.lines) >= next_line - b, "tail has it all")
            lines = stream.lines
            if begin == 25:
                lines = [record_of(line)[1] for line in lines]
            self.assertEqual(lines, [b"%d" % i for i in range(begin, next_line)])


class Faults(Records):
    def test_a_leader_killed_between_lines_is_not_noticed(self):
        made, found = self.healthy()
        stream = Stream(self, "append", "-c", made.path)
        stream.put(b"before")
        made.wait(lambda: len(stream.lines) == 1, "the first line is acknowledged")
        time.sleep(0.1)
        made[found["leader"]].kill()
        stream.put(b"after")
        made.wait(lambda: len(stream.lines) == 2, "the second line is acknowledged")
        self.assertEqual(stream.end(), (0, ""))
        made[found["leader"]].start()
        made.wait_healthy()
        self.read_everywhere(made, [b"before", b"after"])

    def test_a_leader_killed_under_load_loses_and_doubles_no_line(self):
        made, found = self.healthy()
        rng = cluster.rng(self)
        total = []  # In the log, from offset 0 on.
        for turn in range(4):
            stream = Stream(self, "append", "-c", made.path)
            lines = [b"%d.%d " % (turn, i) + b"x" * rng.randrange(300) for i in range(20000)]
            writer = threading.Thread(target=lambda s=stream, l=lines: all(map(s.put, l)))
            writer.start()
            goal = rng.randrange(1, 4000)
            made.wait(lambda s=stream, g=goal: len(s.lines) >= g, "lines are acknowledged")
            victim = found["leader"]
            made[victim].kill()
            made.wait_other_leader(victim)
            made[victim].start()
            writer.join()
            self.assertEqual(stream.end(), (0, ""))
            found = made.wait_healthy()
            acked = [int(line) for line in stream.lines]
            self.assertEqual(acked, list(range(len(total), len(total) + len(lines))))
            total += lines
            self.assertEqual(self.read(made), list(enumerate(total)))
        self.read_everywhere(made, total)

    def test_nobody_answers_exits_4_and_says_that_nothing_was_taken(self):
        made = self.cluster()
        done = run("append", "-c", made.path, "--timeout", "500ms", stdin=b"a\nb\n")
        self.assert_ran(done, 4, "line 1 and those after it are not in the log", "no answer",
                        "thole start")
        self.assertEqual(done.stdout, b"")
        for command in "read", "tail":
            self.assert_ran(run(command, "-c", made.path), 4, "no answer", "thole start")
            self.assert_ran(run(command, "-c", made.path, "--node", "2"), 4, "no answer")

    def test_no_quorum_exits_4_and_a_chosen_node_still_reads(self):
        made, found = self.healthy()
        self.append(made, b"a\nb\n")
        self.read_everywhere(made, [b"a", b"b"])
        left = found["leader"]
        for node in made.nodes:
            if node.number != left:
                node.kill()
        made.wait_status(lambda found: found["leader"] is None, "nobody leads")
        done = run("append", "-c", made.path, "--timeout", "500ms", stdin=b"c\n")
        self.assert_ran(done, 4, "line 1", "not in the log", "none of them leads", "majority")
        self.assert_ran(run("read", "-c", made.path), 4, "none of them leads")
        self.assertEqual(self.read(made, "--node", str(left)), [(0, b"a"), (1, b"b")])

    def test_a_file_with_a_follower_alone_names_the_leader_to_add(self):
        made, found = self.healthy()
        follower = found["leader"] % 3
        path = os.path.join(made.folder, "follower.ini")
        address = found["nodes"][follower]["address"]
        with open(path, "w", encoding="ascii") as out:
            out.write(f"[cluster]\nid = {cluster.CLUSTER_ID}\n"
                      f"[node {follower + 1}]\naddress = {address}\n")
        done = run("append", "-c", path, "--timeout", "500ms", stdin=b"a\n")
        self.assert_ran(done, 4, f"node {found['leader']} leads",
                        f"no [node {found['leader']}]", "add it")

    def test_a_paused_leader_is_left_for_another(self):
        made, found = self.healthy()
        self.append(made, b"a\n")
        made[found["leader"]].pause()
        self.assertEqual(self.append(made, b"b\n"), b"1\n")
        self.assertEqual(self.read(made), [(0, b"a"), (1, b"b")])
        made[found["leader"]].resume()
        made.wait_healthy()
        self.assertEqual(self.read(made), [(0, b"a"), (1, b"b")])


class Usage(Records):
    def test_wrong_flags_exit_2_and_name_what_is_wrong(self):
        made = self.cluster()
        for command in COMMANDS:
            self.assert_ran(run(command), 2, "-c FILE")
            self.assert_ran(run(command, "-c", "nowhere.ini"), 2, "nowhere.ini")
            self.assert_ran(run(command, "-c", made.path, "extra"), 2, "extra")
        for name in "", "x" * 41:
            self.assert_ran(run("append", "-c", made.path, "--session", name), 2, "--session")
        for flag, value in [("--first", "0"), ("--first", "x"), ("--expect", "-1"),
                            ("--expect", "9223372036854775808")]:
            self.assert_ran(run("append", "-c", made.path, "--session", "s", flag, value), 2, flag)
        self.assert_ran(run("append", "-c", made.path, "--first", "1"), 2, "needs --session")
        for value in "0s", "5", "never":
            self.assert_ran(run("append", "-c", made.path, "--timeout", value), 2, "--timeout")
        for command in "read", "tail":
            for flag in "--from", "--node":
                for value in "x", "-1", "9223372036854775808", "":
                    self.assert_ran(run(command, "-c", made.path, flag, value), 2, flag)
            self.assert_ran(run(command, "-c", made.path, "--node", "4"), 2, "[node 4]")
        self.assert_ran(run("read", "-c", made.path, "--count", "x"), 2, "--count")

    def test_a_reader_that_goes_away_ends_the_command(self):
        made, _ = self.healthy()
        self.append(made, b"\n".join([b"x" * 50000] * 40))
        reader = subprocess.Popen([cluster.THOLE, "read", "-c", made.path],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        reader.stdout.read(10)
        reader.stdout.close()
        self.assertEqual(reader.wait(timeout=cluster.PATIENCE_S), -signal.SIGPIPE)
        reader.stderr.close()


if __name__ == "__main__":
    cluster.main()
