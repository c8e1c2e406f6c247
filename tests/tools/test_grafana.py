"""tools/grafana: the dashboard and the alarms, against the list of metrics and what docs/OPERATIONS.md says of them."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALERTS = ROOT / "tools/grafana/alerts.yml"
CASES = ROOT / "tests/tools/alerts_test.yml"
METRIC = re.compile(r"\bloteria_[a-z0-9_]+")
# What the parts of a histogram are called, which the list names once.
PART = re.compile(r"_(bucket|sum|count)$")


def listed():
    """The metrics that docs/METRICS.md lists."""
    return {PART.sub("", name) for name in METRIC.findall((ROOT / "docs/METRICS.md").read_text())}


def queried(text):
    return {PART.sub("", name) for name in METRIC.findall(text)}


def board():
    return json.loads((ROOT / "tools/grafana/loteria.json").read_text())


def expressions():
    """Every query of the dashboard: panels, annotations."""
    found = [target["expr"] for panel in board()["panels"] for target in panel.get("targets", ())]
    return found + [note["expr"] for note in board()["annotations"]["list"]]


class Dashboard(unittest.TestCase):
    def test_it_queries_the_metrics_that_there_are_and_each_of_them(self):
        on_board = set().union(*map(queried, expressions()))
        self.assertEqual(on_board - listed(), set(), "queried, and not in docs/METRICS.md")
        self.assertEqual(listed() - on_board, set(), "in docs/METRICS.md, and not on the dashboard")

    def test_every_query_is_of_the_chosen_hubs_from_the_chosen_source(self):
        for expression in expressions():
            self.assertEqual(len(METRIC.findall(expression)), expression.count('instance=~"$instance"'), expression)
        for panel in board()["panels"]:
            for part in [panel, *panel.get("targets", ())] if panel["type"] != "row" else ():
                self.assertEqual(part["datasource"], {"type": "prometheus", "uid": "${source}"})

    def test_panels_have_ids_and_places_of_their_own(self):
        panels = board()["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = {}
        for panel in panels:
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                self.assertLess(x, 24, panel["title"])
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertIsNone(taken.setdefault((x, y), None), f"{panel['title']} and {taken[x, y]}")
                    taken[x, y] = panel["title"]


class Alarms(unittest.TestCase):
    def setUp(self):
        self.names = re.findall(r"- alert: (\w+)", ALERTS.read_text())
        self.assertGreater(len(self.names), 10)

    def promtool(self, *words):
        if not shutil.which("promtool"):
            print("skipped: promtool is not installed", file=sys.stderr)
            self.skipTest("promtool is not installed")
        return subprocess.run(["promtool", *words], capture_output=True, text=True)

    def test_prometheus_reads_the_rules(self):
        done = self.promtool("check", "rules", ALERTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alarm_is_raised_in_its_trouble_and_in_no_other(self):
        done = self.promtool("test", "rules", CASES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        well, trouble = CASES.read_text().split("a hub in every trouble")
        for name in self.names:
            self.assertRegex(well, rf"alertname: {name}\b")
            self.assertRegex(trouble, rf"alertname: {name}\n +exp_alerts: ")

    def test_they_ask_for_metrics_that_there_are(self):
        self.assertEqual(queried(re.sub(r"(?m)^ *#.*|job=\"\w+\"", "", ALERTS.read_text())) - listed(), set())

    def test_operations_says_what_each_one_means(self):
        told = re.findall(r"(?m)^\| `(Lottery\w+)` \|", (ROOT / "docs/OPERATIONS.md").read_text())
        self.assertEqual(sorted(told), sorted(self.names))


if __name__ == "__main__":
    unittest.main()
