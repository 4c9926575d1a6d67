"""Bounds that cannot work are refused, with the setting and its value."""

from __future__ import annotations

import pytest

from prism.adapters.redis import RedisSettings
from prism.ports import InvalidArgument


@pytest.mark.parametrize("name", ["in_flight", "connections"])
def test_a_bound_below_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"redis setting {name}: 0 is not allowed"):
        RedisSettings(**{name: 0})  # type: ignore[arg-type]
