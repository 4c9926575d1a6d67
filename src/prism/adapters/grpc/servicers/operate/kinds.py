"""The kinds of operations that a stream can carry, read off the proto."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from prism.adapters.grpc.calls import Tally, UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.operate.outcomes import tag_of
from prism.v1 import keyvalue_pb2 as pb


class Relayed(Protocol):
    """An operation that somebody else works on, and no task waits for."""

    def done(self) -> bool: ...

    def set_exception(self, error: BaseException) -> None: ...

    def cancel(self) -> bool: ...


Tell: TypeAlias = Callable[[Any, BaseException | None], None]
"""Takes the reply, or why there is none: a CancelledError when it was given up."""

RelayHandler: TypeAlias = Callable[[Any, CallContext, Tell], Relayed | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done with one field of `Operation.operation`.

    Attributes:
        path: of the unary call that does the same.
        keys_of: the keys of a request, whose operations take effect in order.
        tag: of the outcome's field, as it is on the wire.
        relay: hands one on without a task; None, or its answer None: the handler does it.
        tally: of the operations; the calls have their own.
    """

    path: str
    handler: UnaryHandler
    keys_of: Callable[[Any], tuple[str, ...]]
    tag: bytes
    relay: RelayHandler | None = None
    tally: Tally = field(default_factory=Tally)


def kinds_of(
    servicer: object, relays: Mapping[str, RelayHandler] | None = None
) -> Mapping[str, Kind]:
    """By field name, with the servicer's method of that name, and what relays it."""
    relays = relays or {}
    service = pb.DESCRIPTOR.services_by_name["KeyValueService"]
    methods = {method.input_type.name: method.name for method in service.methods}
    kinds = {}
    for field_ in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields:
        request = field_.message_type
        assert request is not None
        kinds[field_.name] = Kind(
            path=f"/{service.full_name}/{methods[request.name]}",
            handler=getattr(servicer, field_.name),
            keys_of=_keys_of(request.fields_by_name),
            tag=tag_of(field_.name),
            relay=relays.get(field_.name),
        )
    return kinds


def _keys_of(fields: Mapping[str, object]) -> Callable[[Any], tuple[str, ...]]:
    if "key" in fields:
        return lambda request: (request.key,)
    if "keys" in fields:
        return lambda request: tuple(request.keys)
    return _no_keys


def _no_keys(_: object) -> tuple[str, ...]:
    """A scan lists what is there meanwhile: it waits for nobody, and nobody for it."""
    return ()
