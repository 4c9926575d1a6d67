"""Gateway that records each operation in the audit log, after it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

from prism.domain.access.audit import AuditEvent, Record, event_of_caller, recorded
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.gateway import Gateway
from prism.ports import OPERATIONS, Event, Keys, PrismError


class AuditedGateway:
    """Implementation of `FullKeyValue` around a gateway.

    A new operation needs nothing here: the table of operations tells where its keys are. A watch
    is recorded when it begins.

    Args:
        gateway: gateway behind it, with the policy, so that refusals are recorded too.
        pattern: name of the proxy's pattern behind the gateway; empty: there are none.
    """

    def __init__(self, gateway: Gateway | GuardedGateway, record: Record, pattern: str) -> None:
        self._gateway = gateway
        self._record = record
        self._pattern = pattern

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._gateway, name)
        return partial(self._call, name, attribute) if name in OPERATIONS else attribute

    async def _call(
        self,
        name: str,
        operation: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        items = _items_in(name, arguments)
        failed = 0

        def event(outcome: str) -> AuditEvent:
            keys = None if items is None else tuple(items)
            return replace(self._event(name, outcome, arguments), keys=keys, failed=failed)

        with recorded(self._record, event):
            result = await operation(*arguments, **options)
            if OPERATIONS[name].keys is Keys.MANY:
                failed = sum(isinstance(each, PrismError) for each in result)
            return result

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async with AsyncExitStack() as stack:
            with recorded(self._record, lambda outcome: self._event("watch", outcome, (prefix,))):
                events = await stack.enter_async_context(self._gateway.watch(prefix))
            yield events

    def _event(self, name: str, outcome: str, arguments: Sequence[Any]) -> AuditEvent:
        key = None
        if OPERATIONS[name].keys in (Keys.ONE, Keys.PREFIX):
            key = arguments[0] if arguments else ""
        return event_of_caller("operation", name, outcome, key=key, pattern=self._pattern)


def _items_in(name: str, arguments: Sequence[Any]) -> list[str] | None:
    """Return the keys of a batch or transaction; None: it is another operation."""
    match OPERATIONS[name].keys:
        case Keys.MANY:
            items = arguments[0]
        case Keys.TRANSACTION:
            conditions, writes = arguments
            items = [*conditions, *writes]
        case _:
            return None
    return [item if isinstance(item, str) else item.key for item in items]


def entrance_to(
    gateway: Gateway, control: AccessControl | None, record: Record | None, pattern: str = ""
) -> Gateway | GuardedGateway:
    """Return what callers of a gateway use.

    Args:
        control: policy that their operations are checked by; None: they may do everything.
        record: records their operations; None: nothing does.
        pattern: name of the proxy's pattern behind the gateway; empty: there are none.
    """
    guarded = gateway if control is None else GuardedGateway(gateway, control, pattern)
    if record is None:
        return guarded
    # It has every attribute of what it is around.
    return cast("Gateway", AuditedGateway(guarded, record, pattern))
