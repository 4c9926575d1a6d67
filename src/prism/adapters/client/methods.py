"""Methods of KeyValueService that can be unary calls or operations of a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from prism.adapters.wire.encoding import tag_of
from prism.v1 import keyvalue_pb2 as pb

Reply = TypeVar("Reply", bound=Message)

SERVICE = "/prism.v1.KeyValueService/"
OPERATE = f"{SERVICE}Operate"


@dataclass(frozen=True, slots=True)
class Method(Generic[Reply]):
    """One method of the service.

    Attributes:
        path: path of the unary call.
        field: field of `Operation` and of `OperationOutcome`.
        tag: encoded tag of that field in `Operation`.
    """

    path: str
    field: str
    tag: bytes
    reply_type: type[Reply]


def _method(name: str, reply_type: type[Reply]) -> Method[Reply]:
    field = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return Method(SERVICE + name, field, tag_of(pb.Operation, field), reply_type)


GET = _method("Get", pb.GetResponse)
SET = _method("Set", pb.SetResponse)
DELETE = _method("Delete", pb.DeleteResponse)
EXISTS = _method("Exists", pb.ExistsResponse)
EXPIRE = _method("Expire", pb.ExpireResponse)
PERSIST = _method("Persist", pb.PersistResponse)
GET_TTL = _method("GetTtl", pb.GetTtlResponse)
BATCH_GET = _method("BatchGet", pb.BatchGetResponse)
BATCH_SET = _method("BatchSet", pb.BatchSetResponse)
BATCH_DELETE = _method("BatchDelete", pb.BatchDeleteResponse)
SCAN = _method("Scan", pb.ScanResponse)
INCREMENT = _method("Increment", pb.IncrementResponse)

BY_FIELD: Mapping[str, Method[Any]] = {
    each.field: each
    for each in (
        *(GET, SET, DELETE, EXISTS, EXPIRE, PERSIST, GET_TTL),
        *(BATCH_GET, BATCH_SET, BATCH_DELETE, SCAN, INCREMENT),
    )
}
