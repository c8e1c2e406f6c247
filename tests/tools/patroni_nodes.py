"""Three PostgreSQL nodes under Patroni and etcd on loopback, for tests, in one folder that is removed at the end.

    patroni_nodes.py start FOLDER     prints HOSTS = address:port,... when there is a leader with two standbys
    patroni_nodes.py leader FOLDER    its number, 1 to 3
    patroni_nodes.py kill FOLDER N    SIGKILL to the server of node N; its Patroni stays
    patroni_nodes.py pause FOLDER N   SIGSTOP to all of node N, as a virtual machine that is moved
    patroni_nodes.py resume FOLDER N
    patroni_nodes.py stop FOLDER

FOLDER then has hosts and password as those of tools/cluster.sh. Where something is missing, `start` says so and ends with 69.
"""

import contextlib
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATRONI = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "patroni"
NODES = (1, 2, 3)
SECONDS_MAX = 120  # only ever reached by a failure

# As docs/CLUSTER.md has them, with less log.
DCS = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3, "primary_start_timeout": 0, "synchronous_mode": "quorum",
       "synchronous_mode_strict": True, "synchronous_node_count": 1, "maximum_lag_on_failover": 0,
       "postgresql": {"use_pg_rewind": True, "parameters": {
           "synchronous_commit": "on", "wal_keep_size": "1GB", "max_wal_size": "1GB", "max_connections": 60,
           "wal_receiver_timeout": "5s", "wal_sender_timeout": "5s"}}}


class Missing(Exception):
    """What this machine lacks."""


