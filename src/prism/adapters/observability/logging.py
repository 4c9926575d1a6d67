"""Log lines on stderr, one event each: JSON for machines, or text for people."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, Literal

from pythonjsonlogger.json import JsonFormatter

from prism.adapters.observability.masking import mask_urls

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(
    form: Literal["json", "text"],
    *,
    fields: Mapping[str, str],
    debug: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Send every log record of this process to stderr.

    Args:
        fields: go into every JSON line, such as service and version.
        debug: Prism's own debug records too.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json(fields) if form == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, (_Json, _Text)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("prism").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


class _Json(JsonFormatter):
    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(static_fields=dict(fields))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        for key, value in log_data.items():
            if isinstance(value, str):
                log_data[key] = mask_urls(value)
        return log_data

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
        super().add_fields(log_data, record, message_dict)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        pairs = "".join(f" {key}={value}" for key, value in extra.items() if value is not None)
        head = f"{_time_of(record)} {record.levelname.lower():7} {record.getMessage()}{pairs}"
        if record.exc_info:
            head = f"{head}\n{self.formatException(record.exc_info)}"
        return mask_urls(head)


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
