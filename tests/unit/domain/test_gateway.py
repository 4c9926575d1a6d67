"""Rules that the gateway adds to a driver; the acceptance suite tests the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from prism.domain.batches import call_with_valid
from prism.ports import (
    Capability,
    Entry,
    Exhausted,
    FullKeyValue,
    InvalidArgument,
    Limits,
    NotServing,
    PrismError,
    Put,
    Unsupported,
)
from prism.testing.suite.operations import SAMPLES, SampleCall

TTL = timedelta(seconds=1)


async def set_with_ttl(gateway: FullKeyValue, key: str) -> object:
    return await gateway.set(key, b"", ttl=TTL)


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        pytest.param(sample.spec.capability, sample.call, id=sample.name)
        for sample in SAMPLES
        if sample.spec.capability is not None
    ]
    + [pytest.param(Capability.TTL, set_with_ttl, id="set with a ttl")],
)
async def test_an_undeclared_capability_is_refused_and_changes_nothing(
    build: Any, capability: Capability, call: SampleCall
) -> None:
    assembly = build()
    await assembly.run()
    assembly.driver.declared = frozenset(Capability) - {capability}
    with pytest.raises(Unsupported, match=f"does not offer {capability}"):
        await call(assembly.gateway, "k")
    assert await assembly.gateway.get("k") is None
    assert assembly.admission.in_flight == 0


async def test_a_batch_item_with_an_undeclared_ttl_fails_alone(build: Any) -> None:
    assembly = build()
    await assembly.run()
    assembly.driver.declared = frozenset(Capability) - {Capability.TTL}
    good, bad = await assembly.gateway.set_many([Put("a", b"1"), Put("b", b"2", TTL)])
    assert isinstance(good, int)
    assert isinstance(bad, Unsupported)
    assert await assembly.gateway.get("b") is None


async def test_the_smaller_of_both_limits_applies(build: Any) -> None:
    assembly = build(Limits(max_value_bytes=10, max_batch_items=5000))
    await assembly.run()
    assert assembly.gateway.profile.limits.max_value_bytes == 10
    assert assembly.gateway.profile.limits.max_batch_items == 1000
    with pytest.raises(InvalidArgument, match="11 bytes; the limit is 10"):
        await assembly.gateway.set("k", b"x" * 11)


async def test_only_values_that_do_not_fit_the_reply_fail(build: Any) -> None:
    assembly = build(Limits(max_batch_bytes=200))
    await assembly.run()
    for key, size in (("a", 100), ("b", 100), ("c", 10)):
        await assembly.gateway.set(key, b"x" * size)
    first, second, third = await assembly.gateway.get_many(["a", "b", "c"])
    assert isinstance(first, Entry)
    assert isinstance(second, Exhausted)
    assert isinstance(third, Entry)


@pytest.mark.parametrize(
    ("keys", "says"), [(["k"] * 4, "4 items; the limit is 3"), (["x" * 101] * 2, "202 bytes")]
)
async def test_a_batch_above_a_limit_is_refused_as_a_whole(
    build: Any, keys: list[str], says: str
) -> None:
    assembly = build(Limits(max_batch_items=3, max_batch_bytes=200))
    await assembly.run()
    await assembly.gateway.set(keys[0], b"")
    with pytest.raises(InvalidArgument, match=says):
        await assembly.gateway.delete_many(keys)
    assert await assembly.gateway.exists(keys[0])


async def test_errors_of_bad_items_are_in_request_order(build: Any) -> None:
    assembly = build()
    await assembly.run()
    outcomes = await assembly.gateway.set_many([Put("", b""), Put("a", b"1"), Put("\ud800", b"")])
    kinds = [isinstance(outcome, PrismError) for outcome in outcomes]
    assert kinds == [True, False, True]


async def test_an_empty_batch_has_no_outcomes(build: Any) -> None:
    assembly = build()
    await assembly.run()
    assert await assembly.gateway.get_many([]) == []


async def test_outcomes_of_a_batch_without_errors_are_not_copied() -> None:
    outcomes: list[Entry | PrismError | None] = [None]

    async def get_many(keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return outcomes

    assert await call_with_valid(get_many, ["a"], {}) is outcomes


async def test_the_profile_is_refused_before_the_start(build: Any) -> None:
    assembly = build()
    with pytest.raises(NotServing, match="not started"):
        assembly.gateway.describe()
    await assembly.run()
    assert assembly.gateway.describe() == assembly.gateway.profile


async def test_a_page_is_within_our_own_limit_on_bytes(build: Any) -> None:
    assembly = build(Limits(max_batch_bytes=1000, max_value_bytes=400))
    await assembly.run()
    for number in range(20):
        await assembly.gateway.set(f"k{number:02}", b"x" * 300)
    found: list[str] = []
    token = ""
    while True:
        page = await assembly.gateway.scan("k", page_size=20, page_token=token, values=True)
        assert page.entries is not None
        assert 1 <= len(page.entries) <= 3
        found.extend(page.keys)
        token = page.next_token
        if not token:
            break
    assert found == [f"k{number:02}" for number in range(20)]


async def test_a_batch_item_above_our_own_value_limit_fails(build: Any) -> None:
    assembly = build(Limits(max_value_bytes=10))
    await assembly.run()
    good, bad = await assembly.gateway.set_many([Put("a", b"x" * 10), Put("b", b"x" * 11)])
    assert isinstance(good, int)
    assert isinstance(bad, InvalidArgument)
