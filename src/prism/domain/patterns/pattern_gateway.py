"""Gateway to one pattern, for callers that keep it while processes of the pattern come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from prism.domain.access.audit import Record
from prism.domain.access.audited_gateway import entrance_to
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.ports import OPERATIONS, BackendTimeout, Event, NotServing, Outcome, Profile

# The wait for a pattern ends this much before the deadline of the caller, who then learns that
# nothing was sent.
_WAIT_MARGIN_S = 0.02


class SuppliedPattern(Protocol):
    """Pattern whose gateway changes with its processes."""

    @property
    def gateway(self) -> Gateway | None: ...

    async def wait_for_gateway(self) -> Gateway: ...

    def refusal(self) -> NotServing: ...


class PatternGateway:
    """Implementation of `FullKeyValue` by the process of a pattern that serves at the moment.

    An operation finds the gateway of the pattern and enters it in one step of the loop, so that
    replacing the pattern loses no operation.

    Args:
        name: name of the pattern.
        admission: admission of the proxy; operations that wait for the pattern are in flight.
        timeout: time that callers give an operation.
        control: policy of the proxy; None: there is none.
        record: records operations in the audit log; None: nothing does.
        on_enter: called before each operation that is passed on.

    Attributes:
        name: name of the pattern.
    """

    def __init__(
        self,
        name: str,
        pattern: SuppliedPattern,
        admission: Admission,
        *,
        timeout: timedelta,
        control: AccessControl | None = None,
        record: Record | None = None,
        on_enter: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._pattern = pattern
        self._admission = admission
        self._timeout_s = max(timeout.total_seconds() - _WAIT_MARGIN_S, 0.0)
        self._control = control
        self._record = record
        self._on_enter = on_enter
        self._current: Gateway | None = None
        self._entrance: Gateway | GuardedGateway

    @property
    def profile(self) -> Profile:
        """Profile of the driver of the pattern; raises NotServing while the pattern is down."""
        return self._entered().profile

    def describe(self) -> Profile:
        """Return the profile, if the caller may do anything with the pattern.

        Raises:
            NotServing: the pattern or the proxy does not serve.
        """
        return self._entered().describe()

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        """Watch keys of the pattern; raises NotServing while the pattern is down."""
        entrance = self._entered()
        self._on_enter()
        async with entrance.watch(prefix) as events:
            yield events

    def _entered(self) -> Gateway | GuardedGateway:
        self._admission.check_open()
        gateway = self._pattern.gateway
        if gateway is None:
            raise self._pattern.refusal()
        return self._entrance_of(gateway)

    def _entrance_of(self, gateway: Gateway) -> Gateway | GuardedGateway:
        if gateway is not self._current:
            self._entrance = entrance_to(gateway, self._control, self._record, self.name)
            self._current = gateway
        return self._entrance

    async def _late(self, operation: str, *args: Any, **options: Any) -> Any:
        """Run an operation once the pattern serves, if its calls wait for that."""
        try:
            with self._admission.admit():
                async with asyncio.timeout(self._timeout_s):
                    gateway = await self._pattern.wait_for_gateway()
        except NotServing as refusal:
            # Also if a drain aborted the wait.
            refusal.outcome = Outcome.NOT_APPLIED
            raise
        except TimeoutError:
            raise BackendTimeout(
                f"{self._pattern.refusal().message}; it did not serve within the deadline",
                outcome=Outcome.NOT_APPLIED,
            ) from None
        self._on_enter()
        return await getattr(self._entrance_of(gateway), operation)(*args, **options)


def _forwarding(operation: str) -> Callable[..., Any]:
    def forward(self: PatternGateway, *args: Any, **options: Any) -> Any:
        self._admission.check_open()
        gateway = self._pattern.gateway
        if gateway is None:
            return self._late(operation, *args, **options)
        self._on_enter()
        return getattr(self._entrance_of(gateway), operation)(*args, **options)

    forward.__name__ = operation
    return forward


for _name, _spec in OPERATIONS.items():
    if not _spec.streams:
        setattr(PatternGateway, _name, _forwarding(_name))
