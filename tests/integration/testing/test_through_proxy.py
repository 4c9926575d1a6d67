"""The suite's third level itself: what it refuses, what it shares, and that nothing stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from prism.adapters.memstore import DRIVER
from prism.adapters.redis import DRIVER as REDIS
from prism.ports import NotServing, State
from prism.testing import Level
from prism.testing.levels import PROXY, through_proxy
from prism.testing.proxies import Proxies, ProxyFailure
from prism.testing.proxy_command import proxy_command
from tests.servers.process import free_port

pytestmark = pytest.mark.xdist_group("through a proxy")


@pytest.fixture(autouse=True)
def _folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where proxies make their folders; near the root, as the paths of sockets are short."""
    with TemporaryDirectory(prefix="p-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield
        assert not any(Path(folder).iterdir()), "somebody left a folder behind"


@pytest.fixture
def proxies(_folders: None) -> Proxies:
    return Proxies(*proxy_command(DRIVER, {}, PROXY, os.environ))


async def test_the_driver_is_reached_and_the_proxy_is_what_is_commanded() -> None:
    open_backend = through_proxy(DRIVER, {"max_keys": "1"})
    async with open_backend() as backend:
        assert backend.level is Level.PROXY
        assert backend.profile.driver == "memstore"
        assert (await backend.lifecycle.health()).details == {"pattern.tested": "serving"}
        assert backend.connect is not None
        async with backend.connect() as other:
            await backend.kv.set("key", b"value")
            assert await other.exists("key") is True


async def test_a_driver_is_out_of_reach_of_wrappers() -> None:
    with pytest.raises(pytest.skip.Exception, match="not reachable at this level: "):
        async with through_proxy(DRIVER)(wrap=lambda driver: driver):
            pass


@pytest.mark.parametrize("name", ["drain", "stop"])
async def test_who_comes_after_a_drain_or_a_stop_gets_another(name: str) -> None:
    open_backend = through_proxy(DRIVER)
    async with open_backend() as kept:
        async with open_backend() as backend:
            await getattr(backend.lifecycle, name)()
        async with open_backend() as backend:
            assert await backend.lifecycle.state() is State.RUNNING
            await backend.kv.set("key", b"value")
        # Nobody but its own test commands it.
        assert await kept.kv.exists("key") is False


async def test_a_body_that_fails_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        async with through_proxy(DRIVER)():
            raise ZeroDivisionError


async def test_a_proxy_is_lent_again_as_long_as_another_is_lent(proxies: Proxies) -> None:
    async with proxies.lent() as kept:
        async with proxies.lent() as first:
            assert first != kept
        async with proxies.lent() as second:
            assert second == first
    async with proxies.lent() as later:
        assert later not in (kept, first)


async def test_a_proxy_that_does_not_come_up_says_why() -> None:
    with pytest.raises(ProxyFailure, match=r"did not come up(?s:.*)prism-no-such-host"):
        async with through_proxy(
            DRIVER, server=replace(PROXY, host="prism-no-such-host.invalid")
        )():
            pass


async def test_a_backend_that_is_away_is_told_of_and_not_waited_for() -> None:
    nowhere = {"url": f"redis://:hunter2@127.0.0.1:{free_port()}/0"}
    with pytest.raises(NotServing, match="'tested'") as failure:
        async with through_proxy(REDIS, nowhere)():
            pass
    assert "hunter2" not in failure.value.message
