"""Attacks on a server with a policy: without credentials, with wrong ones, and with narrow ones."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import (
    GET,
    GET_SMALL,
    OPERATE,
    SCAN,
    WATCH,
    WATCH_ALL,
    summary_of,
)
from tests.attack.peer import Header, Peer, message
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_DENIED, _EXHAUSTED, _UNAUTHENTICATED, _UNAVAILABLE = "7", "8", "16", "14"

_GRPCIO_CANNOT = "keep other calls under 250 ms while a thousand calls are in flight"

_SCAN_ALL = message(pb.ScanRequest(page_size=1000, include_values=True).SerializeToString())


async def _flood(
    target: Target,
    path: str,
    body: bytes,
    credentials: Callable[[], tuple[Header, ...]],
    refusals: set[str],
    most_rounds: int = 100,
) -> str:
    """Make thousands of calls on ten connections, all of which must be refused in this way."""
    rounds, per_peer = target.size(most_rounds, 5), 100
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(Peer.connect(target.grpc_port)) for _ in range(10)]

        async def call(peer: Peer) -> None:
            for done in range(rounds):
                for _ in range(per_peer):
                    peer.call(path, body, *credentials())
                await peer.drain()
                await peer.wait_answered((done + 1) * per_peer)

        await asyncio.gather(*map(call, peers))
        statuses = sum((peer.statuses for peer in peers), Counter[str]())
        resets = sum(peer.resets for peer in peers)
        seen = summary_of(statuses, resets, *Counter(peer.closed for peer in peers if peer.closed))
        require(set(statuses) <= refusals | {_EXHAUSTED, _UNAVAILABLE}, seen)
        require(any(statuses[each] for each in refusals), seen)
        return seen


def _nothing() -> tuple[Header, ...]:
    return ()


def _wrong_token() -> tuple[Header, ...]:
    return (("authorization", f"Bearer prism_{secrets.token_urlsafe(32)}"),)


@attack(Place.GUARDED, grpcio_cannot=_GRPCIO_CANNOT)
async def calls_without_credentials(target: Target) -> str:
    """100,000 Gets without credentials."""
    return await _flood(target, GET, GET_SMALL, _nothing, {_UNAUTHENTICATED})


@attack(Place.GUARDED, grpcio_cannot=_GRPCIO_CANNOT)
async def watches_without_credentials(target: Target) -> str:
    """100,000 watches without credentials."""
    return await _flood(target, WATCH, WATCH_ALL, _nothing, {_UNAUTHENTICATED})


@attack(Place.GUARDED, short=(Place.GUARDED,), grpcio_cannot=_GRPCIO_CANNOT)
async def wrong_tokens(target: Target) -> str:
    """8,000 Gets, each with another wrong token, from the address of the other client."""
    # Each round ends with a refusal that waits up to two seconds.
    return await _flood(target, GET, GET_SMALL, _wrong_token, {_UNAUTHENTICATED}, 8)


@attack(Place.GUARDED, short=(Place.GUARDED,), grpcio_cannot=_GRPCIO_CANNOT)
async def scans_beyond_the_own_prefix(target: Target) -> str:
    """100,000 Scans of all keys by a caller who may use its own."""
    return await _flood(target, SCAN, _SCAN_ALL, lambda: target.headers, {_DENIED})


@attack(Place.GUARDED)
async def long_messages_of_denied_gets(target: Target) -> str:
    """Operate messages of 32,000 Gets each of keys of others, on many streams at once."""
    get = pb.GetRequest(key="small")
    operations = [pb.Operation(id=number + 1, get=get) for number in range(32_000)]
    body = message(pb.OperateRequest(operations=operations).SerializeToString())
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(Peer.connect(target.grpc_port, window=1 << 24))
        count = target.size(40, 5)
        streams = [peer.call(OPERATE, None, *target.headers) for _ in range(count)]
        await asyncio.gather(*(peer.send(stream, body, end=True) for stream in streams))
        await peer.wait_answered(count, 60)
        require(set(peer.statuses) <= {"0", _EXHAUSTED}, summary_of(peer.statuses, peer.resets))
        return summary_of(
            peer.statuses, peer.resets, f"{peer.received >> 20} MiB of refusals", peer.closed
        )


async def _replies(port: int, commands: bytes, within_s: float) -> Counter[str]:
    """Send commands without a pause until the time is over; count the replies by first word."""
    seen: Counter[str] = Counter()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    writer.write(commands)
                    await writer.drain()
                    data = await reader.read(1 << 20)
                    if not data:
                        seen["closed"] += 1
                        return seen
                    seen.update(line.split(b" ")[0].decode() for line in data.split(b"\r\n")[:-1])
            finally:
                writer.close()
    return seen


async def _flood_redis_port(target: Target, commands: bytes, refusals: set[str]) -> str:
    within_s = target.size(8, 2)
    count = target.size(50, 10)
    all_seen = await asyncio.gather(
        *(_replies(target.redis_port, commands, within_s) for _ in range(count))
    )
    seen = sum(all_seen, Counter[str]())
    text = ", ".join(f"{number:,} {word}" for word, number in seen.most_common(4)) or "nothing"
    granted = [word for word in seen if word.startswith(("+", "$", ":", "*"))]
    require(not granted, text)
    require(any(seen[word] for word in refusals), text)
    return text


@attack(Place.GUARDED, short=(Place.GUARDED,))
async def wrong_redis_logins(target: Target) -> str:
    """Clients at the Redis port that try one wrong token after another in long pipelines."""
    login = b"*3\r\n$4\r\nAUTH\r\n$8\r\nattacker\r\n$5\r\nwrong\r\n"
    return await _flood_redis_port(target, login * 500, {"-WRONGPASS"})


@attack(Place.GUARDED)
async def redis_commands_without_login(target: Target) -> str:
    """Clients at the Redis port that send commands without a login in long pipelines."""
    get = b"*2\r\n$3\r\nGET\r\n$5\r\nsmall\r\n"
    return await _flood_redis_port(target, get * 500, {"-NOAUTH"})


@attack(Place.GUARDED)
async def wrong_tokens_at_the_http_port(target: Target) -> str:
    """64 clients that ask for /metrics with wrong tokens without a pause."""
    answers: Counter[str] = Counter()

    async def ask() -> None:
        token = secrets.token_urlsafe(32)
        request = f"GET /metrics HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n"
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
            try:
                writer.write(request.encode())
                answers[(await reader.read(1 << 16))[9:12].decode()] += 1
            finally:
                writer.close()

    async def repeat() -> None:
        while True:
            await ask()

    with suppress(TimeoutError):
        async with asyncio.timeout(target.size(8, 2)):
            await asyncio.gather(*(repeat() for _ in range(64)))
    seen = ", ".join(f"{count:,} {status}" for status, count in answers.items())
    require("200" not in answers and answers["401"], seen or "nothing")
    return seen
