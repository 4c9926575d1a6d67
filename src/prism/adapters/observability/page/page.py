"""The page as one HTML document without scripts, and the values that its sections consist of.

A value's text may contain anything. When it is shown, and nowhere else, secrets are
redacted, invisible characters are escaped, and HTML is escaped.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import ClassVar
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from prism.domain.redaction import Redact

log = logging.getLogger(__name__)

_REFRESH_S = 5
_MAX_TEXT_LENGTH = 600


class Tone(StrEnum):
    """Meaning of a badge; its colour only repeats what the text says."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Badge:
    """Text that stands out."""

    text: str
    tone: Tone


Text = str | Badge


@dataclass(frozen=True, slots=True)
class Facts:
    """Pairs of a name and a value."""

    kind: ClassVar = "facts"

    pairs: Sequence[tuple[str, Text]]


class ColumnKind(StrEnum):
    """Kind of text in a column, which decides its style."""

    WORDS = "words"
    MOMENT = "moment"
    NUMBER = "number"
    NAME = "name"
    VERBATIM = "verbatim"


@dataclass(frozen=True, slots=True)
class Table:
    """Table with a caption.

    Attributes:
        columns: title and kind of each column; the first column names the row.
        empty: sentence shown instead of a table without rows.
    """

    kind: ClassVar = "table"

    caption: str
    columns: Sequence[tuple[str, ColumnKind]]
    rows: Sequence[Sequence[Text]]
    empty: str

    @property
    def is_numeric(self) -> bool:
        """Whether readers compare rows: a narrow window scrolls it instead of stacking cells."""
        return self.columns[-1][1] is ColumnKind.NUMBER


@dataclass(frozen=True, slots=True)
class Chart:
    """Bar chart over time, latest bar on the right.

    Attributes:
        summary: description of the bars in words, also for screen readers.
        heights: heights from 0 to 1.
        capacity: number of bars that fit; the leftmost may be missing.
    """

    kind: ClassVar = "chart"

    summary: str
    heights: Sequence[float]
    capacity: int


@dataclass(frozen=True, slots=True)
class Section:
    """Titled part of the page.

    Attributes:
        note: sentence below the blocks; may be empty.
    """

    blocks: Sequence[Facts | Table | Chart]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """Top of the page.

    Attributes:
        subject: name and version of what the page shows.
        state: overall state.
        reason: explanation of the state; may be empty.
    """

    subject: str
    state: Badge
    reason: str


MakeSection = Callable[[], Section]
"""Returns a section as of this moment, from what is known, without I/O."""

# The icon has the colour of the state, which helps in a row of many browser tabs.
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>"
    "<circle cx='4' cy='4' r='3' fill='{}'/></svg>"
)
_ICON_COLOURS = {Tone.GOOD: "#1a7f37", Tone.CAUTION: "#bf8700", Tone.BAD: "#cf222e"}


class StatusPage:
    """Renders the page.

    Args:
        headline: returns the headline as of this moment.
        sections: sections by title, in order.
        redact: removes secrets from every text shown, except what Prism made itself, which the
            template marks.
    """

    def __init__(
        self,
        headline: Callable[[], Headline],
        sections: Mapping[str, MakeSection],
        redact: Redact,
    ) -> None:
        self._headline = headline
        self._sections = sections
        self._redact = redact
        self._template = _template()

    @property
    def policy(self) -> str:
        """Content-Security-Policy that allows the page's own style and icon, and nothing else.

        https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
        """
        digest = base64.b64encode(sha256(_style().encode()).digest()).decode()
        return (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, *, refreshing: bool = False) -> bytes:
        """Return the HTML document as UTF-8.

        Args:
            refreshing: whether the browser reloads the page every few seconds.
        """
        headline = self._headline()
        icon = _ICON.format(_ICON_COLOURS[headline.state.tone])
        document = self._template.render(
            redact=self._redact,
            headline=headline,
            icon=f"data:image/svg+xml,{quote(icon)}",
            sections=list(self._make_sections()),
            style=_style(),
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            refresh_s=_REFRESH_S,
            refreshing=refreshing,
        )
        return document.encode()

    def _make_sections(self) -> Iterator[tuple[str, Section]]:
        for title, make in self._sections.items():
            try:
                yield title, make()
            except Exception as error:
                # A third party's driver may report nonsense; the other sections are still useful.
                log.exception("cannot make the page's section %r", title)
                yield title, Section([], f"This section failed: {type(error).__name__}.")


def visible(text: str) -> str:
    """Return the text with invisible characters escaped, cut if it is long."""
    if len(text) > _MAX_TEXT_LENGTH:
        text = f"{text[: _MAX_TEXT_LENGTH - 1]}…"
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text("utf-8")


def _own(text: str) -> Markup:
    """Mark a text that Prism made itself: a password may be a word of it."""
    return escape(visible(str(text)))


@cache
def _template() -> Template:
    @pass_context
    def finalize(context: Context, value: object) -> object:
        """Redact and escape each text; Jinja escapes HTML after this."""
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return visible(context["redact"](value))

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own"] = _own
    return environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
