"""Types of arguments and options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer

from prism.domain.settings import parse_duration
from prism.domain.validation import check_key, check_prefix, check_ttl
from prism.ports import InvalidArgument

Parsed = TypeVar("Parsed")

_UINT64_MAX = (1 << 64) - 1


def parser(parse: Callable[[str], Parsed]) -> Callable[[Any], Parsed]:
    """For Typer: what is parsed already (a default) passes, and errors read as ours do."""

    def parse_argument(given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return parse(given)
        except (ValueError, InvalidArgument) as error:
            raise typer.BadParameter(str(error)) from None

    return parse_argument


def _positive_duration(given: str) -> timedelta:
    duration = parse_duration(given)
    if duration <= timedelta():
        raise ValueError(f"{given!r} is not above zero")
    return duration


def _ttl(given: str) -> timedelta:
    ttl = parse_duration(given)
    check_ttl(ttl)
    return ttl


def _key(given: str) -> str:
    # Bytes that are no UTF-8 arrive from argv as lone surrogates.
    check_key(given)
    return given


def _prefix(given: str) -> str:
    check_prefix(given)
    return given


positive_duration = parser(_positive_duration)


Key = Annotated[
    str, typer.Argument(metavar="KEY", parser=parser(_key), help="1 to 1,024 bytes of UTF-8.")
]
PrefixArgument = Annotated[
    str,
    typer.Argument(
        metavar="PREFIX", parser=parser(_prefix), help="Literal text; empty: every key."
    ),
]
PrefixOption = Annotated[
    str,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        parser=parser(_prefix),
        help="Only keys that begin with this text.",
    ),
]
TtlArgument = Annotated[
    timedelta,
    typer.Argument(metavar="TTL", parser=parser(_ttl), help="Such as 1500ms, 2s, 5m, 1h or 1d."),
]
TtlOption = Annotated[
    timedelta | None,
    typer.Option(
        "--ttl",
        metavar="DURATION",
        parser=parser(_ttl),
        help="Let the key expire after 1500ms, 2s, 5m, 1h, 1d, …",
    ),
]
IfVersion = Annotated[
    int | None,
    typer.Option(
        "--if-version", metavar="N", min=0, max=_UINT64_MAX, help="Only if the key has version N."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, on one line.")]
