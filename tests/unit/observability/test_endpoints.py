"""HTTP endpoints when Prism itself has a defect."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from prism.adapters.observability.endpoints import Endpoints, Scope


class Broken:
    """Metrics whose rendering fails."""

    def render(self, *_: object, **__: object) -> Any:
        raise RuntimeError("hunter2")


async def ask(endpoints: Endpoints, path: str) -> tuple[int, Any]:
    """Return the status and the JSON body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no body is read")

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": (),
    }
    await endpoints(scope, receive, send)
    start, body = sent
    return start["status"], json.loads(body["body"])


async def test_a_defect_answers_500_without_details_and_is_logged_a_few_times(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unused: Any = None
    broken: Any = Broken()
    endpoints = Endpoints(unused, unused, broken, unused)
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            status, body = await ask(endpoints, "/metrics")
            assert (status, list(body)) == (500, ["error"])
            assert "hunter2" not in body["error"]
    assert 1 <= len(caplog.records) <= 5
    assert caplog.records[0].exc_info is not None
