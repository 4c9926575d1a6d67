"""starsessions: sessions of a Starlette application in `RedisStore`."""

import sys

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore


async def count(request: Request) -> JSONResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session["visits"])


async def leave(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse(None)


store = RedisStore(f"redis://127.0.0.1:{sys.argv[1]}")
middleware = [
    Middleware(SessionMiddleware, store=store, lifetime=100, cookie_https_only=False),
    Middleware(SessionAutoloadMiddleware),
]
app = Starlette(routes=[Route("/", count), Route("/leave", leave)], middleware=middleware)
with TestClient(app) as client:
    assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]
    client.get("/leave")
    assert client.get("/").json() == 1
