"""Batches of pairs on their way to a server, several at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from prism.cli.kv.batches import Batch, batches
from prism.cli.kv.patience import ends_everything, when_there_is_room
from prism.cli.kv.progress import Progress
from prism.cli.threads import in_thread
from prism.ports import Capability, Outcome, PrismError, Profile, Put

if TYPE_CHECKING:
    from prism import Client

_BATCHES_IN_FLIGHT = 4
# Where the backend takes pairs one by one only.
_SINGLES = 16
_SINGLES_IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class _Sent:
    batch: Batch
    task: asyncio.Task[None]


class Loader:
    """One run of `load`, and how far it came.

    Attributes:
        loaded: pairs that the server acknowledged.
        refused: lines that were reported.
        settled_line: every line up to here was loaded or reported.
    """

    def __init__(self, stream: BinaryIO, progress: Progress) -> None:
        self.loaded = 0
        self.refused = 0
        self.settled_line = 0
        self._unanswered = 0
        self._stream = stream
        self._progress = progress
        self._sent: deque[_Sent] = deque()
        self._window = _BATCHES_IN_FLIGHT

    async def run(self, client: Client) -> None:
        """Load the whole stream.

        Raises:
            PrismError: the server can take no more; the attributes tell how far it came.
        """
        profile = client.profile
        if not _has_batch(profile):
            profile = replace(profile, limits=replace(profile.limits, max_batch_items=_SINGLES))
            self._window = _SINGLES_IN_FLIGHT
        source = batches(self._stream, profile)
        try:
            while (batch := await in_thread(lambda: next(source, None))) is not None:
                for number, reason in batch.refused:
                    self._refuse(number, reason)
                while self._must_wait(batch):
                    await self._settle_oldest()
                task = asyncio.create_task(self._send(client, batch))
                self._sent.append(_Sent(batch, task))
            while self._sent:
                await self._settle_oldest()
        except PrismError:
            # What the others became is worth knowing, and each has its deadline.
            await self._finish()
            raise
        finally:
            for sent in self._sent:
                sent.task.cancel()
            await self._finish()

    def how_far(self) -> str:
        """For a run that was cut short."""
        told = f"{self.loaded:,} pairs were acknowledged"
        if self.settled_line:
            told += f", with them everything up to line {self.settled_line:,}"
        if self._unanswered:
            told += f"; {self._unanswered:,} more may or may not have been applied"
        return told

    def _must_wait(self, batch: Batch) -> bool:
        # Batches in flight may overtake one another, which only shows where they
        # have a key in common.
        return bool(self._sent) and (
            len(self._sent) >= self._window
            or self._sent[0].task.done()
            or any(not sent.batch.keys.isdisjoint(batch.keys) for sent in self._sent)
        )

    async def _settle_oldest(self) -> None:
        sent = self._sent[0]
        await sent.task
        self._sent.popleft()
        self.settled_line = sent.batch.last_line
        self._progress.show(sent.batch.end)

    async def _finish(self) -> None:
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)

    async def _send(self, client: Client, batch: Batch) -> None:
        if not batch.puts:
            return
        self._unanswered += len(batch.puts)
        outcomes = await self._outcomes(client, batch.puts)
        self._unanswered -= len(batch.puts)
        failures: list[PrismError] = []
        for number, outcome in zip(batch.numbers, outcomes, strict=True):
            if isinstance(outcome, PrismError):
                failures.append(outcome)
                self._refuse(number, _reason(outcome))
        self.loaded += len(outcomes) - len(failures)
        if len(failures) == len(outcomes) and all(map(ends_everything, failures)):
            raise failures[0]

    async def _outcomes(self, client: Client, puts: Sequence[Put]) -> Sequence[object]:
        try:
            return await _set_all(client, puts)
        except PrismError as error:
            if not ends_everything(error):
                return [error] * len(puts)
            if error.outcome is Outcome.NOT_APPLIED:
                self._unanswered -= len(puts)
            raise

    def _refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        self._progress.tell(f"line {number}: {reason}")


async def _set_all(client: Client, puts: Sequence[Put]) -> Sequence[object]:
    if len(puts) > 1 and _has_batch(client.profile):
        return await when_there_is_room(lambda: client.set_many(puts))
    # One by one: the same key may be among them twice.
    return [await _set_one(client, put) for put in puts]


async def _set_one(client: Client, put: Put) -> object:
    try:
        return await when_there_is_room(lambda: client.set(put.key, put.value, ttl=put.ttl))
    except PrismError as error:
        return error


def _has_batch(profile: Profile) -> bool:
    return Capability.BATCH in profile.capabilities


def _reason(error: PrismError) -> str:
    unknown = error.outcome is Outcome.UNKNOWN
    return f"{error.message}; it may or may not have been applied" if unknown else error.message
