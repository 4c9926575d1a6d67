"""What a pattern tells of itself, unasked: how much of it is held, and how much is too much."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from threading import RLock

from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel
from prism.domain.token_bucket import TokenBucket

LONGEST_TEXT = 500
MOST_DETAILS = 50

_FLOOD_IS_OVER_AFTER_S = 1.0


class DebugBuffer:
    """Holds events until they are taken, and numbers them as they are.

    Each kind has a bound of its own on how many a second are let in, so that a flood
    of log lines hides no change of state; when too many are held, the oldest go. What
    is dropped is counted with the next event, or told by one when a flood is over.
    Every thread may add. The last that were taken are kept, to be taken again.

    Args:
        held: at most.
        rate: of each kind, a second.
        burst: of each kind, at once.
        kept: of those that were taken.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        *,
        held: int = 500,
        rate: float = 20.0,
        burst: int = 100,
        kept: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._held = held
        self._clock = clock
        self._buckets = {kind: TokenBucket(rate, burst, clock) for kind in DebugKind}
        self._waiting: deque[DebugEvent] = deque()
        self._taken: deque[DebugEvent] = deque(maxlen=kept)
        self._again: deque[DebugEvent] = deque()
        self._observers: list[Callable[[], None]] = []
        # A signal handler logs in the midst of whatever the same thread is at.
        self._lock = RLock()
        self._sequence = 0
        self._dropped = 0
        self._dropped_at = 0.0

    def observe(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call the observer when there is something to take, in the thread of who added it.

        Returns:
            Ends that.
        """
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def add(
        self,
        level: DebugLevel,
        kind: DebugKind,
        message: str,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Hold one, cut to a bearable length, unless it is too much."""
        with self._lock:
            if not self._buckets[kind].take():
                self._drop(1)
                return
            if len(self._waiting) >= self._held:
                self._drop_oldest()
            self._waiting.append(_event(level, kind, message, details or {}, self._dropped))
            self._dropped = 0
        for observer in tuple(self._observers):
            observer()

    def take(self) -> DebugEvent | None:
        """The oldest that is held, with its number; None: there is none."""
        with self._lock:
            if self._again:
                return self._again.popleft()
            event = self._waiting.popleft() if self._waiting else self._end_of_flood()
            if event is None:
                return None
            self._sequence += 1
            event = replace(event, sequence=self._sequence)
            self._taken.append(event)
            return event

    def rewind(self) -> None:
        """Have the last that were taken, which may have been lost, taken again as they were."""
        with self._lock:
            self._again = self._taken.copy()

    def _end_of_flood(self) -> DebugEvent | None:
        if not self._dropped or self._clock() - self._dropped_at < _FLOOD_IS_OVER_AFTER_S:
            return None
        count, self._dropped = self._dropped, 0
        message = f"{count:,} debug events were too many, and dropped"
        return _event(DebugLevel.WARNING, DebugKind.LOG, message, {}, count)

    def _drop_oldest(self) -> None:
        lost = 1 + self._waiting.popleft().dropped
        if self._waiting:
            now_oldest = self._waiting[0]
            self._waiting[0] = replace(now_oldest, dropped=now_oldest.dropped + lost)
        else:
            self._drop(lost)

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._dropped_at = self._clock()


def _event(
    level: DebugLevel, kind: DebugKind, message: str, details: Mapping[str, str], dropped: int
) -> DebugEvent:
    """Not numbered yet."""
    return DebugEvent(
        sequence=0,
        time=datetime.now(UTC),
        level=level,
        kind=kind,
        message=_cut(message),
        details={_cut(key): _cut(text) for key, text in islice(details.items(), MOST_DETAILS)},
        dropped=dropped,
    )


def _cut(text: str) -> str:
    cut = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    # Whatever was logged: it is to be sent as text.
    return cut.encode("utf-8", "replace").decode()
