"""What `tools/bench` writes: a table, a picture that is one, and nothing outside its markers."""

import dataclasses
import pathlib
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/bench"))

import cluster  # noqa: E402
import comparisons  # noqa: E402
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

    def test_a_goal_says_its_bound_and_its_unit(self):
        self.assertEqual(cluster.Goal("ack_p50_us", most=2000).text(), "p50 ≤ 2 ms")
        self.assertEqual(cluster.Goal("ratio", least=0.9).text(), "ratio ≥ 0.9")


if __name__ == "__main__":
    unittest.main()
