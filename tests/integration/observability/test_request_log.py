"""The request log until the server ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from prism.adapters.grpc.request_log import LINES
from prism.v1 import lifecycle_pb2 as pb

CALL = "/prism.v1.LifecycleService/HealthCheck"


async def test_suppressed_lines_are_counted_before_the_server_ends(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken")
    server = start_server("--admin-token-file", str(token)).serving()
    async with grpc.aio.insecure_channel(server.address) as channel:
        check: Any = channel.unary_unary(CALL)
        for _ in range(LINES + 3):
            with pytest.raises(grpc.aio.AioRpcError, match="admin token"):
                await check(pb.HealthCheckRequest().SerializeToString())
    server.stop()
    events = [json.loads(line) for line in server.lines]
    logged = [event for event in events if event.get("method") == CALL]
    assert len(logged) == LINES + 1
    assert logged[-1]["suppressed"] == 3
    assert logged[-1]["message"] == f"{CALL}: 3 more (UNAUTHENTICATED)"
    assert events[-1]["message"] == "ended"
