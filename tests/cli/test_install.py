"""What `meson install` lays down: completion that knows every option, and a service that starts."""
import configparser
import os
import re
import shutil
import subprocess
import unittest

import support
from support import Case, thole

BUILD = os.getcwd()
SHELLS = {"bash": "share/bash-completion/completions/thole",
          "zsh": "share/zsh/site-functions/_thole",
          "fish": "share/fish/vendor_completions.d/thole.fish"}
TRY = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_thole
printf '%s\\n' "${COMPREPLY[@]}"
"""


def commands():
    """The names of all commands, as `thole --help` lists them."""
    listed = thole("--help").stdout
    return [match.strip() for match in re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", listed, re.M)]


def options(command):
    """The long options that a command's --help shows: name -> whether it has a value."""
    shown = thole(*command.split(), "--help").stdout
    found = re.findall(r"^ {2,6}(?:-\S, +)?--([a-z-]+)(=?)", shown, re.M)
    return {name: value == "=" for name, value in found}


def offered(script, *words):
    """What bash offers for the last of these words."""
    done = subprocess.run(["bash", "--norc", "-c", TRY, "try", script, *words], text=True,
                          capture_output=True, check=True, timeout=60)
    return set(done.stdout.split())


class Completion(Case):
    def script(self, shell):
        done = thole("completion", shell)
        self.assert_exit(done, 0)
        path = self.path("thole." + shell)
        with open(path, "w", encoding="utf-8") as out:
            out.write(done.stdout)
        return path

    def test_bash_offers_every_command_and_every_option_of_its_help(self):
        script = self.script("bash")
        names = commands()
        self.assertGreater(len(names), 10)
        self.assertEqual(offered(script, "thole", ""),
                         {name.split()[0] for name in names} | {"--help"})
        for name in names:
            words = ["thole", *name.split()]
            if len(words) > 2:
                self.assertIn(words[2], offered(script, *words[:2], ""))
            wanted = {"--" + option for option in options(name)}
            self.assertIn("--help", wanted)
            self.assertEqual({word for word in offered(script, *words, "-")
                              if word.startswith("--")}, wanted, name)

    def test_bash_offers_no_option_as_a_value(self):
        script = self.script("bash")
        for name in commands():
            for option, has_value in options(name).items():
                if has_value:
                    found = offered(script, "thole", *name.split(), "--" + option, "")
                    self.assertEqual(found, set(), (name, option))

    def test_zsh_and_fish_know_the_options_of_every_help(self):
        with open(self.script("zsh"), encoding="utf-8") as file:
            zsh = file.read()
        with open(self.script("fish"), encoding="utf-8") as file:
            fish = file.read()
        for name in commands():
            wanted = options(name)
            part = zsh.split(f"    '{name}')\n")[1].split("        ;;\n")[0]
            self.assertEqual(dict(re.findall(r"^ +'--([a-z-]+)(=?)\[", part, re.M)),
                             {option: "=" * value for option, value in wanted.items()}, name)
            lines = re.findall(rf"'__thole_within \"{name}\"' -l ([a-z-]+)(.*?) -d '", fish)
            self.assertEqual({option: " -x" in rest or " -r" in rest for option, rest in lines},
                             wanted, name)

    def test_shells_can_read_their_scripts(self):
        missing = [shell for shell in SHELLS if not shutil.which(shell)]
        for shell in SHELLS:
            if shell not in missing:
                subprocess.run([shell, "-n", self.script(shell)], check=True, timeout=60)
        if missing:
            self.skipTest(f"read by bash alone; not installed: {', '.join(missing)}")

    def test_another_shell_exits_2(self):
        for arguments in [[], ["csh"], ["bash", "zsh"]]:
            done = thole("completion", *arguments)
            self.assert_exit(done, 2)
            self.assertEqual(done.stdout, "")


