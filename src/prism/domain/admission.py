"""Admission: admits operations, limits how many are in flight, and drains them.

Admission alone knows what is in flight, so it is also what a drain waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Protocol

from prism.domain.connection_budget import UnreadReplies
from prism.domain.tallies import OperationTally
from prism.domain.turns import Turns
from prism.ports import DrainReport, Exhausted, NotServing, Outcome, PrismError
from prism.ports.text import counted

# Context variables, because the gateway implements the key-value ports: their methods have no
# parameter for the connection of a request, or for what was reserved for it.

connection: ContextVar[str] = ContextVar("connection", default="")
"""Name of the connection of the current request, set by a transport; empty: unknown."""

reservation: ContextVar[Reservation | None] = ContextVar("reservation", default=None)
"""Reservation for the operation that the current task is about to begin."""

_ABORT_GRACE_S = 1.0


class InFlight(Protocol):
    """Something in flight that a drain can abort."""

    def abort(self) -> None:
        """End it, because a drain has reached its timeout."""
        ...


class Admission:
    """Admits operations while it is open, within limits.

    Args:
        max_in_flight: maximum number of operations in flight.
        max_per_connection: maximum number of operations in flight from one connection.

    Attributes:
        unread: replies that callers have not read.
        turns: turns of the event loop, in which the work of callers begins.
        refused: number of operations refused because admission was closed.
        shed: number of operations refused because a limit was reached.
    """

    def __init__(self, *, max_in_flight: int, max_per_connection: int) -> None:
        self._max_in_flight = max_in_flight
        self._max_per_connection = max_per_connection
        self.refused = 0
        self.shed = 0
        self.unread = UnreadReplies()
        self.turns = Turns()
        # What is in flight, and how many for each connection, except for `_latest`.
        self._by_connection: dict[str, int] = {}
        self._slots: set[InFlight] = set()
        # The operation that began last is counted when another begins: most have ended by then,
        # and their slot serves again.
        self._latest = _Slot(self)
        self._close_callbacks: set[Callable[[], None]] = set()
        self._refusal: str | None = "not started yet"
        self._started = False
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def in_flight(self) -> int:
        """Number of operations admitted and not finished."""
        return len(self._slots) + bool(self._latest.begun_ns)

    @property
    def max_in_flight(self) -> int:
        """Maximum of `in_flight`."""
        return self._max_in_flight

    def open(self) -> None:
        """Admit operations from now on."""
        self._refusal = None
        self._started = True

    def check_started(self) -> None:
        """Raise `NotServing` if admission was never opened."""
        if not self._started:
            raise self.refusal()

    def check_open(self) -> None:
        """Raise `NotServing` while admission is closed."""
        if self._refusal is not None:
            raise self.refusal()

    def refusal(self) -> NotServing:
        """Return the error of operations while admission is closed."""
        return NotServing(f"not serving: {self._refusal}")

    def close(self, reason: str) -> None:
        """Refuse operations from now on; those in flight continue.

        Args:
            reason: end of the error message, after "not serving: ".
        """
        self._refusal = reason
        for callback in tuple(self._close_callbacks):
            callback()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time admission closes, until `remove_on_close`."""
        self._close_callbacks.add(callback)

    def remove_on_close(self, callback: Callable[[], None]) -> None:
        """Undo `on_close`; no effect when it was undone already."""
        self._close_callbacks.discard(callback)

    def admit(self, tally: OperationTally | None = None) -> _Slot:
        """Admit an operation; return a context manager that surrounds it.

        Args:
            tally: counts the operation when it ends; None: not counted.

        Raises:
            NotServing: admission is closed.
            Exhausted: a limit is reached.
        """
        held = reservation.get()
        if held is not None:
            reservation.set(None)
            return held.claim(tally)
        slot = self._latest
        if slot.begun_ns:
            self._count_latest()
            slot = self._latest
        slot.connection, slot.tally = self._check_limits(), tally
        return slot

    def reserve(self, aborted: Callable[[], None]) -> Reservation:
        """Admit an operation that has to wait before it begins; it is in flight from now on.

        Args:
            aborted: called when a drain aborts the operation before it begins.

        Raises:
            NotServing, Exhausted: as `admit`.
        """
        return Reservation(self, aborted)

    def enter(self, operation: InFlight) -> str:
        """Admit an operation that runs outside a task; it is in flight until `leave`.

        Returns:
            Name of its connection, to be passed to `leave`.

        Raises:
            NotServing, Exhausted: as `admit`.
        """
        if self._latest.begun_ns:
            self._count_latest()
        name = self._check_limits()
        # As `_count` does: a proxy pays for each call that this makes.
        self._slots.add(operation)
        if name:
            self._by_connection[name] = self._by_connection.get(name, 0) + 1
        return name

    def leave(self, operation: InFlight, name: str) -> None:
        """Undo `enter`; to be called exactly once."""
        self._slots.discard(operation)
        if name:
            count = self._by_connection[name] - 1
            if count:
                self._by_connection[name] = count
            else:
                del self._by_connection[name]
        if self._idle is not None and not self._slots:
            self._idle.set()

    def _check_limits(self) -> str:
        """Return the name of the connection; raise if an operation more is too many."""
        if self._refusal is not None or len(self._slots) >= self._max_in_flight:
            raise self._refused()
        name = connection.get()
        counts = self._by_connection
        if counts and counts.get(name, 0) >= self._max_per_connection:
            self.shed += 1
            raise Exhausted(
                f"the limit of {counted(counts[name], 'call')} in flight on this connection is "
                "reached; wait for some to end, or raise --max-in-flight-per-connection",
                reason="TOO_MANY_IN_FLIGHT",
            )
        return name

    def _count(self, operation: InFlight, name: str) -> None:
        self._slots.add(operation)
        if name:
            self._by_connection[name] = self._by_connection.get(name, 0) + 1

    def _count_latest(self) -> None:
        """Count the operation that began last, if it is in flight."""
        slot = self._latest
        if slot.begun_ns:
            self._count(slot, slot.connection)
            self._latest = _Slot(self)

    def _refused(self) -> PrismError:
        """Count a refused operation; return its error."""
        if self._refusal is not None:
            self.refused += 1
            return self.refusal()
        self.shed += 1
        return Exhausted(
            f"the limit of {counted(self._max_in_flight, 'call')} in flight is reached; "
            "try again later, or raise --max-in-flight",
            reason="TOO_MANY_IN_FLIGHT",
        )

    async def drain(self, timeout: timedelta) -> DrainReport:
        """Wait for the operations in flight, then abort those that are left.

        Call `close` first. An aborted operation raises `NotServing` with an unknown outcome.

        Returns:
            How many of the operations in flight at the start completed or were aborted.
        """
        self._count_latest()
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
        # Cached: get_running_loop() makes a system call, which costs more than all the rest.
        self._loop = asyncio.get_running_loop()
        return self._loop


