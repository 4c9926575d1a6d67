"""Lines that libraries write to the standard error descriptor, as log records.

Libraries in Rust and C write past Python's logging. Their lines would carry neither time
nor level, could quote a secret, and could fill a disk when a peer causes many of them.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from typing import IO

from prism.domain.token_bucket import TokenBucket

log = logging.getLogger("stderr")

_LINES_PER_SECOND = 5.0
_BURST = 50
_MAX_LINE_BYTES = 4096


class StderrCapture:
    """Replaces descriptor 2 by a pipe, and logs the lines that arrive there, at a limited rate.

    Python's own `sys.stderr`, where the log goes, keeps the real descriptor. Lines beyond
    the rate are counted, and the count is logged with the next line that is within it.
    """

    def __init__(self) -> None:
        self._rate = TokenBucket(per_second=_LINES_PER_SECOND, burst=_BURST)
        self._omitted = 0
        self._real: int | None = None
        self._python_stderr = sys.stderr
        self._reader: threading.Thread | None = None

    def start(self) -> IO[str]:
        """Begin, and return the stream to log to, which is also `sys.stderr` from now on."""
        sys.stderr.flush()
        self._real = os.dup(2)
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self._reader = threading.Thread(
            target=self._read, args=(reading,), name="stderr", daemon=True
        )
        self._reader.start()
        # Without a buffer: a signal handler may log while a log line is being written.
        raw = io.FileIO(self._real, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(raw, errors="backslashreplace", write_through=True)
        return sys.stderr

    def stop(self) -> None:
        """Give descriptor 2 back, after everything written there is logged."""
        if self._real is None or self._reader is None:
            return
        # The pipe ends when its last writing descriptor is replaced.
        os.dup2(self._real, 2)
        self._reader.join(timeout=1)
        sys.stderr, stream = self._python_stderr, sys.stderr
        stream.flush()
        os.close(self._real)
        self._real = None

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as pipe:
            rest = b""
            while data := pipe.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._log(line)
                if len(rest) > _MAX_LINE_BYTES:
                    self._log(rest)
                    rest = b""
            self._log(rest)

    def _log(self, line: bytes) -> None:
        text = line[:_MAX_LINE_BYTES].decode(errors="backslashreplace").strip()
        if not text:
            return
        if not self._rate.take():
            self._omitted += 1
            return
        omitted, self._omitted = self._omitted, 0
        log.warning("%s", text, extra={"omitted_lines": omitted} if omitted else None)
