"""A client span around each operation of something that implements the ports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.context import get_current
from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import (
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    use_span,
)

from prism.adapters.observability.tracing.incoming import NotTraced
from prism.adapters.observability.tracing.requests import RPC_METHOD, RPC_SYSTEM_NAME
from prism.ports import PrismError

Operation = Callable[..., Awaitable[Any]]


class Named(NamedTuple):
    """How a convention calls an operation."""

    name: str
    attributes: dict[str, str | int]


Describe = Callable[[str, Sequence[Any]], Named]
"""From an operation of the ports, and its arguments."""

# By the ports' names, the calls that do it.
_CALLS = {
    "get": "Get",
    "set": "Set",
    "delete": "Delete",
    "exists": "Exists",
    "expire": "Expire",
    "ttl": "GetTtl",
    "persist": "Persist",
    "compare_and_set": "Set",
    "compare_and_delete": "Delete",
    "get_many": "BatchGet",
    "set_many": "BatchSet",
    "delete_many": "BatchDelete",
    "scan": "Scan",
    "increment": "Increment",
}
_BATCHES = {"get_many": "BATCH get", "set_many": "BATCH set", "delete_many": "BATCH delete"}


def as_database(system: str) -> Describe:
    """Operations of a backend of this kind.

    https://opentelemetry.io/docs/specs/semconv/database/database-spans/
    """

    def describe(operation: str, arguments: Sequence[Any]) -> Named:
        attributes: dict[str, str | int] = {DB_SYSTEM_NAME: system}
        # One item is no batch, says the convention.
        if operation in _BATCHES and len(arguments[0]) > 1:
            operation = _BATCHES[operation]
            attributes[DB_OPERATION_BATCH_SIZE] = len(arguments[0])
        attributes[DB_OPERATION_NAME] = operation
        return Named(operation, attributes)

    return describe


def as_server(address: str) -> Describe:
    """Calls to the Prism server at this address.

    https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
    """
    host, _, port = address.rpartition(":")
    where: dict[str, str | int] = {SERVER_ADDRESS: address}
    if port.isdigit():
        where = {SERVER_ADDRESS: host, SERVER_PORT: int(port)}

    def describe(operation: str, _arguments: Sequence[Any]) -> Named:
        method = f"prism.v1.KeyValueService/{_CALLS[operation]}"
        return Named(method, {RPC_SYSTEM_NAME: "grpc", RPC_METHOD: method, **where})

    return describe


class TracedOperations:
    """A driver or a client, with a span around each operation of what is being traced.

    For anything else, and for what is no operation, it is the same as without.
    """

    def __init__(self, traced: Any, tracer: Tracer, describe: Describe) -> None:
        self._inner = traced
        self._tracer = tracer
        self._describe = describe
        for name in _CALLS:
            operation = getattr(traced, name, None)
            if operation is not None:
                setattr(self, name, self._traced(name, operation))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _traced(self, name: str, operation: Operation) -> Operation:
        def call(*args: Any, **options: Any) -> Awaitable[Any]:
            # The first question is the cheaper one.
            if type(get_current()) is NotTraced or not get_current_span().is_recording():
                return operation(*args, **options)
            return self._spanned(self._describe(name, args), partial(operation, *args, **options))

        return call

    async def _spanned(self, named: Named, run: Callable[[], Awaitable[Any]]) -> Any:
        span = self._tracer.start_span(
            named.name, kind=SpanKind.CLIENT, attributes=named.attributes
        )
        # Current for the driver, too: what its library traces, and what it sends on.
        with use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                return await run()
            except PrismError as error:
                span.set_attribute(ERROR_TYPE, error.reason)
                span.set_status(Status(StatusCode.ERROR, error.message))
                raise
            except Exception as error:
                span.set_attribute(ERROR_TYPE, type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise
