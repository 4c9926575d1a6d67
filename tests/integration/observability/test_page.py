"""The page over HTTP, as a browser receives it."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.client import connect, connect_admin
from prism.ports import InvalidArgument, PrismError
from tests.integration.observability.conftest import Deployed, Get
from tests.servers.redis import RedisServer

HOSTILE = '<script>alert(1)</script>"&'
SECTIONS = (
    *("Server", "Operations", "Recent errors", "Lifecycle"),
    *("Backend", "Capabilities and limits", "Settings"),
)


def text_of(page: str) -> str:
    """Return the text without style and tags."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))


async def test_the_page_has_all_sections_for_every_driver(
    deployed: Deployed, start_server: Any, get: Get, until: Callable[..., Any]
) -> None:
    server = start_server(*deployed.flags).serving()
    async with connect(server.address) as kv:
        await kv.set("k", b"v")
        with pytest.raises(InvalidArgument):
            await kv.scan(page_token=HOSTILE)
    page = get(server.metrics_address, "/")
    assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
    for title in SECTIONS:
        assert f">{title}</h2>" in page.text
    assert "This section failed" not in page.text
    assert f"<title>running · {deployed.driver} " in page.text
    text = text_of(page.text)
    assert server.address in text
    assert HOSTILE in text
    assert "<script" not in page.text
    assert re.search(r"set\s+\S+\s+≤ \d", text)
    await until(lambda: "healthy" in text_of(get(server.metrics_address, "/").text))


def _headers(address: str, method: str, path: str = "/") -> tuple[http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == 200
        return response.headers, response.read()
    finally:
        connection.close()


def test_the_policy_allows_only_the_page_s_own_style(shared_server: Any) -> None:
    headers, body = _headers(shared_server.metrics_address, "GET")
    policy = headers["content-security-policy"].split("; ")
    style = re.search(rb"<style>(.*?)</style>", body, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    assert policy[:3] == ["default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:"]
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} == set(policy[3:])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_head_answers_with_the_same_headers_and_no_body(shared_server: Any) -> None:
    headers, body = _headers(shared_server.metrics_address, "HEAD")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert int(headers["content-length"]) > 0
    assert body == b""


def test_the_page_reloads_itself_on_request(shared_server: Any, get: Get) -> None:
    address = shared_server.metrics_address
    assert 'http-equiv="refresh"' not in get(address, "/").text
    assert 'http-equiv="refresh" content="5"' in get(address, "/?refresh").text


def test_an_unknown_path_lists_the_valid_ones(shared_server: Any, get: Get) -> None:
    answer = get(shared_server.metrics_address, "/nothing")
    assert answer.status == 404
    assert "the valid ones are: /, /health, /ready, /metrics" in answer.json["error"]


def test_the_page_is_served_while_the_backend_is_opening(
    start_server: Any, get: Get, tmp_path: Path
) -> None:
    opening = tmp_path / "open"
    server = start_server("--driver", "slow", "--slow-opened-by", str(opening), "--debug")
    address = server.wait_for("health is answered on")["message"].split()[-1]
    server.wait_for("initializing")
    assert "<title>created · slow 1.0 " in get(address, "/").text
    opening.touch()
    server.serving()
    assert "<title>running · slow 1.0 " in get(address, "/").text


async def test_a_drained_server_shows_the_time_and_the_reason(
    server: Any, get: Get, in_thread: Callable[..., Any]
) -> None:
    async with connect_admin(server.address) as admin:
        await admin.lifecycle.drain()
    text = text_of((await in_thread(get, server.metrics_address, "/")).text)
    assert re.search(r"\d\d:\d\d:\d\d \(\d+ s ago\)\s+not ready\s+the driver is draining", text)


async def test_a_hanging_backend_is_shown_in_the_title(
    start_server: Any, get: Get, until: Callable[..., Any]
) -> None:
    with RedisServer() as redis:
        flags = ("--driver", "redis", "--redis-url", redis.url, "--redis-timeout", "200ms")
        server = start_server(*flags).serving()
        await redis.pause()
        try:
            address = server.metrics_address
            await until(lambda: "<title>running, not ready" in get(address, "/").text)
            async with connect(server.address) as kv:
                with pytest.raises(PrismError):
                    await kv.get("k")
            failed = re.compile(r"KeyValueService/Get\s+(DEADLINE_EXCEEDED|UNAVAILABLE)")
            await until(lambda: failed.search(text_of(get(address, "/").text)) is not None)
        finally:
            await redis.resume()


async def test_no_secret_is_on_the_page(start_server: Any, get: Get, tmp_path: Path) -> None:
    password, token = "pa55-w0rd-planted", "t0ken-planted"
    file = tmp_path / "token"
    file.write_text(token)
    with RedisServer({"requirepass": password}) as redis:
        url = f"redis://:{password}@127.0.0.1:{redis.port}"
        flags = ("--driver", "redis", "--redis-url", url, "--admin-token-file", str(file))
        server = start_server(*flags).serving()
        async with connect(server.address) as kv, connect_admin(server.address) as admin:
            for quoted in (password, token, url):
                with pytest.raises(InvalidArgument):
                    await kv.scan(page_token=f"({quoted})")
            with pytest.raises(PrismError):
                await admin.lifecycle.drain()
        page = get(server.metrics_address, "/").text
    assert "the page token &#39;(***)&#39; is malformed" in page
    assert "LifecycleService/Drain" in page
    for secret in (password, token):
        assert secret not in page
