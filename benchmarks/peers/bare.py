"""What every bare server does: decode, look into a dict, encode. No limits, no deadlines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import count

from prism.v1 import keyvalue_pb2 as pb

_SERVICE = "/prism.v1.KeyValueService/"

_stored: dict[str, tuple[bytes, int]] = {}
_versions = count(1)


def get(payload: bytes) -> bytes:
    """`Get`, from bytes to bytes."""
    found = _stored.get(pb.GetRequest.FromString(payload).key)
    if found is None:
        return pb.GetResponse().SerializeToString()
    value, version = found
    return pb.GetResponse(entry=pb.Entry(value=value, version=version)).SerializeToString()


def set_(payload: bytes) -> bytes:
    """`Set`, from bytes to bytes."""
    request = pb.SetRequest.FromString(payload)
    version = next(_versions)
    _stored[request.key] = (request.value, version)
    return pb.SetResponse(version=version).SerializeToString()


HANDLERS: dict[str, Callable[[bytes], bytes]] = {_SERVICE + "Get": get, _SERVICE + "Set": set_}


def announce(address: str) -> None:
    """Say on stderr that it serves, in the words of Prism's own log."""
    sys.stderr.write(json.dumps({"message": "serving", "grpc_address": address}) + "\n")
    sys.stderr.flush()
