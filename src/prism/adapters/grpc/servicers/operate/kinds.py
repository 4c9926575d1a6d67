"""The kinds of operations that a stream can carry, read off the proto."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prism.adapters.grpc.calls import Tally, UnaryHandler
from prism.adapters.wire.encoding import tag_of
from prism.v1 import keyvalue_pb2 as pb


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done with one field of `Operation.operation`.

    Attributes:
        name: of that field.
        path: of the unary call that does the same.
        keys_of: the keys of a request, whose operations take effect in order.
        tag: of the outcome's field, as it is on the wire.
        tally: of the operations; the calls have their own.
    """

    name: str
    path: str
    handler: UnaryHandler
    keys_of: Callable[[Any], tuple[str, ...]]
    tag: bytes
    tally: Tally = field(default_factory=Tally)


def kinds_of(servicer: object) -> Mapping[str, Kind]:
    """By field name, with the servicer's method of that name."""
    service = pb.DESCRIPTOR.services_by_name["KeyValueService"]
    methods = {method.input_type.name: method.name for method in service.methods}
    kinds = {}
    for each in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields:
        request = each.message_type
        assert request is not None
        kinds[each.name] = Kind(
            name=each.name,
            path=f"/{service.full_name}/{methods[request.name]}",
            handler=getattr(servicer, each.name),
            keys_of=_keys_of(request.fields_by_name),
            tag=tag_of(pb.OperationOutcome, each.name),
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
