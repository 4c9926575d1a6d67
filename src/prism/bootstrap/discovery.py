"""Discovery of drivers by the entry-point group `prism.drivers`.

Drivers of this repository and of other packages are found in the same way. A driver is imported
only when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from prism.domain.settings import settings_of
from prism.ports import DriverSpec, InvalidArgument, PreconditionFailed
from prism.ports.text import nearest_first

GROUP = "prism.drivers"

_NAME = re.compile("[a-z][a-z0-9-]*")


class UnknownDriver(InvalidArgument):
    """No installed package has a driver of this name."""

    default_reason = "UNKNOWN_DRIVER"


class BrokenDriver(PreconditionFailed):
    """The driver is installed but cannot be loaded."""

    default_reason = "BROKEN_DRIVER"


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed driver: its spec, or the reason why it cannot be loaded."""

    name: str
    package: str
    spec: DriverSpec | None
    problem: str


def names() -> list[str]:
    """Return the names of the installed drivers, without importing them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load(name: str) -> DriverSpec:
    """Import a driver and return its spec.

    Raises:
        UnknownDriver: the driver is not installed; the text lists those that are.
        BrokenDriver: the driver cannot be imported, or is not valid.
    """
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        raise UnknownDriver(
            f"unknown driver {name!r}; the installed ones are: "
            f"{nearest_first(name, names()) or 'none'}"
        )
    if len(points) > 1:
        packages = ", ".join(sorted(_package(point) for point in points))
        raise BrokenDriver(
            f"several packages have a driver {name!r}: {packages}; uninstall all but one"
        )
    return _load(points[0])


def survey() -> Iterator[Installed]:
    """Yield every installed driver, imported."""
    for name in names():
        package = ", ".join(sorted(_package(p) for p in entry_points(group=GROUP, name=name)))
        try:
            spec, problem = load(name), ""
        except BrokenDriver as error:
            spec, problem = None, error.message
        yield Installed(name, package, spec, problem)


def _load(point: EntryPoint) -> DriverSpec:
    failure = f"the driver {point.name!r} of {_package(point)} cannot be loaded"
    try:
        spec = point.load()
    except Exception as error:  # another package's module may raise anything
        hint = ""
        if isinstance(error, ModuleNotFoundError) and point.extras:
            extras = ",".join(point.extras)
            hint = f"; try: pip install '{_package(point)}[{extras}]'"
        raise BrokenDriver(f"{failure}: {type(error).__name__}: {error}{hint}") from error
    if not isinstance(spec, DriverSpec):
        raise BrokenDriver(f"{failure}: {point.value} is not a DriverSpec")
    if spec.name != point.name or not _NAME.fullmatch(spec.name):
        raise BrokenDriver(
            f"{failure}: its DriverSpec is named {spec.name!r}; it must have the name of the "
            "entry point, in lower case letters, digits and hyphens"
        )
    try:
        settings_of(spec.settings)
    except (TypeError, NameError) as error:
        raise BrokenDriver(f"{failure}: {error}") from error
    return spec


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
