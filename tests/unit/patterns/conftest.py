"""Fixtures with fake processes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from prism.domain.patterns.pattern import Pattern
from tests.unit.patterns.fakes import FakePorts


@pytest.fixture
async def fakes() -> FakePorts:
    return FakePorts()


@pytest.fixture
async def pattern(fakes: FakePorts) -> AsyncIterator[Pattern]:
    """A serving pattern."""
    pattern = fakes.pattern()
    pattern.begin()
    await pattern.settled()
    yield pattern
    await pattern.stop()
