"""How many keys become batches, and what a failure on the way means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prism.adapters.client.conveniences import entries_of, in_batches, size_of_key
from prism.ports import (
    BackendUnavailable,
    Entry,
    Exhausted,
    Limits,
    Outcome,
    PrismError,
    Version,
)

LIMITS = Limits(max_batch_items=3, max_batch_bytes=10)


class Calls:
    """Records each batch, and fails when the test asks for it."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.batches: list[Sequence[str]] = []
        self.fails_at = fails_at

    async def call(self, batch: Sequence[str]) -> list[bool | PrismError]:
        self.batches.append(batch)
        if len(self.batches) - 1 == self.fails_at:
            raise BackendUnavailable("it broke", outcome=Outcome.UNKNOWN)
        return [True] * len(batch)


async def test_batches_are_within_both_limits() -> None:
    calls = Calls()
    items = ["a", "b", "c", "d", "eeeeeeeee", "f", "g", "h" * 20, "i", "ä" * 5, "j"]
    assert await in_batches(calls.call, items, size_of_key, LIMITS) == [True] * len(items)
    assert calls.batches == [
        ["a", "b", "c"],
        ["d", "eeeeeeeee"],
        ["f", "g"],
        ["h" * 20],
        ["i"],
        ["ä" * 5],
        ["j"],
    ]


async def test_item_that_is_too_large_is_a_batch_of_its_own_even_if_it_comes_first() -> None:
    calls = Calls()
    items = ["h" * 20, "a", "b"]
    assert await in_batches(calls.call, items, size_of_key, LIMITS) == [True] * 3
    assert calls.batches == [["h" * 20], ["a", "b"]]


async def test_failure_of_the_first_batch_is_raised() -> None:
    with pytest.raises(BackendUnavailable):
        await in_batches(Calls(0).call, list("abcdefgh"), size_of_key, LIMITS)


async def test_failure_of_a_later_batch_is_an_outcome_and_the_rest_is_not_sent() -> None:
    calls = Calls(1)
    outcomes = await in_batches(calls.call, list("abcdefgh"), size_of_key, LIMITS)
    assert outcomes[:3] == [True] * 3
    told = [each.outcome for each in outcomes if isinstance(each, PrismError)]
    assert told == [Outcome.UNKNOWN] * 3 + [Outcome.NOT_APPLIED] * 2
    assert len(calls.batches) == 2


async def test_what_does_not_fit_is_asked_for_again_until_nothing_fits() -> None:
    asked: list[list[str]] = []

    async def call(keys: Sequence[str]) -> list[Entry | PrismError | None]:
        asked.append(list(keys))
        room = iter([True])
        return [
            Exhausted("no room")
            if key == "huge" or not next(room, False)
            else Entry(key.encode(), Version(1))
            for key in keys
        ]

    outcomes = await entries_of(call, ["a", "huge", "b", "c"])
    values = [each.value if isinstance(each, Entry) else None for each in outcomes]
    assert values == [b"a", None, b"b", b"c"]
    assert isinstance(outcomes[1], Exhausted)
    assert asked == [["a", "huge", "b", "c"], ["huge", "b", "c"], ["huge", "c"], ["huge"]]
