"""The real hub in a folder of its own, and agencies that act at the test's word."""

import os
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request

from chromium import PATIENCE

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
OURS = ("CLI_", "LOTTERY_", "STORAGE_", "LIMITS_", "SERVER_", "LOGGING_", "STATUS_", "LOG_", "TLS_", "PROTOCOL_")

sys.path.insert(0, str(ROOT / "tests/peers"))


def build():
    subprocess.run(["cargo", "build", "--locked", "--quiet", "--bin", "server", "--bin", "client"], cwd=ROOT, check=True)


def clean(**settings):
    """The environment without what the programs would read in it, and with `settings`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(OURS)} | settings


class Hub:
    def __init__(self, agencies):
        self.agencies = agencies
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        (self.folder / "config.ini").write_text("")
        self.process = None
        self.status_address = "127.0.0.1:0"
        self.clients = []

    def start(self):
        settings = clean(SERVER_PORT="0", BIND_ADDRESS="127.0.0.1", LOTTERY_AGENCIES=str(self.agencies), STATUS_ADDRESS=self.status_address)
        self.process = subprocess.Popen([PROGRAMS / "server"], cwd=self.folder, env=settings, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = queue.Queue()
        output = self.process.stdout

        def copy():
            for line in output:
                lines.put(line)
            output.close()
            lines.put(None)
        self.reader = threading.Thread(target=copy, daemon=True)
        self.reader.start()
        self.address, page, told = None, None, ""
        while not (self.address and page):
            line = lines.get(timeout=PATIENCE)
            assert line is not None, f"the hub did not start:\n{told}"
            told += line
            if found := re.search(r"action: listen \| result: success \| address: ([\d.]+):(\d+)", line):
                self.address = (found[1], int(found[2]))
            if found := re.search(r"status: http://(127\.0\.0\.1:\d+)/", line):
                page = found[1]
        self.status_address = page  # A later start takes the same one, so that the page finds it.
        return self

    @property
    def page(self):
        return f"http://{self.status_address}/"

    def get(self, path):
        with urllib.request.urlopen(self.page + path, timeout=PATIENCE) as answer:
            return answer.read(), answer.headers

    def client(self, agency, dialect):
        """The project's client, with its agency's file."""
        done = subprocess.Popen([PROGRAMS / "client"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean(
            CLI_ID=str(agency), CLI_MODE="agency", CLI_PROTOCOL=dialect, CLI_SERVER_ADDRESS="{}:{}".format(*self.address),
            CLI_DATA=str(ROOT / f".data/agency-{agency}.csv")))
        self.clients.append(done)
        return done

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def close(self):
        for each in self.clients:
            each.kill()
            each.wait()
        if self.process:
            self.kill()
        self.holder.cleanup()
