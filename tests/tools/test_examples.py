"""The example commands of the documents are run as they stand there, or are listed here with the reason why not.

A section is run from top to bottom, in a folder of its own that has what a checkout has. Its ini and yaml blocks are the
configuration of what follows. The system chooses the server's port, and the commands behind it ask that one.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

from markdown import FENCE, ROOT, Document, commands

DOCUMENTS = ["README.md", "LEEME.md", "docs/QUICKSTART.md", "docs/SECURITY.md"]
CONTAINERS = "needs an engine and minutes: tests/docker runs it"
SYSTEM = "changes the system, as root"
NOT_RUN = {
    "cargo run --release --bin loteria -- why": "it asks the hub that runs in the same folder, and a test has each hub in its own",
    "make demo": "tests/tools/test_demo.py runs it",
    "make test": "runs this test",
    "make docker-compose-up": CONTAINERS,
    "make docker-compose-logs": CONTAINERS,
    "make docker-compose-down": CONTAINERS,
    "tools/validar-echo-server.sh": CONTAINERS,
    "useradd --system --home-dir /var/lib/loteria --shell /usr/sbin/nologin loteria": SYSTEM,
    "make build man": "tests/tools/test_install.py makes the pages",
    "make install": SYSTEM,
    "install -d /etc/loteria": SYSTEM,
    "install -m 640 -g loteria config.ini .tls/server.crt .tls/server.key .tls/ca.crt /etc/loteria/": SYSTEM,
    "systemctl daemon-reload": SYSTEM,
    "systemctl enable --now loteria": SYSTEM,
    "systemctl status loteria": SYSTEM,
    "journalctl --unit loteria --follow": SYSTEM,
    "systemctl reload loteria": SYSTEM,
    "systemctl stop loteria": SYSTEM,
}
# A command that runs until it is stopped.
SERVER = re.compile(r"(--bin server|target/release/server)( --agencies \d+)?$")
PORT = "12345"
# The examples' name for the hub's machine.
HOST = "hub.lan"
PATIENCE_SECONDS = 120  # only ever reached by a failure
OURS = ("CLI_", "LOTTERY_", "STORAGE_", "LIMITS_", "SERVER_", "LOGGING_", "TLS_", "STATUS_", "LOG_", "NOMBRE", "BIND_")

CARGO = """#!/bin/sh
# Everything is built: a run is the program.
[ "$1" = run ] || exit 0
while [ "$1" != --bin ]; do shift; done
program=$2
shift 2
[ "${1-}" != -- ] || shift
exec "target/release/$program" "$@"
"""
# Says what it was told and what came back, and does not wait for more: the hub keeps the connection.
NC = """#!/usr/bin/env python3
import socket, sys
line = sys.stdin.buffer.read()
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as peer:
    peer.sendall(line)
    answer = b""
    while len(answer) < len(line):
        answer += peer.recv(4096) or sys.exit("nothing came back")
