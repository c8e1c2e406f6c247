"""Three PostgreSQL nodes by tools/cluster.sh, hubs that share a draw on them, and the load on these hubs."""

import contextlib
import dataclasses
import glob
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import jetstream
import quota
from programs import BACKLOG, DESCRIPTORS, ROOT, Failure, Side, free_port, stopped, wait_for

SCRIPT = ROOT / "tools/cluster.sh"
NODES = (1, 2, 3)
CATCH_UP_SECONDS = 120
# The most bets of a run, but for the long one's: 2 GB in files, and 3 times as much and the log in three nodes.
BETS_MAX = 40_000_000
# What docs/CLUSTER.md has in Patroni's configuration, in sizes for one machine with three nodes: the log's segments are
# used again, and no checkpoint comes by time. A log that is kept longer leaves none to use again.
SETTINGS = {"max_wal_size": "2GB", "min_wal_size": "1GB", "wal_keep_size": "256MB", "checkpoint_timeout": "15min"}
# So little of a processor that a hub, not the nodes, bounds the rate also on a small machine.
SLOW_PART = 0.04
# As much of the log as there are segments to use again, in pieces of 1 MiB: making new ones costs half the throughput.
WARM_PIECES = 1300


@dataclasses.dataclass(frozen=True)
class Shared(Side):
    """Hubs that share one draw, whether their commits wait for a standby, and the part of a processor that each hub gets."""

    protocol: str = "native"
    hubs: int = 1
    waits: bool = True
    part: float | None = None


def missing():
    """What the nodes need and is not here, in words; None: nothing."""
    places = "/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb"
    if shutil.which("initdb") or any(glob.glob(place) for place in places):
        return None
    return "PostgreSQL is not installed (Debian's package is postgresql)"


