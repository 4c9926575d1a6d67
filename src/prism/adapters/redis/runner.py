"""Runs operations: sends their commands, and reads results or errors out of the replies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

from redis.exceptions import NoScriptError

from prism.adapters.redis import operations
from prism.adapters.redis.executor import Executor, Request
from prism.adapters.redis.failures import translate
from prism.adapters.redis.operations import Operation, Reply, Torn
from prism.adapters.redis.scripts import loads_of
from prism.ports import Entry, Exhausted, PrismError

Result = TypeVar("Result")


class Runner:
    """Operations on an executor.

    Args:
        backend: what errors call it, without credentials.
    """

    def __init__(self, executor: Executor, backend: str) -> None:
        self._executor = executor
        self._backend = backend

    async def run(self, operation: Operation[Result]) -> Result:
        """The result.

        Raises:
            PrismError: what decoding raises, or what the failure amounts to.
        """
        request = Request(operation.key, operation.commands)
        replies = await self._executor.send(request, repeatable=not operation.writes)
        for reply in replies:
            if isinstance(reply, NoScriptError):
                # Not run, so not applied: the server was restarted, and forgot.
                return await self._run_loaded(operation)
        return self._result(operation, replies)

    async def _run_loaded(self, operation: Operation[Result]) -> Result:
        loads = loads_of(operation.commands)
        request = Request(operation.key, loads + operation.commands)
        replies = await self._executor.send(request, repeatable=not operation.writes)
        return self._result(operation, replies[len(loads) :])

    async def run_many(self, batch: Sequence[Operation[Result]]) -> list[Result | PrismError]:
        """The results in order, each its own: an error is one of them."""
        if not batch:
            return []
        replies = await self._executor.send_many(
            [Request(operation.key, operation.commands) for operation in batch],
            loads=loads_of(tuple(chain.from_iterable(each.commands for each in batch))),
            repeatable=not any(operation.writes for operation in batch),
        )
        outcomes: list[Result | PrismError] = []
        for operation, each in zip(batch, replies, strict=True):
            try:
                outcomes.append(self._result(operation, each))
            except PrismError as error:
                outcomes.append(error)
        return outcomes

    async def get(self, key: bytes) -> Entry | None:
        """The entry, its expiry that of its value."""
        found = await self.run(operations.get(key))
        if isinstance(found, Torn):
            return await self.run(operations.get_at_once(key))
        return found

    async def get_many(
        self, keys: Sequence[bytes], *, room: int, largest: int
    ) -> list[Entry | PrismError | None]:
        """The entries, of which `room` bytes of values are fetched at most.

        Args:
            largest: bytes of any value that Prism wrote. Where all of them fit,
                nothing is measured first.
        """
        outcomes: list[Entry | PrismError | None] = [None] * len(keys)
        wanted = list(range(len(keys)))
        if len(keys) * largest > room:
            wanted = []
            sizes = await self.run_many([operations.size(key) for key in keys])
            for index, size in enumerate(sizes):
                if isinstance(size, PrismError):
                    outcomes[index] = size
                elif size > room:
                    outcomes[index] = Exhausted("does not fit this reply: ask for it again")
                else:
                    room -= size
                    wanted.append(index)
        found = await self.run_many([operations.get(keys[index]) for index in wanted])
        for index, outcome in zip(wanted, found, strict=True):
            if isinstance(outcome, Torn):
                (outcome,) = await self.run_many([operations.get_at_once(keys[index])])
            outcomes[index] = outcome
        return outcomes

    def _result(self, operation: Operation[Result], replies: Sequence[Reply]) -> Result:
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, self._backend)
        return operation.decode(replies)
