"""Log lines on stderr, one event each: JSON for machines, or text for people."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal

from pythonjsonlogger.json import JsonFormatter

from prism.adapters.observability.masking import mask_of
from prism.adapters.observability.tracing.correlation import current_ids

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_COLOURS = {logging.DEBUG: 2, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
# A line of text is one event too, and what is in it does not steer a terminal.
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}


def configure(
    form: Literal["json", "text"],
    *,
    fields: Mapping[str, str],
    secrets: Iterable[str] = (),
    debug: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Send every log record of this process to stderr.

    Text is coloured on a terminal, unless `NO_COLOR` is set (https://no-color.org).

    Args:
        fields: go into every JSON line, such as service and version.
        secrets: hidden wherever they occur, whoever wrote the record.
        debug: Prism's own debug records too.
    """
    stream = stream or sys.stderr
    mask = mask_of(secrets)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json(fields, mask) if form == "json" else _Text(mask, coloured))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, (_Json, _Text)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("prism").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


class _Json(JsonFormatter):
    def __init__(self, fields: Mapping[str, str], mask: Callable[[str], str]) -> None:
        super().__init__(static_fields=dict(fields))
        self._mask = mask

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {key: self._masked(value) for key, value in log_data.items()}

    def _masked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._masked(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._masked(each) for each in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self._mask(str(value))

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
    def __init__(self, mask: Callable[[str], str], coloured: bool) -> None:
        super().__init__()
        self._mask = mask
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if ids := current_ids():
            extra |= ids._asdict()
        pairs = "".join(f" {key}={value}" for key, value in extra.items() if value is not None)
        said = f"{record.getMessage()}{pairs}".translate(_ESCAPES)
        text = f"{_time_of(record)} {self._level(record)} {said}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return self._mask(text)

    def _level(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():7}"
        colour = _COLOURS.get(record.levelno)
        if not self._coloured or colour is None:
            return name
        return f"\x1b[{colour}m{name}\x1b[0m"


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
