"""Settings of a driver as they are given by `KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

from prism.bootstrap.secret_files import read_secret


def settings_of(direct: Iterable[str], in_files: Iterable[str]) -> dict[str, str]:
    """By key; raises typer.BadParameter for what is no `KEY=VALUE`, or given twice.

    Args:
        in_files: `KEY=PATH`, for values that nobody else may see.
    """
    settings: dict[str, str] = {}
    for key, text in _pairs(direct, "--option", "KEY=VALUE"):
        _add(settings, key, text)
    for key, path in _pairs(in_files, "--option-file", "KEY=PATH"):
        _add(settings, key, read_secret(Path(path)))
    return settings


def _pairs(given: Iterable[str], flag: str, form: str) -> Iterable[tuple[str, str]]:
    for each in given:
        key, separator, text = each.partition("=")
        if not (separator and key):
            # What was given may be a secret that lacks its key.
            raise typer.BadParameter(f"{flag} wants {form}, such as url=redis://localhost:6379")
        yield key.replace("-", "_"), text


def _add(settings: dict[str, str], key: str, text: str) -> None:
    if key in settings:
        raise typer.BadParameter(f"the setting {key!r} is given twice")
    settings[key] = text
