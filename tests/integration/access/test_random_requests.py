"""Random requests of a caller with rights of its own: it reaches nothing else, and nothing breaks.

What others keep is known before: their keys hold a mark, which no reply may show, and are as they
were at the end. `PRISM_RANDOM_REQUESTS=10000` sends so many through each door.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prism.adapters.grpc.services import KEY_VALUE, LIFECYCLE, PROXY_ADMIN
from prism.ports import Put
from prism.v1.keyvalue_pb2 import OperateResponse
from prism.v1.proxy_pb2 import ListPatternsResponse
from tests.integration.access.conftest import Guarded, Serve

REQUESTS = int(os.environ.get("PRISM_RANDOM_REQUESTS", "300"))
AT_ONCE = 50

MARK = b"MARK-of-others"
THEIRS = {f"{name}/{number}": MARK for name in ("stock", "orders2", "") for number in range(4)}
TEXTS = [*THEIRS, "orders/1", "orders/2", "orders/", "orders", "stock/", "stock", "", "/", "*", "é"]
NUMBERS = (0, 1, 2, 100, -1, 2**31 - 1, 2**63 - 1, -(2**63))

BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
BROKEN_NUMBERS = [code.value[0] for code in BROKEN]

REFUSED = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}
NOT_SERVED = {
    # A request that is noise, wrong tokens, and more calls at once than a busy server takes.
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    # A stream of events whose deadline passes before the refusal.
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


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


class Caller:
    """Client that makes random calls with one set of credentials after another.

    Attributes:
        shown: everything that the server has answered.
        codes: every status.
    """

    def __init__(
        self, channel: Any, tokens: Sequence[tuple[str, str | None]], chance: random.Random
    ) -> None:
        self._channel = channel
        self._tokens = tokens
        self._chance = chance
        self.shown: list[bytes] = []
        self.codes: set[grpc.StatusCode] = set()

    async def call_many(self, service: ServiceDescriptor) -> None:
        """Make as many calls of a service as the tests shall."""
        methods = list(service.methods)
        for _ in range(REQUESTS // AT_ONCE):
            await asyncio.gather(*(self._call(methods) for _ in range(AT_ONCE)))

    async def _call(self, methods: Sequence[MethodDescriptor]) -> None:
        chance = self._chance
        method = chance.choice(methods)
        request = message_of(GetMessageClass(method.input_type)(), chance)
        payload = request.SerializeToString()
        if is_noise := chance.random() < 0.1:
            payload = chance.randbytes(chance.randrange(40))
        # Wrong tokens are slowed down, so they are few.
        ((name, token),) = chance.choices(self._tokens, (60, 30, 10, 0.2))
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        path = f"/{method.containing_service.full_name}/{method.name}"
        options: dict[str, Any] = {"metadata": metadata, "timeout": 30}
        try:
            if method.client_streaming:
                replies = self._channel.stream_stream(path)(iter([payload]), **options)
                answers = [reply async for reply in replies]
            elif method.server_streaming:
                options["timeout"] = 0.05
                answers = [
                    reply async for reply in self._channel.unary_stream(path)(payload, **options)
                ]
            else:
                answers = [await self._channel.unary_unary(path)(payload, **options)]
        except grpc.aio.AioRpcError as error:
            self.shown.append(str(error).encode())
            self.codes.add(error.code())
            return
        self.shown += answers
        self.codes.add(grpc.StatusCode.OK)
        if method.client_streaming:
            for answer in answers:
                self._check_outcomes(name, request, answer, is_noise)
        elif not is_noise:
            assert may(name, request), f"{name} may {method.name}: {request}"

    def _check_outcomes(self, name: str, request: Any, answer: bytes, is_noise: bool) -> None:
        operations = [] if is_noise else request.operations
        # Several operations with one number cannot be told from each other.
        ids = Counter(each.id for each in operations)
        sent = {each.id: each for each in operations if ids[each.id] == 1}
        for outcome in OperateResponse.FromString(answer).outcomes:
            assert outcome.error.code not in BROKEN_NUMBERS, outcome
            kind = outcome.WhichOneof("outcome")
            if kind != "error" and outcome.id in sent:
                each = sent[outcome.id]
                assert kind == each.WhichOneof("operation")
                assert may(name, getattr(each, kind)), f"{name} may {kind}: {each}"


def may(name: str, request: Message) -> bool:
    """Return whether the policy lets a caller have its request answered, by a model of it."""
    if type(request).__name__.startswith(("Batch", "GetCapabilities")):
        # Items fail alone; what they would show is known by the mark.
        return True
    keys = keys_in(request)
    return not keys or (name == "orders" and all(key.startswith("orders/") for key in keys))


def keys_in(message: Message) -> list[str]:
    """Return the keys and prefixes of a request and of the messages in it."""
    found = [
        str(getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if field.name in ("key", "prefix")
    ]
    for field, content in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and not is_map(field):
            for each in content if field.is_repeated else [content]:
                found += keys_in(each)
    return found


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def credentials(tokens: Mapping[str, str], *names: str) -> list[tuple[str, str | None]]:
    """Return the tokens of two callers, none, and a wrong one, each with the name of the caller."""
    return [*((name, tokens[name]) for name in names), ("", None), ("", "prism_wrong")]


async def test_no_random_call_reaches_the_keys_of_others(
    serve: Serve, chance: random.Random
) -> None:
    server = await planted(serve)
    async with grpc.aio.insecure_channel(server.address) as channel:
        caller = Caller(channel, credentials(server.tokens, "orders", "prometheus"), chance)
        await caller.call_many(KEY_VALUE)
    assert not any(MARK in each for each in caller.shown)
    assert caller.codes.isdisjoint(BROKEN)
    assert {grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED} < caller.codes
    await check_untouched(server)


async def test_no_random_call_commands_a_server(serve: Serve, chance: random.Random) -> None:
    server = await planted(serve)
    async with grpc.aio.insecure_channel(server.address) as channel:
        caller = Caller(channel, credentials(server.tokens, "orders", "prometheus"), chance)
        await caller.call_many(LIFECYCLE)
    assert REFUSED <= caller.codes <= REFUSED | NOT_SERVED
    # It still serves.
    await check_untouched(server)


@pytest.mark.parametrize("service", [PROXY_ADMIN, LIFECYCLE], ids=lambda service: service.name)
async def test_no_random_call_commands_a_proxy(
    proxy: tuple[str, dict[str, str]], service: ServiceDescriptor, chance: random.Random
) -> None:
    address, tokens = proxy
    channel: Any
    async with grpc.aio.insecure_channel(address) as channel:
        caller = Caller(channel, credentials(tokens, "orders", "stock"), chance)
        await caller.call_many(service)
        metadata = (("authorization", f"Bearer {tokens['alice']}"),)
        list_patterns = channel.unary_unary("/prism.v1.ProxyAdminService/ListPatterns")
        patterns = ListPatternsResponse.FromString(await list_patterns(b"", metadata=metadata))
    assert {each.name for each in patterns.patterns} == {"cache", "sessions"}
    assert REFUSED <= caller.codes <= REFUSED | NOT_SERVED


async def test_no_random_command_of_an_administrator_breaks_a_server(
    serve: Serve, chance: random.Random
) -> None:
    server = await serve()
    async with grpc.aio.insecure_channel(server.address) as channel:
        tokens = [("alice", server.tokens["alice"])] * 4
        caller = Caller(channel, tokens, chance)
        await caller.call_many(LIFECYCLE)
    assert caller.codes.isdisjoint(BROKEN)
    assert grpc.StatusCode.OK in caller.codes


def message_of(message: Message, chance: random.Random) -> Message:
    """Fill a message with random content, and return it."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.25:
            continue
        content: Any = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if is_map(field):
                content.update({chance.choice(TEXTS): chance.choice(TEXTS)})
            elif field.is_repeated:
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
