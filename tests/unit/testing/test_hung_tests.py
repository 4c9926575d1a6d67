"""Tests of the suite that hang: the message, and the backend of the tests after them."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest

from prism.adapters.memstore import DRIVER
from prism.ports import FullKeyValue
from prism.testing import Backend, DriverWrapper, OpenBackend, Wrap
from prism.testing.levels import in_process
from prism.testing.suite.group import Group, SharedBackend, group
from prism.testing.suite.timing import Clock, TimeLimitExceeded, time_limit, timeouts_scaled_by


class Hangs(DriverWrapper):
    """Driver whose `exists` never answers."""

    async def exists(self, key: str) -> bool:
        await asyncio.Event().wait()
        return False


async def _ask(kv: FullKeyValue) -> bool:
    return await kv.exists("key")


async def test_a_time_limit_names_the_operation_the_bound_and_the_innermost_call() -> None:
    async with in_process(DRIVER)(wrap=Hangs) as backend:
        with pytest.raises(TimeLimitExceeded) as failure:
            async with time_limit(0.05, "exists of a key"):
                await _ask(backend.kv)
    message = str(failure.value)
    assert "exists of a key did not finish within 0.05 s" in message
    assert "await asyncio.Event().wait()" in message or "await fut" in message


async def test_a_timeout_inside_the_body_stays_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(5.0):
            raise TimeoutError


async def test_a_backend_is_replaced_after_a_test_that_hung() -> None:
    shared = SharedBackend(in_process(DRIVER))
    await shared.open()
    first: Backend = shared.backend
    await first.kv.set("key", b"value")
    await shared.replace()
    assert shared.backend is not first
    assert await shared.backend.kv.exists("key") is False
    await shared.close()


async def test_a_call_that_hangs_is_named_and_marks_the_backend() -> None:
    shared = SharedBackend(_with(Hangs))
    await shared.open()
    with (
        timeouts_scaled_by(0.01),
        pytest.raises(TimeLimitExceeded, match=r"exists\('key'\) did not finish within 0.1 s"),
    ):
        await shared.backend.kv.exists("key")
    assert shared.calls.hung
    await shared.replace()
    assert not shared.calls.hung
    await shared.close()


def _with(wrapper: type[DriverWrapper]) -> OpenBackend:
    def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        return in_process(DRIVER)(wrap=wrapper, start=start)

    return open_backend


@group()
class ShortTtls(Group):
    """A test that needs five calls within a short ttl, and two that never succeed."""

    async def test_five_calls(self, key: str, clock: Clock, calls: list[Clock]) -> None:
        calls.append(clock)
        await _stop_everything(clock)
        assert clock.short > timedelta(seconds=0.2), "the key had expired"

    async def test_never(self, key: str, clock: Clock, calls: list[Clock]) -> None:
        calls.append(clock)
        await _stop_everything(clock)
        raise AssertionError("wrong")

    async def test_never_at_once(self, key: str, clock: Clock, calls: list[Clock]) -> None:
        calls.append(clock)
        raise AssertionError("wrong")


async def _stop_everything(clock: Clock) -> None:
    """Hold the event loop for a good part of the ttl, as a busy machine does."""
    await asyncio.sleep(0)
    time.sleep(clock.short.total_seconds() / 5)  # noqa: ASYNC251


@pytest.fixture(params=[pytest.param(0.0, id="idle")])
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load of the machine, as the operating system tells it."""
    monkeypatch.setattr("os.getloadavg", lambda: (request.param,) * 3)


@pytest.mark.usefixtures("load")
async def test_a_test_of_a_short_ttl_is_repeated_with_a_longer_one_on_a_busy_machine() -> None:
    clock, calls = Clock.of(DRIVER.factory().profile), list[Clock]()
    await ShortTtls().test_five_calls(key="key", clock=clock, calls=calls)
    assert [each.short / clock.short for each in calls] == [1, 4]


@pytest.mark.usefixtures("load")
async def test_a_defect_fails_every_repetition() -> None:
    clock, calls = Clock.of(DRIVER.factory().profile), list[Clock]()
    with pytest.raises(AssertionError, match="wrong"):
        await ShortTtls().test_never(key="key", clock=clock, calls=calls)
    assert [each.short / clock.short for each in calls] == [1, 4, 16]


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("load", [1_000.0], indirect=True)
async def test_a_test_of_a_short_ttl_is_repeated_where_many_processes_run() -> None:
    clock, calls = Clock.of(DRIVER.factory().profile), list[Clock]()
    with pytest.raises(AssertionError, match="wrong"):
        await ShortTtls().test_never_at_once(key="key", clock=clock, calls=calls)
    assert [each.short / clock.short for each in calls] == [1, 4, 16]
