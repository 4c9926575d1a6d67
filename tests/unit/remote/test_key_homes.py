"""Which server has the operations on a key, and for how long."""

from __future__ import annotations

from typing import cast

import pytest

from prism.adapters.client import servers
from prism.adapters.client.server import Server
from prism.adapters.client.servers import KeyHomes


def server() -> Server:
    return cast("Server", object())


def test_key_stays_until_there_is_another_server_and_nothing_is_in_flight() -> None:
    homes, a, b = KeyHomes(), server(), server()
    assert homes.get("k") is None
    homes.enter("k", a)
    homes.spread()
    assert homes.get("k") is a
    homes.enter("k", a)
    homes.leave("k", a)
    assert homes.get("k") is a
    homes.leave("k", a)
    assert homes.get("k") is None
    homes.enter("k", b)
    homes.leave("k", b)
    assert homes.get("k") is b


def test_key_that_moved_does_not_count_what_ends_at_its_earlier_server() -> None:
    homes, a, b = KeyHomes(), server(), server()
    homes.enter("k", a)
    homes.enter("k", b)
    homes.leave("k", a)
    homes.spread()
    assert homes.get("k") is b
    homes.leave("k", b)
    assert homes.get("k") is None


def test_oldest_keys_are_forgotten_unless_something_is_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "_KEPT_KEYS", 3)
    homes, a = KeyHomes(), server()
    homes.enter("busy", a)
    for key in "abcd":
        homes.enter(key, a)
        homes.leave(key, a)
    assert homes.get("busy") is a
    assert homes.get("a") is None
    assert homes.get("d") is a
