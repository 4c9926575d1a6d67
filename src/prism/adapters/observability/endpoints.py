"""`/health`, `/ready` and `/metrics` as an ASGI application.

https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor

Send = Callable[[Any], Awaitable[None]]


class Metrics(Protocol):
    """Whoever makes the page of metrics."""

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, in the format that is asked for."""
        ...


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


class Endpoints:
    """Answers from what is known already: no request here reaches the backend."""

    def __init__(
        self, lifecycle: LifecycleMachine, readiness: ReadinessMonitor, metrics: Metrics
    ) -> None:
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._metrics = metrics
        self._routes: dict[str, Callable[[str], Answer]] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._tell_metrics,
        }

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        if scope["type"] != "http":
            return
        route = self._routes.get(scope["path"])
        head = scope["method"] == "HEAD"
        if route is None:
            valid = ", ".join(self._routes)
            answer = _json(404, error=f"no such page; there are: {valid}")
            await _send(send, answer, head)
        elif scope["method"] not in ("GET", "HEAD"):
            answer = _json(405, error="only GET and HEAD are answered")
            await _send(send, answer, head, (b"allow", b"GET, HEAD"))
        else:
            await _send(send, route(_accept_of(scope)), head)

    def _health(self, _accept: str) -> Answer:
        return _json(200, status="healthy")

    def _ready(self, _accept: str) -> Answer:
        readiness = self._readiness.current
        if readiness.ready:
            return _json(200, status="ready")
        state = self._lifecycle.current
        return _json(503, status="not ready", state=str(state), reason=readiness.reason)

    def _tell_metrics(self, accept: str) -> Answer:
        return Answer(200, *self._metrics.render(accept))


def _json(code: int, /, **pairs: str) -> Answer:
    return Answer(code, "application/json", json.dumps(pairs, separators=(",", ":")).encode())


def _accept_of(scope: Mapping[str, Any]) -> str:
    accepted = (value for name, value in scope["headers"] if name == b"accept")
    return b",".join(accepted).decode("latin-1")


async def _send(send: Send, answer: Answer, head: bool, *headers: tuple[bytes, bytes]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.content_type.encode()),
                (b"content-length", str(len(answer.body)).encode()),
                (b"cache-control", b"no-store"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
