"""Gateway behind the quotas of a policy: counts what each caller uses, then calls the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from prism.domain.access.control import AccessControl
from prism.domain.access.quotas import Budget
from prism.domain.gateway import Gateway
from prism.ports import Entry, Event, Exhausted, Page


class MeteredGateway:
    """Implementation of `FullKeyValue` around a gateway.

    A method raises its refusal when it is called. It returns the gateway's coroutine, or a
    coroutine around that one where bytes count. The cost of an operation follows from its arguments
    and its result, so one method serves all operations, and a new operation needs no change here.

    Args:
        pattern: name of the proxy's pattern behind the gateway; empty: there are none.
    """

    def __init__(self, gateway: Gateway, control: AccessControl, pattern: str) -> None:
        self._gateway = gateway
        self._control = control
        self._pattern = pattern

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._call, getattr(self._gateway, name))

    def _call(
        self, operation: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, **options: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call an operation of the gateway.

        Args:
            arguments: keys, values and items; what is in the options costs nothing.

        Raises:
            Exhausted: the caller's quota is used up.
        """
        budget = self._budget
        if budget is None:
            return operation(*arguments, **options)
        self._spend(budget, _items_in(arguments))
        if not budget.bytes_count:
            return operation(*arguments, **options)
        budget.pay(_bytes_in(arguments))
        return _paid(operation(*arguments, **options), budget)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        budget = self._budget
        if budget is None:
            async with self._gateway.watch(prefix) as events:
                yield events
            return
        self._spend(budget, 1)
        with budget.holding("watch"):
            async with self._gateway.watch(prefix) as events:
                yield _PaidEvents(events, budget) if budget.bytes_count else events

    def begin_unchanged(self) -> bool:
        """Count an operation on one key that is passed on as a message.

        Returns:
            Whether it may be passed on as a message. False: its bytes count, and nothing is counted
            yet.

        Raises:
            Exhausted: the caller's quota is used up.
        """
        budget = self._budget
        if budget is None:
            return True
        if budget.bytes_count:
            return False
        self._spend(budget, 1)
        return True

    @property
    def _budget(self) -> Budget | None:
        return self._control.rights(self._pattern).budget

    def _spend(self, budget: Budget, operations: int) -> None:
        try:
            budget.begin(operations)
        except Exhausted:
            # As for an operation that the policy does not allow.
            self._gateway.admission.check_open()
            raise


class _PaidEvents:
    """Events of one watch, whose bytes count."""

    __slots__ = ("_budget", "_next")

    def __init__(self, events: AsyncIterator[Event], budget: Budget) -> None:
        self._next = events.__anext__
        self._budget = budget

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._next()
        self._budget.pay(_bytes_in((event.key, event.value)))
        return event


async def _paid(call: Coroutine[Any, Any, Any], budget: Budget) -> Any:
    result = await call
    budget.pay(_bytes_of(result))
    return result


def _items_in(arguments: Iterable[object]) -> int:
    """Return the number of items of a batch or transaction; 1: it is another operation."""
    lists = (each for each in arguments if isinstance(each, Sequence))
    return sum(len(each) for each in lists if not isinstance(each, str | bytes)) or 1


def _bytes_in(parts: Iterable[object]) -> int:
    return sum(map(_bytes_of, parts))


def _bytes_of(part: object) -> int:
    """Return the bytes of the keys and values in an argument or a result."""
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, str):
        return len(part.encode("utf-8", "surrogatepass"))
    if isinstance(part, Entry):
        return len(part.value)
    if isinstance(part, Page):
        return _bytes_in(part.keys) + _bytes_in(part.entries or ())
    return _bytes_in(part) if isinstance(part, Sequence) else 0
