"""Level 3 of the suite: reuse of proxies, errors, and clean-up."""

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
from prism.testing.proxies import ProxyFailure, ProxyPool, proxy_command
from tests.servers.process import free_port

pytestmark = pytest.mark.xdist_group("through a proxy")


@pytest.fixture(autouse=True)
def _folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folder for the proxies' sockets, with a short path because socket paths are limited."""
    with TemporaryDirectory(prefix="p-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield
        assert not any(Path(folder).iterdir()), "a proxy left its folder behind"


@pytest.fixture
def proxies(_folders: None) -> ProxyPool:
    return ProxyPool(proxy_command(DRIVER, {}, PROXY, os.environ))


async def test_operations_reach_the_driver_and_commands_the_proxy() -> None:
    open_backend = through_proxy(DRIVER, {"max_keys": "1"})
    async with open_backend() as backend:
        assert backend.level is Level.PROXY
        assert backend.profile.driver == "memstore"
        assert (await backend.lifecycle.health()).details == {"pattern.tested": "serving"}
        assert backend.connect is not None
        async with backend.connect() as second_client:
            await backend.kv.set("key", b"value")
            assert await second_client.exists("key") is True


async def test_a_test_with_a_wrapper_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="not reachable at this level: "):
        async with through_proxy(DRIVER)(wrap=lambda driver: driver):
            pass


@pytest.mark.parametrize("name", ["drain", "stop"])
async def test_a_new_proxy_replaces_one_that_was_drained_or_stopped(name: str) -> None:
    open_backend = through_proxy(DRIVER)
    async with open_backend() as other:
        async with open_backend() as backend:
            await getattr(backend.lifecycle, name)()
        async with open_backend() as backend:
            assert await backend.lifecycle.state() is State.RUNNING
            await backend.kv.set("key", b"value")
        # The commands and the data of the others did not reach this one.
        assert await other.kv.exists("key") is False


async def test_a_body_that_fails_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        async with through_proxy(DRIVER)():
            raise ZeroDivisionError


async def test_a_returned_proxy_is_reused_while_another_is_borrowed(proxies: ProxyPool) -> None:
    async with proxies.borrow() as other:
        async with proxies.borrow() as first:
            assert first != other
        async with proxies.borrow() as second:
            assert second == first
    async with proxies.borrow() as later:
        assert later not in (other, first)


async def test_a_proxy_that_does_not_start_reports_why() -> None:
    with pytest.raises(ProxyFailure, match=r"did not start(?s:.*)prism-no-such-host"):
        async with through_proxy(
            DRIVER, server=replace(PROXY, host="prism-no-such-host.invalid", insecure=True)
        )():
            pass


async def test_an_unreachable_backend_fails_at_once_without_its_password() -> None:
    nowhere = {"url": f"redis://:hunter2@127.0.0.1:{free_port()}/0"}
    with pytest.raises(NotServing, match="'tested'") as failure:
        async with through_proxy(REDIS, nowhere)():
            pass
    assert "hunter2" not in failure.value.message
