"""Attacks by requests that are wrong in a small way."""

from __future__ import annotations

import asyncio

import hpack

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import GET, GET_SMALL, OPERATE, SET, summary_of
from tests.attack.peer import Header, Peer, call_headers, header_block, message
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_OK = "0"


async def _answers(target: Target, *headers: list[Header], body: bytes) -> list[str]:
    """Return the answer to each request, in order; each has a connection of its own."""
    answers = []
    for each in headers:
        async with Peer.connect(target.grpc_port) as peer:
            stream = peer.send_headers(header_block(each), body)
            await peer.wait_answered(1, 5)
            answers.append(peer.outcomes.get(stream) or peer.closed or "reset")
    return answers


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def writes_that_cannot_be_answered(target: Target) -> str:
    """Sets without `te: trailers` and as gRPC-Web: refused, and not applied."""
    body = message(pb.SetRequest(key="unanswerable", value=b"x").SerializeToString())
    answers = await _answers(
        target,
        call_headers(SET, *target.headers, trailers=False),
        call_headers(SET, *target.headers, ("content-type", "application/grpc-web")),
        call_headers(SET, *target.headers, ("content-type", "application/grpc-web+proto")),
        call_headers(SET, *target.headers, ("content-type", "application/grpc-web-text")),
        call_headers(SET, *target.headers, ("content-type", "text/plain")),
        body=body,
    )
    exists = message(pb.ExistsRequest(key="unanswerable").SerializeToString())
    async with Peer.connect(target.grpc_port) as peer:
        stream = peer.call("/prism.v1.KeyValueService/Exists", exists, *target.headers)
        await peer.wait_answered(1, 5)
        # An empty reply says that the key does not exist: five bytes of prefix.
        applied = peer.received > 5
        require(peer.outcomes.get(stream) == _OK, f"Exists: {peer.outcomes}")
    require(not applied or _OK in answers, f"refused and yet applied: {answers}")
    return f"te, web, web+proto, web-text, plain: {', '.join(answers)}"


@attack(short=(Place.SERVER,))
async def disguised_paths(target: Target) -> str:
    """Get with an encoded path, a query, another method or two paths: none may be served."""
    encoded, query = ("/prism.v1.KeyValueService/%47et", f"{GET}?x=1")
    answers = await _answers(
        target,
        call_headers(encoded),
        call_headers(query),
        call_headers(GET, (":method", "GET")),
        [*call_headers("/prism.v1.KeyValueService/Nothing")[:-2], (":path", GET),
         *call_headers(GET)[-2:]],
        [*call_headers(GET)[:-2], (":path", "/prism.v1.KeyValueService/Nothing"),
         *call_headers(GET)[-2:]],
        body=GET_SMALL,
    )  # fmt: skip
    require(_OK not in answers[:3], f"served: {answers}")
    return f"encoded, query, GET, two paths, two paths: {', '.join(answers)}"


@attack(short=(Place.SERVER,))
async def endless_deadline(target: Target) -> str:
    """Thousands of calls with a `grpc-timeout` of 400 digits, and other malformed ones."""
    values = ["9" * 400 + "S", "9" * 400 + "n", "-1S", "1", "S", "", "99999999H", "\u0661S", "1e9S"]
    count = target.size(5_000, 900)
    async with Peer.connect(target.grpc_port) as peer:
        for number in range(count):
            peer.call(GET, GET_SMALL, ("grpc-timeout", values[number % len(values)]))
            if number % 200 == 0:
                await peer.drain()
                await peer.wait_answered(number - 200, 5)
        await peer.wait_answered(count, 10)
        return summary_of(peer.statuses, peer.resets, peer.closed)


@attack()
async def malformed_messages(target: Target) -> str:
    """Get with a body that is not a message, is too long, cut short, or compressed wrongly."""
    bodies = [
        b"",
        b"\0",
        b"\0\xff\xff\xff\xff",
        b"\7" + GET_SMALL[1:],
        b"\1" + GET_SMALL[1:],
        GET_SMALL * 2,
        GET_SMALL + b"x",
        message(b"\x0a\2\xff\xfe"),
        message(b"\xff" * 300),
        message(b"\x0b" * 3_000),
    ]
    statuses = []
    async with Peer.connect(target.grpc_port) as peer:
        for number in range(target.size(2_000, 300)):
            peer.call(GET, bodies[number % len(bodies)])
            if number % 100 == 0:
                await peer.drain()
                await asyncio.sleep(0.01)
        await peer.wait_answered(target.size(2_000, 300), 10)
        # grpcio serves the first message of a call and drops what follows.
        most = 0 if target.transport == "h2corn" else target.size(2_000, 300) // 5
        require(peer.statuses[_OK] <= most, f"served: {summary_of(peer.statuses)}")
        statuses.append(summary_of(peer.statuses, peer.resets, peer.closed))
    return ", ".join(statuses)


@attack(
    short=(Place.SERVER,),
    grpcio_cannot="keep other calls under 250 ms while megabytes of headers are decoded",
)
async def repeated_headers(target: Target) -> str:
    """Calls of 4 KB whose headers refer to one long header thousands of times."""
    value = hpack.hpack.encode_integer(3_900, 7)
    entry = b"\x40\x01x" + bytes(value) + b"v" * 3_900
    headers = header_block(call_headers(OPERATE))
    async with Peer.connect(target.grpc_port) as peer:
        peer.send_headers(headers + entry, b"")
        for references in (50, 4_000):
            for _ in range(target.size(200, 40)):
                peer.send_headers(headers + b"\xbe" * references)
                await peer.drain()
        await peer.wait_answered(1 + 2 * target.size(200, 40), 10)
        require(peer.statuses[_OK] == 1, f"served: {summary_of(peer.statuses)}")
        return summary_of(peer.statuses, peer.resets, peer.closed)
