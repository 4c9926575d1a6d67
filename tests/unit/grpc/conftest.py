"""Operation stream in memory, in front of a driver whose operations can be held."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission, connection
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import BackendUnavailable, Entry, Limits, Version
from prism.v1 import keyvalue_pb2 as pb


class Held(Memstore):
    """Memstore whose get and set of keys that begin with `held` wait until released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered: list[str] = []
        self.release = asyncio.Event()
        self.cancelled = 0

    async def get(self, key: str) -> Entry | None:
        await self._hold(f"get {key}")
        if key == "broken":
            raise RuntimeError("the password is hunter2")
        if key == "refused":
            raise BackendUnavailable("AUTH hunter2 was refused")
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._hold(f"set {key} {value.decode()}")
        return await super().set(key, value, ttl=ttl)

    async def _hold(self, what: str) -> None:
        if " held" not in what:
            return
        self.entered.append(what)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Context:
    connection = "somebody"
    pattern = ""
    authorization = None
    certificate = ""
    timeout_s = None

    def metadata(self, name: str) -> str | None:
        return "of the stream"


class StreamClient:
    """A client's side of one stream: sends operations, and collects outcomes."""

    def __init__(
        self, servicer: KeyValueServicer, driver: Held, admission: Admission, lifecycle: Any
    ) -> None:
        self.servicer = servicer
        self.driver = driver
        self.admission = admission
        self.lifecycle = lifecycle
        self.outcomes: dict[int, list[pb.OperationOutcome]] = defaultdict(list)
        self.messages: list[pb.OperateResponse] = []
        self.order: list[int] = []
        self.ended: BaseException | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self._requests: asyncio.Queue[pb.OperateRequest | Exception | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._converse())

    def send(self, *operations: pb.Operation, cancel: tuple[int, ...] = ()) -> None:
        self._requests.put_nowait(pb.OperateRequest(operations=operations, cancel_ids=cancel))

    def half_close(self, error: Exception | None = None) -> None:
        self._requests.put_nowait(error)

    @property
    def everything_is_read(self) -> bool:
        """Whether the servicer has read all that was sent."""
        return self._requests.empty()

    async def outcome(self, identity: int) -> pb.OperationOutcome:
        await until(lambda: bool(self.outcomes[identity]))
        assert len(self.outcomes[identity]) == 1
        return self.outcomes[identity][0]

    async def close(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.lifecycle.stop()

    async def _converse(self) -> None:
        connection.set("somebody")
        try:
            async for message in self.servicer.operate(self._read(), Context()):
                await self.reads.wait()
                response = pb.OperateResponse.FromString(message.SerializeToString())
                self.messages.append(response)
                for outcome in response.outcomes:
                    self.outcomes[outcome.id].append(outcome)
                    self.order.append(outcome.id)
        except Exception as error:
            self.ended = error

    async def _read(self) -> AsyncIterator[pb.OperateRequest]:
        while (request := await self._requests.get()) is not None:
            if isinstance(request, Exception):
                raise request
            yield request


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def open_stream() -> AsyncIterator[Callable[..., Any]]:
    opened: list[StreamClient] = []

    async def begin(
        *, max_in_flight: int = 1000, max_per_connection: int = 1000, **options: Any
    ) -> StreamClient:
        driver = Held()
        admission = Admission(max_in_flight=max_in_flight, max_per_connection=max_per_connection)
        lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
        await lifecycle.initialize({})
        await lifecycle.start()
        servicer = KeyValueServicer(Gateway(driver, admission, Limits()), **options)
        opened.append(StreamClient(servicer, driver, admission, lifecycle))
        return opened[-1]

    yield begin
    for stream in opened:
        await stream.close()
