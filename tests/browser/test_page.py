"""The page (`src/status/page.html`) in a real browser: what stands there through a whole draw, by day and by night, wide and
narrow, in English and Spanish. The hub is played (`mock.py`). Screenshots are kept in `target/screenshots`."""

import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import chromium
import mock
from chromium import PICTURES, wait

WIDE, NARROW = (1920, 1080), (390, 844)
TAB, ENTER, ESCAPE, RIGHT = "\ue004", "\ue007", "\ue00c", "\ue014"

# Every text's contrast with what is painted behind it, as WCAG 2 computes it; those below AA.
FAINT = """
const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parse = text => text.match(/[\\d.]+/g).map(Number);
const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walk.nextNode());) {
  const e = node.parentElement;
  if (!node.data.trim() || !e.checkVisibility() || e.closest('.sr, .skip, .open, script, style')) continue;
  const style = getComputedStyle(e), a = light(parse(style.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
  if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5)) found.push(node.data.trim() + ': ' + ratio.toFixed(2));
}
return found;
"""


def setUpModule():
    lack = chromium.missing()
    if lack:
        print(f"tests/browser/test_page.py: SKIPPED, {lack}", file=sys.stderr)
        raise unittest.SkipTest(lack)
    browser = chromium.Chromium()
    unittest.addModuleCleanup(browser.__exit__)
    globals()["browser"] = browser.__enter__()


