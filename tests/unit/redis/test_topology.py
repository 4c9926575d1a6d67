"""What a node of a Cluster says, and when a scan must not rely on it."""

from __future__ import annotations

import pytest

from prism.adapters.redis.topology import topology_of
from prism.ports import ScanExpired

MYSELF = "a1 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99 200"
OTHER = "b2 127.0.0.1:7001@17001 master - 0 1700000000 2 connected 100-199"
REPLICA = "c3 127.0.0.1:7002@17002 slave a1 0 1700000000 1 connected"


def _of(*lines: str, servers: int = 2) -> str:
    return topology_of("".join(f"{line}\n" for line in lines).encode(), servers=servers)


def test_it_is_the_same_whoever_says_it_and_when() -> None:
    seen_from_the_other = (
        MYSELF.replace("myself,", "").replace("- 0 0 1", "- 9 1700000009 1"),
        OTHER.replace("master", "myself,master"),
    )
    assert _of(MYSELF, OTHER, REPLICA) == _of(*reversed(seen_from_the_other))


@pytest.mark.parametrize("other", [OTHER.replace("100-199", "100-198"), OTHER.replace("b2", "d4")])
def test_it_is_another_when_slots_are_elsewhere(other: str) -> None:
    assert _of(MYSELF, OTHER) != _of(MYSELF, other)


@pytest.mark.parametrize(
    "lines",
    [
        (f"{MYSELF} [99->-b2]", OTHER),
        (f"{MYSELF} [100-<-b2]", OTHER),
        (MYSELF,),
        (MYSELF, OTHER, OTHER.replace("b2", "d4")),
        (MYSELF.replace("myself,", ""), OTHER, REPLICA.replace("slave", "myself,slave")),
    ],
    ids=["slots leave", "slots arrive", "fewer servers", "more servers", "asked of a replica"],
)
def test_a_scan_cannot_rely_on_it(lines: tuple[str, ...]) -> None:
    with pytest.raises(ScanExpired):
        _of(*lines)
