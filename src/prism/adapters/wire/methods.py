"""Methods of KeyValueService that can also be operations of a stream, and metadata of calls.

The methods are derived from the ports' table of operations and from the proto.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prism.adapters.wire.encoding import tag_of
from prism.ports import OPERATIONS, Capability, Keys
from prism.v1 import keyvalue_pb2 as pb

Reply = TypeVar("Reply", bound=Message)
Reply_co = TypeVar("Reply_co", bound=Message, covariant=True)

PATTERN = "prism-pattern"
"""Metadata key by which a call names a pattern."""

_SERVICE = pb.DESCRIPTOR.services_by_name["KeyValueService"]


def path_of(rpc: str) -> str:
    """Return the path of a call, such as `/prism.v1.KeyValueService/Get`."""
    return f"/{_SERVICE.full_name}/{rpc}"


def snake_case(name: str) -> str:
    """Return the name of a method as servicers and fields spell it: GetTtl is get_ttl."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, slots=True)
class Method(Generic[Reply_co]):
    """One method of the service.

    Attributes:
        path: path of the unary call.
        field: field of `Operation` and of `OperationOutcome`.
        request_tag: encoded tag of that field in `Operation`.
        outcome_tag: encoded tag of that field in `OperationOutcome`.
        reply_type: class of the reply.
        keys: how a request names its keys.
        operation_of: returns the name of the port's operation that a request asks for.
    """

    path: str
    field: str
    request_tag: bytes
    outcome_tag: bytes
    reply_type: type[Reply_co]
    keys: Keys
    operation_of: Callable[[Any], str]


def _method(rpc: str) -> Method[Any]:
    field = snake_case(rpc)
    specs = [spec for spec in OPERATIONS.values() if spec.rpc == rpc]
    return Method(
        path=path_of(rpc),
        field=field,
        request_tag=tag_of(pb.Operation, field),
        outcome_tag=tag_of(pb.OperationOutcome, field),
        reply_type=GetMessageClass(_SERVICE.methods_by_name[rpc].output_type),
        keys=specs[0].keys,
        operation_of=_operation_of(rpc, {spec.capability: spec.name for spec in specs}),
    )


def _operation_of(rpc: str, names: Mapping[Capability | None, str]) -> Callable[[Any], str]:
    conditional = names.get(Capability.COMPARE_AND_SET)
    if conditional is None:
        (name,) = names.values()
        return lambda _: name
    plain = names[None]
    if "if_absent" in _SERVICE.methods_by_name[rpc].input_type.fields_by_name:
        return lambda request: (
            conditional if request.if_absent or request.HasField("if_version") else plain
        )
    return lambda request: conditional if request.HasField("if_version") else plain


METHODS: Mapping[str, Method[Any]] = {
    method.field: method
    for method in map(
        _method, dict.fromkeys(spec.rpc for spec in OPERATIONS.values() if not spec.streams)
    )
}
"""Every method, by field."""
