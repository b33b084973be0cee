"""`thole doctor` and `thole net` on this very machine: what they say holds together."""
import fcntl
import os
import re
import shutil
import socket
import subprocess

import support
from support import Case, thole

SEVERITIES = ["ok", "note", "warning", "error"]
MACHINE = ["CPUs", "poller's CPU", "hyperthreads", "CPU frequency", "TSC", "clock",
           "virtualisation", "memory lock", "huge pages", "kernel", "io_uring"]
DISK = ["filesystem", "O_DIRECT, O_DSYNC", "space", "device", "log pre-written",
        "poller beside the disk"]


class DoctorCase(Case):
    def examine(self, *arguments, before=()):
        """The rows by condition, after checking that the object is whole and fits the exit code."""
        process = thole("doctor", *arguments, "--json", cwd=self.folder, before=before)
        self.assertEqual(process.stderr, "")
        found = self.object_of(process)
        rows = found["rows"]
        for row in rows:
            self.assertEqual(sorted(row),
                             ["condition", "current", "mend", "required", "severity"])
            self.assertIn(row["severity"], SEVERITIES)
            self.assertTrue(row["condition"] and row["current"] and row["required"])
        errors = [row for row in rows if row["severity"] == "error"]
        self.assertEqual(found["errors"], len(errors))
        self.assertEqual(found["fit"], not errors)
        self.assertEqual(found["warnings"],
                         len([row for row in rows if row["severity"] == "warning"]))
        self.assert_exit(process, 1 if errors else 0)
        by_condition = {row["condition"]: row for row in rows}
        self.assertEqual(len(by_condition), len(rows))
        return by_condition


