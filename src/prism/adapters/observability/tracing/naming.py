"""How conventions call the operations of the ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT

from prism.adapters.observability.tracing.requests import RPC_METHOD, RPC_SYSTEM_NAME

# By the ports' names, the calls that do it.
CALLS = {
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
    "watch": "Watch",
}
_BATCHES = {"get_many": "BATCH get", "set_many": "BATCH set", "delete_many": "BATCH delete"}


class Named(NamedTuple):
    """What a convention calls an operation."""

    name: str
    attributes: Mapping[str, str | int]


Describe = Callable[[str, Sequence[Any]], Named]
"""From an operation of the ports, and its arguments."""


def as_database(system: str) -> Describe:
    """Operations of a backend of this kind.

    https://opentelemetry.io/docs/specs/semconv/database/database-spans/
    """
    single = {
        name: Named(name, {DB_SYSTEM_NAME: system, DB_OPERATION_NAME: name}) for name in CALLS
    }

    def describe(operation: str, arguments: Sequence[Any]) -> Named:
        # One item is no batch, says the convention.
        if operation not in _BATCHES or len(arguments[0]) == 1:
            return single[operation]
        name, size = _BATCHES[operation], len(arguments[0])
        return Named(
            name,
            {DB_SYSTEM_NAME: system, DB_OPERATION_NAME: name, DB_OPERATION_BATCH_SIZE: size},
        )

    return describe


def as_server(address: str) -> Describe:
    """Calls to the Prism server at this address.

    https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
    """
    host, _, port = address.rpartition(":")
    where: dict[str, str | int] = {SERVER_ADDRESS: address}
    if port.isdigit():
        where = {SERVER_ADDRESS: host, SERVER_PORT: int(port)}
    called = {}
    for name, call in CALLS.items():
        method = f"prism.v1.KeyValueService/{call}"
        called[name] = Named(method, {RPC_SYSTEM_NAME: "grpc", RPC_METHOD: method, **where})
    return lambda operation, _arguments: called[operation]
