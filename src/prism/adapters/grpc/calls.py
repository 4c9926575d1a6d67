"""The one wrapper around every call: decode, bound in time, call, encode, map errors."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.deadline import within
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.wire.status import status_of
from prism.domain.admission import connection
from prism.domain.tallies import CALL_BOUNDS_S, Durations
from prism.ports import Exhausted, Internal, InvalidArgument, PrismError

FIRST_MESSAGE_S = 0.1
"""How long a stream that is refused may take to begin."""

UnaryHandler = Callable[[Any, CallContext], Coroutine[Any, Any, Message]]
StreamHandler = Callable[[AsyncIterator[Any], CallContext], AsyncGenerator[Message, None]]
PatternOf = Callable[[str], object]
"""Finds the pattern that a call names; PreconditionFailed where there is no such pattern."""


@dataclass(slots=True)
class Tally:
    """How many calls of one method there were, in plain integers.

    Attributes:
        started: calls that arrived.
        ended: calls that were answered, refused or cancelled.
        refused: calls that failed or were cancelled, by status code.
    """

    started: int = 0
    ended: int = 0
    refused: Counter[int] = field(default_factory=Counter)


class CallObserver(Protocol):
    """Follows calls one by one; where there is none, a call costs one branch more."""

    def begin(self, path: str, context: CallContext) -> object:
        """A call arrived; whatever is returned comes back with it from here on.

        None: it is not followed, as most calls are not. It is not told of its end, and a
        task that serves nothing else is not told of it either.
        """
        ...

    def resume(self, begun: object) -> None:
        """What the running task does next is done for this call."""
        ...

    def follows(self, begun: object) -> bool:
        """Whether it wants to know what is done for this call, and not of its end alone."""
        ...

    def end(self, begun: object, status: status_pb2.Status | None) -> None:
        """It ended: with the status sent, CANCELLED when its caller went, or None: it succeeded."""
        ...


class Rejected(Exception):
    """A call that failed, with the status that its transport shall send."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


