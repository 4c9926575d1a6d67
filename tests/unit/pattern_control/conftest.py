"""A control_plane behind a real server, and patterns whose every message is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from prism.adapters.grpc.calls import calls_of
from prism.adapters.grpc.servicers.pattern_control import (
    ControlPlaneOptions,
    PatternControlPlane,
    PatternControlServicer,
)
from prism.adapters.grpc.transports.grpcio import GrpcioServer
from prism.adapters.grpc.transports.h2corn import H2cornServer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.domain.connection_budget import UnreadReplies
from prism.domain.patterns.ports import PendingRegistration, Session
from prism.domain.patterns.values import DebugEvent, EventKind, PatternSpec
from prism.domain.turns import Turns
from prism.v1 import pattern_pb2 as pb

TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}
SERVICE = pb.DESCRIPTOR.services_by_name["PatternControlService"]
SPEC = PatternSpec("sessions", "memstore")

# On a busy machine too, no stream is silent for that long.
PATIENT = ControlPlaneOptions(heartbeat_interval=timedelta(seconds=10))


def registration(**changes: Any) -> pb.Registration:
    fields: dict[str, Any] = {
        "protocol_version": 2,
        "driver": "memstore",
        "driver_version": "1.2.3",
        "prism_version": "0.1.0",
        "process_id": 42,
        "data_address": "unix:/tmp/data.sock",
        "metrics_address": "127.0.0.1:9191",
    }
    return pb.Registration(**fields | changes)


@dataclass
class Expected:
    """A pending registration, with the events that came of it."""

    pending: PendingRegistration
    events: list[tuple[EventKind, str]]
    debug_events: list[DebugEvent]

    @property
    def kinds(self) -> list[EventKind]:
        return [kind for kind, _ in self.events]

    async def session(self) -> Session:
        async with asyncio.timeout(20):
            return await self.pending.session()


class Stream:
    """Control stream of a scripted pattern; heartbeats are counted, and not returned."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.heartbeats = 0

    async def send(self, **message: Any) -> None:
        await self.write(pb.ConnectRequest(**message).SerializeToString())

    async def write(self, data: bytes) -> None:
        await self.call.write(data)

    async def read(self) -> pb.ConnectResponse | None:
        """Return the next message; None: the stream ended."""
        async with asyncio.timeout(20):
            while (data := await self.call.read()) is not grpc.aio.EOF:
                message = pb.ConnectResponse.FromString(data)
                if message.WhichOneof("message") != "heartbeat":
                    return message
                self.heartbeats += 1
        return None

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Wait for the end of the stream, and return its status."""
        try:
            assert await self.read() is None
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return await self.call.code(), await self.call.details() or ""


@dataclass
class ControlPlane:
    """The control plane under test, and the address of its server."""

    control_plane: PatternControlPlane
    address: str
    stack: AsyncExitStack
    expected: list[PendingRegistration] = field(default_factory=list)

    def expect(self, spec: PatternSpec = SPEC) -> Expected:
        events: list[tuple[EventKind, str]] = []
        debug_events: list[DebugEvent] = []
        pending = self.control_plane.expect(
            spec,
            on_event=lambda kind, text: events.append((kind, text)),
            on_debug_event=debug_events.append,
        )
        self.expected.append(pending)
        return Expected(pending, events, debug_events)

    def close(self) -> None:
        for pending in self.expected:
            pending.close()

    async def connect(self, credential: str | None) -> Stream:
        """Open a stream on a connection of its own, and send nothing."""
        channel = await self.stack.enter_async_context(
            grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        )
        method: Any = channel.stream_stream("/prism.v1.PatternControlService/Connect")
        metadata = () if credential is None else (("authorization", f"Bearer {credential}"),)
        call = method(metadata=metadata)
        self.stack.callback(call.cancel)
        return Stream(call)

    async def register(self, credential: str, **changes: Any) -> tuple[Stream, pb.Accepted]:
        """Open a stream, and register on it."""
        stream = await self.connect(credential)
        await stream.send(registration=registration(**changes))
        message = await stream.read()
        assert message is not None
        assert message.WhichOneof("message") == "accepted"
        return stream, message.accepted


Serve = Callable[..., Awaitable[ControlPlane]]


@pytest.fixture(params=TRANSPORTS)
async def serve(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(options: ControlPlaneOptions = PATIENT) -> ControlPlane:
            control_plane = PatternControlPlane(options)
            calls = calls_of(
                SERVICE,
                PatternControlServicer(control_plane),
                default_timeout=None,
                max_message_bytes=1 << 20,
            )
            where = ServerOptions(socket=tmp_path / "control.sock", grace=timedelta())
            server = TRANSPORTS[request.param](
                SimpleNamespace(calls=calls), where, UnreadReplies(), Turns()
            )
            (address,) = await server.start()
            stack.push_async_callback(server.stop)
            clients = await stack.enter_async_context(AsyncExitStack())
            started = ControlPlane(control_plane, address, clients)
            stack.callback(started.close)
            return started

        yield start


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)