class Doctor(DoctorCase):
    def test_it_looks_at_everything_for_the_demo(self):
        rows = self.examine()
        for condition in MACHINE + DISK + ["network"]:
            self.assertIn(condition, rows)
        self.assertEqual(os.listdir(self.folder), [], "nothing is left behind")

    def test_the_table_says_what_the_object_says(self):
        rows = self.examine()
        process = thole("doctor", cwd=self.folder)
        for row in rows.values():
            line = [line for line in process.stdout.splitlines()
                    if re.match(f"{row['severity']} +{re.escape(row['condition'])}  ", line)]
            self.assertEqual(len(line), 1, row)
            if row["mend"]:
                self.assertIn(f"mend: {row['mend']}", process.stdout)
        self.assertRegex(process.stdout, r"\n\d+ ok, \d+ notes, \d+ warnings, \d+ errors\n$")

    def test_a_node_is_told_to_format_and_then_that_its_log_is_written(self):
        config = self.configuration(size="16MiB")
        rows = self.examine("-c", config, "--node", "1")
        self.assertEqual(rows["log pre-written"]["mend"], f"thole format -c {config} --node 1")
        self.assertIn("16 MiB", rows["space"]["required"])
        self.assert_exit(thole("format", "-c", config, "--node", "1"), 0)
        rows = self.examine("-c", config)
        if rows["filesystem"]["current"] not in ["ext4", "xfs"]:
            self.skipTest(f"{rows['filesystem']['current']} may not tell how a file is laid out")
        self.assertEqual(rows["log pre-written"]["severity"], "ok")

    def test_a_log_with_a_hole_is_found_and_mended_as_it_says(self):
        config = self.configuration(size="16MiB")
        self.assert_exit(thole("format", "-c", config, "--node", "1"), 0)
        log = self.path("n1", "log")
        if shutil.which("fallocate") is None or subprocess.run(
                ["fallocate", "--punch-hole", "-o", "8MiB", "-l", "1MiB", log],
                capture_output=True, check=False).returncode != 0:
            self.skipTest("no holes can be made here")
        row = self.examine("-c", config)["log pre-written"]
        self.assertEqual(row["severity"], "warning")
        self.assertIn("1 MiB", row["current"])
        self.assertIn("mv log.new log", row["mend"])
        done = subprocess.run(["sh", "-c", row["mend"]], cwd=self.folder, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.examine("-c", config)["log pre-written"]["severity"], "ok")
        self.assert_exit(thole("log", "verify", self.path("n1")), 0)

    def test_a_log_that_a_start_refuses_is_an_error_in_its_words(self):
        config = self.configuration(size="16MiB")
        self.assert_exit(thole("format", "-c", config, "--node", "1"), 0)
        row = self.examine("-c", config)["log whole"]
        self.assertEqual((row["severity"], row["current"]), ("ok", "clean: 0 entries"))
        log = self.path("n1", "log")
        os.truncate(log, 12 << 20)
        row = self.examine("-c", config)["log whole"]
        self.assertEqual(row["severity"], "error")
        self.assertIn("the log is truncated: the file has 12582912 bytes", row["current"])
        self.assertIn("truncated", thole("start", "-c", config, "--node", "1").stderr)
        subprocess.run(["sh", "-c", row["mend"]], cwd=self.folder, check=True)
        self.assertEqual(self.examine("-c", config)["log whole"]["severity"], "ok")
        with open(log, "r+b") as file:
            file.write(bytes(range(256)) * 16)
            file.seek(131072)
            file.write(bytes(range(256)) * 16)
        row = self.examine("-c", config)["log whole"]
        self.assertEqual((row["severity"], row["mend"]), ("error", ""))
        self.assertIn("neither copy of slot 0", row["current"])
        with open(config, encoding="ascii") as file:
            text = file.read()
        other = self.path("other.ini")
        with open(other, "w", encoding="ascii") as out:
            out.write(re.sub(r"id = \w+", "id = 1234567812345678", text))
        self.assertIn("belongs to cluster", self.examine("-c", other)["log whole"]["current"])

    def test_a_device_is_looked_at_and_left_as_it_is(self):
        if os.geteuid() != 0 or shutil.which("losetup") is None:
            self.skipTest("loop devices need root and losetup")
        image = self.path("image")
        with open(image, "wb") as out:
            out.truncate(32 << 20)
        done = subprocess.run(["losetup", "--find", "--show", "-b", "4096", image], text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"no loop device here: {done.stderr.strip()}")
        device = done.stdout.strip()
        try:
            config = self.configuration(size="16MiB")
            with open(config, encoding="ascii") as file:
                text = file.read().replace("data = n1", f"data = {device}")
            with open(config, "w", encoding="ascii") as out:
                out.write(text)
            rows = self.examine("-c", config)
            with open(device, "rb") as locked:
                fcntl.flock(locked, fcntl.LOCK_EX)
                busy = self.examine("-c", config)
            with open(image, "rb") as file:
                self.assertEqual(file.read().strip(b"\0"), b"")
        finally:
            subprocess.run(["losetup", "--detach", device], check=False)
        self.assertEqual(rows["O_DIRECT, O_DSYNC"]["severity"], "ok")
        self.assertIn("blocks of 4096 bytes", rows["device"]["current"])
        self.assertEqual(rows["filesystem"]["current"], "none: a device")
        self.assertEqual(busy["O_DIRECT, O_DSYNC"]["severity"], "note")
        self.assertIn("log in use", busy)

    def test_memory_is_no_place_for_a_log(self):
        if not os.path.isdir("/dev/shm"):
            self.skipTest("no /dev/shm here")
        row = self.examine("--dir", "/dev/shm/not-there")["filesystem"]
        self.assertEqual(row["severity"], "error")
        self.assertIn("tmpfs", row["current"])
        self.assertEqual(row["mend"], "findmnt --types ext4,xfs")
        self.assertEqual(thole("demo", "--dir", f"/dev/shm/thole-{os.getpid()}").returncode, 3)
        shutil.rmtree(f"/dev/shm/thole-{os.getpid()}", ignore_errors=True)

    def test_memory_mode_needs_no_disk(self):
        config = self.configuration()
        with open(config, "a", encoding="ascii") as out:
            out.write("durability = memory\n")
        rows = self.examine("-c", config)
        self.assertEqual(rows["durability"]["severity"], "warning")
        self.assertNotIn("filesystem", rows)

    def test_a_cpu_that_is_not_there_is_an_error(self):
        row = self.examine("--cpu", "1023")["poller's CPU"]
        self.assertEqual(row["severity"], "error")
        self.assertTrue(row["mend"].startswith("thole demo --cpu "), row["mend"])

    def test_a_poller_that_yields_never_shares_the_disks_cpu(self):
        row = self.examine("--idle", "spin")["poller beside the disk"]
        if row["severity"] not in ["warning", "note"]:
            self.skipTest(f"this machine's disk has not the trap: {row['current']}")
        self.assertEqual(row["mend"], "thole demo --idle yield")
        flags = row["mend"].split()[2:]
        self.assertEqual(self.examine(*flags)["poller beside the disk"]["severity"], "ok")

    def test_a_port_in_use_is_named(self):
        config = self.configuration()
        self.assertEqual(self.examine("-c", config)["UDP port"]["severity"], "ok")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 7001))
            row = self.examine("-c", config)["UDP port"]
        self.assertEqual(row["severity"], "error")
        self.assertIn("7001", row["mend"])

    def test_whom_a_folder_is_shut_to_is_told_so(self):
        if os.geteuid() != 0:
            self.skipTest("becoming another user needs root")
        os.chmod(self.folder, 0o755)
        plain = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                 "--bounding-set", "-all", "--inh-caps", "-all", "--"]
        row = self.examine(before=plain)["O_DIRECT, O_DSYNC"]
        self.assertEqual(row["severity"], "note")
        self.assertEqual(row["mend"], "ls -ld .")

    def test_every_driver_of_dpdk_that_a_spec_may_name_is_known(self):
        config = self.configuration()
        for driver in ["net_tap0", "net_virtio_user0,path=/tmp/v", "net_vhost0,iface=/tmp/v"]:
            row = self.examine("-c", config, "--net", f"vdev:{driver}")["driver of the port"]
            self.assertEqual(row["severity"], "ok", row)
        row = self.examine("-c", config, "--net", "vdev:net_nothing0")["driver of the port"]
        self.assertEqual(row["severity"], "error")

    def test_what_does_not_go_together_exits_2(self):
        config = self.configuration(nodes=2)
        for arguments in [["--node", "1"], ["-c", config, "--dir", "d"],
                          ["-c", config, "--cpu", "0,1"], ["-c", config, "--node", "3"],
                          ["-c", "nowhere.ini"], ["--net", "af_xdp"], ["--idle", "never"],
                          ["--cpu", "0,"], ["--cpu", "a"], ["extra"]]:
            process = thole("doctor", *arguments, cwd=self.folder)
            self.assert_exit(process, 2)
            self.assertEqual(process.stdout, "", arguments)


