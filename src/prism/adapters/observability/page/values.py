"""What a section of the page is made of: plain values, which the template turns into HTML.

A text may hold anything: secrets are masked, control characters made visible, and
HTML escaped when it is shown (`page.py`), and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Tone(StrEnum):
    """How a text is meant; its colour only repeats what it says."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Mark:
    """A text that stands out."""

    text: str
    tone: Tone


Text = str | Mark


@dataclass(frozen=True, slots=True)
class Facts:
    """Names, each with what there is to say of it."""

    kind: ClassVar = "facts"

    pairs: Sequence[tuple[str, Text]]


class Column(StrEnum):
    """What is in a column."""

    WORDS = "words"
    MOMENT = "moment"
    NUMBER = "number"
    NAME = "name"
    VERBATIM = "verbatim"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind.

    Attributes:
        columns: titles, each with what is below it; the first names the row.
        empty: said where there are no rows.
    """

    kind: ClassVar = "table"

    caption: str
    columns: Sequence[tuple[str, Column]]
    rows: Sequence[Sequence[Text]]
    empty: str

    @property
    def is_of_numbers(self) -> bool:
        """To be compared down a column, so that a narrow window scrolls; words it stacks."""
        return self.columns[-1][1] is Column.NUMBER


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, of which the last is the latest.

    Attributes:
        summary: what they show, in words, which some readers have instead.
        heights: from 0 to 1.
        room: for how many there is; the first ones may be missing.
    """

    kind: ClassVar = "chart"

    summary: str
    heights: Sequence[float]
    room: int


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        note: what a reader must know to read it.
    """

    blocks: Sequence[Facts | Table | Chart]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """What comes first, and says whether all is well.

    Attributes:
        subject: whose page it is.
        reason: more about the state; may be empty.
    """

    subject: str
    state: Mark
    reason: str


Source = Callable[[], Section]
"""Makes a section of what is known at that moment, at once and without asking anybody."""
