"""Read, then write on the condition that nobody else did in between; again if so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.records import Record
from prism.ports import BackendTimeout, Outcome, PrismError, VersionConflict

ResultT = TypeVar("ResultT")

Write = Callable[[Record], Awaitable[ResultT]]


class Rewriting:
    """Changes to keys that depend on what these hold.

    Within the process one at a time for each key: racing costs each loser two round
    trips, waiting none.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def change(self, bucket: Bucket, key: str, write: Write[ResultT]) -> ResultT:
        """What `write` answers, once it is not overtaken.

        Args:
            write: gets the last record under the key, and raises VersionConflict when
                that is no longer the last.

        Raises:
            BackendTimeout: not within the timeout; not applied unless it was writing.
        """
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        writing = False
        try:
            async with asyncio.timeout(self._timeout_s), lock:
                while True:
                    record = await _read(bucket, key)
                    writing = True
                    try:
                        return await write(record)
                    except VersionConflict:
                        writing = False
        except TimeoutError:
            raise BackendTimeout(
                f"{bucket.link.address} did not get to it within {self._timeout_s:g} s",
                outcome=Outcome.UNKNOWN if writing else Outcome.NOT_APPLIED,
            ) from None


async def _read(bucket: Bucket, key: str) -> Record:
    try:
        return await bucket.read(key)
    except PrismError as error:
        # It would have been a write, and was none yet.
        error.outcome = Outcome.NOT_APPLIED
        raise
