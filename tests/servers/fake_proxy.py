"""The proxy's end of the control stream, which does as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import pattern_pb2 as pb

PATIENCE_S = 30.0

TOKEN = "one-time-token"
SESSION = "session-secret"


class Stream:
    """One stream of a pattern.

    Attributes:
        shown: what it let itself in by.
        told: debug events, as they came.
        beats: heartbeats that came.
    """

    def __init__(self, shown: str, registration: pb.Registration) -> None:
        self.shown = shown
        self.registration = registration
        self.told: list[pb.DebugEvent] = []
        self.beats = 0
        self.ended = asyncio.Event()
        self.outgoing: asyncio.Queue[pb.ConnectResponse | None] = asyncio.Queue()
        self._results: dict[int, list[pb.CommandResult]] = {}
        self._changed = asyncio.Condition()

    def send(self, identifier: int, **command: Any) -> None:
        """Command something, and wait for nothing."""
        self.outgoing.put_nowait(pb.ConnectResponse(command=pb.Command(id=identifier, **command)))

    async def command(self, identifier: int, **command: Any) -> pb.CommandResult:
        """Command something; the answer."""
        self.send(identifier, **command)
        return await self.result(identifier)

    async def result(self, identifier: int) -> pb.CommandResult:
        """The answer to a command; each is returned once."""
        await self.until(lambda: bool(self._results.get(identifier)))
        return self._results[identifier].pop(0)

    async def start(self, **settings: str) -> None:
        """Bring its driver up, with the commands 1 and 2."""
        initialize = lpb.InitializeRequest(settings=settings)
        assert not (await self.command(1, initialize=initialize)).HasField("error")
        assert not (await self.command(2, start=lpb.StartRequest())).HasField("error")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it, as messages come in."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(condition)

    async def told_of(self, wanted: Callable[[pb.DebugEvent], bool]) -> pb.DebugEvent:
        """The first debug event that is wanted, as soon as there is one."""
        await self.until(lambda: any(map(wanted, self.told)))
        return next(filter(wanted, self.told))

    async def take(self, request: pb.ConnectRequest) -> None:
        """A message has come."""
        match request.WhichOneof("message"):
            case "result":
                self._results.setdefault(request.result.id, []).append(request.result)
            case "debug_event":
                self.told.append(request.debug_event)
            case "heartbeat":
                self.beats += 1
        async with self._changed:
            self._changed.notify_all()


class FakeProxy:
    """Serves PatternControlService on a Unix socket; a context manager.

    Attributes:
        refusal: a status that every pattern is refused with; None: none is.
        silent: sends no heartbeats.
    """

    def __init__(self, socket: Path, *, interval: timedelta = timedelta(seconds=0.2)) -> None:
        self.address = f"unix:{socket}"
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.silent = False
        self._interval = interval
        self._server: grpc.aio.Server | None = None
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()

    async def stream(self) -> Stream:
        """The next stream of a pattern that was let in."""
        async with asyncio.timeout(PATIENCE_S):
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
        """Be gone, as a process that was killed."""
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
        shown = dict(context.invocation_metadata()).get("authorization", "")
        if self.refusal is not None:
            await context.abort(*self.refusal)
        if shown not in (f"Bearer {TOKEN}", f"Bearer {SESSION}"):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is unknown")
        interval = Duration()
        interval.FromTimedelta(self._interval)
        async for request in requests:
            stream = Stream(shown.removeprefix("Bearer "), request.registration)
            break
        yield pb.ConnectResponse(accepted=pb.Accepted(session=SESSION, heartbeat_interval=interval))
        self._streams.put_nowait(stream)
        reading = asyncio.create_task(self._read(stream, requests))
        try:
            async for response in self._responses(stream):
                yield response
        finally:
            reading.cancel()
            stream.ended.set()

    async def _read(self, stream: Stream, requests: AsyncIterator[pb.ConnectRequest]) -> None:
        try:
            async for request in requests:
                await stream.take(request)
        finally:
            stream.outgoing.put_nowait(None)

    async def _responses(self, stream: Stream) -> AsyncIterator[pb.ConnectResponse]:
        while True:
            try:
                async with asyncio.timeout(self._interval.total_seconds()):
                    response = await stream.outgoing.get()
            except TimeoutError:
                if not self.silent:
                    yield pb.ConnectResponse(heartbeat=pb.Heartbeat())
                continue
            if response is None:
                return
            yield response
