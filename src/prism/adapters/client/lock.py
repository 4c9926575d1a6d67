"""A lock: a key that one caller at a time creates, and that expires if its holder dies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.server import jittered
from prism.adapters.wire.keyvalue_messages import seconds_of
from prism.ports import Outcome, PrismError, Version, VersionConflict

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5
_OWNER_BYTES = 16


class Lock:
    """A lock that is held.

    Attributes:
        key: its key.
        version: version of that key while the lock is held, and never with another holder. A
            transaction with the condition that the key has this version writes nothing once the
            lock is lost.
    """

    def __init__(self, kv: KeyValueClient, key: str, version: Version, ttl: timedelta) -> None:
        self._kv = kv
        self._ttl = ttl
        self.key = key
        self.version = version

    async def renew(self) -> None:
        """Hold the lock for its whole ttl from now on.

        Raises:
            VersionConflict: it has expired, and was not renewed.
        """
        if not await self._kv.expire(self.key, self._ttl):
            raise _lost(self.key)
        # The key may be another holder's by now; a longer ttl does not harm that one.
        entry = await self._kv.get(self.key)
        if entry is None or entry.version != self.version:
            raise _lost(self.key)

    async def release(self) -> None:
        """Let others have the lock.

        Raises:
            VersionConflict: it had expired.
        """
        try:
            await self._kv.compare_and_delete(self.key, expected=self.version)
        except VersionConflict:
            raise _lost(self.key) from None


@asynccontextmanager
async def locked(
    kv: KeyValueClient, key: str, ttl: timedelta, wait: timedelta | None
) -> AsyncIterator[Lock]:
    """Hold a lock for as long as the context lasts, at most `ttl` without `Lock.renew`."""
    lock = Lock(kv, key, await _acquired(kv, key, ttl, wait), ttl)
    try:
        yield lock
    except BaseException:
        # It expires by itself, and the first error says more.
        with suppress(PrismError):
            await lock.release()
        raise
    await lock.release()


async def _acquired(
    kv: KeyValueClient, key: str, ttl: timedelta, wait: timedelta | None
) -> Version:
    """Create the key, once nobody else has it; return its version."""
    loop = asyncio.get_running_loop()
    deadline = None if wait is None else loop.time() + seconds_of("wait", wait)
    owner = secrets.token_bytes(_OWNER_BYTES)
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await kv.compare_and_set(key, owner, expected=None, ttl=ttl)
        except VersionConflict:
            if deadline is not None and loop.time() >= deadline:
                raise VersionConflict(
                    f"somebody else holds the lock {key!r}", outcome=Outcome.NOT_APPLIED
                ) from None
        except PrismError as error:
            if error.outcome is not Outcome.UNKNOWN:
                raise
            entry = await kv.get(key)
            if entry is not None and entry.value == owner:
                return entry.version
            raise
        left_s = pause_s if deadline is None else max(0.0, deadline - loop.time())
        await asyncio.sleep(min(jittered(pause_s), left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _lost(key: str) -> VersionConflict:
    return VersionConflict(
        f"the lock {key!r} was lost: it expired before it was renewed or released",
        outcome=Outcome.NOT_APPLIED,
    )