_CANCELLED = Rejected(status_pb2.Status(code=code_pb2.CANCELLED, message="its caller has gone"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """What a call of either kind has.

    Attributes:
        path: `/prism.v1.KeyValueService/Get`.
        max_reply_bytes: what a caller can be expected to receive.
        pattern_of: looks at the pattern that a call names; None: nobody does.
        log: is told of calls that fail or are slow.
    """

    path: str
    request_type: type[Message]
    max_reply_bytes: int
    pattern_of: PatternOf | None = None
    log: RequestLog = field(default_factory=RequestLog)
    observer: CallObserver | None = None
    tally: Tally = field(default_factory=Tally)
    durations: Durations = field(default_factory=lambda: Durations(CALL_BOUNDS_S))

    def _begin(self, context: CallContext) -> object:
        connection.set(context.connection)
        self.tally.started += 1
        if self.observer is None:
            return None
        begun = self.observer.begin(self.path, context)
        if begun is not None:
            self.observer.resume(begun)
        return begun

    def _check_pattern(self, context: CallContext) -> None:
        if self.pattern_of is not None and (pattern := context.pattern):
            self.pattern_of(pattern)

    def _refuse(self, error: Exception, begun_ns: int) -> Rejected:
        rejected = rejection_of(error, self.log.redact)
        self.log.failed(self.path, rejected.status, error, begun_ns)
        return rejected

    def _end(self, begun: object, rejected: Rejected | None, elapsed_ns: int) -> None:
        self.durations.add(elapsed_ns)
        self.tally.ended += 1
        if rejected is not None:
            self.tally.refused[rejected.status.code] += 1
        if begun is not None and self.observer is not None:
            self.observer.end(begun, rejected and rejected.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaryCall(_Method):
    """A method that takes one message and answers one, from bytes to bytes.

    Attributes:
        default_timeout_s: for callers that set no deadline; None: unbounded.
    """

    handler: UnaryHandler
    default_timeout_s: float | None

    async def __call__(self, payload: bytes, context: CallContext) -> bytes:
        """Serve one call.

        Raises:
            Rejected: it failed; everything but being cancelled ends so.
        """
        begun_ns = perf_counter_ns()
        begun = self._begin(context)
        rejected = None
        timeout_s = context.timeout_s
        try:
            self._check_pattern(context)
            request = _decode(self.request_type, payload)
            reply = await within(
                self.default_timeout_s if timeout_s is None else timeout_s,
                self.handler(request, context),
            )
            return encode(reply, self.max_reply_bytes)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                rejected = _CANCELLED
                raise
            # Nobody cancelled this call: a library cancelled something of its own.
            rejected = self._refuse(RuntimeError("cancelled from within"), begun_ns)
            raise rejected from error
        except Exception as error:
            rejected = self._refuse(error, begun_ns)
            raise rejected from error
        finally:
            elapsed_ns = perf_counter_ns() - begun_ns
            if elapsed_ns >= self.log.slow_ns and rejected is None:
                self.log.succeeded(self.path, begun_ns)
            self._end(begun, rejected, elapsed_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCall(_Method):
    """A method that takes messages and answers messages, from bytes to bytes.

    It has no default deadline: a stream lasts until one side has had enough. Whoever
    stops reading closes the generator, so that what is behind it ends at once too.
    """

    handler: StreamHandler

    async def __call__(
        self, payloads: AsyncIterator[bytes], context: CallContext
    ) -> AsyncGenerator[bytes, None]:
        """Serve one call; raises as `UnaryCall` does."""
        begun_ns = perf_counter_ns()
        begun = self._begin(context)
        rejected = None
        requests = (_decode(self.request_type, payload) async for payload in payloads)
        try:
            try:
                self._check_pattern(context)
            except PrismError:
                await _first_of(payloads)
                raise
            async with aclosing(self.handler(requests, context)) as replies:
                async for reply in replies:
                    yield encode(reply, self.max_reply_bytes)
        except (asyncio.CancelledError, GeneratorExit):
            rejected = _CANCELLED
            raise
        except Exception as error:
            rejected = self._refuse(error, begun_ns)
            raise rejected from error
        finally:
            self._end(begun, rejected, perf_counter_ns() - begun_ns)


Call = UnaryCall | StreamCall


def calls_of(
    service: ServiceDescriptor,
    servicer: object,
    *,
    default_timeout: timedelta | None,
    max_message_bytes: int,
    pattern_of: PatternOf | None = None,
    log: RequestLog | None = None,
    observer: CallObserver | None = None,
) -> Mapping[str, Call]:
    """By path, the calls of a service that the servicer has a method for.

    A call without one is not served, which a transport answers with UNIMPLEMENTED.

    Args:
        observer: of all but `Operate`, which is many calls and observes each of them.
    """
    calls: dict[str, Call] = {}
    for method in service.methods:
        handler = getattr(servicer, _snake_case(method.name), None)
        if handler is None:
            continue
        common: dict[str, Any] = {
            "path": f"/{service.full_name}/{method.name}",
            "request_type": GetMessageClass(method.input_type),
            "handler": handler,
            "max_reply_bytes": max_message_bytes,
            "pattern_of": pattern_of,
            "log": log or RequestLog(),
            "observer": None if method.name == "Operate" else observer,
        }
        path = common["path"]
        if method.client_streaming or method.server_streaming:
            calls[path] = StreamCall(**common)
        else:
            timeout_s = default_timeout.total_seconds() if default_timeout else None
            calls[path] = UnaryCall(**common, default_timeout_s=timeout_s)
    return calls


async def _first_of(payloads: AsyncIterator[bytes]) -> None:
    """Let the caller send before it is refused.

    A stream that ends while its first message is being written fails inside grpcio's
    client, as INTERNAL and without the status.
    """
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(FIRST_MESSAGE_S):
            await anext(payloads)


def _decode(request_type: type[Message], payload: bytes) -> Message:
    try:
        return request_type.FromString(payload)
    except DecodeError:
        raise InvalidArgument(
            f"the request is not a valid {request_type.DESCRIPTOR.full_name}; text must be UTF-8"
        ) from None


def encode(reply: Message, limit: int) -> bytes:
    """Raises Exhausted when it is more than a caller can be expected to receive."""
    data = reply.SerializeToString()
    if len(data) > limit:
        raise too_large(data, limit)
    return data


def too_large(reply: bytes, limit: int) -> Exhausted:
    """Of a reply that cannot be sent."""
    return Exhausted(f"the reply has {len(reply):,} bytes; the limit is {limit:,}")


def rejection_of(error: Exception, redact: Callable[[str], str] = str) -> Rejected:
    """What a caller may know of an error; of one that is not ours, that there was one."""
    if isinstance(error, PrismError):
        return Rejected(status_of(error, redact))
    if isinstance(error, Rejected):
        return error
    return Rejected(status_of(Internal("internal error; the server's log has the details")))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
