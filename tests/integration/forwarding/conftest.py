from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.forwarding.fakes import TRANSPORTS, Proxy


@pytest.fixture(params=TRANSPORTS)
async def idle(request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """Proxy that does not serve yet, and whose patterns are not launched."""
    # The path of a Unix socket must be short, and pytest's folders are not.
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            yield Proxy(request.param, Path(folder), stack)


@pytest.fixture
async def proxy(idle: Proxy) -> Proxy:
    """Proxy that serves, with its patterns."""
    await idle.a.launch()
    await idle.b.launch()
    await idle.serve()
    return idle
