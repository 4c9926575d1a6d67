"""Wrapper around every call: decodes, enforces the deadline, calls, encodes, maps errors."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
)
from contextlib import AbstractContextManager, ExitStack, aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.element_limits import MAX_ELEMENTS, MAX_STREAM_ELEMENTS, ElementLimits
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.wire.methods import snake_case
from prism.adapters.wire.status import status_of
from prism.domain.admission import connection
from prism.domain.deadline import within
from prism.domain.tallies import CALL_BOUNDS_S, CallTally, Durations
from prism.ports import Exhausted, Internal, InvalidArgument, PrismError

FIRST_MESSAGE_S = 0.1
"""How long to wait for the first message of a stream that is refused."""

UnaryHandler = Callable[[Any, CallContext], Coroutine[object, None, Message]]
StreamHandler = Callable[[AsyncIterator[Any], CallContext], AsyncGenerator[Message, None]]
CheckPattern = Callable[[str], object]
"""Raises PreconditionFailed unless there is a pattern of this name."""


class Authenticate(Protocol):
    """Identifies callers."""

    def identify(self, context: CallContext) -> Awaitable[None] | None:
        """Identify the caller; return an awaitable that refuses it if its credentials are wrong."""
        ...

    def connected(self) -> AbstractContextManager[None]:
        """Count a connection of this caller while the context lasts.

        Raises:
            Exhausted: on entering, if the caller has as many as it may.
        """
        ...


class CallObserver(Protocol):
    """Observes calls one by one, for example to trace them."""

    def begin(self, path: str, context: CallContext) -> object:
        """Note that a call arrived; return a handle that is passed to the other methods.

        None: the call is not observed, as most are not. `end` is then not called, nor is
        `resume` in a task that serves one call only.
        """
        ...

    def resume(self, handle: object) -> None:
        """Note that the running task works for this call from now on; None: for no observed one."""
        ...

    def follows(self, handle: object) -> bool:
        """Return whether it observes the port calls made for this call, besides its end."""
        ...

    def end(self, handle: object, status: status_pb2.Status | None) -> None:
        """Note the end of a call.

        Args:
            status: status of a call that failed, CANCELLED if its caller has gone; None: it
                succeeded.
        """
        ...


class Rejected(Exception):
    """Failure of a call, with the status that the transport sends."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


