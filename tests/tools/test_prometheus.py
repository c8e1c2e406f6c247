"""A real Prometheus scrapes the hub, and every path of the status service answers."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

from hub import PATIENCE_SECONDS, PROGRAMS, ROOT, Hub
from test_grafana import expressions, listed, queried

# Metrics without a time series in a hub that was served nothing wrong and has no certificate.
ABSENT = {"loteria_batches_rejected_total", "loteria_requests_refused_total", "loteria_connections_ended_total",
          "loteria_certificate_expiry_timestamp_seconds"}
SHARED = ("loteria_engine_", "loteria_hubs", "loteria_draw_held")
hub: Hub


def setUpModule():
    global hub
    hub = Hub(2)
    unittest.addModuleCleanup(hub.close)
    hub.client(1)
    # Its query waits for the draw, which waits for agency 2.
    hub.wait_for(r"(action: finish \| result: success .* agency: 1)")


def installed(tool):
    if not shutil.which(tool):
        print(f"skipped: {tool} is not installed", file=sys.stderr)
        raise unittest.SkipTest(f"{tool} is not installed")


class Paths(unittest.TestCase):
    def test_every_path_answers_at_both_doors(self):
        for path, kind, text in [
            ("/", "text/html", b"<html"), ("/healthz", "text/plain", b"healthy\n"), ("/readyz", "text/plain", b"ready\n"),
            ("/metrics", "text/plain", b"loteria_bets_total"), ("/status.json", "application/json", b'"version"'),
            ("/connections.json", "application/json", b'"connections"'), ("/events", "text/event-stream", b""),
            ("/trace.json", "application/json", b""),
        ]:
            for local in (False, True):
                with self.subTest(path=path, local=local):
                    status, headers, body = hub.get(path, local=local)
                    self.assertEqual((status, headers.get_content_type()), (200, kind))
                    self.assertIn(text, body)
                    if kind == "application/json":
                        json.loads(body)
                    status, headers, body = hub.get(path, "HEAD", local=local)
                    self.assertEqual((status, headers.get_content_type(), body), (200, kind, b""))

    def test_the_store_s_path_and_winners_are_for_the_unix_socket_alone(self):
        self.assertIn(b"bets.csv", hub.get("/status.json", local=True)[2])
        for path in ("/status.json", "/connections.json", "/metrics", "/"):
            self.assertNotIn(b"bets.csv", hub.get(path)[2], path)
        self.assertEqual(hub.get("/winners.json")[0], 403)
        self.assertEqual(hub.get("/winners.json", local=True)[0], 409, "the draw has not been made")

    def test_what_there_is_not_is_refused(self):
        for local in (False, True):
            self.assertEqual(hub.get("/nothing", local=local)[0], 404)
            self.assertEqual(hub.get("/metrics", "DELETE", local=local)[0], 405)
        self.assertIn(hub.get("/log-level", "POST")[0], (403, 404, 405), "nothing over TCP changes anything")

    def test_loteria_health_says_so(self):
        done = subprocess.run([PROGRAMS / "loteria", "health"], cwd=hub.folder, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "healthy\n"), done.stderr)


class Scrape(unittest.TestCase):
    def test_promtool_finds_nothing_to_say_of_the_metrics(self):
        installed("promtool")
        done = subprocess.run(["promtool", "check", "metrics"], input=hub.get("/metrics")[2], capture_output=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def test_a_real_prometheus_scrapes_it(self):
        installed("prometheus")
        with tempfile.TemporaryDirectory() as folder:
            server = self.prometheus(pathlib.Path(folder))
            target = self.until(server, "targets", lambda targets: [
                target for target in targets["activeTargets"] if target["health"] != "unknown"])[0]
            self.assertEqual((target["health"], target["lastError"]), ("up", ""))
            # Twice, so that there are rates.
            self.until(server, f"query?query={urllib.parse.quote('count_over_time(up[1m]) >= 3')}", lambda found: found["result"])
            self.assertEqual(self.value(server, "up"), "1")
            self.assertEqual(self.value(server, 'sum(loteria_bets_total{agency="1",dialect="native"})'), "4000")
            self.assertEqual(self.value(server, "loteria_parked_queries"), "1")
            self.assertEqual(self.value(server, 'loteria_agencies{state="never_seen"}'), "1")
            self.assertEqual(self.value(server, "loteria_commit_seconds_count > bool 0"), "1")
            names = queried(" ".join(self.ask(server, "label/__name__/values")))
            # Those of a hub that shares a PostgreSQL; `status_answers` has them.
            shared = {name for name in listed() if name.startswith(SHARED)}
            self.assertEqual(listed() - ABSENT - shared - names, set(), "listed in docs/METRICS.md, and not scraped")
            self.assertEqual(names - listed(), set(), "scraped, and not listed in docs/METRICS.md")
            for expression in expressions():
                expression = expression.replace("$instance", ".+").replace("$__rate_interval", "10s")
                self.ask(server, f"query?query={urllib.parse.quote(expression)}")
            groups = self.until(server, "rules", lambda rules: rules["groups"] and all(
                rule["health"] != "unknown" for rule in rules["groups"][0]["rules"]) and rules["groups"])
            self.assertEqual([rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] != "ok"], [])

    def prometheus(self, folder):
        """Starts one that scrapes the hub five times a second, with the alarms; its address."""
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(ROOT / "tools/grafana/alerts.yml")],
            "scrape_configs": [{"job_name": "loteria", "static_configs": [{"targets": [hub.status]}]}]}))
        process = subprocess.Popen(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                                    "--web.listen-address=127.0.0.1:0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def stop():
            process.terminate()
            process.stderr.read()
            process.stderr.close()
            process.wait()

        self.addCleanup(stop)
        said, address = [], None
        for line in process.stderr:
            said.append(line)
            if 'msg="Listening on"' in line:
                address = line.split("address=")[1].split()[0]
            if "Server is ready" in line and address:
                return address
        self.fail("prometheus has ended:\n" + "".join(said[-10:]))

    def ask(self, server, words):
        """An answer of Prometheus' own interface."""
        with urllib.request.urlopen(f"http://{server}/api/v1/{words}", timeout=PATIENCE_SECONDS) as answer:
            answer = json.load(answer)
        self.assertEqual(answer["status"], "success")
        return answer["data"]

    def until(self, server, words, wanted):
        """Asks until `wanted` finds something in the answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := wanted(self.ask(server, words)):
                return found
            time.sleep(0.05)
        self.fail(f"{words} did not become what was waited for: {self.ask(server, words)}")

    def value(self, server, expression):
        [series] = self.ask(server, f"query?query={urllib.parse.quote(expression)}")["result"]
        return series["value"][1]


if __name__ == "__main__":
    unittest.main()
