"""How the lifecycle tests get a backend into the state they begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import BackendUnavailable, NotServing, State
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.group import NOT_REACHABLE
from prism.testing.suite.wrapper import DriverWrapper

LEADS_TO = {
    "initialize": State.INITIALIZED,
    "start": State.RUNNING,
    "drain": State.DRAINING,
    "stop": State.STOPPED,
}

_TIMEOUT = timedelta(seconds=10)


async def command(backend: Backend, name: str) -> Any:
    """Give one lifecycle command by its name."""
    lifecycle = backend.lifecycle
    match name:
        case "initialize":
            return await lifecycle.initialize(backend.settings)
        case "start":
            return await lifecycle.start()
        case "drain":
            return await lifecycle.drain(_TIMEOUT)
        case "stop":
            return await lifecycle.stop(_TIMEOUT)
    raise AssertionError(name)


async def bring(backend: Backend, state: State) -> None:
    """Lead the backend to a state further on, by its commands."""
    way = {
        State.CREATED: [],
        State.INITIALIZED: ["initialize"],
        State.RUNNING: ["initialize", "start"],
        State.DRAINING: ["initialize", "start", "drain"],
        State.STOPPED: ["initialize", "start", "stop"],
    }[state]
    now = await backend.lifecycle.state()
    if now is not State.CREATED:
        # What was running before the test got to it.
        if state in (State.CREATED, State.INITIALIZED):
            pytest.skip(f"{NOT_REACHABLE}a new backend is {now} already")
        way = [name for name in way if name not in ("initialize", "start")]
    for name in way:
        await command(backend, name)


@asynccontextmanager
async def opened_in(state: State, open_backend: OpenBackend) -> AsyncIterator[Backend]:
    """A backend of the test's own, in that state."""
    wrap = _FailsToInitialize if state is State.FAILED else None
    async with open_backend(wrap=wrap, start=False) as backend:
        if state is State.FAILED:
            if await backend.lifecycle.state() is not State.CREATED:
                pytest.skip(f"{NOT_REACHABLE}it is initialized before the test gets to it")
            with pytest.raises(BackendUnavailable):
                await backend.lifecycle.initialize(backend.settings)
        else:
            await bring(backend, state)
        assert await is_in(backend, state)
        yield backend


async def is_in(backend: Backend, state: State) -> bool:
    """Whether it is in that state; one of which nobody is left to tell has stopped."""
    with nobody_left(backend, state):
        return await backend.lifecycle.state() is state
    return True


@contextmanager
def nobody_left(backend: Backend, state: State) -> Iterator[None]:
    """Within, a server need not answer that was in this state, if that is stopped."""
    try:
        yield
    except (BackendUnavailable, NotServing):
        if backend.level is Level.IN_PROCESS or state is not State.STOPPED:
            raise


class _FailsToInitialize(DriverWrapper):
    async def initialize(self, settings: Any) -> None:
        raise BackendUnavailable("the suite refuses to initialize")
