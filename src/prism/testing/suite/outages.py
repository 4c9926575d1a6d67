"""Group concurrency, continued: every operation while the server behind the driver is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import Never, TypeAlias
from urllib.parse import urlsplit

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Capability,
    Driver,
    FullKeyValue,
    Outcome,
    Page,
    PrismError,
    Put,
    ScanExpired,
    State,
    WatchEnded,
)
from prism.testing.suite.backend import Backend, BackendServer, Level, OpenBackend
from prism.testing.suite.group import NOT_REACHABLE, Group, group, skip_unless_declared
from prism.testing.suite.operations import SAMPLES
from prism.testing.suite.timing import LONG, time_limit, wait_until
from prism.testing.suite.transactions_together import keys_together
from prism.testing.suite.wrapper import DriverWrapper

CRASHES = 3
WRITERS = 24
READERS_OF_A_KIND = 2
STAY = 5

RETURNS_WITHIN = timedelta(seconds=5)
FAILS_WITHIN = timedelta(seconds=40)
"""Longer than any default deadline of a driver."""

_SUCCESSES = 150
_FAILURES = 40
_PAUSE_SECONDS = 0.002
_AFTER_FAILURE_SECONDS = 0.02
_PASSWORD = "never-to-be-shown-7391"

Away = (BackendUnavailable, BackendTimeout)
Condition: TypeAlias = Callable[[], Awaitable[bool]]


@group(time_limit_seconds=120.0)
class EveryOperationInOutages(Group):
    """Without its server, a backend answers nothing that it cannot know."""

    @pytest.mark.parametrize("outage", ["paused", "killed"])
    async def test_every_operation_fails_while_the_server_is_away(
        self, open_backend: OpenBackend, prefix: str, outage: str
    ) -> None:
        async with with_server(open_backend) as (backend, server):
            kv = backend.kv
            samples = [each for each in SAMPLES if each.is_declared_by(backend.profile)]
            keys = {each.name: f"{prefix}{each.name}" for each in samples}
            expires = Capability.TTL in backend.profile.capabilities
            before = {}
            for key in keys.values():
                await kv.set(key, b"1", ttl=LONG if expires else None)
                before[key] = await kv.get(key)
            await (server.pause() if outage == "paused" else server.kill())
            try:
                async with time_limit(
                    FAILS_WITHIN.total_seconds(), f"calls to a server that is {outage}"
                ):
                    outcomes = await asyncio.gather(
                        *(each.call(kv, keys[each.name]) for each in samples),
                        return_exceptions=True,
                    )
            finally:
                await (server.resume() if outage == "paused" else server.start())
            await wait_until_serving(kv, prefix)
            for each, outcome in zip(samples, outcomes, strict=True):
                assert isinstance(outcome, Away), (
                    f"{each} answered {outcome!r} although the server was {outage}"
                )
                key = keys[each.name]
                if outcome.outcome is Outcome.NOT_APPLIED:
                    assert await kv.get(key) == before[key], (
                        f"{each} said that it was not applied, and the key shows that it was"
                    )

    async def test_every_failed_call_says_the_truth_over_several_crashes(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with with_server(open_backend) as (backend, server):
            load = _Load(backend, prefix)
            await load.prepare()
            async with asyncio.TaskGroup() as tasks:
                for number in range(WRITERS):
                    tasks.create_task(load.write(number))
                for read in load.reads() * READERS_OF_A_KIND:
                    tasks.create_task(load.repeat(read))
                try:
                    # A crash costs seconds, and the layers beyond the driver see every crash alike.
                    crashes = CRASHES if backend.level is Level.IN_PROCESS else 1
                    for _ in range(crashes):
                        await wait_until(load.succeeds(_SUCCESSES), "calls succeed", FAILS_WITHIN)
                        await load.crash(server)
                        try:
                            await wait_until(load.fails(_FAILURES), "calls fail", FAILS_WITHIN)
                        finally:
                            await server.start()
                    await wait_until(load.succeeds(1), "calls succeed again", RETURNS_WITHIN)
                finally:
                    load.ended = True
            await load.check()

    async def test_a_watch_ends_with_a_reason_when_the_server_crashes(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with with_server(open_backend) as (backend, server):
            skip_unless_declared(backend, Capability.WATCH)
            ready = asyncio.Event()

            async def watch() -> None:
                async with backend.kv.watch(prefix) as events:
                    ready.set()
                    async for _ in events:
                        pass

            reader = asyncio.create_task(watch())
            try:
                async with time_limit(10.0, "the start of a watch"):
                    await ready.wait()
                await backend.kv.set(f"{prefix}key", b"value")
                await server.kill()
                await server.start()
                await wait_until_serving(backend.kv, prefix)
                await backend.kv.set(f"{prefix}key", b"after the crash")
                async with time_limit(
                    FAILS_WITHIN.total_seconds(), "the end of a watch after a crash"
                ):
                    with pytest.raises((WatchEnded, *Away)) as end:
                        await reader
                assert end.value.message
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def test_initialize_fails_within_its_bound_while_the_server_is_away(
        self,
        open_backend: OpenBackend,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        recorder = _InitializeRecorder()
        async with open_backend(wrap=recorder.wrap, start=False) as backend:
            if backend.server is None:
                pytest.skip(f"{NOT_REACHABLE}no server stands behind the driver")
            if await backend.lifecycle.state() is not State.CREATED:
                pytest.skip(f"{NOT_REACHABLE}a new backend is initialized already")
            await backend.server.kill()
            try:
                with caplog.at_level(logging.DEBUG):
                    async with time_limit(
                        FAILS_WITHIN.total_seconds(), "initialize without a server"
                    ):
                        with pytest.raises(Away) as failure:
                            await backend.lifecycle.initialize(_with_password(backend.settings))
                    health = await backend.lifecycle.health()
            finally:
                await backend.server.start()
            assert await backend.lifecycle.state() is State.FAILED
            # The driver's own text too: what is around it hides passwords, but not every word.
            texts = (*recorder.messages, failure.value.message, str(health), caplog.text)
            for text in texts:
                assert _PASSWORD not in text, f"a password is shown: {text[:500]}"
        # The server stands behind other backends too.
        async with open_backend() as again:
            await wait_until_serving(again.kv, prefix)


class _InitializeRecorder:
    """Records with which messages the drivers it wraps fail to initialize."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def wrap(self, driver: Driver[Never]) -> Driver[Never]:
        return _RecordedDriver(driver, self)