class Net(Case):
    def test_ls_names_the_interfaces_of_this_machine(self):
        found = self.object_of(thole("net", "ls", "--json"))["interfaces"]
        self.assertEqual([one["name"] for one in found],
                         [name for _, name in socket.if_nameindex()])
        lo = [one for one in found if one["name"] == "lo"][0]
        self.assertIn("127.0.0.1/8", lo["addresses"])
        self.assertFalse(lo["ethernet"])
        for port in lo["ports"]:
            self.assertFalse(port["usable"])
        table = thole("net", "ls")
        self.assert_exit(table, 0)
        self.assertEqual(len(table.stdout.splitlines()), len(found) + 1)

    def test_ls_sees_what_the_kernels_own_tool_sees(self):
        if shutil.which("ip") is None:
            self.skipTest("iproute2 is not installed")
        done = subprocess.run(["ip", "-json", "route", "show", "default"], text=True,
                              capture_output=True, check=False)
        routes = set(re.findall(r'"dev":"([^"]+)"', done.stdout))
        for one in self.object_of(thole("net", "ls", "--json"))["interfaces"]:
            self.assertEqual(one["default_route"], one["name"] in routes)
            done = subprocess.run(["ip", "-details", "link", "show", "dev", one["name"]],
                                  text=True, capture_output=True, check=False)
            self.assertIn(f"mtu {one['mtu']} ", done.stdout)
            self.assertIn(one["mac"], done.stdout)
            self.assertIn(f"numrxqueues {one['rx_queues']} ", done.stdout)
            self.assertEqual(one["state"] == "down", ",UP" not in done.stdout.split(">")[0])

    def test_show_is_one_of_ls(self):
        listed = self.object_of(thole("net", "ls", "--json"))["interfaces"]
        for one in listed:
            process = thole("net", "show", one["name"], "--json")
            self.assert_exit(process, 0)
            shown = self.object_of(process)
            for moving in [shown, one]:
                moving.pop("statistics")
            self.assertEqual(shown, one)
            text = thole("net", "show", one["name"])
            self.assert_exit(text, 0)
            for port in one["ports"]:
                self.assertIn(f"--net {port['spec']} ", text.stdout)
                for against in port["against"]:
                    self.assertIn(against["why"], text.stdout)
                    self.assertIn(f"`{against['mend']}`", against["why"])

    def test_an_interface_that_is_not_there_exits_3_and_a_missing_name_2(self):
        process = thole("net", "show", "nowhere0")
        self.assert_exit(process, 3)
        self.assert_says(process, "nowhere0", "thole net ls")
        self.assert_exit(thole("net", "show", "a" * 40), 3)
        self.assert_exit(thole("net", "show"), 2)
        self.assert_exit(thole("net", "show", "lo", "lo"), 2)
        self.assert_exit(thole("net", "ls", "lo"), 2)
        self.assert_exit(thole("net"), 2)


if __name__ == "__main__":
    support.main()
