"""Commands that read a key and write it: again, as long as others change it in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from prism.adapters.resp.errors import KeyChanged
from prism.ports import Entry, Lifetime, VersionConflict

if TYPE_CHECKING:
    from prism.adapters.resp.session import Backend

ATTEMPTS = 64
"""Attempts before the command gives up. In each round of a race one of the writers succeeds."""

_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_AT_ONCE = 3


class Write(NamedTuple):
    """What an update writes.

    Attributes:
        keeps_ttl: whether the key keeps the ttl that it has.
        ttl: ttl of the key otherwise; None: none.
    """

    value: bytes
    keeps_ttl: bool = True
    ttl: timedelta | None = None


class Delete(NamedTuple):
    """The update deletes the key."""


Change = Callable[[Entry | None], Write | Delete | None]
"""Returns what to write, given what the key holds; None: nothing."""


async def update(gateway: Backend, key: str, change: Change) -> Entry | None:
    """Read a key and write what follows from it, as one step; return what was read.

    Raises:
        KeyChanged: others were faster each time.
    """
    for attempt in range(ATTEMPTS):
        entry = await gateway.get(key)
        write = change(entry)
        if write is None:
            return entry
        try:
            if isinstance(write, Delete):
                if entry is not None:
                    await gateway.compare_and_delete(key, expected=entry.version)
                return entry
            ttl = write.ttl
            if write.keeps_ttl and entry is not None and entry.expires_at_ms is not None:
                lifetime = await gateway.ttl(key)
                if lifetime is None:
                    continue
                ttl = lifetime.remaining
            await gateway.compare_and_set(
                key, write.value, expected=None if entry is None else entry.version, ttl=ttl
            )
        except VersionConflict:
            await pause(attempt)
        else:
            return entry
    raise KeyChanged(
        f"the key was changed by others {ATTEMPTS} times while this command was about to write "
        "it: try again; nothing was written"
    )


async def pause(attempt: int) -> None:
    """Let others finish before the next attempt."""
    if attempt >= _AT_ONCE:
        longest = min(_PAUSE_S * 2 ** (attempt - _AT_ONCE), _LONGEST_PAUSE_S)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311  (no secret)


def milliseconds(lifetime: Lifetime | None) -> int:
    """Return the time left as PTTL does: -2 if there is no key, -1 if it does not expire."""
    if lifetime is None:
        return -2
    if lifetime.remaining is None:
        return -1
    return lifetime.remaining // timedelta(milliseconds=1)
