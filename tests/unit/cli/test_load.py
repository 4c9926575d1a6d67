from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from prism.cli.kv.load import Loader, PutBatch, batches
from prism.cli.progress import Progress
from prism.domain.gateway import Gateway
from prism.ports import (
    BackendUnavailable,
    Capability,
    Exhausted,
    Limits,
    NotServing,
    PrismError,
    Profile,
    Put,
    Version,
    VersionKind,
)


class RecordedProgress(Progress):
    """Progress that keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def print_message(self, message: str) -> None:
        self.lines.append(message)


class Wrapped:
    """Client of a gateway; subclasses change one method."""

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


def loader_of(data: bytes) -> tuple[Loader, RecordedProgress]:
    progress = RecordedProgress()
    return Loader(io.BytesIO(data), progress), progress


async def load(client: Any, data: bytes) -> tuple[Loader, RecordedProgress]:
    loader, progress = loader_of(data)
    await loader.run(client)
    return loader, progress


async def test_every_pair_is_loaded(gateway: Gateway) -> None:
    loader, progress = await load(gateway, many(1000))
    assert (loader.loaded, loader.refused, progress.lines) == (1000, 0, [])
    entry = await gateway.get("k0999")
    assert entry is not None
    assert entry.value == b"v999"


async def test_malformed_lines_are_reported_by_number_and_the_others_are_loaded(
    gateway: Gateway,
) -> None:
    loader, progress = await load(gateway, many(25) + b"nope\n" + many(3) + b'{"key":"k"}\n')
    assert (loader.loaded, loader.refused) == (28, 2)
    assert [line.partition(":")[0] for line in progress.lines] == ["line 26", "line 30"]


async def test_last_value_of_a_repeated_key_is_kept(gateway: Gateway) -> None:
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


async def test_batches_without_a_common_key_are_sent_concurrently(gateway: Gateway) -> None:
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


async def test_pair_that_the_server_refuses_is_reported_by_number(gateway: Gateway) -> None:
    class Full(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            return [
                Exhausted("no room") if put.key == "k0012" else version
                for put, version in zip(puts, await super().set_many(puts), strict=True)
                if not isinstance(version, PrismError)
            ]

    loader, progress = await load(Full(gateway), many(30))
    assert (loader.loaded, loader.refused, progress.lines) == (29, 1, ["line 13: no room"])


async def test_lost_connection_reports_what_was_loaded(gateway: Gateway) -> None:
    class Lost(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            if "k0030" in [put.key for put in puts]:
                raise BackendUnavailable("connection lost")
            return await super().set_many(puts)

    loader, _ = loader_of(many(35))
    with pytest.raises(BackendUnavailable):
        await loader.run(Lost(gateway))  # type: ignore[arg-type]
    assert loader.summary() == (
        "30 pairs acknowledged, including every line up to 30; "
        "5 more may or may not have been applied"
    )


async def test_server_that_refuses_everything_leaves_no_unknown_outcomes(gateway: Gateway) -> None:
    class Draining(Wrapped):
        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            raise NotServing("draining")

    loader, _ = loader_of(many(100))
    with pytest.raises(NotServing):
        await loader.run(Draining(gateway))  # type: ignore[arg-type]
    assert loader.summary() == "0 pairs acknowledged"


async def test_exhausted_batch_is_sent_again(gateway: Gateway) -> None:
    class Busy(Wrapped):
        refusals = 2

        async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
            if self.refusals:
                self.refusals -= 1
                raise Exhausted("too many calls in flight")
            return await super().set_many(puts)

    loader, progress = await load(Busy(gateway), many(30))
    assert (loader.loaded, progress.lines) == (30, [])


async def test_cancelled_load_reports_what_was_acknowledged(gateway: Gateway) -> None:
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
    assert "20 pairs acknowledged, including every line up to 20" in loader.summary()


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


SMALL_LIMITS = Limits(max_value_bytes=1000, max_batch_items=3, max_batch_bytes=100)
PROFILE = Profile("plain", "1", VersionKind.REVISION, {}, SMALL_LIMITS)


class Trickle(io.RawIOBase):
    """Pipe that returns a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._step)


def cut(data: bytes, step: int = 1 << 18) -> list[PutBatch]:
    stream: Any = Trickle(data, step)
    return list(batches(stream, PROFILE))


def line(key: str, value: str = "v") -> bytes:
    return f'{{"key":"{key}","value":"{value}"}}\n'.encode()


def test_batch_has_at_most_the_items_that_the_server_accepts() -> None:
    assert [len(batch.puts) for batch in cut(b"".join(line(f"k{n}") for n in range(7)))] == [
        3,
        3,
        1,
    ]


def test_batch_has_at_most_the_bytes_that_the_server_accepts() -> None:
    found = cut(line("a", "x" * 60) + line("b", "x" * 60) + line("c", "x" * 30))
    assert [[put.key for put in batch.puts] for batch in found] == [["a"], ["b", "c"]]


def test_pair_over_the_batch_limit_is_a_batch_of_one() -> None:
    found = cut(line("a") + line("b", "x" * 500) + line("c"))
    assert [[put.key for put in batch.puts] for batch in found] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_lines_are_found_in_chunks_of_any_size(step: int) -> None:
    found = cut(line("a") + b"\n  \r\n" + line("b").replace(b"\n", b"\r\n") + b'{"key":', step)
    assert [put for batch in found for put in batch.puts] == [Put("a", b"v"), Put("b", b"v")]
    assert [number for batch in found for number in batch.numbers] == [1, 4]
    assert [number for batch in found for number, _ in batch.refused] == [5]
    assert found[-1].last_line == 5


def test_last_line_needs_no_newline() -> None:
    assert cut(line("a").strip())[0].puts == [Put("a", b"v")]


def test_byte_order_mark_is_ignored() -> None:
    assert cut(b"\xef\xbb\xbf" + line("a"))[0].puts == [Put("a", b"v")]


@pytest.mark.parametrize("step", [1000, 1 << 18])
def test_line_longer_than_any_pair_is_refused(step: int) -> None:
    found = cut(line("a") + line("b", "x" * 100_000) + line("c"), step)
    assert [put.key for batch in found for put in batch.puts] == ["a", "c"]
    [(number, reason)] = [refused for batch in found for refused in batch.refused]
    assert number == 2
    assert "longer than" in reason


def test_refused_lines_count_towards_a_batch() -> None:
    assert [len(batch.refused) for batch in cut(b"nope\n" * 7)] == [3, 3, 1]


def test_empty_input_has_no_pairs() -> None:
    assert [batch.puts for batch in cut(b"")] == [[]]
