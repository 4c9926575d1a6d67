"""`/health` and `/ready` as an ASGI application.

https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor

Answer = tuple[int, Mapping[str, str]]
Send = Callable[[Any], Awaitable[None]]


class Endpoints:
    """Answers from what is known already: no request here reaches the backend."""

    def __init__(self, lifecycle: LifecycleMachine, readiness: ReadinessMonitor) -> None:
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._routes: dict[str, Callable[[], Answer]] = {
            "/health": self._health,
            "/ready": self._ready,
        }

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        if scope["type"] != "http":
            return
        route = self._routes.get(scope["path"])
        head = scope["method"] == "HEAD"
        if route is None:
            valid = ", ".join(self._routes)
            await _send(send, 404, {"error": f"no such page; there are: {valid}"}, head)
        elif scope["method"] not in ("GET", "HEAD"):
            refusal = {"error": "only GET and HEAD are answered"}
            await _send(send, 405, refusal, head, (b"allow", b"GET, HEAD"))
        else:
            await _send(send, *route(), head)

    def _health(self) -> Answer:
        return 200, {"status": "healthy"}

    def _ready(self) -> Answer:
        readiness = self._readiness.current
        if readiness.ready:
            return 200, {"status": "ready"}
        state = self._lifecycle.current
        return 503, {"status": "not ready", "state": str(state), "reason": readiness.reason}


async def _send(
    send: Send, status: int, body: Mapping[str, str], head: bool, *headers: tuple[bytes, bytes]
) -> None:
    payload = json.dumps(body).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(payload)).encode()),
                (b"cache-control", b"no-store"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else payload})
