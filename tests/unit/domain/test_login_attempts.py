"""Wrong logins slow down the next ones of the same peer, and few may wait."""

from __future__ import annotations

import asyncio

import pytest

from prism.domain.login_attempts import LoginAttempts
from prism.ports import Exhausted


async def test_few_logins_wait_after_wrong_ones_and_others_are_refused() -> None:
    attempts = LoginAttempts("token")
    await attempts.wait_for_turn("a")
    for _ in range(6):
        attempts.failed("a")
    waiting = [asyncio.create_task(attempts.wait_for_turn("a")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Exhausted, match="too many wrong tokens") as refusal:
        await attempts.wait_for_turn("a")
    # The Redis port answers BUSY by this reason, so that clients try again.
    assert refusal.value.reason == "TOO_MANY_LOGINS"
    async with asyncio.timeout(30):
        await attempts.wait_for_turn("b")
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
