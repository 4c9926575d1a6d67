"""grpc-js and grpcio get the same results, on each transport."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from prism.adapters.wire.status import error_of
from prism.ports import Internal, InvalidArgument, VersionConflict
from prism.v1 import keyvalue_pb2 as pb
from prism.v1 import lifecycle_pb2 as lpb

KV = "/prism.v1.KeyValueService/"
MIB = 1 << 20
SCRIPT = Path(__file__).parent / "node" / "calls.js"
MODULES = Path(__file__).parents[3] / "build" / "node" / "node_modules"


def call(name: str, path: str, *messages: Message, **more: Any) -> dict[str, Any]:
    texts = [b64encode(message.SerializeToString()).decode() for message in messages]
    return {"name": name, "path": path, "messages": texts, **more}


CALLS = [
    call("set", KV + "Set", pb.SetRequest(key="k", value=b"v")),
    call("get", KV + "Get", pb.GetRequest(key="k")),
    call("absent", KV + "Get", pb.GetRequest(key="absent")),
    call("invalid", KV + "Get", pb.GetRequest(key="")),
    call("emoji in the message", KV + "Increment", pb.IncrementRequest(key="k😀", delta=1)),
    call("conflict", KV + "Set", pb.SetRequest(key="k", value=b"w", if_absent=True)),
    call("unexpected", KV + "Get", pb.GetRequest(key="broken")),
    call("late", KV + "Get", pb.GetRequest(key="slow"), timeout_ms=150),
    call("given up", KV + "Get", pb.GetRequest(key="slow"), cancel_after_ms=100),
    call("no such method", KV + "Frobnicate", pb.GetRequest(key="k")),
    call("no such service", "/a.b.C/D", pb.GetRequest(key="k")),
    call("large", KV + "Set", pb.SetRequest(key="large", value=b"x" * MIB)),
    call("large back", KV + "Get", pb.GetRequest(key="large")),
    call("too large", KV + "Set", pb.SetRequest(key="k", value=b"x" * 5 * MIB)),
    call("compressed", KV + "Set", pb.SetRequest(key="z", value=b"x" * 1000), gzip=True),
    call(
        "metadata",
        "/prism.v1.LifecycleService/HealthCheck",
        lpb.HealthCheckRequest(),
        metadata={"authorization": "Bearer wrong"},
    ),
    call(
        "two in, two out",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest(list_services="x"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="prism.v1.Entry"),
        stream=True,
    ),
    call(
        "a stream given up",
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest(),
        stream=True,
        cancel_after_replies=1,
    ),
    call(
        "unknown to health",
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest(service="x"),
    ),
]

CODES = {
    "set": 0,
    "get": 0,
    "absent": 0,
    "invalid": 3,
    "emoji in the message": 0,
    "conflict": 10,
    "unexpected": 13,
    "late": 4,
    "given up": 1,
    "no such method": 12,
    "no such service": 12,
    "large": 0,
    "large back": 0,
    "too large": 8,
    "compressed": 0,
    "metadata": 7,
    "two in, two out": 0,
    "a stream given up": 1,
    "unknown to health": 5,
}


async def seen_by_node(address: str) -> dict[str, Any]:
    node = shutil.which(
        "node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert node, "node is missing: run 'make setup'"
    assert MODULES.is_dir(), f"{MODULES} is missing: run 'make setup'"
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(MODULES)},
    )
    task = json.dumps({"address": address, "calls": CALLS}).encode()
    output, _ = await asyncio.wait_for(process.communicate(task), 60)
    found: dict[str, Any] = json.loads(output)
    return found


def error_in(result: dict[str, Any]) -> Exception:
    (details,) = result["details"]
    return error_of(status_pb2.Status.FromString(b64decode(details)))


async def test_client_in_another_language_gets_statuses_details_and_streams(serve: Any) -> None:
    served = await serve(admin_token="right")
    found = await seen_by_node(served.address)
    assert {name: result["code"] for name, result in found.items()} == CODES
    (reply,) = found["get"]["replies"]
    assert pb.GetResponse.FromString(b64decode(reply)).entry.value == b"v"
    (reply,) = found["large back"]["replies"]
    assert pb.GetResponse.FromString(b64decode(reply)).entry.value == b"x" * MIB
    assert len(found["two in, two out"]["replies"]) == 2
    assert isinstance(error_in(found["invalid"]), InvalidArgument)
    assert isinstance(error_in(found["conflict"]), VersionConflict)
    assert isinstance(error_in(found["unexpected"]), Internal)
    assert "hunter2" not in json.dumps(found)
    stored = await served.driver.get("z")
    assert stored is not None
    assert stored.value == b"x" * 1000
    async with asyncio.timeout(30):
        while served.admission.in_flight:
            await asyncio.sleep(0.001)
    assert len(served.driver.cancelled_at) == 2
