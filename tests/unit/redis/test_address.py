"""What a URL says."""

from __future__ import annotations

import pytest

from prism.adapters.redis.address import Address, Topology, parse
from prism.ports import InvalidArgument


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
def test_a_url_names_servers_and_who_we_are(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://anna:secret@one:7000/2", "one:7000"),
        ("redis://[::1]:7000", "[::1]:7000"),
        ("redis+cluster://anna:secret@one,two", "the cluster of one:6379, two:6379"),
        ("redis+sentinel://anna:secret@one/main", "'main' of the sentinels one:26379"),
    ],
)
def test_an_address_is_shown_without_credentials(url: str, text: str) -> None:
    assert str(parse(url)) == text
    assert "secret" not in repr(parse(url))


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
def test_a_url_that_is_none_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse(url)
    assert "hunter2" not in refusal.value.message


def test_a_password_with_a_slash_is_to_be_encoded() -> None:
    with pytest.raises(InvalidArgument, match="%2F"):
        parse("redis://:pass/word@one")
