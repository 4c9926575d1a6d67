"""A server in front of another one that has a policy, and whose token is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from prism.adapters.remote import Remote, RemoteSettings
from prism.ports import Unauthenticated
from tests.integration.access.conftest import Serve

pytestmark = pytest.mark.parametrize("transport", ["h2corn"], indirect=True)


@pytest.mark.parametrize("several", [False, True], ids=["one address", "several addresses"])
async def test_a_replaced_token_is_used_from_then_on(serve: Serve, several: bool) -> None:
    server = await serve()
    other = server.address.replace("127.0.0.1", "localhost")
    address = f"{server.address},{other}" if several else server.address
    settings: dict[str, Any] = {"address": address}
    driver = Remote()
    await driver.initialize(RemoteSettings(**settings, token=server.tokens["orders"]))
    try:
        await driver.set("orders/1", b"")
        server.write_tokens(orders="prism_the-new-one")
        await server.reload()
        with pytest.raises(Unauthenticated):
            await driver.get("orders/1")
        await driver.reload(RemoteSettings(**settings, token="prism_the-new-one"))
        assert await driver.exists("orders/1")
        assert (await driver.scan("orders/")).keys == ["orders/1"]
    finally:
        await driver.stop()