def aborted_by_drain() -> NotServing:
    """Return the error of an operation that a drain aborts."""
    return NotServing(
        "aborted: the operation was still in flight at the end of the drain timeout",
        outcome=Outcome.UNKNOWN,
    )


class _Slot:
    """Operation in flight that runs in a task; the context manager around it.

    Attributes:
        connection: name of its connection; empty: unknown.
        tally: counts the operation when it ends; None: not counted.
        begun_ns: when it began; 0: it has ended.
    """

    __slots__ = ("_aborted", "_admission", "_task", "begun_ns", "connection", "tally")

    connection: str
    tally: OperationTally | None

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._aborted = False
        self._task: asyncio.Task[Any] | None = None
        self.begun_ns = 0

    def __enter__(self) -> None:
        admission = self._admission
        self._task = asyncio.current_task(admission._loop or admission._find_loop())
        self.begun_ns = perf_counter_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tally = self.tally
        if tally is not None:
            tally.durations.add(perf_counter_ns() - self.begun_ns)
            if kind is not None:
                tally.failed[NotServing if self._aborted else kind] += 1
        self.begun_ns = 0
        if self is not self._admission._latest:
            self._admission.leave(self, self.connection)
        if self._aborted and self._task is not None and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise aborted_by_drain() from None
        self._task = None

    def abort(self) -> None:
        if self._task is not None:
            self._aborted = True
            self._task.cancel()


class Reservation:
    """Operation in flight that has not begun yet."""

    __slots__ = ("_aborted", "_admission", "_connection")

    def __init__(self, admission: Admission, aborted: Callable[[], None]) -> None:
        self._admission = admission
        self._aborted = aborted
        self._connection = admission.enter(self)

    def claim(self, tally: OperationTally | None) -> _Slot:
        """Begin the operation in the current task, which replaces the reservation."""
        # Add before removing: otherwise a drain could see that nothing is in flight.
        slot = _Slot(self._admission)
        slot.connection, slot.tally = self._connection, tally
        slots = self._admission._slots
        slots.add(slot)
        slots.discard(self)
        return slot

    def release(self) -> None:
        """Cancel the reservation; no effect when it was cancelled or claimed already."""
        if self in self._admission._slots:
            self._admission.leave(self, self._connection)

    def abort(self) -> None:
        self.release()
        self._aborted()
