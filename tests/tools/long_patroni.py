"""The settings of docs/CLUSTER.md under failures that only Patroni decides: a leader's server is killed, a leader is paused.

Rows are written through psql, each in a transaction of its own, and bets are uploaded through two hubs. What was acknowledged must
be there at the end, when the old leader is back. A Patroni that loses acknowledged rows after a pause (3.0.2 on etcd v3) fails here.
"""

import os
import pathlib
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import hub
from patroni_nodes import Cluster, Missing, postgres_bin

SILENCE_SECONDS_MAX = 3
PAUSE_SECONDS = 40
# The bars are 8 and 30 s on a machine that does nothing else.
KILLED_SECONDS_MAX, PAUSED_SECONDS_MAX = 30, 60


class Writer(threading.Thread):
    """Writes rows until it is told to stop, at whichever node leads. `acknowledged` has when each one was."""

    def __init__(self, cluster, name):
        super().__init__()
        self.cluster, self.name, self.acknowledged, self.stopping, self.next = cluster, name, {}, threading.Event(), 0

    def run(self):
        while not self.stopping.is_set():
            command = [postgres_bin() / "psql", "-XqAt", self.cluster.conninfo()]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as psql:
                try:
                    while not self.stopping.is_set() and self.write(psql):
                        pass
                except BrokenPipeError:
                    pass
                psql.kill()

    def write(self, psql):
        """One row. Whether it was acknowledged; a row in doubt is not written again."""
        n, self.next = self.next, self.next + 1
        psql.stdin.write(f"INSERT INTO written VALUES ('{self.name}', {n}) RETURNING n;\n".encode())
        psql.stdin.flush()
        ready, _, _ = select.select([psql.stdout], [], [], SILENCE_SECONDS_MAX)
        if not ready or psql.stdout.readline().strip() != str(n).encode():
            return False
        self.acknowledged[n] = time.monotonic()
        return True


class Agency(threading.Thread):
    """Uploads bets in `binary`, one a batch, through one hub, and through the other where that one does not serve it."""

    BATCH, FINISHED, QUERY = 1, 2, 3

    def __init__(self, number, addresses):
        super().__init__()
        self.number, self.addresses, self.acknowledged, self.stopping, self.next = number, addresses, {}, threading.Event(), 0
        self.sent, self.winners = [], None

    def run(self):
        while self.winners is None:
            host, port = self.addresses[0].rsplit(":", 1)
            try:
                with socket.create_connection((host, int(port)), SILENCE_SECONDS_MAX) as link:
                    # The hub keeps the connection while it looks for the leader.
                    link.settimeout(hub.PATIENCE_SECONDS)
                    self.upload(link)
            except OSError:
                self.addresses = self.addresses[1:] + self.addresses[:1]

    def upload(self, link):
        while not self.stopping.is_set():
            document, self.next = self.number * 10_000_000 + self.next, self.next + 1
            self.sent.append(document)
            body = struct.pack(">III3sI3sIII", self.number, 1, 3, b"Ana", 3, b"Paz", document, 19990317, 7574)
            if self.ask(link, self.BATCH, body) == b"\0":
                self.acknowledged[document] = time.monotonic()
        agency = struct.pack(">I", self.number)
        self.ask(link, self.FINISHED, agency)
        if self.ask(link, self.QUERY, agency) == b"\0":
            (count,) = struct.unpack(">I", self.exactly(link, 4))
            self.winners = list(struct.unpack(f">{count}I", self.exactly(link, 4 * count)))

    def ask(self, link, kind, body):
        link.sendall(struct.pack(">II", kind, len(body)) + body)
        return self.exactly(link, 1)

    @staticmethod
    def exactly(link, count):
        answer = b""
        while len(answer) < count:
            if not (more := link.recv(count - len(answer))):
                raise ConnectionResetError("the hub has closed the connection")
            answer += more
        return answer


