"""The Wireshark dissector (net/thole.lua) against the encoder that ships: what tshark shows of a
frame is what wire_encode() was given, for every kind of frame and every member of its struct.

Which kinds and members there are is read from engine/wire.h and engine/wire_layout.h, so that a new
one without a field in the dissector is a failure here. `--seed N` gives other frames.
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import unittest

import support
from support import Case, REPOSITORY

GENERATOR = sys.argv.pop(2) if len(sys.argv) > 2 else None
SEED = os.environ.get("THOLE_SEED", "1")
if "--seed" in sys.argv:
    at = sys.argv.index("--seed")
    SEED = sys.argv[at + 1]
    del sys.argv[at:at + 2]

DISSECTOR = os.path.join(REPOSITORY, "net", "thole.lua")
FRAMES = 40  # Of every kind.
HEADERS = 42  # Ethernet, IPv4, UDP.
WORDS_OF = {  # An enum's members, whose names are words of the dissector.
    "thole.kind": ("engine/wire.h", "wire_kind", "WIRE_"),
    "thole.reply.status": ("engine/wire.h", "wire_status", "WIRE_"),
    "thole.status_reply.role": ("engine/wire.h", "wire_role", "WIRE_"),
    "thole.item.kind": ("engine/wire.h", "wire_item_kind", "WIRE_ITEM_"),
}
OTHER_WORDS = {"ok": "OK", "condition failed": "CONDITION"}


def read(path):
    with open(os.path.join(REPOSITORY, path), encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def enum_members(path, name):
    """{NAME: number} of an enum, the one that counts the others left out."""
    body = re.search(r"enum %s \{(.*?)\}" % name, read(path), re.S).group(1)
    members, number = {}, 0
    for member in filter(None, (part.strip() for part in body.split(","))):
        word, _, value = (part.strip() for part in member.partition("="))
        number = int(value) if value else number
        if not word.endswith("_COUNT"):
            members[word] = number
        number += 1
    return members


def struct_members(path, name):
    """Names of a struct's members, page marks taken apart, reserved bytes left out."""
    body = re.search(r"struct %s \{(.*?)\};" % name, read(path), re.S).group(1)
    names = []
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        kind, member = re.fullmatch(r"(?:struct )?(\w+) (\w+)(?:\[[^]]*\])?",
                                    declaration).groups()
        if kind == "page_mark":
            names += [f"{member}.{part}"
                      for part in struct_members("engine/base/entry.h", "page_mark")]
        elif member != "reserved":
            names.append(member)
    return names


def layout_fields():
    """The fields that the dissector must have, by the struct they are of."""
    structs = re.findall(r"struct (\w+)_layout \{", read("engine/wire_layout.h"))
    fields = {}
    for name in structs:
        if name == "head":
            continue
        prefix = "thole" if name == "header" else f"thole.{name}"
        fields[name] = {f"{prefix}.{member}"
                        for member in struct_members("engine/wire_layout.h", name + "_layout")}
    for name, layout in [("mark", "page_mark"), ("record", "record_header"),
                         ("entry_header", "entry_header")]:
        fields[name] = {f"thole.{name}.{member}"
                        for member in struct_members("engine/base/entry.h", layout)}
    return fields


def gather(pairs):
    """An object whose keys may come more than once: a list for each."""
    found = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def flatten(tree, found):
    """Every field of a tree that tshark shows, wherever it stands in it."""
    for key, values in tree.items():
        for value in values:
            if isinstance(value, dict):
                flatten(value, found)
            elif key.startswith("thole."):
                found.setdefault(key, []).append(value)
    return found


def as_shown(name, value):
    """What is expected, as tshark shows it: numbers as numbers, bytes as hex."""
    if name == "thole.item.text":
        return bytes.fromhex(value).decode()
    return value


def as_number(name, value):
    if value in ("True", "False"):
        return int(value == "True")
    if name in ("thole.item.name", "thole.item.text"):
        return value
    if re.fullmatch(r"0x[0-9a-f]+|\d+", value) and not name.endswith((".payload", ".tag", ".name")):
        return int(value, 0)
    return value.replace(":", "")


