"""The settings that hold, and where each came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prism.adapters.observability.page.values import Column, Section, Table


class Setting(NamedTuple):
    """One setting.

    Attributes:
        text: None: it has no value.
        origin: where it was given, in words.
    """

    name: str
    text: str | None
    origin: str


def settings(held: Iterable[Setting]) -> Section:
    """As `prism config show` prints them."""
    rows = [(each.name, "-" if each.text is None else each.text, each.origin) for each in held]
    table = Table(
        caption="What holds, and where it was given; secrets are masked",
        columns=(
            ("Setting", Column.NAME),
            ("Value", Column.VERBATIM),
            ("From", Column.WORDS),
        ),
        rows=rows,
        empty="There are none.",
    )
    return Section([table])
