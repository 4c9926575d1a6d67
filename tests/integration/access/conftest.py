"""Servers with a policy, in this process, and clients with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.adapters.memstore import DRIVER
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.domain.access.tokens import digest_of, new_token
from tests.integration.conftest import ProxyServer, Server

POLICY = """
[[rules]]
name = "operators"
who = ["token:alice", "cn:operator"]
role = "administrator"

[[rules]]
name = "own keys"
who = ["token:*", "cn:*"]
role = "own prefix"

[[rules]]
name = "SPIFFE"
who = "spiffe://prod/reader"
role = "read only"

[[rules]]
name = "monitoring"
who = "token:prometheus"
may = "observe"
"""


@dataclass
class Guarded:
    """Server with a policy.

    Attributes:
        tokens: tokens by name: `alice`, `orders`, `stock`, `prometheus`.
    """

    container: Any
    folder: Path
    address: str
    http_address: str
    tokens: dict[str, str]
    redis_address: str = ""

    def connect(self, name: str | None = None, **options: Any) -> Any:
        """Connect with the token of this name; None: with none."""
        token = None if name is None else self.tokens[name]
        return prism.connect(self.address, token=token, timeout=timedelta(seconds=30), **options)

    def write_tokens(self, **tokens: str) -> None:
        """Let these tokens be the only ones, from the next reload on."""
        self.tokens = tokens
        lines = [new_line(name, token) for name, token in tokens.items()]
        (self.folder / "tokens").write_text("\n".join(lines))

    async def reload(self) -> None:
        await self.container.common.reloader().reload()


def new_line(name: str, token: str) -> str:
    return f"{name} sha256:{digest_of(token).hex()}"


Serve = Callable[..., Awaitable[Guarded]]


@pytest.fixture(params=["h2corn", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def serve(tmp_path: Path, transport: str) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(policy: str = POLICY, **settings: Any) -> Guarded:
            (tmp_path / "policy.toml").write_text(policy)
            tokens = {
                name: new_token(name)[0] for name in ("alice", "orders", "stock", "prometheus")
            }
            (tmp_path / "tokens").write_text(
                "\n".join(new_line(name, token) for name, token in tokens.items())
            )
            chosen = ServeSettings(
                grpc_port=0,
                metrics_port=0,
                transport=transport,  # type: ignore[arg-type]
                policy=tmp_path / "policy.toml",
                tokens=tmp_path / "tokens",
                **settings,
            )
            container: Any = Container(
                configuration=Configuration(settings=chosen, spec=DRIVER, driver_settings={})
            )
            common = container.common
            http = common.http_server()
            stack.push_async_callback(http.stop)
            http_address = await http.start()
            server = common.grpc_server()
            stack.push_async_callback(server.stop)
            (address,) = await server.start()
            lifecycle = container.lifecycle()
            await lifecycle.initialize({})
            await lifecycle.start()
            stack.push_async_callback(lifecycle.stop)
            redis_address = ""
            if (redis := container.redis_server()) is not None:
                stack.push_async_callback(redis.stop)
                redis_address = await redis.start()
            return Guarded(container, tmp_path, address, http_address, tokens, redis_address)

        yield start


PROXY_POLICY = """
[[rules]]
who = "token:alice"
role = "administrator"

[[rules]]
who = ["token:orders", "token:stock"]
role = "own prefix"
patterns = "cache"

[[rules]]
who = "token:orders"
may = ["read", "write"]
prefixes = "short/"
default_ttl = "5m"
"""


@pytest.fixture
def proxy(start_server: Callable[..., Server], tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Address of a proxy with the patterns `cache` and `sessions`, and tokens by name."""
    made = {name: new_token(name) for name in ("alice", "orders", "stock")}
    (tmp_path / "policy.toml").write_text(PROXY_POLICY)
    (tmp_path / "tokens").write_text("\n".join(line for _, line in made.values()))
    server = start_server(
        *("--policy", "policy.toml", "--tokens", "tokens"),
        *("--pattern", "cache=memstore", "--pattern", "sessions=memstore"),
        kind=ProxyServer,
    ).serving()
    return server.address, {name: token for name, (token, _) in made.items()}
