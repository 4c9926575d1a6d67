"""Replies that callers do not read are limited, and hold up no other connection."""

from __future__ import annotations

import asyncio

import pytest

from prism.domain.connection_budget import REPLY_OVERHEAD_BYTES, SMALL_REPLY_BYTES, UnreadReplies
from prism.ports import Outcome

_MIB = 1 << 20


@pytest.fixture
def unread() -> UnreadReplies:
    return UnreadReplies(max_bytes=64 * _MIB, max_connection_bytes=16 * _MIB)


def test_replies_count_until_they_are_released(unread: UnreadReplies) -> None:
    unread.add("a", 1000)
    unread.add("a", 500)
    assert unread.used == 1500 + 2 * REPLY_OVERHEAD_BYTES
    unread.release("a", 1000)
    unread.release("a", 500)
    assert unread.used == 0


def test_large_reply_beyond_the_limit_of_its_connection_is_refused(unread: UnreadReplies) -> None:
    for _ in range(15):
        assert unread.refusal_of("a", _MIB) is None
        unread.add("a", _MIB)
    refusal = unread.refusal_of("a", 2 * _MIB)
    assert refusal is not None
    assert "read replies" in str(refusal)
    assert refusal.outcome is Outcome.UNKNOWN
    assert unread.refused == 1
    assert unread.refusal_of("b", 2 * _MIB) is None


def test_large_reply_beyond_the_total_limit_is_refused(unread: UnreadReplies) -> None:
    for name in "abcde":
        unread.add(name, 13 * _MIB)
    assert unread.refusal_of("f", _MIB) is not None


def test_small_reply_is_never_refused(unread: UnreadReplies) -> None:
    unread.add("a", 100 * _MIB)
    assert unread.refusal_of("a", SMALL_REPLY_BYTES) is None


def test_first_reply_of_a_connection_may_exceed_the_limit(unread: UnreadReplies) -> None:
    assert unread.refusal_of("a", 32 * _MIB) is None


async def test_calls_wait_while_replies_of_their_connection_are_unread(
    unread: UnreadReplies,
) -> None:
    for _ in range(3):
        unread.add("a", _MIB)
    await asyncio.wait_for(unread.wait_for_room("b"), 30)
    waiting = [asyncio.create_task(unread.wait_for_room("a")) for _ in range(3)]
    await asyncio.sleep(0)
    unread.release("a", _MIB)
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    unread.release("a", _MIB)
    async with asyncio.timeout(30):
        await asyncio.gather(*waiting[1:])
    assert waiting[0].cancelled()


async def test_calls_wait_while_much_is_unread_on_all_connections(unread: UnreadReplies) -> None:
    for name in "abcdefghi":
        unread.add(name, _MIB)
    waiting = asyncio.create_task(unread.wait_for_room("i"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    for name in "ab":
        unread.release(name, _MIB)
    await asyncio.wait_for(waiting, 30)


async def test_connection_that_reads_its_replies_never_waits(unread: UnreadReplies) -> None:
    for name in "abcde":
        unread.add(name, 13 * _MIB)
    unread.add("reader", 100)
    await asyncio.wait_for(unread.wait_for_room("reader"), 30)