sys.stdout.buffer.write(answer)
"""


def setUpModule():
    subprocess.run(["cargo", "build", "--locked", "--quiet", "--bins"], cwd=ROOT, check=True)


class Checkout:
    """A folder with the project's scripts, data and programs, in which the commands of a section are run."""

    def __init__(self, test, environment):
        holder = tempfile.TemporaryDirectory()
        test.addCleanup(holder.cleanup)
        self.test = test
        self.root = pathlib.Path(holder.name) / "checkout"
        shutil.copytree(ROOT / "tools", self.root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / ".data", self.root / ".data")
        for name in ("Makefile", "config.ini", "config.yaml"):
            shutil.copy(ROOT / name, self.root)
        built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
        (self.root / "target/release").mkdir(parents=True)
        for program in ("server", "client", "datos", "loteria"):
            if (built / program).is_file():
                (self.root / "target/release" / program).symlink_to((built / program).resolve())
        stand_ins = self.root.with_name("bin")
        stand_ins.mkdir()
        for name, text in (("cargo", CARGO), ("nc", NC)):
            (stand_ins / name).write_text(text)
            (stand_ins / name).chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        self.environment = kept | {"PATH": f"{stand_ins}:{os.environ['PATH']}"} | environment
        self.port, self.server, self.ran = None, None, []

    def local(self, text):
        """An example's text with the port and the host that are here."""
        return text.replace(HOST, "localhost").replace(PORT, self.port or PORT)

    def configure(self, language, text):
        (self.root / {"ini": "config.ini", "yaml": "config.yaml"}[language]).write_text(self.local(text))

    def start_server(self, command):
        environment = self.environment | {"SERVER_PORT": "0", "BIND_ADDRESS": "127.0.0.1"}
        self.server = subprocess.Popen(["sh", "-c", f"exec env {self.local(command)}"], cwd=self.root, env=environment,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.test.addCleanup(self.end_server)
        for line in self.server.stdout:
            if found := re.search(r"action: listen \| result: success \| address: \S+:(\d+)", line):
                self.port = found[1]
                return
        self.test.fail(f"{command} did not listen")

    def end_server(self):
        """Its log since it listened, and its exit code."""
        if self.server is None:
            return "", 0
        server, self.server = self.server, None
        server.terminate()
        log, _ = server.communicate(timeout=PATIENCE_SECONDS)
        return log, server.returncode

    def start(self, command):
        return subprocess.Popen(["sh", "-c", self.local(command)], cwd=self.root, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, command, process):
        try:
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        self.test.assertEqual(process.returncode, 0, f"{command}\n{said}")
        return said

    def run(self, command):
        """Runs a command to its end, which must be a success; what it printed."""
        said = self.finish(command, self.start(command))
        self.ran.append((command, said))
        return said

    def output(self, command):
        [said] = [said for ran, said in self.ran if ran == command]
        return said


def sections(path):
    """The text of each section of the second level, by its heading."""
    parts = re.split(r"(?m)^## (.+)$", Document(path).text)
    return dict(zip(parts[1::2], parts[2::2])) | {"": parts[0]}


class Examples(unittest.TestCase):
    maxDiff = None

    def play(self, path, heading, beside=lambda checkout, command: None, **environment):
        """Runs a section; `beside` starts what a command needs beside it."""
        checkout = Checkout(self, environment)
        for language, body in FENCE.findall(sections(path)[heading]):
            if language in ("ini", "yaml"):
                checkout.configure(language, body)
            for command in commands(body) if language == "sh" else []:
                if command in NOT_RUN:
                    continue
                if SERVER.search(command):
                    checkout.start_server(command)
                    continue
                others = beside(checkout, command) or {}
                checkout.run(command)
                for other, process in others.items():
                    checkout.finish(other, process)
        return checkout

    def drawn(self, checkout):
        """The server of a section ends well, and has drawn once."""
        log, code = checkout.end_server()
        self.assertEqual(code, 0, log)
        self.assertEqual(log.count("action: sorteo | result: success"), 1, log)

    def test_each_command_is_run_or_has_a_reason_not_to_be(self):
        played = {("README.md", "By hand"), ("README.md", "With Docker"), ("LEEME.md", "A mano"), ("LEEME.md", "Con Docker"),
                  ("docs/SECURITY.md", "TLS"), ("docs/QUICKSTART.md", "One agency on a laptop"),
                  ("docs/QUICKSTART.md", "Five agencies on a LAN, with TLS")}
        found = set()
        for path in DOCUMENTS:
            for heading, text in sections(path).items():
                there = {command for language, body in FENCE.findall(text) if language == "sh" for command in commands(body)}
                found |= there
                if (path, heading) not in played:
                    self.assertLessEqual(there, set(NOT_RUN), f"{path}, {heading}: run them, or say why not")
        self.assertLessEqual(set(NOT_RUN), found, "a reason for a command that no document has")

    def test_by_hand(self):
        for path, heading in (("README.md", "By hand"), ("LEEME.md", "A mano")):
            with self.subTest(document=path):
                # The text below the commands says that the draw waits for five agencies, and how to have it wait for one.
                checkout = self.play(path, heading, LOTTERY_AGENCIES="1")
                self.assertEqual(checkout.output(f"printf 'hola\\n' | nc localhost {PORT}"), "hola\n")
                self.drawn(checkout)

    def test_compose_files(self):
        for path, heading in (("README.md", "With Docker"), ("LEEME.md", "Con Docker")):
            with self.subTest(document=path):
                checkout = self.play(path, heading)
                self.assertEqual(len(checkout.ran), 5)
                self.assertEqual((checkout.root / "docker-compose-dev.yaml").read_text().count("CLI_PROTOCOL: "), 5)

    def test_one_agency_on_a_laptop(self):
        checkout = self.play("docs/QUICKSTART.md", "One agency on a laptop")
        bets = (checkout.root / "bets.csv").read_bytes()
        self.assertEqual(bets.count(b"\n"), (ROOT / ".data/agency-1.csv").read_bytes().count(b"\n"))
        self.assertEqual((checkout.root / "backup/bets.csv").read_bytes(), bets)
        self.drawn(checkout)

    @unittest.skipUnless(shutil.which("openssl"), "certificates need openssl")
    def test_one_agency_with_tls(self):
        self.drawn(self.play("docs/SECURITY.md", "TLS", LOTTERY_AGENCIES="1"))

    @unittest.skipUnless(shutil.which("openssl"), "certificates need openssl")
    def test_five_agencies_with_tls(self):
        def others(checkout, command):
            if command != "target/release/client":
                return None
            mine = (checkout.root / "config.yaml").read_text()
            for n in range(2, 6):
                text = mine.replace("agency-1", f"agency-{n}").replace("id: 1", f"id: {n}")
                (checkout.root / f"{n}.yaml").write_text(text)
            started = [shlex.join([command, "--config", f"{n}.yaml"]) for n in range(2, 6)]
            return {command: checkout.start(command) for command in started}

        checkout = self.play("docs/QUICKSTART.md", "Five agencies on a LAN, with TLS", others)
        self.assertIn("consulta_ganadores | result: success", checkout.output("target/release/client"))
        self.assertIn("REQUIRED = on", checkout.output("target/release/server --check"))
        # A client without TLS comes from the same machine here, which REQUIRED lets in; one with another name does not.
        log = checkout.start("CLI_PATIENCE=1s CLI_SERVER_ADDRESS=127.0.0.1:12345 target/release/client").communicate()[0]
        self.assertIn("not valid for name", log, "what the table of causes says")
        self.drawn(checkout)


class Exercises(unittest.TestCase):
    """docs/es/ejercicios.md: what it has done without an engine. tests/docker/test_delivery.py does the rest."""

    CONTAINERS = re.compile(r"make docker-compose-|docker |\./validar-echo-server\.sh$|tools/run_local_test\.sh$|cd \.\./entrega$")

    def test_each_exercise_s_branch_writes_the_compose_file_that_it_shows(self):
        with tempfile.TemporaryDirectory() as folder:
            delivered = pathlib.Path(folder) / "entrega"
            where, modes = ROOT, {}
            for command in Document("docs/es/ejercicios.md").commands():
                if self.CONTAINERS.match(command):
                    continue
                done = subprocess.run(["sh", "-c", command.replace("../entrega", shlex.quote(str(delivered)))], cwd=where,
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")
                where = delivered
                if command.startswith("git checkout"):
                    branch = command.split()[-1]
                if command.startswith("./generar-compose.sh"):
                    text = (delivered / "docker-compose-dev.yaml").read_text()
                    modes[branch] = (text.count("CLI_ID"), *set(re.findall("CLI_MODE: (.+)", text)))
            self.assertEqual(modes, {"ej1": (5, "echo"), "ej2": (1, "echo"), "ej3": (0,), "ej4": (2, "echo"), "ej5": (5, "bet"),
                                     "ej6": (5, "agency"), "ej7": (5, "agency"), "ej8": (5, "agency")})


class Inline(unittest.TestCase):
    """Commands within sentences."""

    def test_targets_and_scripts_are_there_and_programs_answer(self):
        targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
        programs = set()
        for path in DOCUMENTS:
            for words in re.findall(r"`([^`\n]+)`", Document(path).prose):
                first, *rest = words.split()
                if first == "make":
                    for word in rest:
                        self.assertTrue(word in targets or "=" in word, f"{path}: {words}")
                elif first.startswith("tools/") and "." in first:
                    self.assertTrue((ROOT / first).exists() or first == "tools/loteria.service", f"{path}: {words}")
                elif words.startswith("cargo run"):
                    programs.add(words)
        checkout = Checkout(self, {})
        self.assertTrue(programs)
        for words in programs:
            says = "usage" if words.endswith("--help") else "there is no store; the next start of the hub makes one"
            self.assertIn(says, checkout.run(words).lower())


if __name__ == "__main__":
    unittest.main()
