"""Group scan, continued: many keys, several scans at once, and keys that come and go meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from prism.ports import Capability, FullKeyValue, Page, PrismError, Put
from prism.testing.suite.backend import Backend, Level
from prism.testing.suite.calls import gather_bounded
from prism.testing.suite.group import NOT_REACHABLE, Group, group
from prism.testing.suite.timing import scaled

MANY = 10_000
FEW = 400
GROWN = 1_500

# A slow backend is tested with the keys that it writes within this time, but never with fewer than
# these.
_WRITE_SECONDS = 2.0
_MIN_MANY = 2_000
_MAX_PAGES = 50_000
_HELD_SECONDS = 0.25
_ATTEMPTS = 5


@group(Capability.SCAN, time_limit_seconds=60.0)
class LargeScans(Group):
    """A scan returns every key that stays, even while others change.

    Attributes:
        idle_scan_seconds: how long a scan rests between two pages, by level.
    """

    idle_scan_seconds: ClassVar[dict[Level, float]] = {
        Level.IN_PROCESS: 6.0,
        Level.WIRE: 0.5,
        Level.PROXY: 0.5,
    }

    async def test_a_scan_of_ten_thousand_keys_is_complete(
        self, backend: Backend, prefix: str
    ) -> None:
        # Beyond the driver, thousands of keys are as good as ten thousand.
        count = MANY if backend.level is Level.IN_PROCESS else _MIN_MANY
        async with _keys(backend, prefix, count, _MIN_MANY) as expected:
            seen: dict[str, bytes] = {}
            async for page in pages_under(backend.kv, prefix, values=True):
                seen.update(_values_of(page))
            missing = expected - seen.keys()
            assert not missing, f"{len(missing)} of {len(expected)} keys are missing"
            assert seen.keys() == expected
            wrong = [key for key, value in seen.items() if value != key.encode()]
            assert not wrong, f"{len(wrong)} keys have the value of another, such as {wrong[0]!r}"

    async def test_two_scans_at_once_do_not_disturb_each_other(
        self, backend: Backend, prefix: str
    ) -> None:
        async with (
            _keys(backend, f"{prefix}a/", FEW) as first,
            _keys(backend, f"{prefix}b/", FEW) as second,
        ):

            async def scan(under: str, page_size: int, values: bool) -> set[str]:
                seen: set[str] = set()
                async for page in pages_under(
                    backend.kv, under, page_size=page_size, values=values
                ):
                    seen.update(page.keys)
                    await asyncio.sleep(0)
                return seen

            # Of one prefix too, with other page sizes and options.
            found = await asyncio.gather(
                scan(f"{prefix}a/", 17, False),
                scan(f"{prefix}a/", 30, False),
                scan(f"{prefix}a/", 23, True),
                scan(f"{prefix}b/", 17, False),
            )
            assert [*found] == [first, first, first, second]

    async def test_a_scan_misses_no_key_while_the_store_grows(
        self, backend: Backend, prefix: str
    ) -> None:
        async with _keys(backend, f"{prefix}m/", FEW) as stay:
            seen: set[str] = set()
            grown = False
            async for page in pages_under(backend.kv, prefix, page_size=50):
                seen.update(page.keys)
                if not grown and page.keys:
                    # Around the keys that stay, so that a table of any kind is rebuilt.
                    grown = True
                    others = [f"{prefix}{place}/" for place in "amz"]
                    for other in others:
                        await _put_many(backend, other, GROWN // 3)
            try:
                missing = stay - seen
                assert not missing, f"{len(missing)} of {len(stay)} keys are missing"
            finally:
                for other in others:
                    await _delete_all(backend, other)

    async def test_a_value_belongs_to_its_key_while_others_vanish(
        self, backend: Backend, prefix: str
    ) -> None:
        kv = backend.kv
        async with _keys(backend, prefix, FEW) as keys:
            ordered = sorted(keys)
            going, staying = ordered[::3], {*ordered} - {*ordered[::3]}

            async def delete() -> None:
                for key in going:
                    await kv.delete(key)
                    await asyncio.sleep(0)

            deleter = asyncio.create_task(delete())
            try:
                seen: dict[str, bytes] = {}
                async for page in pages_under(kv, prefix, page_size=40, values=True):
                    for key, value in _values_of(page).items():
                        assert value == key.encode(), f"{key!r} has the value {value!r}"
                        seen[key] = value
                    await asyncio.sleep(0)
            finally:
                await deleter
            assert staying <= seen.keys()

    async def test_an_idle_scan_continues_where_it_was(self, backend: Backend, prefix: str) -> None:
        kv = backend.kv
        async with _keys(backend, prefix, 130) as expected:
            page = await kv.scan(prefix, page_size=10)
            seen = {*page.keys}
            assert page.next_token
            # Others begin scans and do not end them.
            for number in range(118):
                await kv.scan(prefix, page_size=1 + number)
            await asyncio.sleep(scaled(self.idle_scan_seconds[backend.level]))
            async for rest in pages_under(kv, prefix, page_size=10, token=page.next_token):
                seen.update(rest.keys)
            assert seen == expected

    async def test_a_scan_does_not_hold_the_event_loop(self, backend: Backend, prefix: str) -> None:
        if backend.level is not Level.IN_PROCESS:
            pytest.skip(f"{NOT_REACHABLE}the driver has an event loop of its own")
        held = float("inf")
        async with _keys(backend, prefix, _MIN_MANY):
            limit = backend.profile.limits.max_page_size
            # The machine holds it now and then, but not in every attempt.
            for _ in range(_ATTEMPTS):
                async with _longest_pause() as pauses:
                    async for _page in pages_under(
                        backend.kv, prefix, page_size=limit, values=True
                    ):
                        await asyncio.sleep(0)
                held = min(held, max(pauses))
                if held < max(scaled(_HELD_SECONDS), _HELD_SECONDS):
                    return
        raise AssertionError(
            f"during each of {_ATTEMPTS} scans of {_MIN_MANY} keys no other task ran for "
            f"{held:.2f} s or more: look for work without an await, and for blocking calls"
        )


@asynccontextmanager
async def _longest_pause() -> AsyncIterator[list[float]]:
    """Collect the pauses in seconds between the turns of a task that is always ready.

    Without the garbage collector, which takes half a second for the objects of thousands of
    collected tests: the driver is not the reason for that pause.
    """
    pauses = [0.0]

    async def pulse() -> None:
        latest = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            pauses.append(now - latest)
            latest = now

    was_enabled = gc.isenabled()
    gc.disable()
    task = asyncio.create_task(pulse())
    await asyncio.sleep(0)
    try:
        yield pauses
        await asyncio.sleep(0)
    finally:
        task.cancel()
        if was_enabled:
            gc.enable()


@asynccontextmanager
async def _keys(
    backend: Backend, prefix: str, count: int, at_least: int | None = None
) -> AsyncIterator[set[str]]:
    """Write keys for the time of the body, so that other scans do not have to pass them."""
    try:
        yield await _put_many(backend, prefix, count, at_least)
    finally:
        await _delete_all(backend, prefix)


async def _put_many(
    backend: Backend, prefix: str, count: int, at_least: int | None = None
) -> set[str]:
    """Write this many keys, each with itself as value; a slow backend only `at_least`."""
    written: list[str] = []
    end = time.monotonic() + _WRITE_SECONDS
    for chunk in _chunks(backend, [f"{prefix}{number:05}" for number in range(count)]):
        if at_least is not None and len(written) >= at_least and time.monotonic() > end:
            break
        if Capability.BATCH in backend.profile.capabilities:
            outcomes = await backend.kv.set_many([Put(key, key.encode()) for key in chunk])
            for outcome in outcomes:
                if isinstance(outcome, PrismError):
                    raise outcome
        else:
            await gather_bounded(backend.kv.set(key, key.encode()) for key in chunk)
        written += chunk
    return {*written}


async def _delete_all(backend: Backend, prefix: str) -> None:
    keys = [key async for page in pages_under(backend.kv, prefix) for key in page.keys]
    for chunk in _chunks(backend, keys):
        if Capability.BATCH in backend.profile.capabilities:
            await backend.kv.delete_many(chunk)
        else:
            await gather_bounded(backend.kv.delete(key) for key in chunk)


def _chunks(backend: Backend, keys: list[str]) -> list[list[str]]:
    size = min(backend.profile.limits.max_batch_items, 1_000)
    return [keys[at : at + size] for at in range(0, len(keys), size)]


async def pages_under(
    kv: FullKeyValue, prefix: str, *, page_size: int = 0, values: bool = False, token: str = ""
) -> AsyncIterator[Page]:
    """Yield the pages of a scan, from the token on."""
    for _ in range(_MAX_PAGES):
        page = await kv.scan(prefix, page_size=page_size, page_token=token, values=values)
        yield page
        token = page.next_token
        if not token:
            return
    raise AssertionError(f"the scan does not end within {_MAX_PAGES} pages")


def _values_of(page: Page) -> dict[str, bytes]:
    """Return the values of a page by key; without entries, empty values."""
    if page.entries is None:
        return dict.fromkeys(page.keys, b"")
    return {key: entry.value for key, entry in zip(page.keys, page.entries, strict=True)}
