"""A proxy that tests speak for, and processes that call it back."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Server
from tests.servers.fake_proxy import TOKEN, FakeProxy


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Near the root: the path of a socket has a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        yield Path(folder)


@pytest.fixture
async def proxy(socket_folder: Path) -> AsyncIterator[FakeProxy]:
    """It listens."""
    async with FakeProxy(socket_folder / "control.sock") as proxy:
        yield proxy


@pytest.fixture
def start_pattern(
    start_server: Callable[..., Server], proxy: FakeProxy, socket_folder: Path
) -> Callable[..., Server]:
    """Start a pattern of the proxy, with a token handed over in the environment."""

    def start(*args: str, token: str | None = TOKEN, **how: Any) -> Server:
        data = socket_folder / "data.sock"
        env = {} if token is None else {"PRISM_PROXY_TOKEN": token}
        return start_server(
            *("--proxy-address", proxy.address, "--grpc-socket", str(data), *args),
            env=env,
            free_ports=False,
            **how,
        )

    return start
