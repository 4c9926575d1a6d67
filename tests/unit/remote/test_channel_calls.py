"""What a channel sends with its calls, and over which connection."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from prism.adapters.client import channel as channel_module
from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.lifecycle import LifecycleClient
from prism.adapters.client.propagation import TraceContext
from prism.adapters.wire.methods import METHODS, PATTERN
from prism.adapters.wire.relay import Relayed, RelayedOutcome
from prism.ports import BackendUnavailable, InvalidArgument, WatchEnded
from prism.v1 import keyvalue_pb2 as pb
from tests.servers.authority import Authority, replace_file
from tests.servers.http2_peer import Peer, http2_peers

GET = METHODS["get"]
TIMEOUT = timedelta(seconds=30)


class RelayedGet(Relayed):
    """A relayed operation that takes its own outcome."""

    def __init__(self) -> None:
        self.id = 0
        self.written = False
        self.sink = self
        self.reply: asyncio.Future[pb.OperationOutcome] = asyncio.Future()

    def done(self) -> bool:
        return self.reply.done()

    def fail(self, error: Exception) -> None:
        self.reply.set_exception(error)

    def arrived(
        self, outcomes: Sequence[RelayedOutcome], response: pb.OperateResponse | None
    ) -> None:
        [(_, outcome)] = outcomes
        self.reply.set_result(outcome)


def get(channel: Channel) -> asyncio.Task[pb.GetResponse]:
    return asyncio.create_task(channel.unary(GET.path, pb.GetRequest(key="k"), pb.GetResponse))


def outcome_of_get(identity: int) -> bytes:
    outcome = pb.OperationOutcome(id=identity, get={})
    return pb.OperateResponse(outcomes=[outcome]).SerializeToString()


async def answer_next(peer: Peer, number: int = 1) -> dict[str, str]:
    """Answer the call of this number; return its headers."""
    stream = await peer.stream(number)
    peer.answer(stream, b"")
    return peer.requests[stream]


async def test_each_call_carries_the_token_and_the_pattern() -> None:
    async with http2_peers() as peers:
        channel = Channel(peers.address, timeout=TIMEOUT, admin_token="secret", pattern="orders")
        call = get(channel)
        peer = await peers.peer()
        headers = await answer_next(peer)
        await call
        assert headers["authorization"] == "Bearer secret"
        assert headers[PATTERN] == "orders"
        await channel.close()


async def test_call_without_a_token_carries_none() -> None:
    async with http2_peers() as peers:
        channel = Channel(peers.address, timeout=TIMEOUT)
        call = get(channel)
        headers = await answer_next(await peers.peer())
        await call
        assert not {"authorization", PATTERN} & headers.keys()
        await channel.close()


async def test_relayed_operation_carries_the_trace_context_of_this_process() -> None:
    trace = TraceContext(f"00-{1:032x}-{2:016x}-00", "vendor=opaque")
    async with http2_peers() as peers:
        channel = Channel(peers.address, timeout=TIMEOUT, trace_context=lambda: trace)
        first = asyncio.create_task(channel.operate(GET, pb.GetRequest(key="k")))
        peer = await peers.peer()
        stream = await peer.stream()
        await peer.until(lambda: b"k" in peer.received.get(stream, b""))
        peer.start(stream)
        peer.send(stream, outcome_of_get(1))
        await first
        operation = RelayedGet()
        assert channel.relay(pb.Operation(get=pb.GetRequest(key="relayed")), operation)
        before = len(peer.received[stream])
        await peer.until(lambda: b"relayed" in peer.received[stream])
        [sent] = pb.OperateRequest.FromString(peer.received[stream][before + 5 :]).operations
        assert (sent.traceparent, sent.tracestate) == trace
        peer.send(stream, outcome_of_get(2))
        assert (await operation.reply).WhichOneof("outcome") == "get"
        await channel.close()


async def test_command_has_time_to_answer_beyond_its_own_timeout() -> None:
    async with http2_peers() as peers:
        channel = Channel(peers.address, timeout=TIMEOUT)
        commands = LifecycleClient(channel)
        for number, command in enumerate((commands.drain, commands.stop), 1):
            call = asyncio.create_task(command(timedelta(seconds=1)))
            headers = await answer_next(await peers.peer(), number)
            await call
            assert int(headers["grpc-timeout"].removesuffix("u")) > 1_000_000
        await channel.close()


@pytest.mark.parametrize("token", ["two\nlines", "größer"])
async def test_token_that_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="admin token must be printable ASCII"):
        Channel("127.0.0.1:1", timeout=TIMEOUT, admin_token=token)


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[ssl.SSLContext, bytes]:
    """TLS of a server, and the certificate of its authority."""
    authority = Authority("trusted")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.write(tmp_path, "server"))
    context.set_alpn_protocols(["h2"])
    return context, authority.pem


async def test_call_after_the_files_of_tls_have_changed_uses_the_new_ones(
    trusted: tuple[ssl.SSLContext, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "_TLS_CHECK_S", 0.0)
    context, new = trusted
    roots = tmp_path / "roots.pem"
    roots.write_bytes(Authority("old").pem)
    async with http2_peers(context) as peers:
        channel = Channel(peers.address, timeout=TIMEOUT, tls=TLS(ca=roots))
        with pytest.raises(BackendUnavailable, match="not trusted"):
            await get(channel)
        replace_file(roots, new)
        call = get(channel)
        await answer_next(await peers.peer())
        await call
        await channel.close()


async def test_connection_with_tls_has_no_descriptor_once_it_is_closed(
    trusted: tuple[ssl.SSLContext, bytes], tmp_path: Path
) -> None:
    context, roots = trusted
    (tmp_path / "roots.pem").write_bytes(roots)
    async with http2_peers(context) as peers:
        endpoint = Endpoint.of(peers.address)
        connection = await endpoint.connect(TLS(ca=tmp_path / "roots.pem").context())
        os.fstat(connection.descriptor)
        await connection.close()
        assert connection.descriptor < 0


async def test_events_that_were_read_count_no_more_towards_the_limit_of_a_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prism.adapters.client.watch.MAX_BYTES", 10_000)

    def event(size: int) -> bytes:
        put = pb.WatchEvent(type=pb.WATCH_EVENT_TYPE_PUT, key="k", value=bytes(size))
        return pb.WatchResponse(event=put).SerializeToString()

    async with http2_peers() as peers:
        channel = Channel(peers.address, timeout=TIMEOUT)
        watching = channel.watch(pb.WatchRequest())
        entering = asyncio.create_task(watching.__aenter__())
        peer = await peers.peer()
        stream = await peer.stream()
        peer.start(stream)
        peer.send(stream, pb.WatchResponse(started=pb.WatchStarted()).SerializeToString())
        events = await entering
        async with asyncio.timeout(10):
            for size in (0,) * 100 + (1000,) * 100:
                peer.send(stream, event(size))
                assert len((await anext(events)).value or b"") == size
            for _ in range(11):
                peer.send(stream, event(1000))
            await peer.until(lambda: stream in peer.resets)
            with pytest.raises(WatchEnded, match="events behind"):
                await anext(events)
        await watching.__aexit__(None, None, None)
        await channel.close()
