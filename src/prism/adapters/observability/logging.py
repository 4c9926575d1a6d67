"""Log lines on stderr, one event each: JSON for machines, or text for people."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal

from pythonjsonlogger.json import JsonFormatter

from prism.adapters.observability.escapes import escaped
from prism.adapters.observability.tracing.correlation import current_ids
from prism.domain.redaction import Redact, redact_urls

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_COLOURS = {logging.DEBUG: 2, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}


def configure(
    form: Literal["json", "text"],
    *,
    fields: Mapping[str, str],
    redact: Redact = redact_urls,
    debug: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Send every log record of this process to stderr.

    Text is coloured on a terminal, unless `NO_COLOR` is set (https://no-color.org).

    Args:
        fields: go into every JSON line, such as service and version.
        redact: hides secrets in every text, whatever its origin.
        debug: Prism's own debug records too.
    """
    stream = stream or sys.stderr
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json(fields, redact) if form == "json" else _Text(redact, coloured))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, (_Json, _Text)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("prism").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


def extra_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was logged beside the message."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _Json(JsonFormatter):
    def __init__(self, fields: Mapping[str, str], redact: Redact) -> None:
        super().__init__(static_fields=dict(fields))
        self._redact = redact

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {key: self._masked(value) for key, value in log_data.items()}

    def _masked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._masked(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._masked(each) for each in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self._redact(str(value))

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        log_data["time"] = _time_of(record)
        log_data["level"] = record.levelname.lower()
        log_data["message"] = record.getMessage()
        log_data["logger"] = record.name
        if ids := current_ids():
            log_data |= ids._asdict()
        super().add_fields(log_data, record, message_dict)


class _Text(logging.Formatter):
    def __init__(self, redact: Redact, coloured: bool) -> None:
        super().__init__()
        self._redact = redact
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        extra = extra_of(record)
        if ids := current_ids():
            extra |= ids._asdict()
        pairs = "".join(f" {key}={value}" for key, value in extra.items() if value is not None)
        # A line of text is one event too.
        said = escaped(f"{record.getMessage()}{pairs}")
        text = f"{_time_of(record)} {self._level(record)} {said}"
        if record.exc_info:
            # Indented, for an error may quote what a caller sent, lines and all.
            lines = self.formatException(record.exc_info).split("\n")
            text = "\n".join([text, *(f"    {escaped(line)}" for line in lines)])
        return self._redact(text)

    def _level(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():7}"
        colour = _COLOURS.get(record.levelno)
        if not self._coloured or colour is None:
            return name
        return f"\x1b[{colour}m{name}\x1b[0m"


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
