from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from prism.cli.kv.dump import Dumper
from prism.cli.kv.json_lines import encode
from prism.cli.progress import Progress
from prism.domain.gateway import Gateway
from prism.ports import (
    BackendUnavailable,
    Capability,
    Entry,
    Page,
    PreconditionFailed,
    PrismError,
    Profile,
    ScanExpired,
    Unsupported,
    Version,
)


class Wrapped:
    """Client of a gateway; subclasses change one method."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    @property
    def profile(self) -> Profile:
        return self.gateway.profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self.gateway, name)


async def dump(client: Any, prefix: str = "") -> tuple[bytes, Dumper]:
    stream = io.BytesIO()
    dumper = Dumper(prefix, stream, Progress())
    await dumper.run(client)
    return stream.getvalue(), dumper


async def fill(gateway: Gateway, pairs: dict[str, bytes]) -> bytes:
    """Write the pairs in random order; return the dump that is expected."""
    keys = list(pairs)
    random.Random(1).shuffle(keys)
    for key in keys:
        await gateway.set(key, pairs[key])
    return b"".join(encode(key, Entry(pairs[key], Version(0))) for key in sorted(pairs))


async def test_dump_is_sorted_by_code_points(gateway: Gateway) -> None:
    pairs = {key: key.encode() for key in ["b", "a", "B", "é", "z", "\uffff", "\U00010000", "a\n"]}
    expected = await fill(gateway, pairs)
    assert (await dump(gateway))[0] == expected


async def test_dump_of_no_keys_is_empty(gateway: Gateway) -> None:
    assert (await dump(gateway))[0] == b""


async def test_dump_with_a_prefix_has_only_its_keys(gateway: Gateway) -> None:
    await fill(gateway, {"a": b"", "b*1": b"", "b*2": b"", "bb": b""})
    assert (await dump(gateway, "b*"))[1].dumped == 2


async def test_values_that_do_not_fit_a_reply_are_read_again(gateway: Gateway) -> None:
    sizes = random.Random(2)
    pairs = {f"k{number:03}": bytes(sizes.choice([0, 10, 1024])) for number in range(300)}
    expected = await fill(gateway, pairs)
    assert (await dump(gateway))[0] == expected


async def test_key_repeated_by_a_scan_is_dumped_once(gateway: Gateway) -> None:
    class Repeating(Wrapped):
        async def scan(self, prefix: str = "", **options: Any) -> Page:
            page = await self.gateway.scan(prefix, **options)
            return replace(page, keys=[*page.keys, *page.keys])

    expected = await fill(gateway, {f"k{number:02}": b"v" for number in range(30)})
    assert (await dump(Repeating(gateway)))[0] == expected


async def test_deleted_key_is_skipped(gateway: Gateway) -> None:
    class Vanishing(Wrapped):
        async def scan(self, prefix: str = "", **options: Any) -> Page:
            page = await self.gateway.scan(prefix, **options)
            return replace(page, keys=[*page.keys, "gone"])

    expected = await fill(gateway, {"a": b"", "z": b""})
    data, dumper = await dump(Vanishing(gateway))
    assert (data, dumper.unread) == (expected, 0)


async def test_expired_scan_starts_again(gateway: Gateway) -> None:
    class Moving(Wrapped):
        expired = False

        async def scan(self, prefix: str = "", **options: Any) -> Page:
            if options["page_token"] and not self.expired:
                self.expired = True
                raise ScanExpired("the backend has moved on")
            return await self.gateway.scan(prefix, **options)

    expected = await fill(gateway, {f"k{number:02}": b"v" for number in range(30)})
    assert (await dump(Moving(gateway)))[0] == expected


async def test_unreadable_key_is_counted_and_the_others_are_dumped(
    gateway: Gateway,
) -> None:
    class Foreign(Wrapped):
        async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
            found = await self.gateway.get_many(keys)
            return [
                PreconditionFailed("of another type") if key == "k05" else outcome
                for key, outcome in zip(keys, found, strict=True)
            ]

    await fill(gateway, {f"k{number:02}": b"v" for number in range(30)})
    dumper = (await dump(Foreign(gateway)))[1]
    assert (dumper.dumped, dumper.unread) == (29, 1)


async def test_lost_connection_ends_a_dump(gateway: Gateway) -> None:
    class Lost(Wrapped):
        async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
            if "k25" in keys:
                raise BackendUnavailable("connection lost")
            return await self.gateway.get_many(keys)

    await fill(gateway, {f"k{number:02}": b"v" for number in range(1000)})
    with pytest.raises(BackendUnavailable):
        await dump(Lost(gateway))


async def test_without_batches_keys_are_read_one_by_one(gateway: Gateway) -> None:
    class Plain(Wrapped):
        @property
        def profile(self) -> Profile:
            return replace(self.gateway.profile, capabilities={})

        async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
            raise Unsupported(Capability.BATCH)

    expected = await fill(gateway, {f"k{number:02}": b"v" for number in range(30)})
    assert (await dump(Plain(gateway)))[0] == expected
