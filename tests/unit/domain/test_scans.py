"""Page tokens belong to the prefix and options of their scan."""

from __future__ import annotations

import pytest

from prism.domain.scans import seal, unseal
from prism.ports import InvalidArgument


@pytest.mark.parametrize("cursor", ["k", "a\0b", "😀" * 256, "x" * 1024])
def test_a_token_carries_the_cursor(cursor: str) -> None:
    assert unseal(seal(cursor, "p", True), "p", True) == cursor


def test_an_empty_token_is_the_end_and_the_start() -> None:
    assert seal("", "p", False) == ""
    assert unseal("", "p", False) == ""


@pytest.mark.parametrize(("prefix", "values"), [("q", False), ("", False), ("p", True)])
def test_a_token_of_another_scan_is_refused(prefix: str, values: bool) -> None:
    with pytest.raises(InvalidArgument, match="another scan"):
        unseal(seal("k", "p", False), prefix, values)


@pytest.mark.parametrize("token", ["x", "!!!!", "é", "AAAA", seal("k", "p", False)[:-2] + "~~"])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="malformed"):
        unseal(token, "p", False)
