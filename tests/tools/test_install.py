"""`make install` and `make uninstall`: what is where, under which name, and that it works there."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from markdown import ROOT, Document

PROGRAMS = {"loteria-server": "server", "loteria-client": "client", "loteria": "loteria"}
UNIT = "lib/systemd/system/loteria.service"


def make(*words, **environment):
    # What `make` sets for a test that it runs is not for the `make` of the test.
    clean = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR", "PROFILE")}
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, env=clean | environment, capture_output=True, text=True)


def setUpModule():
    subprocess.run(["cargo", "build", "--locked", "--quiet", "--bins"], cwd=ROOT, check=True)
    done = make("man")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


class Install(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def install(self, *words):
        done = make("install", "PROFILE=debug", *words)
        self.assertEqual(done.returncode, 0, done.stderr)

    def files(self, below):
        return {str(path.relative_to(below)) for path in below.rglob("*") if path.is_file()}

    def test_programs_pages_completions_and_unit_are_where_they_are_looked_for_and_go_again(self):
        prefix = self.folder / "with space"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin/server").write_text("another program's")
        self.install(f"PREFIX={prefix}")
        for name, built in PROGRAMS.items():
            said = subprocess.run([prefix / "bin" / name, "--version"], capture_output=True, text=True).stdout
            self.assertRegex(said, rf"^{built} \d", "the program that was built")
            usage = subprocess.run([prefix / "bin" / name, "--help"], capture_output=True, text=True).stdout
            self.assertIn(f"sage: {name} ", usage, "it says the name by which it was called")
            page = (prefix / f"share/man/man1/{name}.1").read_text()
            self.assertIn("\n{} \\- ".format(name.replace("-", "\\-")), page, "man finds it by this name")
        self.assertTrue((prefix / "share/man/man1/loteria-new-store.1").is_file())
        files = self.files(prefix)
        self.assertTrue({"share/bash-completion/completions/loteria", "share/zsh/site-functions/_loteria",
                         "share/fish/vendor_completions.d/loteria.fish", "share/doc/loteria/config.ini", UNIT} <= files, files)
        completion = prefix / "share/bash-completion/completions/loteria"
        self.assertEqual(subprocess.run(["bash", "-n", completion]).returncode, 0)
        self.assertEqual(completion.stat().st_mode & 0o777, 0o644)
        self.assertIn(f'\nExecStart="{prefix}/bin/loteria-server" --config /etc/loteria/config.ini\n', (prefix / UNIT).read_text())
        # The file that is installed is one that the installed server takes.
        checked = subprocess.run([prefix / "bin/loteria-server", "--config", prefix / "share/doc/loteria/config.ini", "--check"],
                                 cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        done = make("uninstall", f"PREFIX={prefix}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(prefix), {"bin/server"}, "other programs' files stay")

    def test_destdir_comes_before_every_path_and_is_in_none(self):
        self.install("PREFIX=/opt/loteria", f"DESTDIR={self.folder}")
        self.assertEqual({name.split("/")[0] for name in self.files(self.folder)}, {"opt"})
        unit = (self.folder / "opt/loteria" / UNIT).read_text()
        self.assertIn("\nExecStart=/opt/loteria/bin/loteria-server --config /etc/loteria/config.ini\n", unit)
        self.assertNotIn(str(self.folder), unit)
        self.assertEqual(make("uninstall", "PREFIX=/opt/loteria", f"DESTDIR={self.folder}").returncode, 0)
        self.assertEqual(self.files(self.folder), set())

    def test_what_is_missing_or_wrong_is_said_in_one_line(self):
        for words, says in [(["PREFIX=usr"], "PREFIX is usr; it must begin with /"),
                            ([f"PREFIX={self.folder}", "PROFILE=nothing"], "nothing/server; run `make build man` first")]:
            done = make("install", *words)
            self.assertEqual(done.returncode, 2)
            lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
            self.assertEqual(len(lines), 1, done.stderr)
            self.assertIn(says, lines[0])
            self.assertEqual(self.files(self.folder), set())

    def test_the_documents_install_what_the_unit_runs(self):
        makefile = (ROOT / "Makefile").read_text()
        prefix = re.search(r"(?m)^PREFIX \?= (\S+)$", makefile)[1]
        unit = (ROOT / "tools/loteria.service").read_text()
        self.assertIn(f"\nExecStart={prefix}/bin/loteria-server ", unit)
        for path in ("docs/OPERATIONS.md", "docs/QUICKSTART.md"):
            commands = Document(path).commands()
            self.assertLess(commands.index("make build man"), commands.index("make install"), path)
            for command in commands:
                self.assertFalse(command.startswith("server "), f"{path}: {command}: it is installed as loteria-server")


if __name__ == "__main__":
    unittest.main()
