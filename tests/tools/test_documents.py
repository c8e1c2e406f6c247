"""The documents agree with each other: LEEME.md with README.md, the Spanish pages with what they name, numbers with tables."""

import pathlib
import re
import tomllib
import unittest

from markdown import ROOT, Document, code, rows

SPANISH = ["docs/es/ejercicios.md", "docs/es/sorteo.md"]
NUMBERS = {"five": 5, "six": 6, "seven": 7, "eight": 8, "cinco": 5, "seis": 6, "siete": 7, "ocho": 8}


def dialects():
    """Those of the code, without the echo."""
    macro = (ROOT / "src/wire/mod.rs").read_text().split("\ndialects! {")[1].split("\n}")[0]
    return set(re.findall(r'= \w+, "([\w-]+)";', macro)) - {"echo"}


class Translation(unittest.TestCase):
    """LEEME.md is README.md in Spanish. A change of one that needs a change of the other fails here."""

    def setUp(self):
        self.english, self.spanish = Document("README.md"), Document("LEEME.md")

    def test_the_headings_are_as_many_and_of_the_same_levels(self):
        levels = [[level for level, _ in document.headings()] for document in (self.english, self.spanish)]
        self.assertEqual(*levels)

    def test_the_commands_are_the_same(self):
        self.assertEqual(self.english.commands(), self.spanish.commands())

    def test_outputs_are_the_same_and_diagrams_have_the_same_arrows(self):
        self.assertEqual(self.english.fences(""), self.spanish.fences(""))
        bare = [[re.sub(r"\[[^\]]*\]", "[]", body) for body in document.fences("mermaid")]
                for document in (self.english, self.spanish)]
        self.assertEqual(*bare)

    def test_the_links_lead_to_the_same_files(self):
        def files(document):
            return [name for name, _ in document.links() if name not in ("README.md", "LEEME.md")]

        self.assertEqual(sorted(files(self.english)), sorted(files(self.spanish)))

    def test_each_section_has_the_same_code_and_as_many_rows_in_its_tables(self):
        pairs = zip(self.english.headings(), self.english.sections()[1:], self.spanish.sections()[1:], strict=True)
        for (_, heading), english, spanish in pairs:
            with self.subTest(section=heading):
                self.assertEqual(code(english), code(spanish))
                self.assertEqual(len(rows(english)), len(rows(spanish)))


class SpanishPages(unittest.TestCase):
    """What the pages for students name is there under this name."""

    def setUp(self):
        self.pages = [Document(path) for path in SPANISH]

    def named(self, pattern):
        """Every match, with its page."""
        return [(page.path.name, found) for page in self.pages for found in re.findall(pattern, page.text)]

    def test_log_lines_are_those_of_the_log_document(self):
        def shape(line):
            action, result, *details = [part.strip() for part in line.replace(r"\|", "|").split("|")]
            return action, result, tuple(detail.split(":")[0] for detail in details)

        known = set()
        for row in Document("docs/LOGS.md").prose.splitlines():
            for line in re.findall(r"`(action: [^`]* result: [^`]+)`", row):
                action, result, keys = shape(re.sub(r"\[.*?\]", "", line))
                known.add((action, result, keys))
                # A part in brackets is not in every line.
                known.add(shape(line.replace("[", "").replace("]", "")))
        # The echo check's own line is the script's; resources at the end share a row.
        known.add(("action: test_echo_server", "result: success", ()))
        lines = self.named(r"(?m)^(action: .+)$") + self.named(r"`(action: [^`]*\|[^`]+)`")
        self.assertGreater(len(lines), 20)
        for page, line in lines:
            self.assertTrue(shape(line) in known, f"{page}: {line}")

    def test_reasons_are_those_of_the_log_document(self):
        page = self.pages[1].prose
        table = page[page.index("| motivo"):]
        reasons = re.findall(r"(?m)^\| `([^`]+)` \|", table)
        self.assertGreater(len(reasons), 5)
        known = Document("docs/LOGS.md").text
        for reason in reasons:
            self.assertTrue(f"| `{reason}` |" in known, reason)

    def test_sentences_of_loteria_why_are_in_its_code(self):
        source = ROOT / "src/operator/why.rs"
        said = re.sub(r"\\\n\s*", "", source.read_text(encoding="utf-8"))
        page = self.pages[1].prose
        table = page[page.index("| `loteria why` dice"):page.index("## 1.")]
        sentences = re.findall(r"(?m)^\| `([^`]+)` \|", table.split("\n", 2)[2])
        self.assertGreater(len(sentences), 8)
        for sentence in sentences:
            self.assertTrue(sentence in said, sentence)

    def test_subcommands_scripts_targets_and_keys_exist(self):
        targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
        for page, words in self.named(r"\bmake ((?:[a-z-]+ ?)+)"):
            for target in words.split():
                self.assertIn(target, targets, page)
        for page, script in self.named(r"\b(tools/[\w.-]+\.sh)"):
            self.assertTrue((ROOT / script).is_file(), f"{page}: {script}")
        keys = (ROOT / "docs/CONFIGURATION.md").read_text()
        for page, key in self.named(r"\b(?:LOTTERY|CLI|STORAGE|LIMITS)_([A-Z_]+)\b"):
            self.assertRegex(keys.replace("`server.address`", "`SERVER_ADDRESS`"), f"`{key}`|`{key.lower()}`", page)
        arguments = ROOT / "src/bin/loteria/arguments.rs"
        if arguments.is_file():
            variants = re.findall(r"(?m)^    (\w+)(?: \{|,)$", arguments.read_text())
            commands = {re.sub(r"(?<=.)([A-Z])", r"-\1", name).lower() for name in variants}
            for page, command in self.named(r"(?m)(?:`|^|server )loteria ([a-z-]+)"):
                self.assertIn(command, commands, page)


