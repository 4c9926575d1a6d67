"""Conversion of settings between text and frozen dataclasses.

Flags, environment variables, config files and the Initialize command carry settings as text
by name. The dataclass alone defines which names and texts are valid.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prism.ports import InvalidArgument

Settings = TypeVar("Settings")

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False, "0": False, "no": False, "off": False
}  # fmt: skip


_EXPECTS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    timedelta: "a duration such as 1500ms, 2s, 5m, 1h or 1d",
    Path: "a path",
}


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting of a dataclass.

    Attributes:
        name: name of the field.
        type: type of the field, without `None`.
        required: whether the setting has no default.
        default: default as text; None when there is none or when it is `None`.
        help: text for `--help`.
        secret: whether the value is masked wherever settings are shown.
        expects: description of the valid texts, such as "a whole number".
    """

    name: str
    type: object
    required: bool
    default: str | None
    help: str
    secret: bool
    expects: str

    def parse(self, text: str) -> object:
        """Return the value of a text; raise `InvalidArgument`, which names the valid texts."""
        try:
            return _parse(self.type, text)
        except ValueError:
            shown = "***" if self.secret else repr(text)
            raise InvalidArgument(f"{self.name} is {shown}; it must be {self.expects}") from None


def settings_of(settings_type: type) -> list[SettingField]:
    """Return the settings of a dataclass, in the order of its fields."""
    hints = get_type_hints(settings_type)
    found = []
    for field in dataclasses.fields(settings_type):
        kind = _without_none(hints[field.name])
        required = field.default is dataclasses.MISSING
        found.append(
            SettingField(
                name=field.name,
                type=kind,
                required=required,
                default=None if required or field.default is None else to_text(field.default),
                help=field.metadata.get("help", ""),
                secret=field.metadata.get("secret", False),
                expects=_expects(kind),
            )
        )
    return found


def parse_settings(settings_type: type[Settings], texts: Mapping[str, str]) -> Settings:
    """Return the dataclass with these settings, and with its defaults for the others.

    Raises:
        InvalidArgument: a name is unknown, a required setting is missing, or a text is invalid.
    """
    fields = {field.name: field for field in settings_of(settings_type)}
    for name in texts:
        if name not in fields:
            valid = ", ".join(fields) or "none"
            raise InvalidArgument(f"unknown setting {name!r}; the valid ones are: {valid}")
    for name, field in fields.items():
        if field.required and name not in texts:
            raise InvalidArgument(f"the setting {name!r} is required: {field.help}")
    return settings_type(**{name: fields[name].parse(text) for name, text in texts.items()})


def to_text(value: object) -> str:
    """Return the text that `SettingField.parse` converts to the value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        for unit in ("s", "ms"):
            size = timedelta(seconds=_UNITS_S[unit])
            if not value % size:
                return f"{value // size}{unit}"
        return f"{value // timedelta(microseconds=1)}us"
    if isinstance(value, Enum):
        return str(value.value)
    return str(value)


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as `1500ms`, `2s`, `5m`, `1h` or `1d`; raise ValueError."""
    if text.strip() == "0":
        return timedelta()
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 1500ms, 2s, 5m, 1h or 1d")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])
    except OverflowError:
        raise ValueError(f"the duration {text!r} is too long") from None


def _without_none(kind: object) -> object:
    if get_origin(kind) in (Union, types.UnionType):
        rest = [arm for arm in get_args(kind) if arm is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return kind


def _parse(kind: object, text: str) -> object:
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if kind is timedelta:
        return parse_duration(text)
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if kind in (int, float) and not _NUMBER.fullmatch(text):
        # int() and float() also accept 1_000, spaces, nan and inf.
        raise ValueError(text)
    if kind is Path and not text:
        # An empty path would be the working folder.
        raise ValueError(text)
    if kind in (str, int, float, Path) or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(text)
    raise TypeError(f"a setting cannot be of type {kind!r}")


def _expects(kind: object) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if kind not in _EXPECTS:
        raise TypeError(f"a setting cannot be of type {kind!r}")
    return _EXPECTS[kind]
