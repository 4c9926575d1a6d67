"""The client's connection, against a server whose every frame the test decides."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.rpc import code_pb2
from h2.errors import ErrorCodes

from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.grpc_call import CallFailed, MessageStream, UnaryCall, request_headers
from prism.adapters.client.http2 import Http2Connection, Pings
from prism.adapters.client.http2_stream import StreamLost
from tests.servers.http2_peer import Peer, http2_peers

PATH = "/a.B/C"


class Client:
    """A connection, and calls over it."""

    def __init__(self, endpoint: Endpoint, connection: Http2Connection) -> None:
        self.connection = connection
        self._endpoint = endpoint

    def unary(self, message: bytes = b"question", **how: Any) -> asyncio.Task[bytes]:
        async def call() -> bytes:
            unary = UnaryCall()
            headers = request_headers(self._endpoint, PATH, **how)
            await unary.begin(self.connection, headers, message, last=True)
            return await unary.answer()

        return asyncio.create_task(call())

    async def stream(self, message: bytes | None = b"question") -> MessageStream:
        call = MessageStream()
        await call.begin(self.connection, request_headers(self._endpoint, PATH), message)
        return call


@asynccontextmanager
async def connected(
    *, pings: Pings | None = None, **settings: int
) -> AsyncIterator[tuple[Client, Peer]]:
    async with http2_peers(**settings) as peers:
        endpoint = Endpoint.of(peers.address)
        connection = await endpoint.connect(None, pings)
        try:
            yield Client(endpoint, connection), await peers.peer()
        finally:
            await connection.close()


async def failure_of(task: asyncio.Task[bytes]) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        async with asyncio.timeout(30):
            await task
    return caught.value


async def test_request_has_what_grpc_wants() -> None:
    async with connected() as (client, peer):
        task = client.unary(metadata=[("authorization", "Bearer x")], timeout_s=5)
        stream = await peer.stream()
        headers = peer.requests[stream]
        assert headers.items() >= {
            ":method": "POST", ":scheme": "http", ":path": PATH, "te": "trailers",
            "content-type": "application/grpc", "grpc-timeout": "5000000u",
            "authorization": "Bearer x",
        }.items()  # fmt: skip
        await peer.until(lambda: stream in peer.ended)
        assert peer.received[stream] == b"\0\0\0\0\x08question"
        peer.answer(stream, b"answer")
        assert await task == b"answer"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1u"), (99.0, "99000000u"), (5000, "5000000m"), (1e8, "99999999S")]
)
async def test_timeout_has_eight_digits_at_most(seconds: float, text: str) -> None:
    headers = dict(request_headers(Endpoint.of("host:1"), PATH, timeout_s=seconds))
    assert headers[b"grpc-timeout"].decode() == text


async def test_small_message_leaves_before_the_last_one_was_acknowledged() -> None:
    async with connected() as (client, _):
        with socket.socket(fileno=os.dup(client.connection.descriptor)) as same:
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_status_with_its_text_and_details() -> None:
    async with connected() as (client, peer):
        task = client.unary()
        peer.refuse(
            await peer.stream(), (":status", "200"), ("content-type", "application/grpc"),
            ("grpc-status", "9"), ("grpc-message", "%F0%9F%98%80 50%25"),
            ("grpc-status-details-bin", "AQID"),
        )  # fmt: skip
        failed = await failure_of(task)
        assert (failed.code, failed.message, failed.details) == (9, "😀 50%", b"\1\2\3")
        assert not failed.unseen


@pytest.mark.parametrize(
    ("status", "code"), [("404", 12), ("503", 14), ("401", 16), ("403", 7), ("500", 2), ("200", 2)]
)
async def test_answer_that_is_not_grpc(status: str, code: int) -> None:
    async with connected() as (client, peer):
        task = client.unary()
        peer.refuse(await peer.stream(), (":status", status), ("content-type", "text/html"))
        failed = await failure_of(task)
        assert failed.code == code
        assert f"HTTP status {status}" in failed.message


async def test_answers_that_break_the_rules_of_grpc_fail_their_call_alone() -> None:
    async with connected() as (client, peer):
        for number, (data, words) in enumerate(
            [
                (b"\1\0\0\0\x01x", "compressed"),
                (b"\0\xff\xff\xff\xffx", "4,294,967,295 bytes"),
            ],
            1,
        ):
            task = client.unary()
            stream = await peer.stream(number)
            peer.start(stream)
            peer.raw(stream, data)
            assert words in (await failure_of(task)).message
            await peer.until(lambda stream=stream: stream in peer.resets)  # type: ignore[misc]
        task = client.unary()
        stream = await peer.stream(3)
        peer.start(stream)
        peer.raw(stream, b"\0\0\0\0\x01x", last=True)
        assert "without a status" in (await failure_of(task)).message
        task = client.unary()
        stream = await peer.stream(4)
        peer.start(stream)
        peer.finish(stream)
        assert "without an answer" in (await failure_of(task)).message
        task = client.unary()
        peer.answer(await peer.stream(5), b"fine")
        assert await task == b"fine"


async def test_messages_in_any_pieces() -> None:
    async with connected() as (client, peer):
        call = await client.stream()
        stream = await peer.stream()
        peer.start(stream)
        sent = [b"", b"a", bytes(70_000), b"b" * 5, b""]
        data = b"".join(b"\0" + len(each).to_bytes(4, "big") + each for each in sent)
        for at in range(30):
            peer.raw(stream, data[at : at + 1])
            await asyncio.sleep(0)
        peer.raw(stream, data[30:])
        peer.finish(stream)
        assert [message async for message in call] == sent


async def test_cancelled_call_is_reset_and_disturbs_no_other() -> None:
    async with connected() as (client, peer):
        one, other = client.unary(b"one"), client.unary(b"other")
        second = await peer.stream(2)
        first = await peer.stream()
        one.cancel()
        await peer.until(lambda: first in peer.resets)
        assert peer.resets[first] == ErrorCodes.CANCEL
        peer.answer(second, b"answer")
        assert await other == b"answer"
        assert one.cancelled()


async def test_large_request_waits_for_the_windows_and_delays_no_other() -> None:
    async with connected(initial_window_size=1000) as (client, peer):
        peer.reads = False
        large = client.unary(bytes(200_000))
        await peer.until(lambda: len(peer.received.get(1, b"")) == 1000)
        small = client.unary(b"small")
        stream = await peer.stream(2)
        await peer.until(lambda: stream in peer.ended)
        peer.answer(stream, b"answer")
        assert await small == b"answer"
        assert len(peer.received[1]) == 1000
        peer.reads = True
        peer.read()
        await peer.until(lambda: 1 in peer.ended)
        assert len(peer.received[1]) == 200_005
        peer.answer(1, b"large")
        assert await large == b"large"


async def test_writer_waits_until_its_message_was_sent() -> None:
    async with connected(initial_window_size=1000) as (client, peer):
        peer.reads = False
        call = await client.stream(None)
        writing = asyncio.create_task(call.write(bytes(5000)))
        await peer.until(lambda: len(peer.received.get(1, b"")) == 1000)
        assert not writing.done()
        peer.reads = True
        peer.read()
        await writing
        call.cancel()


async def test_messages_that_nobody_reads_stop_the_sender_of_their_stream_alone() -> None:
    async with connected() as (client, peer):
        call = await client.stream()
        stream = await peer.stream()
        peer.start(stream)
        message, sent = bytes(16_000), 0

        def send_what_fits() -> int:
            number = 0
            while peer.codec.local_flow_control_window(stream) > len(message) + 5:
                peer.send(stream, message)
                number += 1
            return number

        async def round_trip() -> None:
            """Have another call answered: everything sent before it has then arrived."""
            task = client.unary()
            peer.answer(await peer.stream(len(peer.requests) + 1), b"other")
            assert await task == b"other"

        async def until_full() -> int:
            number = 0
            await round_trip()
            while more := send_what_fits():
                number += more
                await round_trip()
            return number

        sent = await until_full()
        assert 3 << 20 < sent * len(message) < 8 << 20
        for _ in range(sent):
            assert await call.read() == message
        assert await until_full() > 0
        call.cancel()


async def test_calls_beyond_the_limit_on_streams_wait_for_their_turn() -> None:
    async with connected(max_concurrent_streams=2) as (client, peer):
        tasks = [client.unary(b"%d" % number) for number in range(5)]
        await peer.stream(2)
        await asyncio.sleep(0.02)
        assert len(peer.requests) == 2
        tasks[2].cancel()
        for number, task in ((1, tasks[0]), (2, tasks[1]), (3, tasks[3]), (4, tasks[4])):
            stream = await peer.stream(number)
            peer.answer(stream, b"%d" % number)
            assert await task == b"%d" % number
        assert len(peer.requests) == 4


async def test_server_that_leaves_answers_what_it_has_begun() -> None:
    async with connected() as (client, peer):
        begun, unseen = client.unary(b"begun"), client.unary(b"unseen")
        await peer.stream(2)
        peer.go_away(1)
        failed = await failure_of(unseen)
        assert failed.unseen
        assert failed.moved
        assert not client.connection.usable
        with pytest.raises(CallFailed) as refused:
            await client.unary()
        assert refused.value.moved
        peer.answer(1, b"answer")
        assert await begun == b"answer"
        await peer.until(lambda: peer.gone)


@pytest.mark.parametrize(
    ("reset", "code", "unseen"),
    [
        (ErrorCodes.REFUSED_STREAM, code_pb2.UNAVAILABLE, True),
        (ErrorCodes.CANCEL, code_pb2.CANCELLED, False),
        (ErrorCodes.ENHANCE_YOUR_CALM, code_pb2.RESOURCE_EXHAUSTED, False),
        (ErrorCodes.INTERNAL_ERROR, code_pb2.INTERNAL, False),
    ],
)
async def test_stream_that_the_server_resets(reset: ErrorCodes, code: int, unseen: bool) -> None:
    async with connected() as (client, peer):
        task = client.unary()
        peer.reset(await peer.stream(), reset)
        failed = await failure_of(task)
        assert (failed.code, failed.unseen) == (code, unseen)
        assert reset.name in failed.message


async def test_stream_that_the_server_ends_early_is_ended_and_not_reset() -> None:
    async with connected() as (client, peer):
        call = await client.stream()
        stream = await peer.stream()
        peer.start(stream)
        peer.finish(stream, status=0)
        assert await call.read() is None
        await peer.until(lambda: stream in peer.ended)
        assert not peer.resets


async def test_broken_connection_fails_its_calls_with_the_reason() -> None:
    async with connected() as (client, peer):
        task = client.unary()
        await peer.stream()
        peer.go_away((1 << 31) - 1, b"too_many_pings", ErrorCodes.ENHANCE_YOUR_CALM)
        await peer.until(lambda: True)
        peer.transport.close()
        failed = await failure_of(task)
        assert failed.message == "the server ended the connection: too_many_pings"
        assert not failed.unseen


async def test_silent_server_is_pinged_and_given_up_only_while_something_is_open() -> None:
    async with connected(pings=Pings(after_s=0.02, timeout_s=0.1)) as (client, peer):
        await asyncio.sleep(0.15)
        assert peer.pings == 0
        call = await client.stream()
        await peer.until(lambda: peer.pings > 3)
        assert client.connection.usable
        peer.transport.pause_reading()
        with pytest.raises(CallFailed, match="stopped answering"):
            async with asyncio.timeout(30):
                await call.read()
        peer.transport.resume_reading()


async def test_server_that_pings_is_answered() -> None:
    async with connected() as (_, peer):
        peer.codec.ping(b"12345678")
        peer.flush()
        await peer.until(lambda: peer.pings == 1)


async def test_connection_whose_stream_numbers_are_used_up_takes_no_more_calls() -> None:
    async with connected() as (client, peer):
        client.connection._codec.highest_outbound_stream_id = (1 << 31) - 3
        last = client.unary()
        peer.answer(await peer.stream(), b"answer")
        assert await last == b"answer"
        assert not client.connection.usable


async def test_loop_that_stood_still_gives_nobody_up() -> None:
    async with connected(pings=Pings(after_s=0.05, timeout_s=0.1)) as (client, peer):
        call = await client.stream()
        for _ in range(4):
            time.sleep(0.3)  # noqa: ASYNC251  (the whole process stands still)
            await peer.until(lambda: True)
            await asyncio.sleep(0.01)
        assert client.connection.usable
        call.cancel()


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP/1, not gRPC"),
        (b"\x15\x03\x01\0\2\2\x46", "the server speaks TLS"),
        (b"-ERR unknown command 'PRI'\r\n" * 9, "does not speak HTTP/2"),
        (b"", "the server closed the connection at once"),
    ],
)
async def test_server_of_something_else_is_recognized(says: bytes, reason: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(says)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StreamLost, match=reason) as lost:
        await Endpoint.of(f"127.0.0.1:{port}").connect(None)
    assert lost.value.unseen
    server.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_server_that_accepts_and_says_nothing_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prism.adapters.client.endpoint.CONNECT_S", 0.1)
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StreamLost, match="does not answer") as lost:
        await Endpoint.of(f"127.0.0.1:{port}").connect(None)
    assert lost.value.unseen
    await until(lambda: bool(writers))
    server.close()
    writers[0].close()


async def test_the_window_of_a_stream_whose_end_has_arrived_with_its_last_data() -> None:
    async with connected() as (client, peer):
        task = client.unary()
        stream = await peer.stream()
        message = bytes((1 << 20) + 500)
        framed = b"\0" + len(message).to_bytes(4, "big") + message
        peer.start(stream)
        peer.raw(stream, framed[:-1000])
        peer.codec.send_data(stream, framed[-1000:])
        peer.finish(stream)
        assert await task == message
        other = client.unary()
        peer.answer(await peer.stream(2), b"answer")
        assert await other == b"answer"


async def test_data_that_waits_when_room_and_the_end_of_its_stream_arrive_together() -> None:
    async with connected(initial_window_size=10) as (client, peer):
        task = client.unary(bytes(100))
        stream = await peer.stream()
        await peer.until(lambda: stream in peer.received)
        peer.codec.increment_flow_control_window(50, stream)
        peer.reset(stream, ErrorCodes.CANCEL)
        assert "CANCEL" in str(await failure_of(task))
        other = client.unary(b"")
        peer.answer(await peer.stream(2), b"answer")
        assert await other == b"answer"


async def test_stream_that_ends_while_its_data_waits_delays_no_other() -> None:
    async with connected(initial_window_size=10) as (client, peer):
        peer.reads = False
        ending, going_on = client.unary(bytes(100)), client.unary(bytes(100))
        first, second = await peer.stream(1), await peer.stream(2)
        await peer.until(lambda: {first, second} <= peer.received.keys())
        # In one step: room for the second, and the end of the first.
        peer.codec.increment_flow_control_window(50, second)
        peer.reset(first, ErrorCodes.CANCEL)
        assert "CANCEL" in str(await failure_of(ending))
        await peer.until(lambda: len(peer.received[second]) == 60)
        peer.reads = True
        peer.read()
        await peer.until(lambda: second in peer.ended)
        peer.answer(second, b"answer")
        assert await going_on == b"answer"
