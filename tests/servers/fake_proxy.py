"""Fake proxy: a control plane whose streams are scripted by tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from prism.adapters.client.lifecycle import LifecycleClient, pattern_lifecycle
from prism.ports import Health
from prism.v1 import pattern_pb2 as pb

TIMEOUT_S = 30.0

TOKEN = "one-time-token"
SESSION = "session-secret"


class Stream:
    """One control stream of a pattern.

    Attributes:
        credential: token or secret that the pattern sent.
        debug_events: debug events received so far.
        heartbeats: number of heartbeats received so far.
    """

    def __init__(self, credential: str, registration: pb.Registration) -> None:
        self.credential = credential
        self.registration = registration
        self.debug_events: list[pb.DebugEvent] = []
        self.heartbeats = 0
        self.ended = asyncio.Event()
        self._changed = asyncio.Condition()

    def commands(self) -> AbstractAsyncContextManager[LifecycleClient]:
        """Connect to the pattern as a proxy does, to command its driver."""
        return pattern_lifecycle("fake", self.registration.data_address)

    async def start_driver(self, **settings: str) -> None:
        """Initialize and start the pattern's driver."""
        async with self.commands() as lifecycle:
            await lifecycle.initialize(settings)
            await lifecycle.start()

    async def check_health(self) -> Health:
        """Have the pattern check its driver's health."""
        async with self.commands() as lifecycle:
            return await lifecycle.health()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition, which is evaluated after each message."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(condition)

    async def debug_event(self, wanted: Callable[[pb.DebugEvent], bool]) -> pb.DebugEvent:
        """Wait for a debug event that is wanted, and return the first."""
        await self.until(lambda: any(map(wanted, self.debug_events)))
        return next(filter(wanted, self.debug_events))

    async def receive(self, request: pb.ConnectRequest) -> None:
        """Record a message."""
        match request.WhichOneof("message"):
            case "debug_event":
                self.debug_events.append(request.debug_event)
            case "heartbeat":
                self.heartbeats += 1
        async with self._changed:
            self._changed.notify_all()


class FakeProxy:
    """Serves PatternControlService on a Unix socket; a context manager.

    Attributes:
        refusal: status that every pattern is refused with; None: all are accepted.
        silent: whether to send no heartbeats.
        interval: time between heartbeats; silence for two ends a stream, so by default a busy
            machine ends none.
    """

    def __init__(self, socket: Path) -> None:
        self.address = f"unix:{socket}"
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.silent = False
        self.interval = timedelta(seconds=5)
        self._server: grpc.aio.Server | None = None
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()

    async def stream(self) -> Stream:
        """Wait for the next accepted stream."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._streams.get()

    async def start(self) -> None:
        """Listen."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect, pb.ConnectRequest.FromString, pb.ConnectResponse.SerializeToString
        )
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "prism.v1.PatternControlService", {"Connect": handler}
                ),
            )
        )
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Close all connections, as if the process was killed."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _connect(
        self, requests: AsyncIterator[pb.ConnectRequest], context: Any
    ) -> AsyncIterator[pb.ConnectResponse]:
        credential = dict(context.invocation_metadata()).get("authorization", "")
        if self.refusal is not None:
            await context.abort(*self.refusal)
        if credential not in (f"Bearer {TOKEN}", f"Bearer {SESSION}"):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown")
        interval = Duration()
        interval.FromTimedelta(self.interval)
        async for request in requests:
            stream = Stream(credential.removeprefix("Bearer "), request.registration)
            break
        yield pb.ConnectResponse(accepted=pb.Accepted(session=SESSION, heartbeat_interval=interval))
        self._streams.put_nowait(stream)
        reading = asyncio.create_task(_read(stream, requests))
        try:
            while not reading.done():
                await asyncio.wait((reading,), timeout=self.interval.total_seconds())
                if not (self.silent or reading.done()):
                    yield pb.ConnectResponse(heartbeat=pb.Heartbeat())
        finally:
            reading.cancel()
            stream.ended.set()


async def _read(stream: Stream, requests: AsyncIterator[pb.ConnectRequest]) -> None:
    async for request in requests:
        await stream.receive(request)
