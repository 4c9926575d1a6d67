"""Attacks by many connections, or by what is sent on the connection itself."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import AsyncExitStack, suppress

from tests.attack.attacks.calls import GET, GET_BIG, GET_SMALL
from tests.attack.peer import PREFACE, Kind, Peer, frame
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_HELLO = PREFACE + frame(Kind.SETTINGS)
_TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)


async def open_connections(port: int, count: int, greeting: bytes) -> list[socket.socket]:
    """Open connections as fast as the port accepts them, and send something on each."""
    loop = asyncio.get_running_loop()
    held = []
    for _ in range(count):
        each = socket.socket()
        each.setblocking(False)
        held.append(each)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.3):
                await loop.sock_connect(each, ("127.0.0.1", port))
                await loop.sock_sendall(each, greeting)
    return held


def _goodbyes(held: list[socket.socket]) -> int:
    """Return how many of the connections got a GOAWAY or ended."""
    count = 0
    for each in held:
        try:
            data = each.recv(1 << 16)
            count += not data or bytes([0, Kind.GOAWAY]) in data or bytes([Kind.GOAWAY, 0]) in data
        except BlockingIOError:
            pass
        except OSError:
            count += 1
    return count


async def _call_anew(target: Target, within_s: float = 10) -> str:
    """Require that a new connection is served soon."""
    for _ in range(int(within_s / 0.25)):
        with suppress(OSError):
            async with Peer.connect(target.grpc_port) as peer:
                peer.call(GET, GET_SMALL, *target.headers)
                await peer.wait_answered(1, 2)
                if peer.statuses["0"]:
                    return "a new connection is served afterwards"
        await asyncio.sleep(0.25)
    require(False, "no new connection is served afterwards")
    return ""


@attack(Place.CRAMPED, short=(Place.CRAMPED,))
async def idle_connections(target: Target) -> str:
    """400 idle connections, of which the server has descriptors for half."""
    held = await open_connections(target.grpc_port, 400, _HELLO)
    await asyncio.sleep(2)
    refused = _goodbyes(held)
    for each in held:
        each.close()
    require(refused >= 100, f"only {refused} of 400 were refused")
    return f"{refused} of 400 refused; {await _call_anew(target)}"


@attack(Place.CRAMPED)
async def idle_http_connections(target: Target) -> str:
    """400 connections to the HTTP port that never finish a request."""
    held = await open_connections(target.http_port, 400, b"GET /health HTTP/1.1\r\n")
    await asyncio.sleep(2)
    for each in held:
        each.close()
    return await _call_anew(target)


@attack(Place.SERVER, Place.PROXY)
async def two_thousand_idle_connections(target: Target) -> str:
    """2,000 connections that say hello and then nothing."""
    held = await open_connections(target.grpc_port, 2_000, _HELLO)
    await asyncio.sleep(target.size(10, 1))
    for each in held:
        each.close()
    return await _call_anew(target)


@attack()
async def half_open_connections(target: Target) -> str:
    """1,000 connections that send half a greeting."""
    held = await open_connections(target.grpc_port, 1_000, PREFACE[:10])
    await asyncio.sleep(target.size(10, 1))
    for each in held:
        each.close()
    return await _call_anew(target)


@attack()
async def other_protocols_on_the_grpc_port(target: Target) -> str:
    """TLS greetings, HTTP/1 requests and noise where HTTP/2 is spoken."""
    for greeting in (_TLS_HELLO, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", os.urandom(400), b"\n" * 99):
        held = await open_connections(target.grpc_port, target.size(200, 50), greeting)
        await asyncio.sleep(0.2)
        for each in held:
            each.close()
    return await _call_anew(target)


@attack()
async def broken_connections(target: Target) -> str:
    """Thousands of connections, one after another, that end while a large reply is on its way."""
    count = target.size(5_000, 400)

    async def one() -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
            peer = Peer(reader, writer, reads=False)
            peer.write(_HELLO)
            peer.call(GET, GET_BIG)
            await peer.drain()
            await asyncio.sleep(0.005)
            peer.abort()

    for _ in range(0, count, 20):
        await asyncio.gather(*(one() for _ in range(20)))
    return f"{count:,} connections"


@attack(short=(Place.SERVER,))
async def control_frames(target: Target) -> str:
    """Floods of pings, settings, priorities and empty frames."""
    ping = frame(Kind.PING, payload=bytes(8))
    settings = frame(Kind.SETTINGS, payload=struct.pack(">HI", 4, 1 << 20))
    window = frame(Kind.WINDOW_UPDATE, payload=struct.pack(">I", 1))
    priority = frame(Kind.PRIORITY, 0, 1, struct.pack(">IB", 0, 1))
    seen = []
    for flood in (ping, settings, window, priority, frame(Kind.DATA, 0, 1)):
        async with AsyncExitStack() as stack:
            peer = await stack.enter_async_context(Peer.connect(target.grpc_port))
            peer.call(GET)
            with suppress(TimeoutError):
                async with asyncio.timeout(target.size(5, 1)):
                    while not peer.closed:
                        peer.write(flood * 1_000)
                        await peer.drain()
                        await asyncio.sleep(0.001)
            seen.append(peer.closed or "open")
    return f"pings, settings, windows, priorities, empty data: {', '.join(seen)}"


@attack(grpcio_cannot="keep other calls under 250 ms while its threads answer a million pings")
async def unread_pings(target: Target) -> str:
    """Pings without an end, whose answers are not read."""
    ping = frame(Kind.PING, payload=bytes(8)) * 1_000
    sent = 0
    async with AsyncExitStack() as stack:
        for _ in range(4):
            peer = await stack.enter_async_context(Peer.connect(target.grpc_port))
            await asyncio.sleep(0.1)
            peer.pause_reading()
            with suppress(TimeoutError):
                async with asyncio.timeout(target.size(5, 1)):
                    while not peer.closed:
                        peer.write(ping)
                        await peer.drain()
                        sent += 1_000
                        await asyncio.sleep(0)
    return f"{sent:,} pings were taken"


@attack()
async def endless_headers(target: Target) -> str:
    """Headers that are continued without an end."""
    more = frame(Kind.CONTINUATION, 0, 1, b"\0\1a\1b" * 4_000)
    async with Peer.connect(target.grpc_port) as peer:
        peer.write(frame(Kind.HEADERS, 0, 1, b"\x83\x86"))
        for _ in range(2_000):
            if peer.closed:
                break
            peer.write(more)
            await peer.drain()
        await peer.wait_closed(3)
        require(peer.closed, "the server takes headers without an end")
        return peer.closed
