"""KeyValueService of a proxy: each call goes to the pattern that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from datetime import timedelta
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

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
    OperationStream,
    Relayed,
    RelayHandler,
    Tell,
    kinds_of,
)
from prism.adapters.grpc.servicers.relaying import RELAYED, HandOn, hand_on_of, relay
from prism.domain.admission import Admission, place
from prism.domain.gateway import Gateway
from prism.domain.patterns.values import Plan
from prism.ports import BackendTimeout, NotServing, Outcome
from prism.v1 import keyvalue_pb2 as pb

# Whoever bounds the whole call could not say that nothing was sent.
_BEFORE_THE_DEADLINE_S = 0.02


class Pattern(Protocol):
    """Where calls are forwarded to."""

    @property
    def plan(self) -> Plan: ...

    @property
    def gateway(self) -> Gateway | None: ...

    async def wait_for_gateway(self) -> Gateway: ...

    def refusal(self) -> NotServing: ...


class Patterns(Protocol):
    """All of them, by name."""

    def find(self, name: str) -> Pattern: ...


class _Front(NamedTuple):
    """What stands before a gateway, for as long as that is the current one of its pattern."""

    gateway: Gateway
    servicer: KeyValueServicer
    hand_on: HandOn | None


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
        self._fronts: dict[str, _Front] = {}
        self._bounds = Bounds(
            default_timeout.total_seconds(), max_message_bytes, log or RequestLog()
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        for field in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields:
            setattr(self, field.name, self._forwarded(field.name))
        self.get_capabilities = self._forwarded("get_capabilities")
        self._kinds = kinds_of(self, {name: self._relayed(name) for name in RELAYED})

    def pattern_of(self, name: str) -> str:
        """The own name of a pattern that a call names; else as `Patterns.find`."""
        return self._patterns.find(name).plan.name

    def keeper_of(self, pattern: str) -> object | None:
        """The driver behind the gateway sends all through one stream, and at its other end
        operations on one key take effect in the order sent."""
        return self._patterns.find(pattern).gateway

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

    def _relayed(self, operation: str) -> RelayHandler:
        def handler(request: Any, context: CallContext, tell: Tell) -> Relayed | None:
            front = self._enter(self._forwarding(context), context)
            if front is None or front.hand_on is None:
                return None
            return relay(front.gateway, front.hand_on, operation, request, tell)

        return handler

    def _forwarding(self, context: CallContext) -> Forwarding:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        timeout_s = context.timeout_s
        return Forwarding(
            context, self._bounds.default_timeout_s if timeout_s is None else timeout_s, loop
        )

    def _enter(self, call: Forwarding, context: CallContext) -> _Front | None:
        """What the call is handed on to, in this step of the loop; None: it has to wait."""
        pattern = self._patterns.find(context.pattern)
        gateway = pattern.gateway
        if gateway is None:
            return None
        held = place.get()
        if held is None:
            self._admission.check_open()
        else:
            # One of the pattern's own takes its place.
            place.set(None)
            held.release()
        forwarding.set(call)
        return self._front_of(gateway, pattern.plan.name)

    async def _wait_and_enter(self, call: Forwarding, context: CallContext) -> _Front:
        pattern = self._patterns.find(context.pattern)
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
        return self._front_of(gateway, pattern.plan.name)

    def _front_of(self, gateway: Gateway, name: str) -> _Front:
        front = self._fronts.get(name)
        if front is None or front.gateway is not gateway:
            front = _Front(gateway, KeyValueServicer(gateway), hand_on_of(gateway))
            self._fronts[name] = front
        return front


async def _only(request: pb.WatchRequest) -> AsyncIterator[pb.WatchRequest]:
    yield request
