"""Gateway behind the quotas of a policy: counts what each caller uses, then calls the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from prism.domain.access.control import AccessControl
from prism.domain.access.quotas import Budget
from prism.domain.gateway import Gateway
from prism.ports import (
    Condition,
    Count,
    Entry,
    Event,
    Exhausted,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Put,
    Version,
    Write,
)

Result = TypeVar("Result")


class MeteredGateway:
    """Implementation of `FullKeyValue` around a gateway.

    A method refuses when it is called, and returns what the gateway returns, or for a reply
    whose bytes count, a coroutine around it.

    Args:
        pattern: name of the proxy's pattern behind the gateway; empty: there are none.
    """

    def __init__(self, gateway: Gateway, control: AccessControl, pattern: str) -> None:
        self._gateway = gateway
        self._control = control
        self._pattern = pattern

    def get(self, key: str) -> Coroutine[Any, Any, Entry | None]:
        budget = self._begin(1, (key,))
        call = self._gateway.get(key)
        return call if budget is None else _paid(call, budget, _entry_bytes)

    def set(
        self, key: str, value: bytes, *, ttl: timedelta | None = None
    ) -> Coroutine[Any, Any, Version]:
        self._begin(1, (key, value))
        return self._gateway.set(key, value, ttl=ttl)

    def delete(self, key: str) -> Coroutine[Any, Any, bool]:
        self._begin(1, (key,))
        return self._gateway.delete(key)

    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        self._begin(1, (key,))
        return self._gateway.exists(key)

    def expire(self, key: str, ttl: timedelta) -> Coroutine[Any, Any, bool]:
        self._begin(1, (key,))
        return self._gateway.expire(key, ttl)

    def ttl(self, key: str) -> Coroutine[Any, Any, Lifetime | None]:
        self._begin(1, (key,))
        return self._gateway.ttl(key)

    def persist(self, key: str) -> Coroutine[Any, Any, Persisted]:
        self._begin(1, (key,))
        return self._gateway.persist(key)

    def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Coroutine[Any, Any, Version]:
        self._begin(1, (key, value))
        return self._gateway.compare_and_set(key, value, expected=expected, ttl=ttl)

    def compare_and_delete(self, key: str, *, expected: Version) -> Coroutine[Any, Any, None]:
        self._begin(1, (key,))
        return self._gateway.compare_and_delete(key, expected=expected)

    def get_many(self, keys: Sequence[str]) -> Coroutine[Any, Any, list[Entry | PrismError | None]]:
        budget = self._begin(len(keys), keys)
        call = self._gateway.get_many(keys)
        return (
            call if budget is None else _paid(call, budget, lambda got: sum(map(_entry_bytes, got)))
        )

    def set_many(self, puts: Sequence[Put]) -> Coroutine[Any, Any, list[Version | PrismError]]:
        self._begin(len(puts), (part for put in puts for part in (put.key, put.value)))
        return self._gateway.set_many(puts)

    def delete_many(self, keys: Sequence[str]) -> Coroutine[Any, Any, list[bool | PrismError]]:
        self._begin(len(keys), keys)
        return self._gateway.delete_many(keys)

    def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Coroutine[Any, Any, Page]:
        budget = self._begin(1, (prefix,))
        call = self._gateway.scan(prefix, page_size=page_size, page_token=page_token, values=values)
        return call if budget is None else _paid(call, budget, _page_bytes)

    def increment(self, key: str, delta: int = 1) -> Coroutine[Any, Any, Count]:
        self._begin(1, (key,))
        return self._gateway.increment(key, delta)

    def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> Coroutine[Any, Any, list[Version | bool]]:
        self._begin(
            len(conditions) + len(writes),
            (part for item in (*conditions, *writes) for part in (item.key, _value_of(item))),
        )
        return self._gateway.apply(conditions, writes)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        budget = self._control.rights(self._pattern).budget
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
            Whether it may be passed on so. False: its bytes count, and nothing is counted yet.

        Raises:
            Exhausted: the caller's quota is used up.
        """
        budget = self._control.rights(self._pattern).budget
        if budget is None:
            return True
        if budget.bytes_count:
            return False
        self._spend(budget, 1)
        return True

    def _begin(self, operations: int, parts: Iterable[str | bytes]) -> Budget | None:
        """Count operations that begin, and the bytes of their request.

        Returns:
            The budget that pays for the reply; None: its bytes do not count.

        Raises:
            Exhausted: the caller's quota is used up.
        """
        budget = self._control.rights(self._pattern).budget
        if budget is None:
            return None
        self._spend(budget, operations)
        if not budget.bytes_count:
            return None
        budget.pay(sum(map(_bytes_of, parts)))
        return budget

    def _spend(self, budget: Budget, operations: int) -> None:
        try:
            budget.begin(operations)
        except Exhausted:
            # As for what the policy does not allow.
            self._gateway.admission.check_open()
            raise


async def _paid(
    call: Coroutine[Any, Any, Result], budget: Budget, size_of: Callable[[Result], int]
) -> Result:
    result = await call
    budget.pay(size_of(result))
    return result


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
        self._budget.pay(_bytes_of(event.key) + len(event.value or b""))
        return event


def _bytes_of(part: str | bytes) -> int:
    return len(part) if isinstance(part, bytes) else len(part.encode("utf-8", "surrogatepass"))


def _value_of(item: Condition | Write) -> bytes:
    return item.value if isinstance(item, Put) else b""


def _entry_bytes(entry: Entry | PrismError | None) -> int:
    return len(entry.value) if isinstance(entry, Entry) else 0


def _page_bytes(page: Page) -> int:
    return sum(map(_bytes_of, page.keys)) + sum(map(_entry_bytes, page.entries or ()))
