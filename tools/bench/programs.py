"""The programs that are measured: each is started on an empty directory, loaded once, checked and removed."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from viewers import watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 20
STOP_SECONDS = 20
# Enough for the 10,000 connections of `make bench-size`, twice.
DESCRIPTORS = 20_000
BACKLOG = 4096
# As much as the largest run stores, and some more.
WARM_BYTES = 6 * 1024**3


class Failure(Exception):
    """A run that measured nothing, in words."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a comparison: a program, how it stores, and how it is loaded."""

    program: str = "hub"
    sync: bool = False
    protocol: str = "binary"
    connections: int = 1
    window: int = 64
    agencies: int = 1
    batch: int = 150
    logging: str = "INFO"
    winning_number: int = 7574
    # A Prometheus scrapes the status port every second, and ten browsers have its page open.
    watched: bool = False
    # A system call for each batch, as clients send them; else one for as many as the window allows.
    separately: bool = True

    def smallest(self):
        """Bets of the shortest run that says anything: some batches of every connection."""
        return self.connections * self.batch * max(4, min(self.window, 64))


class Programs:
    """The built programs, and the directory in which they store."""

    def __init__(self, directory, data):
        self.directory = pathlib.Path(directory)
        self.data = data
        self.directory.mkdir(parents=True, exist_ok=True)
        built = build()
        self.server, self.load, self.floor = built["server"], built["load"], built["floor"]
        self.redis = shutil.which("redis-server")
        self.before, self.status_port = None, None
        warm(self.directory)

    def run(self, side, bets, extra=()):
        """Loads a fresh program with `bets` bets and returns the generator's figures."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.directory) as folder:
            folder = pathlib.Path(folder)
            port = free_port()
            with self.started(side, folder, port) as process:
                figures = self.loaded(side, bets, [port], [process], extra)
                self.check(side, folder, port, figures, extra)
            return figures

    def loaded(self, side, bets, ports, processes, extra):
        """Loads the programs that listen on `ports`; their connections are shared out in turn."""
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        pids = ",".join(str(process.pid) for process in processes)
        protocol = "redis" if side.program == "redis" else side.protocol
        command = [
            self.load, "--json", "--address", addresses, "--data", self.data, "--protocol", protocol,
            "--bets", bets, "--batch", side.batch, "--window", side.window, "--connections", side.connections,
            "--agencies", side.agencies, "--pid", pids, *(["--separately"] if side.separately else []), *extra,
        ]  # fmt: skip
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{side}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def started(self, side, folder, port):
        """The program of `side`, listening on `port`; stopped, and its end checked, on the way out."""
        command = {"hub": self.hub_command, "before": self.before_command, "floor": self.floor_command, "redis": self.redis_command}
        command = [str(part) for part in command[side.program](side, folder, port)]
        log = folder / "log.txt"
        with open(log, "wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        with stopped(process, log, must_succeed=side.program in ("hub", "before")):
            wait_for(port, process, log)
            if side.watched:
                wait_for(self.status_port, process, log)
                # A rate counts only if the viewers were answered meanwhile.
                with watch(self.status_port) as came:
                    yield process
                if came["failures"] or not came["answers"]:
                    raise Failure(f"viewers were not served: {came}")
            else:
                yield process

    def hub_command(self, side, folder, port):
        (folder / "config.ini").write_text(
            "[DEFAULT]\n"
            f"SERVER_PORT = {port}\nSERVER_IP = 127.0.0.1\nSERVER_LISTEN_BACKLOG = {BACKLOG}\n"
            f"LOGGING_LEVEL = {side.logging}\nBIND_ADDRESS = 127.0.0.1\n"
            f"[LOTTERY]\nAGENCIES = {side.agencies}\nWINNING_NUMBER = {side.winning_number}\n"
            f"[STORAGE]\nFSYNC = {'always' if side.sync else 'never'}\n"
            f"[LIMITS]\nMAX_CONNECTIONS = {DESCRIPTORS}\n"
            f"[STATUS]\nADDRESS = {self.status_address(side)}\n"
        )
        return [self.server]

    def status_address(self, side):
        self.status_port = free_port() if side.watched else None
        return f"127.0.0.1:{self.status_port}" if side.watched else ""

    def before_command(self, side, folder, port):
        self.hub_command(side, folder, port)
        return [self.before]

    def floor_command(self, side, folder, port):
        sync = ["--sync"] if side.sync else []
        many = ["--many"] if side.connections > 1 else []
        return [self.floor, "--listen", f"127.0.0.1:{port}", "--file", folder / "bytes", *sync, *many]

    def redis_command(self, side, folder, port):
        # Rewriting the log and snapshots are off: only what an acknowledgement needs is compared.
        fsync = "always" if side.sync else "no"
        return [
            self.redis, "--bind", "127.0.0.1", "--port", port, "--dir", folder, "--save", "", "--appendonly", "yes",
            "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0", "--maxclients", DESCRIPTORS - 100,
            "--tcp-backlog", BACKLOG,
        ]  # fmt: skip

    def check(self, side, folder, port, figures, extra):
        """A rate counts only if what was acknowledged is there, to the byte or to the row."""
        if "--idle" in extra:
            return
        if side.program == "redis":
            expected, found = figures["bets"], redis_length(port)
        elif side.program == "floor":
            expected, found = figures["frame_bytes"], (folder / "bytes").stat().st_size
        else:
            expected, found = figures["row_bytes"], (folder / "bets.csv").stat().st_size
        if expected != found:
            raise Failure(f"{side}: {expected} should be stored, {found} are")


@contextlib.contextmanager
def stopped(process, log, must_succeed=True):
    """Stops a program on the way out, and checks its end."""
    try:
        yield
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
        if must_succeed and code != 0:
            raise Failure(f"the hub ended with {code}: {tail(log)}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def build():
    """Builds the hub, the generator and the floor; returns where they are, by name."""
    command = "cargo build --release --locked --bin server --bench load --bench floor --message-format json"
    done = subprocess.run(command.split(), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure("the programs do not build; see above")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def warm(folder):
    """Writes and removes a large file, so that no run pays for memory that the system has never used before.

    On a virtual machine the first use of a page costs several times what a later one does: the first run of a
    day would measure that, and only that.
    """
    pages, page = (os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE"))
    piece = bytes(4 * 1024 * 1024)
    path = folder / "warm"
    room = min(WARM_BYTES, pages * page // 2, shutil.disk_usage(folder).free // 2)
    with open(path, "wb", buffering=0) as file:
        for _ in range(room // len(piece)):
            file.write(piece)
    path.unlink()


def free_port():
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, log):
    """Returns once something listens on `port`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"{process.args[0]} ended with {process.returncode}: {tail(log)}")
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.005)
    raise Failure(f"{process.args[0]} does not listen after {START_SECONDS} s: {tail(log)}")


def tail(log):
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it printed nothing"


def redis_length(port):
    """How many rows Redis holds."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"LLEN bets\r\n")
        return int(connection.makefile("rb").readline()[1:])


def bets_file():
    """The file whose bets are sent: the course's where it is, else the project's invented ones."""
    folders = [os.environ.get("LOTERIA_DATA"), ROOT / "../shared/data", ROOT / ".data"]
    files = [pathlib.Path(folder) / "agency-1.csv" for folder in folders if folder]
    found = next((file for file in files if file.exists()), None)
    if not found:
        raise Failure("no bets to send: .data/agency-1.csv is missing")
    return found.resolve()
