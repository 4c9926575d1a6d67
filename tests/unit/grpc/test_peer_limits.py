"""Limits on open calls: those of one connection leave room for others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prism.adapters.grpc.calls import Rejected
from prism.adapters.grpc.transports.peer_limits import PeerLimits
from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import Turns

_OPEN = 4096


@pytest.fixture
def limits() -> PeerLimits:
    return PeerLimits(UnreadReplies(), Turns(), timedelta(seconds=1))


def test_connection_with_many_calls_is_refused_in_a_crowd(limits: PeerLimits) -> None:
    for _ in range(32):
        limits.join_crowd("greedy")
    limits.open_calls = _OPEN + 1
    with pytest.raises(Rejected, match="4,096 calls are open"):
        limits.join_crowd("greedy")


def test_connection_with_few_calls_is_served_in_a_crowd(limits: PeerLimits) -> None:
    limits.open_calls = 2 * _OPEN
    for _ in range(32):
        limits.join_crowd("modest")


def test_ended_calls_make_room(limits: PeerLimits) -> None:
    limits.open_calls = 2 * _OPEN
    for _ in range(100):
        limits.join_crowd("steady")
        limits.leave_crowd("steady")