class _RecordedDriver(DriverWrapper):
    def __init__(self, inner: Driver[Never], recorder: _InitializeRecorder) -> None:
        super().__init__(inner)
        self._recorder = recorder

    async def initialize(self, settings: object) -> None:
        try:
            await self.inner.initialize(settings)
        except PrismError as error:
            self._recorder.messages.append(error.message)
            raise


class _Load:
    """Callers that write keys of their own and read keys that stay, through several outages."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        self._kv = backend.kv
        self._declared = backend.profile.capabilities
        self._prefix = prefix
        self._staying = {f"{prefix}stay/{number}": b"%d" % number for number in range(STAY)}
        # Outcome of each write; None: it succeeded.
        self._put: dict[str, Outcome | None] = {}
        self._deleted: dict[str, Outcome | None] = {}
        self._together: list[list[str]] = []
        self._counted: defaultdict[str, list[Outcome | None]] = defaultdict(list)
        self._succeeded = 0
        self._failed = 0
        self.ended = False

    async def prepare(self) -> None:
        for key, value in self._staying.items():
            await self._kv.set(key, value, ttl=LONG if Capability.TTL in self._declared else None)

    async def write(self, writer: int) -> None:
        """Write keys of this caller until the load has ended, each kind of write in turn."""
        kinds = [
            (None, self._set),
            (Capability.BATCH, self._set_many),
            (Capability.COMPARE_AND_SET, self._set_if_absent),
            (Capability.COUNTER, self._increment),
            (Capability.TRANSACTIONS, self._apply),
            (None, self._delete),
        ]
        declared = [kind for needed, kind in kinds if needed is None or needed in self._declared]
        number = 0
        while not self.ended:
            number += 1
            kind = declared[(writer + number) % len(declared)]
            await kind(f"{self._prefix}{writer}/{number}")
            await asyncio.sleep(_PAUSE_SECONDS)

    def reads(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the reads of keys that stay; each fails, or answers what they hold."""
        kinds = [
            (None, self._get),
            (None, self._exists),
            (Capability.BATCH, self._get_many),
            (Capability.TTL, self._ttl),
            (Capability.SCAN, self._scan),
        ]
        return [read for needed, read in kinds if needed is None or needed in self._declared]

    async def repeat(self, read: Callable[[], Awaitable[None]]) -> None:
        """Repeat one kind of read until the load has ended, so that each crash interrupts it."""
        while not self.ended:
            try:
                await read()
            except Away:
                self._failed += 1
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            else:
                self._succeeded += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def crash(self, server: BackendServer) -> None:
        """Kill the server; where the backend has scans, between two pages of one."""
        if Capability.SCAN not in self._declared:
            await server.kill()
            return
        async with aclosing(self._pages()) as pages:
            seen = {*(await anext(pages)).keys}
            await server.kill()
            with suppress(ScanExpired, *Away):
                async for page in pages:
                    seen.update(page.keys)
                assert seen == {*self._staying}, "a scan ended early in a crash"

    async def check(self) -> None:
        """Compare the outcomes of the writes with what the store holds now."""
        await wait_until_serving(self._kv, self._prefix)
        for key, said in self._put.items():
            if said is not Outcome.UNKNOWN:
                there = await self._kv.exists(key)
                assert there is (said is None), _lie(key, said, "is there" if there else "absent")
        for key, said in self._deleted.items():
            if said is not Outcome.UNKNOWN:
                there = await self._kv.exists(key)
                assert there is (said is not None), _lie(key, said, "there" if there else "absent")
        for keys in self._together:
            found = [await self._kv.exists(key) for key in keys]
            assert len(set(found)) == 1, f"some writes of one transaction are there: {found}"
        for key, sayings in self._counted.items():
            entry = await self._kv.get(key)
            number = 0 if entry is None else int(entry.value)
            sure = sayings.count(None)
            assert sure <= number <= sure + sayings.count(Outcome.UNKNOWN), (
                f"{sure} increments succeeded, {sayings.count(Outcome.UNKNOWN)} may have, and "
                f"{key!r} holds {number}"
            )

    def succeeds(self, more: int) -> Condition:
        """Return a condition: this many more calls succeeded from now on."""
        return grows(lambda: self._succeeded, more)

    def fails(self, more: int) -> Condition:
        """Return a condition: this many more calls failed from now on."""
        return grows(lambda: self._failed, more)

    async def _set(self, key: str) -> None:
        self._put[key] = await self._said(self._kv.set(key, b"value"))

    async def _set_if_absent(self, key: str) -> None:
        call = self._kv.compare_and_set(key, b"value", expected=None)
        self._put[key] = await self._said(call)

    async def _set_many(self, key: str) -> None:
        puts = [Put(f"{key}/{number}", b"value") for number in range(3)]
        try:
            outcomes = await self._kv.set_many(puts)
        except Away as error:
            self._failed += 1
            outcomes = [error] * len(puts)
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
        else:
            self._succeeded += 1
        for put, outcome in zip(puts, outcomes, strict=True):
            self._put[put.key] = outcome.outcome if isinstance(outcome, PrismError) else None

    async def _apply(self, key: str) -> None:
        keys = keys_together(key, 3)
        self._together.append(keys)
        said = await self._said(self._kv.apply([], [Put(each, b"value") for each in keys]))
        self._put.update(dict.fromkeys(keys, said))

    async def _increment(self, key: str) -> None:
        counter = key.rpartition("/")[0] + "/counter"
        self._counted[counter].append(await self._said(self._kv.increment(counter)))

    async def _delete(self, key: str) -> None:
        if await self._said(self._kv.set(key, b"value")) is None:
            self._deleted[key] = await self._said(self._kv.delete(key))

    async def _said(self, call: Awaitable[object]) -> Outcome | None:
        """Return the outcome that a failed write states; None: it succeeded."""
        try:
            await call
        except Away as error:
            self._failed += 1
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            return error.outcome
        self._succeeded += 1
        return None

    async def _get(self) -> None:
        for key, value in self._staying.items():
            entry = await self._kv.get(key)
            assert entry is not None, "get answered absent during an outage"
            assert entry.value == value

    async def _exists(self) -> None:
        for key in self._staying:
            assert await self._kv.exists(key) is True, "exists answered False during an outage"

    async def _ttl(self) -> None:
        for key in self._staying:
            lifetime = await self._kv.ttl(key)
            assert lifetime is not None, "ttl answered absent during an outage"
            assert lifetime.remaining is not None, "ttl answered none during an outage"

    async def _get_many(self) -> None:
        outcomes = await self._kv.get_many([*self._staying])
        for outcome, value in zip(outcomes, self._staying.values(), strict=True):
            if isinstance(outcome, PrismError):
                assert isinstance(outcome, Away), outcome
            else:
                assert outcome is not None, "get_many answered absent during an outage"
                assert outcome.value == value

    async def _scan(self) -> None:
        seen: set[str] = set()
        with suppress(ScanExpired):
            async for page in self._pages():
                seen.update(page.keys)
            assert seen == {*self._staying}, "a scan missed keys during an outage"

    async def _pages(self) -> AsyncGenerator[Page, None]:
        token = ""
        while True:
            page = await self._kv.scan(f"{self._prefix}stay/", page_size=1, page_token=token)
            yield page
            if not (token := page.next_token):
                return


