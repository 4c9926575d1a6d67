"""Work of one connection that takes long does not hold up the others."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from time import perf_counter

from prism.domain.turns import MessageTurns, Pace, Turns

_BURST = 300


async def _work(turns: Turns, connection: str, seconds: float, done: list[str]) -> None:
    if not turns.has_time():
        await turns.wait(connection)
    ends = perf_counter() + seconds
    while perf_counter() < ends:
        pass
    done.append(connection)


def _burst(turns: Turns, seconds: float, done: list[str]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(_work(turns, "greedy", seconds, done)) for _ in range(_BURST)]


async def test_another_connection_overtakes_a_burst_of_work() -> None:
    turns, done = Turns(), list[str]()
    burst = _burst(turns, 0.001, done)
    await asyncio.sleep(0)
    await _work(turns, "modest", 0, done)
    assert done.index("modest") < _BURST / 4
    await asyncio.gather(*burst)
    assert len(done) == _BURST + 1


async def test_work_begins_at_once_while_there_is_time() -> None:
    turns, done = Turns(), list[str]()
    for _ in range(_BURST):
        assert turns.has_time()
        await _work(turns, "alone", 0, done)
        await asyncio.sleep(0)


async def test_a_connection_that_asks_for_little_goes_ahead_of_any_number_of_others() -> None:
    turns, done = Turns(), list[str]()
    burst = [
        asyncio.create_task(_work(turns, f"greedy {number % 100}", 0.001, done))
        for number in range(3 * _BURST)
    ]
    await asyncio.sleep(0)
    for _ in range(10):
        await _work(turns, "modest", 0, done)
        await asyncio.sleep(0)
    assert len(done) < 2 * _BURST
    await asyncio.gather(*burst)


async def test_new_connections_do_not_starve_one_that_has_had_much() -> None:
    turns, done = Turns(), list[str]()
    old = [asyncio.create_task(_work(turns, "old", 0.001, done)) for _ in range(_BURST)]
    await asyncio.sleep(0)
    while len(done) < _BURST // 2:
        await asyncio.sleep(0)
    before, number = done.count("old"), 0
    new: set[asyncio.Task[None]] = set()
    while number < 2 * _BURST:
        for _ in range(10 - sum(not task.done() for task in new)):
            number += 1
            new.add(asyncio.create_task(_work(turns, f"new {number}", 0.001, done)))
        await asyncio.sleep(0)
    assert done.count("old") - before > _BURST // 10
    await asyncio.gather(*old, *new)


async def test_connections_with_much_work_take_turns() -> None:
    turns, done = Turns(), list[str]()
    tasks = [
        asyncio.create_task(_work(turns, name, 0.001, done))
        for name in ("first", "second")
        for _ in range(_BURST // 2)
    ]
    await asyncio.gather(*tasks)
    # The first connection asked for everything before the second asked for anything.
    half = done[: _BURST // 2]
    assert half.count("second") > _BURST / 8


async def test_work_that_is_expected_to_take_long_begins_after_other_work() -> None:
    turns, begun = Turns(), list[str]()
    turns.call_later("much", lambda: begun.append("much"), expected_s=0.001)
    turns.call_later("little", lambda: begun.append("little"))
    async with asyncio.timeout(30):
        while len(begun) < 2:
            await asyncio.sleep(0)
    assert begun == ["little", "much"]


async def test_pause_lets_others_run_between_turns() -> None:
    turns, done = Turns(), list[str]()
    turns.pause_s = 0.01
    began = perf_counter()
    await asyncio.gather(*_burst(turns, 0.001, done))
    assert perf_counter() - began > 0.001 * _BURST + 5 * turns.pause_s


async def test_a_pause_has_several_turns_of_the_loop_even_if_these_are_long() -> None:
    turns, began_in = Turns(), list[int]()
    turns.pause_s = 0.006
    loop_turns = 0

    async def do_other_work() -> None:
        nonlocal loop_turns
        while True:
            loop_turns += 1
            ends = perf_counter() + 0.005
            while perf_counter() < ends:
                pass
            await asyncio.sleep(0)

    # Not in turns: what arrives from elsewhere.
    other = asyncio.create_task(do_other_work())
    for _ in range(5):
        await turns.wait("waiting")
        began_in.append(loop_turns)
    other.cancel()
    assert min(after - before for before, after in pairwise(began_in)) >= 6


async def _arrive(turns: Turns, seconds: float, waiting: list[asyncio.Task[None]]) -> None:
    ends = perf_counter() + seconds
    while perf_counter() < ends:
        waiting.append(asyncio.create_task(turns.wait("greedy")))
        await asyncio.sleep(0)


async def test_a_pause_lasts_while_more_work_arrives_behind_a_crowd() -> None:
    turns = Turns()
    turns.pause_s = 0.02
    waiting = [asyncio.create_task(turns.wait("greedy")) for _ in range(_BURST)]
    await asyncio.sleep(0)
    await _arrive(turns, 0.3, waiting)
    assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_a_pause_ends_even_if_work_arrives_without_an_end() -> None:
    turns = Turns()
    turns.pause_s = 0.001
    waiting = [asyncio.create_task(turns.wait("greedy")) for _ in range(_BURST)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while not waiting[0].done():
            await _arrive(turns, 0.01, waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_short_work_that_waits_begins_in_few_turns() -> None:
    async def turns_needed() -> int:
        turns, needed = Turns(), 0
        assert turns.has_time()
        tasks = [asyncio.create_task(turns.wait(f"caller {number}")) for number in range(200)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            needed += 1
        return needed

    # A busy machine interrupts a turn, whose time is then over.
    assert min([await turns_needed() for _ in range(10)]) <= 30


async def test_work_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    turns, done = Turns(), list[str]()
    burst = _burst(turns, 0.001, done)
    await asyncio.sleep(0)
    for task in burst:
        task.cancel()
    await asyncio.gather(*burst, return_exceptions=True)
    async with asyncio.timeout(30):
        await turns.wait("modest")
    assert len(done) < _BURST / 4


async def test_a_message_that_takes_long_is_followed_by_a_pause() -> None:
    turns = MessageTurns()
    await turns.take()
    ends = perf_counter() + 0.05
    while perf_counter() < ends:
        pass
    await turns.take()
    assert perf_counter() - ends > 0.03


async def test_messages_that_are_decoded_quickly_wait_for_no_pause() -> None:
    turns = MessageTurns()
    async with asyncio.timeout(30):
        await asyncio.gather(*(turns.take() for _ in range(20)))


async def test_a_stream_of_small_messages_gives_way_when_the_turn_is_over() -> None:
    turns = Turns()
    pace, ends = Pace(turns), perf_counter() + 5
    while not pace.must_wait(0):
        assert perf_counter() < ends
    assert not turns.has_time()


async def test_a_stream_reads_on_while_the_turn_has_time() -> None:
    pace = Pace(Turns())
    for _ in range(_BURST):
        assert not pace.must_wait(100_000)
        await asyncio.sleep(0)
