"""The operation runner with replies that real servers seldom give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from redis.exceptions import OutOfMemoryError

from prism.adapters.redis import operations
from prism.adapters.redis.executor import Executor, OperationRunner, send_batch
from prism.adapters.redis.operations import Command, Operation, Reply
from prism.ports import Entry, Exhausted


class FakeExecutor:
    """Gives prepared replies, in order, and records the commands."""

    def __init__(self, *replies: list[Reply]) -> None:
        self._replies = list(replies)
        self.sent: list[tuple[Command, ...]] = []

    async def send(
        self, key: bytes, commands: tuple[Command, ...], *, retryable: bool
    ) -> list[Reply]:
        self.sent.append(commands)
        return self._replies.pop(0)

    async def send_many(self, batch: Sequence[Operation[object]]) -> list[list[Reply]]:
        return [self._replies.pop(0) for _ in batch]


class FakeServer:
    """Answers 1 to every command, and records the commands."""

    name = "here"

    def __init__(self) -> None:
        self.sent: list[Sequence[Command]] = []

    async def send(self, commands: Sequence[Command], *, retryable: bool) -> list[Reply]:
        self.sent.append(commands)
        return [1] * len(commands)


def runner(executor: FakeExecutor) -> OperationRunner:
    # The runner uses no other method of an executor.
    return OperationRunner(cast("Executor", executor), "here")


async def test_torn_read_is_repeated_by_a_script() -> None:
    executor = FakeExecutor([-1, b"old", 5000], [[b"new", 5000]])
    entry = await runner(executor).get(b"key")
    assert entry == Entry(b"new", operations.version_of(b"new"), 5000)
    assert [command[0] for command in executor.sent[1]] == ["EVALSHA"]


async def test_torn_read_in_a_batch_is_repeated_by_a_script() -> None:
    executor = FakeExecutor([-1, b"whole", -1], [-1, b"old", 5000], [[b"new", 5000]])
    outcomes = await runner(executor).get_many([b"a", b"b"], byte_budget=1000, max_value_bytes=10)
    found = [outcome.value for outcome in outcomes if isinstance(outcome, Entry)]
    assert found == [b"whole", b"new"]


async def test_key_that_appears_during_a_get_is_absent() -> None:
    assert await runner(FakeExecutor([-2, None, 5000])).get(b"key") is None


async def test_batch_loads_each_script_once() -> None:
    server = FakeServer()
    batch = [operations.delete(b"a"), operations.delete(b"b")]
    assert await send_batch(server, batch, retryable=False) == [[1], [1]]
    (commands,) = server.sent
    assert [command[0] for command in commands] == ["SCRIPT", "EVALSHA", "EVALSHA"]


async def test_failed_item_does_not_affect_the_others() -> None:
    executor = FakeExecutor([1], [OutOfMemoryError("command not allowed")], [1])
    batch = [operations.delete(name) for name in (b"a", b"b", b"c")]
    outcomes = await runner(executor).run_many(batch)
    assert [type(outcome) for outcome in outcomes] == [bool, Exhausted, bool]
