"""What `tools/bench` writes: a table, a picture that is one, and nothing outside its markers."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/bench"))

import cluster  # noqa: E402
import comparisons  # noqa: E402
import jetstream  # noqa: E402
import quota  # noqa: E402
import report  # noqa: E402

MACHINE = {
    "cores": 2, "processor": "some", "kernel": "6.1", "filesystem": "ext4", "fdatasync_us": 1234, "commit": "abc",
    "redis": None, "data": "the bets of `.data`", "date": "2026-01-01", "command": "make bench",
}  # fmt: skip


def run(rate, **more):
    figures = {"server_cpu_ns_per_bet": 40.0, "load_cpu_ns_per_bet": 6.0, "ack_p50_us": 100.0, "ack_p99_us": 2500.0}
    return {"million_bets_per_second": rate, **figures, **more}


def result(comparison, rates):
    ratios = [hub / other for hub, other in rates]
    hub, against = [run(hub) for hub, _ in rates], [run(other) for _, other in rates]
    return comparisons.Result(comparison, ratios, hub, against)


class Report(unittest.TestCase):
    def setUp(self):
        known = {comparison.key: comparison for comparison in comparisons.comparisons()}
        self.results = [
            result(known["window"], [(18, 20), (30, 20), (19, 20)]),
            result(known["redis-thousand-always"], [(12, 2)]),
        ]
        self.held = (
            {"small": 10, "large": 1000, "small_kib": 4000, "large_kib": 4100},
            {"connections": 7, "bytes": 200.4},
        )

    def test_the_table_has_medians_ranges_and_goals(self):
        text, _ = report.comparison_section(MACHINE, self.results, self.held)
        self.assertIn("| the raw floor | 0.90 | **0.95** (0.90–1.50) | 19.00 | 20.00 | 40 | 0.10, 2.50 |", text)
        self.assertIn("| Redis | 5 | **6.00** (6.00–6.00) |", text)
        self.assertIn("| at most 1.05 | 1.02 (4,000 KiB, 4,100 KiB) |", text)
        self.assertIn("| at most 256 bytes | 200 bytes |", text)
        self.assertIn("fdatasync of 1,234 µs; the bets", text)

    def test_an_earlier_build_is_compared_once_for_each_load_of_the_hub(self):
        found = comparisons.versus_before()
        loads = [comparison.hub for comparison in found]
        self.assertEqual(len(loads), len(set(loads)))
        self.assertLessEqual({"window", "lockstep-always", "native", "thousand"}, {comparison.key for comparison in found})
        for comparison in found:
            self.assertEqual(comparison.against.program, "before")
            self.assertEqual(dataclasses.replace(comparison.against, program="hub"), comparison.hub)

    def test_the_picture_has_a_bar_for_each_comparison_and_a_mark_for_each_goal(self):
        _, pictures = report.comparison_section(MACHINE, self.results, self.held)
        root = xml.etree.ElementTree.fromstring(pictures["performance.svg"])
        drawn = [element.get("class") for element in root.iter()]
        self.assertEqual((drawn.count("bar"), drawn.count("goal"), drawn.count("range")), (2, 2, 2))

    def test_only_what_is_between_the_markers_is_replaced(self):
        with tempfile.TemporaryDirectory() as folder:
            document = pathlib.Path(folder) / "PERFORMANCE.md"
            document.write_text("a\n<!-- sizes: begin -->\nold\n<!-- sizes: end -->\nb\n")
            for _ in range(2):
                report.write(pathlib.Path(folder), "sizes", "new\n\n", {"x.svg": "<svg/>"})
            self.assertEqual(document.read_text(), "a\n<!-- sizes: begin -->\nnew\n<!-- sizes: end -->\nb\n")
            self.assertEqual((pathlib.Path(folder) / "x.svg").read_text(), "<svg/>")

    def test_a_document_without_the_markers_is_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            document = pathlib.Path(folder) / "PERFORMANCE.md"
            document.write_text("mine\n")
            with self.assertRaises(report.Failure):
                report.write(pathlib.Path(folder), "sizes", "new", {})
            self.assertEqual(document.read_text(), "mine\n")

    def test_processor_time_of_a_short_run_is_not_told(self):
        short = {"size": 10_000, "sync": False, "seconds": 0.01, "server_peak_kib": 4000, **run(3.0)}
        text, _ = report.size_section(MACHINE, {"bets": [short], "connections": []})
        self.assertIn("| 10,000 | never | 3.00 | – | 0.10, 2.50 | 4,000 |", text)


def shared(key, rates):
    pair = next(pair for pair in cluster.pairs() if pair.key == key)
    found = cluster.Measured(pair)
    more = {"nodes_cpu_ns_per_bet": 812.0, "batches_per_turn": 31.25}
    found.hub, found.against = [run(hub, **more) for hub, _ in rates], [run(other) for _, other in rates]
    found.ratios = [hub / other for hub, other in rates]
    return found


class Cluster(unittest.TestCase):
    def test_the_table_has_rates_with_ranges_and_the_goals_of_figures(self):
        text = report.cluster_section(MACHINE, "15.1", [shared("hub", [(0.9, 9), (0.6, 6), (1.2, 6)])])
        self.assertIn("| ≥ 0.8 M bets/s, ≤ 130 ns | 0.10 (0.10–0.20) | **0.90 (0.60–1.20)** | 6.00 (6.00–9.00) |", text)
        self.assertIn("| 0.10, 2.50 | 40 | 40 | 812 | 31.2 |", text)
        self.assertIn("PostgreSQL 15.1", text)

    def test_a_run_counts_only_if_every_bet_is_stored(self):
        nodes = object.__new__(cluster.Cluster)
        nodes.draw = 4
        figures = {"bets": 300, "row_bytes": 16_000}
        nodes.ask = lambda text: [["300", "16000", "2", "1", "300"]]
        nodes.check("one", figures)
        self.assertEqual(figures["batches_per_turn"], 2)
        for wrong in (["150", "16000", "2", "1", "300"], ["300", "15999", "2", "1", "300"], ["300", "16000", "2", "1", "150"]):
            nodes.ask = lambda text, wrong=wrong: [wrong]
            with self.assertRaises(report.Failure):
                nodes.check("one", figures)

    def test_what_is_missing_is_said(self):
        with unittest.mock.patch("shutil.which", return_value=None), unittest.mock.patch("glob.glob", return_value=[]):
            self.assertIn("postgresql", cluster.missing())
        with unittest.mock.patch("shutil.which", return_value="/somewhere/initdb"):
            self.assertIsNone(cluster.missing())

    def test_the_table_names_the_servers_of_jetstream(self):
        text = report.cluster_section(MACHINE, "15.1", [shared("jetstream", [(1.2, 0.8)])], "2.15.1")
        self.assertIn("| JetStream R3, `sync_interval: always` | ratio ≥ 1 | 1.50 (1.50–1.50) | **1.20 (1.20–1.20)** | 0.80 (0.80–0.80) |", text)
        self.assertIn("Three nodes of PostgreSQL 15.1, three of nats-server 2.15.1, hubs", text)

    def test_a_goal_says_its_bound_and_its_unit(self):
        self.assertEqual(cluster.Goal("ack_p50_us", most=2000).text(), "p50 ≤ 2 ms")
        self.assertEqual(cluster.Goal("ratio", least=0.9).text(), "ratio ≥ 0.9")


class Quota(unittest.TestCase):
    """Hubs that get a part of a processor each."""

    def test_without_control_groups_slow_hubs_are_left_out_aloud(self):
        said = []
        with unittest.mock.patch.object(quota, "ROOTS", [ROOT / "absent"]):
            self.assertEqual([pair.key for pair in cluster.chosen("three,three-slow", said.append)], ["three"])
            cluster.chosen("three", said.append)
        self.assertEqual(len(said), 1)
        self.assertRegex(said[0], "no CPU quota.*root.*slow hubs are left out")

    def test_a_program_gets_its_part_of_a_processor(self):
        if reason := quota.missing():
            self.skipTest(reason)
        with quota.group(0.2) as folder, subprocess.Popen(["sleep", "60"]) as process:
            try:
                quota.enter(folder, process)
                self.assertEqual((folder / "cgroup.procs").read_text().split(), [str(process.pid)])
                values = [(folder / name).read_text() for name in os.listdir(folder) if name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
                self.assertEqual({int(value) for text in values for value in text.split()}, {1000, 5000})
            finally:
                process.kill()
        self.assertFalse(folder.exists())

    def test_slow_hubs_are_compared_with_one_that_is_as_slow(self):
        slow = [pair for pair in cluster.pairs() if pair.hub.part]
        self.assertEqual([(pair.hub.hubs, pair.against.hubs) for pair in slow], [(2, 1), (3, 1)])
        for pair in slow:
            self.assertEqual(pair.hub.part, pair.against.part)


class JetStream(unittest.TestCase):
    """The other side of a comparison: without servers, but for the last test."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def server(self, said):
        """NATS_SERVER names a program that says this of its version."""
        program = self.folder / "nats-server"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        return unittest.mock.patch.dict("os.environ", NATS_SERVER=str(program))

    def test_without_a_server_the_comparison_is_left_out_aloud(self):
        said = []
        with unittest.mock.patch.dict("os.environ", NATS_SERVER=""), unittest.mock.patch("shutil.which", return_value=None):
            self.assertEqual([pair.key for pair in cluster.chosen("hub,jetstream", said.append)], ["hub"])
            self.assertEqual(len(said), 1)
            self.assertRegex(said[0], "nats-server is not installed.*nats-server, 2.10 or newer.*NATS_SERVER.*left out")
            # What does not need it is silent about it.
            cluster.chosen("hub", said.append)
            self.assertEqual(len(said), 1)

    def test_a_server_without_sync_always_will_not_do(self):
        for said, reason in [("nats-server: v2.9.10", "version 2.9.10"), ("something else", "names no version")]:
            with self.server(said):
                self.assertIn(reason, jetstream.missing())
        with unittest.mock.patch.dict("os.environ", NATS_SERVER=str(self.folder / "absent")):
            self.assertIn("absent", jetstream.missing())
        for said in ("nats-server: v2.10.0", "nats-server: v2.15.1-RC.1", "nats-server: v3.0.0"):
            with self.server(said):
                self.assertIsNone(jetstream.missing())
                self.assertIn("jetstream", [pair.key for pair in cluster.chosen("jetstream", self.fail)])

    def test_under_real_time_scheduling_the_comparison_is_left_out(self):
        with self.server("nats-server: v2.15.1"), unittest.mock.patch("os.sched_getscheduler", return_value=os.SCHED_FIFO):
            self.assertIn("hangs under chrt", jetstream.missing())

    def test_a_run_counts_only_if_the_stream_has_every_message(self):
        side = comparisons.Side("jetstream", agencies=2)
        streams = jetstream.JetStream(None, {"node1": 1}, [])
        figures = {"batches": 4, "row_bytes": 32_000}
        right = {"messages": 4, "bytes": 32_200, "subjects": {"bets.1": 2, "bets.2": 2}}
        replicas = [{"current": True}, {"current": True}]
        for wrong in ({}, {"messages": 3}, {"bytes": 31_999}, {"subjects": {"bets.1": 3, "bets.2": 1}}):
            told = {"state": right | wrong, "cluster": {"replicas": replicas}}
            with unittest.mock.patch.object(streams, "ask", lambda *_, told=told: told):
                if wrong:
                    with self.assertRaises(report.Failure):
                        streams.check(side, figures)
                else:
                    streams.check(side, figures)

    def test_a_stream_counts_once_all_replicas_have_it(self):
        streams = jetstream.JetStream(None, {"node1": 1}, [])
        behind = [[], [{"current": True}], [{"current": True}, {"current": False}], [{"current": True}, {"current": True, "lag": 3}]]
        told = [{"cluster": {"replicas": one}} for one in [*behind, [{"current": True}, {"current": True}]]]
        with unittest.mock.patch.object(streams, "ask", side_effect=told), unittest.mock.patch("time.sleep"):
            self.assertIs(streams.replicated(), told[-1])

    def test_acknowledged_means_synced(self):
        text = jetstream.configuration("node1", self.folder, 1, {"node1": 2, "node2": 3})
        self.assertIn("sync_interval: always", text)
        self.assertIn('routes: ["nats://127.0.0.1:2", "nats://127.0.0.1:3"]', text)

    def test_both_sides_send_as_many_bets(self):
        sent = {"hub": [], "jetstream": []}

        def run(side, bets):
            sent[side.program].append(bets)
            return {"seconds": bets / (1e6 if side.program == "hub" else 3e5), "million_bets_per_second": 1.0}

        pair = next(pair for pair in cluster.pairs() if pair.key == "jetstream")
        result = cluster.alternate(pair, (run, run), 2, 1.0)
        self.assertEqual(result.ratios, [1.0, 1.0])
        self.assertEqual(sent["hub"][-2:], sent["jetstream"][-2:])

    @unittest.skipIf(jetstream.missing(), jetstream.missing())
    def test_three_servers_keep_what_is_published(self):
        loads = {"batches": 2, "row_bytes": 18}

        def loaded(side, bets, ports, processes, extra):
            self.assertEqual((len(ports), len(processes)), (1, 3))
            for agency in (1, 2):
                self.assertEqual(jetstream.ask(ports[0], f"bets.{agency}", {"bets": 1})["stream"], "bets")
            return dict(loads)

        programs = unittest.mock.Mock(directory=self.folder, loaded=loaded)
        side = comparisons.Side("jetstream", agencies=2)
        with jetstream.nodes(programs) as streams:
            # A second run begins with nothing in the stream.
            for _ in range(2):
                self.assertEqual(streams.run(side, 2), loads)
            loads["batches"] = 4
            with self.assertRaises(report.Failure):
                streams.run(side, 4)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
