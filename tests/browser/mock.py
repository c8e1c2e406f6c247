"""A hub that is played: the page's answers (`src/status/report.rs`) at any moment of a draw, without a hub.

`python3 tests/browser/mock.py [AGENCIES]` plays a whole draw over and over.
"""

import http.server
import json
import pathlib
import queue
import sys
import threading
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "src/status/page.html"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
DIALECTS = ("native", "binary", "text", "key-value", "case-id", "csv")
DRAW_AT = 46.0


def agency(number, at=0.0, count=5):
    """One agency, `at` seconds after the start: each connects later than the one before, at a rate of its own. After the
    draw the clients have their winners and are gone."""
    bets, rate, begins = 4000 - 500 * ((number - 1) % 6), 260 - 37 * ((number * 3) % 5), 2.0 + 12.0 * number / count
    lost = (22.0, 30.0) if number == 3 else None
    clock = at
    if lost and at > lost[0]:
        clock = lost[0] + max(0.0, at - lost[1])
    sent = min(bets, max(0, int(rate * (clock - begins - 1.5))))
    state, speed = "uploading", rate * 1.0
    if at < begins:
        state = "never_seen"
    elif sent == 0:
        state = "connected"
    elif lost and lost[0] <= at < lost[1]:
        state = "lost"
    elif sent == bets:
        state = "finished" if at >= DRAW_AT or number % 5 == 4 else "parked"
    seen = state != "never_seen"
    drawn = at >= DRAW_AT
    return {
        "id": number, "state": state, "bets": sent, "batches": -(-sent // 62), "bets_per_second": speed if state == "uploading" else 0.0,
        "connections": int(seen and state != "lost" and not drawn), "last_heard": (at - lost[0] if state == "lost" else 0.2) if seen else None,
        "last_did": ("uploaded a batch" if sent else "connected") if seen else None, "refused": 0, "last_refusal": None,
        "lost_for": at - lost[0] if state == "lost" else None, "dialect": DIALECTS[(number - 1) % 6] if seen else None,
        "peer": f"10.0.0.{number % 250}:{40000 + number}" if seen else None, "winners": (2, 3, 1, 4, 0)[(number - 1) % 5] if drawn else None,
    }


def report(at=0.0, count=5, **changes):
    """`/status.json` at that moment. `changes` replaces parts of the answer; a dictionary is merged into its part."""
    agencies = [agency(number, at, count) for number in range(1, count + 1)]
    waiting = [each["id"] for each in agencies if each["state"] not in ("finished", "parked", "excluded")]
    drawn = at >= DRAW_AT
    if drawn:
        waiting = []
    states = [each["state"] for each in agencies]
    parked = states.count("parked")
    bets, batches = sum(each["bets"] for each in agencies), sum(each["batches"] for each in agencies)
    speed = sum(each["bets_per_second"] for each in agencies)
    connected = [each for each in agencies if each["connections"]]
    dialects = [each["dialect"] for each in connected]
    # One of three that upload waits for a commit.
    doing = ["parked" if each["state"] == "parked" else "waiting" if each["state"] == "uploading" and each["id"] % 3 == 0
             else "speaking" for each in connected]
    answer = {
        "version": 1,
        "hub": {"version": VERSION, "pid": 4711, "started": "2026-11-20T05:03:21Z", "now": "2026-11-20T05:04:21Z", "uptime": int(at) + 60,
                "address": "0.0.0.0:12345", "tls": False, "connections_max": 10000, "frame_bytes_max": 1 << 20, "log_lines_dropped": 0},
        "draw": {"state": "drawn" if drawn else "open", "winning_number": 7574 if drawn else None, "waiting_for": waiting,
                 "waiting_count": len(waiting), "waiting_since": at - 20 if parked and not drawn else None, "parked": parked,
                 "drawn_ago": at - DRAW_AT if drawn else None,
                 "winners": sum(each["winners"] for each in agencies) if drawn else None},
        "agencies": agencies, "agencies_left_out": 0,
        "connections": {"open": len(dialects), "by_state": [[name, doing.count(name)] for name in ("detecting", "speaking", "waiting", "parked", "closing")],
                        "by_dialect": [[name, dialects.count(name)] for name in (*DIALECTS, "unknown")], "buffered_bytes": 70_000, "viewers": 1},
        "totals": {"bets": bets, "batches": batches, "bets_stored": bets, "rejected": 0, "refused": 0, "bytes_in": bets * 57, "bytes_out": batches * 9},
        "bets_per_second": speed, "turns": {"count": 90_000, "p50": 41, "p99": 390, "max": 4100},
        "commits": {"count": batches, "p50": 310 + int(speed) % 97, "p99": 1240 + 3 * (int(speed) % 211), "max": 9100},
        "store": {"path": None, "sync": True, "full": False, "bytes": bets * 47, "disk_free_bytes": 78_400_000_000},
        "unhealthy": None, "not_ready": None,
    }
    for name, value in changes.items():
        answer[name] = answer[name] | value if isinstance(value, dict) else value
    return answer


class Hub:
    """Serves the page, and the `report` that it was last told, on a free port; `stop` and `start` keep the port."""

    def __init__(self, first=None):
        self.report = first or report()
        self.requests = 0
        self.port = 0
        self.viewers = set()

    def start(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.split("?")[0]
                if path == "/":
                    self.reply("text/html; charset=utf-8", PAGE.read_bytes())
                elif path == "/status.json":
                    hub.requests += 1
                    self.reply("application/json", json.dumps(hub.report).encode())
                elif path == "/events":
                    self.events()
                else:
                    self.send_error(404)

            def reply(self, kind, body):
                self.send_response(200)
                for name, value in (("Content-Type", kind), ("Content-Length", len(body)), ("Content-Security-Policy", POLICY)):
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def events(self):
                inbox = queue.Queue()
                hub.viewers.add(inbox)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    while (line := inbox.get()) is not None:
                        self.wfile.write(line)
                        self.wfile.flush()
                finally:
                    hub.viewers.discard(inbox)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            connections = set()

            def get_request(self):
                made = super().get_request()
                self.connections.add(made[0])
                return made

            def shutdown_request(self, request):
                self.connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_):
                pass  # a browser that went away

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def tell(self, told):
        """The next answer, and an event that makes the page ask for it."""
        self.report = told
        for inbox in list(self.viewers):
            inbox.put(b"event: waits\ndata: {}\n\n")

    def stop(self):
        """As a hub that was killed: the port is closed, and so is every connection."""
        self.server.shutdown()
        self.server.server_close()
        for inbox in list(self.viewers):
            inbox.put(None)
        self.viewers.clear()
        for connection in list(self.server.connections):
            try:
                connection.shutdown(2)
            except OSError:
                pass
        self.server.connections.clear()
        self.thread.join()


if __name__ == "__main__":
    agencies = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    hub = Hub().start()
    print(f"http://127.0.0.1:{hub.port}/", flush=True)
    while True:
        start = time.monotonic()
        while (now := time.monotonic() - start) < DRAW_AT + 20:
            hub.report = report(now, agencies)
            time.sleep(0.2)