@unittest.skipIf(shutil.which("tshark") is None, "there is no tshark (Debian: apt install tshark)")
class Dissector(Case):
    def tshark(self, *arguments):
        done = subprocess.run(["tshark", *arguments, "-X", "lua_script:" + DISSECTOR], text=True,
                              errors="replace", capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        for text in (done.stdout, done.stderr):
            self.assertNotIn("Lua Error:", text)
            self.assertNotIn("thole.lua:", text)  # And its line.
        return done.stdout

    def generate(self, *more):
        """Frames of all kinds; returns the capture and what the encoder was given."""
        pcap, told = self.path("frames.pcap"), self.path("frames.json")
        subprocess.run([GENERATOR, SEED, str(FRAMES), pcap, told, *more], check=True)
        with open(told, encoding="utf-8") as file:
            frames = [json.loads(line, object_pairs_hook=gather) for line in file]
        return pcap, frames

    def shown(self, pcap):
        packets = json.loads(self.tshark("-r", pcap, "-T", "json"), object_pairs_hook=gather)
        return [flatten(packet["_source"][0], {}) for packet in packets]

    def test_every_field_is_what_the_encoder_was_given(self):
        pcap, frames = self.generate()
        packets = self.shown(pcap)
        self.assertEqual(len(packets), len(frames))
        for frame, packet in zip(frames, packets):
            kind = frame["thole.kind"][0]
            self.assertNotIn("_ws.expert", packet)
            self.assertEqual(packet["thole.crc.status"], ["good"], f"kind {kind}")
            for name, values in frame.items():
                found = [as_number(name, value) for value in packet.get(name, [])]
                self.assertEqual(found, [as_shown(name, value) for value in values],
                                 f"{name} of kind {kind}, seed {SEED}")

    def test_sound_frames_have_no_complaint(self):
        pcap, _ = self.generate()
        complaints = self.tshark("-r", pcap, "-Y", "_ws.expert", "-T", "fields", "-e",
                                 "_ws.expert.message")
        self.assertEqual(complaints, "")

    def test_every_kind_is_generated_and_shows_every_member_of_its_struct(self):
        pcap, frames = self.generate()
        packets = self.shown(pcap)
        kinds = enum_members("engine/wire.h", "wire_kind")
        self.assertEqual({frame["thole.kind"][0] for frame in frames}, set(kinds.values()))
        told = {name for frame in frames for name in frame}
        shown = {name for packet in packets for name in packet}
        structs = layout_fields()
        self.assertGreater(len(structs), 20)
        for name, fields in structs.items():
            # The checksum of a frame is compared by the dissector itself.
            self.assertEqual(fields - told - {"thole.crc"}, set(), f"of {name}: not generated")
            self.assertEqual(fields - shown, set(), f"of {name}: no field in the dissector")

    def test_every_flag_has_a_field(self):
        defined = re.findall(r"#define (ACK|READ|STATUS)_(\w+) +\d+u", read("engine/wire_layout.h"))
        fields = self.tshark("-G", "fields")
        self.assertGreater(len(defined), 9)
        for kind, flag in defined:
            name = rf"thole\.{kind.lower()}(_reply)?\.(flags|more)\.{flag.lower()}"
            self.assertRegex(fields, name + "\t")

    def test_words_are_those_of_the_engine(self):
        values = {}
        for line in self.tshark("-G", "values").splitlines():
            parts = line.split("\t")
            if parts[0] == "V" and parts[1].startswith("thole."):
                values.setdefault(parts[1], {})[int(parts[2], 0)] = parts[3]
        for field, (path, name, prefix) in WORDS_OF.items():
            words = {number: OTHER_WORDS.get(word, word.upper().replace(" ", "_"))
                     for number, word in values[field].items()}
            members = {number: member[len(prefix):]
                       for member, number in enum_members(path, name).items()}
            self.assertEqual(words, members, field)

    def test_damaged_frames_are_called_so_and_break_nothing(self):
        pcap, frames = self.generate("--broken")
        lines = self.tshark("-r", pcap, "-T", "fields", "-e", "frame.number", "-e",
                            "_ws.col.Protocol", "-e", "_ws.expert.message").splitlines()
        self.assertEqual(len(lines), len(frames))
        complaints = [line for line in lines if line.split("\t")[2:] and line.split("\t")[2]]
        self.assertGreater(len(complaints), len(frames) / 4, "most damage can be seen")
        self.tshark("-r", pcap, "-V")

    def test_a_frame_is_found_on_any_port_and_other_bytes_are_left_alone(self):
        pcap, _ = self.generate()
        with open(pcap, "rb") as file:
            data = bytearray(file.read())
        at = 24 + 16
        struct.pack_into(">HH", data, at + 34, 53, 4789)  # Ports of others.
        second = at + struct.unpack_from("<I", data, 24 + 8)[0] + 16
        data[second + HEADERS] ^= 1  # Its magic.
        with open(pcap, "wb") as file:
            file.write(data)
        protocols = self.tshark("-r", pcap, "-c", "2", "-T", "fields", "-e", "_ws.col.Protocol",
                                "--disable-protocol", "dns", "--disable-protocol", "vxlan")
        first, other = protocols.split()
        self.assertEqual(first, "THOLE")
        self.assertNotEqual(other, "THOLE")

    def test_another_version_is_named_and_not_looked_into(self):
        pcap, _ = self.generate()
        with open(pcap, "rb") as file:
            data = bytearray(file.read())
        struct.pack_into("<H", data, 24 + 16 + HEADERS + 4, 7)
        with open(pcap, "wb") as file:
            file.write(data)
        line = self.tshark("-r", pcap, "-c", "1", "-T", "fields", "-e", "thole.version", "-e",
                           "thole.kind", "-e", "_ws.expert.message")
        self.assertEqual(line.rstrip("\n").split("\t"),
                         ["7", "", "version 7; this dissector knows version 1"])


if __name__ == "__main__":
    if GENERATOR is None:
        sys.exit("usage: test_dissector.py THOLE WIRE_FRAMES [--seed N]")
    print(f"seed {SEED}")
    support.main()
