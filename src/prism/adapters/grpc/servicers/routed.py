"""KeyValueService of a proxy: each call goes to the pattern that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from datetime import timedelta
from operator import attrgetter
from typing import Any, Protocol, cast

from google.protobuf.message import Message

from prism.adapters.grpc.calls import CallObserver, UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.forwarding import Forwarding, forwarding
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.operate import (
    Bounds,
    Encoded,
    Kind,
    Operation,
    OperationStream,
    Relayed,
    Tell,
    kinds_of,
)
from prism.adapters.grpc.servicers.relaying import RELAYED, Relay
from prism.adapters.grpc.servicers.routes import Front, Pattern, Route
from prism.domain.admission import Admission, place
from prism.ports import BackendTimeout, NotServing, Outcome
from prism.v1 import keyvalue_pb2 as pb

# Whoever bounds the whole call could not say that nothing was sent.
_BEFORE_THE_DEADLINE_S = 0.02


class Patterns(Protocol):
    """All of them, by name."""

    def find(self, name: str) -> Pattern: ...


class RoutedServicer:
    """Has the methods of `KeyValueServicer`, and hands each call on to one of those.

    A call finds the gateway of its pattern and enters that in one step of the loop, so
    a pattern that is replaced loses none.

    Args:
        admission: lets calls in while the proxy serves. Of operations it holds those that
            wait: for their turn in a stream, or for a pattern that is starting.
        default_timeout: of calls and operations that come without one.
        max_message_bytes: of one message in a stream.
        log: is told of operations in a stream that fail or are slow.
        observer: of operations in a stream; calls have theirs.
    """

    def __init__(
        self,
        patterns: Patterns,
        admission: Admission,
        *,
        default_timeout: timedelta = timedelta(seconds=30),
        max_message_bytes: int = 4 << 20,
        log: RequestLog | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        self._patterns = patterns
        self._admission = admission
        self._observer = observer
        self._routes: dict[Pattern, Route] = {}
        self._bounds = Bounds(
            default_timeout.total_seconds(), max_message_bytes, log or RequestLog()
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        for field in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields:
            setattr(self, field.name, self._forwarded(field.name))
        self.get_capabilities = self._forwarded("get_capabilities")
        self._kinds = kinds_of(self)

    def destination_of(self, name: str) -> Route:
        """The way to the pattern that a call names; else as `Patterns.find`."""
        pattern = self._patterns.find(name)
        route = self._routes.get(pattern)
        if route is None:
            route = self._routes[pattern] = Route(pattern)
        return route

    def relay(self, operation: Operation, tell: Tell) -> Relayed | None:
        """Hand one on to whoever keeps its order, if the driver there can do it."""
        tally_of = RELAYED.get(operation.kind.name)
        front = cast("Front | None", operation.keeper)
        if tally_of is None or front is None or front.hand_on is None:
            return None
        self._admission.check_open()
        gateway = front.gateway
        tally = tally_of(gateway.tallies, operation.request)
        relay = Relay(operation, tell, gateway.admission, tally)
        return relay if relay.begin(front.hand_on) else None

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The operations that a stream can carry, with their counts."""
        return self._kinds

    def operate(
        self, requests: AsyncIterator[pb.OperateRequest], context: CallContext
    ) -> AsyncIterator[Encoded]:
        stream = OperationStream(
            self._kinds, self._admission, context, self._bounds, self._observer, self
        )
        return stream.outcomes(requests)

    async def watch(
        self, requests: AsyncIterator[pb.WatchRequest], context: CallContext
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        async for request in requests:
            call = self._forwarding(context)
            front = self._enter(call, context) or await self._wait_and_enter(call, context)
            async with aclosing(front.servicer.watch(_only(request), context)) as messages:
                async for message in messages:
                    yield message

    def _forwarded(self, method: str) -> UnaryHandler:
        handler_of: Callable[[KeyValueServicer], UnaryHandler] = attrgetter(method)

        def forward(request: Any, context: CallContext) -> Coroutine[Any, Any, Message]:
            call = self._forwarding(context)
            front = self._enter(call, context)
            if front is None:
                return forward_late(call, request, context)
            return handler_of(front.servicer)(request, context)

        async def forward_late(call: Forwarding, request: Any, context: CallContext) -> Message:
            front = await self._wait_and_enter(call, context)
            return await handler_of(front.servicer)(request, context)

        return forward

    def _forwarding(self, context: CallContext) -> Forwarding:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        timeout_s = context.timeout_s
        return Forwarding(
            context, self._bounds.default_timeout_s if timeout_s is None else timeout_s, loop
        )

    def _enter(self, call: Forwarding, context: CallContext) -> Front | None:
        """What the call is handed on to, in this step of the loop; None: it has to wait."""
        front = self.destination_of(context.pattern).keeper
        if front is None:
            return None
        held = place.get()
        if held is None:
            self._admission.check_open()
        else:
            # One of the pattern's own takes its place.
            place.set(None)
            held.release()
        forwarding.set(call)
        return front

    async def _wait_and_enter(self, call: Forwarding, context: CallContext) -> Front:
        route = self.destination_of(context.pattern)
        pattern = route.pattern
        try:
            with self._admission.admit():
                async with asyncio.timeout(max(call.timeout_s - _BEFORE_THE_DEADLINE_S, 0.0)):
                    gateway = await pattern.wait_for_gateway()
        except NotServing as refusal:
            # Also when a drain did not wait for it any longer.
            refusal.outcome = Outcome.NOT_APPLIED
            raise
        except TimeoutError:
            raise BackendTimeout(
                f"{pattern.refusal().message}; it did not serve within the deadline",
                outcome=Outcome.NOT_APPLIED,
            ) from None
        forwarding.set(call)
        return route.front_of(gateway)


async def _only(request: pb.WatchRequest) -> AsyncIterator[pb.WatchRequest]:
    yield request