_CANCELLED = status_pb2.Status(code=code_pb2.CANCELLED, message="the caller has gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """Common part of unary and streaming methods.

    Attributes:
        path: path such as `/prism.v1.KeyValueService/Get`.
        max_reply_bytes: maximum size of a reply that a caller can be expected to receive.
        check_pattern: checks the pattern that a call names; None: it is ignored.
        authenticate: identifies the caller; None: callers stay anonymous.
        log: log of calls that fail or are slow.
        element_limits: bound on the elements of a request; None: it has no repeated field.
    """

    path: str
    request_type: type[Message]
    max_reply_bytes: int
    element_limits: ElementLimits | None = None
    check_pattern: CheckPattern | None = None
    authenticate: Authenticate | None = None
    log: RequestLog = field(default_factory=RequestLog)
    observer: CallObserver | None = None
    tally: CallTally = field(default_factory=CallTally)
    durations: Durations = field(default_factory=lambda: Durations(CALL_BOUNDS_S))

    def _begin(self, context: CallContext) -> object:
        connection.set(context.connection)
        self.tally.started += 1
        if self.observer is None:
            return None
        observed = self.observer.begin(self.path, context)
        if observed is not None:
            self.observer.resume(observed)
        return observed

    def _check_pattern(self, context: CallContext) -> None:
        if self.check_pattern is not None and (pattern := context.pattern):
            self.check_pattern(pattern)

    def _decode(self, payload: bytes) -> Message:
        if self.element_limits is not None:
            self.element_limits.check(payload)
        try:
            return self.request_type.FromString(payload)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a valid {self.request_type.DESCRIPTOR.full_name}; "
                "text must be UTF-8"
            ) from None

    # A status and not an exception is kept until the end of a call: an exception refers to
    # the frame of the call by its traceback, so a frame that kept it would be in a cycle, and
    # the request with it, until the garbage collector runs.

    def _fail(self, error: Exception, started_ns: int) -> status_pb2.Status:
        status = failure_status(error, self.log.redact)
        # A message that the transport refused is no defect.
        cause = None if isinstance(error, Rejected) else error
        self.log.failed(self.path, status, cause, started_ns)
        return status

    def _end(self, observed: object, failure: status_pb2.Status | None, elapsed_ns: int) -> None:
        self.durations.add(elapsed_ns)
        self.tally.ended += 1
        if failure is not None:
            self.tally.failed[failure.code] += 1
        if observed is not None and self.observer is not None:
            self.observer.end(observed, failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaryCall(_Method):
    """Method that takes one message and answers with one, from bytes to bytes.

    Attributes:
        default_timeout_s: timeout for callers that set no deadline; None: unlimited.
    """

    handler: UnaryHandler
    default_timeout_s: float | None

    async def __call__(self, payload: bytes, context: CallContext) -> bytes:
        """Serve one call.

        Raises:
            Rejected: the call failed, for any reason but being cancelled.
        """
        started_ns = perf_counter_ns()
        observed = self._begin(context)
        failure = None
        timeout_s = context.timeout_s
        try:
            if (
                self.authenticate is not None
                and (refusal := self.authenticate.identify(context)) is not None
            ):
                await refusal
            self._check_pattern(context)
            request = self._decode(payload)
            reply = await within(
                self.default_timeout_s if timeout_s is None else timeout_s,
                self.handler(request, context),
            )
            return encode(reply, self.max_reply_bytes)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                failure = _CANCELLED
                raise
            # The caller did not cancel this call: a library cancelled work of its own.
            failure = self._fail(RuntimeError("cancelled from within"), started_ns)
            raise Rejected(failure) from error
        except Exception as error:
            failure = self._fail(error, started_ns)
            raise Rejected(failure) from error
        finally:
            elapsed_ns = perf_counter_ns() - started_ns
            if elapsed_ns >= self.log.slow_ns and failure is None:
                self.log.succeeded(self.path, started_ns)
            self._end(observed, failure, elapsed_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCall(_Method):
    """Method that takes and answers with streams of messages, from bytes to bytes.

    There is no default timeout: a stream lasts until one side ends it. A transport that
    stops reading closes the generator, which ends the servicer's work at once.

    Attributes:
        is_connection: whether it is open for as long as its caller is connected.
    """

    handler: StreamHandler
    is_connection: bool = False

    async def __call__(
        self, payloads: AsyncIterator[bytes], context: CallContext
    ) -> AsyncGenerator[bytes, None]:
        """Serve one call, and yield encoded replies; raises as `UnaryCall` does."""
        started_ns = perf_counter_ns()
        observed = self._begin(context)
        failure = None
        requests = (self._decode(payload) async for payload in payloads)
        try:
            with ExitStack() as stack:
                try:
                    if self.authenticate is not None:
                        if (refusal := self.authenticate.identify(context)) is not None:
                            await refusal
                        if self.is_connection:
                            stack.enter_context(self.authenticate.connected())
                    self._check_pattern(context)
                except PrismError:
                    await _first_of(payloads)
                    raise
                async with aclosing(self.handler(requests, context)) as replies:
                    async for reply in replies:
                        yield encode(reply, self.max_reply_bytes)
        except (asyncio.CancelledError, GeneratorExit):
            failure = _CANCELLED
            raise
        except Exception as error:
            failure = self._fail(error, started_ns)
            raise Rejected(failure) from error
        finally:
            self._end(observed, failure, perf_counter_ns() - started_ns)


Call = UnaryCall | StreamCall


def calls_of(
    service: ServiceDescriptor,
    servicer: object,
    *,
    default_timeout: timedelta | None,
    max_message_bytes: int,
    check_pattern: CheckPattern | None = None,
    authenticate: Authenticate | None = None,
    log: RequestLog | None = None,
    observer: CallObserver | None = None,
    around: Callable[[str, UnaryHandler], UnaryHandler] | None = None,
) -> Mapping[str, Call]:
    """Return the calls of a service by path, for each method that the servicer has.

    A transport answers other paths with UNIMPLEMENTED.

    Args:
        observer: observer of all calls but `Operate`, which observes each operation.
        around: returns the handler to use for a unary call's path and own handler; None: its own.
    """
    calls: dict[str, Call] = {}
    for method in service.methods:
        handler = getattr(servicer, snake_case(method.name), None)
        if handler is None:
            continue
        request_type = GetMessageClass(method.input_type)
        limits = ElementLimits(
            request_type, MAX_STREAM_ELEMENTS if method.client_streaming else MAX_ELEMENTS
        )
        common: dict[str, Any] = {
            "path": f"/{service.full_name}/{method.name}",
            "request_type": request_type,
            "element_limits": limits if limits.applies else None,
            "handler": handler,
            "max_reply_bytes": max_message_bytes,
            "check_pattern": check_pattern,
            "authenticate": authenticate,
            "log": log or RequestLog(),
            "observer": None if method.name == "Operate" else observer,
        }
        path = common["path"]
        if method.client_streaming or method.server_streaming:
            # A watch has a quota of its own.
            calls[path] = StreamCall(**common, is_connection=method.name == "Operate")
        else:
            if around is not None:
                common["handler"] = around(path, handler)
            timeout_s = default_timeout.total_seconds() if default_timeout else None
            calls[path] = UnaryCall(**common, default_timeout_s=timeout_s)
    return calls


async def _first_of(payloads: AsyncIterator[bytes]) -> None:
    """Wait until the caller has sent its first message, before the stream is refused.

    A stream that ends while that message is being written fails inside grpcio's client,
    as INTERNAL and without the status.
    """
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(FIRST_MESSAGE_S):
            await anext(payloads)


def encode(reply: Message, limit: int) -> bytes:
    """Encode a reply; raises Exhausted if it is larger than the limit."""
    data = reply.SerializeToString()
    if len(data) > limit:
        raise too_large(data, limit)
    return data


def too_large(reply: bytes, limit: int) -> Exhausted:
    """Return the error for an encoded reply that is too large to send."""
    return Exhausted(f"the reply has {len(reply):,} bytes; the limit is {limit:,}")


def failure_status(error: Exception, redact: Callable[[str], str] = str) -> status_pb2.Status:
    """Return what a caller may know of an error.

    Errors that are not Prism's become INTERNAL without their text.
    """
    if isinstance(error, PrismError):
        return status_of(error, redact)
    if isinstance(error, Rejected):
        return error.status
    return status_of(Internal("internal error; the server's log has the details"))
