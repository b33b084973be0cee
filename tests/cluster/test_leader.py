"""`thole leader show` and `transfer` on real processes: who leads, and handing that over."""
import json
import threading

import cluster
from cluster import Case, thole
from test_records import Stream, record_of, run


class Leader(Case):
    def show(self, made):
        done = thole("leader", "show", "-c", made.path, "--json")
        found = json.loads(done.stdout)
        self.assertEqual(list(found), ["leader", "term", "available"])
        self.assertEqual(done.returncode, 4 if found["leader"] is None else 0, done.stderr)
        return found

    def transfer(self, made, *arguments):
        return thole("leader", "transfer", *arguments, "-c", made.path)

    def records(self, made):
        done = run("read", "-c", made.path, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return [record_of(line) for line in done.stdout.splitlines()]


class Show(Leader):
    def test_show_names_the_leader_and_its_term(self):
        made, found = self.healthy()
        term = found["nodes"][found["leader"] - 1]["term"]
        done = thole("leader", "show", "-c", made.path)
        self.assert_exit(done, 0)
        self.assertEqual(done.stdout, f"node {found['leader']} leads in term {term}\n")
        self.assertEqual(self.show(made),
                         {"leader": found["leader"], "term": term, "available": True})

    def test_nobody_leads_is_exit_4_and_says_why(self):
        made = self.cluster()
        made.format()
        for command in ["show"], ["transfer", "--timeout", "300ms"], ["transfer", "2",
                                                                      "--timeout", "300ms"]:
            done = thole("leader", *command, "-c", made.path)
            self.assert_exit(done, 4, "no node of", "answers", "thole start -c")
            self.assertEqual(done.stdout, "")
        made[1].start()
        done = thole("leader", "show", "-c", made.path, "--json")
        self.assert_exit(done, 4, "nobody leads", "1 of 3 nodes answer", "thole status -c")
        self.assertIsNone(json.loads(done.stdout)["leader"])
        done = self.transfer(made, "--timeout", "300ms")
        self.assert_exit(done, 4, "nobody leads for 300 ms")

    def test_a_leader_that_the_file_does_not_have_is_named_by_the_others(self):
        made, found = self.healthy()
        with open(made.path, encoding="ascii") as file:
            text = file.read()
        gone = found["leader"]
        begin = text.index(f"[node {gone}]")
        end = text.index("[", begin + 1)
        path = made.path + ".part"
        with open(path, "w", encoding="ascii") as out:
            out.write(text[:begin] + text[end:])
        done = thole("leader", "show", "-c", path)
        self.assert_exit(done, 4, f"node {gone} leads, by the word of who answers",
                         f"has no [node {gone}]")
        done = thole("leader", "transfer", "-c", path, "--timeout", "300ms")
        self.assert_exit(done, 4, f"node {gone} leads, by the word of who answers")


class Transfer(Leader):
    def test_the_node_that_is_named_leads_when_the_command_ends(self):
        made, found = self.healthy()
        old = found["leader"]
        for to in [n for n in (1, 2, 3, old) if n != old] + [old]:
            before = self.show(made)
            done = self.transfer(made, str(to))
            self.assert_exit(done, 0)
            after = self.show(made)
            self.assertEqual(after["leader"], to)
            self.assertGreater(after["term"], before["term"])
            self.assertEqual(done.stdout, f"node {to} leads in term {after['term']}\n")
            made.wait_healthy()

    def test_json_is_one_object_and_another_leads_when_none_is_named(self):
        made, found = self.healthy()
        done = self.transfer(made, "--json")
        self.assert_exit(done, 0)
        said = json.loads(done.stdout)
        self.assertEqual(list(said), ["from", "leader", "term", "transferred"])
        self.assertEqual(said["from"], found["leader"])
        self.assertNotEqual(said["leader"], found["leader"])
        self.assertTrue(said["transferred"])
        shown = self.show(made)
        self.assertEqual((shown["leader"], shown["term"]), (said["leader"], said["term"]))

    def test_to_the_leader_itself_is_done_already(self):
        made, found = self.healthy()
        before = self.show(made)
        done = self.transfer(made, str(found["leader"]))
        self.assert_exit(done, 0)
        self.assertEqual(done.stdout,
                         f"node {found['leader']} leads already, in term {before['term']}\n")
        self.assertEqual(self.show(made), before)

    def test_an_id_that_cannot_lead_is_refused_and_nothing_changes(self):
        made, _ = self.healthy()
        before = self.show(made)
        done = self.transfer(made, "9")
        self.assert_exit(done, 1, "node 9 is no voter of this cluster", "thole status -c")
        self.assertEqual(done.stdout, "")
        said = json.loads(self.transfer(made, "9", "--json").stdout)
        self.assertFalse(said["transferred"])
        for wrong in ["0", "64", "x", "1x", "-1", ""]:
            self.assert_exit(self.transfer(made, "--", wrong), 2, "is not a node's number")
        self.assert_exit(self.transfer(made, "1", "2"), 2, "one node is enough")
        self.assert_exit(self.transfer(made, "--timeout", "10"), 2, "--timeout")
        self.assertEqual(self.show(made), before)

    def test_a_cluster_of_one_has_nobody_to_hand_over_to(self):
        made = self.cluster(1)
        made.format()
        made.start()
        made.wait_healthy()
        done = self.transfer(made)
        self.assert_exit(done, 1, "node 1 leads on", "heard no other voter", "thole start -c")
        self.assertEqual(self.show(made)["leader"], 1)

    def test_under_load_no_line_is_lost_doubled_or_refused(self):
        made, _ = self.healthy()
        streams = [Stream(self, "append", "-c", made.path) for _ in range(2)]
        lines = [[b"%d.%d" % (k, i) for i in range(8000)] for k in range(2)]
        writers = [threading.Thread(target=lambda s=s, l=l: all(map(s.put, l)))
                   for s, l in zip(streams, lines)]
        for writer in writers:
            writer.start()
        for turn in range(1, 5):
            made.wait(lambda t=turn: all(len(s.lines) >= t * 1200 for s in streams),
                      "lines are acknowledged")
            before = self.show(made)["leader"]
            arguments = [str(before % 3 + 1)] if turn % 2 == 0 else []
            done = self.transfer(made, *arguments)
            self.assert_exit(done, 0)
            after = self.show(made)["leader"]
            self.assertNotEqual(after, before)
            if arguments:
                self.assertEqual(after, before % 3 + 1)
        for writer in writers:
            writer.join()
        for stream in streams:
            self.assertEqual(stream.end(), (0, ""))
        records = self.records(made)
        self.assertEqual(len(records), 16000)
        for stream, sent in zip(streams, lines):
            offsets = [int(line) for line in stream.lines]
            self.assertEqual(offsets, sorted(set(offsets)))
            self.assertEqual([records[offset] for offset in offsets], list(zip(offsets, sent)))

    def test_to_a_node_that_stands_still_is_given_up_and_the_old_leader_goes_on(self):
        made, found = self.healthy()
        old = found["leader"]
        before = self.show(made)
        frozen = old % 3 + 1
        made[frozen].pause()
        self.assertEqual(run("append", "-c", made.path, stdin=b"one\n").stdout, b"0\n")
        done = self.transfer(made, str(frozen))
        self.assert_exit(done, 1, f"node {old} leads on in term {before['term']}",
                         f"node {frozen} did not take over", "thole status -c")
        self.assertEqual(done.stdout, "")
        said = json.loads(self.transfer(made, str(frozen), "--json").stdout)
        self.assertEqual(said, {"from": old, "leader": old, "term": before["term"],
                                "transferred": False})
        self.assertEqual(self.show(made), before)
        self.assertEqual(run("append", "-c", made.path, stdin=b"two\n").stdout, b"1\n")
        # To the other one it still works, and the one that stood still follows whoever leads.
        other = 6 - old - frozen
        self.assert_exit(self.transfer(made, str(other)), 0)
        made[frozen].resume()
        made.wait_healthy()
        self.assertEqual(run("append", "-c", made.path, stdin=b"three\n").stdout, b"2\n")
        self.assertEqual([data for _, data in self.records(made)], [b"one", b"two", b"three"])


if __name__ == "__main__":
    cluster.main()