class Patroni(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        os.chmod(holder.name, 0o711)
        self.cluster = Cluster(pathlib.Path(holder.name) / "nodes")
        try:
            self.cluster.start()
        except Missing as missing:
            self.skipTest(str(missing))
        self.addCleanup(self.cluster.stop)
        self.cluster.ask("CREATE TABLE written (writer text, n int, PRIMARY KEY (writer, n))", "loteria")
        self.writers = [Writer(self.cluster, f"w{i}") for i in range(3)]
        self.hubs = [self.hub(), self.hub()]
        addresses = [hub.address for hub in self.hubs]
        self.agencies = [Agency(1, addresses), Agency(2, addresses[::-1])]
        for writer in self.writers + self.agencies:
            writer.start()
        self.addCleanup(self.end_writers)

    def hub(self):
        hub.build()
        schema = subprocess.run([hub.PROGRAMS / "server", "--schema"], capture_output=True, check=True, text=True).stdout
        if not self.cluster.ask("SELECT 1 FROM pg_namespace WHERE nspname = 'loteria'", "loteria"):
            self.cluster.ask(schema, "loteria")
        hosts = (self.cluster.folder / "hosts").read_text().strip().removeprefix("HOSTS = ")
        started = hub.Hub(2, STORAGE_ENGINE="postgres", POSTGRES_HOSTS=hosts, POSTGRES_TLS="off", LIMITS_DIALECTS="binary",
                          POSTGRES_PASSWORD_FILE=str(self.cluster.folder / "password"))
        self.addCleanup(started.close)
        return started

    def end_writers(self):
        for writer in self.writers + self.agencies:
            writer.stopping.set()
        for writer in self.writers + self.agencies:
            writer.join()

    @staticmethod
    def acknowledged_after(moment, writers):
        return [when for writer in writers for when in list(writer.acknowledged.values()) if when > moment]

    def lost(self):
        """What was acknowledged before, and is not there."""
        acknowledged = {f"{writer.name}|{n}" for writer in self.writers for n in list(writer.acknowledged)}
        acknowledged |= {str(document) for agency in self.agencies for document in list(agency.acknowledged)}
        self.assertGreater(len(acknowledged), 100)
        stored = self.cluster.ask("TABLE written", "loteria") + self.cluster.ask("SELECT document FROM loteria.bets", "loteria")
        return acknowledged - set(stored.split())

    def another_leads(self, old, what):
        """Waits until rows and bets are acknowledged again, and says how long there were none."""
        began = time.monotonic()
        self.cluster.wait(lambda: self.cluster.leader() not in (None, old), f"no leader but node{old}")
        changed, pauses = time.monotonic(), []
        for writers, kind in ((self.writers, "rows"), (self.agencies, "bets")):
            self.cluster.wait(lambda: self.acknowledged_after(changed, writers), f"no {kind} acknowledged")
            pauses.append(min(self.acknowledged_after(changed, writers)) - began)
        print(f"{what}: {pauses[0]:.1f} s without a row, {pauses[1]:.1f} s without a bet acknowledged", flush=True)
        return max(pauses)

    def check_the_draw(self):
        """Both agencies have all that is stored of them, and nothing is stored that they did not send."""
        for agency in self.agencies:
            stored = self.cluster.ask(f"SELECT document FROM loteria.bets WHERE agency = {agency.number}", "loteria").split()
            # A batch in doubt is not sent again by this client, so that nothing is stored twice.
            self.assertEqual(len(stored), len(set(stored)))
            self.assertEqual(sorted(map(int, stored)), sorted(agency.winners))
            self.assertLessEqual(set(map(int, stored)), set(agency.sent))
        self.assertEqual(self.cluster.ask("SELECT count(*) FROM loteria.draws WHERE drawn_at IS NOT NULL AND held IS NULL", "loteria").strip(), "1")

    def test_nothing_is_lost_when_a_leader_is_killed_and_when_one_is_paused_and_goes_on(self):
        for writers in (self.writers, self.agencies):
            self.cluster.wait(lambda: len(self.acknowledged_after(0, writers)) > 100, "no rows or no bets")
        with self.subTest("killed"):
            old = self.cluster.leader()
            self.cluster.kill(old)
            self.assertLess(self.another_leads(old, "leader's server killed"), KILLED_SECONDS_MAX)
            self.cluster.wait(self.cluster.whole, "the old leader does not come back")
            self.assertEqual(self.lost(), set())
        with self.subTest("paused"):
            old, began = self.cluster.leader(), time.monotonic()
            self.cluster.pause(old)
            self.assertLess(self.another_leads(old, "leader paused"), PAUSED_SECONDS_MAX)
            # It has to have been away for longer than its lease, and the new one to have acknowledged a lot by then.
            while time.monotonic() < began + PAUSE_SECONDS:
                time.sleep(0.1)
            self.cluster.resume(old)
            self.cluster.wait(self.cluster.whole, "the old leader does not come back")
            time.sleep(2 * 2)  # loop_wait, twice: what Patroni would do to the new leader it has done by then
            self.cluster.wait(self.cluster.whole, "not one leader with two standbys")
            self.end_writers()
            self.assertEqual(self.lost(), set())
            self.check_the_draw()


if __name__ == "__main__":
    unittest.main()
