"""What `tools/bench` writes: a table, a picture that is one, and nothing outside its markers."""

import dataclasses
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/bench"))

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


if __name__ == "__main__":
    unittest.main()
