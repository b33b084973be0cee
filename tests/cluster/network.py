"""A network of namespaces in which links are cut, and frames are lost and repeated.

Each host has a network namespace of its own, joined by a veth pair to the bridge of a switch's
namespace. The faults live at that bridge, where they hit sockets of every kind in the hosts alike
(what a packet socket or an XDP program sees comes before any filter in the host itself):

    host n1 [eth0] -- [n1] \
    host n2 [eth0] -- [n2]  br0, filter at its `forward` hook: cuts by pair of ports, random loss;
    host c1 [eth0] -- [c1] /     filter at its ports' `egress` hook: repetition

The namespaces have no names: this process holds them by descriptors, and the kernel takes them
away, with everything in them, when it ends in whatever way and no process runs in them. Nothing
here knows thole.
"""
import os
import re
import shutil
import subprocess
import time
import unittest

TOOLS = ["ip", "nft", "nsenter", "unshare", "bridge"]
PATIENCE_S = 30
PORT_MAX = 15  # Bytes of an interface's name.


class Place:
    """Where a program runs: what stands before its command, and the descriptors that this needs."""

    def __init__(self, prefix=(), fds=()):
        self.prefix = list(prefix)
        self.fds = tuple(fds)

    def run(self, *command, timeout=120, **more):
        """Run it to its end."""
        return subprocess.run([*self.prefix, *command], pass_fds=self.fds, timeout=timeout,
                              check=False, **more)

    def popen(self, *command, **more):
        """Start it; its process id is the program's own, whatever stands before the command."""
        return subprocess.Popen([*self.prefix, *command], pass_fds=self.fds, **more)


HERE = Place()


def why_not():
    """The reason why no such network can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces with a bridge need root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"missing: {', '.join(missing)} (Debian packages iproute2 and nftables)"
    try:
        Network(["a", "b"]).close()
    except OSError as error:
        return f"network namespaces with a bridge cannot be made here: {error}"
    return None


_reason = []


def need():
    """Skip the test, with the reason, where no such network can be made."""
    if not _reason:
        _reason.append(why_not())
    if _reason[0]:
        raise unittest.SkipTest(_reason[0])


def new_namespace():
    """A descriptor of a new network namespace, which lives as long as it does."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            holder.stdin.write(b"\n")
            holder.stdin.flush()
        except BrokenPipeError:
            pass
        if holder.stdout.readline() != b"\n":  # It echoes once it is there.
            raise OSError(holder.stderr.read().decode().strip())
        try:
            return os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            holder.stdin.close()


