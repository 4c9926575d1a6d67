"""Commands whose caller goes away."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from prism.domain.lifecycle import CommandQueue
from prism.ports import NotServing


async def _left_alone(error: Exception) -> list[dict[str, Any]]:
    """What the loop complains of when a command fails and nobody is there."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    begun, let = asyncio.Event(), asyncio.Event()

    async def command() -> None:
        begun.set()
        await let.wait()
        raise error

    commands = CommandQueue()
    caller = asyncio.create_task(commands.run(command()))
    await begun.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    let.set()
    # In its turn, so it is over then.
    await commands.run(asyncio.sleep(0))
    gc.collect()
    return complaints


async def test_a_failure_that_nobody_waits_for_is_no_complaint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await _left_alone(NotServing("cut short")) == []
    assert caplog.records == []


async def test_a_defect_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert await _left_alone(ZeroDivisionError()) == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_failure_reaches_who_waits() -> None:
    async def fails() -> None:
        raise NotServing("down")

    with pytest.raises(NotServing, match="down"):
        await CommandQueue().run(fails())
