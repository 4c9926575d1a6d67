"""HTTP endpoints beside gRPC: the page at `/`, and `/health`, `/ready` and `/metrics`.

https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from prism.adapters.asgi import AsgiServer
from prism.adapters.observability.page.history import OperationSamples
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.token_bucket import TokenBucket

if TYPE_CHECKING:
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.page.page import Page

log = logging.getLogger(__name__)

Message = Mapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

# The page in a browser: no framing, no guessing of its type, no address of it to others.
_PAGE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_GRACE_S = 1.0


class Scope(TypedDict):
    """ASGI connection scope, as far as it is read here."""

    type: str
    method: str
    path: str
    query_string: bytes
    headers: Iterable[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """HTTP response."""

    status: int
    content_type: str
    body: bytes
    headers: Headers = ()


class Request(NamedTuple):
    """The parts of an HTTP request that an answer depends on.

    Attributes:
        query: the text after the `?`.
        accept: the header of that name.
    """

    query: str
    accept: str


class Endpoints:
    """ASGI application that answers from what is known; no request reaches the backend.

    Args:
        readiness: decides what `/ready` answers.
        page: returns the page, made at the first call.
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
        self._defect_logs = TokenBucket(per_second=0.1, burst=3)
        self._routes: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "/": self._show_page,
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._show_metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await _send(send, await self._answer(scope), head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope) -> Answer:
        route = self._routes.get(scope["path"])
        if route is None:
            return _json(404, error=f"no such page; valid are: {', '.join(self._routes)}")
        if scope["method"] not in ("GET", "HEAD"):
            answer = _json(405, error="only GET and HEAD are allowed")
            return answer._replace(headers=((b"allow", b"GET, HEAD"),))
        try:
            return await route(_request_of(scope))
        except Exception:
            if self._defect_logs.take():
                log.exception("cannot answer %s; this is a defect", scope["path"])
            return _json(500, error="internal error; see the server's log")

    async def _show_page(self, request: Request) -> Answer:
        # In a thread: the first request imports the page's libraries.
        page = await asyncio.to_thread(self._page)
        body = page.render(refreshing=request.query == "refresh")
        headers = (*_PAGE_HEADERS, (b"content-security-policy", page.policy.encode()))
        return Answer(200, "text/html; charset=utf-8", body, headers)

    async def _health(self, _request: Request) -> Answer:
        return _json(200, status="healthy")

    async def _ready(self, _request: Request) -> Answer:
        readiness = self._readiness.current
        if readiness.ready:
            return _json(200, status="ready")
        state = self._lifecycle.current
        return _json(503, status="not ready", state=str(state), reason=readiness.reason)

    async def _show_metrics(self, request: Request) -> Answer:
        return Answer(200, *self._metrics.render(request.accept))


class EndpointServer:
    """HTTP server of the endpoints; takes samples of the operations while it runs."""

    def __init__(
        self, endpoints: Endpoints, samples: OperationSamples, host: str, port: int
    ) -> None:
        self._samples = samples
        self._sampling: asyncio.Task[None] | None = None
        self._server = AsgiServer(
            endpoints,
            bind=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            remedy=(
                "stop it, choose another with --metrics-port (0 picks a free one), "
                "or give --no-metrics"
            ),
            timeout_graceful_shutdown=_GRACE_S,
        )

    async def start(self) -> str:
        """Listen and serve; see `AsgiServer.start`."""
        address = await self._server.start()
        self._sampling = asyncio.create_task(self._samples.keep_taking())
        return address

    async def stop(self) -> None:
        """Stop serving. Safe if it never started."""
        if self._sampling is not None:
            self._sampling.cancel()
            with suppress(asyncio.CancelledError):
                await self._sampling
            self._sampling = None
        await self._server.stop()


def _json(code: int, /, **pairs: str) -> Answer:
    return Answer(code, "application/json", json.dumps(pairs, separators=(",", ":")).encode())


def _request_of(scope: Scope) -> Request:
    accepted = (value for name, value in scope["headers"] if name == b"accept")
    return Request(scope["query_string"].decode("latin-1"), b",".join(accepted).decode("latin-1"))


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
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
