"""Page tokens of a scan, and the slots of a Cluster that a scan relies on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.redis.scan import ScanCursor, slots_digest
from prism.ports import InvalidArgument, ScanExpired

MYSELF = "a1 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99 200"
OTHER = "b2 127.0.0.1:7001@17001 master - 0 1700000000 2 connected 100-199"
REPLICA = "c3 127.0.0.1:7002@17002 slave a1 0 1700000000 1 connected"

_HEX = st.text("0123456789abcdef", max_size=40)


@given(
    server=st.text(min_size=1), run_id=_HEX, slots=_HEX,
    position=st.integers(0, 2**64 - 1), keys=st.sets(st.binary(min_size=1), max_size=20),
)  # fmt: skip
def test_token_round_trips_a_cursor(
    server: str, run_id: str, slots: str, position: int, keys: set[bytes]
) -> None:
    cursor = ScanCursor(server, run_id, slots, position).with_returned(keys)
    parsed = ScanCursor.from_token(cursor.to_token())
    assert parsed == cursor
    assert all(parsed.was_returned(key) for key in keys)
    assert not parsed.was_returned(b"".join(sorted(keys)) + b"another")


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
def test_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        ScanCursor.from_token(token)


def digest(*lines: str, servers: int = 2) -> str:
    return slots_digest("".join(f"{line}\n" for line in lines).encode(), servers=servers)


def test_digest_does_not_depend_on_the_replying_node_or_the_time() -> None:
    reply_of_the_other = (
        MYSELF.replace("myself,", "").replace("- 0 0 1", "- 9 1700000009 1"),
        OTHER.replace("master", "myself,master"),
    )
    assert digest(MYSELF, OTHER, REPLICA) == digest(*reversed(reply_of_the_other))


@pytest.mark.parametrize("other", [OTHER.replace("100-199", "100-198"), OTHER.replace("b2", "d4")])
def test_digest_changes_when_slots_move(other: str) -> None:
    assert digest(MYSELF, OTHER) != digest(MYSELF, other)


@pytest.mark.parametrize(
    "lines",
    [
        (f"{MYSELF} [99->-b2]", OTHER),
        (f"{MYSELF} [100-<-b2]", OTHER),
        (MYSELF,),
        (MYSELF, OTHER, OTHER.replace("b2", "d4")),
        (MYSELF.replace("myself,", ""), OTHER, REPLICA.replace("slave", "myself,slave")),
    ],
    ids=["slots leave", "slots arrive", "fewer servers", "more servers", "reply of a replica"],
)
def test_slots_that_a_scan_cannot_rely_on_are_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ScanExpired):
        digest(*lines)
