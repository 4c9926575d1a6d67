"""Lets operations in, bounds how many there are, and sees them out.

The one place that knows what is in flight, so it is also what a drain waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from time import perf_counter_ns
from types import TracebackType
from typing import Protocol

from prism.domain.tallies import OperationTally
from prism.ports import DrainReport, Exhausted, NotServing, Outcome

connection: ContextVar[str] = ContextVar("connection", default="")
"""Which connection a request came by; a transport sets it, empty: none is known."""

place: ContextVar[Place | None] = ContextVar("place", default=None)
"""Held for the operation that is about to begin, which takes it up."""

_ABORT_GRACE_S = 1.0


class Holder(Protocol):
    """What is in flight."""

    def abort(self) -> None:
        """A drain does not wait for it any longer."""
        ...


class Admission:
    """Admits while open, within bounds, and counts what is in flight.

    Args:
        max_in_flight: operations at once, in all.
        max_per_connection: operations at once by one connection.

    Attributes:
        refused: operations that came while closed.
        shed: operations that were one too many.
    """

    def __init__(self, *, max_in_flight: int, max_per_connection: int) -> None:
        self._max_in_flight = max_in_flight
        self._max_per_connection = max_per_connection
        self.refused = 0
        self.shed = 0
        self._by_connection: dict[str, int] = {}
        self._slots: set[Holder] = set()
        self._told_of_closing: set[Callable[[], None]] = set()
        self._refusal: str | None = "not started yet"
        self._started = False
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def in_flight(self) -> int:
        """Operations admitted and not finished."""
        return len(self._slots)

    @property
    def max_in_flight(self) -> int:
        """The bound on `in_flight`."""
        return self._max_in_flight

    def open(self) -> None:
        """Admit from now on."""
        self._refusal = None
        self._started = True

    def check_started(self) -> None:
        """Raises NotServing before it was first opened."""
        if not self._started:
            raise self.refusal()

    def check_open(self) -> None:
        """Raises NotServing while closed."""
        if self._refusal is not None:
            raise self.refusal()

    def refusal(self) -> NotServing:
        """What is answered while closed."""
        return NotServing(f"not serving: {self._refusal}")

    def close(self, reason: str) -> None:
        """Refuse from now on; what is in flight goes on."""
        self._refusal = reason
        for told in tuple(self._told_of_closing):
            told()

    def when_closed(self, told: Callable[[], None]) -> None:
        """Call `told` whenever this closes, until `forget`."""
        self._told_of_closing.add(told)

    def forget(self, told: Callable[[], None]) -> None:
        """Undo `when_closed`; safe more than once."""
        self._told_of_closing.discard(told)

    def admit(self, tally: OperationTally | None = None) -> _Slot:
        """A context manager around one operation.

        Args:
            tally: counts it, however it ends.

        Raises:
            NotServing: closed.
            Exhausted: a bound is reached.
        """
        held = place.get()
        if held is not None:
            place.set(None)
            return held.take_up(tally)
        return _Slot(self, self._let_in(), tally)

    def reserve(self, aborted: Callable[[], None]) -> Place:
        """A place for an operation that has to wait: in flight from now on.

        Args:
            aborted: called when a drain does not wait for it any longer.

        Raises:
            NotServing, Exhausted: as `admit`.
        """
        return Place(self, aborted)

    def enter(self, holder: Holder) -> str:
        """Have the holder in flight until `leave`, whatever becomes of it.

        Returns:
            The name of its connection, for `leave`.

        Raises:
            NotServing, Exhausted: as `admit`.
        """
        name = self._let_in()
        self._slots.add(holder)
        return name

    def leave(self, holder: Holder, name: str) -> None:
        """Undo `enter`, once."""
        self._slots.discard(holder)
        if name:
            count = self._by_connection[name] - 1
            if count:
                self._by_connection[name] = count
            else:
                del self._by_connection[name]
        if self._idle is not None and not self._slots:
            self._idle.set()

    def _let_in(self) -> str:
        """Count one more; the name of its connection."""
        if self._refusal is not None:
            self.refused += 1
            raise self.refusal()
        if len(self._slots) >= self._max_in_flight:
            self.shed += 1
            raise Exhausted(
                f"{self._max_in_flight:,} calls are in flight, which is the limit; "
                "try again later or raise --max-in-flight",
                reason="TOO_MANY_IN_FLIGHT",
            )
        name = connection.get()
        if name:
            count = self._by_connection.get(name, 0)
            if count >= self._max_per_connection:
                self.shed += 1
                raise Exhausted(
                    f"this connection has {count:,} calls in flight, which is its limit; "
                    "wait for some, or raise --max-in-flight-per-connection",
                    reason="TOO_MANY_IN_FLIGHT",
                )
            self._by_connection[name] = count + 1
        return name

    async def drain(self, timeout: timedelta) -> DrainReport:
        """Wait for what is in flight, then abort what is left. Close first.

        An aborted operation raises `NotServing` with an unknown outcome.
        """
        pending = len(self._slots)
        if not await self._wait_idle(timeout.total_seconds()):
            left = list(self._slots)
            for slot in left:
                slot.abort()
            await self._wait_idle(_ABORT_GRACE_S)
            return DrainReport(completed=pending - len(left), aborted=len(left))
        return DrainReport(completed=pending)

    async def _wait_idle(self, seconds: float) -> bool:
        if not self._slots:
            return True
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._idle = None
        return True

    def _find_loop(self) -> asyncio.AbstractEventLoop:
        # Finding it is a system call, and dearer than all the rest of letting in.
        self._loop = asyncio.get_running_loop()
        return self._loop


class _Slot:
    __slots__ = ("_aborted", "_admission", "_begun_ns", "_connection", "_tally", "_task")

    def __init__(self, admission: Admission, name: str, tally: OperationTally | None) -> None:
        self._admission = admission
        self._connection = name
        self._tally = tally
        self._aborted = False
        self._task = asyncio.current_task(admission._loop or admission._find_loop())
        admission._slots.add(self)
        self._begun_ns = perf_counter_ns()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tally = self._tally
        if tally is not None:
            tally.add(perf_counter_ns() - self._begun_ns)
            if kind is not None:
                tally.failed[NotServing if self._aborted else kind] += 1
        self._admission.leave(self, self._connection)
        if self._aborted and self._task is not None and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise NotServing(
                "aborted: it was still in flight when the time to drain was over",
                outcome=Outcome.UNKNOWN,
            ) from None

    def abort(self) -> None:
        if self._task is not None:
            self._aborted = True
            self._task.cancel()


class Place:
    """Held in flight for an operation until it begins, or is given up."""

    __slots__ = ("_aborted", "_admission", "_connection")

    def __init__(self, admission: Admission, aborted: Callable[[], None]) -> None:
        self._admission = admission
        self._aborted = aborted
        self._connection = admission.enter(self)

    def take_up(self, tally: OperationTally | None) -> _Slot:
        """The same place, for the task that runs the operation."""
        # In before out, or a drain would think that nothing is left.
        slot = _Slot(self._admission, self._connection, tally)
        self._admission._slots.discard(self)
        return slot

    def release(self) -> None:
        """Give it up; safe more than once, and after it was taken up."""
        if self in self._admission._slots:
            self._admission.leave(self, self._connection)

    def abort(self) -> None:
        self.release()
        self._aborted()
