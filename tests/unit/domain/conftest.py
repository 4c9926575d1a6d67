"""Gateway and lifecycle machine around a memstore."""

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
    """Memstore that declares only some capabilities."""

    declared: frozenset[Capability] = frozenset(Capability)

    @property
    def profile(self) -> Profile:
        full = super().profile
        declared = {name: how for name, how in full.capabilities.items() if name in self.declared}
        return replace(full, capabilities=declared)


@dataclass
class Assembly:
    """Driver with the parts of the domain around it."""

    driver: Declaring
    admission: Admission
    gateway: Gateway
    lifecycle: LifecycleMachine

    async def run(self, settings: Mapping[str, str] | None = None) -> None:
        await self.lifecycle.initialize(settings or {})
        await self.lifecycle.start()


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., Assembly]]:
    built: list[Assembly] = []

    def make(limits: Limits | None = None, driver: Any = None) -> Assembly:
        driver = driver or Declaring()
        admission = Admission(max_in_flight=10, max_per_connection=10)
        assembly = Assembly(
            driver=driver,
            admission=admission,
            gateway=Gateway(driver, admission, limits or Limits()),
            lifecycle=LifecycleMachine(driver, DRIVER.settings, admission),
        )
        built.append(assembly)
        return assembly

    yield make
    for assembly in built:
        await assembly.driver.stop()
