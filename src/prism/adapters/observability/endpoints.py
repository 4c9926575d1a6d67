"""HTTP endpoints beside gRPC: the page at `/`, and `/health`, `/ready` and `/metrics`.

https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from prism.adapters.http_server import HttpRequest, HttpResponse, HttpServer
from prism.adapters.observability.page.history import OperationSamples
from prism.domain.access.caller import current_caller
from prism.domain.access.logins import Logins
from prism.domain.access.policy import Action
from prism.domain.addresses import peer_of
from prism.domain.admission import connection
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import Exhausted, NotServing, PrismError, Unauthenticated

if TYPE_CHECKING:
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.page.page import StatusPage

# The page in a browser: no framing, no guessing of its type, no address of it to others.
_PAGE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ALLOW = ((b"allow", b"GET, HEAD, OPTIONS"),)

_OPEN = ("/health", "/ready")
"""Paths that are answered to everybody, since probes show no credentials."""

_MAX_CONNECTIONS = 64


class Endpoints:
    """Handler of requests that answers from what is known; no request reaches the backend.

    Args:
        readiness: decides what `/ready` answers.
        page: returns the page, made at the first call.
        logins: identifies callers, who need the right to `observe`; None: all are anonymous.
    """

    def __init__(
        self,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        metrics: Metrics,
        page: Callable[[], StatusPage],
        logins: Logins | None = None,
    ) -> None:
        self._logins = logins
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._metrics = metrics
        self._page = page
        self._routes: dict[str, Callable[[HttpRequest], Awaitable[HttpResponse]]] = {
            "/": self._show_page,
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._show_metrics,
        }

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        route = self._routes.get(request.path)
        if route is None:
            return _json(404, error=f"no such page; the valid ones are: {', '.join(self._routes)}")
        if request.method == "OPTIONS":
            return HttpResponse(204, "text/plain", b"", _ALLOW)
        if request.method not in ("GET", "HEAD"):
            refusal = _json(405, error="only GET, HEAD and OPTIONS are allowed")
            return refusal._replace(headers=_ALLOW)
        if self._logins is not None and request.path not in _OPEN:
            try:
                await _check(self._logins, request)
            except PrismError as error:
                return _refusal_of(error)
        return await route(request)

    async def _show_page(self, request: HttpRequest) -> HttpResponse:
        # In a thread: the first request imports the page's libraries.
        page = await asyncio.to_thread(self._page)
        body = page.render(refreshing=request.query == "refresh")
        headers = (*_PAGE_HEADERS, (b"content-security-policy", page.policy.encode()))
        return HttpResponse(200, "text/html; charset=utf-8", body, headers)

    async def _health(self, _request: HttpRequest) -> HttpResponse:
        return _json(200, status="healthy")

    async def _ready(self, _request: HttpRequest) -> HttpResponse:
        readiness = self._readiness.current
        if readiness.ready:
            return _json(200, status="ready")
        state = self._lifecycle.current
        return _json(503, status="not ready", state=str(state), reason=readiness.reason)

    async def _show_metrics(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, *self._metrics.render(request.accept))


class EndpointServer:
    """HTTP server of the endpoints; takes samples of the operations while it runs."""

    def __init__(
        self, endpoints: Endpoints, samples: OperationSamples, host: str, port: int
    ) -> None:
        self._samples = samples
        self._sampling: asyncio.Task[None] | None = None
        self._server = HttpServer(
            endpoints,
            host=host,
            port=port,
            remedy=(
                "stop it, choose another with --metrics-port (0 picks a free one), "
                "or give --no-metrics"
            ),
            max_connections=_MAX_CONNECTIONS,
            always=_OPEN,
        )

    async def start(self) -> str:
        """Listen and serve; see `HttpServer.start`."""
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


async def _check(logins: Logins, request: HttpRequest) -> None:
    """Return if the policy lets the caller observe; raises PrismError."""
    connection.set(request.peer)
    caller = logins.caller(request.authorization)
    if caller is None:
        caller = await logins.log_in(peer_of(request.peer), request.authorization)
    current_caller.set(caller)
    logins.control.check_server(Action.OBSERVE)


def _refusal_of(error: PrismError) -> HttpResponse:
    refusal = _json(403, error=error.message)
    if isinstance(error, Unauthenticated):
        return refusal._replace(status=401, headers=((b"www-authenticate", b"Bearer"),))
    if isinstance(error, NotServing):
        return refusal._replace(status=503, headers=((b"retry-after", b"2"),))
    if isinstance(error, Exhausted):
        return refusal._replace(status=429, headers=((b"retry-after", b"2"),))
    return refusal


def _json(code: int, /, **pairs: str) -> HttpResponse:
    return HttpResponse(code, "application/json", json.dumps(pairs, separators=(",", ":")).encode())