def user():
    """What stands before a command to run it as the user of the nodes: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise Missing("setpriv (package util-linux) is not here, and PostgreSQL refuses to run as root")
    if subprocess.run(["id", "postgres"], capture_output=True).returncode != 0:
        raise Missing("there is no user postgres (package postgresql)")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def postgres_bin():
    """The newest PostgreSQL of Debian's, or the one in the path."""
    found = [path.parent for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = sorted((path for path in found if int(path.parent.name) >= 14), key=lambda path: int(path.parent.name))
    if not found and (initdb := shutil.which("initdb")):
        found = [pathlib.Path(initdb).parent]
    if not found:
        raise Missing("PostgreSQL 14 or newer is not here (package postgresql)")
    return found[-1]


def python():
    """An interpreter with Patroni that the user of the nodes can run."""
    environment = {"PYTHONPATH": str(PATRONI), "PATH": os.environ["PATH"]}
    for interpreter in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            # Behind env, because what setpriv itself runs may still open what only root may.
            done = subprocess.run([*user(), "env", interpreter, "-c", "import patroni, psycopg, etcd, yaml"], env=environment,
                                  capture_output=True, cwd="/")
            if done.returncode == 0:
                return interpreter
    raise Missing(f"Patroni is not here: python3 -m pip install --target {PATRONI} --requirement tools/patroni.txt")


def free_ports(count):
    """Ports that nothing listens on now, below those that the system gives out."""
    ports, held = [], []
    for port in random.sample(range(20000, 32000), 12000):
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        held.append(probe)
        ports.append(port)
        if len(ports) == count:
            break
    for probe in held:
        probe.close()
    return ports


def processes(pid):
    """A process and those that it started, if it runs."""
    with contextlib.suppress(OSError):
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid] + [found for child in children for found in processes(int(child))]
    return []


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Cluster:
    """The nodes in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.started = []

    def start(self):
        """Makes the nodes, and waits until one leads and two follow."""
        user(), postgres_bin(), python()
        if not shutil.which("etcd"):
            raise Missing("etcd is not here (package etcd-server)")
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o711)
        password, ports = secrets.token_hex(16), free_ports(12)
        (self.folder / "password").touch(0o600)
        (self.folder / "password").write_text(password + "\n")
        (self.folder / "state.json").write_text(json.dumps({"ports": ports, "pids": {}}))
        (self.folder / "hosts").write_text("HOSTS = " + ",".join(f"127.0.0.1:{self.ports(n)['postgres']}" for n in NODES) + "\n")
        try:
            for n in NODES:
                node = self.folder / f"node{n}"
                node.mkdir(mode=0o700)
                self.configuration(n, password)
                if os.getuid() == 0:
                    for path in (node, node / "patroni.yml"):
                        shutil.chown(path, "postgres", "postgres")
            for n in NODES:
                self.run(n, "etcd", self.etcd(n))
            for n in NODES:
                self.run(n, "patroni", [python(), "-m", "patroni", self.folder / f"node{n}/patroni.yml"])
            self.wait(self.whole, "no leader with two standbys")
            self.ask(f"CREATE ROLE loteria LOGIN PASSWORD '{password}'")
            self.ask("CREATE DATABASE loteria")
        except BaseException:
            print(self.last_words(), file=sys.stderr)
            self.stop()
            raise

    def ports(self, n):
        ports = json.loads((self.folder / "state.json").read_text())["ports"]
        return dict(zip(("postgres", "rest", "client", "peer"), ports[(n - 1) * 4:n * 4]))

    def configuration(self, n, password):
        """Patroni's file. It is JSON, which is YAML."""
        ports = self.ports(n)
        node = self.folder / f"node{n}"
        login = {"username": "postgres", "password": password}
        (node / "patroni.yml").write_text(json.dumps({
            "scope": "loteria", "name": f"node{n}",
            "restapi": {"listen": f"127.0.0.1:{ports['rest']}", "connect_address": f"127.0.0.1:{ports['rest']}"},
            "etcd3": {"hosts": [f"127.0.0.1:{self.ports(i)['client']}" for i in NODES]},
            "bootstrap": {"dcs": DCS, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"]},
            "postgresql": {
                "listen": f"127.0.0.1:{ports['postgres']}", "connect_address": f"127.0.0.1:{ports['postgres']}",
                "data_dir": str(node / "data"), "bin_dir": str(postgres_bin()), "pgpass": str(node / "pgpass"),
                "authentication": {"superuser": login, "replication": login, "rewind": login},
                "parameters": {"unix_socket_directories": "", "password_encryption": "scram-sha-256"},
                "pg_hba": ["host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]},
            "watchdog": {"mode": "off"}}, indent=1))

    def etcd(self, n):
        client, peer = (f"http://127.0.0.1:{self.ports(n)[name]}" for name in ("client", "peer"))
        peers = ",".join(f"node{i}=http://127.0.0.1:{self.ports(i)['peer']}" for i in NODES)
        return ["etcd", "--name", f"node{n}", "--data-dir", self.folder / f"node{n}/etcd", "--initial-cluster", peers,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--listen-client-urls", client,
                "--advertise-client-urls", client, "--log-level", "warn",
                # As many nodes as this share one disk here, and a test's data need not survive a power cut.
                "--heartbeat-interval", "250", "--election-timeout", "2500", "--unsafe-no-fsync"]

    def run(self, n, name, command):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PATRONI), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        with open(self.folder / f"{name}{n}.log", "ab") as log:
            running = subprocess.Popen([*user(), *map(str, command)], cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, start_new_session=True)
        self.started.append(running)
        state = json.loads((self.folder / "state.json").read_text())
        state["pids"][f"{name}{n}"] = running.pid
        (self.folder / "state.json").write_text(json.dumps(state))

    def pids(self, n, name):
        """A node's processes of one kind. A number may be another program's by now, so its command line is looked at."""
        if name == "postgres":
            try:
                pid = int((self.folder / f"node{n}/data/postmaster.pid").read_text().split()[0])
            except (OSError, ValueError, IndexError):
                return []
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd") == str(self.folder / f"node{n}/data"):
                    return processes(pid)
            return []
        pid = json.loads((self.folder / "state.json").read_text())["pids"].get(f"{name}{n}")
        with contextlib.suppress(OSError):
            if pid and str(self.folder / f"node{n}").encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                return [pid]
        return []

    def members(self):
        """What Patroni says of each node, by its number, from any of them that answers."""
        for n in NODES:
            with contextlib.suppress(OSError, ValueError, urllib.error.URLError):
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports(n)['rest']}/cluster", timeout=2) as answer:
                    return {int(member["name"][4:]): member for member in json.load(answer)["members"]}
        return {}

    def leader(self):
        """The number of the node that leads and runs, or None."""
        leaders = [n for n, member in self.members().items() if member["role"] == "leader" and member["state"] == "running"]
        return leaders[0] if leaders else None

    def whole(self):
        """Whether one leads and the others follow it."""
        members = self.members().values()
        states = sorted((member["role"] == "leader", member["state"]) for member in members)
        return (states == [(False, "streaming")] * 2 + [(True, "running")] and len({member.get("timeline") for member in members}) == 1
                and sum(member["role"] == "quorum_standby" for member in members) == 2)

    def wait(self, condition, otherwise):
        deadline = time.monotonic() + SECONDS_MAX
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise} within {SECONDS_MAX} s: {self.members()}")
            time.sleep(0.1)
        return found

    def conninfo(self, database="loteria"):
        """Of the leader, whichever that is."""
        ports = ",".join(str(self.ports(n)["postgres"]) for n in NODES)
        password = (self.folder / "password").read_text().strip()
        return (f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports} user=postgres password={password} dbname={database} connect_timeout=2 "
                "target_session_attrs=read-write")

    def ask(self, sql, database="postgres"):
        """What the leader answers. While none takes connections, as where a busy machine makes Patroni elect another, it is asked again."""
        command = [postgres_bin() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, self.conninfo(database)]

        def answer():
            said = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            return said if said.returncode != 2 else None  # psql's code for a connection that cannot be had, or is lost

        said = self.wait(answer, "no leader takes connections")
        if said.returncode:
            raise RuntimeError(f"psql: {said.stderr.strip()}")
        return said.stdout

    def kill(self, n):
        pids = self.pids(n, "postgres")
        send(pids[:1], signal.SIGSTOP)  # so that it starts no others
        send(self.pids(n, "postgres"), signal.SIGKILL)

    def pause(self, n):
        for name in ("patroni", "postgres", "etcd"):
            send(self.pids(n, name), signal.SIGSTOP)

    def resume(self, n):
        for name in ("etcd", "postgres", "patroni"):
            send(self.pids(n, name), signal.SIGCONT)

    def stop(self):
        for n in NODES:
            self.resume(n)
            send(self.pids(n, "patroni"), signal.SIGKILL)
        for n in NODES:
            self.kill(n)
            send(self.pids(n, "etcd"), signal.SIGKILL)
        for running in self.started:
            running.wait()
        deadline = time.monotonic() + 10
        while any(self.pids(n, name) for n in NODES for name in ("patroni", "postgres", "etcd")) and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.folder)

    def last_words(self):
        return "\n".join(f"{path.name}: {line}" for path in sorted(self.folder.glob("*.log"))
                         for line in path.read_text(errors="replace").splitlines()[-5:])


def main(arguments):
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    command, *rest = arguments or [""]
    takes = {"start": 1, "leader": 1, "stop": 1, "kill": 2, "pause": 2, "resume": 2}
    if command not in takes or len(rest) != takes[command] or rest[1:] not in ([], ["1"], ["2"], ["3"]):
        print(f"patroni_nodes: '{' '.join(arguments)}' is not understood; see patroni_nodes.py -h", file=sys.stderr)
        return 2
    cluster = Cluster(rest[0])
    warnings.simplefilter("ignore", ResourceWarning)  # the nodes live on
    try:
        said = getattr(cluster, command)(*map(int, rest[1:]))
    except (Missing, TimeoutError, OSError) as error:
        print(f"patroni_nodes: {error}", file=sys.stderr)
        return 69 if isinstance(error, Missing) else 1
    if command == "start":
        print((cluster.folder / "hosts").read_text(), end="")
    elif command == "leader":
        print(said or "none")
        return 0 if said else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
