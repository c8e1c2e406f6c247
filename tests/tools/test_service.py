"""tools/loteria.service, as systemd's own tools read it, and against what the server does."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from hub import PROGRAMS

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNIT = ROOT / "tools/loteria.service"
# Systemd counts from 0 (locked up) to 10; a unit without any restriction has 9.6.
EXPOSURE_MAX = 2.0
# What `systemd-analyze syscall-filter` says is denied of what the unit allows.
DENIED = "@privileged"


def settings():
    """The unit's lines, by key; a key may occur more than once."""
    found = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


class Unit(unittest.TestCase):
    def analyze(self, *words):
        """`systemd-analyze` on a copy of the unit whose programs exist here: `verify` looks for them."""
        if not shutil.which("systemd-analyze"):
            print("skipped: systemd-analyze is not installed", file=sys.stderr)
            self.skipTest("systemd-analyze is not installed")
        with tempfile.TemporaryDirectory() as folder:
            unit = pathlib.Path(folder) / "loteria.service"
            unit.write_text(UNIT.read_text().replace("/usr/local/bin/loteria-server", shutil.which("true")))
            return subprocess.run(["systemd-analyze", *words, unit], capture_output=True, text=True)

    def test_systemd_finds_nothing_wrong(self):
        done = self.analyze("verify", "--man=no")
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_it_is_as_locked_up_as_a_server_can_be(self):
        done = self.analyze("security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}")
        if "unrecognized option" in done.stderr or "Unknown" in done.stderr:
            self.skipTest("this systemd-analyze cannot read a unit offline")
        self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_no_failure_is_repeated_that_a_start_cannot_repair(self):
        """Every exit code of the server but 1 and 69 needs a person, and ends the restarts."""
        readme = " ".join((ROOT / "README.md").read_text().split())
        codes = re.findall(r"\b(\d+) [a-z]", re.search(r"Exit codes of \w+ programs: (.*?)\. SIGTERM", readme)[1])
        self.assertEqual(codes[:3], ["0", "1", "2"])
        [prevented] = settings()["RestartPreventExitStatus"]
        self.assertEqual(prevented.split(), [code for code in codes[2:] if code != "69"])

    def test_a_start_without_postgresql_is_repeated_and_one_whose_address_is_taken_is_not_for_ever(self):
        """Both end with 69: a start that waits for PostgreSQL takes longer than those that the limit counts."""
        engine = (ROOT / "src/limits/engine.rs").read_text()
        waits = int(re.search(r"ENGINE_START_MAX: Duration = Duration::from_secs\((\d+)\)", engine)[1])
        [period], [starts] = settings()["StartLimitIntervalSec"], settings()["StartLimitBurst"]
        self.assertNotIn("69", settings()["RestartPreventExitStatus"][0].split())
        self.assertGreater(waits * int(starts), int(period))

    def test_the_descriptors_suffice_for_the_connections(self):
        limits = (ROOT / "docs/CONFIGURATION.md").read_text()
        connections = int(re.search(r"`MAX_CONNECTIONS` \| (\d+)", limits)[1])
        self.assertGreater(int(settings()["LimitNOFILE"][0]), connections)

    def test_a_draw_needs_no_system_call_that_is_denied(self):
        """A hub under strace: start, upload, draw, SIGHUP, end."""
        for tool in ("strace", "systemd-analyze"):
            if not shutil.which(tool):
                print(f"skipped: {tool} is not installed", file=sys.stderr)
                self.skipTest(f"{tool} is not installed")
        subprocess.run(["cargo", "build", "--locked", "--quiet", "--bin", "server", "--bin", "client"], cwd=ROOT, check=True)
        with tempfile.TemporaryDirectory() as folder:
            called = self.calls_of_a_draw(pathlib.Path(folder))
        allowed = self.calls("@system-service") - self.calls(DENIED)
        self.assertGreater(len(allowed), 200)
        self.assertIn("fdatasync", called)
        # execve is strace's own start of the program.
        self.assertEqual(called - allowed - {"execve"}, set())

    def calls_of_a_draw(self, folder):
        """The names of all system calls of a hub that serves one agency."""
        (folder / "config.ini").write_text("[DEFAULT]\nSERVER_PORT = 0\nBIND_ADDRESS = 127.0.0.1\n[LOTTERY]\nAGENCIES = 1\n")
        trace = folder / "trace"
        hub = subprocess.Popen(["strace", "-f", "-o", trace, PROGRAMS / "server"], cwd=folder,
                               stdout=subprocess.PIPE, text=True)
        try:
            listening = self.line(hub, r"action: listen \| result: success \| address: ([\d.]+:\d+)")
            pid = int(trace.read_text().split()[0])
            subprocess.run([PROGRAMS / "client"], cwd=folder, check=True, capture_output=True,
                           env={**os.environ, "CLI_ID": "1", "CLI_SERVER_ADDRESS": listening, "CLI_MODE": "agency",
                                "CLI_DATA": str(ROOT / ".data/agency-1.csv")})
            self.line(hub, r"(action: sorteo \| result: success)")
            # strace keeps signals for itself: the hub is signalled by its own id.
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGTERM)
            self.line(hub, r"(action: shutdown \| result: success)")
            self.assertEqual(hub.wait(), 0)
        finally:
            hub.kill()
            hub.wait()
            hub.stdout.close()
        return set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))

    def line(self, hub, pattern):
        """What the pattern's group is in the next line of the hub's log that has it."""
        for line in hub.stdout:
            if found := re.search(pattern, line):
                return found[1]
        self.fail(f"the log ended without {pattern}")

    def calls(self, group):
        """The system calls of a group of systemd's, those of its subgroups included."""
        said = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True).stdout
        found = set()
        for word in said.split("\n")[1:]:
            word = word.strip()
            if word.startswith("@"):
                found |= self.calls(word)
            elif word and not word.startswith("#"):
                found.add(word)
        return found


if __name__ == "__main__":
    unittest.main()
