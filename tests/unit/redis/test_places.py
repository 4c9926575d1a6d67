"""What a page token says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.redis.places import Place
from prism.ports import InvalidArgument

_HEX = st.text("0123456789abcdef", max_size=40)


@given(
    server=st.text(min_size=1), run=_HEX, topology=_HEX,
    cursor=st.integers(0, 2**64 - 1), keys=st.sets(st.binary(min_size=1), max_size=20),
)  # fmt: skip
def test_a_token_says_where_the_scan_is(
    server: str, run: str, topology: str, cursor: int, keys: set[bytes]
) -> None:
    place = Place(server, run, topology, cursor).having_seen(keys)
    again = Place.of_token(place.token())
    assert again == place
    assert all(again.has_seen(key) for key in keys)
    assert not again.has_seen(b"".join(sorted(keys)) + b"another")


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "server,run,topology,1",
        "server,run,topology,one,",
        "server,run,topology,-1,",
        "server,run,topology,18446744073709551616,",
        f"server,run,topology,{'0' * 21}{'9' * 21},",
        f"server,run,topology,{'9' * 5000},",
        "server,run,topology,\u0661,",
        "server,run,topology,1,?",
        "server,run,topology,1,AAAA",
    ],
)
def test_a_token_that_was_not_made_here_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        Place.of_token(token)
