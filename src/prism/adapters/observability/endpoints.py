"""The page at `/`, and `/health`, `/ready` and `/metrics`, as an ASGI application.

https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.token_bucket import TokenBucket

if TYPE_CHECKING:
    from prism.adapters.observability.page.page import Page

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# A page in a browser: nobody may frame it, guess at its type, or learn its address from it.
_GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Metrics(Protocol):
    """Whoever makes the page of metrics."""

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, in the format that is asked for."""
        ...


Headers = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    headers: Headers = ()


class Request(NamedTuple):
    """What an answer may depend on.

    Attributes:
        query: what follows the `?`.
        accept: the header.
    """

    query: str
    accept: str


class Endpoints:
    """Answers from what is known already: no request here reaches the backend.

    Args:
        page: makes it, or has it made already.
    """

    def __init__(
        self,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        metrics: Metrics,
        page: Callable[[], Page],
    ) -> None:
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._metrics = metrics
        self._page = page
        self._defects = TokenBucket(per_second=0.1, burst=3)
        self._routes: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "/": self._show_page,
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._tell_metrics,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._answer(scope, send)

    async def _answer(self, scope: Any, send: Send) -> None:
        route = self._routes.get(scope["path"])
        head = scope["method"] == "HEAD"
        if route is None:
            valid = ", ".join(self._routes)
            answer = _json(404, error=f"no such page; there are: {valid}")
            await _send(send, answer, head)
        elif scope["method"] not in ("GET", "HEAD"):
            answer = _json(405, error="only GET and HEAD are answered")
            await _send(send, answer._replace(headers=((b"allow", b"GET, HEAD"),)), head)
        else:
            await _send(send, await self._answer_of(route, scope), head)

    async def _answer_of(self, route: Callable[[Request], Awaitable[Answer]], scope: Any) -> Answer:
        try:
            return await route(_request_of(scope))
        except Exception:
            if self._defects.take():
                log.exception("%s could not be answered; this is a defect", scope["path"])
            return _json(500, error="an internal error; the log of the server has it")

    async def _show_page(self, request: Request) -> Answer:
        # The first who looks has it loaded, and calls are served meanwhile.
        page = await asyncio.to_thread(self._page)
        body = page.render(refreshing=request.query == "refresh")
        guards = (*_GUARDS, (b"content-security-policy", page.policy.encode()))
        return Answer(200, "text/html; charset=utf-8", body, guards)

    async def _health(self, _request: Request) -> Answer:
        return _json(200, status="healthy")

    async def _ready(self, _request: Request) -> Answer:
        readiness = self._readiness.current
        if readiness.ready:
            return _json(200, status="ready")
        state = self._lifecycle.current
        return _json(503, status="not ready", state=str(state), reason=readiness.reason)

    async def _tell_metrics(self, request: Request) -> Answer:
        return Answer(200, *self._metrics.render(request.accept))


def _json(code: int, /, **pairs: str) -> Answer:
    return Answer(code, "application/json", json.dumps(pairs, separators=(",", ":")).encode())


def _request_of(scope: Mapping[str, Any]) -> Request:
    accepted = (value for name, value in scope["headers"] if name == b"accept")
    return Request(scope["query_string"].decode("latin-1"), b",".join(accepted).decode("latin-1"))


async def _send(send: Send, answer: Answer, head: bool) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.content_type.encode()),
                (b"content-length", str(len(answer.body)).encode()),
                (b"cache-control", b"no-store"),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
