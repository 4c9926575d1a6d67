"""The policy at the HTTP port."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest

from tests.integration.access.conftest import Serve


def ask(address: str, path: str, token: str | None) -> tuple[int, bytes, dict[str, str]]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


@pytest.mark.parametrize("transport", ["h2corn"], indirect=True)
async def test_probes_are_open_and_the_rest_needs_observe(serve: Serve) -> None:
    server = await serve()

    async def status_of(path: str, name: str | None) -> int:
        token = None if name is None else server.tokens.get(name, name)
        status, _, _ = await asyncio.to_thread(ask, server.http_address, path, token)
        return status

    for path in ("/health", "/ready"):
        assert await status_of(path, None) == 200
    for path in ("/metrics", "/"):
        assert await status_of(path, None) == 401
        assert await status_of(path, "prism_wrong") == 401
        assert await status_of(path, "orders") == 403
        assert await status_of(path, "prometheus") == 200
        assert await status_of(path, "alice") == 200
    _, body, headers = await asyncio.to_thread(ask, server.http_address, "/metrics", None)
    assert headers["www-authenticate"] == "Bearer"
    assert "see the metrics and the status page" in json.loads(body)["error"]
