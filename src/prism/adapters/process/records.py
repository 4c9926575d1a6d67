"""A line that a pattern printed, as a record of the proxy's own log."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# Said by the record itself, or by every line of the proxy's log anyway.
_CARRIED = frozenset({"time", "level", "message", "logger", "service", "version"})
# Not for others to set: the names have a meaning to whatever formats a record.
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "taskName"}

LOGGER = "prism.pattern"
"""Of what patterns print, unless they name another."""


def record_of(line: bytes, origin: Mapping[str, Any]) -> logging.LogRecord:
    """One line of JSON keeps its level, time and fields; any other is its own message.

    Args:
        origin: fields that say whose line it is.
    """
    text = line.decode("utf-8", "backslashreplace").rstrip("\r")
    said = _said(text)
    if said is None:
        return _record(logging.INFO, LOGGER, text, origin)
    level = _LEVELS.get(str(said.get("level")), logging.INFO)
    logger, message = str(said.get("logger", LOGGER)), str(said["message"])
    record = _record(level, _encodable(logger), _encodable(message), origin)
    with suppress(ValueError):
        record.created = datetime.fromisoformat(str(said.get("time"))).timestamp()
    for name, value in said.items():
        if name not in _CARRIED:
            kept = f"pattern_{name}" if name in _RESERVED else _encodable(name)
            vars(record).setdefault(kept, _encodable(value) if isinstance(value, str) else value)
    return record


def _said(text: str) -> dict[str, Any] | None:
    """What a line of our own log says; None for anything else."""
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and "message" in said else None


def _encodable(text: str) -> str:
    """Half a character, which JSON can hold and UTF-8 cannot, is told as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _record(level: int, logger: str, message: str, origin: Mapping[str, Any]) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": logger,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            **origin,
        }
    )
