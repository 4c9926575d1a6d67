import random

import pytest

from prism.adapters.memstore import MemstoreSettings
from prism.adapters.memstore.expiry import TimingWheel
from prism.adapters.memstore.store import SHARDS, Store

HOUR_MS = 3_600_000


class Times:
    """Timing wheel with its clock and the deadlines of its keys."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000
        self.deadlines: dict[str, int] = {}
        self.wheel = TimingWheel(lambda: self.now, self.deadlines.__getitem__, SHARDS)

    def add(self, key: str, ttl_ms: int) -> None:
        self.deadlines[key] = self.now + ttl_ms
        self.wheel.add(key, self.deadlines[key])

    def remove(self, key: str) -> None:
        self.wheel.remove(key, self.deadlines.pop(key))

    def take_all_due(self) -> set[str]:
        due: set[str] = set()
        while self.wheel.behind():
            due.update(self.wheel.take_due(7))
        while more := self.wheel.take_due_now(7):
            due.update(more)
        return due


@pytest.fixture
def times() -> Times:
    return Times()


def records(wheel: TimingWheel) -> int:
    return sum(
        len(list(level.keys(slot))) for level in (wheel._near, wheel._far) for slot in level._slots
    )


@pytest.mark.parametrize("ttl_ms", [1, 63, 64, 65_535, 65_536, 200_000, HOUR_MS, 1000 * HOUR_MS])
def test_a_key_is_due_at_its_deadline_and_not_before(times: Times, ttl_ms: int) -> None:
    times.add("k", ttl_ms)
    times.now += ttl_ms - 1
    assert times.take_all_due() == set()
    times.now += 1
    assert times.take_all_due() == {"k"}
    assert len(times.wheel) == 0


def test_take_due_returns_at_most_its_limit(times: Times) -> None:
    for i in range(1000):
        times.add(str(i), 100 + i % 5)
    times.now += 1000
    assert 0 < len(times.wheel.take_due(500)) <= 500


def test_rewriting_one_key_leaves_one_record(times: Times) -> None:
    for ttl_ms in range(HOUR_MS, HOUR_MS + 100_000):
        times.add("k", ttl_ms)
        times.remove("k")
        times.now += 1
    times.add("k", HOUR_MS)
    assert records(times.wheel) == 1
    assert len(times.wheel._near._slots) + len(times.wheel._far._slots) == 1


def test_a_key_has_at_most_one_record_after_many_changes() -> None:
    now = 1_700_000_000_000
    store = Store(MemstoreSettings(), lambda: now)
    for i in range(30_000):
        now += i % 2
        store.write("k", b"", now + HOUR_MS + i)
        store.expire("k", now + HOUR_MS - i)
        store.expire("k", None)
        store.write("k", b"", now + 1000)
    assert records(store._wheel) == store.expiring == 1
    store.remove("k")
    assert records(store._wheel) == store.expiring == 0


def test_an_empty_wheel_skips_the_time_that_passed(times: Times) -> None:
    times.now += 10_000 * HOUR_MS
    times.add("k", 1)
    times.now += 64
    steps = 0
    while times.wheel.behind():
        times.wheel.take_due(64)
        steps += 1
    assert steps < 10


@pytest.mark.parametrize("seed", range(5))
def test_random_operations_return_each_key_once_and_in_time(times: Times, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5000):
        key = str(rng.randrange(300))
        match rng.randrange(4):
            case 0 | 1:
                if key in times.deadlines:
                    times.remove(key)
                times.add(key, rng.choice([1, 50, 5_000, 70_000, 300_000]) + rng.randrange(50))
            case 2 if key in times.deadlines:
                times.remove(key)
            case _:
                times.now += rng.choice([0, 1, 30, 700, 40_000])
                for taken in times.wheel.take_due(rng.randrange(100)):
                    assert times.deadlines.pop(taken) <= times.now
        if rng.randrange(10) == 0:
            due = {k for k, deadline in times.deadlines.items() if deadline <= times.now}
            assert times.take_all_due() == due
            for taken in due:
                del times.deadlines[taken]
        assert records(times.wheel) == len(times.wheel) == len(times.deadlines)
