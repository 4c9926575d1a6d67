"""Group Batch: its limits."""

from __future__ import annotations

import pytest

from prism.ports import Capability, Entry, Exhausted, InvalidArgument, Outcome, Put
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import NOT_REACHABLE, Group, group


@group(Capability.BATCH)
class BatchLimits(Group):
    """Beyond a limit a request is refused whole; an item fails alone."""

    async def test_as_many_items_as_the_limit_allows(self, backend: Backend, prefix: str) -> None:
        kv = backend.kv
        keys = [f"{prefix}{number}" for number in range(backend.profile.limits.max_batch_items)]
        versions = await kv.set_many([Put(key, key.encode()) for key in keys])
        assert [outcome for outcome in versions if not isinstance(outcome, int)] == []
        entries = await kv.get_many(keys)
        found = [entry.value.decode() for entry in entries if isinstance(entry, Entry)]
        assert found == keys
        assert await kv.delete_many(keys) == [True] * len(keys)

    async def test_too_many_items_are_refused_whole(self, backend: Backend, prefix: str) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_batch_items
        keys = [f"{prefix}{number}" for number in range(limit + 1)]
        await kv.set(keys[0], b"before")
        with pytest.raises(InvalidArgument) as refusal:
            await kv.set_many([Put(key, b"after") for key in keys])
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(InvalidArgument):
            await kv.get_many(keys)
        with pytest.raises(InvalidArgument):
            await kv.delete_many(keys)
        first = await kv.get(keys[0])
        assert first is not None
        assert first.value == b"before"
        assert await kv.exists(keys[-1]) is False

    async def test_as_many_bytes_as_the_limit_allows(self, backend: Backend, prefix: str) -> None:
        puts = _puts_of(backend, prefix, backend.profile.limits.max_batch_bytes)
        versions = await backend.kv.set_many(puts)
        assert [outcome for outcome in versions if not isinstance(outcome, int)] == []
        assert await backend.kv.delete_many([put.key for put in puts]) == [True] * len(puts)

    async def test_too_many_bytes_are_refused_whole(self, backend: Backend, prefix: str) -> None:
        puts = _puts_of(backend, prefix, backend.profile.limits.max_batch_bytes + 1)
        with pytest.raises(InvalidArgument) as refusal:
            await backend.kv.set_many(puts)
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert [put.key for put in puts if await backend.kv.exists(put.key)] == []

    async def test_bytes_are_counted_as_utf_8(self, backend: Backend, prefix: str) -> None:
        # As characters these keys would be within the limit.
        wide = Put(prefix + "🔑" * 200, b"")
        room = backend.profile.limits.max_batch_bytes - len(wide.key.encode()) + 1
        puts = [*_puts_of(backend, prefix, room), wide]
        with pytest.raises(InvalidArgument):
            await backend.kv.set_many(puts)
        assert [put.key for put in puts if await backend.kv.exists(put.key)] == []

    async def test_a_value_over_the_limit_fails_alone(self, backend: Backend, prefix: str) -> None:
        kv, limits = backend.kv, backend.profile.limits
        if limits.max_value_bytes + 1024 > limits.max_batch_bytes:
            pytest.skip(f"{NOT_REACHABLE}a value over the limit is over that of a batch, too")
        one, large, two = (f"{prefix}{name}" for name in ("one", "large", "two"))
        outcomes = await kv.set_many(
            [Put(one, b"1"), Put(large, bytes(limits.max_value_bytes + 1)), Put(two, b"2")]
        )
        assert isinstance(outcomes[1], InvalidArgument)
        assert [await kv.exists(key) for key in (one, large, two)] == [True, False, True]

    async def test_what_does_not_fit_the_reply_can_be_asked_for_again(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limits = backend.kv, backend.profile.limits
        size = min(limits.max_value_bytes, limits.max_batch_bytes // 3)
        count = 2 * limits.max_batch_bytes // size + 1
        expected = {f"{prefix}{number}": bytes([number]) * size for number in range(count)}
        for key, value in expected.items():
            await kv.set(key, value)
        found: dict[str, bytes] = {}
        rounds = 0
        while missing := [key for key in expected if key not in found]:
            rounds += 1
            outcomes = await kv.get_many(missing)
            before = len(found)
            for key, outcome in zip(missing, outcomes, strict=True):
                if isinstance(outcome, Entry):
                    found[key] = outcome.value
                else:
                    assert isinstance(outcome, Exhausted), f"{key}: {outcome!r}"
            assert len(found) > before, "no item fits"
        await kv.delete_many(list(expected))
        assert found == expected
        assert rounds > 1, "a reply may not hold twice its budget"


def _puts_of(backend: Backend, prefix: str, size: int) -> list[Put]:
    """Items of so many bytes, keys and values together."""
    limit = backend.profile.limits.max_value_bytes
    puts: list[Put] = []
    while size:
        key = f"{prefix}{len(puts):04}"
        room = size - len(key)
        # The rest of the bytes must not be fewer than one more key has.
        length = room if room <= limit else min(limit, room - len(key))
        puts.append(Put(key, bytes(length)))
        size = room - length
    return puts
