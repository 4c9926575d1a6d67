"""Keys listed and sorted, then read in batches, several at a time, and written in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from prism.cli.kv.json_lines import encode
from prism.cli.kv.patience import ends_everything, when_there_is_room
from prism.cli.kv.progress import Progress
from prism.cli.threads import in_thread, write_all
from prism.ports import Capability, Entry, Exhausted, Limits, PrismError, ScanExpired

if TYPE_CHECKING:
    from prism import Client

_PARTS_IN_FLIGHT = 4
_FIRST_SIZE = 100
_SCANS = 3

Outcome = Entry | PrismError | None


class _Part:
    """Some neighbours among the sorted keys; read from the moment it is started."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        self.task: asyncio.Task[Sequence[Outcome]] | None = None

    def start(self, client: Client) -> asyncio.Task[Sequence[Outcome]]:
        if self.task is None:
            self.task = asyncio.create_task(_read(client, self.keys))
        return self.task


class Dumper:
    """One run of `dump`, and how far it came.

    Attributes:
        dumped: pairs that were written.
        unread: keys that were reported because they could not be read.
    """

    def __init__(self, prefix: str, stream: BinaryIO, progress: Progress) -> None:
        self.dumped = 0
        self.unread = 0
        self._prefix = prefix
        self._stream = stream
        self._progress = progress
        self._parts: deque[_Part] = deque()
        # Of the next part; follows the size of the values.
        self._size = 1

    async def run(self, client: Client) -> None:
        """Dump everything under the prefix.

        Raises:
            PrismError: the server cannot be read any further.
        """
        self._size = min(_FIRST_SIZE, _most_keys(client.profile.limits))
        keys = sorted(await self._list(client))
        taken = done = 0
        try:
            while taken < len(keys) or self._parts:
                while taken < len(keys) and len(self._parts) < _PARTS_IN_FLIGHT:
                    self._parts.append(_Part(keys[taken : taken + self._size]))
                    taken += len(self._parts[-1].keys)
                for part in islice(self._parts, _PARTS_IN_FLIGHT):
                    part.start(client)
                done += await self._settle_first(client)
                self._progress.show(done, len(keys))
        finally:
            tasks = [part.task for part in self._parts if part.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, client: Client) -> set[str]:
        """Every key; in a set, since a scan may repeat some."""
        keys: set[str] = set()
        scans = 0
        token = ""
        while True:
            try:
                page = await client.scan(
                    self._prefix,
                    page_size=client.profile.limits.max_page_size,
                    page_token=token,
                )
            except ScanExpired:
                scans += 1
                if scans == _SCANS:
                    raise
                token = ""
                continue
            keys.update(page.keys)
            token = page.next_token
            if not token:
                return keys

    async def _settle_first(self, client: Client) -> int:
        """Write the first part, up to what did not fit; how many keys that was."""
        part = self._parts[0]
        outcomes = await part.start(client)
        self._parts.popleft()
        fitting = next(
            (at for at, outcome in enumerate(outcomes) if isinstance(outcome, Exhausted)),
            len(outcomes),
        )
        if fitting == 0:
            # A reply for one key may hold more than one of a batch.
            outcomes = [await _get(client, part.keys[0])]
            fitting = 1
        answered = outcomes[:fitting]
        data = await in_thread(lambda: self._encode(part.keys, answered))
        await in_thread(lambda: write_all(self._stream, data))
        self._resize(client, answered, whole=fitting == len(part.keys))
        self._put_back(part.keys[fitting:])
        return fitting

    def _encode(self, keys: Sequence[str], outcomes: Sequence[Outcome]) -> bytes:
        lines = []
        for key, outcome in zip(keys, outcomes, strict=False):
            if isinstance(outcome, Entry):
                lines.append(encode(key, outcome))
            elif isinstance(outcome, PrismError):
                self.unread += 1
                self._progress.tell(f"key {key!r}: {outcome.message}")
        self.dumped += len(lines)
        return b"".join(lines)

    def _resize(self, client: Client, answered: Sequence[Outcome], *, whole: bool) -> None:
        """Ask for as much as fits a reply, judging by this one."""
        limits = client.profile.limits
        size = sum(len(entry.value) for entry in answered if isinstance(entry, Entry))
        fits = limits.max_batch_bytes * len(answered) // (size + 1)
        wanted = 2 * self._size if whole else len(answered)
        self._size = max(1, min(wanted, fits, _most_keys(limits)))

    def _put_back(self, keys: Sequence[str]) -> None:
        parts = [_Part(keys[at : at + self._size]) for at in range(0, len(keys), self._size)]
        self._parts.extendleft(reversed(parts))


def _most_keys(limits: Limits) -> int:
    """That make a valid request, whatever their length."""
    return max(1, min(limits.max_batch_items, limits.max_batch_bytes // limits.max_key_bytes))


async def _read(client: Client, keys: Sequence[str]) -> Sequence[Outcome]:
    """One outcome a key; raises what is about the server and not about a key."""
    outcomes: Sequence[Outcome]
    if Capability.BATCH in client.profile.capabilities:
        outcomes = await when_there_is_room(lambda: client.get_many(keys))
    else:
        outcomes = await asyncio.gather(*(_get(client, key) for key in keys))
    for outcome in outcomes:
        if isinstance(outcome, PrismError) and ends_everything(outcome):
            raise outcome
    return outcomes


async def _get(client: Client, key: str) -> Outcome:
    try:
        return await when_there_is_room(lambda: client.get(key))
    except PrismError as error:
        return error
