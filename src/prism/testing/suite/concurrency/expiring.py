"""Category 7: ttls under load."""

from __future__ import annotations

import asyncio
import time

from prism.ports import Capability, FullKeyValue
from prism.testing.suite.group import Group, group
from prism.testing.suite.timing import LONG, Clock
from prism.testing.suite.workload import gather_bounded, gather_or_cancel

KEYS = 40
_PAUSE_SECONDS = 0.005


@group(Capability.TTL)
class ExpiryUnderLoad(Group):
    """Expiry is exact, however many keys there are."""

    async def test_keys_set_at_once_with_different_ttls_keep_their_own(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        ttls = {
            f"{prefix}{number}": (clock.short, LONG, None)[number % 3] for number in range(KEYS)
        }
        await gather_bounded(kv.set(key, b"value", ttl=ttl) for key, ttl in ttls.items())
        await gather_or_cancel(
            *(clock.wait_for_expiry(kv, key) for key, ttl in ttls.items() if ttl == clock.short)
        )
        left = await gather_bounded(kv.exists(key) for key in ttls)
        assert left == [ttl != clock.short for ttl in ttls.values()]

    async def test_reads_while_keys_expire_see_them_alive_or_absent_and_in_time(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        async def live(key: str) -> None:
            asked = time.monotonic()
            await kv.set(key, key.encode(), ttl=clock.short)
            granted = time.monotonic()
            while True:
                begun = time.monotonic()
                entry = await kv.get(key)
                if entry is None:
                    early = asked + clock.earliest_expiry(clock.short) - time.monotonic()
                    assert early <= 0, f"lost {early:.3f} s before its expiry"
                    return
                assert entry.value == key.encode()
                late = begun - granted - clock.latest_expiry(clock.short)
                assert late <= 0, f"returned {late:.3f} s after its expiry"
                await asyncio.sleep(_PAUSE_SECONDS)

        await gather_or_cancel(*(live(f"{prefix}{number}") for number in range(KEYS)))

    async def test_a_key_that_is_renewed_under_load_never_goes_away(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"0", ttl=clock.short)
        end = time.monotonic() + 2 * clock.short.total_seconds()

        async def renew() -> None:
            while time.monotonic() < end:
                await kv.set(key, b"1", ttl=LONG)
                await asyncio.sleep(0)

        async def read() -> None:
            while time.monotonic() < end:
                assert await kv.exists(key) is True
                await asyncio.sleep(_PAUSE_SECONDS)

        await kv.set(key, b"1", ttl=LONG)
        await gather_or_cancel(renew(), *(read() for _ in range(4)))
