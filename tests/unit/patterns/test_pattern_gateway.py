"""The gateway that callers keep while processes of a pattern come and go."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.patterns.availability import Availability
from prism.domain.patterns.pattern_gateway import PatternGateway
from prism.domain.patterns.values import PatternSpec, PatternState
from prism.ports import OPERATIONS, BackendTimeout, FullKeyValue, Limits, NotServing, Outcome


class Instance:
    """Process of a pattern, in this process."""

    def __init__(self) -> None:
        self.driver = Memstore()
        admission = Admission(max_in_flight=10, max_per_connection=10)
        admission.open()
        self.gateway = Gateway(self.driver, admission, Limits())


async def start() -> Any:
    instance = Instance()
    await instance.driver.initialize(DRIVER.settings())
    await instance.driver.start()
    return instance


def gateway_to(pattern: Availability, **options: Any) -> tuple[FullKeyValue, Admission]:
    admission = Admission(max_in_flight=10, max_per_connection=10)
    admission.open()
    timeout = options.pop("timeout", timedelta(seconds=10))
    made = PatternGateway("a", pattern, admission, timeout=timeout, **options)
    return cast("FullKeyValue", made), admission


def test_it_has_every_operation() -> None:
    assert all(callable(getattr(PatternGateway, name)) for name in OPERATIONS)


async def test_an_operation_finds_the_process_that_serves() -> None:
    pattern = Availability(PatternSpec("a", "memstore"))
    entered: list[None] = []
    gateway, admission = gateway_to(pattern, on_enter=lambda: entered.append(None))
    with pytest.raises(NotServing, match="the pattern 'a' is stopped") as refused:
        await gateway.set("k", b"v")
    assert refused.value.outcome is Outcome.NOT_APPLIED
    for value in (b"1", b"2"):
        pattern.instance = await start()
        pattern.enter(PatternState.SERVING)
        assert await gateway.get("k") is None
        await gateway.set("k", value)
        async with gateway.watch("k") as events:
            await gateway.delete("k")
            assert (await anext(events)).key == "k"
    assert len(entered) == 8
    admission.close("it drains")
    with pytest.raises(NotServing, match="it drains"):
        await gateway.get("k")


async def test_an_operation_waits_for_a_pattern_whose_calls_wait() -> None:
    pattern = Availability(PatternSpec("a", "memstore"), wait_while_down=True)
    pattern.enter(PatternState.LAUNCHING)
    gateway, admission = gateway_to(pattern)
    waiting = asyncio.create_task(gateway.set("k", b"v"))
    while not admission.in_flight:
        await asyncio.sleep(0)
    pattern.instance = await start()
    pattern.enter(PatternState.SERVING)
    await waiting
    assert not admission.in_flight

    pattern.enter(PatternState.LAUNCHING)
    hurried, _ = gateway_to(pattern, timeout=timedelta(milliseconds=30))
    with pytest.raises(BackendTimeout, match="did not serve within the deadline") as late:
        await hurried.set("k", b"v")
    assert late.value.outcome is Outcome.NOT_APPLIED
