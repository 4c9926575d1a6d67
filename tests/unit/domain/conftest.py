"""A gateway and a state machine around the embedded store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Capability, Limits, Profile


class Declaring(Memstore):
    """A store that declares less than it has."""

    declared: frozenset[Capability] = frozenset(Capability)

    @property
    def profile(self) -> Profile:
        whole = super().profile
        kept = {name: how for name, how in whole.capabilities.items() if name in self.declared}
        return replace(whole, capabilities=kept)


@dataclass
class House:
    driver: Declaring
    admission: Admission
    gateway: Gateway
    lifecycle: LifecycleMachine

    async def run(self, settings: Mapping[str, str] | None = None) -> None:
        await self.lifecycle.initialize(settings or {})
        await self.lifecycle.start()


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., House]]:
    built: list[House] = []

    def make(limits: Limits | None = None, driver: Any = None) -> House:
        driver = driver or Declaring()
        admission = Admission(max_in_flight=10, max_per_connection=10)
        house = House(
            driver=driver,
            admission=admission,
            gateway=Gateway(driver, admission, limits or Limits()),
            lifecycle=LifecycleMachine(driver, DRIVER.settings, admission),
        )
        built.append(house)
        return house

    yield make
    for house in built:
        await house.driver.stop()
