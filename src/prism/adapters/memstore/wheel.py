"""Deadlines in order of time.

A hierarchical timing wheel (Varghese and Lauck, 1987) of two levels: near deadlines
lie in slots of 64 ms, far ones in slots of 65 s, which are spread over near ones
when their time comes. Adding and removing cost the same whatever the wheel holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from prism.adapters.memstore.slots import Slots

NEAR_SHIFT = 6
FAR_SHIFT = 16


class Wheel:
    """Keys by deadline, in whole milliseconds of the clock that it is given.

    A key is in it once: who changes a deadline removes the key first, so that the
    wheel never holds more than there is to expire.
    """

    def __init__(self, now_ms: Callable[[], float], deadline_of: Callable[[str], int]) -> None:
        """An empty wheel.

        Args:
            deadline_of: the deadline of a key in the wheel, which thus need not be
                held twice.
        """
        self._now_ms = now_ms
        self._deadline_of = deadline_of
        self._near = Slots(NEAR_SHIFT)
        self._far = Slots(FAR_SHIFT)
        self._count = 0
        self._next: int
        self._window: int
        self._rewind()

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, deadline_ms: int) -> None:
        """Take up a key that is not in the wheel; the deadline is yet to come."""
        if not self._count:
            self._rewind()
        self._count += 1
        level = self._near if deadline_ms >> FAR_SHIFT < self._window else self._far
        level.add(key, deadline_ms)

    def remove(self, key: str, deadline_ms: int) -> None:
        """Drop a key that is in the wheel under this deadline."""
        # What is near by its deadline may still wait in a far slot to be spread.
        if self._near.discard(key, deadline_ms) or self._far.discard(key, deadline_ms):
            self._count -= 1

    def take_due(self, limit: int) -> list[str]:
        """Remove keys that are due, up to 64 ms late, with a bounded amount of work.

        Returns:
            At most `limit` of them, and perhaps none while `behind` is true.
        """
        if not self._count:
            self._rewind()
        due: list[str] = []
        now = self._now()
        work = limit
        while work > 0:
            if keys := self._far.take(self._window - 1, work):
                for key in keys:
                    self._near.add(key, self._deadline_of(key))
            elif self._next == self._window_begin():
                self._window += 1
            elif self._next >= now:
                break
            elif keys := self._near.take(self._next, work):
                due += keys
            elif self._near:
                self._next += 1
            else:
                self._next = min(now, self._window_begin())
            work -= len(keys) or 1
        self._count -= len(due)
        return due

    def take_due_at_once(self, limit: int) -> list[str]:
        """Remove up to `limit` keys that became due in the current 64 ms.

        Looks at every key of that time: for when a write would be refused otherwise.
        """
        now_ms = self._now_ms()
        late = (key for key in self._near.keys(self._now()) if self._deadline_of(key) <= now_ms)
        due = list(islice(late, limit))
        for key in due:
            self._near.discard(key, self._deadline_of(key))
        self._count -= len(due)
        return due

    def behind(self) -> bool:
        """Whether `take_due` has more to do now."""
        return self._count > 0 and (
            self._next < self._now()
            or self._next == self._window_begin()
            or self._window - 1 in self._far
        )

    def dismantle(self) -> Iterator[None]:
        """Release the keys in small steps."""
        yield from self._near.dismantle()
        yield from self._far.dismantle()

    def _now(self) -> int:
        """The near slot of the present, whose time is not over yet."""
        return int(self._now_ms()) >> NEAR_SHIFT

    def _window_begin(self) -> int:
        """The first near slot whose keys are in a far one."""
        return self._window << FAR_SHIFT - NEAR_SHIFT

    def _rewind(self) -> None:
        """Begin at the present; only an empty wheel may skip time."""
        self._next = self._now()
        # Far slots from this one on are far; what lies before it is near.
        self._window = (self._next >> FAR_SHIFT - NEAR_SHIFT) + 1
