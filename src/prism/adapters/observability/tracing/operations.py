"""A client span around each operation of something that implements the ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from opentelemetry.context import attach, detach
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span

from prism.adapters.observability.tracing.incoming import containing
from prism.adapters.observability.tracing.naming import CALLS, Describe, Named
from prism.adapters.observability.tracing.spans import RecordedSpan, Recorder
from prism.ports import Event, PrismError

Operation = Callable[..., Awaitable[Any]]
Watch = Callable[..., AbstractAsyncContextManager[AsyncIterator[Event]]]


class TracedOperations:
    """A driver or a client, with a span around each operation of what is being traced.

    For anything else, and for what is no operation, it is the same as without. The
    spans stay out of the way from `end` to `begin`: an operation is then the inner
    one itself, and costs nothing more.

    Args:
        parent: finds the span that an operation belongs to; None, or one that has ended:
            it is not traced.
    """

    def __init__(
        self,
        traced: Any,
        recorder: Recorder,
        describe: Describe,
        parent: Callable[[], Span | None] = get_current_span,
    ) -> None:
        self._inner = traced
        self._parent = parent
        self._recorder = recorder
        self._describe = describe
        self._own = {name: getattr(traced, name) for name in CALLS if hasattr(traced, name)}
        self._with_spans: dict[str, Operation | Watch] = {
            name: self._watch(name, own) if name == "watch" else self._operation(name, own)
            for name, own in self._own.items()
        }
        self.begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def profile(self) -> Any:
        """Of a driver, which is asked for it with every operation."""
        return self._inner.profile

    def begin(self) -> None:
        """Something may be traced from now on."""
        vars(self).update(self._with_spans)

    def end(self) -> None:
        """Nothing is traced until `begin`."""
        vars(self).update(self._own)

    def _operation(self, name: str, operation: Operation) -> Operation:
        parent_of = self._parent

        def call(*args: Any, **options: Any) -> Awaitable[Any]:
            parent = parent_of()
            if parent is None or not parent.is_recording():
                return operation(*args, **options)
            span = self._span(self._describe(name, args), parent)
            return _spanned(span, operation, args, options)

        return call

    def _watch(self, name: str, watch: Watch) -> Watch:
        def begin(*args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
            standing = watch(*args, **options)
            parent = self._parent()
            if parent is None or not parent.is_recording():
                return standing
            return _watched(self._span(self._describe(name, args), parent), standing)

        return begin

    def _span(self, named: Named, parent: Span) -> RecordedSpan:
        return self._recorder.begin(
            named.name, SpanKind.CLIENT, parent.get_span_context(), named.attributes
        )


async def _spanned(span: RecordedSpan, operation: Operation, args: Any, options: Any) -> Any:
    # Current for the driver, too: what its library traces, and what it sends on.
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
async def _watched(
    span: RecordedSpan, watch: AbstractAsyncContextManager[AsyncIterator[Event]]
) -> AsyncIterator[AsyncIterator[Event]]:
    """For as long as the watch stands; the span is current while it begins."""
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
        span.tell({ERROR_TYPE: error.reason})
        span.set_status(Status(StatusCode.ERROR, error.message))
    else:
        span.tell({ERROR_TYPE: type(error).__qualname__})
        span.set_status(Status(StatusCode.ERROR))