class Documents(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md")]:
            document = Document(path)
            for name, anchor in document.links():
                target = (document.path.parent / name).resolve() if name else document.path
                self.assertTrue(target.exists(), f"{path}: {name}")
                if anchor:
                    self.assertIn(anchor, Document(target.relative_to(ROOT)).anchors(), f"{path}: {name}")

    def test_the_layers_are_the_same(self):
        layers = [[body for body in Document(path).fences("", "text") if body.startswith("lottery ←")]
                  for path in ("docs/ARCHITECTURE.md", "README.md", "LEEME.md")]
        self.assertEqual(len(layers[0]), 1)
        self.assertEqual(layers, layers[:1] * 3)

    def test_every_list_of_dialects_has_all(self):
        for path, pattern, left_out in [
            ("Makefile", r"DIALECT= (.*), mixed;", set()),
            ("docs/CONFIGURATION.md", r"(?m)^\| `protocol` \| native \| (.*) \|$", set()),
            ("tools/dialecto.sh", r"(?m)^dialects='(.*)'", set()),
            ("tests/browser/mock.py", r"(?m)^DIALECTS = (.*)$", set()),
            ("tests/peers/run.py", r"(?ms)^DIALECTS = {(.*?)^}", set()),
            # `csv` names no agency, and has a test of its own.
            ("tests/tools/test_demo.py", r"(?m)^DIALECTS = (.*)$", {"csv"}),
        ]:
            [listed] = re.findall(pattern, (ROOT / path).read_text())
            self.assertLessEqual(dialects() - left_out, set(re.findall(r"[a-z][a-z-]+", listed)), path)

    def test_everything_says_the_same_number_of_dialects(self):
        every = dialects()
        for path in ("README.md", "LEEME.md", "docs/PROTOCOLS.md"):
            document = Document(path)
            [number] = re.findall(r"(\w+) (?:dialects|dialectos)\s", document.prose.split("\n## ")[0])[:1]
            self.assertEqual(NUMBERS[number], len(every), path)
            listed = re.findall(r"(?m)^\| \[?`([\w-]+)`\]?(?:\(#[\w-]+\))? \| .* \| .* \|", document.prose)
            self.assertEqual({name for name in listed if name in every | {"echo"}}, every | {"echo"}, path)
        description = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["description"]
        [number] = re.findall(r"(\w+) dialects", description)
        self.assertEqual(NUMBERS[number], len(every), "Cargo.toml")

    def test_the_guarantees_are_numbered_without_a_hole(self):
        numbers = [int(number) for number in re.findall(r"(?m)^\| (\d+) \| \*\*", Document("docs/DURABILITY.md").prose)]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertGreater(len(numbers), 9)

    def test_the_quickstart_installs_what_the_service_runs(self):
        unit = ROOT / "tools/loteria.service"
        commands = "\n".join(Document("docs/QUICKSTART.md").commands())
        said = dict(re.findall(r"(?m)^(\w+)=(.+)$", unit.read_text()))
        program, _, config = said["ExecStart"].split()
        prefix = re.search(r"(?m)^PREFIX \?= (\S+)$", (ROOT / "Makefile").read_text())[1]
        self.assertEqual(program, f"{prefix}/bin/loteria-server")
        self.assertIn("make install\n", commands)
        self.assertIn(str(pathlib.Path(config).parent), commands)
        self.assertIn(f"useradd --system --home-dir {said['WorkingDirectory']} --shell /usr/sbin/nologin {said['User']}", commands)


if __name__ == "__main__":
    unittest.main()
