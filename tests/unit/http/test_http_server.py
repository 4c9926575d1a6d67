"""The HTTP server answers every client, and no client can hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from prism.adapters import http_server
from prism.adapters.http_server import HttpRequest, HttpResponse, HttpServer
from prism.ports import PreconditionFailed

_LARGE = b"x" * (8 << 20)


async def _handle(request: HttpRequest) -> HttpResponse:
    if request.path == "/defect":
        raise RuntimeError("secret")
    body = _LARGE if request.path == "/large" else f"{request.method} {request.path}".encode()
    return HttpResponse(200, "text/plain", body, ((b"x-query", request.query.encode()),))


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    server = HttpServer(_handle, host="127.0.0.1", port=0, remedy="stop it", max_connections=8)
    yield server
    await server.stop()


@asynccontextmanager
async def _connect(
    address: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def _exchange(address: str, sent: bytes) -> bytes:
    async with asyncio.timeout(30), _connect(address) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        return await reader.read()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
async def test_both_versions_of_http_are_answered(
    server: HttpServer, version: bytes, method: bytes
) -> None:
    address = await server.start()
    host = b"host: x\r\n" if version == b"1.1" else b""
    answer = await _exchange(address, method + b" /a?b HTTP/" + version + b"\r\n" + host + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"x-query: b" in head
    assert body == method + b" /a"


async def test_head_has_no_body(server: HttpServer) -> None:
    answer = await _exchange(await server.start(), b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"content-length: 6" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_connection_serves_several_requests(server: HttpServer) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await _exchange(await server.start(), request * 3)
    assert answer.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000,
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_at_once(server: HttpServer, sent: bytes) -> None:
    answer = await _exchange(await server.start(), sent)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
    assert server.connections == 0


async def test_a_defect_is_answered_without_details_and_logged_a_few_times(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    request = b"GET /defect HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await _exchange(await server.start(), request * 50)
    assert answer.count(b"HTTP/1.1 500") == 50
    assert b"secret" not in answer
    assert "secret" in caplog.text
    assert 1 <= len(caplog.records) <= 5


async def test_request_that_does_not_end_is_closed(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_REQUEST_S", 0.2)
    address = await server.start()
    async with asyncio.timeout(30), _connect(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        while not reader.at_eof():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.02)
            if server.connections == 0:
                break
    assert server.connections == 0


async def test_answer_that_is_not_read_is_given_up(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_REQUEST_S", 0.2)
    address = await server.start()
    async with asyncio.timeout(30), _connect(address) as (_, writer):
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        while not server.connections:
            await asyncio.sleep(0.01)
        while server.connections:
            await asyncio.sleep(0.01)


async def test_idle_connections_make_room_for_new_ones(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    address = await server.start()
    host, port = address.split(":")
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
    answer = await _exchange(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.connections <= 8
    assert server.refused >= 42
    assert not caplog.records
    for _, writer in idle:
        writer.close()


async def test_connections_that_do_not_read_make_room_for_new_ones(server: HttpServer) -> None:
    address = await server.start()
    host, port = address.split(":")
    unread = [await asyncio.open_connection(host, int(port), limit=1) for _ in range(50)]
    for _, writer in unread:
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = await _exchange(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    for _, writer in unread:
        writer.close()


@pytest.mark.parametrize(("path", "status"), [(b"/always", b"200"), (b"/other", b"503")])
async def test_a_request_that_need_not_wait_is_answered_while_all_others_wait(
    path: bytes, status: bytes
) -> None:
    release, waiting = asyncio.Event(), 0

    async def handle(request: HttpRequest) -> HttpResponse:
        nonlocal waiting
        if request.path == "/slow":
            waiting += 1
            await release.wait()
        return HttpResponse(200, "text/plain", b"")

    server = HttpServer(
        handle, host="127.0.0.1", port=0, remedy="", max_connections=2, always=("/always",)
    )
    address = await server.start()
    async with asyncio.timeout(30), _connect(address) as first, _connect(address) as second:
        for _, writer in (first, second):
            writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        while waiting < 2:
            await asyncio.sleep(0.01)
        answer = await _exchange(address, b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)
        release.set()
    await server.stop()


async def test_many_requests_on_one_connection_do_not_hold_up_another(server: HttpServer) -> None:
    address = await server.start()
    answered: list[str] = []
    handler = server._handler

    async def note(request: HttpRequest) -> HttpResponse:
        answered.append(request.path)
        return await handler(request)

    server._handler = note
    async with asyncio.timeout(30), _connect(address) as (_, many), _connect(address) as (_, one):
        many.write(b"GET /many HTTP/1.1\r\nhost: x\r\n\r\n" * 300)
        one.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
        while "/one" not in answered:
            await asyncio.sleep(0)
    assert answered.count("/many") < 100


async def test_stop_closes_idle_connections(server: HttpServer) -> None:
    address = await server.start()
    async with asyncio.timeout(30), _connect(address) as (reader, _):
        while not server.connections:
            await asyncio.sleep(0.01)
        await server.stop()
        assert await reader.read() == b""


async def test_taken_port_is_named(server: HttpServer) -> None:
    port = int((await server.start()).rpartition(":")[2])
    other = HttpServer(_handle, host="127.0.0.1", port=port, remedy="stop it", max_connections=8)
    with pytest.raises(PreconditionFailed, match=f"port {port} on 127.0.0.1 is taken.*stop it"):
        await other.start()
