"""Gateway behind a policy: asks whether the caller may do an operation, then calls the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from prism.domain.access.caller import current_caller
from prism.domain.access.control import AccessControl, KeyAccess
from prism.domain.access.metered_gateway import MeteredGateway
from prism.domain.access.policy import BY_PREFIX, Action, limited_ttl, may_last
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.ports import (
    Condition,
    Count,
    Entry,
    Event,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    Write,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

_READ, _WRITE, _DELETE = Action.READ.value, Action.WRITE.value, Action.DELETE.value

_SCAN = BY_PREFIX[Action.SCAN]
_SCAN_VALUES = (*_SCAN, Action.READ)
_WATCH = BY_PREFIX[Action.WATCH]


class GuardedGateway:
    """Implementation of `FullKeyValue` around a gateway.

    While admission is closed, a forbidden operation gets NotServing and not AccessDenied: a client
    that asks whether the server serves must not take a refusal for a yes.

    An operation that reveals something about a key needs `read` as well: a condition, the sum of a
    counter, the values of a scan or a watch. A method that only checks returns the gateway's
    coroutine, so that an operation costs no second one.

    Args:
        pattern: name of the proxy's pattern behind the gateway; empty: there are none.
    """

    def __init__(self, gateway: Gateway, control: AccessControl, pattern: str = "") -> None:
        self._gateway = gateway
        self._metered = MeteredGateway(gateway, control, pattern)
        self._control = control
        self._pattern = pattern
        # Returns the rule that allows the caller an action on a key; raises if none does.
        self._permitted = KeyAccess(control, pattern, gateway.admission.check_open).rule_for

    @property
    def profile(self) -> Profile:
        """Profile of the gateway."""
        return self._gateway.profile

    @property
    def admission(self) -> Admission:
        """Admission of the gateway."""
        return self._gateway.admission

    def describe(self) -> Profile:
        """Return the profile, if the caller may do anything; raises as `Gateway.describe`."""
        try:
            self._control.check_pattern(self._pattern)
        except PrismError:
            self._gateway.admission.check_started()
            raise
        return self._gateway.describe()

    def check_unchanged(self, operation: str, key: str) -> bool:
        """Check an operation on one key that is passed on as a message.

        Returns:
            Whether the policy lets it be passed on as it is. False: a rule about ttls applies, or
            a quota of bytes.

        Raises:
            PrismError: as the operation itself.
        """
        rules = [self._permitted(action, key) for action in _ACTIONS[operation]]
        unchanged = all(rule.max_ttl is None and rule.default_ttl is None for rule in rules)
        if unchanged and self._control.has_quotas:
            return self._metered.begin_unchanged()
        return unchanged

    def get(self, key: str) -> Coroutine[Any, Any, Entry | None]:
        self._permitted(_READ, key)
        return self._behind.get(key)

    def set(
        self, key: str, value: bytes, *, ttl: timedelta | None = None
    ) -> Coroutine[Any, Any, Version]:
        rule = self._permitted(_WRITE, key)
        return self._behind.set(key, value, ttl=limited_ttl(rule, ttl))

    def delete(self, key: str) -> Coroutine[Any, Any, bool]:
        self._permitted(_DELETE, key)
        return self._behind.delete(key)

    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        self._permitted(_READ, key)
        return self._behind.exists(key)

    def expire(self, key: str, ttl: timedelta) -> Coroutine[Any, Any, bool]:
        rule = self._permitted(_WRITE, key)
        limited_ttl(rule, ttl)
        return self._behind.expire(key, ttl)

    def ttl(self, key: str) -> Coroutine[Any, Any, Lifetime | None]:
        self._permitted(_READ, key)
        return self._behind.ttl(key)

    def persist(self, key: str) -> Coroutine[Any, Any, Persisted]:
        may_last(self._permitted(_WRITE, key))
        return self._behind.persist(key)

    def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Coroutine[Any, Any, Version]:
        self._permitted(_READ, key)
        ttl = limited_ttl(self._permitted(_WRITE, key), ttl)
        return self._behind.compare_and_set(key, value, expected=expected, ttl=ttl)

    def compare_and_delete(self, key: str, *, expected: Version) -> Coroutine[Any, Any, None]:
        self._permitted(_READ, key)
        self._permitted(_DELETE, key)
        return self._behind.compare_and_delete(key, expected=expected)

    def get_many(self, keys: Sequence[str]) -> Coroutine[Any, Any, list[Entry | PrismError | None]]:
        return _with_permitted(self._behind.get_many, keys, partial(self._permitted_key, _READ))

    def set_many(self, puts: Sequence[Put]) -> Coroutine[Any, Any, list[Version | PrismError]]:
        return _with_permitted(self._behind.set_many, puts, self._permitted_put)

    def delete_many(self, keys: Sequence[str]) -> Coroutine[Any, Any, list[bool | PrismError]]:
        return _with_permitted(
            self._behind.delete_many, keys, partial(self._permitted_key, _DELETE)
        )

    def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Coroutine[Any, Any, Page]:
        self._check_prefix(_SCAN_VALUES if values else _SCAN, prefix)
        return self._behind.scan(prefix, page_size=page_size, page_token=page_token, values=values)

    def increment(self, key: str, delta: int = 1) -> Coroutine[Any, Any, Count]:
        self._permitted(_READ, key)
        may_last(self._permitted(_WRITE, key))
        return self._behind.increment(key, delta)

    def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> Coroutine[Any, Any, list[Version | bool]]:
        for condition in conditions:
            self._permitted(_READ, condition.key)
        return self._behind.apply(conditions, [self._permitted_write(write) for write in writes])

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        self._check_watch(prefix)
        async with self._behind.watch(prefix) as events:
            yield _PermittedEvents(events, self._control, lambda: self._check_watch(prefix))

    def _check_watch(self, prefix: str) -> None:
        self._check_prefix(_WATCH, prefix)

    @property
    def _behind(self) -> Gateway:
        """Gateway that runs an allowed operation."""
        return cast("Gateway", self._metered) if self._control.has_quotas else self._gateway

    def _check_prefix(self, actions: tuple[Action, ...], prefix: str) -> None:
        """Raise unless the caller may do these on all keys with a prefix."""
        try:
            self._control.check_prefix(self._pattern, actions, prefix)
        except PrismError:
            self._gateway.admission.check_open()
            raise

    def _permitted_key(self, action: str, key: str) -> str:
        self._permitted(action, key)
        return key

    def _permitted_put(self, put: Put) -> Put:
        """Return a put with the ttl that the policy gives it; raises if it is not allowed."""
        ttl = limited_ttl(self._permitted(_WRITE, put.key), put.ttl)
        return put if ttl is put.ttl else put._replace(ttl=ttl)

    def _permitted_write(self, write: Write) -> Write:
        if isinstance(write, Put):
            return self._permitted_put(write)
        self._permitted(_DELETE, write.key)
        return write


# What an operation on one key that a proxy passes on as a message needs.
_ACTIONS = {
    "get": (_READ,),
    "set": (_WRITE,),
    "delete": (_DELETE,),
    "exists": (_READ,),
    "expire": (_WRITE,),
    "ttl": (_READ,),
    "persist": (_WRITE,),
    "compare_and_set": (_READ, _WRITE),
    "compare_and_delete": (_READ, _DELETE),
    "increment": (_READ, _WRITE),
}


async def _with_permitted(
    call: Callable[[Sequence[Item]], Coroutine[Any, Any, list[Result | PrismError]]],
    items: Sequence[Item],
    check: Callable[[Item], Item],
) -> list[Result | PrismError]:
    """Call with the items that are allowed; return all outcomes in the order of the request."""
    errors: dict[int, PrismError] = {}
    allowed: list[Item] = []
    for index, item in enumerate(items):
        try:
            allowed.append(check(item))
        except PrismError as error:
            errors[index] = error
    if not errors:
        return await call(allowed)
    outcomes = iter(await call(allowed) if allowed else [])
    return [errors[index] if index in errors else next(outcomes) for index in range(len(items))]


class _PermittedEvents:
    """Events of one watch, until the caller may not see them any more."""

    __slots__ = ("_caller", "_check", "_control", "_generation", "_next")

    def __init__(
        self, events: AsyncIterator[Event], control: AccessControl, check: Callable[[], None]
    ) -> None:
        self._next = events.__anext__
        self._control = control
        self._check = check
        self._caller = current_caller.get()
        self._generation = control.generation

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._next()
        has_ended = self._caller is not None and self._caller.has_ended
        if has_ended or self._generation != self._control.generation:
            # Until the check passes, no event is shown.
            self._check()
            self._generation = self._control.generation
        return event
