"""Arguments and options that several commands share, and how commands show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from prism.domain.settings import parse_duration
from prism.domain.validation import check_key, check_prefix, check_ttl
from prism.ports import InvalidArgument

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

    Completer = Callable[[Context, list[str], str], list[tuple[str, str] | str]]

Parsed = TypeVar("Parsed")

_UINT64_MAX = (1 << 64) - 1


class PanelCommand(TyperCommand):
    """A command whose help shows each option under the heading that is its `rich_help_panel`."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                assert isinstance(param, TyperArgument | TyperOption)
                kind = "Arguments" if isinstance(param, TyperArgument) else "Options"
                panels.setdefault(param.rich_help_panel or kind, []).append(record)
        for heading, records in panels.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def example(command: str) -> str:
    """Return the text that ends a command's help.

    Args:
        command: what is typed after `prism`.
    """
    # \b keeps the lines as they are.
    return f"\b\nExample:\n  prism {command}"


def parser(parse: Callable[[str], Parsed]) -> Callable[[str | Parsed], Parsed]:
    """Return a `parser` for Typer: passes defaults on, and shows the errors of `parse`."""

    def parse_parameter(given: str | Parsed) -> Parsed:
        if not isinstance(given, str):
            return given
        try:
            return parse(given)
        except (ValueError, InvalidArgument) as error:
            raise typer.BadParameter(str(error)) from None

    return parse_parameter


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
    # Bytes that are not UTF-8 arrive from argv as lone surrogates, which the check rejects.
    check_key(given)
    return given


def _prefix(given: str) -> str:
    check_prefix(given)
    return given


positive_duration = parser(_positive_duration)


def installed_drivers() -> list[str]:
    """Return the names of the installed drivers, for completion."""
    from prism.bootstrap import discovery

    return discovery.names()


def complete_from(choices: Callable[[], Iterable[str]]) -> Completer:
    """Return an `autocompletion` for `TyperOption`, which picks those that begin as typed."""

    def complete(_ctx: Context, _args: list[str], _incomplete: str) -> list[tuple[str, str] | str]:
        return [*choices()]

    return complete


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
        help="Let the key expire after this time: 1500ms, 2s, 5m, 1h, 1d, …",
    ),
]
IfVersion = Annotated[
    int | None,
    typer.Option(
        "--if-version", metavar="N", min=0, max=_UINT64_MAX, help="Only if the key has version N."
    ),
]
DrainTimeout = Annotated[
    timedelta,
    typer.Option(
        metavar="DURATION",
        parser=positive_duration,
        show_default="30s",
        help="Abort calls that are still in flight after this time.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, on one line.")]
