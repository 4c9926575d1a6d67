"""Random requests of a caller with rights of its own: it reaches nothing else, and nothing breaks.

What others keep is known before: their keys hold a mark, which no reply may show, and are as they
were at the end. `PRISM_RANDOM_REQUESTS=10000` sends so many through each door.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prism.adapters.grpc.services import KEY_VALUE
from prism.ports import Put
from tests.integration.access.conftest import Guarded, Serve

REQUESTS = int(os.environ.get("PRISM_RANDOM_REQUESTS", "300"))
AT_ONCE = 50

MARK = b"MARK-of-others"
THEIRS = {f"{name}/{number}": MARK for name in ("stock", "orders2", "") for number in range(4)}
TEXTS = [*THEIRS, "orders/1", "orders/2", "orders/", "orders", "stock/", "stock", "", "/", "*", "é"]
METHODS = [method for method in KEY_VALUE.methods if not method.client_streaming]
NUMBERS = (0, 1, 2, 100, -1, 2**31 - 1, 2**63 - 1, -(2**63))

BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("PRISM_RANDOM_SEED", "1"))
    return random.Random(seed)


async def planted(serve: Serve, **settings: Any) -> Guarded:
    server = await serve(**settings)
    async with server.connect("alice") as alice:
        await alice.set_many([Put(key, value) for key, value in THEIRS.items()])
    return server


async def check_untouched(server: Guarded) -> None:
    """Check that the keys of others are as they were, and that there are no more of them."""
    async with server.connect("alice") as alice:
        page = await alice.scan(values=True)
    found = {
        key: entry.value
        for key, entry in zip(page.keys, page.entries, strict=True)
        if not key.startswith("orders/")
    }
    assert found == THEIRS


async def test_no_random_call_reaches_the_keys_of_others(
    serve: Serve, chance: random.Random
) -> None:
    server = await planted(serve)
    tokens = [server.tokens["orders"], server.tokens["prometheus"], "prism_wrong", None]
    channel: Any
    async with grpc.aio.insecure_channel(server.address) as channel:

        async def call() -> grpc.StatusCode:
            method = chance.choice(METHODS)
            request = message_of(GetMessageClass(method.input_type)(), chance)
            payload = request.SerializeToString()
            if chance.random() < 0.1:
                payload = chance.randbytes(chance.randrange(40))
            # Wrong tokens are slowed down, so they are few.
            (token,) = chance.choices(tokens, (60, 30, 0.2, 10))
            metadata = () if token is None else (("authorization", f"Bearer {token}"),)
            path = f"/{KEY_VALUE.full_name}/{method.name}"
            if method.server_streaming:
                stream = channel.unary_stream(path)(payload, metadata=metadata, timeout=0.05)
                return await ended(stream)
            try:
                reply = await channel.unary_unary(path)(payload, metadata=metadata, timeout=30)
            except grpc.aio.AioRpcError as error:
                shown.append(str(error).encode())
                return error.code()
            shown.append(reply)
            return grpc.StatusCode.OK

        async def ended(stream: Any) -> grpc.StatusCode:
            try:
                shown.extend([message async for message in stream])
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        shown: list[bytes] = []
        codes: set[grpc.StatusCode] = set()
        for _ in range(REQUESTS // AT_ONCE):
            codes |= set(await asyncio.gather(*(call() for _ in range(AT_ONCE))))
    assert not any(MARK in each for each in shown)
    assert codes.isdisjoint(BROKEN)
    assert {grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED} < codes
    await check_untouched(server)


def message_of(message: Message, chance: random.Random) -> Message:
    """Fill a message with random content, and return it."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.25:
            continue
        content: Any = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                for _ in range(chance.randrange(4)):
                    message_of(content.add(), chance)
            else:
                content.SetInParent()
                message_of(content, chance)
        elif field.is_repeated:
            content.extend(value_of(field, chance) for _ in range(chance.randrange(4)))
        else:
            setattr(message, field.name, value_of(field, chance))
    return message


def value_of(field: Any, chance: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.randrange(20))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64):
        return chance.choice(NUMBERS)
    return chance.choice([number for number in NUMBERS if 0 <= number < 2**31])


@pytest.mark.parametrize("transport", ["h2corn"], indirect=True)
async def test_no_random_command_reaches_the_keys_of_others(
    serve: Serve, chance: random.Random
) -> None:
    server = await planted(serve, resp_port=0)
    host, _, port = server.redis_address.rpartition(":")
    specs = server.container.redis_server().door.commands.specs
    # Those that would end the connection, or be slowed down as a wrong token.
    names = [spec.name for spec in specs if spec.name not in ("quit", "auth", "hello")]
    words = [
        *TEXTS,
        "NX",
        "XX",
        "GET",
        "EX",
        "MATCH",
        "COUNT",
        "KEEPTTL",
        "KEYS",
        *map(str, NUMBERS),
    ]
    refused = 0
    for _ in range(REQUESTS // AT_ONCE):
        reader, writer = await asyncio.open_connection(host, int(port))
        commands = [["AUTH", "orders", server.tokens["orders"]]]
        for _ in range(AT_ONCE):
            count = chance.choice((0, 1, 1, 2, 2, 3, 4, 5))
            commands.append([chance.choice(names), *chance.choices(words, k=count)])
        writer.write(b"".join(map(encoded, commands)))
        writer.write_eof()
        async with asyncio.timeout(60):
            replies = await reader.read()
        writer.close()
        assert replies.startswith(b"+OK\r\n")
        assert MARK not in replies
        assert b"internal error" not in replies
        refused += replies.count(b"NOPERM")
    assert refused > REQUESTS // 50
    await check_untouched(server)


def encoded(command: list[str]) -> bytes:
    parts = [part.encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


@pytest.mark.parametrize("transport", ["h2corn"], indirect=True)
async def test_no_random_http_request_sees_the_metrics(serve: Serve, chance: random.Random) -> None:
    server = await serve()
    host, _, port = server.http_address.rpartition(":")
    paths = ["/", "/metrics", "/metrics/", "//metrics", "/%6detrics", "/health", "/ready", "/x?/"]
    answers: set[tuple[str, str]] = set()
    for _ in range(REQUESTS // 10):
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = [
            (chance.choice(("GET", "HEAD", "OPTIONS", "POST")), chance.choice(paths))
            for _ in range(10)
        ]
        for number, (method, path) in enumerate(sent):
            shown = chance.choice(("", f"authorization: Bearer {server.tokens['orders']}\r\n"))
            last = "connection: close\r\n" if number == len(sent) - 1 else ""
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\n{shown}{last}\r\n".encode())
        async with asyncio.timeout(60):
            replies = await reader.read()
        writer.close()
        assert b"prism_" not in replies
        codes = [code.decode() for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", replies)]
        answers |= {(path, code) for (_, path), code in zip(sent, codes, strict=True)}
    assert {code for _, code in answers} <= {"200", "204", "401", "403", "404", "405", "503"}
    assert ("/health", "200") in answers
    assert {code for path, code in answers if path == "/metrics"} <= {"204", "401", "403", "405"}
