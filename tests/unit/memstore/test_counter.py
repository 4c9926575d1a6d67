from datetime import timedelta

import pytest

from prism.adapters.memstore import Memstore
from prism.ports import Lifetime, PreconditionFailed

MAX, MIN = 2**63 - 1, -(2**63)


async def test_an_increment_counts_from_zero_and_keeps_the_ttl(memstore: Memstore) -> None:
    assert (await memstore.increment("n", -2)).value == -2
    await memstore.expire("n", timedelta(seconds=9))
    count = await memstore.increment("n", 12)
    entry = await memstore.get("n")
    assert entry is not None
    assert (entry.value, entry.version) == (b"10", count.version)
    assert await memstore.ttl("n") == Lifetime(timedelta(seconds=9))


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"-0", b"01", b"+1", b" 1", b"1\n", b"1_0", b"1.0", b"x", "\u0661".encode(),
        str(MAX + 1).encode(), str(MIN - 1).encode(), b"1" * 5000,
    ],
)  # fmt: skip
async def test_what_is_not_a_canonical_int64_is_refused(memstore: Memstore, stored: bytes) -> None:
    version = await memstore.set("n", stored)
    with pytest.raises(PreconditionFailed) as refusal:
        await memstore.increment("n")
    assert refusal.value.reason == "NOT_AN_INTEGER"
    assert await memstore.get("n") == (stored, version, None)


@pytest.mark.parametrize(("start", "delta"), [(MAX, 1), (MIN, -1), (1, MAX), (-1, MIN)])
async def test_a_sum_beyond_int64_is_refused(memstore: Memstore, start: int, delta: int) -> None:
    await memstore.set("n", b"%d" % start)
    with pytest.raises(PreconditionFailed) as refusal:
        await memstore.increment("n", delta)
    assert refusal.value.reason == "OVERFLOW"
    entry = await memstore.get("n")
    assert entry is not None
    assert entry.value == b"%d" % start


async def test_the_ends_of_int64_are_reached(memstore: Memstore) -> None:
    assert (await memstore.increment("n", MAX)).value == MAX
    assert (await memstore.increment("m", MIN)).value == MIN
    assert (await memstore.increment("m", MAX)).value == -1