class Network:
    """Hosts by name, all of them connected. Faults stay until they are healed."""

    def __init__(self, names):
        assert len(set(names)) == len(names) <= 200
        assert all(re.fullmatch(r"[a-z][a-z0-9]*", name) and len(name) <= PORT_MAX
                   for name in names)
        self.names = list(names)
        self.fds = {}
        try:
            self.switch = self.namespace("switch")
            self.places = {name: self.namespace(name) for name in names}
            self.connect()
            self.nft(self.rules())
        except BaseException:
            self.close()
            raise

    def namespace(self, name):
        fd = new_namespace()
        self.fds[name] = fd
        return Place(["nsenter", f"--net=/proc/self/fd/{fd}", "--"], [fd])

    def close(self):
        """Let go of the namespaces. Processes that still run in one keep that one."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}

    def __getitem__(self, name):
        return self.places[name]

    def address(self, name):
        return f"10.77.0.{self.names.index(name) + 1}"

    # ---- Faults ----

    def cut(self, ones, others):
        """No frame between these hosts and those any more, in either direction."""
        pairs = [(a, b) for a in ones for b in others]
        self.elements("add", "cuts", pairs + [(b, a) for a, b in pairs])

    def cut_one_way(self, sources, targets):
        """No IP packet from these hosts to those any more; ARP still goes both ways, because a
        lost answer to it would stop the other direction too."""
        self.elements("add", "one_way_cuts", [(a, b) for a in sources for b in targets])

    def isolate(self, group):
        """Cut these hosts off from all that are not among them."""
        self.cut(group, [name for name in self.names if name not in group])

    def heal(self):
        """End every cut. Loss and repetition stay."""
        self.nft("flush set bridge faults cuts\nflush set bridge faults one_way_cuts\n")

    def lose(self, percent):
        """Of all IP packets between hosts, at random; 0 ends it."""
        words = ["flush chain bridge faults loss\n"]
        if percent:
            words.append(f"add rule bridge faults loss {chance(percent)} counter name lost drop\n")
        self.nft("".join(words))

    def repeat(self, percent):
        """Send so many of all IP packets once more, at random; 0 ends it. A copy may be copied
        again, though the kernel does not let that go deep."""
        words = []
        for name in self.names:
            words.append(f"flush chain netdev copies {name}\n")
            if percent:
                words.append(f"add rule netdev copies {name} {chance(percent)} "
                             f'counter name repeated dup to "{name}"\n')
        self.nft("".join(words))

    def calm(self):
        """No fault any more."""
        self.heal()
        self.lose(0)
        self.repeat(0)

    def counts(self):
        """Packets that met each kind of fault since the beginning, by its name."""
        words = self.nft("list counters\n")
        found = re.findall(r"counter (\w+) \{\s*packets (\d+)", words)
        return {name: int(packets) for name, packets in found}

    # ---- How it is made ----

    def rules(self):
        ports = "".join(f'chain {name} {{\n'
                        f'type filter hook egress device "{name}" priority 0;\n}}\n'
                        for name in self.names)
        return f"""table bridge faults {{
counter cut {{ }}
counter one_way_cut {{ }}
counter lost {{ }}
set cuts {{ type ifname . ifname; }}
set one_way_cuts {{ type ifname . ifname; }}
chain loss {{ }}
chain forward {{
type filter hook forward priority 0; policy accept;
iifname . oifname @cuts counter name cut drop
ether type ip iifname . oifname @one_way_cuts counter name one_way_cut drop
ether type ip jump loss
}}
}}
table netdev copies {{
counter repeated {{ }}
{ports}}}
"""

    def elements(self, verb, name, pairs):
        words = ", ".join(f'"{a}" . "{b}"' for a, b in pairs)
        self.nft(f"{verb} element bridge faults {name} {{ {words} }}\n")

    def nft(self, words):
        return self.do(self.switch, ["nft", "-f", "-"], words)

    def do(self, place, command, words):
        done = place.run(*command, input=words, text=True, capture_output=True)
        if done.returncode != 0:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def connect(self):
        """Bridge, pairs and addresses; return when the bridge forwards between all."""
        words = ["link add name br0 type bridge stp_state 0 mcast_snooping 0\n",
                 "link set br0 addrgenmode none\nlink set br0 up\n"]
        for name in self.names:
            words.append(f"link add name {name} type veth peer name eth0 "
                         f"netns /proc/self/fd/{self.fds[name]}\n"
                         f"link set dev {name} addrgenmode none\n"
                         f"link set dev {name} master br0\nlink set dev {name} up\n")
        switch = Place(self.switch.prefix, [*self.fds.values()])
        self.do(switch, ["ip", "-batch", "-"], "".join(words))
        for name in self.names:
            self.do(self.places[name], ["ip", "-batch", "-"],
                    f"link set lo up\nlink set eth0 addrgenmode none\n"
                    f"addr add {self.address(name)}/24 dev eth0\nlink set eth0 up\n")
        end = time.monotonic() + PATIENCE_S
        while True:  # The kernel may take a second to believe that a port has a carrier.
            words = self.do(self.switch, ["bridge", "link", "show"], "")
            if words.count("state forwarding") == len(self.names):
                return
            if time.monotonic() > end:
                raise OSError(f"the ports of the bridge do not all forward: {words}")
            time.sleep(0.02)


def chance(percent):
    """The condition that holds for so many of the IP packets."""
    assert 0 < percent <= 100
    if percent == 100:
        return "ether type ip"
    return f"ether type ip numgen random mod 10000 < {round(percent * 100)}"
