"""A proxy that is alone on its core; its pattern shares that of the callers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.processes import Variant
from benchmarks.sides import Client, Measure, Place

PROXY = Variant(
    "proxy",
    (
        *("-c", "from prism.cli import main; main()", "proxy"),
        *("--pattern", "a=memstore", "--grpc-port", "0", "--metrics-port", "0"),
    ),
    "prism proxy --pattern a=memstore, all else by default",
)


class Pattern(AbstractContextManager["Pattern"]):
    """The process that a proxy launched, and ends."""

    def __init__(self, proxy: int) -> None:
        (self._pid,) = (
            int(pid)
            for thread in Path(f"/proc/{proxy}/task").iterdir()
            for pid in (thread / "children").read_text().split()
        )

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def url(self) -> str:
        """Known to the proxy alone."""
        return ""

    def __exit__(self, *_: object) -> None:
        """The proxy sees to it."""


@dataclass(frozen=True, slots=True)
class ProxiedClient:
    """A client of a proxy: as it is measured of any other server."""

    client: Client

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def settings(self) -> str:
        return f"{self.client.settings}; the pattern is on the core of the load"

    def open(self, place: Place) -> Measure:
        place.backend(partial(Pattern, place.started(self.client.server).pid))
        return self.client.open(place)
