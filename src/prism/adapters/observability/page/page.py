"""Sections as one HTML document, which needs nothing else and runs no script."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from prism.adapters.observability.page.values import Headline, Section, Source, Tone

log = logging.getLogger(__name__)

_REFRESH_S = 5
_LONGEST_TEXT = 600

# A dot that says how it goes, for whoever has many tabs; and no browser asks for another.
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>"
    "<circle cx='4' cy='4' r='3' fill='{}'/></svg>"
)
_ICON_COLOURS = {Tone.GOOD: "#1a7f37", Tone.CAUTION: "#bf8700", Tone.BAD: "#cf222e"}


class Page:
    """What people see.

    Args:
        sections: by title, in their order.
        redact: hides the secrets in a text, whoever wrote it.
    """

    def __init__(
        self,
        headline: Callable[[], Headline],
        sections: Mapping[str, Source],
        redact: Callable[[str], str],
    ) -> None:
        self._headline = headline
        self._sections = sections
        self._redact = redact
        self._template = _template()

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: the page's own style and icon, and nothing else.

        https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
        """
        digest = base64.b64encode(sha256(_style().encode()).digest()).decode()
        return (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, *, refreshing: bool = False) -> bytes:
        """The document.

        Args:
            refreshing: the browser shall ask for it again every few seconds.
        """
        headline = self._headline()
        icon = _ICON.format(_ICON_COLOURS[headline.state.tone])
        document = self._template.render(
            redact=self._redact,
            headline=headline,
            icon=f"data:image/svg+xml,{quote(icon)}",
            sections=list(self._made()),
            style=_style(),
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            refresh_s=_REFRESH_S,
            refreshing=refreshing,
        )
        return document.encode()

    def _made(self) -> Iterator[tuple[str, Section]]:
        for title, source in self._sections.items():
            try:
                yield title, source()
            except Exception as error:
                # Somebody else's driver may tell nonsense; the rest is of use all the same.
                log.exception("the page's section %r cannot be made", title)
                yield title, Section([], f"This cannot be shown: {type(error).__name__}.")


def visible(text: str) -> str:
    """The text, cut when it is long, with escapes for what would not be seen or be obeyed."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT - 1]}…"
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text("utf-8")


@cache
def _template() -> Template:
    @pass_context
    def finalize(context: Context, value: Any) -> Any:
        """Every text of the page goes through here, and is escaped after that."""
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
    return environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
