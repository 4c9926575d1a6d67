"""Cursors of SCAN are forgotten beyond a limit, in a fair order."""

from __future__ import annotations

import pytest

from prism.adapters.resp.cursors import Cursors
from prism.adapters.resp.errors import CommandError

_SCAN = (None, "")


def test_a_connection_that_scans_quickly_forgets_its_own_cursors() -> None:
    cursors = Cursors(most=10)
    slow = cursors.put(_SCAN, "slow", "a")
    quick = [cursors.put(_SCAN, f"{number}", "b") for number in range(100)]
    assert cursors.get(slow, _SCAN) == "slow"
    assert [cursors.get(each, _SCAN) for each in quick[-9:]] == [f"{n}" for n in range(91, 100)]
    with pytest.raises(CommandError, match="not known any more"):
        cursors.get(quick[-10], _SCAN)


def test_many_connections_with_one_cursor_each_stay_within_the_limit() -> None:
    cursors = Cursors(most=10)
    every = [cursors.put(_SCAN, "token", f"{number}") for number in range(100)]
    known = 0
    for each in every:
        try:
            cursors.get(each, _SCAN)
        except CommandError:
            continue
        known += 1
    assert known == 10
