"""A headless Chromium, driven through the WebDriver protocol (https://www.w3.org/TR/webdriver2/) with the standard library alone."""

import atexit
import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where screenshots are kept.
PICTURES = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "screenshots"
# Until a condition holds. A test that passes never waits as long.
PATIENCE = 60.0
# What Chromium says of a connection that it gave up because an interface or an address of the machine came or went, as they do
# beside tests in containers (net/base/net_error_list.h). It tells nothing of the page.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"


def missing():
    """What the machine lacks, in words; None: nothing."""
    lacks = [name for name, path in (("chromedriver", DRIVER), ("chromium", BROWSER)) if not path]
    return f"there is no {' and no '.join(lacks)} here" if lacks else None


class Chromium:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.log = open(pathlib.Path(self.folder.name) / "driver", "w+", encoding="utf-8")
        # A group of its own, so that the browser's processes end with the driver; port 0: the driver chooses and says it.
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
                                       env=os.environ | {"TMPDIR": self.folder.name, "HOME": self.folder.name})
        atexit.register(self._kill)  # also where the tests are interrupted
        try:
            self.session = ""
            port = wait(self._port, "chromedriver says its port")
            self.root = f"http://127.0.0.1:{port}"
            flags = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                     "--hide-scrollbars", f"--user-data-dir={self.folder.name}/profile"]
            if os.geteuid() == 0:
                flags.append("--no-sandbox")
            made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": {"binary": BROWSER, "args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = f"/session/{made['sessionId']}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def _port(self):
        self.log.flush()
        text = pathlib.Path(self.log.name).read_text(encoding="utf-8")
        after = text.partition("successfully on port ")[2]
        return int(after.split(".")[0]) if "." in after else None

    def __exit__(self, *_):
        try:
            if self.session:
                self.call("DELETE", self.session)
        except OSError:
            pass
        finally:
            self._kill()
            atexit.unregister(self._kill)

    def _kill(self):
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()
        self.log.close()
        self.folder.cleanup()

    def call(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise AssertionError(f"{path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def devtools(self, command, **parameters):
        return self.call("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width=1920, height=1080, scheme="dark", language="en", motion="no-preference"):
        """What the next page is shown on: a screen's size, day or night, a language, and whether motion is welcome."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme},
                                                              {"name": "prefers-reduced-motion", "value": motion}])
        agent = self.devtools("Browser.getVersion")["userAgent"]
        self.devtools("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    def open(self, address):
        def shown():
            try:
                self.call("POST", f"{self.session}/url", {"url": address})
            except AssertionError as error:
                if NETWORK_CHANGED not in str(error):
                    raise
                return False
            return True
        wait(shown, f"{address} is opened")

    def run(self, script, *arguments):
        return self.call("POST", f"{self.session}/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        """The text that stands there, as a reader sees it; None where nothing does."""
        return self.run("const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : null", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector)

    def keys(self, *keys):
        """Presses keys on what has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", f"{self.session}/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def complaints(self):
        """What the console has said since it was last asked: warnings and errors."""
        return of_the_page(self.call("POST", f"{self.session}/se/log", {"type": "browser"}))

    def settled(self):
        """Waits until every animation has ended, so that a screenshot does not catch one half-way."""
        wait(lambda: self.run("return document.getAnimations().every(a => a.playState === 'finished')"), "the animations end")

    def picture(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("GET", f"{self.session}/screenshot")))


def of_the_page(entries):
    """The warnings and errors of a console's entries, but for those that the machine's network is the cause of."""
    said = [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]
    return [message for message in said if not message.endswith(NETWORK_CHANGED)]


def wait(condition, what, patience=PATIENCE):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + patience
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(f"after {patience:.0f} s still not: {what}")
        time.sleep(0.02)