class Installed(Case):
    """In a scratch folder that stands for the root."""

    def setUp(self):
        super().setUp()
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.folder],
                       check=True, capture_output=True, timeout=120)
        with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"),
                  encoding="utf-8") as file:
            prefix = next(option["value"] for option in support.json.load(file)
                          if option["name"] == "prefix")
        self.prefix = self.folder + prefix

    def service(self):
        return os.path.join(self.prefix, "lib", "systemd", "system", "thole@.service")

    def test_completions_lie_where_shells_look(self):
        for shell, place in SHELLS.items():
            with open(os.path.join(self.prefix, place), encoding="utf-8") as file:
                self.assertEqual(file.read(), thole("completion", shell).stdout)

    def test_the_dissector_of_the_tree_is_installed(self):
        with open(os.path.join(self.prefix, "share", "thole", "thole.lua"),
                  encoding="utf-8") as file:
            installed = file.read()
        with open(os.path.join(support.REPOSITORY, "net", "thole.lua"), encoding="utf-8") as file:
            self.assertEqual(installed, file.read())

    def test_the_installed_program_runs(self):
        done = subprocess.run([os.path.join(self.prefix, "bin", "thole"), "version"], text=True,
                              capture_output=True, check=True, timeout=60)
        self.assertEqual(done.stdout, thole("version").stdout)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_finds_no_fault_in_the_service(self):
        # The program stands in the scratch folder and not where the service will look for it.
        with open(self.service(), encoding="utf-8") as file:
            text = file.read()
        begin = f"ExecStart={self.prefix[len(self.folder):]}/bin/thole "
        self.assertIn(begin, text)
        path = self.path("thole@.service")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text.replace(begin, f"ExecStart={self.prefix}/bin/thole "))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], text=True,
                              capture_output=True, check=False, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_service_does_not_repeat_what_cannot_succeed(self):
        service = configparser.ConfigParser(interpolation=None, strict=False)
        service.optionxform = str
        service.read(self.service(), encoding="utf-8")
        prevented = service["Service"]["RestartPreventExitStatus"].split()
        self.assertEqual(service["Service"]["Restart"], "on-failure")
        config = self.configuration()
        unformatted = thole("start", "-c", config, "--node", "1")
        misnamed = thole("start", "-c", config, "--node", "9")
        self.assertEqual([unformatted.returncode, misnamed.returncode], [3, 2])
        for done in [unformatted, misnamed]:
            self.assertIn(str(done.returncode), prevented)
        self.assertNotIn("5", prevented)


class Library(Case):
    """The client library beside the program in the build folder."""

    FOLDER = os.path.join(BUILD, "engine", "client")
    SHARED = os.path.join(FOLDER, "libthole.so")
    STATIC = os.path.join(FOLDER, "libthole.a")

    def run_tool(self, *command):
        return subprocess.run(command, text=True, capture_output=True, check=True,
                              timeout=60).stdout

    def test_nothing_but_what_the_header_declares_can_be_seen(self):
        header = os.path.join(support.REPOSITORY, "engine", "client", "thole.h")
        with open(header, encoding="utf-8") as file:
            code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        declared = set(re.findall(r"\b(thole_[a-z_]+)\(", code))
        self.assertGreater(len(declared), 20)
        for library, how in [(self.SHARED, ["-D"]), (self.STATIC, ["-g"])]:
            shown = self.run_tool("nm", *how, "--defined-only", "--format=posix", library)
            found = {line.split()[0] for line in shown.splitlines() if len(line.split()) > 2}
            self.assertEqual(found, declared, library)

    def test_neither_dpdk_nor_liburing_is_behind_it(self):
        behind = re.findall(r"^\s*(\S+?)\.so", self.run_tool("ldd", self.SHARED), re.M)
        self.assertLessEqual({os.path.basename(name) for name in behind},
                             {"libisal", "libinih", "libc", "linux-vdso", "ld-linux-x86-64"})
        wanted = self.run_tool("nm", "-u", "--format=posix", self.STATIC)
        self.assertNotRegex(wanted, r"\b(rte|io_uring)_")

    def test_it_makes_no_threads_touches_no_signals_and_has_no_state(self):
        wanted = set(self.run_tool("nm", "-u", "--format=posix", self.STATIC).split())
        self.assertIn("recvmmsg", wanted)
        self.assertEqual(wanted & {"pthread_create", "fork", "signal", "sigaction", "atexit",
                                   "pthread_sigmask", "setlocale", "putenv"}, set())
        sections = dict(re.findall(r"^(\.\w+) +(\d+)", self.run_tool("size", "-A", self.STATIC),
                                   re.M))
        self.assertEqual((sections[".data"], sections[".bss"]), ("0", "0"))


if __name__ == "__main__":
    support.main()
