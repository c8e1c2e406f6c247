"""tools/cluster.sh: three PostgreSQL nodes, of which the leader is killed while rows are written."""

import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATUS = re.compile(r"(?m)^(node\d) +(\d+) +(\S+) +(\S+)$")
MISSING = ("is not here", "there is no user postgres", "is needed to run it")


class Refusals(unittest.TestCase):
    """What needs no PostgreSQL."""

    def test_arguments_that_make_no_sense_are_refused_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            for arguments, named in [((), "usage"), (("start",), "start"), (("start", ""), "start"), (("begin", "x"), "'begin'"),
                                     (("start", "x", "y"), "'y'"), (("promote", "x", "y"), "'y'"),
                                     (("start", "a$b"), "another folder")]:
                done = subprocess.run(["sh", ROOT / "tools/cluster.sh", *arguments], cwd=folder, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
                self.assertIn(named, done.stderr)
                self.assertEqual(os.listdir(folder), [])


class Writer(threading.Thread):
    """Writes one row after another through psql, each in a transaction of its own, until the server goes away. What it was
    told is committed is in `acknowledged`."""

    def __init__(self, cluster, name):
        super().__init__()
        self.command, self.name, self.acknowledged = cluster.command("psql", "-qAt"), name, []
        self.some = threading.Event()

    def run(self):
        with subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as psql:
            try:
                for n in range(1_000_000):
                    psql.stdin.write(f"INSERT INTO written VALUES ('{self.name}', {n}) RETURNING n;\n")
                    psql.stdin.flush()
                    line = psql.stdout.readline()
                    if not line:
                        break
                    self.acknowledged.append(int(line))
                    if n == 20:
                        self.some.set()
            except BrokenPipeError:
                pass
            finally:
                self.some.set()
                psql.kill()


class Cluster(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        # The nodes run as another user where this is root, who must be able to enter the folder.
        os.chmod(holder.name, 0o711)
        self.folder = pathlib.Path(holder.name) / "three nodes"
        done = self.run_script("start")
        if any(said in done.stderr for said in MISSING):
            self.skipTest(done.stderr.strip())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.addCleanup(lambda: self.run_script("stop"))

    def command(self, command, *arguments):
        return ["sh", ROOT / "tools/cluster.sh", command, self.folder, *arguments]

    def run_script(self, command, *arguments):
        return subprocess.run(self.command(command, *arguments), capture_output=True, text=True)

    def does(self, command, *arguments):
        done = self.run_script(command, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refuses(self, command, *words):
        done = self.run_script(command)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def nodes(self):
        """What each node is, by name."""
        return {node: what for node, _, what, _ in STATUS.findall(self.does("status"))}

    def test_a_leader_is_lost_twice_and_every_row_that_was_acknowledged_is_there(self):
        ports = [port for _, port, _, _ in STATUS.findall(self.does("status"))]
        self.assertEqual((self.folder / "hosts").read_text(), "HOSTS = " + ",".join(f"127.0.0.1:{port}" for port in ports) + "\n")
        self.assertEqual(self.nodes(), {"node1": "leader", "node2": "standby", "node3": "standby"})
        self.refuses("promote", "node1 still leads", "kill-leader")
        self.does("psql", "-qc", "CREATE TABLE written (writer text, n int, PRIMARY KEY (writer, n))")
        acknowledged = set()
        for turn in range(2):
            writers = [Writer(self, f"{turn}.{i}") for i in range(3)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.some.wait()
            [leader] = [node for node, what in self.nodes().items() if what == "leader"]
            self.assertEqual(self.does("kill-leader"), f"{leader} is gone\n")
            for writer in writers:
                writer.join()
                self.assertGreater(len(writer.acknowledged), 20)
                acknowledged |= {f"{writer.name}|{n}" for n in writer.acknowledged}
            self.assertEqual(sorted(self.nodes().values()), ["ended", "standby", "standby"])
            self.refuses("kill-leader", leader, "does not run")
            self.refuses("rejoin", leader, "promote")
            self.assertRegex(self.does("promote"), r"\Anode[123] leads ")
            stored = set(self.does("psql", "-Atc", "TABLE written").split())
            self.assertEqual(acknowledged - stored, set(), "acknowledged and not there")
            self.does("rejoin")
            self.assertEqual(sorted(self.nodes().values()), ["leader", "standby", "standby"])
        self.assertEqual(self.does("psql", "-Atc", "SHOW synchronous_commit").strip(), "on")

    def test_a_commit_waits_where_no_standby_is_left_and_none_is_promoted_on_half_an_answer(self):
        for node in ("node2", "node3"):
            self.end(node)
        waits = subprocess.Popen(self.command("psql", "-qc", "CREATE TABLE alone ()"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (waits.kill(), waits.communicate()))
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        while self.does("psql", "-Atc", asked).strip() != "1":
            self.assertIsNone(waits.poll(), "it did not wait")
        self.does("kill-leader")
        self.refuses("promote", "node2 does not run", "rejoin")
        self.assertEqual(self.does("rejoin"), "node1 leads again\nnode2 follows node1\nnode3 follows node1\n")
        self.assertEqual(self.nodes(), {"node1": "leader", "node2": "standby", "node3": "standby"})
        self.does("psql", "-qc", "CREATE TABLE together ()")

    def test_a_standby_that_ended_before_the_leader_is_started_so_that_one_of_the_two_can_be_promoted(self):
        self.end("node3")
        self.does("kill-leader")
        self.refuses("promote", "node3 does not run", "rejoin")
        done = self.run_script("rejoin")
        self.assertEqual((done.returncode, done.stdout), (1, "node3 follows node1\n"), done.stderr)
        self.assertIn("promote", done.stderr)
        self.assertRegex(self.does("promote"), r"\Anode[23] leads ")
        self.assertRegex(self.does("rejoin"), r"\Anode1 follows node[23]\n\Z")
        self.assertEqual(sorted(self.nodes().values()), ["leader", "standby", "standby"])

    def one_row_without_node2(self):
        """A table of which node2 has everything but its row."""
        self.does("psql", "-qc", "CREATE TABLE written (n int)")
        self.as_node("truncate", "--size=0", self.folder / "node2/data/follow.conf")
        self.signal("node2", "HUP")
        receivers = "SELECT count(*) FROM pg_stat_replication"
        while self.does("psql", "-Atc", receivers).strip() != "1":
            pass
        self.does("psql", "-qc", "INSERT INTO written VALUES (1)")

    def test_the_standby_that_is_ahead_is_promoted_whatever_its_number(self):
        self.one_row_without_node2()
        self.does("kill-leader")
        self.assertRegex(self.does("promote"), r"\Anode3 leads ")
        self.assertEqual(self.does("psql", "-Atc", "TABLE written"), "1\n")

    def test_a_standby_that_is_ahead_is_promoted_also_where_it_was_started_anew(self):
        self.one_row_without_node2()
        self.end("node3")
        self.does("kill-leader")
        self.assertEqual(self.run_script("rejoin").stdout, "node3 follows node1\n")
        self.assertRegex(self.does("promote"), r"\Anode3 leads ")
        self.assertEqual(self.does("psql", "-Atc", "TABLE written"), "1\n")

    def as_node(self, *command):
        """Runs a command as the user of the nodes: what it printed, or nothing where it failed."""
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        return subprocess.run([*user, *command], capture_output=True, text=True).stdout.strip()

    def signal(self, node, name):
        """Sends a signal to a node's first process."""
        self.as_node("kill", f"-{name}", self.as_node("head", "-n", "1", self.folder / node / "data/postmaster.pid"))

    def end(self, node):
        self.signal(node, "QUIT")
        while self.nodes()[node] != "ended":
            pass

    def test_what_is_there_is_not_overwritten_and_nothing_is_left_at_the_end(self):
        done = self.run_script("start")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))
        self.assertIn("not empty", done.stderr)
        self.assertEqual(self.does("stop"), "")
        self.assertFalse(self.folder.exists())
        done = self.run_script("stop")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        mine = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if str(self.folder).encode() in read(path)]
        self.assertEqual(mine, [])


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    unittest.main()