class Page(unittest.TestCase):
    def setUp(self):
        self.hub = mock.Hub().start()
        self.addCleanup(lambda: self.hub and self.hub.stop())
        # Before the hub stops: the page would ask on, and complain to the next test.
        self.addCleanup(lambda: browser.open("about:blank"))
        browser.complaints()

    def show(self, told, query="", **look):
        browser.look(**look)
        self.hub.report = told
        browser.open(f"http://127.0.0.1:{self.hub.port}/{query}")
        wait(lambda: browser.run("return document.querySelectorAll('.lane').length") or not told["agencies"], "agencies are there")

    def tell(self, told, selector, text):
        """The hub's next answer; returns once the page says so."""
        self.hub.tell(told)
        self.reads(selector, text)

    def reads(self, selector, text):
        seen = []

        def there():
            seen[:] = [browser.text(selector)]
            return seen[0] == text
        try:
            wait(there, f"{selector} reads {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it reads {seen[0]!r}") from None

    def fits(self):
        inside = browser.run("return [document.documentElement.scrollWidth, innerWidth, document.documentElement.scrollHeight, innerHeight]")
        self.assertLessEqual(inside[0], inside[1], "something is wider than the screen")
        return inside

    def picture(self, name):
        browser.settled()
        browser.picture(PICTURES / f"{name}.png")

    def assertQuiet(self):
        self.assertEqual(browser.complaints(), [])

    # ---- a whole draw

    def test_a_whole_draw_in_english_on_a_projector_by_night(self):
        self.show(mock.report(0.5))
        self.reads("#headline", "Waiting for all 5 agencies")
        self.assertEqual(browser.texts(".lane .what"), ["Not seen yet"] * 5)
        self.assertEqual(browser.text("#since"), "No query waits for the draw yet")
        self.assertEqual(browser.text("#commits .now").split(), ["–", "p50", "–", "p99"])
        self.picture("draw-0-open-night")
        self.tell(mock.report(5), ".lane:nth-child(1) .what", "Connected")
        for at in range(6, 24, 2):
            self.tell(mock.report(at), ".lane:nth-child(1) .count", f"{mock.agency(1, at)['bets']:,}")
        self.tell(mock.report(24), ".lane:nth-child(3) .what", "Lost for 2 s")
        self.assertEqual(browser.text("#headline"), "Waiting for agencies 1, 3 and 4")
        self.assertRegex(browser.text("#since"), r"^2 queries wait for the draw, the oldest for 4 s, since \d\d:\d\d:\d\d$")
        self.assertEqual(browser.text("#kicker"), "The draw is open. 2 of 5 finished.")
        self.assertEqual(browser.text("#sum b"), "11,488 bets")
        self.assertEqual(browser.texts(".lane .dialect"), ["native", "binary", "text", "key-value", "case-id"])
        self.assertEqual(browser.texts(".lane .count"), ["2,696", "3,500", "1,265", "2,027", "2,000"])
        self.assertEqual(browser.texts(".lane .rate"), ["149/s", "", "", "186/s", ""])
        self.assertEqual(browser.text("#rates .now"), "335")
        self.assertEqual(browser.text("#states").split(), ["speaking", "2", "parked", "2"])
        self.assertIn("0.0.0.0:12345", browser.text("footer"))
        self.assertIn("78.4 GB", browser.text("footer"))
        browser.settled()
        widths = browser.run("return [...document.querySelectorAll('.fill')].map(fill => fill.offsetWidth / fill.parentElement.offsetWidth)")
        for width, bets in zip(widths, (2696, 3500, 1265, 2027, 2000), strict=True):
            self.assertAlmostEqual(width, bets / 4000, places=2)
        width, screen, height, screen_height = self.fits()
        self.assertEqual((width, height), (screen, screen_height), "five agencies need no scrolling")
        self.picture("draw-1-uploading-night")
        self.tell(mock.report(31), ".lane:nth-child(3) .what", "Uploading")
        self.tell(mock.report(44), "#headline", "Waiting for agency 3")
        self.tell(mock.report(47), "#kicker", "The winning number")
        self.assertEqual(browser.text("#headline > .sr"), "7574")
        self.assertEqual(browser.text("#sum b"), "10 winners")
        self.assertEqual(browser.text("#sum span"), "among 15,000 bets")
        self.assertEqual(browser.text("#since"), "Drawn 1 s ago")
        self.assertEqual([text.split() for text in browser.texts(".lane .won")],
                         [["2", "winners"], ["3", "winners"], ["1", "winner"], ["4", "winners"], ["0", "winners"]])
        self.assertEqual(browser.run("return document.title"), "The winning number: 7574 · Lotería")
        self.assertEqual(browser.text("#say"), "The winning number: 7574. 10 winners.")
        width, screen, height, screen_height = self.fits()
        self.assertEqual((width, height), (screen, screen_height))
        self.picture("draw-2-drawn-night")
        self.assertQuiet()

    def test_the_same_in_spanish_on_a_telephone_by_day(self):
        look = {"width": NARROW[0], "height": NARROW[1], "scheme": "light", "language": "es-AR"}
        self.show(mock.report(24), **look)
        self.reads("#headline", "Faltan las agencias 1, 3 y 4")
        self.assertEqual(browser.run("return document.documentElement.lang"), "es")
        self.assertEqual(browser.texts(".lane .what"), ["Enviando", "En espera", "Perdida hace 2 s", "Enviando", "En espera"])
        self.assertEqual(browser.texts(".lane .count"), ["2.696", "3.500", "1.265", "2.027", "2.000"])
        self.fits()
        self.picture("phone-1-uploading-day")
        self.tell(mock.report(47), "#kicker", "El número ganador")
        self.assertEqual(browser.text("#sum b"), "10 ganadores")
        self.fits()
        self.picture("phone-2-drawn-day")
        self.assertQuiet()

    def test_every_size_scheme_and_language_fits_and_has_contrast(self):
        for width, height in (WIDE, NARROW, (1280, 720), (1024, 768), (700, 900), (320, 640)):
            for scheme in ("dark", "light"):
                for at, count in ((24, 5), (50, 5), (24, 12), (50, 12), (24, 40), (50, 40))[:6 if scheme == "dark" else 2]:
                    language = "es" if at == 24 else "en"
                    with self.subTest(width=width, scheme=scheme, at=at, agencies=count):
                        self.show(mock.report(at, count, unhealthy="the log does not flow"), f"?lang={language}",
                                  width=width, height=height, scheme=scheme, motion="reduce")
                        self.fits()
                        self.assertEqual(browser.run(FAINT), [])
        self.assertQuiet()

    def test_counts_of_millions_stay_on_one_line(self):
        # Of each count: whether it is on one line, and whether it is inside of its lane and right of what is before it.
        odd = """return [...document.querySelectorAll('.lane')].filter(lane => {
            const range = document.createRange(), count = lane.querySelector('.count');
            range.selectNodeContents(count);
            const text = range.getBoundingClientRect(), box = lane.getBoundingClientRect(), column = count.getBoundingClientRect();
            return text.height > 1.6 * parseFloat(getComputedStyle(count).fontSize) || text.left < column.left - 1 || text.right > box.right + 1;
        }).map(lane => lane.querySelector('.count').textContent)"""
        for width, height in (WIDE, NARROW):
            for agencies in (5, 10, 20, 40, 60, 240):
                for language in ("en", "es"):
                    with self.subTest(width=width, agencies=agencies, language=language):
                        told = mock.report(24, agencies)
                        told["agencies"][0]["bets"] = 12_345_678
                        told["totals"]["bets_stored"] += 12_345_678
                        self.show(told, f"?lang={language}", width=width, height=height, motion="reduce")
                        self.reads(".lane:nth-child(1) .count", "12,345,678" if language == "en" else "12.345.678")
                        self.assertEqual(browser.run(odd), [])
                        inside = self.fits()
                        if width == WIDE[0] and agencies <= 60:
                            self.assertEqual(inside[2], inside[3], f"{agencies} agencies need no scrolling")
        self.assertQuiet()

    def test_day_and_night_in_both_languages_for_the_eye(self):
        for width, height in (WIDE, NARROW):
            for scheme in ("dark", "light"):
                for language in ("en", "es"):
                    self.show(mock.report(6), f"?lang={language}", width=width, height=height, scheme=scheme)
                    for at in (10, 14, 18, 20, 22):
                        count = f"{mock.agency(2, at)['bets']:,}"
                        self.tell(mock.report(at), ".lane:nth-child(2) .count", count if language == "en" else count.replace(",", "."))
                    self.picture(f"look-uploading-{width}-{scheme}-{language}")
                    self.tell(mock.report(50), "#sum span", "among 15,000 bets" if language == "en" else "entre 15.000 apuestas")
                    self.picture(f"look-drawn-{width}-{scheme}-{language}")
        self.assertQuiet()

    def test_a_change_of_the_machines_network_is_no_complaint_of_the_page(self):
        failed = "http://127.0.0.1:1/status.json - Failed to load resource: net::"
        entries = [{"level": "SEVERE", "message": failed + "ERR_NETWORK_CHANGED"}, {"level": "SEVERE", "message": failed + "ERR_CONNECTION_REFUSED"},
                   {"level": "WARNING", "message": "a warning"}, {"level": "INFO", "message": "a remark"}]
        self.assertEqual(chromium.of_the_page(entries), [failed + "ERR_CONNECTION_REFUSED", "a warning"])

    def test_the_hub_that_is_played_agrees_with_itself(self):
        for at in range(0, 60, 3):
            told = mock.report(at, 12)
            there = told["connections"]
            open_now = sum(each["connections"] for each in told["agencies"])
            sums = [sum(count for _, count in there[key]) for key in ("by_state", "by_dialect")]
            self.assertEqual([there["open"], *sums], [open_now] * 3, at)
        self.assertEqual(open_now, 0, "after the draw the clients are gone")

    def test_the_pictures_of_the_readme(self):
        self.show(mock.report(6), width=1280, height=720)
        for at in (8, 10, 12, 14, 16, 18, 20, 22, 24):
            self.tell(mock.report(at), ".lane:nth-child(1) .count", f"{mock.agency(1, at)['bets']:,}")
        self.picture("page")
        self.tell(mock.report(47), "#sum b", "10 winners")
        self.picture("draw")

    # ---- a hub that goes and comes back

    def test_a_page_without_its_hub_says_since_when_and_recovers_by_itself(self):
        self.show(mock.report(24))
        self.reads("#headline", "Waiting for agencies 1, 3 and 4")
        self.assertRegex(browser.text("#link"), r"^Live · \d\d:\d\d:\d\d$")
        self.assertIsNone(browser.text("#stale"))
        self.hub.stop()
        since = wait(lambda: browser.text("#stale"), "the page says that it is stale")
        self.assertRegex(since, r"(?i)^stale ?No answer from the hub since \d\d:\d\d:\d\d \(\d+ s\)\. What stands here is the last that it said\.")
        self.assertEqual(browser.text("#link"), "Stale")
        self.assertEqual(browser.text("#headline"), "Waiting for agencies 1, 3 and 4", "the last known state stays")
        self.picture("stale-wide")
        wait(lambda: re.search(r"Next try in [45] s", browser.text("#stale") or ""), "the pauses grow, but not beyond some seconds")
        self.hub.report = mock.report(47)
        self.hub.start()
        self.reads("#kicker", "The winning number")
        self.assertIsNone(browser.text("#stale"))
        self.assertRegex(browser.text("#link"), r"^Live")
        for line in browser.complaints():
            self.assertRegex(line, "status.json|events", "only the lost hub is complained of")

    def test_pages_that_were_left_keep_no_connection(self):
        # A browser keeps left pages whole for its back button, and has six connections for a server.
        for visit in range(10):
            self.show(mock.report(24), f"?lang={'es' if visit % 2 else 'en'}&visit={visit}")
        self.tell(mock.report(26), ".lane:nth-child(1) .count", "2.994")
        # A connection's end is noticed by writing to it.
        wait(lambda: self.hub.tell(mock.report(26)) or len(self.hub.viewers) == 1, "only the last page has a connection")

    def test_an_answer_that_is_not_understood_is_no_answer(self):
        for odd in ({"version": 2}, {"agencies": None}, {"draw": None}):
            with self.subTest(odd=odd):
                self.show(mock.report(24))
                self.hub.report = {**mock.report(24), **odd}
                wait(lambda: browser.text("#stale"), "the page is stale")
                self.hub.report = mock.report(24)
                wait(lambda: browser.text("#stale") is None, "the page is live again")
        self.assertQuiet()

    def test_an_answer_that_lacks_a_part_is_not_shown_as_live(self):
        for odd in ({"connections": None}, {"commits": None}, {"store": None}, {"agencies": [None]}, {"engine": {}}):
            with self.subTest(odd=odd):
                self.show(mock.report(24))
                self.hub.report = mock.report(24) | odd
                wait(lambda: browser.text("#stale"), "the page is stale")
                self.hub.report = mock.report(26)
                wait(lambda: browser.text("#stale") is None, "the page is live again")
                self.reads(".lane:nth-child(1) .count", "2,994")
        for line in browser.complaints():
            self.assertIn("TypeError", line, "the console has the reason")

    def test_a_clock_that_is_set_back_does_not_stop_the_page(self):
        self.show(mock.report(24))
        self.reads("#headline", "Waiting for agencies 1, 3 and 4")
        browser.run("const real = Date.now; Date.now = () => real() - 3600000")
        self.tell(mock.report(44), "#headline", "Waiting for agency 3")
        self.hub.report = mock.report(47)
        self.reads("#kicker", "The winning number")
        self.assertQuiet()

    def test_a_page_that_never_had_an_answer_says_so(self):
        browser.look(language="es")
        self.hub.report = None
        browser.open(f"http://127.0.0.1:{self.hub.port}/")
        text = wait(lambda: browser.text("#stale"), "the page says it")
        self.assertRegex(text, r"(?i)^desactualizado ?El hub todavía no respondió\.")
        self.assertQuiet()

    # ---- what may stand there

    def test_markup_in_an_answer_is_text(self):
        odd = '<img src=x onerror="window.caught=1"><b>'
        told = mock.report(24, unhealthy=odd)
        told["agencies"][0] |= {"dialect": odd, "last_did": odd, "peer": odd, "last_refusal": odd, "state": odd}
        told["connections"]["by_dialect"] = [[odd, 3]]
        told["connections"]["by_state"] = [[odd, 3]]
        told["hub"] |= {"version": odd, "address": odd}
        self.show(told)
        browser.run("document.querySelector('.lane .open').click()")
        self.reads(".lane:nth-child(1) .what", odd)
        for where in ("#alarm", "#detail", "#states", "#dialects", "#facts", ".lane:nth-child(1) .dialect"):
            self.assertIn(odd, browser.text(where))
        self.assertEqual(browser.run("return document.querySelectorAll('img').length + (window.caught || 0)"), 0)
        self.assertQuiet()

    def test_what_the_hub_says_in_sentences_is_in_the_pages_language(self):
        document = "document must be 1 to 10 digits, at most 4294967295"
        told = mock.report(24, not_ready="the hub is stopping: a signal has come")
        told["agencies"][0] |= {"last_did": f"sent a batch that was rejected: bet 2: {document}", "last_refusal": "its own words"}
        for language, alarm, did in (
                ("en", "the hub is stopping: a signal has come", told["agencies"][0]["last_did"]),
                ("es", "el hub se está deteniendo: llegó una señal",
                 "envió un lote que fue rechazado: apuesta 2: el documento debe tener de 1 a 10 dígitos, como mucho 4294967295")):
            with self.subTest(language):
                self.show(told, f"?lang={language}")
                browser.run("document.querySelector('.lane .open').click()")
                self.assertIn(alarm, browser.text("#alarm"))
                self.assertIn(did, browser.text("#detail"))
                self.assertIn("its own words", browser.text("#detail"))
                self.assertQuiet()

    def test_the_bets_of_an_excluded_agency_are_not_among_those_of_the_draw(self):
        agencies = [mock.agency(number, 50, 5) for number in range(1, 6)]
        agencies[4].update(state="excluded", winners=0)
        self.show(mock.report(50, agencies=agencies))
        self.reads("#sum span", "among 13,000 bets")
        self.assertQuiet()

    def test_an_unhealthy_hub_and_a_draw_that_is_none(self):
        self.show(mock.report(0, 0, unhealthy="the disk of the store is full",
                              draw={"state": "none", "waiting_for": [], "waiting_count": 0, "waiting_since": None}))
        self.reads("#headline", "No draw")
        self.assertEqual(browser.text("#alarm").split(), "Not healthy: the disk of the store is full".split())
        self.tell(mock.report(0, 0), "#headline", "Every agency has finished")
        excluded = [{**mock.agency(1, 0, 1), "state": "excluded"}]
        self.tell(mock.report(0, 1, agencies=excluded, draw={"waiting_for": [], "waiting_count": 0}), "#headline", "Every agency is excluded")
        self.assertIsNone(browser.text("#alarm"))
        self.assertQuiet()

    def test_the_engine_and_the_other_hubs_in_both_languages(self):
        engine = {"kind": "postgres", "draw": 1, "connected": True, "host": None, "epoch": 2, "turn": 48211, "turns_in_flight": 3,
                  "answered_ago": 0.1, "trouble_for": None, "trouble": None, "held": False, "held_because": None,
                  "instances": [{"name": "norte", "here": True, "seen_ago": 0.4, "turns": 48209},
                                {"name": "<b>sur", "here": False, "seen_ago": 2.9, "turns": 51007}]}
        told = mock.report(20) | {"engine": engine}
        told["agencies"][0] |= {"state": "not_here", "bets": 70, "connections": 0}
        for language, facts, state, title in (
                ("en", ("connected, turn 48,211, 3 in flight", "norte (this one), <b>sur (2 s ago)"), "Betting, not connected here", "Bets per second, this hub"),
                ("es", ("conectado, turno 48.211, 3 en vuelo", "norte (este), <b>sur (hace 2 s)"), "Apuesta, sin conexión aquí", "Apuestas por segundo, este hub")):
            with self.subTest(language):
                self.show(told | {"engine": engine}, f"?lang={language}")
                for fact in facts:
                    self.assertIn(fact, browser.text("#facts"))
                self.assertIn(state, browser.texts(".lane")[0])
                self.assertEqual(browser.text("#rates h3"), title)
                self.assertQuiet()
        self.tell(told | {"engine": engine | {"held": True}}, "#alarm", "El sorteo está retenido: una persona tiene que autorizarlo.")

    def test_a_draw_of_an_earlier_run_is_shown_without_the_moment(self):
        self.show(mock.report(60, draw={"drawn_ago": None}))
        self.reads("#since", "Drawn in an earlier run")
        self.assertFalse(browser.run("return document.body.classList.contains('now-drawn')"))
        self.assertQuiet()

    def test_hundreds_of_agencies_are_a_grid_whose_size_is_bounded(self):
        self.show(mock.report(20, 240))
        self.assertEqual(len(browser.texts(".lane")), 240)
        self.assertRegex(browser.text("#headline"), r"^Waiting for \d+ of 240 agencies$")
        self.fits()
        size = browser.run("return document.querySelectorAll('*').length")
        for at in (21, 22, 24, 26):
            self.tell(mock.report(at, 240), "#sum b", f"{sum(mock.agency(n, at, 240)['bets'] for n in range(1, 241)):,} bets")
        self.assertLess(browser.run("return document.querySelectorAll('*').length"), size + 20)
        self.picture("grid-240-uploading")
        self.tell(mock.report(50, 240), "#sum b", "480 winners")
        self.picture("grid-240-drawn")
        self.show(mock.report(20, 700, agencies_left_out=300))
        self.assertEqual(browser.run("return document.querySelectorAll('.lane').length"), 600)
        self.assertEqual(browser.text("#more"), "400 more agencies are not shown here.")
        self.show(mock.report(20, 601))
        self.assertEqual(browser.text("#more"), "1 more agency is not shown here.")
        self.assertQuiet()

    # ---- without a mouse, without eyes, without motion

    def test_the_keyboard_reaches_every_agency_and_is_never_caught(self):
        focus = "const e = document.activeElement; return e.className || e.id || e.tagName"
        self.show(mock.report(24))
        browser.keys(TAB)
        self.assertEqual(browser.run(focus), "skip")
        browser.keys(ENTER)
        browser.keys(TAB)
        self.assertEqual(browser.run(focus), "open")
        browser.keys(RIGHT, RIGHT)
        self.assertEqual(browser.run("return document.activeElement.textContent"), "Details of agency 3")
        browser.keys(ENTER)
        self.reads("#detail h2", "Agency 3")
        self.assertEqual(browser.run(focus), "detail")
        self.assertIn("uploaded a batch", browser.text("#detail"))
        self.picture("detail-wide")
        browser.keys(ESCAPE)
        self.assertIsNone(browser.text("#detail"))
        self.assertEqual(browser.run("return document.activeElement.textContent"), "Details of agency 3")
        browser.keys(TAB, TAB, TAB)
        self.assertEqual(browser.run(focus), "other")
        self.assertQuiet()

    def test_a_grid_is_one_stop_of_the_tab_key(self):
        self.show(mock.report(24, 40))
        browser.keys(TAB, TAB)
        self.assertEqual(browser.run("return document.activeElement.textContent"), "Details of agency 1")
        browser.keys(RIGHT)
        self.assertEqual(browser.run("return document.activeElement.textContent"), "Details of agency 2")
        browser.keys(TAB)
        self.assertEqual(browser.run("return document.activeElement.id"), "other")

    def test_a_screen_reader_finds_landmarks_lists_and_meters(self):
        self.show(mock.report(24))
        nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
        roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
        kinds = [role for role, _ in roles]
        for role in ("banner", "main", "contentinfo"):
            self.assertEqual(kinds.count(role), 1, role)
        self.assertEqual(kinds.count("listitem"), 5)
        self.assertIn(("meter", "Bets of agency 3 beside the largest"), roles)
        self.assertIn(("button", "Details of agency 3"), roles)
        self.assertIn("Bets per second, the last 10 s: now 335, highest 335", [name for _, name in roles])
        meter = "const m = document.querySelector('.lane:nth-child(3) .bar'); return [m.ariaValueMax, m.ariaValueNow, m.ariaValueText]"
        self.assertEqual(browser.run(meter), ["4000", "1265", "1,265 bets"])

    def test_only_a_change_of_the_draw_is_said_aloud(self):
        self.show(mock.report(24))
        self.reads("#say", "Waiting for agencies 1, 3 and 4")
        browser.run("window.said = 0; new MutationObserver(() => window.said++)"
                    ".observe(document.getElementById('say'), {childList: true, characterData: true, subtree: true})")
        for at in (24.5, 25, 25.5):
            self.tell(mock.report(at), ".lane:nth-child(1) .count", f"{mock.agency(1, at)['bets']:,}")
        self.assertEqual(browser.run("return window.said"), 0)
        self.assertEqual(browser.run("return document.querySelectorAll('[aria-live], [role=status], [role=alert]').length"), 1)
        self.tell(mock.report(47), "#say", "The winning number: 7574. 10 winners.")

    def test_reduced_motion_has_none(self):
        self.show(mock.report(24), motion="reduce")
        self.tell(mock.report(47), "#kicker", "The winning number")
        self.assertEqual(browser.run("return document.getAnimations().length"), 0)
        self.show(mock.report(24))
        self.tell(mock.report(47), "#kicker", "The winning number")
        self.assertGreater(browser.run("return document.getAnimations().length"), 3, "the moment is played elsewhere")

    # ---- the file

    def test_the_file_is_small_and_needs_nothing_else(self):
        text = mock.PAGE.read_text(encoding="utf-8")
        self.assertLess(len(text.encode()), 60 * 1024)
        self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), [])
        self.assertEqual(re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|@import|url\(", text), [])
        words = re.findall(r"(?ms)^  (?:en|es): \{$(.*?)^  \},$", text)
        keys = [set(re.findall(r"(?m)(?:^|[{,] )\s*(\w+): ?(?=['(`{a-z])", part)) for part in words]
        self.assertEqual(len(keys), 2)
        self.assertEqual(keys[0] ^ keys[1], set(), "each word is in both languages")


if __name__ == "__main__":
    unittest.main()
