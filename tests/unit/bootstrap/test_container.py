from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from prism.adapters.memstore import DRIVER, Memstore
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings


@pytest.fixture
def make() -> Callable[..., Container]:
    def build(**settings: Any) -> Container:
        return Container(configuration=Configuration(ServeSettings(**settings), DRIVER, {}))

    return build


async def test_every_provider_resolves(make: Callable[..., Container]) -> None:
    container = make(enable_tracing=True)
    for name, provider in container.providers.items():
        assert provider() is not None, name


async def test_a_part_is_made_once(make: Callable[..., Container]) -> None:
    container = make()
    assert container.driver() is container.driver()
    assert container.driver() is not make().driver()


async def test_an_override_reaches_whoever_uses_the_part(make: Callable[..., Container]) -> None:
    container = make()
    fake = Memstore()
    with container.reset_singletons(), container.driver.override(providers.Object(fake)):
        await container.lifecycle().initialize({})
        await container.lifecycle().start()
        await container.gateway().set("k", b"v")
        entry = await fake.get("k")
        assert entry is not None
        assert entry.value == b"v"
        await container.lifecycle().stop()
    assert container.driver() is not fake


async def test_settings_reach_the_parts(make: Callable[..., Container]) -> None:
    container = make(
        max_message_bytes=2 << 20,
        default_timeout=timedelta(seconds=3),
        tls_cert=Path("c"),
        tls_key=Path("k"),
        admin_token="t",
        metrics=False,
    )
    assert container.limits().max_batch_bytes == (2 << 20) - (256 << 10)
    assert container.limits().max_value_bytes == (2 << 20) - (256 << 10)
    options = container.server_options()
    assert options.default_timeout == timedelta(seconds=3)
    assert options.tls is not None
    assert options.tls.cert == Path("c")
    assert options.admin_token == "t"
    assert container.http_server() is None
