"""Paths and requests that attacks send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.peer import message

SERVICE = "/prism.v1.KeyValueService/"
GET, SET, OPERATE, WATCH = (f"{SERVICE}{name}" for name in ("Get", "Set", "Operate", "Watch"))
BATCH_GET, BATCH_SET, SCAN = (f"{SERVICE}{name}" for name in ("BatchGet", "BatchSet", "Scan"))
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
INITIALIZE = "/prism.v1.LifecycleService/Initialize"

GET_SMALL = message(pb.GetRequest(key="small").SerializeToString())
GET_BIG = message(pb.GetRequest(key="big").SerializeToString())
WATCH_ALL = message(pb.WatchRequest(prefix="").SerializeToString())

_NAMES = {"0": "OK", "1": "CANCELLED", "3": "INVALID_ARGUMENT", "4": "DEADLINE_EXCEEDED",
          "7": "PERMISSION_DENIED", "8": "RESOURCE_EXHAUSTED", "9": "FAILED_PRECONDITION",
          "12": "UNIMPLEMENTED", "13": "INTERNAL", "14": "UNAVAILABLE",
          "16": "UNAUTHENTICATED"}  # fmt: skip


def summary_of(statuses: Mapping[str, int], resets: int = 0, *more: str) -> str:
    """Return counts of answers as text."""
    parts = [f"{count:,} {_NAMES.get(name, name)}" for name, count in Counter(statuses).items()]
    if resets:
        parts.append(f"{resets:,} reset")
    return ", ".join([*parts, *(each for each in more if each)]) or "nothing"


def varint(value: int) -> bytes:
    """Return a number as Protocol Buffers encodes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def delimited(number: int, data: bytes) -> bytes:
    """Return a field of bytes, text or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data