class Cluster:
    """The nodes, from the start of the comparisons to their end; a draw of its own for each run."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        self.draw, self.waits = 0, True
        self.password = (folder / "password").read_text().strip()
        self.hosts = (folder / "hosts").read_text().strip()
        self.leader = (folder / "leader").read_text().strip()
        self.psql = newest_psql()
        for node in NODES:
            for name, value in SETTINGS.items():
                self.ask(f"ALTER SYSTEM SET {name} = '{value}'", node)
            self.ask("SELECT pg_reload_conf()", node)
        schema = subprocess.run([programs.server, "--schema"], capture_output=True, text=True, check=True).stdout
        self.ask(schema)
        self.ask(f"SELECT count(pg_logical_emit_message(false, '', repeat('x', 1 << 20))) FROM generate_series(1, {WARM_PIECES})")

    def ask(self, text, node=None):
        """What a node answers to SQL, the leader if none is named: a list of rows, each a list of texts."""
        port = (self.folder / f"port{node or self.leader}").read_text().strip()
        # Statements that cannot run in a transaction come alone, the others are read from the input.
        command = [self.psql, "-XqAt", "-F", "|", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-d", "loteria"]
        environment = os.environ | {"PGPASSWORD": self.password}
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise Failure(f"node {node or self.leader}: {done.stderr.strip()}")
        return [line.split("|") for line in done.stdout.splitlines()]

    def version(self):
        """PostgreSQL's, as people write it."""
        return self.ask("SHOW server_version")[0][0].split()[0]

    def run(self, side, bets, extra=()):
        """Loads hubs that were started on an empty draw, checks what is stored, and returns the generator's figures."""
        self.begin(side)
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.programs.directory) as folder, contextlib.ExitStack() as hubs:
            ports, processes = [], []
            for hub in range(side.hubs):
                place = pathlib.Path(folder) / str(hub)
                place.mkdir()
                ports.append(free_port())
                processes.append(hubs.enter_context(self.hub(side, place, ports[-1])))
            before = self.processor_seconds()
            figures = self.programs.loaded(side, bets, ports, processes, extra)
            nodes = self.processor_seconds() - before
        figures["nodes_cpu_ns_per_bet"] = nodes * 1e9 / figures["bets"]
        self.check(side, figures)
        return figures

    def begin(self, side):
        """An empty draw, standbys that have everything, and no checkpoint due: each run begins alike."""
        self.draw += 1
        if side.waits != self.waits:
            change = "RESET synchronous_standby_names" if side.waits else "SET synchronous_standby_names = ''"
            self.ask(f"ALTER SYSTEM {change}")
            self.ask("SELECT pg_reload_conf()")
            self.waits = side.waits
        self.ask("TRUNCATE loteria.batches")
        self.ask("CHECKPOINT")
        deadline = time.monotonic() + CATCH_UP_SECONDS
        behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_flush_lsn()"
        while int(self.ask(behind)[0][0]) < len(NODES) - 1:
            if time.monotonic() > deadline:
                raise Failure(f"the standbys are still behind after {CATCH_UP_SECONDS} s; see {self.folder}/node*/log")
            time.sleep(0.05)
        for node in NODES:
            self.ask("CHECKPOINT", node)

    @contextlib.contextmanager
    def hub(self, side, folder, port):
        """One hub, listening on `port`."""
        (folder / "config.ini").write_text(
            "[DEFAULT]\n"
            f"SERVER_PORT = {port}\nSERVER_IP = 127.0.0.1\nSERVER_LISTEN_BACKLOG = {BACKLOG}\n"
            f"LOGGING_LEVEL = {side.logging}\nBIND_ADDRESS = 127.0.0.1\n"
            f"[LOTTERY]\nAGENCIES = {side.agencies}\nWINNING_NUMBER = {side.winning_number}\nDRAW = {self.draw}\n"
            "[STORAGE]\nENGINE = postgres\n"
            f"[POSTGRES]\n{self.hosts}\nDATABASE = loteria\nUSER = loteria\nPASSWORD_FILE = {self.folder}/password\n"
            f"TLS = off\nREPLICAS = {'required' if side.waits else 'none'}\n"
            f"[LIMITS]\nMAX_CONNECTIONS = {DESCRIPTORS}\nDIALECTS = {side.protocol}\n"
        )
        log = folder / "log.txt"
        with quota.group(side.part) if side.part else contextlib.nullcontext() as group:
            with open(log, "wb") as output:
                process = subprocess.Popen([self.programs.server], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
            with stopped(process, log):
                wait_for(port, process, log)
                if group:
                    quota.enter(group, process)
                yield process

    def processor_seconds(self):
        """Processor time of all nodes so far: their processes, and those that have ended."""
        tick = os.sysconf("SC_CLK_TCK")
        firsts = [int(lines(self.folder / f"node{node}/data/postmaster.pid")[0]) for node in NODES]
        total = 0
        for first in firsts:
            # utime, stime, and of the children that have ended cutime, cstime (proc(5)).
            total += sum(stat(first)[11:15])
            children = lines(pathlib.Path(f"/proc/{first}/task/{first}/children"))
            for child in " ".join(children).split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    total += sum(stat(int(child))[11:13])
        return total / tick

    def check(self, side, figures):
        """A rate counts only if what was acknowledged is there, to the byte; adds how many batches a turn has carried."""
        question = (
            "SELECT coalesce(sum(bets), 0), coalesce(sum(octet_length(rows)), 0), count(*), count(DISTINCT (instance, turn)), "
            f"(SELECT coalesce(sum(bets), 0) FROM loteria.agencies WHERE draw = {self.draw}) FROM loteria.batches WHERE draw = {self.draw}"
        )
        bets, size, batches, turns, counted = (int(value) for value in self.ask(question)[0])
        expected = figures["bets"], figures["row_bytes"], figures["bets"]
        if (bets, size, counted) != expected:
            raise Failure(f"{side}: bets, bytes and bets counted should be {expected}, and are {(bets, size, counted)}")
        figures["batches_per_turn"] = batches / turns


@contextlib.contextmanager
def cluster(programs):
    """Three nodes in a folder of their own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="nodes-", dir=programs.directory) as outer:
        # The nodes may run as another user, who has to come past here.
        os.chmod(outer, 0o711)
        folder = pathlib.Path(outer) / "nodes"
        done = script("start", folder)
        if done.returncode != 0:
            raise Failure(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "tools/cluster.sh start fails")
        try:
            yield Cluster(programs, folder)
        finally:
            script("stop", folder)


def script(command, folder):
    return subprocess.run(["sh", SCRIPT, command, folder], capture_output=True, text=True, check=False)


def newest_psql():
    found = glob.glob("/usr/lib/postgresql/*/bin/psql") + glob.glob("/usr/pgsql-*/bin/psql")
    number = lambda path: int("".join(digit for digit in pathlib.Path(path).parts[-3] if digit.isdigit()) or 0)
    path = max(found, key=number, default=shutil.which("psql"))
    if not path:
        raise Failure("psql is not installed (Debian's package is postgresql-client)")
    return path


def lines(path):
    return path.read_text().splitlines()


def stat(pid):
    """The numbers of /proc/PID/stat behind the program's name and the state: the first is the parent's."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *(int(field) for field in fields[1:])]


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is asked for of a figure: `least` or `most`, in the figure's unit."""

    figure: str
    least: float | None = None
    most: float | None = None

    def text(self):
        """As the table has it."""
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        if self.figure == "ack_p50_us":
            return f"p50 ≤ {self.most / 1000:g} ms"
        known = {"million_bets_per_second": f"{bound} M bets/s", "server_cpu_ns_per_bet": f"{bound} ns", "ratio": f"ratio {bound}"}
        return known[self.figure]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A load on hubs with PostgreSQL, what it is compared with, and what is asked for. A long one runs longer than asked for."""

    key: str
    what: str
    other: str
    hub: Shared
    against: Side
    goals: tuple = ()
    times: float = 1.0


def pairs():
    """Every comparison, in the order in which they are shown."""
    five, six = {"connections": 5, "agencies": 5}, {"connections": 6, "agencies": 6}
    files = lambda load: Side(sync=True, protocol="native", **load)
    rate = lambda least: Goal("million_bets_per_second", least=least)
    ratio = lambda least: (Goal("ratio", least=least),)
    one, many = {"window": 1}, {"window": 1, "connections": 64, "agencies": 64}
    window = (rate(0.8), Goal("server_cpu_ns_per_bet", most=130))
    stream = Side("jetstream", protocol="jetstream", **five)
    slow = lambda hubs: Shared(hubs=hubs, part=SLOW_PART, **six)
    slowly = f"each on {SLOW_PART:.0%} of a processor"
    return [
        Pair("hub", "one hub, five agencies, 64 in flight", "files, `always`", Shared(**five), files(five), window),
        Pair("jetstream", "one hub, five agencies, 64 in flight", "JetStream R3, `sync_interval: always`", Shared(**five), stream, ratio(1.0)),
        Pair("long", "one hub, five agencies, 64 in flight, 15 times as long", "a short run", Shared(**five), Shared(**five), (rate(0.8),), 15),
        Pair("standbys", "one hub, five agencies, a standby waited for", "not waited for", Shared(**five), Shared(waits=False, **five), ratio(0.9)),
        Pair("two", "two hubs, six agencies, 64 in flight", "one hub", Shared(hubs=2, **six), Shared(**six), ratio(1.2)),
        Pair("three", "three hubs, six agencies, 64 in flight", "one hub", Shared(hubs=3, **six), Shared(**six), ratio(1.3)),
        Pair("two-slow", f"two hubs, six agencies, 64 in flight, {slowly}", "one such hub", slow(2), slow(1), ratio(1.2)),
        Pair("three-slow", f"three hubs, six agencies, 64 in flight, {slowly}", "one such hub", slow(3), slow(1), ratio(1.3)),
        Pair("lockstep", "one hub, one agency in lockstep", "files, `always`", Shared(**one), files(one), (Goal("ack_p50_us", most=2000),)),
        Pair("lockstep-64", "one hub, 64 agencies in lockstep", "files, `always`", Shared(**many), files(many), (rate(0.5),)),
    ]


def chosen(only, say):
    """The comparisons with these keys that can be made here, or all; says which cannot, and why."""
    found = [pair for pair in pairs() if not only or pair.key in only.split(",")]
    needs = (
        (jetstream.missing, lambda pair: pair.against.program == "jetstream", "the comparison with JetStream is"),
        (quota.missing, lambda pair: pair.hub.part, "the comparisons of slow hubs are"),
    )
    for missing, needed, what in needs:
        reason = missing() if any(map(needed, found)) else None
        if reason:
            say(f"{reason}: {what} left out")
            found = [pair for pair in found if not needed(pair)]
    return found


class Measured:
    """What came of a comparison: the ratio of each pair of neighbours, and both sides' runs."""

    def __init__(self, pair):
        self.pair, self.ratios, self.hub, self.against = pair, [], [], []

    def values(self, side, name):
        """A figure of every run of a side, or every ratio."""
        runs = self.hub if side == "hub" else self.against
        return self.ratios if name == "ratio" else [run[name] for run in runs if name in run]


@contextlib.contextmanager
def opponent(nodes, side):
    """What runs the other side of a comparison."""
    if side.program == "jetstream":
        with jetstream.nodes(nodes.programs) as streams:
            yield streams
    else:
        yield nodes if isinstance(side, Shared) else nodes.programs


def measure(nodes, pair, rounds, seconds, say):
    """Runs both sides in turns, each first in every other round, for about `seconds` a run."""
    with opponent(nodes, pair.against) as other:
        result = alternate(pair, (nodes.run, other.run), rounds, seconds)
    rates = [statistics.median(result.values(side, "million_bets_per_second")) for side in ("hub", "against")]
    say(f"{pair.what}: {rates[0]:.2f} M bets/s, {statistics.median(result.ratios):.2f} of {pair.other} ({rates[1]:.2f})")
    return result


def alternate(pair, runners, rounds, seconds):
    """What both sides' runs in turns have measured."""
    sides = [pair.hub, pair.against]
    sizes = [calibrated(run, side, seconds) for run, side in zip(runners, sides, strict=True)]
    # Both sides do the same work; files would be through with it at once.
    if isinstance(pair.against, Shared) or pair.against.program == "jetstream":
        sizes = [max(sizes)] * len(sizes)
    sizes[0] = int(sizes[0] * pair.times)
    result = Measured(pair)
    for number in range(rounds):
        runs = [None, None]
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            runs[which] = runners[which](sides[which], sizes[which])
        result.hub.append(runs[0])
        result.against.append(runs[1])
        result.ratios.append(runs[0]["million_bets_per_second"] / runs[1]["million_bets_per_second"])
    return result


def calibrated(run, side, seconds):
    """How many bets take about `seconds`, as far as modest disks have space for them."""
    bets = side.smallest()
    while True:
        took = run(side, bets)["seconds"]
        if took >= seconds / 8 or bets >= BETS_MAX:
            return max(side.smallest(), min(BETS_MAX, int(bets * seconds / took)))
        bets = min(BETS_MAX, int(bets * min(16, max(2, seconds / 4 / max(took, 1e-3)))))
