"""Attacks on the HTTP port: health, readiness, metrics and the page."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)


async def _ask(port: int, request: bytes, within_s: float = 10) -> bytes:
    """Return everything that the server answers until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within_s):
            writer.write(request)
            return await reader.read()
    finally:
        writer.close()


@attack(Place.HTTP, short=(Place.HTTP,))
async def dribbled_headers(target: Target) -> str:
    """200 requests of which one byte a second is sent."""
    ended = 0

    async def one() -> None:
        nonlocal ended
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
            for byte in b"GET /health HTTP/1.1\r\nhost: example\r\n":
                writer.write(bytes([byte]))
                try:
                    async with asyncio.timeout(1):
                        if not await reader.read(1):
                            break
                except TimeoutError:
                    continue
            else:
                writer.close()
                return
            writer.close()
        ended += 1

    with suppress(TimeoutError):
        async with asyncio.timeout(8):
            await asyncio.gather(*(one() for _ in range(200)))
    require(ended == 200, f"{ended} of 200 connections were closed within 8 s")
    return "all were closed within 8 s"


@attack(Place.HTTP, short=(Place.HTTP,))
async def simplest_health_check(target: Target) -> str:
    """HTTP/1.0 without any header, as a load balancer's basic check sends it."""
    answer = await _ask(target.http_port, b"GET /health HTTP/1.0\r\n\r\n")
    status = answer.partition(b"\r\n")[0].decode()
    require(status.endswith("200 OK"), status)
    return status


@attack(Place.HTTP)
async def sixty_four_scrapers(target: Target) -> str:
    """64 clients that ask for /metrics without a pause."""
    request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    scrapes = 0

    async def one() -> None:
        nonlocal scrapes
        while True:
            with suppress(OSError):
                answer = await _ask(target.http_port, request)
                scrapes += answer.startswith(b"HTTP/1.1 200")

    with suppress(TimeoutError):
        async with asyncio.timeout(target.size(8, 3)):
            await asyncio.gather(*(one() for _ in range(64)))
    require(scrapes, "no scrape was answered")
    return f"{scrapes:,} scrapes"


@attack(Place.HTTP)
async def other_protocols_on_the_http_port(target: Target) -> str:
    """TLS greetings, the preface of HTTP/2, endless headers and noise."""
    seen = []
    for greeting in (
        _TLS_HELLO,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
        b"GET /" + b"a" * 1_000_000,
        b"\0" * 100_000,
        b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 1_000_000,
        b"GET /health HTTP/9.9\r\n\r\n",
    ):
        try:
            answer = await _ask(target.http_port, greeting)
            seen.append(answer[:12].decode("latin-1").rpartition(" ")[2] or "closed")
        except OSError:
            seen.append("closed")
        except TimeoutError:
            seen.append("OPEN")
    require("OPEN" not in seen, ", ".join(seen))
    return ", ".join(seen)


@attack(Place.HTTP, short=(Place.HTTP,))
async def unread_pages(target: Target) -> str:
    """Pipelined requests for /metrics by clients that read nothing."""
    request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 500
    writers = []
    for _ in range(target.size(100, 50)):
        with suppress(OSError):
            # A reader with a limit of one byte stops reading from the socket at once.
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port, limit=1)
            writer.write(request)
            writers.append((reader, writer))
    await asyncio.sleep(target.size(10, 3))
    return f"{len(writers)} clients"
