"""A reception behind a real server, and patterns whose every message is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
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
    PatternControlServicer,
    PatternReception,
    ReceptionOptions,
)
from prism.adapters.grpc.transports.grpcio import GrpcioServer
from prism.adapters.grpc.transports.h2corn import H2cornServer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.domain.patterns.ports import PendingRegistration, Session
from prism.domain.patterns.values import DebugEvent, EventKind, PatternSpec
from prism.v1 import pattern_pb2 as pb

TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}
SERVICE = pb.DESCRIPTOR.services_by_name["PatternControlService"]
SPEC = PatternSpec("sessions", "memstore")

# Long enough for a busy machine to be heard in time, where nothing is to be lost.
PATIENT = ReceptionOptions(heartbeat_interval=timedelta(seconds=10))


def registration(**changes: Any) -> pb.Registration:
    fields: dict[str, Any] = {
        "protocol_version": 1,
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
    """A visit, with everything that was told of it."""

    visit: PendingRegistration
    happened: list[tuple[EventKind, str]]
    told: list[DebugEvent]

    @property
    def kinds(self) -> list[EventKind]:
        return [kind for kind, _ in self.happened]

    async def session(self) -> Session:
        async with asyncio.timeout(20):
            return await self.visit.session()


class Stream:
    """What a pattern sends, and what it is sent; heartbeats it counts and leaves out."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.heartbeats = 0

    async def send(self, **message: Any) -> None:
        await self.write(pb.ConnectRequest(**message).SerializeToString())

    async def write(self, data: bytes) -> None:
        await self.call.write(data)

    async def read(self) -> pb.ConnectResponse | None:
        """The next message; None at the end."""
        async with asyncio.timeout(20):
            while (data := await self.call.read()) is not grpc.aio.EOF:
                message = pb.ConnectResponse.FromString(data)
                if message.WhichOneof("message") != "heartbeat":
                    return message
                self.heartbeats += 1
        return None

    async def command(self) -> pb.Command:
        message = await self.read()
        assert message is not None
        assert message.WhichOneof("message") == "command"
        return message.command

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """The status that it ends with."""
        try:
            assert await self.read() is None
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return await self.call.code(), await self.call.details() or ""


@dataclass
class ControlPlane:
    """The reception under test, and where it can be reached."""

    reception: PatternReception
    address: str
    stack: AsyncExitStack
    visits: list[PendingRegistration] = field(default_factory=list)

    def expect(self, spec: PatternSpec = SPEC) -> Expected:
        happened: list[tuple[EventKind, str]] = []
        told: list[DebugEvent] = []
        visit = self.reception.expect(
            spec,
            on_event=lambda kind, text: happened.append((kind, text)),
            on_debug_event=told.append,
        )
        self.visits.append(visit)
        return Expected(visit, happened, told)

    def close(self) -> None:
        for visit in self.visits:
            visit.close()

    async def connect(self, shown: str | None) -> Stream:
        """A stream over a connection of its own, on which nothing is sent yet."""
        channel = await self.stack.enter_async_context(
            grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        )
        method: Any = channel.stream_stream("/prism.v1.PatternControlService/Connect")
        metadata = () if shown is None else (("authorization", f"Bearer {shown}"),)
        call = method(metadata=metadata)
        self.stack.callback(call.cancel)
        return Stream(call)

    async def register(self, shown: str, **changes: Any) -> tuple[Stream, pb.Accepted]:
        """A stream on which a pattern has registered, and was accepted."""
        stream = await self.connect(shown)
        await stream.send(registration=registration(**changes))
        message = await stream.read()
        assert message is not None
        assert message.WhichOneof("message") == "accepted"
        return stream, message.accepted


Receive = Callable[..., Any]


@pytest.fixture(params=TRANSPORTS)
async def receive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Receive]:
    async with AsyncExitStack() as stack:

        async def start(options: ReceptionOptions = PATIENT) -> ControlPlane:
            reception = PatternReception(options)
            calls = calls_of(
                SERVICE,
                PatternControlServicer(reception),
                default_timeout=None,
                max_message_bytes=1 << 20,
            )
            where = ServerOptions(socket=tmp_path / "control.sock", grace=timedelta())
            server = TRANSPORTS[request.param](SimpleNamespace(calls=calls), where)
            (address,) = await server.start()
            stack.push_async_callback(server.stop)
            clients = await stack.enter_async_context(AsyncExitStack())
            started = ControlPlane(reception, address, clients)
            stack.callback(started.close)
            return started

        yield start


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)
