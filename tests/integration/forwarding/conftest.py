from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.forwarding.world import TRANSPORTS, World


@pytest.fixture(params=TRANSPORTS)
async def idle(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A proxy that nobody has told to serve, and no pattern serves."""
    # The names of Unix sockets are short, and pytest's folders are not.
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            yield World(request.param, Path(folder), stack)


@pytest.fixture
async def world(idle: World) -> World:
    """A proxy that serves, and so do its patterns."""
    await idle.a.launch()
    await idle.b.launch()
    await idle.serve()
    return idle
