"""Output of a pattern's process: split into lines, rate-limited, logged by the proxy."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from prism.domain.redaction import Redact
from prism.domain.token_bucket import TokenBucket

LOGGER = "prism.pattern"
"""Logger of lines that name no logger."""

MAX_LINE_BYTES = 16 << 10

log = logging.getLogger(LOGGER)

_LINES_PER_SECOND, _BURST = 50.0, 200
_LAST_LINES = 10
_MAX_MESSAGE_LENGTH = 300
_READ_BYTES = 64 << 10
# After a large read, or one with too many lines, reading pauses: at most 3 MB/s are read.
_LARGE_READ_BYTES = 4 << 10
_PAUSE_S = 0.02
_REPORT_DROPPED_AFTER_S = 1.0

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# Fields that the record itself has, or that every line of the proxy's log has.
_OWN_FIELDS = frozenset({"time", "level", "message", "logger", "service", "version"})
# Attributes of a record that have a meaning for formatters.
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "taskName"}


class ProcessOutput:
    """Logs what one process prints, within a rate limit, and keeps the last lines.

    Args:
        pattern: name of the pattern; a field of each record, as is the process id.
        redact: removes secrets from the last message; the log redacts its records itself.
    """

    def __init__(self, pattern: str, pid: int, redact: Redact = str) -> None:
        self._origin: dict[str, object] = {"pattern": pattern, "pattern_pid": pid}
        self._redact = redact
        self._lines = LineSplitter()
        self._bucket = TokenBucket(_LINES_PER_SECOND, _BURST)
        self._last: deque[bytes] = deque(maxlen=_LAST_LINES)
        self._dropped = 0
        self._report_timer: asyncio.TimerHandle | None = None

    @property
    def last_message(self) -> str:
        """The last error among the last lines, or else the last line; empty: no output."""
        records = [_record_of(line, self._origin) for line in self._last]
        errors = [each for each in records if each.levelno >= logging.ERROR]
        text = self._redact((errors or records)[-1].getMessage()) if records else ""
        return text if len(text) <= _MAX_MESSAGE_LENGTH else text[: _MAX_MESSAGE_LENGTH - 1] + "…"

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read and log until the end of the stream. Cancelling loses unread output."""
        try:
            while data := await stream.read(_READ_BYTES):
                complete = self._log(self._lines.feed(data))
                if not complete or len(data) > _LARGE_READ_BYTES:
                    await asyncio.sleep(_PAUSE_S)
        finally:
            self._log(self._lines.flush())
            if self._report_timer is not None:
                self._report_timer.cancel()
                self._report_dropped()

    def _log(self, lines: list[bytes]) -> bool:
        """Log the lines; return whether none was dropped."""
        self._last.extend(lines[-_LAST_LINES:])
        for logged, line in enumerate(lines):
            if not self._bucket.take():
                self._dropped += len(lines) - logged
                if self._report_timer is None:
                    loop = asyncio.get_running_loop()
                    self._report_timer = loop.call_later(
                        _REPORT_DROPPED_AFTER_S, self._report_dropped
                    )
                return False
            _emit(_record_of(line, self._origin))
        return True

    def _report_dropped(self) -> None:
        self._report_timer = None
        dropped, self._dropped = self._dropped, 0
        if dropped:
            message = f"{dropped:,} lines dropped: the pattern prints too many"
            _emit(_record(logging.WARNING, LOGGER, message, self._origin))


class LineSplitter:
    """Splits output into lines; drops empty lines, and cuts long ones."""

    def __init__(self) -> None:
        self._begun = b""
        self._overlong = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete."""
        *ended, begun = data.split(b"\n")
        lines = []
        if ended:
            if not self._overlong:
                lines.append(self._begun + ended[0])
            lines += ended[1:]
            self._begun, self._overlong = b"", False
        if not self._overlong:
            self._begun += begun
            if len(self._begun) > MAX_LINE_BYTES:
                lines.append(self._begun)
                self._begun, self._overlong = b"", True
        return [_cut(line) for line in lines if line]

    def flush(self) -> list[bytes]:
        """Return the last line, if no line break ended it."""
        return self.feed(b"\n")


def _cut(line: bytes) -> bytes:
    return line if len(line) <= MAX_LINE_BYTES else line[:MAX_LINE_BYTES] + b" [cut]"


def _emit(record: logging.LogRecord) -> None:
    # Not by the logger that the record names: `logging` never forgets a logger.
    if log.isEnabledFor(record.levelno):
        log.handle(record)


def _record_of(line: bytes, origin: Mapping[str, object]) -> logging.LogRecord:
    """Return a record of the line; a line of JSON keeps its level, time and fields.

    Args:
        origin: fields that name the process.
    """
    text = line.decode("utf-8", "backslashreplace").rstrip("\r")
    fields = _fields_of(text)
    if fields is None:
        return _record(logging.INFO, LOGGER, text, origin)
    level = _LEVELS.get(str(fields.get("level")), logging.INFO)
    logger, message = str(fields.get("logger", LOGGER)), str(fields["message"])
    record = _record(level, _encodable(logger), _encodable(message), origin)
    with suppress(ValueError):
        record.created = datetime.fromisoformat(str(fields.get("time"))).timestamp()
    for name, value in fields.items():
        if name not in _OWN_FIELDS:
            kept = f"pattern_{name}" if name in _RESERVED else _encodable(name)
            vars(record).setdefault(kept, _encodable(value) if isinstance(value, str) else value)
    return record


def _fields_of(text: str) -> dict[str, object] | None:
    """Return the fields of a line of Prism's own log; None for any other line."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and "message" in fields else None


def _encodable(text: str) -> str:
    """Return the text with lone surrogates, which JSON can hold and UTF-8 cannot, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _record(
    level: int, logger: str, message: str, origin: Mapping[str, object]
) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": logger,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            **origin,
        }
    )
