"""KeyValueService of a proxy: forwards each call to the pattern that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from datetime import timedelta
from operator import attrgetter
from typing import NamedTuple, Protocol, cast

from google.protobuf.message import Message

from prism.adapters.grpc.calls import CallObserver, UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.operate import (
    EncodedResponse,
    OperateCall,
    OperationKind,
    RelayedOutcomes,
    StreamLimits,
    kinds_of,
)
from prism.adapters.grpc.servicers.relay import StreamRelay
from prism.adapters.wire.methods import METHODS
from prism.adapters.wire.relay import Relay, RelayingDriver
from prism.domain.access.audit import Record
from prism.domain.access.audited_gateway import entrance_to
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.admission import Admission, reservation
from prism.domain.gateway import Gateway
from prism.domain.patterns.values import PatternSpec
from prism.domain.turns import Shares
from prism.ports import BackendTimeout, Keys, NotServing, Outcome
from prism.v1 import keyvalue_pb2 as pb

# The wait for a pattern ends this much before the deadline of the call: the wrapper around
# the call, which enforces the deadline, cannot tell that nothing was sent.
_WAIT_MARGIN_S = 0.02

_LONG_OPERATIONS = 16
"""Operations on many keys that one connection may have in progress at once at the patterns."""


class ForwardedCall:
    """A call that another server answers, within the caller's deadline and in its trace."""

    __slots__ = ("_context", "_deadline", "_loop")

    def __init__(
        self, context: CallContext, timeout_s: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._context = context
        self._deadline = loop.time() + timeout_s
        self._loop = loop

    @property
    def timeout_s(self) -> float:
        """Seconds until the deadline; 0: it has passed."""
        return max(self._deadline - self._loop.time(), 0.0)

    @property
    def trace(self) -> tuple[str, str] | None:
        """The caller's `traceparent` and `tracestate`, as they came."""
        traceparent = self._context.metadata("traceparent")
        if traceparent is None:
            return None
        return traceparent, self._context.metadata("tracestate") or ""


class CallWithin:
    """A call that came by another protocol: its door ends it, and no trace came with it.

    Attributes:
        timeout_s: seconds that it may take.
        trace: None, as no caller can send one.
    """

    __slots__ = ("timeout_s", "trace")

    def __init__(self, timeout: timedelta) -> None:
        self.timeout_s = timeout.total_seconds()
        self.trace: tuple[str, str] | None = None


# A context variable, because the key-value ports, between the servicer here and the client
# of the pattern, have no parameter for a call.
forwarded_call: ContextVar[ForwardedCall | CallWithin | None] = ContextVar(
    "forwarded_call", default=None
)
"""The call that is being forwarded; None outside a proxy."""


class RoutablePattern(Protocol):
    """Pattern that calls are forwarded to."""

    @property
    def spec(self) -> PatternSpec: ...

    @property
    def gateway(self) -> Gateway | None: ...

    async def wait_for_gateway(self) -> Gateway: ...

    def refusal(self) -> NotServing: ...


class PatternFinder(Protocol):
    """Finds patterns by name."""

    def find(self, name: str) -> RoutablePattern: ...


class Upstream(NamedTuple):
    """One process of a pattern, as the proxy reaches it.

    Attributes:
        gateway: the proxy's gateway to the process.
        entrance: the same gateway as callers use it.
        servicer: servicer in front of that gateway.
        relay: sends operations on as messages; None: the driver cannot, or they are recorded.
    """

    gateway: Gateway
    entrance: Gateway | GuardedGateway
    servicer: KeyValueServicer
    relay: Relay | None


class PatternRoute:
    """Route to one pattern, whichever of its processes serves.

    Attributes:
        name: name of the pattern.
    """

    __slots__ = ("_control", "_record", "_upstream", "name", "pattern")

    def __init__(
        self, pattern: RoutablePattern, control: AccessControl | None, record: Record | None
    ) -> None:
        self._control = control
        self._record = record
        self.name = pattern.spec.name
        self.pattern = pattern
        self._upstream: Upstream | None = None

    @property
    def ordered_by(self) -> Upstream | None:
        """The current upstream; None: the pattern does not serve.

        Its driver sends all operations through one stream, and the server at the other end
        lets those on one key take effect in the order sent.
        """
        gateway = self.pattern.gateway
        return None if gateway is None else self.upstream_of(gateway)

    def upstream_of(self, gateway: Gateway) -> Upstream:
        """Return the upstream with this gateway, the same one while the gateway is current."""
        upstream = self._upstream
        if upstream is None or upstream.gateway is not gateway:
            driver = gateway.driver
            relay = None
            if isinstance(driver, RelayingDriver) and self._record is None:
                relay = driver.relay
            entrance = entrance_to(gateway, self._control, self._record, self.name)
            servicer = KeyValueServicer(entrance)
            upstream = self._upstream = Upstream(gateway, entrance, servicer, relay)
        return upstream


class ForwardingServicer:
    """Forwards each method of `KeyValueServicer` to the pattern that the call names.

    A call finds the gateway of its pattern and enters it in one step of the loop, so that
    replacing a pattern loses no call.

    Args:
        admission: admits calls while the proxy serves. Its operations in flight are those
            that wait: for earlier operations of a stream, or for a pattern that is starting.
        default_timeout: timeout of calls and operations that come without one.
        max_message_bytes: maximum size of one message in a stream.
        log: log of operations in a stream that fail or are slow.
        observer: observer of operations in a stream.
        control: decides which patterns and keys callers may use; None: all.
        record: records operations in the audit log; None: nothing does.
    """

    def __init__(
        self,
        patterns: PatternFinder,
        admission: Admission,
        *,
        default_timeout: timedelta = timedelta(seconds=30),
        max_message_bytes: int = 4 << 20,
        log: RequestLog | None = None,
        observer: CallObserver | None = None,
        control: AccessControl | None = None,
        record: Record | None = None,
    ) -> None:
        self._control = control
        self._record = record
        self._patterns = patterns
        self._admission = admission
        self._observer = observer
        self._routes: dict[RoutablePattern, PatternRoute] = {}
        self._limits = StreamLimits(
            default_timeout.total_seconds(), max_message_bytes, log or RequestLog()
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shares = Shares(_LONG_OPERATIONS)
        for field, method in METHODS.items():
            forwarding = self._forwarding(field)
            if method.keys is not Keys.ONE:
                forwarding = self._in_shares(forwarding)
            setattr(self, field, forwarding)
        self.get_capabilities = self._forwarding("get_capabilities")
        self._kinds = kinds_of(self)

    @property
    def kinds(self) -> Mapping[str, OperationKind]:
        """Kinds of operations that a stream can carry, with their counts."""
        return self._kinds

    def route_of(self, pattern: str) -> PatternRoute:
        """Return the route to the pattern that a call names; raises as `PatternFinder.find`.

        A caller who may do nothing with a pattern is refused, whether there is one or not.
        """
        if pattern and self._control is not None:
            self._control.check_pattern(pattern)
        found = self._patterns.find(pattern)
        route = self._routes.get(found)
        if route is None:
            route = self._routes[found] = PatternRoute(found, self._control, self._record)
        return route

    def relay_to(self, downstream: object, outcomes: RelayedOutcomes) -> StreamRelay | None:
        """Return what relays operations of a stream to an upstream, if its driver can."""
        upstream = cast("Upstream", downstream)
        if upstream.relay is None:
            return None
        gateway, entrance = upstream.gateway, upstream.entrance
        guard = entrance if isinstance(entrance, GuardedGateway) else None
        return StreamRelay(
            upstream.relay, guard, self._admission, gateway.admission, gateway.tallies, outcomes
        )

    def operate(
        self, requests: AsyncIterator[pb.OperateRequest], context: CallContext
    ) -> AsyncIterator[EncodedResponse]:
        call = OperateCall(
            self._kinds, self._admission, context, self._limits, self._observer, self
        )
        return call.outcomes(requests)

    async def watch(
        self, requests: AsyncIterator[pb.WatchRequest], context: CallContext
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        async for request in requests:
            call = self._forwarded(context)
            upstream = self._enter(call, context) or await self._wait_and_enter(call, context)
            async with aclosing(upstream.servicer.watch(_only(request), context)) as messages:
                async for message in messages:
                    yield message

    def _forwarding(self, method: str) -> UnaryHandler:
        """Return a handler that forwards calls of this method."""
        handler_of: Callable[[KeyValueServicer], UnaryHandler] = attrgetter(method)

        def forward(request: Message, context: CallContext) -> Coroutine[object, None, Message]:
            call = self._forwarded(context)
            upstream = self._enter(call, context)
            if upstream is None:
                return forward_late(call, request, context)
            return handler_of(upstream.servicer)(request, context)

        async def forward_late(
            call: ForwardedCall, request: Message, context: CallContext
        ) -> Message:
            upstream = await self._wait_and_enter(call, context)
            return await handler_of(upstream.servicer)(request, context)

        return forward

    def _in_shares(self, forward: UnaryHandler) -> UnaryHandler:
        """Return a handler that forwards a few long operations of a connection at once.

        The connection to the pattern belongs to all callers: replies to others wait behind
        those that are on their way already.
        """
        shares, admission = self._shares, self._admission

        async def forward_in_shares(request: Message, context: CallContext) -> Message:
            connection = context.connection
            if shares.take(connection):
                try:
                    return await forward(request, context)
                finally:
                    shares.release(connection)
            with admission.admit():
                await shares.wait(connection)
            try:
                # Others that have waited since may have used less time.
                with admission.admit():
                    await admission.turns.wait(connection)
                return await forward(request, context)
            finally:
                shares.release(connection)

        return forward_in_shares

    def _forwarded(self, context: CallContext) -> ForwardedCall:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        timeout_s = context.timeout_s
        return ForwardedCall(
            context, self._limits.default_timeout_s if timeout_s is None else timeout_s, loop
        )

    def _enter(self, call: ForwardedCall, context: CallContext) -> Upstream | None:
        """Return the upstream for this step of the loop; None: the call has to wait."""
        upstream = self.route_of(context.pattern).ordered_by
        if upstream is None:
            return None
        held = reservation.get()
        if held is None:
            self._admission.check_open()
        else:
            # The pattern's own admission takes over.
            reservation.set(None)
            held.release()
        forwarded_call.set(call)
        return upstream

    async def _wait_and_enter(self, call: ForwardedCall, context: CallContext) -> Upstream:
        route = self.route_of(context.pattern)
        pattern = route.pattern
        try:
            with self._admission.admit():
                async with asyncio.timeout(max(call.timeout_s - _WAIT_MARGIN_S, 0.0)):
                    gateway = await pattern.wait_for_gateway()
        except NotServing as refusal:
            # Also if a drain aborted the wait.
            refusal.outcome = Outcome.NOT_APPLIED
            raise
        except TimeoutError:
            raise BackendTimeout(
                f"{pattern.refusal().message}; it did not serve within the deadline",
                outcome=Outcome.NOT_APPLIED,
            ) from None
        forwarded_call.set(call)
        return route.upstream_of(gateway)


async def _only(request: pb.WatchRequest) -> AsyncIterator[pb.WatchRequest]:
    yield request
