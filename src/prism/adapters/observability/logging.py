"""Log lines on stderr, one event each, as JSON or text; log records as debug events."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Literal

from pythonjsonlogger.json import JsonFormatter

from prism.adapters.observability.formatting import escaped
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.patterns.values import DebugKind, DebugLevel
from prism.domain.redaction import Redact, redact_urls
from prism.domain.token_bucket import TokenBucket

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
}

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
    """Write every log record of this process to stderr.

    Text is coloured on a terminal, unless `NO_COLOR` is set (https://no-color.org).

    Args:
        form: format of a line.
        fields: names and values in every JSON line, such as service and version.
        redact: removes secrets from every text, also from those of libraries.
        debug: include Prism's own debug records.
        stream: where to write instead of stderr.
    """
    stream = stream or sys.stderr
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json(fields, redact) if form == "json" else _Text(redact, coloured))
    handler.addFilter(_LimitLibraries())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, (_Json, _Text)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("prism").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


class _LimitLibraries(logging.Filter):
    """Limits the rate of the records of libraries, of which a caller may cause any number."""

    def __init__(self) -> None:
        super().__init__()
        self._rate = TokenBucket(per_second=10, burst=100)
        self._omitted = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] == "prism":
            return True
        if not self._rate.take():
            self._omitted += 1
            return False
        if self._omitted:
            record.omitted_lines, self._omitted = self._omitted, 0
        return True


_OWN_FIELDS = frozenset(
    {
        *("time", "level", "logger", "service", "version", "driver", "trace_id", "span_id"),
        *("method", "code", "reason", "event", "pattern", "state"),
        *("grpc_address", "more_grpc_addresses", "metrics_address"),
    }
)
"""Fields whose values Prism made itself: never redacted, even if a password is `info`."""


class DebugEventHandler(logging.Handler):
    """Adds a debug event for each log record of level INFO and above.

    The code that sends the events must not log each one, or it would never finish.

    Args:
        redact: removes secrets from messages and details.
    """

    def __init__(self, events: DebugEventBuffer, redact: Redact) -> None:
        super().__init__(logging.INFO)
        self._events = events
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        try:
            details = {
                key: str(value) if key in _OWN_FIELDS else self._redact(str(value))
                for key, value in _extra_of(record).items()
                if value is not None
            }
            details["logger"] = record.name
            if record.exc_info and record.exc_info[0] is not None:
                details["error"] = record.exc_info[0].__name__
            message = self._redact(record.getMessage())
            self._events.add(_debug_level_of(record), DebugKind.LOG, message, details)
        except Exception:
            # Like every handler: logging must not fail in the code that logs.
            self.handleError(record)


class _Json(JsonFormatter):
    def __init__(self, fields: Mapping[str, str], redact: Redact) -> None:
        super().__init__(static_fields=dict(fields))
        self._redact = redact

    def add_fields(
        self,
        log_data: dict[str, object],
        record: logging.LogRecord,
        message_dict: dict[str, object],
    ) -> None:
        log_data["time"] = _time_of(record)
        log_data["level"] = record.levelname.lower()
        log_data["message"] = record.getMessage()
        log_data["logger"] = record.name
        log_data |= _trace_ids()
        super().add_fields(log_data, record, message_dict)

    def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
        return {
            key: value if key in _OWN_FIELDS else self._redacted(value)
            for key, value in log_data.items()
        }

    def _redacted(self, value: object) -> object:
        if isinstance(value, Mapping):
            return {key: self._redacted(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._redacted(each) for each in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self._redact(str(value))


class _Text(logging.Formatter):
    def __init__(self, redact: Redact, coloured: bool) -> None:
        super().__init__()
        self._redact = redact
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        extra = _extra_of(record) | _trace_ids()
        pairs = "".join(
            f" {key}={value if key in _OWN_FIELDS else self._redact(str(value))}"
            for key, value in extra.items()
            if value is not None
        )
        event = escaped(f"{self._redact(record.getMessage())}{pairs}")
        text = f"{_time_of(record)} {self._level(record)} {event}"
        if record.exc_info:
            # Indented, because an error may quote lines that a caller sent.
            lines = self._redact(self.formatException(record.exc_info)).split("\n")
            text = "\n".join([text, *(f"    {escaped(line)}" for line in lines)])
        return text

    def _level(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():7}"
        colour = _COLOURS.get(record.levelno)
        if not self._coloured or colour is None:
            return name
        return f"\x1b[{colour}m{name}\x1b[0m"


def _extra_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what was logged with `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES}


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace_ids() -> dict[str, object]:
    """Return the ids of the current span if it is recorded, in lower-case hexadecimal.

    https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
    """
    # Not imported here: without tracing, nothing loads OpenTelemetry.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    span = trace.get_current_span()
    # A task may outlive the request that started it, whose span has ended by then.
    if not span.is_recording():
        return {}
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _debug_level_of(record: logging.LogRecord) -> DebugLevel:
    if record.levelno >= logging.ERROR:
        return DebugLevel.ERROR
    return DebugLevel.WARNING if record.levelno >= logging.WARNING else DebugLevel.INFO
