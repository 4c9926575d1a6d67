"""Operations on many keys wait for those on one, and not without end."""

from __future__ import annotations

from itertools import pairwise

from prism.adapters.grpc.servicers.operate.scheduling import LongOperations


def test_a_long_operation_begins_after_each_number_of_short_ones() -> None:
    waiting = LongOperations()
    due = [number for number in range(1000) if waiting.is_due()]
    between = {later - earlier for earlier, later in pairwise(due)}
    assert len(due) >= 2
    assert between == {due[0] + 1}
    assert due[0] >= 100
