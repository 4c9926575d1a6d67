"""Several servers of one store: looking them up, and noticing which of them serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from prism.adapters.client import server as server_module
from prism.adapters.client import servers as servers_module
from prism.adapters.client.channel import Channel
from prism.adapters.client.endpoint import Addresses, Endpoint
from prism.adapters.client.server import Server
from prism.adapters.client.servers import Servers
from prism.adapters.wire.methods import METHODS
from prism.ports import BackendUnavailable, NotServing, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

UNREACHABLE = BackendUnavailable("nothing listens there", outcome=Outcome.NOT_APPLIED)
A, B = Endpoint.of("127.0.0.1:1"), Endpoint.of("127.0.0.1:2")


class FakeChannel:
    """Channel to a server that serves unless `refusal` is set.

    Attributes:
        refusal: error of every call and watch.
        probed_at: times of the loop's clock at which unary calls came.
    """

    timeout_s = 5.0
    is_connected = True
    is_answering = True
    is_closed = False

    def __init__(self) -> None:
        self.refusal: PrismError | None = None
        self.probed_at: list[float] = []

    async def unary(self, path: str, request: Any, reply_type: Any, **how: Any) -> Any:
        self.probed_at.append(asyncio.get_running_loop().time())
        if self.refusal is not None:
            raise self.refusal
        return reply_type()

    async def operate(self, method: Any, request: Any, left_s: float | None = None) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return method.reply_type()

    @asynccontextmanager
    async def watch(self, request: Any) -> AsyncIterator[Any]:
        if self.refusal is not None:
            raise self.refusal
        yield self

    async def close(self) -> None:
        self.is_closed = True


class FakeAddresses:
    """Addresses of a name that is looked up as the test wants.

    Attributes:
        found: what is found; empty: the look-up fails.
        at_once: most look-ups that were under way at one time.
        number: number of look-ups so far.
        may_end: cleared while look-ups hang.
    """

    text = "prism.test:1"
    have_names = True

    def __init__(self, *found: Endpoint) -> None:
        self.found = list(found)
        self.at_once = self.number = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._under_way = 0

    async def look_up(self) -> list[Endpoint]:
        self.number += 1
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await self.may_end.wait()
        finally:
            self._under_way -= 1
        if not self.found:
            raise UNREACHABLE
        return self.found


class Group:
    """Servers with fake channels, by endpoint, and fake addresses."""

    def __init__(self, *found: Endpoint) -> None:
        self.addresses = FakeAddresses(*found)
        self.channels: dict[Endpoint, FakeChannel] = {}
        self.servers = Servers(cast("Addresses", self.addresses), self._open, 5.0)

    def _open(self, endpoint: Endpoint, lost: Callable[[str], None]) -> Channel:
        channel = self.channels[endpoint] = FakeChannel()
        return cast("Channel", channel)

    async def get(self) -> None:
        await self.servers.operate(METHODS["get"], pb.GetRequest(key="k"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_look_up_that_failed_at_first_is_repeated_by_the_next_call() -> None:
    group = Group()
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="nothing listens"):
            await group.get()
    group.addresses.found = [A]
    await group.get()
    await group.servers.close()


async def test_closed_group_looks_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_UP_S", 0.0)
    group = Group(A)
    await group.get()
    group.addresses.may_end.clear()
    looked_up = group.addresses.number
    await until(lambda: group.addresses.number > looked_up)
    await group.servers.close()
    looked_up = group.addresses.number
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert group.addresses.number == looked_up
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(NotServing, match="closed"):
        await group.get()


async def test_closing_ends_a_look_up_and_tells_who_waits_for_it() -> None:
    group = Group(A)
    group.addresses.may_end.clear()
    call = asyncio.create_task(group.get())
    await until(lambda: group.addresses.number)
    await group.servers.close()
    assert asyncio.all_tasks() <= {call, asyncio.current_task()}
    with pytest.raises(NotServing, match="closed"):
        await call


async def test_one_look_up_is_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_UP_S", 0.0)
    monkeypatch.setattr(servers_module, "_LOOK_UP_AGAIN_S", 0.0)
    group = Group(A)
    await group.get()
    # A slow name server, and meanwhile a server that leaves, which asks for another look-up.
    group.addresses.may_end.clear()
    looked_up = group.addresses.number
    await until(lambda: group.addresses.number > looked_up)
    channel = group.channels[A]
    channel.refusal = NotServing("draining")
    with pytest.raises(NotServing):
        await group.get()
    await until(lambda: len(channel.probed_at) > 2)
    assert group.addresses.at_once == 1
    await group.servers.close()


async def test_server_that_leaves_during_a_look_up_causes_no_second_series_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_UP_S", 0.0)
    monkeypatch.setattr(servers_module, "_LOOK_UP_ABSENT_S", 3600.0)
    monkeypatch.setattr(servers_module, "_LOOK_UP_AGAIN_S", 0.02)
    group = Group(A)
    await group.get()
    group.addresses.may_end.clear()
    looked_up = group.addresses.number
    await until(lambda: group.addresses.number > looked_up)
    group.channels[A].refusal = NotServing("draining")
    with pytest.raises(NotServing):
        await group.get()
    looked_up = group.addresses.number
    group.addresses.may_end.set()
    # Much longer than until another look-up would begin.
    await asyncio.sleep(0.1)
    assert group.addresses.number == looked_up
    await group.servers.close()


async def test_server_whose_address_is_gone_is_closed_once_nothing_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_UP_S", 0.0)
    group = Group(A, B)
    await group.get()
    async with group.servers.watch(pb.WatchRequest()):
        group.addresses.found = [Endpoint.of("127.0.0.1:3")]
        await until(lambda: group.channels[B].is_closed)
        assert not group.channels[A].is_closed
    await until(lambda: group.channels[A].is_closed)
    await group.servers.close()


async def test_watch_that_a_server_refused_goes_to_another_one_next() -> None:
    group = Group(A, B)
    await group.get()
    group.channels[A].refusal = NotServing("draining")
    request = pb.WatchRequest()
    with pytest.raises(NotServing):
        async with group.servers.watch(request):
            pass
    async with group.servers.watch(request) as events:
        assert cast("Any", events) is group.channels[B]
    await group.servers.close()


async def test_server_is_connected_before_the_first_call_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "_FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(FakeChannel, "is_connected", False)
    group = Group(A, B)
    await group.get()
    await until(lambda: all(channel.probed_at for channel in group.channels.values()))
    await group.servers.close()


async def test_server_that_says_itself_that_its_backend_is_away_gets_further_calls() -> None:
    server = Server(cast("Channel", FakeChannel()))
    server.note(BackendUnavailable("the backend is away"))
    assert server.absence is None


async def test_server_that_does_not_serve_is_asked_at_growing_intervals() -> None:
    channel = FakeChannel()
    channel.refusal = NotServing("draining")
    server = Server(cast("Channel", channel))
    server.ask_again(NotServing("draining"), at_once=True)
    await until(lambda: len(channel.probed_at) >= 5)
    first, *_, fifth = channel.probed_at
    # The pauses are at least half of 20, 40, 80 and 160 ms, less the resolution of the clock.
    assert fifth - first > 0.14
    channel.refusal = None
    await until(lambda: server.absence is None)
    await server.close()