def _lie(key: str, said: Outcome | None, found: str) -> str:
    return f"the write of {key!r} {'succeeded' if said is None else f'said {said}'}: it is {found}"


def grows(count: Callable[[], int], more: int) -> Condition:
    """Return a condition: the count has grown by this many from now on."""
    target = count() + more

    async def reached() -> bool:
        return count() >= target

    return reached


@asynccontextmanager
async def with_server(
    open_backend: OpenBackend,
) -> AsyncIterator[tuple[Backend, BackendServer]]:
    """Open a backend whose server the test may take away; skip the test where there is none."""
    async with open_backend() as backend:
        if backend.server is None:
            pytest.skip(f"{NOT_REACHABLE}no server stands behind the driver")
        yield backend, backend.server


async def wait_until_serving(kv: FullKeyValue, prefix: str) -> None:
    """Wait until calls succeed again."""
    begun = time.monotonic()

    async def answered() -> bool:
        try:
            await kv.set(f"{prefix}again", b"%f" % begun)
        except Away:
            return False
        return True

    await wait_until(answered, "calls succeed again", RETURNS_WITHIN)


def _with_password(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with a password in every URL that has none."""
    changed = dict(settings)
    for name, text in settings.items():
        url = urlsplit(text)
        if url.scheme and url.hostname and not url.password:
            netloc = f"{url.username or 'user'}:{_PASSWORD}@{url.netloc.rpartition('@')[2]}"
            changed[name] = url._replace(netloc=netloc).geturl()
    return changed
