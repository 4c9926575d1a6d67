"""Fenced blocks of documentation pages: files, commands, programs and their output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

# If the paragraph before a block starts with a file name, the block is that file.
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
        page: path of the page.
        line: line of the page where the block begins.
        language: language after the fence.
        text: content of the block.
        file: file that the block contains; None: it is not a file.
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
    """A command of a shell block.

    Attributes:
        text: the command.
        prints: output according to the page; None: not stated.
    """

    text: str
    prints: str | None


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, given by its path from the root."""
    text = (ROOT / page).read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["file"])


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a shell block; lines after a backslash are joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            expected = _PRINTS.search(line)
            yield Command(re.sub(r"\s+# .*$", "", line), expected and expected[1])


def expected_lines(block: Block) -> list[str]:
    """Return the output of a program line by line, as its comments state it."""
    return [found[1] for line in block.text.splitlines() if (found := _PRINTS.search(line))]


def matches(output: str, expected: str) -> bool:
    """Return whether the output matches: `, ` stands for a newline, `…` for any text."""
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, ", ".join(output.split("\n"))) is not None
