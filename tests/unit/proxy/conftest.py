from __future__ import annotations

import pytest

from prism.domain.patterns.patterns import Patterns
from prism.domain.patterns.values import Plan
from tests.unit.patterns.world import AT_ONCE, TERMS, FakeWorld


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def patterns(world: FakeWorld) -> Patterns:
    """Two, not launched yet."""
    plans = [Plan("a", "memstore", {"max_keys": "10"}), Plan("b", "memstore")]
    return Patterns(plans, world.world, TERMS, AT_ONCE)
