"""A hub of the debug build in a folder of its own, and its clients, for tests of what asks it."""

import http.client
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
PATIENCE_SECONDS = 60  # only ever reached by a failure


def build():
    """The programs, as a test run left them or as the sources are now."""
    subprocess.run(["cargo", "build", "--locked", "--quiet", "--bins"], cwd=ROOT, check=True)


class Hub:
    """One running hub, on free ports of 127.0.0.1."""

    def __init__(self, agencies, **environment):
        build()
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        self.lines, self.changed, self.ended = [], threading.Condition(), False
        self.children = []
        free = {"SERVER_PORT": "0", "BIND_ADDRESS": "127.0.0.1", "STATUS_ADDRESS": "127.0.0.1:0"}
        self.process = subprocess.Popen([PROGRAMS / "server"], cwd=self.folder, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **free, "LOTTERY_AGENCIES": str(agencies), **environment})
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        try:
            self.address = self.wait_for(r"action: listen \| result: success \| address: (\S+)")
            self.status = self.wait_for(r"\| status: http://([\d.:]+)/")
        except BaseException:
            self.close()
            raise

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, pattern):
        """The group of the pattern in the first line that has it."""
        def found():
            return next((match[1] for match in map(re.compile(pattern).search, self.lines) if match), None)

        with self.changed:
            self.changed.wait_for(lambda: found() is not None or self.ended, PATIENCE_SECONDS)
            if (value := found()) is None:
                raise AssertionError(f"no line has {pattern}:\n" + "".join(self.lines[-20:]))
            return value

    def client(self, agency, **environment):
        """A client that uploads the agency's file and waits for the draw."""
        client = subprocess.Popen([PROGRAMS / "client"], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  env={**os.environ, "CLI_ID": str(agency), "CLI_SERVER_ADDRESS": self.address, "CLI_MODE": "agency",
                                       "CLI_DATA": str(ROOT / f".data/agency-{agency}.csv"), **environment})
        self.children.append(client)
        return client

    def get(self, path, method="GET", local=False, **headers):
        """The answer over TCP, or over the Unix socket: status, headers, body."""
        connection = http.client.HTTPConnection(self.status, timeout=PATIENCE_SECONDS)
        if local:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(PATIENCE_SECONDS)
            connection.sock.connect(str(self.folder / "bets.csv.sock"))
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            if response.headers.get_content_type() == "text/event-stream":
                return response.status, response.headers, b""
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            self.reader.join()
            self.process.stdout.close()
            self.holder.cleanup()
