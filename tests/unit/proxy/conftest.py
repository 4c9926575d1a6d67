from __future__ import annotations

import pytest

from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternSpec
from tests.unit.patterns.fakes import IMMEDIATE, POLICY, FakePorts


@pytest.fixture
def fakes() -> FakePorts:
    return FakePorts()


@pytest.fixture
def patterns(fakes: FakePorts) -> Supervisor:
    """Two, not launched yet."""
    specs = [PatternSpec("a", "memstore", {"max_keys": "10"}), PatternSpec("b", "memstore")]
    return Supervisor(specs, fakes.ports, POLICY, IMMEDIATE)
