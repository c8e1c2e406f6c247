"""Documents as the tests read them: headings, fenced blocks, links, inline code. Standard library only."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Document:
    """A Markdown file below the project's folder."""

    def __init__(self, path):
        self.path = ROOT / path
        self.text = self.path.read_text(encoding="utf-8")
        self.prose = FENCE.sub("", self.text)

    def headings(self):
        """Level and text of each."""
        return [(len(marks), text) for marks, text in re.findall(r"(?m)^(#+) (.+)$", self.prose)]

    def anchors(self):
        """What a link after `#` may say, as GitHub makes it from the headings."""
        kept = [re.sub(r"[^\w\- ]", "", text.lower()) for _, text in self.headings()]
        return {text.replace(" ", "-") for text in kept}

    def fences(self, *languages):
        """The fenced blocks in these languages, all without one."""
        return [body for language, body in FENCE.findall(self.text) if not languages or language in languages]

    def commands(self):
        """Those of all sh blocks."""
        return commands("".join(self.fences("sh")))

    def links(self):
        """File and anchor of each link within the project; an empty file is this document."""
        targets = [target for target in LINK.findall(self.prose) if "://" not in target]
        return [tuple(target.partition("#")[::2]) for target in targets]

    def sections(self):
        """The prose from one heading to the next."""
        return re.split(r"(?m)^#+ .+$", self.prose)


def code(prose):
    """The inline code of a piece of prose, in order of the alphabet."""
    return sorted(re.findall(r"`([^`\n]+)`", prose))


def rows(prose):
    """The rows of its tables, headers and rules among them."""
    return [line for line in prose.splitlines() if line.startswith("|")]


def commands(block):
    """The commands of an sh block: without comments, and with continued lines joined."""
    bare = [re.sub(r"(^|\s+)# .*", "", line) for line in block.replace("\\\n", " ").splitlines()]
    return [re.sub(r"\s+", " ", line).strip() for line in bare if line.strip()]
