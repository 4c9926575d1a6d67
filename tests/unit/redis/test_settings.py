"""Settings of the Redis driver, and the URLs it accepts."""

from __future__ import annotations

import pytest

from prism.adapters.redis import RedisSettings
from prism.adapters.redis.settings import Address, Topology, parse_url
from prism.ports import InvalidArgument


@pytest.mark.parametrize("name", ["in_flight", "connections"])
def test_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"redis setting {name}: 0 is not allowed"):
        RedisSettings(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://one", Address(Topology.SINGLE, (("one", 6379),), tls=False)),
        ("redis://one:7000/2", Address(Topology.SINGLE, (("one", 7000),), tls=False, db=2)),
        ("REDISS://one/", Address(Topology.SINGLE, (("one", 6379),), tls=True)),
        ("redis://[::1]:7000", Address(Topology.SINGLE, (("::1", 7000),), tls=False)),
        ("redis://[::1]", Address(Topology.SINGLE, (("::1", 6379),), tls=False)),
        (
            "redis://anna:p%40ss%2Fword@one",
            Address(
                Topology.SINGLE, (("one", 6379),), tls=False, username="anna", password="p@ss/word"
            ),
        ),
        (
            "redis://:p@ss@one",
            Address(Topology.SINGLE, (("one", 6379),), tls=False, password="p@ss"),
        ),
        (
            "rediss+sentinel://one,two:7000/main/3",
            Address(
                Topology.SENTINEL,
                (("one", 26379), ("two", 7000)),
                tls=True,
                service="main",
                db=3,
            ),
        ),
        (
            "redis+cluster://one:7000, two",
            Address(Topology.CLUSTER, (("one", 7000), ("two", 6379)), tls=False),
        ),
    ],
)
def test_url_gives_hosts_topology_and_credentials(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://anna:secret@one:7000/2", "one:7000"),
        ("redis://[::1]:7000", "[::1]:7000"),
        ("redis+cluster://anna:secret@one,two", "cluster one:6379, two:6379"),
        ("redis+sentinel://anna:secret@one/main", "service 'main' of the sentinels one:26379"),
    ],
)
def test_text_of_an_address_has_no_credentials(url: str, text: str) -> None:
    assert str(parse_url(url)) == text
    assert "secret" not in repr(parse_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/rest@one",
        "redis://anna:12/hunter2@one",
        "redis://anna:hunter2",
        "redis://one/hunter2",
        "redis+sentinel://:hunter2/rest@one/main",
        "redis+cluster://:hunter2,rest",
        "redis://:hunter2?@one",
        "redis://:hunter2#@one",
    ],
)
def test_error_for_an_invalid_url_has_no_credentials(url: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse_url(url)
    assert "hunter2" not in refusal.value.message


@pytest.mark.parametrize("url", ["one", "redis://[::1", "redis://one:port"])
def test_settings_refuse_an_invalid_url(url: str) -> None:
    with pytest.raises(InvalidArgument, match="the Redis URL has"):
        RedisSettings(url=url)


def test_password_with_a_slash_must_be_encoded() -> None:
    with pytest.raises(InvalidArgument, match="%2F"):
        parse_url("redis://:pass/word@one")
