"""A server's container, with nothing listening."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prism.adapters.memstore import DRIVER
from prism.adapters.observability.metrics import exposition
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Assembly:
    """Container, with its metrics as a scraper reads them."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.gateway = container.gateway()
        self.lifecycle = container.lifecycle()

    async def run(self) -> None:
        await self.lifecycle.initialize({})
        await self.lifecycle.start()

    def series(self) -> Series:
        _, text = self.container.common.metrics().render("")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.series().get((name, frozenset(labels.items())))


Build = Callable[..., Assembly]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    built: list[Assembly] = []

    def make(driver: Any = None, **settings: Any) -> Assembly:
        container = Container(configuration=Configuration(ServeSettings(**settings), DRIVER, {}))
        if driver is not None:
            container.driver.override(driver)
        built.append(Assembly(container))
        return built[-1]

    yield make
    for assembly in built:
        await assembly.lifecycle.stop()


@pytest.fixture(autouse=True)
def render_each_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests see changes at once."""
    monkeypatch.setattr(exposition, "_MAX_AGE_S", 0.0)
