"""A world without processes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from prism.domain.patterns.supervisor import Supervisor
from tests.unit.patterns.world import FakeWorld


@pytest.fixture
async def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
async def supervisor(world: FakeWorld) -> AsyncIterator[Supervisor]:
    """One whose pattern serves."""
    supervisor = world.supervisor()
    supervisor.begin()
    await supervisor.settled()
    yield supervisor
    await supervisor.stop()
