"""Hosts in which links are cut, and frames are lost and repeated: `thole lab` without nodes.

Each host has a network namespace of its own, joined by a veth pair to the bridge of a switch's
namespace, where the faults live and hit sockets of every kind in the hosts alike (what a packet
socket or an XDP program sees comes before any filter in the host itself). `thole lab` makes all of
it (engine/lab/lab.h) and takes it away; what is here keeps it for as long as a test lives, and runs
programs in its hosts.
"""
import glob
import json
import os
import shutil
import subprocess
import tempfile
import unittest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
THOLE = os.environ.get("THOLE", os.path.join(REPOSITORY, "build", "thole"))
FOLDER = "thole-cluster-"  # What the names of the tests' folders begin with, before a process.


class Place:
    """Where a program runs: what stands before its command."""

    def __init__(self, prefix=()):
        self.prefix = list(prefix)

    def run(self, *command, timeout=120, **more):
        """Run it to its end."""
        return subprocess.run([*self.prefix, *command], timeout=timeout, check=False, **more)

    def popen(self, *command, **more):
        """Start it; its process id is the program's own, whatever stands before the command."""
        return subprocess.Popen([*self.prefix, *command], **more)


HERE = Place()


def place_in(namespace):
    """The network namespace of this path."""
    return Place(["nsenter", f"--net={namespace}", "--"])


def why_not():
    """The reason why no such network can be made here, or None."""
    if os.geteuid() != 0:
        return "programs in hosts of a network need root"
    if shutil.which("nsenter") is None:
        return "missing: nsenter (Debian package util-linux)"
    try:
        Network(["a", "b"]).close()
    except OSError as error:
        return str(error)
    return None


_reason = []


def need():
    """Skip the test, with the reason, where no such network can be made."""
    if not _reason:
        _reason.append(why_not())
    if _reason[0]:
        raise unittest.SkipTest(_reason[0])


def processes_in(inodes):
    """(pid, start time) of all that runs in these network namespaces. A namespace that ended gives
    its number to another one, so what is left of one is told by its processes."""
    found = set()
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if os.stat(f"{path}/ns/net").st_ino in inodes:
                with open(f"{path}/stat", encoding="ascii", errors="replace") as file:
                    found.add((path, file.read().rsplit(")", 1)[1].split()[19]))
        except OSError:
            pass  # It has ended meanwhile, or is another user's.
    return found


class Network:
    """Hosts by name, all of them connected. Faults stay until they are healed.

    The lab ends with this process, in whatever way it ends: `--hold` ends with its parent, and the
    lab's keeper with `--hold`.
    """

    def __init__(self, names):
        self.names = list(names)
        self.folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-lab-", dir=os.getcwd())
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", THOLE, "lab", "up", "--no-nodes", "--hold",
             "--hosts", ",".join(names), "--dir", self.folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():  # It says one line when all is there.
            said = self.process.stderr.read().strip()
            self.close()
            raise OSError(said)
        with open(os.path.join(self.folder, "lab.json"), encoding="utf-8") as file:
            self.lab = json.load(file)
        self.namespaces = {host["name"]: host["namespace"] for host in self.lab["hosts"]}
        self.places = {name: place_in(path) for name, path in self.namespaces.items()}
        self.switch = place_in(self.lab["switch"]["namespace"])

    def close(self):
        """Take it down, and end what still runs in its hosts."""
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getitem__(self, name):
        return self.places[name]

    def address(self, name):
        return next(host["address"] for host in self.lab["hosts"] if host["name"] == name)

    def do(self, place, command, words):
        """A tool with its input, at a place; what it prints."""
        done = place.run(*command, input=words, text=True, capture_output=True)
        if done.returncode != 0:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def order(self, *words):
        """A command of the lab; what it prints."""
        done = HERE.run(THOLE, "lab", *words, "--dir", self.folder, text=True,
                        stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise OSError(f"lab {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    # ---- Faults ----

    def cut(self, ones, others):
        """No frame between these hosts and those any more, in either direction."""
        self.order("cut", ",".join(ones), ",".join(others))

    def cut_one_way(self, sources, targets):
        """No IP packet from these hosts to those any more; ARP still goes both ways, because a
        lost answer to it would stop the other direction too."""
        self.order("cut", ",".join(sources), ",".join(targets), "--from")

    def isolate(self, group):
        """Cut these hosts off from all that are not among them."""
        self.order("cut", ",".join(group))

    def heal(self):
        """End every cut. Loss and repetition stay."""
        self.order("heal", "--cuts")

    def lose(self, percent):
        """Of all IP packets between hosts, at random; 0 ends it."""
        self.order("lose", str(percent))

    def repeat(self, percent):
        """Send so many of all IP packets once more, at random; 0 ends it."""
        self.order("repeat", str(percent))

    def flap(self, name, milliseconds):
        """Pull a host's plug and put it back; its port forwards again afterwards."""
        self.order("flap", name, "--for", f"{milliseconds}ms")

    def calm(self):
        """No fault any more."""
        self.order("heal")

    def counts(self):
        """Packets that met each kind of fault since the beginning, by its name."""
        return json.loads(self.order("status", "--json"))["faults"]["counted"]
