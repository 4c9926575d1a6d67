from datetime import timedelta

import pytest

from prism.adapters.memstore import Memstore
from prism.ports import INT64_MAX, INT64_MIN, Lifetime, PreconditionFailed


async def test_an_increment_counts_from_zero_and_keeps_the_ttl(memstore: Memstore) -> None:
    assert (await memstore.increment("n", -2)).value == -2
    await memstore.expire("n", timedelta(seconds=9))
    count = await memstore.increment("n", 12)
    entry = await memstore.get("n")
    assert entry is not None
    assert (entry.value, entry.version) == (b"10", count.version)
    assert await memstore.ttl("n") == Lifetime(timedelta(seconds=9))


@pytest.mark.parametrize("stored", [b"", b"01", b"%d" % (INT64_MAX + 1)])
async def test_a_value_that_is_not_a_canonical_int64_stays(
    memstore: Memstore, stored: bytes
) -> None:
    version = await memstore.set("n", stored)
    with pytest.raises(PreconditionFailed, match="canonical"):
        await memstore.increment("n")
    assert await memstore.get("n") == (stored, version, None)


async def test_a_value_stays_when_the_sum_leaves_int64(memstore: Memstore) -> None:
    version = await memstore.set("n", b"%d" % INT64_MIN)
    with pytest.raises(PreconditionFailed, match="does not fit"):
        await memstore.increment("n", -1)
    assert await memstore.get("n") == (b"%d" % INT64_MIN, version, None)
