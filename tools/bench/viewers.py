"""Those who watch a hub while it is measured: a scraper every second, and browsers that have the page open.

They run as a program of the lowest priority, since real ones have machines of their own: what is measured is what they cost
the hub.
"""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading

VIEWERS = 10
PERIOD_SECONDS = 1.0
ANSWER_SECONDS = 10


class Watch:
    """Threads that ask a hub's status port, each on a connection of its own, until they are stopped."""

    def __init__(self, port):
        self.port, self.ended = port, threading.Event()
        self.answers, self.failures = 0, []
        self.lock = threading.Lock()
        paths = ["/metrics"] + ["/status.json"] * VIEWERS
        self.threads = [threading.Thread(target=self.ask, args=(path,)) for path in paths]
        self.threads += [threading.Thread(target=self.follow) for _ in range(VIEWERS)]

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            while True:
                try:
                    connection.request("GET", path)
                    response = connection.getresponse()
                    whole = bool(response.read())
                except (OSError, http.client.HTTPException) as error:
                    return self.failed(f"{path}: {error}")
                if response.status != 200 or not whole:
                    return self.failed(f"{path}: {response.status}")
                with self.lock:
                    self.answers += 1
                if self.ended.wait(PERIOD_SECONDS):
                    return None

    def follow(self):
        """Reads events as they come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            first = connection.recv(65536)
            if b" 200 " not in first.split(b"\r\n")[0]:
                return self.failed(f"/events: {first[:100]!r}")
            connection.settimeout(0.2)
            while not self.ended.is_set():
                try:
                    if not connection.recv(65536):
                        return self.failed("/events: ended")
                except TimeoutError:
                    pass
        return None

    def failed(self, what):
        with self.lock:
            self.failures.append(what)


@contextlib.contextmanager
def watch(port):
    """Watches the hub at `port` meanwhile; gives a dictionary that has what came of it at the end."""
    came = {}
    with subprocess.Popen(
        [sys.executable, "-B", __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield came
        finally:
            # It ends when its standard input does.
            said, _ = process.communicate()
    came |= json.loads(said)


def main():
    os.nice(19)
    watching = Watch(int(sys.argv[1]))
    for thread in watching.threads:
        thread.start()
    sys.stdin.read()
    watching.ended.set()
    for thread in watching.threads:
        thread.join()
    print(json.dumps({"answers": watching.answers, "failures": watching.failures}))


if __name__ == "__main__":
    main()
