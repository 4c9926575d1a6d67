"""What a process prints: into our log, bounded, with its last words kept."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from prism.adapters.process.lines import Lines
from prism.adapters.process.records import LOGGER, record_of
from prism.domain.token_bucket import TokenBucket

log = logging.getLogger(LOGGER)

_PER_SECOND, _BURST = 50.0, 200
_LAST = 10
_LONGEST_WORDS = 300
_READ_BYTES = 64 << 10
# A process that prints as much at once, or more than may be told, is held up: 3 MB/s are
# read of it at most, whatever its lines are.
_MUCH_BYTES = 4 << 10
_HELD_UP_S = 0.02
_TELL_DROPPED_S = 1.0


class Output:
    """Takes in what one process of a pattern prints.

    Args:
        pattern: goes into each record, as does the process id.
        redact: hides secrets in the last words; the log redacts by itself.
    """

    def __init__(self, pattern: str, pid: int, redact: Callable[[str], str] = str) -> None:
        self._origin = {"pattern": pattern, "pattern_pid": pid}
        self._redact = redact
        self._lines = Lines()
        self._bucket = TokenBucket(_PER_SECOND, _BURST)
        self._last: deque[bytes] = deque(maxlen=_LAST)
        self._dropped = 0
        self._telling: asyncio.TimerHandle | None = None

    @property
    def last_words(self) -> str:
        """The last error that it told of, or else the last line; empty: it said nothing."""
        records = [record_of(line, self._origin) for line in self._last]
        errors = [each for each in records if each.levelno >= logging.ERROR]
        words = self._redact((errors or records)[-1].getMessage()) if records else ""
        return words if len(words) <= _LONGEST_WORDS else words[: _LONGEST_WORDS - 1] + "…"

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Read until nobody can print there any more. Cancelling loses what was not read."""
        try:
            while data := await stream.read(_READ_BYTES):
                told = self._tell(self._lines.feed(data))
                if not told or len(data) > _MUCH_BYTES:
                    await asyncio.sleep(_HELD_UP_S)
        finally:
            self._tell(self._lines.rest())
            if self._telling is not None:
                self._telling.cancel()
                self._tell_dropped()

    def _tell(self, lines: list[bytes]) -> bool:
        """Whether all of them may be told."""
        self._last.extend(lines[-_LAST:])
        for told, line in enumerate(lines):
            if not self._bucket.take():
                self._dropped += len(lines) - told
                if self._telling is None:
                    loop = asyncio.get_running_loop()
                    self._telling = loop.call_later(_TELL_DROPPED_S, self._tell_dropped)
                return False
            _emit(record_of(line, self._origin))
        return True

    def _tell_dropped(self) -> None:
        self._telling = None
        dropped, self._dropped = self._dropped, 0
        if dropped:
            record = record_of(b"", self._origin)
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg = f"{dropped:,} lines dropped: the pattern prints too many"
            _emit(record)


def _emit(record: logging.LogRecord) -> None:
    # Not by the logger that the record names: those are made once and kept for ever.
    if log.isEnabledFor(record.levelno):
        log.handle(record)
