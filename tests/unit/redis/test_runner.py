"""What is made of replies that real servers seldom give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from redis.exceptions import ClusterDownError, MovedError, NoScriptError, OutOfMemoryError

from prism.adapters.redis import operations
from prism.adapters.redis.executor import Request
from prism.adapters.redis.failures import NotSent, translate
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.runner import Runner
from prism.adapters.redis.scripts import Command
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Entry,
    Exhausted,
    Internal,
    Outcome,
    PrismError,
    Unauthenticated,
)


class Scripted:
    """An executor that gives the replies it was made with, in their order."""

    def __init__(self, *replies: list[Reply]) -> None:
        self._replies = list(replies)
        self.sent: list[tuple[Command, ...]] = []

    async def send(self, request: Request, *, repeatable: bool) -> list[Reply]:
        self.sent.append(request.commands)
        return self._replies.pop(0)

    async def send_many(
        self, requests: Sequence[Request], *, loads: Sequence[Command], repeatable: bool
    ) -> list[list[Reply]]:
        self.sent.append((*loads, *(command for each in requests for command in each.commands)))
        return [self._replies.pop(0) for _ in requests]


def runner(executor: Any) -> Runner:
    return Runner(executor, "here")


async def test_a_torn_get_is_asked_again_at_once() -> None:
    executor = Scripted([-1, b"old", 5000], [[b"new", 5000]])
    entry = await runner(executor).get(b"key")
    assert entry == Entry(b"new", operations.version_of(b"new"), 5000)
    assert [command[0] for command in executor.sent[1]] == ["EVALSHA"]


async def test_a_torn_item_is_asked_again_at_once() -> None:
    executor = Scripted([-1, b"whole", -1], [-1, b"old", 5000], [[b"new", 5000]])
    outcomes = await runner(executor).get_many([b"a", b"b"], room=1000, largest=10)
    found = [outcome.value for outcome in outcomes if isinstance(outcome, Entry)]
    assert found == [b"whole", b"new"]


async def test_a_key_that_appears_during_a_get_is_absent() -> None:
    assert await runner(Scripted([-2, None, 5000])).get(b"key") is None


async def test_a_batch_sends_its_scripts_along_once() -> None:
    executor = Scripted([1], [0])
    batch = [operations.delete(b"a"), operations.delete(b"b")]
    assert await runner(executor).run_many(batch) == [True, False]
    (commands,) = executor.sent
    assert [command[0] for command in commands] == ["SCRIPT", "EVALSHA", "EVALSHA"]


async def test_an_item_fails_alone() -> None:
    executor = Scripted([1], [OutOfMemoryError("command not allowed")], [1])
    batch = [operations.delete(name) for name in (b"a", b"b", b"c")]
    outcomes = await runner(executor).run_many(batch)
    assert [type(outcome) for outcome in outcomes] == [bool, Exhausted, bool]


@pytest.mark.parametrize(
    ("failure", "kind", "outcome"),
    [
        (redis.ConnectionError("gone"), BackendUnavailable, Outcome.UNKNOWN),
        (redis.TimeoutError("slow"), BackendTimeout, Outcome.UNKNOWN),
        (TimeoutError(), BackendTimeout, Outcome.UNKNOWN),
        (NotSent.because(redis.ConnectionError()), BackendUnavailable, Outcome.NOT_APPLIED),
        (NotSent.because(TimeoutError()), BackendTimeout, Outcome.NOT_APPLIED),
        (redis.BusyLoadingError("dataset"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ReadOnlyError("replica"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.AuthenticationError("password"), Unauthenticated, Outcome.NOT_APPLIED),
        (ClusterDownError("down"), BackendUnavailable, Outcome.NOT_APPLIED),
        (MovedError("1 one:7000"), BackendUnavailable, Outcome.NOT_APPLIED),
        (NoScriptError("none"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ResponseError("MISCONF no disk"), Exhausted, Outcome.NOT_APPLIED),
        (redis.ResponseError("NOREPLICAS"), BackendUnavailable, Outcome.NOT_APPLIED),
        (redis.ResponseError("ERR unknown command"), Internal, Outcome.NOT_APPLIED),
        (ZeroDivisionError(), Internal, Outcome.UNKNOWN),
    ],
)
def test_a_failure_says_what_became_of_the_write(
    failure: Exception, kind: type[PrismError], outcome: Outcome
) -> None:
    error = translate(failure, "here")
    assert (type(error), error.outcome) == (kind, outcome)


def test_a_refusal_does_not_quote_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    refusal = "ERR unknown command 'EVALSHA', with args beginning with: 'prism:key' 'hunter2'"
    assert "hunter2" not in translate(redis.ResponseError(refusal), "here").message
    assert "hunter2" not in caplog.text
