from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from prism.cli.kv.load import Loader
from prism.cli.progress import Progress
from prism.domain.gateway import Gateway
from prism.ports import (
    BackendUnavailable,
    Capability,
    Exhausted,
    NotServing,
    PrismError,
    Profile,
    Put,
    Version,
)


class Told(Progress):
    """Keeps the messages to the user."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def print_message(self, message: str) -> None:
        self.lines.append(message)


class Wrapped:
    """A client around a gateway, to be wrong in one way."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.batches: list[list[str]] = []

    @property
    def profile(self) -> Profile:
        return self.gateway.profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gateway, name)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        self.batches.append([put.key for put in puts])
        return await self.gateway.set_many(puts)


def lines(*pairs: tuple[str, str]) -> bytes:
    return b"".join(f'{{"key":"{key}","value":"{value}"}}\n'.encode() for key, value in pairs)


def many(count: int) -> bytes:
    return lines(*((f"k{number:04}", f"v{number}") for number in range(count)))


def loader_of(data: bytes) -> tuple[Loader, Told]:
    told = Told()
    return Loader(io.BytesIO(data), told), told


async def load(client: Any, data: bytes) -> tuple[Loader, Told]:
    loader, told = loader_of(data)
    await loader.run(client)
    return loader, told


async def test_every_pair_arrives(gateway: Gateway) -> None:
    loader, told = await load(gateway, many(1000))
    assert (loader.loaded, loader.refused, told.lines) == (1000, 0, [])
    entry = await gateway.get("k0999")
    assert entry is not None
    assert entry.value == b"v999"


async def test_malformed_lines_are_told_by_number_and_the_rest_arrives(gateway: Gateway) -> None:
    loader, told = await load(gateway, many(25) + b"nope\n" + many(3) + b'{"key":"k"}\n')
    assert (loader.loaded, loader.refused) == (28, 2)
    assert [line.partition(":")[0] for line in told.lines] == ["line 26", "line 30"]


async def test_the_last_of_a_key_named_often_is_kept(gateway: Gateway) -> None:
    together: list[set[str]] = []
    shared: set[str] = set()

    class Lingering(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            keys = {put.key for put in puts}
            shared.update(*(keys & others for others in together))
            together.append(keys)
            # In flight for long enough that the next would be, too, if it did not wait.
            await asyncio.sleep(0.01)
            together.remove(keys)
            return await super().set_many(puts)

    pairs = [(f"own{number}" if number % 9 else "common", str(number)) for number in range(200)]
    await load(Lingering(gateway), lines(*pairs))
    assert shared == set()
    entry = await gateway.get("common")
    assert entry is not None
    assert entry.value == b"198"


async def test_batches_without_a_common_key_are_in_flight_together(gateway: Gateway) -> None:
    both = asyncio.Event()

    class Meeting(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            outcomes = await super().set_many(puts)
            if len(self.batches) == 2:
                both.set()
            await both.wait()
            return outcomes

    loader, _ = await load(Meeting(gateway), many(20))
    assert loader.loaded == 20


async def test_a_pair_that_the_server_refuses_is_told_by_number(gateway: Gateway) -> None:
    class Full(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            return [
                Exhausted("no room") if put.key == "k0012" else version
                for put, version in zip(puts, await super().set_many(puts), strict=True)
                if not isinstance(version, PrismError)
            ]

    loader, told = await load(Full(gateway), many(30))
    assert (loader.loaded, loader.refused, told.lines) == (29, 1, ["line 13: no room"])


async def test_a_lost_connection_tells_how_far_it_came(gateway: Gateway) -> None:
    class Lost(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            if "k0030" in [put.key for put in puts]:
                raise BackendUnavailable("connection lost")
            return await super().set_many(puts)

    loader, _ = loader_of(many(35))
    with pytest.raises(BackendUnavailable):
        await loader.run(Lost(gateway))  # type: ignore[arg-type]
    assert loader.summary() == (
        "30 pairs were acknowledged, including every line up to 30; "
        "5 more may or may not have been applied"
    )


async def test_a_server_that_refuses_everything_leaves_nothing_in_doubt(gateway: Gateway) -> None:
    class Draining(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            raise NotServing("draining")

    loader, _ = loader_of(many(100))
    with pytest.raises(NotServing):
        await loader.run(Draining(gateway))  # type: ignore[arg-type]
    assert loader.summary() == "0 pairs were acknowledged"


async def test_a_batch_that_is_one_too_many_is_sent_again(gateway: Gateway) -> None:
    class Busy(Wrapped):
        refusals = 2

        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            if self.refusals:
                self.refusals -= 1
                raise Exhausted("too many calls in flight")
            return await super().set_many(puts)

    loader, told = await load(Busy(gateway), many(30))
    assert (loader.loaded, told.lines) == (30, [])


async def test_a_cancelled_load_knows_what_was_acknowledged(gateway: Gateway) -> None:
    stuck = asyncio.Event()

    class Stuck(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            if "k0020" in [put.key for put in puts]:
                stuck.set()
                await asyncio.Event().wait()
            return await super().set_many(puts)

    loader, _ = loader_of(many(25))
    run = asyncio.create_task(loader.run(Stuck(gateway)))  # type: ignore[arg-type]
    await stuck.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert "20 pairs were acknowledged, including every line up to 20" in loader.summary()


async def test_without_batches_pairs_are_written_one_by_one(gateway: Gateway) -> None:
    class Plain(Wrapped):
        @property
        def profile(self) -> Profile:
            whole = self.gateway.profile
            kept = dict(whole.capabilities)
            del kept[Capability.BATCH]
            return replace(whole, capabilities=kept)

    client = Plain(gateway)
    loader, _ = await load(client, many(100) + lines(("k0000", "last")))
    assert (loader.loaded, client.batches) == (101, [])
    entry = await gateway.get("k0000")
    assert entry is not None
    assert entry.value == b"last"
