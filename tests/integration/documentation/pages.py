"""What stands between the fences of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

# The paragraph before a block may begin with a file's name: the block is then that file.
_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`[^\n]*(?:\n[^\n]+)*\n\n)?"
    r"^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PRINTS = re.compile(r"# → (.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        line: of the page, where it begins.
        file: which file it is, if the page says so.
    """

    page: str
    line: int
    language: str
    text: str
    file: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a shell block, with what the page says it prints; None: nothing said."""

    text: str
    prints: str | None


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block of a page, which is named by its path from the root."""
    text = (ROOT / page).read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["file"])


def commands(block: Block) -> Iterator[Command]:
    """The commands of a shell block: lines, with those that go on after a backslash joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            said = _PRINTS.search(line)
            yield Command(re.sub(r"\s+# .*$", "", line), said and said[1])


def printed(block: Block) -> list[str]:
    """What a program prints, line by line, by its comments."""
    return [said[1] for line in block.text.splitlines() if (said := _PRINTS.search(line))]


def agrees(output: str, said: str) -> bool:
    """Whether lines are what was said of them: `, ` for a new line, `…` for anything."""
    pattern = ".*".join(re.escape(part) for part in said.split("…"))
    return re.fullmatch(pattern, ", ".join(output.split("\n"))) is not None
