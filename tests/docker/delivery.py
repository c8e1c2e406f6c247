"""The delivered project in a folder of its own, driven by nothing but names, as the course's graders do it.

`tools/entrega.sh` lays it out; branches are switched, configuration is overwritten, the compose file is written
and started, and what the containers logged is read from Compose. Standard library only.

Container names and image tags are fixed by the course, so two runs on one engine would be in each other's way:
a lock makes the second wait, and existing containers belong to another run, so they are refused.
"""

import atexit
import fcntl
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE_FILE = "docker-compose-dev.yaml"
NETWORK = "tp0_testing_net"
NUMBER = "7574"
BUILD_SECONDS_MAX = 300  # as the graders have it, for each of the two images
PATIENCE_SECONDS = 120  # only ever reached by a failure

# Some versions of Compose begin every line by clearing it, on a terminal or not.
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
EXITED = re.compile(r"^(\w+) exited with code (\d+)")
LINE = re.compile(r"^(\w+) +\| (.*)$")


class Delivery:
    """One laid-out project, its images built, and the lock on this engine."""

    def __init__(self):
        # Made from any process of this machine; never removed, since a lock file that goes is no lock.
        self.lock = open(pathlib.Path(tempfile.gettempdir()) / "loteria-docker-tests.lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            self.refuse_other_containers()
            # Compose and the engine must see the same folder; a user's own temporary folder they may not.
            self.holder = tempfile.TemporaryDirectory(prefix="loteria-entrega-", ignore_cleanup_errors=True)
            self.path = pathlib.Path(self.holder.name) / "entrega"
            self.must(["sh", ROOT / "tools" / "entrega.sh", self.path], cwd=ROOT)
            self.images = {}
        except BaseException:
            self.lock.close()
            raise

    def close(self):
        self.holder.cleanup()
        self.lock.close()

    def refuse_other_containers(self):
        names = subprocess.run(["docker", "ps", "--all", "--format", "{{.Names}}"], capture_output=True, text=True,
                               check=True).stdout.split()
        ours = [name for name in names if re.fullmatch(r"server|client\d+", name)]
        if ours:
            raise RuntimeError(f"the containers {', '.join(ours)} are there already; 'make docker-compose-down' first")

    def run(self, command, timeout=PATIENCE_SECONDS, cwd=None):
        return subprocess.run([str(word) for word in command], cwd=cwd or self.path, capture_output=True, text=True,
                              timeout=timeout)

    def must(self, command, timeout=PATIENCE_SECONDS, cwd=None):
        done = self.run(command, timeout, cwd)
        if done.returncode != 0:
            raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def switch(self, branch):
        """To another branch, with every file as the branch has it."""
        self.must(["git", "checkout", "--force", "--quiet", branch])
        self.must(["git", "clean", "--force", "-d", "-x", "--quiet"])

    def build(self, cold=False):
        """Both images, with the graders' own commands; their ids. A cold build starts from nothing, as the graders' first
        one does, and takes the names from the images of an earlier run, which are removed."""
        earlier = {program: self.image(program) for program in ("server", "client")}
        if cold:
            # The name that `make docker-image` gave to an earlier build would keep its layers.
            self.run(["docker", "image", "rm", "loteria-programs:latest"])
        started = time.monotonic()
        for program in ("server", "client"):
            # What the server's build compiled, the client's finds.
            fresh = ["--no-cache"] if cold and program == "server" else []
            said = self.must(["docker", "build", *fresh, "-f", f"./{program}/Dockerfile", "-t", f"{program}:latest", "."],
                             timeout=BUILD_SECONDS_MAX if cold else 3 * BUILD_SECONDS_MAX)
            self.images[program] = self.image(program)
            if program == "client" and "Compiling" in said:
                raise AssertionError(f"the client's image was compiled for itself:\n{said[-3000:]}")
        if cold:
            print(f"images built from nothing in {time.monotonic() - started:.0f} s", flush=True)
        for program, image in earlier.items():
            if image and image != self.images[program]:
                self.run(["docker", "image", "rm", image])
        return dict(self.images)

    def image(self, program):
        """The id of a program's image, or nothing."""
        return self.run(["docker", "image", "inspect", "-f", "{{.Id}}", f"{program}:latest"]).stdout.strip()

    def configure(self, level="INFO", port=12345, amount=3, period="50ms", client_level="INFO", batch=None):
        """Both files overwritten, with the course's keys and no other."""
        (self.path / "server" / "config.ini").write_text(
            f"[DEFAULT]\nSERVER_PORT = {port}\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 5\nLOGGING_LEVEL = {level}\n")
        (self.path / "client" / "config.yaml").write_text(
            f'server:\n  address: "server:{port}"\nloop:\n  amount: {amount}\n  period: "{period}"\n'
            f'log:\n  level: "{client_level}"\n' + (f"batch:\n  maxAmount: {batch}\n" if batch else ""))

    def data(self, agency, bets):
        """An agency's file: rows as the graders write them, ended by LF."""
        folder = self.path / ".data"
        folder.mkdir(exist_ok=True)
        (folder / f"agency-{agency}.csv").write_text("".join(",".join(bet) + "\n" for bet in bets), newline="")

    def generate(self, clients, *more):
        self.must(["bash", "generar-compose.sh", COMPOSE_FILE, clients, *more])

    def compose(self, *words, timeout=PATIENCE_SECONDS):
        return self.must(["docker", "compose", "-f", COMPOSE_FILE, *words], timeout)

    def up(self):
        self.compose("up", "-d")

    def down(self):
        subprocess.run(["docker", "compose", "-f", COMPOSE_FILE, "down", "-t", "1"], cwd=self.path, capture_output=True)

    def follow(self, done):
        """Lines of `logs -f` until `done(logs, exits)`: the lines by container, and the exit codes as Compose says them."""
        logs, exits = {}, {}
        with subprocess.Popen(["docker", "compose", "-f", COMPOSE_FILE, "logs", "-f", "--no-color"], cwd=self.path,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
            watchdog.start()
            try:
                for line in process.stdout:
                    line = ESCAPE.sub("", line).rstrip()
                    if exited := EXITED.match(line):
                        exits[exited[1]] = int(exited[2])
                    elif said := LINE.match(line):
                        logs.setdefault(said[1], []).append(said[2])
                    if done(logs, exits):
                        return logs, exits
            finally:
                watchdog.cancel()
                process.kill()
        raise AssertionError(f"the logs ended, or {PATIENCE_SECONDS} s passed, before what was waited for: {exits}\n"
                             + "\n".join(f"{name} | {line}" for name in logs for line in logs[name][-8:]))

    def clients_done(self, count):
        """Waits until Compose said of every client that it exited; it may say so before it shows the last lines."""
        _, exits = self.follow(lambda _, exits: all(f"client{i}" in exits for i in range(1, count + 1)))
        return self.logs(), exits

    def logged(self, container, text):
        """Waits until the container has logged a line with `text`."""
        return self.follow(lambda logs, _: any(text in line for line in logs.get(container, [])))[0]

    def logs(self):
        """All that was logged up to now, by container."""
        logs = {}
        for line in ESCAPE.sub("", self.compose("logs", "--no-color")).splitlines():
            if said := LINE.match(line):
                logs.setdefault(said[1], []).append(said[2])
        return logs

    def exit_code(self, container):
        """The code of a container that has ended; waits for its end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            state = self.must(["docker", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", container]).split()
            if state[0] == "exited":
                return int(state[1])
            time.sleep(0.1)
        raise AssertionError(f"{container} has not ended")

    def bets_stored(self):
        """The rows of the server's bets.csv, read out of its container."""
        target = pathlib.Path(self.holder.name) / "bets.csv"
        self.must(["docker", "cp", "server:/loteria/bets.csv", target])
        return target


def bets(agency, count, winners):
    """`count` rows, the first `winners` of them on the winning number, with the documents and numbers that trip."""
    rows = []
    for i in range(count):
        document = "00000000" if i == winners else f"{agency}{i:07}"
        number = NUMBER if i < winners else "0" if i == winners else str(i % 7000)
        rows.append((f"María {i}", "Ñandú O'Higgins", document, f"19{i % 80 + 10}-0{i % 9 + 1}-1{i % 10}", number))
    return rows


_shared = None


def shared():
    """The one delivery of a run. Skips where something is missing. Layers of an earlier build with the same sources are used;
    with LOTERIA_DOCKER_COLD in the environment the images are built from nothing, as the graders' first ones are."""
    global _shared
    if lack := missing():
        print(f"test-docker: SKIPPED, {lack}")
        raise unittest.SkipTest(lack)
    if _shared is None:
        delivery = Delivery()
        try:
            delivery.switch("ej1")
            delivery.build(cold="LOTERIA_DOCKER_COLD" in os.environ)
        except BaseException:
            delivery.close()
            raise
        atexit.register(delivery.close)
        _shared = delivery
    return _shared


def values(lines, action, key):
    """The values of `key` in the successful lines of an action, as logged."""
    found = []
    for line in lines:
        if f"action: {action} | result: success" in line:
            found += re.findall(rf"\| {key}: ([^|]*?)(?: \||$)", line)
    return found


def missing():
    """What this machine lacks for these tests, in words, or None."""
    def fails(*command):
        return subprocess.run(command, capture_output=True).returncode != 0

    if fails("docker", "info"):
        return "no Docker engine answers here"
    if fails("docker", "compose", "version"):
        return "'docker compose' is not installed here"
    bases = set(re.findall(r"(?m)^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text())) | {"busybox:latest"}
    for base in sorted(bases):
        if fails("docker", "image", "inspect", base) and fails("docker", "pull", base):
            return f"the image {base} is not here and cannot be pulled"
    return None
