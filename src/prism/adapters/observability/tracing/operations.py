"""Client spans: one around each operation of a driver or client, for sampled requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from opentelemetry.context import attach, detach
from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span

from prism.adapters.observability.tracing.requests import RPC_METHOD, RPC_SYSTEM_NAME, containing
from prism.adapters.observability.tracing.spans import RecordedSpan, SpanRecorder
from prism.ports import OPERATIONS, Event, Keys, PrismError, Profile

Operation = Callable[..., Awaitable[object]]
OpenWatch = AbstractAsyncContextManager[AsyncIterator[Event]]
Watch = Callable[..., OpenWatch]


class Description(NamedTuple):
    """Name and attributes of a span, by the conventions."""

    name: str
    attributes: Mapping[str, str | int]


Describe = Callable[[str, Sequence[Any]], Description]
"""Describes an operation by its name and positional arguments."""


def database_spans(system: str) -> Describe:
    """Describe operations of a backend of this kind.

    https://opentelemetry.io/docs/specs/semconv/database/database-spans/
    """
    single = {
        name: Description(name, {DB_SYSTEM_NAME: system, DB_OPERATION_NAME: name})
        for name in OPERATIONS
    }
    # BATCH get, BATCH set, BATCH delete, and BATCH apply of conditions and writes.
    batches = {
        name: f"BATCH {name.removesuffix('_many')}"
        for name, spec in OPERATIONS.items()
        if spec.keys in (Keys.MANY, Keys.TRANSACTION)
    }

    def describe(operation: str, arguments: Sequence[Any]) -> Description:
        if operation not in batches:
            return single[operation]
        name, size = batches[operation], sum(map(len, arguments))
        # By the convention, one item is not a batch.
        if size == 1:
            return single[operation]
        return Description(
            name,
            {DB_SYSTEM_NAME: system, DB_OPERATION_NAME: name, DB_OPERATION_BATCH_SIZE: size},
        )

    return describe


def rpc_spans(address: str) -> Describe:
    """Describe calls to the Prism server at this address.

    https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
    """
    host, _, port = address.rpartition(":")
    server: dict[str, str | int] = {SERVER_ADDRESS: address}
    if port.isdigit():
        server = {SERVER_ADDRESS: host, SERVER_PORT: int(port)}
    calls = {}
    for name, spec in OPERATIONS.items():
        method = f"prism.v1.KeyValueService/{spec.rpc}"
        calls[name] = Description(method, {RPC_SYSTEM_NAME: "grpc", RPC_METHOD: method, **server})
    return lambda operation, _arguments: calls[operation]


class TracedOperations:
    """Driver or client with a span around each operation of a sampled request.

    Other attributes are those of the inner object. While switched off, operations are the
    inner object's own methods and cost nothing extra.

    Args:
        inner: driver or client.
        parent: returns the span that an operation belongs to; None or an ended span: the
            operation is not traced.
    """

    def __init__(
        self,
        inner: Any,
        recorder: SpanRecorder,
        describe: Describe,
        parent: Callable[[], Span | None] = get_current_span,
    ) -> None:
        self._inner = inner
        self._parent = parent
        self._recorder = recorder
        self._describe = describe
        self._own = {name: getattr(inner, name) for name in OPERATIONS if hasattr(inner, name)}
        self._traced: dict[str, Operation | Watch] = {
            name: self._trace_watch(name, own)
            if OPERATIONS[name].streams
            else self._trace(name, own)
            for name, own in self._own.items()
        }
        self.switch_on()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def profile(self) -> Profile:
        """The inner driver's profile, spelled out because every operation reads it."""
        profile: Profile = self._inner.profile
        return profile

    @property
    def relay(self) -> object:
        """The driver's `relay`, for `isinstance` checks, which overlook `__getattr__`."""
        return getattr(self._inner, "relay", None)

    def switch_on(self) -> None:
        """Trace operations, until `switch_off`."""
        vars(self).update(self._traced)

    def switch_off(self) -> None:
        """Call the inner object directly, until `switch_on`."""
        vars(self).update(self._own)

    def _trace(self, name: str, operation: Operation) -> Operation:
        parent_of = self._parent

        def call(*args: object, **options: object) -> Awaitable[object]:
            parent = parent_of()
            if parent is None or not parent.is_recording():
                return operation(*args, **options)
            span = self._start(self._describe(name, args), parent)
            return _within(span, operation, args, options)

        return call

    def _trace_watch(self, name: str, watch: Watch) -> Watch:
        def call(*args: object, **options: object) -> OpenWatch:
            inner = watch(*args, **options)
            parent = self._parent()
            if parent is None or not parent.is_recording():
                return inner
            return _watch_within(self._start(self._describe(name, args), parent), inner)

        return call

    def _start(self, description: Description, parent: Span) -> RecordedSpan:
        return self._recorder.start(
            description.name, SpanKind.CLIENT, parent.get_span_context(), description.attributes
        )


async def _within(
    span: RecordedSpan,
    operation: Operation,
    args: Sequence[object],
    options: Mapping[str, object],
) -> object:
    # The span is current in the driver, for its libraries and for what it sends to servers.
    token = attach(containing(span))
    try:
        return await operation(*args, **options)
    except Exception as error:
        _fail(span, error)
        raise
    finally:
        detach(token)
        span.end()


@asynccontextmanager
async def _watch_within(
    span: RecordedSpan, watch: OpenWatch
) -> AsyncIterator[AsyncIterator[Event]]:
    """Keep the span open as long as the watch; it is current while the watch opens."""
    try:
        async with AsyncExitStack() as stack:
            token = attach(containing(span))
            try:
                events = await stack.enter_async_context(watch)
            finally:
                detach(token)
            yield events
    except Exception as error:
        _fail(span, error)
        raise
    finally:
        span.end()


def _fail(span: RecordedSpan, error: Exception) -> None:
    if isinstance(error, PrismError):
        span.add_attributes({ERROR_TYPE: error.reason})
        span.set_status(Status(StatusCode.ERROR, error.message))
    else:
        span.add_attributes({ERROR_TYPE: type(error).__qualname__})
        span.set_status(Status(StatusCode.ERROR))
