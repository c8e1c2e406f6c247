"""The page as the real hub serves it, through a whole draw with real clients, a hub that is killed, and one that is started again."""

import pathlib
import queue
import re
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import chromium
import hub
import mock
from chromium import PICTURES, wait


def setUpModule():
    lack = chromium.missing()
    if lack:
        print(f"tests/browser/test_hub.py: SKIPPED, {lack}", file=sys.stderr)
        raise unittest.SkipTest(lack)
    hub.build()
    browser = chromium.Chromium()
    unittest.addModuleCleanup(browser.__exit__)
    globals()["browser"] = browser.__enter__()


class Draw(unittest.TestCase):
    def setUp(self):
        self.hub = hub.Hub(agencies=5)
        self.addCleanup(self.hub.close)
        self.hub.start()

    def reads(self, selector, pattern):
        seen = []

        def there():
            seen[:] = [browser.text(selector)]
            return re.fullmatch(pattern, seen[0] or "")
        try:
            wait(there, f"{selector} reads {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it reads {seen[0]!r}") from None

    def state(self, agency, pattern):
        self.reads(f".lane:nth-child({agency}) .what", pattern)

    def test_the_page_shows_the_draw_of_a_real_hub(self):
        import bets
        import binary
        import native
        from link import whole

        body, headers = self.hub.get("")
        self.assertEqual(body, mock.PAGE.read_bytes())
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])

        browser.look()
        browser.open(self.hub.page)
        self.reads("#headline", "Waiting for all 5 agencies")
        self.assertEqual(browser.texts(".lane .what"), ["Not seen yet"] * 5)

        # Agencies 1, 4 and 5 are the project's clients; 2 and 3 act at this test's word.
        for agency, dialect in ((1, "text"), (4, "key-value"), (5, "case-id")):
            self.hub.client(agency, dialect)
        second = list(bets.batches(bets.read(hub.ROOT / ".data/agency-2.csv"), 50))
        third = list(bets.batches(bets.read(hub.ROOT / ".data/agency-3.csv"), 50))
        two, three = binary.Client(self.hub.address, 2, whole), native.Client(self.hub.address, 3, whole)
        self.addCleanup(two.close)
        self.addCleanup(lambda: three.close())
        two.upload(second[:30])
        three.upload(third[:40])
        self.state(2, "Uploading")
        self.state(3, "Uploading")
        self.reads("#headline", "Waiting for agencies 2 and 3")
        for agency in (1, 4, 5):
            self.state(agency, "Parked")
        self.reads("#since", r"3 queries wait for the draw, the oldest for \d+ s, since \d\d:\d\d:\d\d")
        self.reads(".lane:nth-child(2) .count", "1,500")
        self.reads("#sum b", "12,000 bets")
        self.reads(".lane:nth-child(2) .dialect", "binary")

        three.close()
        self.state(3, r"Lost for \d+ s")
        browser.settled()
        browser.picture(PICTURES / "hub-1-lost.png")
        three = native.Client(self.hub.address, 3, whole)
        self.state(3, "Uploading")
        three.upload(third)
        self.reads(".lane:nth-child(3) .count", "3,000")
        three.finish()

        told = queue.SimpleQueue()
        asking = threading.Thread(target=lambda: told.put(three.winners()), daemon=True)
        two.upload(second[30:])
        asking.start()
        self.reads("#headline", "Waiting for agency 2")
        two.finish()
        self.reads("#kicker", "The winning number")
        self.assertEqual(browser.text("#headline > .sr"), "7574")
        self.assertEqual(told.get(timeout=chromium.PATIENCE), ["44330224"])
        self.assertEqual(len(two.winners()), 3)
        self.reads("#sum b", "10 winners")
        self.reads("#sum span", "among 15,000 bets")
        wait(lambda: browser.texts(".lane .won b") == ["2", "3", "1", "4", "0"], "the winners of each agency are counted")
        for document in ("39083860", "44330224"):
            self.assertNotIn(document, self.hub.get("status.json")[0].decode(), "a winner's document")
        browser.settled()
        browser.picture(PICTURES / "hub-2-drawn.png")
        self.assertEqual(browser.complaints(), [])

        self.hub.kill()
        wait(lambda: browser.text("#stale"), "the page says that it is stale")
        self.reads("#stale", r"(?i)stale No answer from the hub since \d\d:\d\d:\d\d .*")
        self.assertEqual(browser.text("#sum b"), "10 winners")
        self.hub.start()
        self.reads("#since", "Drawn in an earlier run")
        self.assertIsNone(browser.text("#stale"))
        wait(lambda: browser.texts(".lane .won b") == ["2", "3", "1", "4", "0"], "the winners are still counted")


if __name__ == "__main__":
    unittest.main()
