"""The event loop of callers that block."""

from __future__ import annotations

import inspect

import pytest

from prism.adapters.client.background_loop import background_loop


async def fail() -> None:
    raise ZeroDivisionError


def test_caller_gets_the_error_of_its_coroutine() -> None:
    with pytest.raises(ZeroDivisionError):
        background_loop().call(fail())


def test_refused_call_begins_nothing_and_leaves_nothing_that_waits() -> None:
    refused = fail()

    async def call() -> None:
        with pytest.raises(RuntimeError, match="client's loop"):
            background_loop().call(refused)

    background_loop().call(call())
    assert inspect.getcoroutinestate(refused) == inspect.CORO_CLOSED
