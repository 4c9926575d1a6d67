"""Fixtures with a fake proxy, and processes that register with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Server
from tests.servers.fake_proxy import TOKEN, FakeProxy


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """Directory with a short path, as a socket's path has about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        yield Path(folder)


@pytest.fixture
async def proxy(socket_dir: Path) -> AsyncIterator[FakeProxy]:
    """A fake proxy that listens."""
    async with FakeProxy(socket_dir / "control.sock") as proxy:
        yield proxy


@pytest.fixture
def start_pattern(
    start_server: Callable[..., Server], proxy: FakeProxy, socket_dir: Path
) -> Callable[..., Server]:
    """Function that starts a pattern of the proxy, with a token in the environment."""

    def start(*args: str, token: str | None = TOKEN, **how: Any) -> Server:
        data = socket_dir / "data.sock"
        env = {} if token is None else {"PRISM_PROXY_TOKEN": token}
        return start_server(
            *("--proxy-address", proxy.address, "--grpc-socket", str(data), *args),
            env=env,
            free_ports=False,
            **how,
        )

    return start
